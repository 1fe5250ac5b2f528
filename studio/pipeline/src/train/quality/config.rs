//! Settings of the training of the quality predictor.

use musicrl_rewards::{QualityConfig, quality::loss::LossConfig};
use serde::{Deserialize, Serialize};

use super::SimulatedConfig;
use crate::{Error, Result, optim::AdamWConfig};

/// Settings of [`QualityTraining`](super::QualityTraining).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityTrainingConfig {
    /// Sounds of one step (fewer when there are fewer).
    pub batch_clips: usize,
    /// Longer sounds are heard in pieces of this length at random places; the rating counts for every piece.
    pub crop_seconds: f64,
    /// Share of the tracks that are held out, of files that people rated and that say nothing of it themselves.
    pub held_out_share: f64,
    /// Memory for features, in MiB; what does not fit is computed anew at each use.
    pub cache_mib: usize,
    /// The parts of the loss.
    pub loss: LossConfig,
    /// What is rated where no people did.
    pub simulated: SimulatedConfig,
    /// The optimiser.
    pub optimiser: AdamWConfig,
}

impl Default for QualityTrainingConfig {
    fn default() -> Self {
        Self {
            batch_clips: 32,
            crop_seconds: 3.0,
            held_out_share: 0.2,
            cache_mib: 1024,
            loss: LossConfig::default(),
            simulated: SimulatedConfig::default(),
            optimiser: AdamWConfig { learning_rate: 2e-3, warmup_steps: 50, ..AdamWConfig::default() },
        }
    }
}

impl QualityTrainingConfig {
    /// For the published sizes: more and longer sounds.
    #[must_use]
    pub fn published() -> Self {
        let simulated =
            SimulatedConfig { clips: 20_000, held_out_clips: 256, generated: 4_000, ..SimulatedConfig::default() };
        Self { batch_clips: 128, crop_seconds: 10.0, cache_mib: 16_384, simulated, ..Self::default() }
    }

    /// Checks every field, those of the model beside them; `prefix` is where the settings stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, prefix: &str, model: &QualityConfig) -> Result<()> {
        let rules = [
            ("batch_clips", self.batch_clips as f64, 1.0, 65_536.0),
            ("crop_seconds", self.crop_seconds, model.shortest_seconds, 600.0),
            ("held_out_share", self.held_out_share, 0.0, 0.9),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::config(format!("{prefix}.{field}"), format!("from {low} to {high}"), got));
            }
        }
        self.loss.validate().map_err(|error| match Error::from(error) {
            Error::Config { field, expected, got } => Error::config(format!("{prefix}.{field}"), expected, got),
            other => other,
        })?;
        self.simulated.validate(&format!("{prefix}.simulated"))?;
        self.optimiser.validate(&format!("{prefix}.optimiser"))
    }

    /// Frames of the longest piece.
    #[must_use]
    pub fn crop_frames(&self, model: &QualityConfig) -> usize {
        let frames = self.crop_seconds * f64::from(model.front_end.sample_rate_hz);
        (frames / model.front_end.hop_samples.max(1) as f64) as usize + 1
    }
}
