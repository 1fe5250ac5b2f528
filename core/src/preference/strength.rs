//! Strengths of items from comparisons: the leaderboard.

use alloc::{format, string::ToString, vec, vec::Vec};
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::{Error, Result};

/// One comparison between items `a` and `b` (indices).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// First item.
    pub a: usize,
    /// Second item.
    pub b: usize,
    /// What was said.
    pub outcome: Outcome,
    /// How many such comparisons this stands for, or the confidence in it; at least 0.
    pub weight: f64,
}

/// How strengths are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// Games that each item plays against an imaginary item of strength 1, half won and half lost. 0 is maximum
    /// likelihood, which exists only where every item has scored, directly or through others, against every other;
    /// above 0 the fit always exists and is drawn together.
    pub prior_games: f64,
    /// The fit ends when no log-strength, nor the tie strength, moves by more than this.
    pub tolerance: f64,
    /// The fit ends after so many rounds.
    pub rounds_max: usize,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { prior_games: 0.0, tolerance: 1e-10, rounds_max: 10_000 }
    }
}

/// Fitted strengths.
#[derive(Debug, Clone, PartialEq)]
pub struct Strengths {
    /// Natural logarithms of the strengths: scores s with P(a beats b) / P(b beats a) = e^(s_a - s_b). Their mean is 0
    /// without a prior.
    pub scores: Vec<f64>,
    /// Davidson's nu: 0 when there are no ties.
    pub tie_strength: f64,
    /// Rounds that were needed.
    pub rounds: usize,
    /// Whether the tolerance was met.
    pub converged: bool,
}

/// Tie strengths end here: with ties alone the likelihood grows without end.
const TIE_STRENGTH_MAX: f64 = 1e6;

/// Games of one pair of items.
struct Pair {
    a: usize,
    b: usize,
    games: f64,
}

/// Davidson's model by minorisation-maximisation (Hunter, "MM algorithms for generalized Bradley-Terry models", Annals
/// of Statistics 32, 2004).
///
/// With strengths g, games N_ij, points s_i (a win 1, a tie 1/2), T ties in all and
/// D_ij = g_i + g_j + nu sqrt(g_i g_j), each round takes, and never lowers the likelihood by it,
///
/// g_i <- s_i / sum_j N_ij (1 + nu/2 sqrt(g_j / g_i)) / D_ij, then nu <- T / sum_ij N_ij sqrt(g_i g_j) / D_ij.
///
/// The first is Hunter's bound on -log D together with the arithmetic-geometric one on sqrt(g_i g_j). A tie and "both
/// bad" are ties; skipped comparisons count nowhere.
///
/// # Errors
/// [`Error::Config`] for a bad setting, weight or item; [`Error::Undefined`] when nothing was compared, or when there is
/// no prior and some item cannot be placed because it never scored, or never lost a point, against the rest.
pub fn fit_strengths(items: usize, comparisons: &[Comparison], config: &FitConfig) -> Result<Strengths> {
    check(items, comparisons, config)?;
    if items == 1 {
        return Ok(Strengths { scores: vec![0.0], tie_strength: 0.0, rounds: 0, converged: true });
    }
    let mut points = vec![config.prior_games / 2.0; items];
    let mut ties = 0.0;
    let mut games = alloc::collections::BTreeMap::<(usize, usize), f64>::new();
    for c in comparisons.iter().filter(|c| c.outcome != Outcome::Skipped && c.weight > 0.0) {
        let (for_a, tie) = match c.outcome {
            Outcome::BetterA => (1.0, 0.0),
            Outcome::BetterB | Outcome::Skipped => (0.0, 0.0),
            Outcome::Tie | Outcome::BothBad => (0.5, 1.0),
        };
        points[c.a] += c.weight * for_a;
        points[c.b] += c.weight * (1.0 - for_a);
        ties += c.weight * tie;
        *games.entry((c.a.min(c.b), c.a.max(c.b))).or_default() += c.weight;
    }
    if config.prior_games == 0.0 {
        check_connected(items, comparisons)?;
    }
    let pairs: Vec<Pair> = games.into_iter().map(|((a, b), games)| Pair { a, b, games }).collect();

    let mut scores = vec![0.0; items];
    let mut nu = if ties > 0.0 { 1.0 } else { 0.0 };
    for round in 1..=config.rounds_max {
        let next = strengths_round(&scores, nu, &points, &pairs, config.prior_games);
        let mut moved = next.iter().zip(&scores).map(|(n, s)| (n - s).abs()).fold(0.0, f64::max);
        scores = next;
        if ties > 0.0 {
            let expected: f64 = pairs.iter().map(|p| p.games * tie_share(scores[p.a] - scores[p.b], nu)).sum();
            let next = (ties / expected).min(TIE_STRENGTH_MAX);
            moved = f64::max(moved, (next - nu).abs());
            nu = next;
        }
        if moved <= config.tolerance {
            return Ok(Strengths { scores, tie_strength: nu, rounds: round, converged: true });
        }
    }
    Ok(Strengths { scores, tie_strength: nu, rounds: config.rounds_max, converged: false })
}

