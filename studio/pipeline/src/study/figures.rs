//! What is measured of a variant on the pooled held-out pairs: [`Figures`].

use musicrl_core::{
    preference::{Judgement, agreement, reference},
    random::{Key, Purpose},
    stats::{BootstrapConfig, Interval, cluster_bootstrap, mean},
};
use musicrl_rewards::listeners::{ExactChoice, noise_ceiling};
use serde::{Deserialize, Serialize};

use super::hears::{Hears, Terms, hears};
use crate::{
    Result,
    evaluate_preference::{PreferenceReport, measure_pooled},
    preference::Pair,
};

/// What is said of pairs by a model, or by several that were asked about some of them each.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Score of a minus score of b, one a pair.
    pub differences: Vec<f64>,
    /// Deviation of the same over members.
    pub spread: Vec<f64>,
    /// Davidson's nu, one a pair; none of a predictor, whose scores are no logits.
    pub tie_strengths: Option<Vec<f64>>,
}

/// Pairs that no model learned from, with what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// Their exact probabilities, where listeners are simulated and their taste is known.
    pub exact: Option<Vec<ExactChoice>>,
    /// Differences of the terms of their taste, where it is known.
    pub terms: Option<Vec<Terms>>,
    /// Intervals.
    pub bootstrap: BootstrapConfig,
    /// Seed of the resamples: the same for all variants, so that differences are paired.
    pub seed: u64,
}

/// A share with the ends of its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The share.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The figures of one variant. Absent is what cannot be told: log-loss and calibration of a predictor, the ceiling of
/// people, differences to a first variant that was not trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Held-out pairs.
    pub pairs: usize,
    /// Those of which one clip was preferred.
    pub decided: usize,
    /// Clusters of captions.
    pub clusters: usize,
    /// Share of decided pairs whose preferred clip has the higher score.
    #[serde(default)]
    pub accuracy: Option<Interval>,
    /// Mean of - log P(what was said), in nats.
    #[serde(default)]
    pub log_loss: Option<Interval>,
    /// The log-loss of one who knows the share of ties alone.
    #[serde(default)]
    pub chance_log_loss: Option<f64>,
    /// Expected calibration error of P(a preferred).
    #[serde(default)]
    pub calibration_error: Option<Interval>,
    /// Accuracy minus that of the first variant, on the same pairs.
    #[serde(default)]
    pub difference: Option<Interval>,
    /// Log-loss minus that of the first variant, on the same pairs.
    #[serde(default)]
    pub log_loss_difference: Option<Interval>,
    /// The accuracy that one with the listeners' shared taste can expect on exactly these pairs.
    #[serde(default)]
    pub ceiling: Option<f64>,
    /// (accuracy - 1/2) / (ceiling - 1/2), the ceiling taken as known.
    #[serde(default)]
    pub share_of_ceiling: Option<Share>,
    /// Which properties of the listeners' taste its scores follow, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hears: Option<Hears>,
}

impl Figures {
    /// Nothing measured.
    #[must_use]
    pub fn none() -> Self {
        Self {
            pairs: 0,
            decided: 0,
            clusters: 0,
            accuracy: None,
            log_loss: None,
            chance_log_loss: None,
            calibration_error: None,
            difference: None,
            log_loss_difference: None,
            ceiling: None,
            share_of_ceiling: None,
            hears: None,
        }
    }
}

/// Resamples of differences; [`measure_pooled`] uses the steps before.
const ACCURACY_STEP: u64 = 3;
const LOSS_STEP: u64 = 4;

impl Held {
    /// Accuracy, log-loss and calibration.
    ///
    /// # Errors
    /// As [`measure_pooled`].
    pub fn report(&self, said: &Said) -> Result<PreferenceReport> {
        let ties = said.tie_strengths.clone().unwrap_or_else(|| vec![0.0; self.pairs.len()]);
        measure_pooled(&self.pairs, &said.differences, &said.spread, &ties, &self.bootstrap, self.seed)
    }

    /// Everything; `first` is what the first variant says of the same pairs.
    ///
    /// # Errors
    /// As [`measure_pooled`].
    pub fn figures(&self, said: &Said, first: Option<&Said>) -> Result<Figures> {
        let report = self.report(said)?;
        let learned = said.tie_strengths.is_some();
        let ceiling = self.ceiling();
        let accuracy = report.accuracy;
        let share = |x: f64, ceiling: f64| (x - 0.5) / (ceiling - 0.5);
        let share_of_ceiling = accuracy.zip(ceiling.filter(|ceiling| *ceiling > 0.5)).map(|(it, ceiling)| Share {
            estimate: share(it.estimate, ceiling),
            low: share(it.low, ceiling),
            high: share(it.high, ceiling),
        });
        Ok(Figures {
            pairs: report.pairs,
            decided: report.decided,
            clusters: report.clusters,
            accuracy,
            log_loss: learned.then_some(report.log_loss),
            chance_log_loss: learned.then_some(report.chance_log_loss),
            calibration_error: report.calibration_error.filter(|_| learned),
            difference: first.map(|first| self.difference(said, first)).transpose()?.flatten(),
            log_loss_difference: first.map(|first| self.log_loss_difference(said, first)).transpose()?.flatten(),
            ceiling,
            share_of_ceiling,
            hears: self.terms.as_ref().and_then(|terms| hears(&said.differences, terms)),
        })
    }

    /// What one with the shared taste can expect on these pairs.
    #[must_use]
    pub fn ceiling(&self) -> Option<f64> {
        self.exact.as_deref().and_then(noise_ceiling)
    }

