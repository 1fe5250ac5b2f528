//! Optimisers of a recipe: keys that are left out keep the values for alignment, not those for pretraining.

use serde::{Deserialize, Deserializer};

use crate::optim::AdamWConfig;

/// What of [`AdamWConfig`] a recipe says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    learning_rate: Option<f64>,
    beta1: Option<f64>,
    beta2: Option<f64>,
    epsilon: Option<f64>,
    weight_decay: Option<f64>,
    warmup_steps: Option<u64>,
    decay_steps: Option<u64>,
    final_fraction: Option<f64>,
    clip_norm: Option<f64>,
}

impl Said {
    fn over(self, other: AdamWConfig) -> AdamWConfig {
        AdamWConfig {
            learning_rate: self.learning_rate.unwrap_or(other.learning_rate),
            beta1: self.beta1.unwrap_or(other.beta1),
            beta2: self.beta2.unwrap_or(other.beta2),
            epsilon: self.epsilon.unwrap_or(other.epsilon),
            weight_decay: self.weight_decay.unwrap_or(other.weight_decay),
            warmup_steps: self.warmup_steps.unwrap_or(other.warmup_steps),
            decay_steps: self.decay_steps.unwrap_or(other.decay_steps),
            final_fraction: self.final_fraction.unwrap_or(other.final_fraction),
            clip_norm: self.clip_norm.unwrap_or(other.clip_norm),
        }
    }
}

/// Small steps, no decay of weights: the KL term, not the decay, decides how far the policy goes.
pub(super) fn policy() -> AdamWConfig {
    AdamWConfig { learning_rate: 1e-4, weight_decay: 0.0, warmup_steps: 10, ..AdamWConfig::default() }
}

/// The value network may go faster: it follows a target that moves.
pub(super) fn value() -> AdamWConfig {
    AdamWConfig { learning_rate: 3e-4, weight_decay: 0.0, warmup_steps: 10, ..AdamWConfig::default() }
}

pub(super) fn read_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AdamWConfig, D::Error> {
    Ok(Said::deserialize(deserializer)?.over(policy()))
}

pub(super) fn read_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AdamWConfig>, D::Error> {
    Ok(Some(Said::deserialize(deserializer)?.over(value())))
}
