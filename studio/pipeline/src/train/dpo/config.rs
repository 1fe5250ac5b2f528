//! Settings of the training: [`DpoConfig`].

use musicrl_core::stats::BootstrapConfig;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, optim::AdamWConfig, preference::DataConfig};

/// Settings of [`DpoTraining`](super::DpoTraining) and of the pairs that it learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Strength of the pull towards the reference: larger stays nearer.
    pub beta: f64,
    /// Pairs a step.
    pub batch_pairs: usize,
    /// Times that every pair is seen, where no number of steps is given.
    pub epochs: f64,
    /// Whether the policy is conditioned on the captions; without, every clip has the null condition.
    pub text: bool,
    /// Share of captions whose pairs are held out; 0 measures no accuracy.
    pub held_out_share: f64,
    /// Seed of that division alone: the same pairs are held out as in `train preference` with the same share and seed.
    pub split_seed: u64,
    /// Clips that an evaluation plays to measure KL to the base and entropy; 0 measures neither.
    pub kl_clips: usize,
    /// The policy's parameters that learn, by the beginnings of their names; all of them where it is left out.
    pub trainable: Vec<String>,
    /// Temperature of the distribution whose log-probabilities are compared: the one that is sampled.
    pub temperature: f64,
    /// The optimiser.
    pub optimiser: AdamWConfig,
    /// Intervals of the last measurement.
    pub bootstrap: BootstrapConfig,
    /// Which judgements, and how their clips are read.
    pub data: DataConfig,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.1,
            batch_pairs: 16,
            epochs: 2.0,
            text: true,
            held_out_share: 0.1,
            split_seed: 1,
            kl_clips: 32,
            trainable: Vec::new(),
            temperature: 0.99,
            optimiser: AdamWConfig { learning_rate: 1e-4, weight_decay: 0.0, ..AdamWConfig::default() },
            bootstrap: BootstrapConfig::default(),
            data: DataConfig::default(),
        }
    }
}

impl DpoConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.optimiser.validate("optimiser")?;
        self.data.validate()?;
        for (field, value) in [("beta", self.beta), ("temperature", self.temperature), ("epochs", self.epochs)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::config(field, "above 0", value));
            }
        }
        let confidence = self.bootstrap.confidence;
        let rules = [
            ("batch_pairs", (1..=1 << 16).contains(&self.batch_pairs), "1 to 65536", self.batch_pairs as f64),
            ("held_out_share", (0.0..1.0).contains(&self.held_out_share), "in [0, 1)", self.held_out_share),
            ("kl_clips", self.kl_clips <= 1 << 16, "at most 65536", self.kl_clips as f64),
            ("bootstrap.resamples", self.bootstrap.resamples >= 2, "at least 2", self.bootstrap.resamples as f64),
            ("bootstrap.confidence", confidence > 0.0 && confidence < 1.0, "above 0 and below 1", confidence),
        ];
        match rules.into_iter().find(|(_, holds, ..)| !holds) {
            Some((field, _, rule, got)) => Err(Error::config(field, rule, got)),
            None => Ok(()),
        }
    }

    /// Steps that see `pairs` pairs `epochs` times, at least 1.
    #[must_use]
    pub fn steps(&self, pairs: usize) -> u64 {
        ((self.epochs * pairs as f64 / self.batch_pairs.max(1) as f64).ceil() as u64).max(1)
    }
}
