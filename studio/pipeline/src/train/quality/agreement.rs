//! How well predictions agree with what raters said.

use std::collections::BTreeMap;

use musicrl_core::stats::{kendall, mean, pearson, spearman};
use musicrl_rewards::quality::{OPINION_RANGE, Opinion};
use serde::{Deserialize, Serialize};

use super::RatedSound;
use crate::training::Metrics;

/// Bins of the calibration, of equal width over [1, 5].
const BINS: usize = 8;
/// A group of fewer sounds has no rank correlation worth a name.
const GROUP_MIN: usize = 8;

/// A sound with its prediction.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The sound and its ratings.
    pub sound: &'a RatedSound,
    /// What the model says.
    pub opinion: Opinion,
}

/// Sounds of about the same prediction.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub count: usize,
    /// Mean of their predictions; 0 of none.
    pub predicted: f64,
    /// Mean of their mean ratings; 0 of none.
    pub rated: f64,
}

/// Sounds that have something in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub sounds: usize,
    /// Mean of their predictions.
    pub predicted: f64,
    /// Mean of their mean ratings.
    pub rated: f64,
    /// Spearman's correlation within the group; `None` for few sounds, or where raters without bias and noise would
    /// tell none of them apart.
    pub spearman: Option<f64>,
}

/// Agreement of predictions with mean ratings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Number of sounds.
    pub sounds: usize,
    /// Number of ratings.
    pub ratings: usize,
    /// Spearman's rank correlation with the mean rating; `None` where the data do not define it.
    pub spearman: Option<f64>,
    /// Pearson's correlation.
    pub pearson: Option<f64>,
    /// Kendall's tau-b.
    pub kendall: Option<f64>,
    /// Mean absolute difference from the mean rating.
    pub mean_absolute_error: f64,
    /// Mean over sounds of the distance between mean prediction and mean rating of their bin.
    pub calibration_error: f64,
    /// Root mean square of single ratings about the prediction, over that of the predicted spread: 1 where the spread
    /// is right, above it where the model is too sure.
    pub spread_ratio: f64,
    /// Spearman's correlation of the mean rating with the opinion without bias and noise, where that is known: what a
    /// perfect predictor could reach.
    pub ceiling_spearman: Option<f64>,
    /// The groups of sounds.
    pub groups: BTreeMap<String, Group>,
    /// Predicted against rated.
    pub bins: Vec<Bin>,
}