    /// Accuracy of `said` minus that of `first` on the same pairs; `None` where nothing is decided.
    ///
    /// # Errors
    /// As [`cluster_bootstrap`].
    pub fn difference(&self, said: &Said, first: &Said) -> Result<Option<Interval>> {
        let right =
            |said: &Said, at: usize| agreement(&[said.differences[at]], &[0.0], &[self.pairs[at].judgement.outcome]);
        let both = |at: usize| Some((right(said, at)? - right(first, at)?, self.pairs[at].cluster));
        self.mean_of((0..self.pairs.len()).filter_map(both), ACCURACY_STEP)
    }

    fn log_loss_difference(&self, said: &Said, first: &Said) -> Result<Option<Interval>> {
        let (Some(ties), Some(first_ties)) = (&said.tie_strengths, &first.tie_strengths) else { return Ok(None) };
        let loss = |d: f64, nu: f64, pair: &Pair| {
            reference::bradley_terry_loss(&[d], &[0.0], &[Judgement::from(pair.judgement.outcome)], nu)
        };
        let mut differences = Vec::with_capacity(self.pairs.len());
        for (at, pair) in self.pairs.iter().enumerate() {
            let (ours, theirs) =
                (loss(said.differences[at], ties[at], pair)?, loss(first.differences[at], first_ties[at], pair)?);
            differences.push((ours - theirs, pair.cluster));
        }
        self.mean_of(differences.into_iter(), LOSS_STEP)
    }

    fn mean_of(&self, values: impl Iterator<Item = (f64, usize)>, step: u64) -> Result<Option<Interval>> {
        let (values, clusters): (Vec<f64>, Vec<usize>) = values.unzip();
        if values.is_empty() {
            return Ok(None);
        }
        let key = Key::new(self.seed, Purpose::Bootstrap).step(step);
        Ok(Some(cluster_bootstrap(&values, &clusters, &self.bootstrap, key, mean)?))
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::preference::Outcome;

    use super::*;

    fn said(differences: &[f64]) -> Said {
        let count = differences.len();
        Said { differences: differences.to_vec(), spread: vec![0.0; count], tie_strengths: Some(vec![0.5; count]) }
    }

    /// 200 pairs of two a caption, of which every tenth is a tie and the first is better in the others.
    fn held() -> Held {
        let outcome = |pair: usize| if pair % 10 == 9 { Outcome::Tie } else { Outcome::BetterA };
        let pair = |pair: usize| Pair { a: 0, b: 1, judgement: outcome(pair).into(), cluster: pair / 2 };
        let choice = |pair: usize| ExactChoice {
            shared_difference: if pair.is_multiple_of(4) { -1.0 } else { 1.0 },
            probabilities: [0.7, 0.2, 0.1],
        };
        Held {
            pairs: (0..200).map(pair).collect(),
            exact: Some((0..200).map(choice).collect()),
            terms: None,
            bootstrap: BootstrapConfig { resamples: 300, confidence: 0.95 },
            seed: 1,
        }
    }

    /// Right on the share of pairs whose number is not a multiple of `wrong_every`.
    fn wrong_every(every: usize) -> Said {
        said(&(0..200).map(|pair: usize| if pair.is_multiple_of(every) { -1.0 } else { 1.0 }).collect::<Vec<_>>())
    }

    #[test]
    fn differences_are_paired() {
        let held = held();
        let (better, worse) = (wrong_every(8), wrong_every(4));
        let figures = held.figures(&better, Some(&worse)).unwrap();
        let by_hand = |said: &Said| {
            let decided = (0..200).filter(|pair| pair % 10 != 9);
            let right = decided.clone().filter(|pair| said.differences[*pair] > 0.0).count();
            right as f64 / decided.count() as f64
        };
        let difference = figures.difference.unwrap();
        assert!((difference.estimate - (by_hand(&better) - by_hand(&worse))).abs() < 1e-12);
        // They are wrong together on some: the interval of the difference is narrower than that of independent ones.
        let width = |it: Interval| it.high - it.low;
        let alone = width(figures.accuracy.unwrap());
        let other = width(held.figures(&worse, None).unwrap().accuracy.unwrap());
        assert!(difference.low > 0.0 && width(difference) < 0.9 * alone.hypot(other), "{figures:?}");
        assert!(figures.log_loss_difference.unwrap().high < 0.0, "{figures:?}");
        // Against itself there is none.
        let none = held.figures(&better, Some(&better)).unwrap().difference.unwrap();
        assert_eq!((none.low, none.estimate, none.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_ceiling_is_that_of_the_pairs_and_a_predictor_has_no_log_loss() {
        let held = held();
        let predictor = Said { tie_strengths: None, ..wrong_every(4) };
        let figures = held.figures(&predictor, Some(&wrong_every(8))).unwrap();
        // Three of four go with the likelier outcome.
        let ceiling = (0.75 * 0.7 + 0.25 * 0.2) / 0.9;
        assert!((figures.ceiling.unwrap() - ceiling).abs() < 1e-12);
        let share = (figures.accuracy.unwrap().estimate - 0.5) / (ceiling - 0.5);
        assert!((figures.share_of_ceiling.unwrap().estimate - share).abs() < 1e-12);
        assert!(figures.log_loss.is_none() && figures.calibration_error.is_none());
        assert!(figures.difference.is_some() && figures.log_loss_difference.is_none());
        let of_people = Held { exact: None, ..held }.figures(&predictor, None).unwrap();
        assert!(of_people.ceiling.is_none() && of_people.share_of_ceiling.is_none() && of_people.difference.is_none());
    }
}
