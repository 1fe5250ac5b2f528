//! From ratings to who wins, and how sure that is. Nothing here knows models or sound.
//!
//! Clips of one prompt are alike, and the raters of a clip hear the same sound, so ratings of one prompt are one
//! observation in many parts: intervals resample whole prompts, and the signed-rank test sees one difference a prompt.
//! With every rating an observation of its own, a test of 101 prompts by 3 raters would count 303 independent ones and
//! call chance significant too often.

use std::collections::{BTreeMap, BTreeSet};

use musicrl_core::{
    random::Key,
    stats::{
        Alternative, BootstrapConfig, ClusterResamples, Distribution, Interval, Tally, Zeros, holm, mean,
        percentile_interval, spearman, wilcoxon_signed_rank,
    },
};
use musicrl_feedback::Source;
use serde::{Deserialize, Serialize};

use super::{
    keys,
    leaderboard::{Leaderboard, leaderboard},
    ratings::{PanelRatings, Slot, label},
};
use crate::Result;

/// One system's opinion scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemScore {
    /// Its name.
    pub system: String,
    /// Ratings that it got.
    pub ratings: usize,
    /// Their mean, with its interval over prompts; `None` without a rating.
    pub mean_opinion_score: Option<Interval>,
    /// Comparisons that it won, over all pairs that it is part of.
    pub wins: u64,
    /// That tied.
    pub ties: u64,
    /// That it lost.
    pub losses: u64,
}

/// The signed-rank test of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedRank {
    /// Sum of ranks for a.
    pub w_plus: f64,
    /// Sum of ranks for b.
    pub w_minus: f64,
    /// Prompts whose mean difference is not 0.
    pub prompts: usize,
    /// Two-sided.
    pub p_value: f64,
    /// Corrected for the number of pairs (Holm).
    pub p_holm: f64,
    /// Standardised W+.
    pub z: f64,
    /// Where the p-value comes from.
    pub distribution: Distribution,
}

/// One pair of systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairReport {
    /// First system.
    pub a: String,
    /// Second system.
    pub b: String,
    /// Comparisons of two ratings by one rater for one prompt and take.
    pub tally: Tally,
    /// Ratings of one of the two without the other: they count nowhere in the pair.
    pub unpaired: usize,
    /// Prompts with a comparison.
    pub prompts: usize,
    /// Shares of wins, ties and losses of a; `None` without a comparison.
    pub shares: Option<[Interval; 3]>,
    /// Wins of a over its wins and losses; `None` when every comparison is a tie. A resample without a decided
    /// comparison counts as one half.
    pub win_rate: Option<Interval>,
    /// Mean of a's rating less b's.
    pub mean_difference: Option<Interval>,
    /// The test on one mean difference a prompt.
    pub signed_rank: Option<SignedRank>,
}

/// What one rater did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaterReport {
    /// The rater's name.
    pub rater: String,
    /// Ratings given.
    pub ratings: usize,
    /// Clips that others of the panel rated and this one, who was asked, did not: simulated listeners are asked about all
    /// systems' clips of their prompts, people about all clips.
    pub missing: usize,
}

/// All that one panel's ratings say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PanelReport {
    /// Whether the raters are people, or of which population.
    pub source: Source,
    /// The same in words, for whatever shows the numbers.
    pub label: String,
    /// Each rater.
    pub raters: Vec<RaterReport>,
    /// All ratings.
    pub ratings: usize,
    /// Prompts with a rating.
    pub prompts: usize,
    /// Mean over pairs of raters of Spearman's correlation on the clips that both rated; `None` where there is none.
    pub rater_agreement: Option<f64>,
    /// Each system.
    pub systems: Vec<SystemScore>,
    /// Each pair, first system by first system.
    pub pairs: Vec<PairReport>,
    /// Bradley-Terry strengths; `None` without a comparison.
    pub leaderboard: Option<Leaderboard>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

type Slots<'a> = BTreeMap<Slot<'a>, BTreeMap<usize, f64>>;

