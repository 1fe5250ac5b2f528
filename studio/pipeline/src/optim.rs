//! AdamW with warm-up, cosine decay and global-norm clipping over one flat vector.
//!
//! Burn's optimisers keep their state by parameter ids that are drawn anew in every process; a run that is resumed
//! with the same bytes, and gradients reduced over workers in one buffer, want state by position instead.

use musicrl_core::params::{Entry, ParamTable};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, training::Files};

/// Settings of [`AdamW`] (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Peak step size.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay of matrices and kernels (never of biases and gains).
    pub weight_decay: f64,
    /// Steps over which the step size rises linearly from 0.
    pub warmup_steps: u64,
    /// Steps at which the cosine decay reaches `final_fraction`; 0 keeps the peak.
    pub decay_steps: u64,
    /// Share of the peak that remains after `decay_steps`.
    pub final_fraction: f64,
    /// Largest Euclidean norm of the whole gradient; 0 clips nothing.
    pub clip_norm: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.01,
            warmup_steps: 20,
            decay_steps: 0,
            final_fraction: 0.1,
            clip_norm: 1.0,
        }
    }
}

impl AdamWConfig {
    /// Checks every field; `prefix` is where the settings stand in the recipe.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let rules: [(&str, f64, bool, &str); 7] = [
            ("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0"),
            ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "in [0, 1)"),
            ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "in [0, 1)"),
            ("epsilon", self.epsilon, self.epsilon > 0.0, "above 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more"),
            ("final_fraction", self.final_fraction, (0.0..=1.0).contains(&self.final_fraction), "in [0, 1]"),
            ("clip_norm", self.clip_norm, self.clip_norm >= 0.0, "0 or more"),
        ];
        for (field, value, holds, rule) in rules {
            if !holds || !value.is_finite() {
                return Err(Error::Config {
                    field: format!("{prefix}.{field}"),
                    expected: rule.to_string(),
                    got: value.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The step size of step `step` (from 0): linear warm-up, then cosine decay.
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let warmup = if self.warmup_steps == 0 { 1.0 } else { ((step + 1) as f64 / self.warmup_steps as f64).min(1.0) };
        let decay = if self.decay_steps == 0 {
            1.0
        } else {
            let progress = (step as f64 / self.decay_steps as f64).min(1.0);
            let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
            self.final_fraction + (1.0 - self.final_fraction) * cosine
        };
        self.learning_rate * warmup * decay
    }
}

/// What one update did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Euclidean norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The step size used.
    pub learning_rate: f64,
    /// True when the gradient was not finite: nothing was changed.
    pub skipped: bool,
}

/// The optimiser: first and second moments by position in the flat parameter vector.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    mean: Vec<f32>,
    square: Vec<f32>,
    updates: u64,
    skipped: u64,
}

impl AdamW {
    /// Fresh moments for `parameters` values.
    #[must_use]
    pub fn new(config: AdamWConfig, parameters: usize) -> Self {
        Self { config, mean: vec![0.0; parameters], square: vec![0.0; parameters], updates: 0, skipped: 0 }
    }

    /// Updates that were skipped because the gradient was not finite.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// One AdamW step on the trainable entries of `params`.
    ///
    /// # Errors
    /// [`musicrl_core::Error::Shape`] when the lengths differ.
    pub fn update(&mut self, params: &mut ParamTable, grads: &[f32]) -> Result<Update> {
        self.update_at(params, grads, |_| 1.0)
    }

    /// As [`update`](Self::update), with a step size of its own for each entry: `rate` times that of all. An entry at
    /// rate 0 is left as it is, moments and decay included, but its gradient counts in the norm.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_at(
        &mut self,
        params: &mut ParamTable,
        grads: &[f32],
        rate: impl Fn(&Entry) -> f64,
    ) -> Result<Update> {
        let expected = self.mean.len();
        for (what, got) in [("gradient", grads.len()), ("parameters", params.values().len())] {
            if got != expected {
                let (expected, got) = (format!("[{expected}]"), format!("[{got}]"));
                return Err(musicrl_core::Error::Shape { what, expected, got }.into());
            }
        }
        let learning_rate = self.config.learning_rate_at(self.updates + self.skipped);
        let grad_norm = grads.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        if !grad_norm.is_finite() {
            self.skipped += 1;
            return Ok(Update { grad_norm, learning_rate, skipped: true });
        }
        self.updates += 1;
        let config = &self.config;
        let clip =
            if config.clip_norm > 0.0 && grad_norm > config.clip_norm { config.clip_norm / grad_norm } else { 1.0 };
        let (clip, beta1, beta2) = (clip as f32, config.beta1 as f32, config.beta2 as f32);
        let exponent = i32::try_from(self.updates).unwrap_or(i32::MAX);
        let (bias1, bias2) = (1.0 - config.beta1.powi(exponent), 1.0 - config.beta2.powi(exponent));
        let (root_bias2, epsilon) = (bias2.sqrt() as f32, config.epsilon as f32);
        let entries = params.entries().to_vec();
        let values = params.values_mut();
        for entry in entries.iter().filter(|entry| entry.trainable) {
            let rate = rate(entry);
            if rate == 0.0 {
                continue;
            }
            let step_size = (rate * learning_rate / bias1) as f32;
            let decay = if entry.shape.len() > 1 { config.weight_decay } else { 0.0 };
            let keep = (1.0 - rate * learning_rate * decay) as f32;
            let range = entry.range();
            let moments = self.mean[range.clone()].iter_mut().zip(&mut self.square[range.clone()]);
            for ((value, grad), (mean, square)) in values[range.clone()].iter_mut().zip(&grads[range]).zip(moments) {
                let grad = grad * clip;
                *mean = beta1 * *mean + (1.0 - beta1) * grad;
                *square = beta2 * *square + (1.0 - beta2) * grad * grad;
                *value = keep * *value - step_size * *mean / (square.sqrt() / root_bias2 + epsilon);
            }
        }
        Ok(Update { grad_norm, learning_rate, skipped: false })
    }

    /// Puts the state into `files` under `name` (raw little-endian: counts, then both moments).
    pub fn save(&self, name: &str, files: &mut Files) {
        let mut bytes = Vec::with_capacity(24 + 8 * self.mean.len());
        for count in [self.mean.len() as u64, self.updates, self.skipped] {
            bytes.extend(count.to_le_bytes());
        }
        for value in self.mean.iter().chain(&self.square) {
            bytes.extend(value.to_le_bytes());
        }
        files.insert(name.to_string(), bytes);
    }

    /// Takes the state from `files`.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing or of another length.
    pub fn load(&mut self, name: &str, files: &Files) -> Result<()> {
        let wrong = |got: String| Error::File {
            path: name.into(),
            expected: format!("optimiser state of {} parameters", self.mean.len()),
            got,
        };
        let bytes = files.get(name).ok_or_else(|| wrong("no such file".into()))?;
        let (head, tail) = bytes.split_at_checked(24).ok_or_else(|| wrong(format!("{} bytes", bytes.len())))?;
        let counts: Vec<u64> = head.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        if counts[0] != self.mean.len() as u64 || tail.len() != 8 * self.mean.len() {
            return Err(wrong(format!("state of {} parameters in {} bytes", counts[0], bytes.len())));
        }
        let values: Vec<f32> = tail.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        let (mean, square) = values.split_at(self.mean.len());
        self.mean.copy_from_slice(mean);
        self.square.copy_from_slice(square);
        self.updates = counts[1];
        self.skipped = counts[2];
        Ok(())
    }
}
