//! The trade-off between rewards: settings of weights by what they brought, and their Pareto front.

use std::{collections::BTreeMap, fmt};

use musicrl_core::{
    random::{Key, Purpose},
    stats::{BootstrapConfig, ClusterResamples, Interval},
};
use serde::{Deserialize, Serialize};

use super::{
    measured::{mean_of, plain},
    pareto::pareto_front,
};
use crate::{Error, Result, align::judges::TRUE_UTILITY, evaluate::Evaluation};

/// The rewards that are weighed, in the order of the weights.
pub const REWARDS: [&str; 3] = ["text_adherence", "acoustic_quality", "user_preference"];

/// A reward's scores over the base's clips: one standard deviation is what a weight counts in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardScale {
    /// The reward.
    pub reward: String,
    /// Mean over the base's clips.
    pub mean: f64,
    /// Standard deviation over them.
    pub deviation: f64,
}

impl RewardScale {
    /// The raw scores that become 0 and 1: a scaled score is then (x - mean) / deviation.
    #[must_use]
    pub fn range(&self) -> [f64; 2] {
        [self.mean, self.mean + self.deviation]
    }
}

/// One setting, or the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsRow {
    /// Its name.
    pub system: String,
    /// Its weights; `None` for the base.
    pub weights: Option<[f64; 3]>,
    /// Mean raw scores, in the order of [`REWARDS`].
    pub rewards: [Option<Interval>; 3],
    /// Mean true utility of each population: (population, mean).
    pub utilities: Vec<(String, Option<Interval>)>,
    /// Whether it is on the Pareto front of the three means, the base taking part.
    pub on_front: bool,
    /// Share of resamples of prompts in which it is.
    pub front_share: f64,
}

/// What the settings brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsFindings {
    /// What weights count in.
    pub scales: Vec<RewardScale>,
    /// The base, then the settings.
    pub rows: Vec<WeightsRow>,
}

/// The name of the setting at `index`.
#[must_use]
pub fn setting_name(index: usize) -> String {
    format!("setting-{}", index + 1)
}

/// Mean and deviation of each reward over the clips of system `base`.
///
/// # Errors
/// [`Error::Config`] where a reward says the same of every clip, or of fewer than two.
pub fn scales(evaluation: &Evaluation) -> Result<Vec<RewardScale>> {
    let scores = scores(evaluation, "base");
    let scale = |(at, reward): (usize, &&str)| {
        let values: Vec<f64> = scores.iter().map(|(_, scores)| scores[at]).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0).max(1.0);
        // A spread that is rounding is none.
        if values.len() < 2 || variance.sqrt() <= 1e-9 * mean.abs() || variance == 0.0 {
            let got = format!("one score for {} clips", values.len());
            return Err(Error::config(format!("reward `{reward}`"), "scores of the base's clips that differ", got));
        }
        Ok(RewardScale { reward: (*reward).into(), mean, deviation: variance.sqrt() })
    };
    REWARDS.iter().enumerate().map(scale).collect()
}

/// Prompt and scores of the clips of a system that all three rewards could score.
fn scores(evaluation: &Evaluation, system: &str) -> Vec<(usize, [f64; 3])> {
    let Some(listening) = &evaluation.listening else { return Vec::new() };
    let Some(at) = evaluation.systems.iter().position(|info| info.name == system) else { return Vec::new() };
    let place = |name: &str| listening.measures.iter().position(|measure| measure.name == name);
    let places = REWARDS.map(place);
    let of = |clip: &crate::evaluate::listen::ClipReport| {
        let score = |place: Option<usize>| clip.scores.get(place?).copied().flatten();
        let [Some(a), Some(b), Some(c)] = places.map(score) else { return None };
        Some((clip.prompt, [a, b, c]))
    };
    listening.clips.iter().filter(|clip| clip.system == at).filter_map(of).collect()
}

/// The findings of settings with these weights, from the evaluation of `base` and the settings.
///
/// # Errors
/// When resampling is refused, which settings of the bootstrap alone can cause.
pub fn findings(
    evaluation: &Evaluation,
    scales: Vec<RewardScale>,
    populations: &[String],
    weights: &[[f64; 3]],
) -> Result<WeightsFindings> {
    let settings = weights.iter().enumerate().map(|(at, weights)| (setting_name(at), Some(*weights)));
    let systems: Vec<(String, Option<[f64; 3]>)> =
        std::iter::once(("base".to_string(), None)).chain(settings).collect();
    let scores: Vec<Vec<(usize, [f64; 3])>> = systems.iter().map(|(name, _)| self::scores(evaluation, name)).collect();
    let front = pareto_front(&scores.iter().map(|clips| mean_point(clips.iter().map(|(_, x)| x))).collect::<Vec<_>>());
    let shares = front_shares(&scores, &evaluation.statistics.bootstrap, evaluation.seed)?;
    let row = |(at, (system, weights)): (usize, (String, Option<[f64; 3]>))| WeightsRow {
        weights,
        rewards: REWARDS.map(|reward| mean_of(evaluation, reward, &system)),
        utilities: populations
            .iter()
            .map(|population| {
                (population.clone(), mean_of(evaluation, &format!("{TRUE_UTILITY}{population}"), &system))
            })
            .collect(),
        on_front: front.contains(&at),
        front_share: shares[at],
        system,
    };
    Ok(WeightsFindings { scales, rows: systems.into_iter().enumerate().map(row).collect() })
}

