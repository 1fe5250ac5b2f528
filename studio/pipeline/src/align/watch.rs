//! Watchers against over-optimisation: judges that a stage does not learn from, held against the reward that it does.
//!
//! A reward model is right about the clips that it was trained on and about clips like them. A policy that is pushed on
//! finds clips that the model is wrong about: the reward goes on rising while what it stands for falls (Gao et al.,
//! "Scaling laws for reward model overoptimization", 2023). Judges that are not trained on need not be wrong about the
//! same clips. At each evaluation, on the same captions and random numbers,
//!
//! gain_j = (m_j - m_j(0)) / s_j(0), with m_j and s_j the mean and the standard deviation of judge j over clips,
//!
//! in evaluation 0 of the stage. `gain_proxy` is that of the total reward, `gain_watchers` the mean over watchers. The two
//! have *parted* when the watchers have fallen from their best by more than two standard errors of a difference of means,
//! 2 sqrt(2 / n) over n clips, while the proxy has not. `gain_validation` is the mean over those watchers that a recipe names
//! as its validation: by it alone a guarded choice is then made (Gao et al. choose by a gold reward model; a second model that
//! was trained on other judgements is the nearest thing that there is outside simulation).

use std::collections::BTreeMap;

use musicrl_core::reward::{PartReport, Score, SumReport};
use serde::{Deserialize, Serialize};

use super::judges::TRUE_UTILITY;
use crate::training::Metrics;

/// Key of the total among the judges: no judge can have this name.
const TOTAL: &str = "=total";

/// Mean and standard deviation of a judge's scores as the stage began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    mean: f64,
    spread: f64,
}

impl Level {
    /// `None` where fewer than two clips could be scored.
    fn of(scores: &[Score]) -> Option<Self> {
        let values: Vec<f64> = scores.iter().filter_map(Score::value).collect();
        if values.len() < 2 {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0);
        Some(Self { mean, spread: variance.sqrt() })
    }
}

/// Where the watchers were best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Best {
    step: u64,
    watchers: f64,
    proxy: f64,
}

/// What is remembered from one evaluation to the next. Plain data, so that a checkpoint can carry it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    start: BTreeMap<String, Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<Best>,
}

/// What an evaluation says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// `gain_proxy`, with watchers `gain_watchers`, with a validation `gain_validation`.
    pub metrics: Metrics,
    /// Whether there are watchers and none of their mean is lost beyond noise.
    pub watchers_hold: bool,
    /// What a guarded choice goes by: the gain of the validation; without one that of the proxy where the watchers hold.
    pub choice: Option<f64>,
    /// That the proxy and the watchers have parted.
    pub parted: Option<String>,
}

impl Watch {
    /// Takes what the judges said in an evaluation after `step` steps; the first one is what the others are held against.
    /// `validation` names those of the watchers that a guarded choice goes by, if any.
    pub fn observe(&mut self, step: u64, verdicts: &SumReport, validation: &[String]) -> Watched {
        // The truth of a simulation is drawn and never chooses: outside simulation nobody has it.
        let watches = |part: &&PartReport| part.weight == 0.0 && !part.name.starts_with(TRUE_UTILITY);
        let watchers = || verdicts.parts.iter().filter(watches);
        if self.start.is_empty() {
            let judges = watchers().map(|part| (part.name.as_str(), &part.raw)).chain([(TOTAL, &verdicts.total)]);
            self.start = judges.filter_map(|(name, scores)| Some((name.to_string(), Level::of(scores)?))).collect();
        }
        let mut watched = Watched::default();
        let Some(proxy) = self.gain(TOTAL, &verdicts.total) else { return watched };
        watched.metrics.push("gain_proxy", proxy);
        let gains: Vec<f64> = watchers().filter_map(|part| self.gain(&part.name, &part.raw)).collect();
        if gains.is_empty() {
            return watched;
        }
        let gain = mean(&gains);
        watched.metrics.push("gain_watchers", gain);
        watched.watchers_hold = true;
        match self.best.filter(|best| best.watchers >= gain) {
            None => self.best = Some(Best { step, watchers: gain, proxy }),
            Some(best) => {
                let clips = verdicts.total.iter().filter(|score| score.value().is_some()).count();
                let noise = 2.0 * (2.0 / clips.max(1) as f64).sqrt();
                watched.watchers_hold = best.watchers - gain <= noise;
                if !watched.watchers_hold && proxy >= best.proxy {
                    watched.parted = Some(format!(
                        "the reward and its watchers have parted: since step {} the reward has gone from {:+.2} to \
                         {proxy:+.2} standard deviations, the watchers from {:+.2} to {gain:+.2} (step {step})",
                        best.step, best.proxy, best.watchers
                    ));
                }
            }
        }
        if validation.is_empty() {
            watched.choice = watched.watchers_hold.then_some(proxy);
            return watched;
        }
        let named = watchers().filter(|part| validation.contains(&part.name));
        let gains: Option<Vec<f64>> = named.map(|part| self.gain(&part.name, &part.raw)).collect();
        // One that is silent would leave the choice to the others.
        if let Some(gains) = gains.filter(|gains| gains.len() == validation.len()) {
            watched.metrics.push("gain_validation", mean(&gains));
            watched.choice = Some(mean(&gains));
        }
        watched
    }

    /// `None` for a judge that said nothing, or the same about every clip, as the stage began.
    fn gain(&self, name: &str, scores: &[Score]) -> Option<f64> {
        let start = self.start.get(name).filter(|start| start.spread > 0.0)?;
        Some((Level::of(scores)?.mean - start.mean) / start.spread)
    }
}

