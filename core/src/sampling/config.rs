//! Settings of sampling: [`SamplingConfig`].

use alloc::{format, string::String};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How logits become the distribution that is sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Logits are divided by it, 0.01 to 100.
    pub temperature: f64,
    /// How many of the largest entries stay, ties with the last of them too; all without it.
    pub top_k: Option<usize>,
    /// The most probable entries stay until their probability reaches it, in (0, 1]; all without it.
    pub top_p: Option<f64>,
    /// Weight of the condition: 1 is the conditional policy itself, 0 the unconditional one, more exaggerates.
    pub guidance: f64,
}

impl Default for SamplingConfig {
    /// The paper's: temperature 0.99, everything else off.
    fn default() -> Self {
        Self { temperature: 0.99, top_k: None, top_p: None, guidance: 1.0 }
    }
}

impl SamplingConfig {
    /// The policy as it is: temperature 1, nothing cut off, no guidance.
    #[must_use]
    pub fn plain() -> Self {
        Self { temperature: 1.0, ..Self::default() }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let check = |field, good: bool, expected: &str, got: String| {
            if good { Ok(()) } else { Err(Error::Config { field, expected: expected.into(), got }) }
        };
        let temperature = self.temperature;
        check("temperature", (0.01..=100.0).contains(&temperature), "0.01 to 100", format!("{temperature}"))?;
        check("top_k", self.top_k != Some(0), "at least 1", String::from("0"))?;
        let top_p = self.top_p.unwrap_or(1.0);
        check("top_p", top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1", format!("{top_p}"))?;
        let guidance = self.guidance;
        check("guidance", (0.0..=100.0).contains(&guidance), "0 to 100", format!("{guidance}"))
    }

    /// Whether logits without a condition are needed.
    #[must_use]
    pub fn is_guided(&self) -> bool {
        self.guidance != 1.0
    }

    /// Whether entries are cut off.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.top_k.is_some() || self.top_p.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_named() {
        let plain = SamplingConfig::plain;
        assert_eq!(plain().validate(), Ok(()));
        for (name, config) in [
            ("temperature", SamplingConfig { temperature: 0.0, ..plain() }),
            ("temperature", SamplingConfig { temperature: f64::NAN, ..plain() }),
            ("top_k", SamplingConfig { top_k: Some(0), ..plain() }),
            ("top_p", SamplingConfig { top_p: Some(0.0), ..plain() }),
            ("top_p", SamplingConfig { top_p: Some(1.5), ..plain() }),
            ("top_p", SamplingConfig { top_p: Some(f64::NAN), ..plain() }),
            ("guidance", SamplingConfig { guidance: -1.0, ..plain() }),
            ("guidance", SamplingConfig { guidance: f64::INFINITY, ..plain() }),
        ] {
            assert!(matches!(config.validate(), Err(Error::Config { field, .. }) if field == name), "{config:?}");
        }
    }
}