/// NaN of no clips, so that such a system is on no front.
fn mean_point<'a>(clips: impl Iterator<Item = &'a [f64; 3]>) -> [f64; 3] {
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for scores in clips {
        sum.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
        count += 1.0;
    }
    sum.map(|sum: f64| sum / count)
}

/// How often each system is on the front when prompts are resampled, the same ones for all.
fn front_shares(scores: &[Vec<(usize, [f64; 3])>], config: &BootstrapConfig, seed: u64) -> Result<Vec<f64>> {
    let by_prompt: Vec<BTreeMap<usize, Vec<[f64; 3]>>> = scores
        .iter()
        .map(|clips| {
            let mut prompts = BTreeMap::<usize, Vec<[f64; 3]>>::new();
            clips.iter().for_each(|(prompt, scores)| prompts.entry(*prompt).or_default().push(*scores));
            prompts
        })
        .collect();
    let mut prompts: Vec<usize> = by_prompt.iter().flat_map(BTreeMap::keys).copied().collect();
    prompts.sort_unstable();
    prompts.dedup();
    let mut counts = vec![0_usize; scores.len()];
    if prompts.is_empty() {
        return Ok(vec![0.0; scores.len()]);
    }
    let resamples = ClusterResamples::new(&prompts, config, Key::new(seed, Purpose::Bootstrap))?;
    for resample in 0..config.resamples {
        let mut drawn = Vec::with_capacity(prompts.len());
        resamples.draw(resample, |at| drawn.push(prompts[at]));
        let point = |clips: &BTreeMap<usize, Vec<[f64; 3]>>| {
            mean_point(drawn.iter().filter_map(|prompt| clips.get(prompt)).flatten())
        };
        let points: Vec<[f64; 3]> = by_prompt.iter().map(point).collect();
        pareto_front(&points).into_iter().for_each(|at| counts[at] += 1);
    }
    Ok(counts.into_iter().map(|count| count as f64 / config.resamples as f64).collect())
}

impl fmt::Display for WeightsFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "system     weights            means of text adherence, acoustic quality, user preference")?;
        for row in &self.rows {
            let weights = row.weights.map_or_else(String::new, |[a, b, c]| format!("{a:.2} {b:.2} {c:.2}"));
            write!(f, "{:<11}{weights:<19}", row.system)?;
            row.rewards.iter().try_for_each(|mean| write!(f, "{:<26}", plain(mean.as_ref())))?;
            let front = if row.on_front { "on the front" } else { "" };
            writeln!(f, "{front:<13}({:.0} % of resamples)", 100.0 * row.front_share)?;
        }
        for row in &self.rows {
            for (population, mean) in &row.utilities {
                let words = plain(mean.as_ref());
                writeln!(f, "{:<11}true utility of {population} (simulated): {words}", row.system)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_winner_is_on_every_front_and_a_loser_on_none() {
        let clips = |base: [f64; 3]| -> Vec<(usize, [f64; 3])> {
            (0..20).map(|prompt| (prompt, base.map(|x| x + 0.01 * (prompt % 3) as f64))).collect()
        };
        let mut noisy = clips([0.5, 0.5, 0.5]);
        // As good as the first in one reward on half of the prompts only.
        noisy.iter_mut().step_by(2).for_each(|(_, scores)| scores[0] += 1.0);
        let config = BootstrapConfig::default();
        let scores = [clips([1.0, 0.0, 1.0]), clips([0.0, 1.0, 1.0]), clips([0.0, 0.0, 0.0]), noisy];
        let shares = front_shares(&scores, &config, 1).unwrap();
        assert_eq!(shares[..3], [1.0, 1.0, 0.0]);
        assert_eq!(shares[3], 1.0, "half of everything is beaten by no corner");
        assert_eq!(front_shares(&[Vec::new()], &config, 1).unwrap(), [0.0]);
        // Two that differ by noise alone change places.
        let wobbly = |up: usize| -> Vec<(usize, [f64; 3])> {
            (0..20).map(|prompt| (prompt, [if prompt % 2 == up { 1.0 } else { 0.0 }; 3])).collect()
        };
        let shares = front_shares(&[wobbly(0), wobbly(1)], &config, 1).unwrap();
        assert!(shares.iter().all(|share| (0.3..0.9).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_weight_counts_standard_deviations() {
        let scale = RewardScale { reward: "x".into(), mean: 0.5, deviation: 0.25 };
        let [low, high] = scale.range();
        assert_eq!(((1.0 - low) / (high - low), (0.25 - low) / (high - low)), (2.0, -1.0));
    }
}