/// The report of one panel; `systems` are the names that [`Rating::system`](super::Rating::system) indexes.
///
/// # Errors
/// [`crate::Error::Config`] for ratings that break a rule (out of range, given twice, of a system that is not there) and
/// for bad settings.
pub fn panel_report(
    systems: &[String],
    panel: &PanelRatings,
    config: &BootstrapConfig,
    seed: u64,
) -> Result<PanelReport> {
    config.validate()?;
    let slots = panel.slots(systems.len())?;
    let key = keys::bootstrap(seed);
    let mut pairs = Vec::new();
    for a in 0..systems.len() {
        for b in a + 1..systems.len() {
            pairs.push(pair_report(&slots, (systems, a, b), config, key)?);
        }
    }
    correct(&mut pairs)?;
    let scores = (0..systems.len()).map(|at| system_score(&slots, (systems, at), &pairs, config, key));
    let raters = rater_reports(panel);
    let mut notes = Vec::new();
    if let Source::Simulated { population } = &panel.source {
        notes.push(format!("no person rated these clips: the listeners are a program's population `{population}`"));
    }
    for pair in &pairs {
        one_sided(pair, config.confidence, &mut notes);
    }
    if slots.keys().map(|slot| slot.0).collect::<BTreeSet<_>>().len() < 20 {
        notes.push("fewer than 20 prompts: intervals over prompts come out too narrow".into());
    }
    Ok(PanelReport {
        source: panel.source.clone(),
        label: label(&panel.source, raters.len()),
        ratings: panel.ratings.len(),
        prompts: slots.keys().map(|slot| slot.0).collect::<BTreeSet<_>>().len(),
        rater_agreement: rater_agreement(panel),
        systems: scores.collect::<Result<_>>()?,
        leaderboard: leaderboard(systems, &slots, config, key)?,
        raters,
        pairs,
        notes,
    })
}

/// Several statistics of the same resamples.
fn intervals<const N: usize>(
    clusters: &[usize],
    config: &BootstrapConfig,
    key: Key,
    statistics: impl Fn(&[usize]) -> [f64; N],
) -> Result<[Interval; N]> {
    let resamples = ClusterResamples::new(clusters, config, key)?;
    let mut replicates: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(config.resamples));
    let mut positions = Vec::with_capacity(clusters.len());
    for resample in 0..config.resamples {
        positions.clear();
        resamples.draw(resample, |at| positions.push(at));
        replicates.iter_mut().zip(statistics(&positions)).for_each(|(list, value)| list.push(value));
    }
    let estimates = statistics(&(0..clusters.len()).collect::<Vec<_>>());
    let mut made = Vec::with_capacity(N);
    for (estimate, replicates) in estimates.into_iter().zip(replicates) {
        made.push(percentile_interval(estimate, replicates, config)?);
    }
    let zero = Interval { estimate: 0.0, low: 0.0, high: 0.0, standard_error: 0.0 };
    Ok(std::array::from_fn(|at| made.get(at).copied().unwrap_or(zero)))
}

fn pair_report(
    slots: &Slots<'_>,
    (systems, a, b): (&[String], usize, usize),
    config: &BootstrapConfig,
    key: Key,
) -> Result<PairReport> {
    let (mut prompts, mut first, mut second, mut unpaired) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for ((prompt, ..), ratings) in slots {
        match (ratings.get(&a), ratings.get(&b)) {
            (Some(x), Some(y)) => {
                prompts.push(*prompt);
                first.push(*x);
                second.push(*y);
            }
            (None, None) => {}
            _ => unpaired += 1,
        }
    }
    let mut report = PairReport {
        a: systems[a].clone(),
        b: systems[b].clone(),
        tally: Tally::of_ratings(&first, &second),
        unpaired,
        prompts: prompts.iter().collect::<BTreeSet<_>>().len(),
        shares: None,
        win_rate: None,
        mean_difference: None,
        signed_rank: None,
    };
    if prompts.is_empty() {
        return Ok(report);
    }
    let statistics = |at: &[usize]| {
        let n = at.len() as f64;
        let count =
            |holds: fn(f64, f64) -> bool| at.iter().filter(|at| holds(first[**at], second[**at])).count() as f64;
        let (wins, losses) = (count(|x, y| x > y), count(|x, y| x < y));
        let win_rate = if wins + losses > 0.0 { wins / (wins + losses) } else { 0.5 };
        let difference = at.iter().map(|at| first[*at] - second[*at]).sum::<f64>() / n;
        [wins / n, (n - wins - losses) / n, losses / n, win_rate, difference]
    };
    let [wins, ties, losses, win_rate, difference] = intervals(&prompts, config, key, statistics)?;
    report.shares = Some([wins, ties, losses]);
    report.win_rate = report.tally.win_rate().map(|_| win_rate);
    report.mean_difference = Some(difference);

    let mut by_prompt = BTreeMap::<usize, Vec<f64>>::new();
    for (prompt, (x, y)) in prompts.iter().zip(first.iter().zip(&second)) {
        by_prompt.entry(*prompt).or_default().push(x - y);
    }
    // Rounding must not make a difference of differences that cancel, nor tell equal ones apart.
    let differences: Vec<f64> = by_prompt.values().map(|values| (mean(values) * 1e9).round() / 1e9).collect();
    // Pratt: a prompt on which the two are equal says that they are alike, and stays in the ranking.
    let test = wilcoxon_signed_rank(&differences, Zeros::Pratt, Alternative::TwoSided)?;
    report.signed_rank = Some(SignedRank {
        w_plus: test.w_plus,
        w_minus: test.w_minus,
        prompts: test.n,
        p_value: test.p_value,
        p_holm: test.p_value,
        z: test.z,
        distribution: test.distribution,
    });
    Ok(report)
}

