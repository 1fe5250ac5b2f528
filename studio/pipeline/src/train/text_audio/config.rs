//! Settings of the training of the joint text-audio embedding.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, optim::AdamWConfig};

/// Settings of [`TextAudioTraining`](super::TextAudioTraining).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextAudioTrainingConfig {
    /// Pairs of one step (fewer when the corpus is smaller).
    pub batch_pairs: usize,
    /// Share of the batch that is chosen for its likeness to the rest, at most a half.
    pub hard_share: f64,
    /// Largest change of level, up or down, in decibels.
    pub gain_db: f64,
    /// Share of windows with added noise.
    pub noise_share: f64,
    /// Least power of the noise, in decibels of full scale a band.
    pub noise_db_min: f64,
    /// Greatest power of the noise.
    pub noise_db_max: f64,
    /// Probability that a word of a caption is left out.
    pub word_drop: f64,
    /// Share of windows that have been through the codec, where a round trip is given.
    pub codec_share: f64,
    /// Clips that are sent through the codec, spread over the corpus; the others are only ever heard as they are.
    pub codec_clips: usize,
    /// Memory for features, in MiB; what does not fit is computed anew at each use.
    pub cache_mib: usize,
    /// Training clips whose embeddings, with their captions', the quantiser is fitted on.
    pub quantiser_clips: usize,
    /// The optimiser.
    pub optimiser: AdamWConfig,
}

impl Default for TextAudioTrainingConfig {
    fn default() -> Self {
        Self {
            batch_pairs: 64,
            hard_share: 0.25,
            gain_db: 3.0,
            noise_share: 0.3,
            noise_db_min: -75.0,
            noise_db_max: -50.0,
            word_drop: 0.1,
            codec_share: 0.4,
            codec_clips: 512,
            cache_mib: 1024,
            quantiser_clips: 2048,
            optimiser: AdamWConfig { learning_rate: 2e-3, warmup_steps: 50, ..AdamWConfig::default() },
        }
    }
}

impl TextAudioTrainingConfig {
    /// Checks every field; `prefix` is where the settings stand in the recipe.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let rules = [
            ("batch_pairs", self.batch_pairs as f64, 2.0, 65_536.0),
            ("hard_share", self.hard_share, 0.0, 0.5),
            ("gain_db", self.gain_db, 0.0, 60.0),
            ("noise_share", self.noise_share, 0.0, 1.0),
            ("noise_db_min", self.noise_db_min, -200.0, 20.0),
            ("noise_db_max", self.noise_db_max, self.noise_db_min, 20.0),
            ("word_drop", self.word_drop, 0.0, 0.9),
            ("codec_share", self.codec_share, 0.0, 1.0),
            ("quantiser_clips", self.quantiser_clips as f64, 1.0, 1e9),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::Config {
                    field: format!("{prefix}.{field}"),
                    expected: format!("from {low} to {high}"),
                    got: got.to_string(),
                });
            }
        }
        self.optimiser.validate(&format!("{prefix}.optimiser"))
    }
}