/// sqrt(g_i g_j) / D_ij at the difference d of log-strengths: with x = e^(-|d|/2), x / (1 + nu x + x^2), which neither
/// over- nor underflows.
fn tie_share(d: f64, nu: f64) -> f64 {
    let x = libm::exp(-d.abs() / 2.0);
    x / (1.0 + nu * x + x * x)
}

/// g_i (1 + nu/2 sqrt(g_j / g_i)) / D_ij in the same way.
fn point_share(d: f64, nu: f64) -> f64 {
    let x = libm::exp(-d.abs() / 2.0);
    let own = if d >= 0.0 { 1.0 } else { x * x };
    (own + nu / 2.0 * x) / (1.0 + nu * x + x * x)
}

/// One simultaneous round of all log-strengths.
fn strengths_round(scores: &[f64], nu: f64, points: &[f64], pairs: &[Pair], prior_games: f64) -> Vec<f64> {
    let mut expected: Vec<f64> = scores.iter().map(|s| prior_games / (1.0 + libm::exp(-s))).collect();
    for pair in pairs {
        let d = scores[pair.a] - scores[pair.b];
        expected[pair.a] += pair.games * point_share(d, nu);
        expected[pair.b] += pair.games * point_share(-d, nu);
    }
    let mut next: Vec<f64> = scores.iter().zip(points).zip(&expected).map(|((s, p), e)| s + libm::log(p / e)).collect();
    if prior_games == 0.0 {
        let mean = next.iter().sum::<f64>() / next.len() as f64;
        next.iter_mut().for_each(|s| *s -= mean);
    }
    next
}

fn check(items: usize, comparisons: &[Comparison], config: &FitConfig) -> Result<()> {
    let rule = |ok: bool, field, expected: &str, got: f64| {
        if ok {
            return Ok(());
        }
        Err(Error::Config { field, expected: expected.to_string(), got: format!("{got}") })
    };
    let weight = |x: f64| x.is_finite() && x >= 0.0;
    rule(weight(config.prior_games), "prior_games", "at least 0 and finite", config.prior_games)?;
    rule(weight(config.tolerance), "tolerance", "at least 0 and finite", config.tolerance)?;
    rule(config.rounds_max > 0, "rounds_max", "at least 1", 0.0)?;
    for c in comparisons {
        rule(weight(c.weight), "weight", "at least 0 and finite", c.weight)?;
        let known = c.a < items && c.b < items && c.a != c.b;
        rule(known, "comparison", &format!("two different items below {items}"), c.a.max(c.b) as f64)?;
    }
    if items == 0 {
        return Err(Error::Undefined { what: "strength", reason: "there are no items".to_string() });
    }
    Ok(())
}