/// Of one number at least.
fn mean(gains: &[f64]) -> f64 {
    gains.iter().sum::<f64>() / gains.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixty-four clips; the reward and one watcher, each from `-1, 1, -1, ...` moved by so much.
    fn verdicts(proxy: f64, watcher: f64) -> SumReport {
        let scores = |by: f64| (0..64).map(|i| Score::Value(f64::from(2 * (i % 2) - 1) + by)).collect::<Vec<_>>();
        let part = |name: &str, weight: f64, by: f64| PartReport {
            name: name.into(),
            weight,
            raw: scores(by),
            scaled: scores(by),
        };
        SumReport { parts: vec![part("proxy", 1.0, proxy), part("other", 0.0, watcher)], total: scores(proxy) }
    }

    #[test]
    fn gains_are_in_standard_deviations_of_the_start() {
        let mut watch = Watch::default();
        let first = watch.observe(0, &verdicts(3.0, -5.0), &[]);
        assert_eq!(first.metrics.0, [("gain_proxy".into(), 0.0), ("gain_watchers".into(), 0.0)]);
        let spread = (64.0_f64 / 63.0).sqrt();
        let second = watch.observe(10, &verdicts(4.0, -5.5), &[]);
        assert!((second.metrics.get("gain_proxy").unwrap() - 1.0 / spread).abs() < 1e-12);
        assert!((second.metrics.get("gain_watchers").unwrap() + 0.5 / spread).abs() < 1e-12);
    }

    #[test]
    fn they_part_when_the_reward_rises_and_the_watchers_fall_beyond_noise() {
        let mut watch = Watch::default();
        // Two standard errors of a difference over 64 clips: 0.354.
        for (step, proxy, watcher, parted) in [
            (0, 0.0, 0.0, false),
            (1, 0.5, 0.4, false),
            (2, 1.0, 0.1, false),
            (3, 1.5, 0.0, true),
            (4, 0.2, 0.0, false),
            (5, 2.0, 0.5, false),
            (6, 2.5, -1.0, true),
        ] {
            let watched = watch.observe(step, &verdicts(proxy, watcher), &[]);
            assert_eq!(watched.parted.is_some(), parted, "step {step}");
            // At step 4 the watchers have not come back, though the reward is below what it was with them at their best.
            assert_eq!(watched.watchers_hold, !parted && step != 4, "step {step}");
        }
        let text = watch.observe(7, &verdicts(3.0, -2.0), &[]).parted.unwrap();
        assert!(text.contains("since step 5") && text.contains("(step 7)"), "{text}");
    }

    #[test]
    fn what_cannot_be_compared_is_left_out() {
        let mut report = verdicts(0.0, 0.0);
        report.parts[1].raw.fill(Score::Value(2.0));
        let mut watch = Watch::default();
        assert_eq!(watch.observe(0, &report, &[]).metrics.get("gain_watchers"), None);
        report.total.fill(Score::Unscorable("silence".into()));
        assert_eq!(Watch::default().observe(0, &report, &[]), Watched::default());
    }

    #[test]
    fn the_truth_of_a_simulation_does_not_choose() {
        let mut report = verdicts(0.0, 0.0);
        report.parts[1].name = "true_utility_village".into();
        let mut watch = Watch::default();
        assert_eq!(watch.observe(0, &report, &[]).metrics.0, [("gain_proxy".into(), 0.0)]);
    }

    #[test]
    fn the_validation_chooses_in_the_place_of_the_reward() {
        let mut watch = Watch::default();
        let validation = ["second".to_string()];
        let with = |proxy: f64, other: f64, second: f64| {
            let mut report = verdicts(proxy, other);
            let mut part = verdicts(0.0, second).parts.remove(1);
            part.name = "second".into();
            report.parts.push(part);
            report
        };
        assert_eq!(watch.observe(0, &with(0.0, 0.0, 0.0), &validation).choice, Some(0.0));
        let spread = (64.0_f64 / 63.0).sqrt();
        // The other watcher has fallen far, which is said and is no veto here.
        let fallen = watch.observe(1, &with(2.0, -3.0, 0.5), &validation);
        assert!(!fallen.watchers_hold && fallen.parted.is_some());
        assert!((fallen.choice.unwrap() - 0.5 / spread).abs() < 1e-12);
        assert_eq!(fallen.metrics.get("gain_validation"), fallen.choice);
        // The reward rises on and the validation falls: the step before is the better one.
        let over = watch.observe(2, &with(9.0, 0.0, 0.2), &validation);
        assert!(over.choice < fallen.choice);
        // Without the validation's judge nothing is chosen.
        assert_eq!(watch.observe(3, &verdicts(9.0, 0.0), &validation).choice, None);
        let plain = watch.observe(4, &with(9.0, 5.0, 5.0), &[]);
        assert_eq!((plain.choice, plain.metrics.get("gain_validation")), (plain.metrics.get("gain_proxy"), None));
    }

    #[test]
    fn the_state_survives_a_checkpoint() {
        let mut watch = Watch::default();
        watch.observe(0, &verdicts(0.1, 0.2), &[]);
        watch.observe(1, &verdicts(0.3, 0.7), &[]);
        let text = toml::to_string(&watch).unwrap();
        assert_eq!(toml::from_str::<Watch>(&text).unwrap(), watch);
        assert_eq!(toml::from_str::<Watch>(&toml::to_string(&Watch::default()).unwrap()).unwrap(), Watch::default());
    }
}
