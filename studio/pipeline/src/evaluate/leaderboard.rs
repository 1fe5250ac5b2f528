//! Strengths of the systems from all comparisons at once.

use std::collections::BTreeMap;

use musicrl_core::{
    Error as CoreError,
    preference::{Comparison, FitConfig, Outcome, Strengths, fit_strengths},
    random::Key,
    stats::{BootstrapConfig, ClusterResamples, Interval, percentile_interval},
};
use serde::{Deserialize, Serialize};

use super::ratings::Slot;
use crate::Result;

/// Games against an imaginary average system where the comparisons alone do not place every system: one, half won and
/// half lost.
const PRIOR_GAMES: f64 = 1.0;

/// One system's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardRow {
    /// Its name.
    pub system: String,
    /// Natural logarithm of its strength: P(a beats b) / P(b beats a) = e^(score a - score b). The mean is 0 without a
    /// prior.
    pub score: Interval,
    /// Share of the resamples of prompts in which it is the strongest; equal ones share.
    pub best_share: f64,
}

/// Bradley-Terry strengths with ties (Davidson), the strongest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// Each system that was compared.
    pub rows: Vec<LeaderboardRow>,
    /// Davidson's nu: 0 without ties, `None` where there is nothing but ties.
    pub tie_strength: Option<f64>,
    /// Games against an imaginary system: 0 where the comparisons place every system by themselves.
    pub prior_games: f64,
    /// Resamples that needed the prior although the data did not.
    pub resamples_with_prior: usize,
    /// Whether the fit met its tolerance.
    pub converged: bool,
}

/// Wins of the first, of the second, ties.
type Counts = [f64; 3];

/// The comparisons of one prompt, by pair of systems.
type PromptCounts = BTreeMap<(usize, usize), Counts>;