/// Holm over the pairs that have a test.
fn correct(pairs: &mut [PairReport]) -> Result<()> {
    let mut tests: Vec<&mut SignedRank> = pairs.iter_mut().filter_map(|pair| pair.signed_rank.as_mut()).collect();
    let adjusted = holm(&tests.iter().map(|test| test.p_value).collect::<Vec<_>>())?;
    tests.iter_mut().zip(adjusted).for_each(|(test, p)| test.p_holm = p);
    Ok(())
}

/// Where all decided comparisons went one way, resampling cannot show doubt: says what k prompts can exclude.
fn one_sided(pair: &PairReport, confidence: f64, notes: &mut Vec<String>) {
    let (wins, losses) = (pair.tally.wins, pair.tally.losses);
    let winner = match (wins, losses) {
        (0, 0) => return,
        (_, 0) => &pair.a,
        (0, _) => &pair.b,
        _ => return,
    };
    let prompts = pair.signed_rank.as_ref().map_or(1, |test| test.prompts.max(1));
    let excluded = 100.0 * (1.0 - confidence).powf(1.0 / prompts as f64);
    notes.push(format!(
        "{} against {}: every decided comparison went to {winner}, so that resampling shows no doubt; {prompts} prompts \
         exclude no more than a share of prompts below {excluded:.0} % (at {:.0} % confidence)",
        pair.a,
        pair.b,
        100.0 * confidence
    ));
}

fn system_score(
    slots: &Slots<'_>,
    (systems, at): (&[String], usize),
    pairs: &[PairReport],
    config: &BootstrapConfig,
    key: Key,
) -> Result<SystemScore> {
    let rated = slots.iter().filter_map(|((prompt, ..), ratings)| Some((*prompt, *ratings.get(&at)?)));
    let (prompts, values): (Vec<usize>, Vec<f64>) = rated.unzip();
    let mean_opinion_score = if values.is_empty() {
        None
    } else {
        let mean = |at: &[usize]| [at.iter().map(|at| values[*at]).sum::<f64>() / at.len() as f64];
        let [interval] = intervals(&prompts, config, key, mean)?;
        Some(interval)
    };
    let mut score = SystemScore {
        system: systems[at].clone(),
        ratings: values.len(),
        mean_opinion_score,
        wins: 0,
        ties: 0,
        losses: 0,
    };
    for pair in pairs {
        let Tally { wins, ties, losses } = pair.tally;
        if pair.a == systems[at] {
            (score.wins, score.ties, score.losses) = (score.wins + wins, score.ties + ties, score.losses + losses);
        } else if pair.b == systems[at] {
            (score.wins, score.ties, score.losses) = (score.wins + losses, score.ties + ties, score.losses + wins);
        }
    }
    Ok(score)
}

/// A clip: system, prompt, take.
type Place = (usize, usize, usize);

fn by_rater(panel: &PanelRatings) -> BTreeMap<&str, BTreeMap<Place, f64>> {
    let mut raters = BTreeMap::<&str, BTreeMap<Place, f64>>::new();
    for rating in &panel.ratings {
        let place = (rating.system, rating.prompt, rating.take);
        raters.entry(&rating.rater).or_default().insert(place, rating.rating);
    }
    raters
}

fn rater_reports(panel: &PanelRatings) -> Vec<RaterReport> {
    let clips: BTreeSet<Place> = panel.ratings.iter().map(|r| (r.system, r.prompt, r.take)).collect();
    let report = |(rater, ratings): (&str, BTreeMap<Place, f64>)| {
        // A simulated listener was asked about its own prompts, a person about all.
        let prompts: BTreeSet<usize> = ratings.keys().map(|place| place.1).collect();
        let asked = |place: &&Place| panel.source == Source::Human || prompts.contains(&place.1);
        RaterReport {
            rater: rater.into(),
            ratings: ratings.len(),
            missing: clips.iter().filter(asked).count() - ratings.len(),
        }
    };
    by_rater(panel).into_iter().map(report).collect()
}

fn rater_agreement(panel: &PanelRatings) -> Option<f64> {
    let raters: Vec<BTreeMap<Place, f64>> = by_rater(panel).into_values().collect();
    let mut correlations = Vec::new();
    for (at, a) in raters.iter().enumerate() {
        for b in &raters[..at] {
            let common = a.iter().filter_map(|(place, x)| Some((*x, *b.get(place)?)));
            let (x, y): (Vec<f64>, Vec<f64>) = common.unzip();
            // A rater who always says the same agrees with nobody in particular: no correlation.
            correlations.extend(spearman(&x, &y).ok());
        }
    }
    (!correlations.is_empty()).then(|| mean(&correlations))
}

#[cfg(test)]
mod tests;
