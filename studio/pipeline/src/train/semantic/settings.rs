//! How the semantic tokeniser is trained.

use musicrl_codec::semantic::SemanticConfig;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, optim::AdamWConfig};

/// Settings of [`SemanticTraining`](super::SemanticTraining).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SemanticTrainingConfig {
    /// The tokeniser.
    pub model: SemanticConfig,
    /// The optimiser.
    pub optimiser: AdamWConfig,
    /// Steps of masked prediction that a run takes.
    pub steps: u64,
    /// Crops in a step.
    pub batch_crops: usize,
    /// Length of a crop, in tokens; at most `model.window_frames`.
    pub crop_frames: usize,
    /// Crops over which the mean and deviation of mel bands are measured, once.
    pub statistics_crops: usize,
    /// Held-out crops of an evaluation.
    pub evaluation_crops: usize,
    /// Crops whose features are clustered.
    pub cluster_crops: usize,
    /// Iterations of k-means at most.
    pub cluster_iterations: usize,
}

impl SemanticTrainingConfig {
    /// For the shipped base: minutes on two cores.
    #[must_use]
    pub fn base() -> Self {
        Self {
            model: SemanticConfig::base(),
            optimiser: AdamWConfig {
                learning_rate: 2e-3,
                warmup_steps: 50,
                decay_steps: 1_200,
                ..AdamWConfig::default()
            },
            steps: 1_200,
            batch_crops: 16,
            crop_frames: 64,
            statistics_crops: 128,
            evaluation_crops: 64,
            cluster_crops: 400,
            cluster_iterations: 40,
        }
    }

    /// For real recordings on a small machine.
    #[must_use]
    pub fn small() -> Self {
        let base = Self::base();
        Self {
            model: SemanticConfig::small(),
            optimiser: AdamWConfig { learning_rate: 1.5e-3, decay_steps: 1_200, ..base.optimiser.clone() },
            batch_crops: 8,
            crop_frames: 128,
            ..base
        }
    }

    /// The published sizes; for machines with an accelerator.
    #[must_use]
    pub fn published() -> Self {
        let base = Self::base();
        Self {
            model: SemanticConfig::published(),
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

    /// Samples of a crop.
    #[must_use]
    pub fn crop_samples(&self) -> usize {
        self.crop_frames * self.model.frame_samples
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
            ("statistics_crops", self.statistics_crops),
            ("evaluation_crops", self.evaluation_crops),
            ("cluster_crops", self.cluster_crops),
            ("cluster_iterations", self.cluster_iterations),
        ];
        let wrong = |field: &str, expected: String, got: usize| {
            Err(Error::Config { field: field.into(), expected, got: got.to_string() })
        };
        for (field, value) in positive {
            if value == 0 {
                return wrong(field, "1 or more".into(), value);
            }
        }
        if self.crop_frames > self.model.window_frames {
            let expected = format!("at most window_frames, {}", self.model.window_frames);
            return wrong("crop_frames", expected, self.crop_frames);
        }
        if self.cluster_crops.saturating_mul(self.crop_frames) < self.model.clusters {
            let expected = format!("enough for {} clusters of {}-frame crops", self.model.clusters, self.crop_frames);
            return wrong("cluster_crops", expected, self.cluster_crops);
        }
        Ok(())
    }
}