/// The leaderboard, with intervals over prompts; `None` without a comparison. Systems that nobody compared have no row.
pub(super) fn leaderboard(
    systems: &[String],
    slots: &BTreeMap<Slot<'_>, BTreeMap<usize, f64>>,
    config: &BootstrapConfig,
    key: Key,
) -> Result<Option<Leaderboard>> {
    let mut prompts = BTreeMap::<usize, PromptCounts>::new();
    for ((prompt, ..), ratings) in slots {
        let counts = prompts.entry(*prompt).or_default();
        for (a, x) in ratings {
            for (b, y) in ratings.range(a + 1..) {
                let outcome = if x > y {
                    0
                } else if x < y {
                    1
                } else {
                    2
                };
                counts.entry((*a, *b)).or_default()[outcome] += 1.0;
            }
        }
    }
    prompts.retain(|_, counts| !counts.is_empty());
    if prompts.is_empty() {
        return Ok(None);
    }
    let clusters: Vec<usize> = prompts.keys().copied().collect();
    let prompts: Vec<PromptCounts> = prompts.into_values().collect();
    let mut compared: Vec<usize> = prompts.iter().flat_map(PromptCounts::keys).flat_map(|(a, b)| [*a, *b]).collect();
    compared.sort_unstable();
    compared.dedup();
    // Fits number the compared systems through.
    let place: BTreeMap<usize, usize> = compared.iter().enumerate().map(|(at, system)| (*system, at)).collect();
    let comparisons = |positions: &mut dyn Iterator<Item = usize>| {
        let mut total = PromptCounts::new();
        for (pair, counts) in positions.flat_map(|at| &prompts[at]) {
            let sum = total.entry(*pair).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let outcomes = [Outcome::BetterA, Outcome::BetterB, Outcome::Tie];
        let weighted = |((a, b), counts): ((usize, usize), Counts)| {
            let (a, b) = (place[&a], place[&b]);
            outcomes.into_iter().zip(counts).map(move |(outcome, weight)| Comparison { a, b, outcome, weight })
        };
        total.into_iter().flat_map(weighted).collect::<Vec<_>>()
    };
    let exact = FitConfig::default();
    let (fit, prior_games) = fit(compared.len(), &comparisons(&mut (0..prompts.len())), &exact)?;
    let quick = FitConfig { prior_games, tolerance: 1e-6, rounds_max: 3_000 };
    let resamples = ClusterResamples::new(&clusters, config, key)?;
    let mut replicates = vec![Vec::with_capacity(config.resamples); compared.len()];
    let mut best = vec![0.0; compared.len()];
    let mut resamples_with_prior = 0;
    for resample in 0..config.resamples {
        let mut positions = Vec::with_capacity(prompts.len());
        resamples.draw(resample, |at| positions.push(at));
        let (strengths, prior) = self::fit(compared.len(), &comparisons(&mut positions.into_iter()), &quick)?;
        resamples_with_prior += usize::from(prior > prior_games);
        let top = strengths.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first: Vec<usize> = (0..compared.len()).filter(|at| strengths.scores[*at] > top - 1e-9).collect();
        first.iter().for_each(|at| best[*at] += 1.0 / first.len() as f64);
        replicates.iter_mut().zip(strengths.scores).for_each(|(list, score)| list.push(score));
    }
    let mut rows = Vec::with_capacity(compared.len());
    for ((at, system), replicates) in compared.iter().enumerate().zip(replicates) {
        rows.push(LeaderboardRow {
            system: systems[*system].clone(),
            score: percentile_interval(fit.scores[at], replicates, config)?,
            best_share: best[at] / config.resamples as f64,
        });
    }
    // Equal ones keep the order in which they were named.
    rows.sort_by(|a, b| b.score.estimate.total_cmp(&a.score.estimate));
    Ok(Some(Leaderboard {
        rows,
        tie_strength: fit.tie_strength.is_finite().then_some(fit.tie_strength),
        prior_games,
        resamples_with_prior,
        converged: fit.converged,
    }))
}

/// Maximum likelihood where it exists, else with the prior; says which. Of ties alone all are equally strong; the tie
/// strength, which would grow without end, is infinite.
fn fit(items: usize, comparisons: &[Comparison], config: &FitConfig) -> Result<(Strengths, f64)> {
    if comparisons.iter().all(|comparison| comparison.outcome == Outcome::Tie || comparison.weight == 0.0) {
        let scores = vec![0.0; items];
        let strengths = Strengths { scores, tie_strength: f64::INFINITY, rounds: 0, converged: true };
        return Ok((strengths, config.prior_games));
    }
    match fit_strengths(items, comparisons, config) {
        Err(CoreError::Undefined { .. }) if config.prior_games == 0.0 => {
            let config = FitConfig { prior_games: PRIOR_GAMES, ..*config };
            Ok((fit_strengths(items, comparisons, &config)?, PRIOR_GAMES))
        }
        other => Ok((other?, config.prior_games)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One rater, one take: ratings `[prompt][system]`.
    fn board(ratings: &[Vec<Option<f64>>]) -> Option<Leaderboard> {
        let slots = ratings.iter().enumerate().map(|(prompt, systems)| {
            let rated = systems.iter().enumerate().filter_map(|(system, rating)| Some((system, (*rating)?)));
            ((prompt, 0, "r"), rated.collect())
        });
        let systems = ["a", "b", "c"].map(str::to_string);
        let config = BootstrapConfig { resamples: 300, confidence: 0.95 };
        leaderboard(&systems, &slots.collect(), &config, super::super::keys::bootstrap(1)).unwrap()
    }

    #[test]
    fn two_systems_have_the_log_odds_of_their_wins() {
        // b wins 30 of 40, no ties: scores apart by ln 3.
        let rows: Vec<_> = (0..40).map(|p| vec![Some(3.0), Some(if p < 30 { 4.0 } else { 2.0 })]).collect();
        let made = board(&rows).unwrap();
        let difference = made.rows[0].score.estimate - made.rows[1].score.estimate;
        assert_eq!((made.rows[0].system.as_str(), made.rows.len(), made.prior_games), ("b", 2, 0.0));
        assert!((difference - 3.0_f64.ln()).abs() < 1e-8 && made.converged, "{made:?}");
        // Half the difference each; its standard error is about 1 / sqrt(n p q) / 2.
        let expected = 0.5 / (40.0 * 0.75 * 0.25_f64).sqrt();
        assert!((made.rows[0].score.standard_error / expected - 1.0).abs() < 0.2, "{made:?}");
        assert!(made.rows[0].best_share > 0.99);
    }

    #[test]
    fn a_system_is_placed_through_others_and_by_the_prior_where_it_cannot_be() {
        // a and b are never heard together; c beats both, b loses to it less often.
        let against = |system: usize, wins: usize| {
            (0..20).map(move |p| {
                let mut row = vec![None, None, Some(3.0)];
                row[system] = Some(if p < wins { 4.0 } else { 2.0 });
                row
            })
        };
        let made = board(&against(0, 2).chain(against(1, 8)).collect::<Vec<_>>()).unwrap();
        let order: Vec<&str> = made.rows.iter().map(|row| row.system.as_str()).collect();
        assert_eq!((order, made.prior_games), (vec!["c", "b", "a"], 0.0));
        assert!(made.resamples_with_prior > 0, "a resample in which a never wins");
        let unbeaten = board(&against(0, 0).collect::<Vec<_>>()).unwrap();
        assert!(unbeaten.prior_games > 0.0 && unbeaten.rows.iter().all(|row| row.score.estimate.is_finite()));
        assert_eq!(unbeaten.rows.len(), 2);
        assert!(board(&[vec![Some(3.0)]]).is_none());
    }
}