/// Ford's condition: every item has scored against every other, directly or through others.
fn check_connected(items: usize, comparisons: &[Comparison]) -> Result<()> {
    let mut scored = vec![Vec::new(); items];
    let mut conceded = vec![Vec::new(); items];
    for c in comparisons.iter().filter(|c| c.weight > 0.0) {
        let mut edge = |winner: usize, loser: usize| {
            scored[winner].push(loser);
            conceded[loser].push(winner);
        };
        match c.outcome {
            Outcome::BetterA => edge(c.a, c.b),
            Outcome::BetterB => edge(c.b, c.a),
            Outcome::Tie | Outcome::BothBad => {
                edge(c.a, c.b);
                edge(c.b, c.a);
            }
            Outcome::Skipped => {}
        }
    }
    for (edges, what) in [(&scored, "conceded a point to"), (&conceded, "scored against")] {
        let mut seen = vec![false; items];
        let mut open = vec![0];
        seen[0] = true;
        while let Some(item) = open.pop() {
            for &other in &edges[item] {
                if !seen[other] {
                    seen[other] = true;
                    open.push(other);
                }
            }
        }
        if let Some(item) = seen.iter().position(|seen| !seen) {
            let reason = format!("item {item} never {what} item 0, directly or through others; set prior_games");
            return Err(Error::Undefined { what: "strength", reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn game(a: usize, b: usize, outcome: Outcome, weight: f64) -> Comparison {
        Comparison { a, b, outcome, weight }
    }

    #[test]
    fn two_items_have_a_closed_form() -> Result<()> {
        // Three frequencies, two parameters of a saturated model: e^d = 5/2, nu = 3 / sqrt(5 * 2).
        let games =
            [game(0, 1, Outcome::BetterA, 5.0), game(1, 0, Outcome::BetterA, 2.0), game(0, 1, Outcome::Tie, 3.0)];
        let fit = fit_strengths(2, &games, &FitConfig::default())?;
        assert!((fit.scores[0] - fit.scores[1] - 2.5_f64.ln()).abs() < 1e-8, "{fit:?}");
        assert!((fit.tie_strength - 3.0 / 10.0_f64.sqrt()).abs() < 1e-8 && fit.converged, "{fit:?}");
        Ok(())
    }

    #[test]
    fn at_the_fit_expected_points_are_points() -> Result<()> {
        let games = [
            game(0, 1, Outcome::BetterA, 7.0),
            game(0, 1, Outcome::BetterB, 3.0),
            game(1, 2, Outcome::BetterA, 4.0),
            game(1, 2, Outcome::BothBad, 2.0),
            game(2, 0, Outcome::BetterA, 1.0),
            game(2, 0, Outcome::Skipped, 100.0),
        ];
        for prior_games in [0.0, 2.0] {
            let fit = fit_strengths(3, &games, &FitConfig { prior_games, ..FitConfig::default() })?;
            let p = |a: usize, b: usize| {
                super::super::reference::log_outcomes(fit.scores[a] - fit.scores[b], fit.tie_strength).map(f64::exp)
            };
            let points = |a, b| p(a, b)[0] + p(a, b)[2] / 2.0;
            let prior = prior_games * (1.0 / (1.0 + (-fit.scores[0]).exp()) - 0.5);
            assert!((10.0 * points(0, 1) + points(0, 2) + prior - 7.0).abs() < 1e-6, "{fit:?}");
            assert!((10.0 * p(0, 1)[2] + 6.0 * p(1, 2)[2] + p(0, 2)[2] - 2.0).abs() < 1e-6, "{fit:?}");
        }
        Ok(())
    }

    #[test]
    fn an_unbeaten_item_needs_a_prior() -> Result<()> {
        let games = [game(0, 1, Outcome::BetterA, 2.0)];
        assert!(matches!(fit_strengths(2, &games, &FitConfig::default()), Err(Error::Undefined { .. })));
        let fit = fit_strengths(2, &games, &FitConfig { prior_games: 1.0, ..FitConfig::default() })?;
        assert!(fit.converged && fit.scores[0] > 0.0 && fit.scores[1] < 0.0);
        // Ties alone: nu grows without end and is cut off.
        let fit = fit_strengths(2, &[game(0, 1, Outcome::Tie, 2.0)], &FitConfig::default())?;
        assert!(fit.tie_strength <= TIE_STRENGTH_MAX && fit.scores == [0.0, 0.0]);
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() {
        let config = FitConfig::default();
        for bad in [game(0, 0, Outcome::Tie, 1.0), game(0, 2, Outcome::Tie, 1.0), game(0, 1, Outcome::Tie, -1.0)] {
            assert!(matches!(fit_strengths(2, &[bad], &config), Err(Error::Config { .. })), "{bad:?}");
        }
        assert!(matches!(fit_strengths(0, &[], &config), Err(Error::Undefined { .. })));
        assert!(matches!(fit_strengths(2, &[], &config), Err(Error::Undefined { .. })));
        assert!(fit_strengths(1, &[], &config).is_ok_and(|fit| fit.scores == [0.0]));
    }
}
