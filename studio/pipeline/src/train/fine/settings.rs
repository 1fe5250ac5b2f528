//! How the fine stage is trained.

use musicrl_codec::fine::FineConfig;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, optim::AdamWConfig};

/// Settings of [`FineTraining`](super::FineTraining).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTrainingConfig {
    /// The fine stage.
    pub model: FineConfig,
    /// The optimiser.
    pub optimiser: AdamWConfig,
    /// Steps that a run takes.
    pub steps: u64,
    /// Crops in a step.
    pub batch_crops: usize,
    /// Length of a crop, in semantic tokens; at most a window of the model.
    pub crop_frames: usize,
    /// Held-out crops of an evaluation.
    pub evaluation_crops: usize,
}

impl FineTrainingConfig {
    /// For the shipped base: minutes on two cores.
    #[must_use]
    pub fn base() -> Self {
        Self {
            model: FineConfig::base(),
            optimiser: AdamWConfig {
                learning_rate: 2e-3,
                warmup_steps: 50,
                decay_steps: 1_200,
                ..AdamWConfig::default()
            },
            steps: 1_200,
            batch_crops: 16,
            crop_frames: 40,
            evaluation_crops: 32,
        }
    }

    /// For real recordings on a small machine.
    #[must_use]
    pub fn small() -> Self {
        let base = Self::base();
        Self {
            model: FineConfig::small(),
            optimiser: AdamWConfig { learning_rate: 1.5e-3, decay_steps: 1_200, ..base.optimiser.clone() },
            batch_crops: 16,
            crop_frames: 50,
            ..base
        }
    }

    /// The published sizes; for machines with an accelerator.
    #[must_use]
    pub fn published() -> Self {
        let base = Self::base();
        Self {
            model: FineConfig::published(),
            optimiser: AdamWConfig {
                learning_rate: 5e-4,
                warmup_steps: 1_000,
                decay_steps: 100_000,
                ..base.optimiser.clone()
            },
            steps: 100_000,
            crop_frames: 250,
            ..base
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Core`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.optimiser.validate("optimiser")?;
        let positive = [
            ("steps", self.steps as usize),
            ("batch_crops", self.batch_crops),
            ("crop_frames", self.crop_frames),
            ("evaluation_crops", self.evaluation_crops),
        ];
        let wrong = |field: &str, expected: String, got: usize| {
            Err(Error::Config { field: field.into(), expected, got: got.to_string() })
        };
        for (field, value) in positive {
            if value == 0 {
                return wrong(field, "1 or more".into(), value);
            }
        }
        let window = self.model.window_frames / self.model.frames_per_semantic;
        if self.crop_frames > window {
            return wrong("crop_frames", format!("at most a window of the model, {window}"), self.crop_frames);
        }
        Ok(())
    }
}
