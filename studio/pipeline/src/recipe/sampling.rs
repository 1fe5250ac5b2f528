//! How a stage samples clips. The policy is the distribution that is sampled: learning uses the same settings.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Tempering, truncation and guidance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Divides the logits; above 0.
    pub temperature: f64,
    /// Only the so many likeliest entries; 0: all.
    pub top_k: usize,
    /// Only the likeliest entries whose probabilities reach this sum, in (0, 1\]; 1: all.
    pub top_p: f64,
    /// Classifier-free guidance: 1 is none, above 1 moves away from the unconditioned policy.
    pub guidance: f64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { temperature: 0.99, top_k: 0, top_p: 1.0, guidance: 1.0 }
    }
}

impl SamplingConfig {
    /// The same for the sampler.
    #[must_use]
    pub fn core(&self) -> musicrl_core::sampling::SamplingConfig {
        musicrl_core::sampling::SamplingConfig {
            temperature: self.temperature,
            top_k: (self.top_k > 0).then_some(self.top_k),
            top_p: (self.top_p < 1.0).then_some(self.top_p),
            guidance: self.guidance,
        }
    }

    /// Checks every key; `prefix` is where they stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let Self { temperature, top_k: _, top_p, guidance } = *self;
        let rules = [
            ("temperature", temperature, temperature.is_finite() && temperature > 0.0, "above 0"),
            ("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1"),
            ("guidance", guidance, guidance.is_finite() && guidance >= 0.0, "0 or more"),
        ];
        match rules.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((name, value, _, rule)) => Err(Error::config(format!("{prefix}.{name}"), rule, value)),
            None => Ok(()),
        }
    }
}
