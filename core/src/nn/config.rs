//! What a transformer is made of: [`TransformerConfig`].

use alloc::format;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The feed-forward half of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedForward {
    /// `down(gelu(up(x)))`: two matrices.
    Gelu,
    /// `down(silu(gate(x)) * up(x))`: three matrices (Shazeer, "GLU variants improve transformer", 2020).
    SwiGlu,
}

/// Which positions a position may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attention {
    /// Itself and those before it.
    Causal,
    /// All of them.
    Bidirectional,
}

/// Settings of a [`Transformer`](super::Transformer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Extent of the vectors between the blocks.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; `width / heads` must be exact and even (rotary positions turn pairs).
    pub heads: usize,
    /// Extent of the feed-forward layer's inside.
    pub ff_width: usize,
    /// The feed-forward half of a block.
    pub feed_forward: FeedForward,
    /// Which positions a position may look at.
    pub attention: Attention,
}

impl TransformerConfig {
    /// Checks the settings; call it before [`init`](Self::init) on settings from outside.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let bounds = [
            ("width", self.width, 1 << 16),
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, self.width),
            ("ff_width", self.ff_width, 1 << 18),
        ];
        for (field, value, high) in bounds {
            if !(1..=high).contains(&value) {
                return Err(Error::Config { field, expected: format!("1 to {high}"), got: format!("{value}") });
            }
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            return Err(Error::Config {
                field: "heads",
                expected: format!("such that heads of even width make up the width {}", self.width),
                got: format!("{}", self.heads),
            });
        }
        Ok(())
    }

    /// Extent of one head.
    #[must_use]
    pub fn head_width(&self) -> usize {
        self.width.checked_div(self.heads).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TransformerConfig {
        TransformerConfig {
            width: 12,
            layers: 1,
            heads: 2,
            ff_width: 8,
            feed_forward: FeedForward::Gelu,
            attention: Attention::Causal,
        }
    }

    #[test]
    fn bad_settings_are_named() {
        assert_eq!(config().validate(), Ok(()));
        let mut cases = [("width", config()), ("layers", config()), ("heads", config()), ("ff_width", config())];
        cases[0].1.width = 0;
        cases[1].1.layers = 0;
        cases[2].1.heads = 4; // heads of width 3: odd
        cases[3].1.ff_width = 0;
        for (name, case) in &cases {
            assert!(matches!(case.validate(), Err(Error::Config { field, .. }) if field == *name), "{name}");
        }
        cases[0].1.width = usize::MAX;
        cases[1].1.layers = usize::MAX;
        cases[2].1.heads = usize::MAX;
        cases[3].1.ff_width = usize::MAX;
        for (name, case) in cases {
            assert!(matches!(case.validate(), Err(Error::Config { field, .. }) if field == name), "{name} too large");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let mut json = serde_json::to_value(config()).unwrap_or_default();
        assert!(serde_json::from_value::<TransformerConfig>(json.clone()).is_ok());
        json["dropout"] = 0.1.into();
        assert!(serde_json::from_value::<TransformerConfig>(json).is_err());
    }
}