/// The agreement of predictions with ratings; `None` of nothing.
#[must_use]
pub fn agreement(judged: &[Judged<'_>]) -> Option<Agreement> {
    if judged.is_empty() {
        return None;
    }
    let count = judged.len() as f64;
    let predicted: Vec<f64> = judged.iter().map(|one| one.opinion.mean).collect();
    let rated: Vec<f64> = judged.iter().map(|one| one.sound.rated.mean).collect();
    let known: Option<Vec<f64>> = judged.iter().map(|one| one.sound.opinion).collect();
    let bins = bins(&predicted, &rated);
    let gaps = bins.iter().map(|bin| bin.count as f64 * (bin.predicted - bin.rated).abs());
    let ratings = judged.iter().map(|one| one.sound.rated.count).sum::<usize>();
    // Every rating of a sound has the sound's predicted spread.
    let (mut scatter, mut expected) = (0.0_f64, 0.0_f64);
    for Judged { sound, opinion } in judged {
        let n = sound.rated.count as f64;
        scatter += n * (opinion.mean - sound.rated.mean).powi(2) + sound.rated.scatter;
        expected += n * opinion.spread * opinion.spread;
    }
    Some(Agreement {
        sounds: judged.len(),
        ratings,
        spearman: spearman(&predicted, &rated).ok(),
        pearson: pearson(&predicted, &rated).ok(),
        kendall: kendall(&predicted, &rated).ok(),
        mean_absolute_error: predicted.iter().zip(&rated).map(|(a, b)| (a - b).abs()).sum::<f64>() / count,
        calibration_error: gaps.sum::<f64>() / count,
        spread_ratio: (scatter / expected.max(f64::MIN_POSITIVE)).sqrt(),
        ceiling_spearman: known.and_then(|known| spearman(&known, &rated).ok()),
        groups: groups(judged),
        bins,
    })
}

fn groups(judged: &[Judged<'_>]) -> BTreeMap<String, Group> {
    let mut members: BTreeMap<&str, Vec<&Judged<'_>>> = BTreeMap::new();
    for one in judged {
        for group in &one.sound.groups {
            members.entry(group).or_default().push(one);
        }
    }
    members.into_iter().map(|(name, members)| (name.to_owned(), group(&members))).collect()
}

fn group(members: &[&Judged<'_>]) -> Group {
    let predicted: Vec<f64> = members.iter().map(|one| one.opinion.mean).collect();
    let rated: Vec<f64> = members.iter().map(|one| one.sound.rated.mean).collect();
    let first = members.first().and_then(|one| one.sound.opinion);
    let alike = first.is_some() && members.iter().all(|one| one.sound.opinion == first);
    let told_apart = members.len() >= GROUP_MIN && !alike;
    Group {
        sounds: members.len(),
        predicted: mean(&predicted),
        rated: mean(&rated),
        spearman: told_apart.then(|| spearman(&predicted, &rated).ok()).flatten(),
    }
}

fn bins(predicted: &[f64], rated: &[f64]) -> Vec<Bin> {
    let [low, high] = OPINION_RANGE;
    let mut bins = vec![Bin::default(); BINS];
    for (predicted, rated) in predicted.iter().zip(rated) {
        let at = (((predicted - low) / (high - low) * BINS as f64) as usize).min(BINS - 1);
        bins[at].count += 1;
        bins[at].predicted += predicted;
        bins[at].rated += rated;
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.predicted /= bin.count as f64;
        bin.rated /= bin.count as f64;
    }
    bins
}

impl Agreement {
    /// As metrics of an evaluation: `spearman`, `pearson`, `kendall`, `mean_absolute_error`, `calibration_error`,
    /// `spread_ratio`, `ceiling_spearman`, `held_out_sounds`, and `spearman_GROUP` for each group.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let measured = [
            ("spearman", self.spearman),
            ("mean_absolute_error", Some(self.mean_absolute_error)),
            ("pearson", self.pearson),
            ("kendall", self.kendall),
            ("calibration_error", Some(self.calibration_error)),
            ("spread_ratio", Some(self.spread_ratio)),
            ("ceiling_spearman", self.ceiling_spearman),
            ("held_out_sounds", Some(self.sounds as f64)),
        ];
        for (name, value) in measured {
            if let Some(value) = value {
                metrics.push(name, value);
            }
        }
        for (name, group) in &self.groups {
            if let Some(value) = group.spearman {
                metrics.push(format!("spearman_{name}"), value);
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{corpus::Split, train::quality::Rating};

    fn sound(ratings: &[f64], group: &str) -> RatedSound {
        let rating = |rating: &f64| Rating { rater: String::new(), rating: *rating };
        let sound = RatedSound::new("s".into(), Split::HeldOut, ratings.iter().map(rating).collect()).unwrap();
        RatedSound { groups: vec![group.into()], ..sound }
    }

    fn measure(sounds: &[RatedSound], predicted: &[f64]) -> Agreement {
        let opinion = |mean: &f64| Opinion { mean: *mean, spread: 0.5 };
        let judged: Vec<Judged<'_>> =
            sounds.iter().zip(predicted).map(|(sound, mean)| Judged { sound, opinion: opinion(mean) }).collect();
        agreement(&judged).unwrap()
    }

    #[test]
    fn worked_by_hand() {
        let sounds = [sound(&[1.0, 2.0], "a"), sound(&[3.0], "a"), sound(&[4.0, 5.0, 3.0], "b")];
        let got = measure(&sounds, &[1.2, 3.9, 3.6]);
        assert_eq!((got.sounds, got.ratings), (3, 6));
        assert!((got.mean_absolute_error - (0.3 + 0.9 + 0.4) / 3.0).abs() < 1e-12);
        // One bin holds 1.2 (rated 1.5), one holds 3.9 and 3.6 (rated 3 and 4).
        assert!((got.calibration_error - (0.3 + 2.0 * 0.25) / 3.0).abs() < 1e-12, "{got:?}");
        assert!(got.spearman.is_some_and(|rho| (rho - 0.5).abs() < 1e-12) && got.ceiling_spearman.is_none());
        let scatter: f64 = 0.04 + 0.64 + 0.81 + 0.16 + 1.96 + 0.36;
        assert!((got.spread_ratio - (scatter / 6.0 / 0.25).sqrt()).abs() < 1e-9);
        let group = got.groups["a"];
        assert_eq!((group.sounds, group.spearman), (2, None), "a group of two has no order worth a name");
        assert!((group.predicted - 2.55).abs() < 1e-12 && (group.rated - 2.25).abs() < 1e-12, "{group:?}");
        assert_eq!(got.bins.iter().map(|bin| bin.count).sum::<usize>(), 3);
    }

    #[test]
    fn groups_are_told_apart_and_the_ceiling_is_that_of_the_ratings() {
        let ratings = |at: usize| [1.0 + (at % 5) as f64];
        let sounds: Vec<RatedSound> = (0..20)
            .map(|at| RatedSound {
                opinion: Some(ratings(at)[0] / 2.0),
                ..sound(&ratings(at), if at < 10 { "up" } else { "down" })
            })
            .collect();
        let predicted: Vec<f64> =
            (0..20).map(|at| if at < 10 { ratings(at)[0] } else { 6.0 - ratings(at)[0] }).collect();
        let got = measure(&sounds, &predicted);
        let within = |got: &Agreement, name: &str| got.groups[name].spearman;
        assert!(within(&got, "up").is_some_and(|rho| (rho - 1.0).abs() < 1e-12));
        assert!(within(&got, "down").is_some_and(|rho| (rho + 1.0).abs() < 1e-12));
        assert!(got.ceiling_spearman.is_some_and(|ceiling| (ceiling - 1.0).abs() < 1e-12));
        assert!(got.metrics().get("spearman_down").is_some());
        // What raters tell apart by their noise alone has no order.
        let alike: Vec<RatedSound> =
            sounds.iter().map(|sound| RatedSound { opinion: Some(3.0), ..sound.clone() }).collect();
        assert_eq!(within(&measure(&alike, &predicted), "up"), None);
    }

    #[test]
    fn what_is_undefined_is_left_out() {
        assert_eq!(agreement(&[]), None);
        let got = measure(&[sound(&[3.0], "a"), sound(&[3.0], "a")], &[2.0, 4.0]);
        assert_eq!((got.spearman, got.metrics().get("spearman")), (None, None));
        assert!(got.metrics().0.iter().all(|(_, value)| value.is_finite()));
    }
}
