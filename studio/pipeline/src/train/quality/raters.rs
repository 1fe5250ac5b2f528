//! Simulated raters: opinion scores computed from the known strength of a degradation. Nobody heard anything.

use musicrl_core::random::{Key, Purpose};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One rating of one clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Who gave it; simulated raters are called `simulated-NN`, people as their file says (empty where it does not).
    pub rater: String,
    /// From 1 to 5.
    pub rating: f64,
}

/// Settings of the panel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatersConfig {
    /// Raters of the panel.
    pub raters: usize,
    /// Ratings of each clip, by different raters.
    pub ratings_per_clip: usize,
    /// Standard deviation of a rater's bias, which all ratings of that rater share.
    pub bias: f64,
    /// Standard deviation of a single rating beside it.
    pub noise: f64,
    /// The opinion's height above 1, as a share of 4, of a clip of the corpus that nothing was done to.
    pub corpus_quality: f64,
    /// The same of a clip that a policy generated.
    pub generated_quality: f64,
}

impl Default for RatersConfig {
    fn default() -> Self {
        Self { raters: 24, ratings_per_clip: 3, bias: 0.3, noise: 0.5, corpus_quality: 0.95, generated_quality: 0.6 }
    }
}

impl RatersConfig {
    /// Checks every field; `prefix` is where the settings stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let rules = [
            ("raters", self.raters as f64, 1.0, 1000.0),
            ("ratings_per_clip", self.ratings_per_clip as f64, 1.0, self.raters as f64),
            ("bias", self.bias, 0.0, 4.0),
            ("noise", self.noise, 0.0, 4.0),
            ("corpus_quality", self.corpus_quality, 0.0, 1.0),
            ("generated_quality", self.generated_quality, 0.0, 1.0),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::config(format!("{prefix}.{field}"), format!("from {low} to {high}"), got));
            }
        }
        Ok(())
    }

    /// The opinion that raters have without bias and noise: 1 + 4 `quality` (1 - `strength`).
    #[must_use]
    pub fn opinion(quality: f64, strength: f64) -> f64 {
        1.0 + 4.0 * quality.clamp(0.0, 1.0) * (1.0 - strength.clamp(0.0, 1.0))
    }

    /// The ratings of clip number `clip`, whose opinion is known: `ratings_per_clip` different raters, each giving
    /// round(opinion + bias of the rater + noise), held to 1..5. A function of the seed and the clip's number.
    #[must_use]
    pub fn rate(&self, opinion: f64, seed: u64, clip: u64) -> Vec<Rating> {
        let key = Key::new(seed, Purpose::Listener);
        let mut stream = key.step(1).clip(clip).stream();
        let mut panel: Vec<usize> = (0..self.raters).collect();
        stream.shuffle(&mut panel);
        panel.truncate(self.ratings_per_clip);
        panel.sort_unstable();
        let rate = |rater: usize| {
            let bias = self.bias * key.clip(rater as u64).stream().normal();
            let rating = (opinion + bias + self.noise * stream.normal()).round().clamp(1.0, 5.0);
            Rating { rater: format!("simulated-{rater:02}"), rating }
        };
        panel.into_iter().map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_rating(config: &RatersConfig, opinion: f64) -> f64 {
        let ratings = (0..400).flat_map(|clip| config.rate(opinion, 1, clip));
        ratings.map(|rating| rating.rating).sum::<f64>() / 1200.0
    }

    #[test]
    fn ratings_are_whole_different_raters_and_the_same_again() {
        let config = RatersConfig::default();
        for clip in 0..50 {
            let ratings = config.rate(3.3, 7, clip);
            assert_eq!(ratings.len(), 3);
            assert!(ratings.windows(2).all(|pair| pair[0].rater < pair[1].rater), "{ratings:?}");
            for rating in &ratings {
                assert!(rating.rating.fract() == 0.0 && (1.0..=5.0).contains(&rating.rating));
                assert!(rating.rater.starts_with("simulated-"));
            }
            assert_eq!(ratings, config.rate(3.3, 7, clip));
        }
        assert_ne!(config.rate(3.3, 7, 1), config.rate(3.3, 7, 2));
    }

    #[test]
    fn better_clips_are_rated_higher() {
        let config = RatersConfig::default();
        let means = [1.2, 2.0, 3.0, 4.0, 4.8].map(|opinion| mean_rating(&config, opinion));
        assert!(means.windows(2).all(|pair| pair[1] > pair[0] + 0.4), "{means:?}");
        assert!((means[2] - 3.0).abs() < 0.15, "{means:?}");
        // Without bias and noise a whole opinion is the rating.
        let plain = RatersConfig { bias: 0.0, noise: 0.0, ..config };
        assert_eq!(mean_rating(&plain, 4.0), 4.0);
    }

    #[test]
    fn the_opinion_falls_with_the_strength() {
        assert_eq!((RatersConfig::opinion(1.0, 0.0), RatersConfig::opinion(1.0, 1.0)), (5.0, 1.0));
        assert!((RatersConfig::opinion(0.5, 0.5) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn bad_settings_are_named() {
        let base = RatersConfig::default;
        for (config, field) in [
            (RatersConfig { raters: 0, ..base() }, "s.raters"),
            (RatersConfig { ratings_per_clip: 25, ..base() }, "s.ratings_per_clip"),
            (RatersConfig { bias: -1.0, ..base() }, "s.bias"),
            (RatersConfig { noise: f64::NAN, ..base() }, "s.noise"),
            (RatersConfig { generated_quality: 1.1, ..base() }, "s.generated_quality"),
        ] {
            assert!(config.validate("s").unwrap_err().to_string().contains(field), "{field}");
        }
    }
}
