//! Settings of the hierarchical policy: [`HierarchicalPolicyConfig`].

use alloc::format;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    nn::{Attention, FeedForward, TransformerConfig},
    tokens::TokenLayout,
};

/// One of the two causal transformers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// Extent of the vectors between the blocks.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; `width / heads` must be exact and even.
    pub heads: usize,
    /// Extent of the feed-forward layer's inside.
    pub ff_width: usize,
    /// The feed-forward half of a block.
    pub feed_forward: FeedForward,
}

impl StackConfig {
    /// The same as a causal [`TransformerConfig`].
    #[must_use]
    pub fn transformer(&self) -> TransformerConfig {
        TransformerConfig {
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            ff_width: self.ff_width,
            feed_forward: self.feed_forward,
            attention: Attention::Causal,
        }
    }
}

/// Settings of a [`HierarchicalPolicy`](super::HierarchicalPolicy).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HierarchicalPolicyConfig {
    /// The slots of a frame.
    pub layout: TokenLayout,
    /// The transformer over frames.
    pub global: StackConfig,
    /// The transformer over the slots of a frame.
    pub local: StackConfig,
    /// Number of condition tokens a clip; 0 for a policy without condition.
    pub condition_slots: usize,
    /// Entries of each condition slot's codebook.
    pub condition_codebook: usize,
}

impl HierarchicalPolicyConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.layout.validate()?;
        self.global.transformer().validate()?;
        self.local.transformer().validate()?;
        let low = usize::from(self.condition_slots > 0);
        for (field, value, low, high) in [
            ("condition_slots", self.condition_slots, 0, 1 << 12),
            ("condition_codebook", self.condition_codebook, low, 1 << 24),
        ] {
            if !(low..=high).contains(&value) {
                return Err(Error::Config { field, expected: format!("{low} to {high}"), got: format!("{value}") });
            }
        }
        Ok(())
    }

    /// First row of each slot in a table that holds the entries of all slots one after the other.
    pub(super) fn offsets(&self) -> impl Iterator<Item = usize> + '_ {
        self.layout.slots.iter().scan(0, |next, slot| {
            let offset = *next;
            *next += slot.codebook;
            Some(offset)
        })
    }

    /// Entries of all slots together.
    pub(super) fn entries(&self) -> usize {
        self.layout.slots.iter().map(|slot| slot.codebook).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Slot, StreamKind};

    fn config() -> HierarchicalPolicyConfig {
        let stack = StackConfig { width: 8, layers: 1, heads: 2, ff_width: 8, feed_forward: FeedForward::SwiGlu };
        let slot = |codebook| Slot { stream: StreamKind::Acoustic, codebook };
        HierarchicalPolicyConfig {
            layout: TokenLayout { slots: vec![slot(3), slot(5)], frame_rate_hz: 12.5 },
            global: stack.clone(),
            local: stack,
            condition_slots: 2,
            condition_codebook: 4,
        }
    }

    #[test]
    fn bad_settings_are_named() {
        assert_eq!(config().validate(), Ok(()));
        let mut bad =
            ["slots", "heads", "layers", "condition_codebook", "condition_slots"].map(|name| (name, config()));
        bad[0].1.layout.slots.clear();
        bad[1].1.global.heads = 3;
        bad[2].1.local.layers = 0;
        bad[3].1.condition_codebook = 0;
        bad[4].1.condition_slots = usize::MAX;
        for (name, config) in bad {
            assert!(matches!(config.validate(), Err(Error::Config { field, .. }) if field == name), "{name}");
        }
        assert_eq!(
            HierarchicalPolicyConfig { condition_slots: 0, condition_codebook: 0, ..config() }.validate(),
            Ok(())
        );
    }

    #[test]
    fn settings_survive_json_and_unknown_keys_do_not() {
        let mut json = serde_json::to_value(config()).unwrap_or_default();
        assert_eq!(serde_json::from_value(json.clone()).ok(), Some(config()));
        json["local"]["dropout"] = 0.1.into();
        assert!(serde_json::from_value::<HierarchicalPolicyConfig>(json).is_err());
    }
}
