//! What a run will need, before it starts: memory from shapes, time from a few measured steps.

pub mod models;

use crate::{Error, Result};

const FLOAT_BYTES: u64 = 4;
/// Share of the available memory that a run may plan to use; the rest is the allocator's and everyone else's.
const USABLE: f64 = 0.9;

/// Memory by part, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    parts: Vec<(&'static str, u64)>,
}

impl MemoryEstimate {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `count` 32-bit floats under the name `part`.
    #[must_use]
    pub fn with_floats(mut self, part: &'static str, count: u64) -> Self {
        self.parts.push((part, count.saturating_mul(FLOAT_BYTES)));
        self
    }

    /// Adds a network that is trained with AdamW: its weights as tensors and as a flat vector, the gradient, both
    /// moments.
    #[must_use]
    pub fn with_trained(self, part: &'static str, parameters: u64) -> Self {
        self.with_floats(part, parameters.saturating_mul(5))
    }

    /// Adds a network that is only used.
    #[must_use]
    pub fn with_frozen(self, part: &'static str, parameters: u64) -> Self {
        self.with_floats(part, parameters)
    }

    /// The parts, in the order in which they were added.
    #[must_use]
    pub fn parts(&self) -> &[(&'static str, u64)] {
        &self.parts
    }

    /// All parts together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Refuses what does not fit into `available_bytes`.
    ///
    /// # Errors
    /// [`Error::Memory`] with the parts, largest first.
    pub fn check(&self, available_bytes: u64) -> Result<()> {
        let needed_bytes = self.total_bytes();
        if needed_bytes as f64 <= USABLE * available_bytes as f64 {
            return Ok(());
        }
        let mut parts = self.parts.clone();
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let line = |(name, bytes): &(&str, u64)| format!("{name} {:.2} GiB", *bytes as f64 / f64::from(1_u32 << 30));
        let parts = parts.iter().map(line).collect::<Vec<_>>().join(", ");
        Err(Error::Memory { needed_bytes, available_bytes, parts })
    }
}

/// The extents of a transformer, as far as its activations go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformerShape {
    /// Blocks.
    pub layers: u64,
    /// Width of the residual stream.
    pub width: u64,
    /// Width inside the feed-forward part.
    pub ff_width: u64,
    /// Attention heads.
    pub heads: u64,
}

impl TransformerShape {
    /// Floats that a forward pass leaves for the backward one, over `clips` sequences of `time` positions.
    ///
    /// A block keeps about twelve tensors of the width (norms, rotations, projections, residuals), three of the
    /// feed-forward width, and the attention weights before and after the softmax and its mask.
    #[must_use]
    pub fn training_floats(&self, clips: u64, time: u64) -> u64 {
        let positions = clips.saturating_mul(time);
        let dense =
            positions.saturating_mul(self.width.saturating_mul(12).saturating_add(self.ff_width.saturating_mul(3)));
        let attention = positions.saturating_mul(time).saturating_mul(self.heads).saturating_mul(3);
        self.layers.saturating_mul(dense.saturating_add(attention))
    }

    /// Weights: four projections of attention and at most three of the feed-forward part a block.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let attention = self.width.saturating_mul(self.width).saturating_mul(4);
        let feed_forward = self.width.saturating_mul(self.ff_width).saturating_mul(3);
        self.layers.saturating_mul(attention.saturating_add(feed_forward))
    }

    /// Floats of a key-value cache for `clips` sequences of `time` positions.
    #[must_use]
    pub fn cache_floats(&self, clips: u64, time: u64) -> u64 {
        clips.saturating_mul(time).saturating_mul(self.layers).saturating_mul(self.width).saturating_mul(2)
    }
}

/// Time from a few measured steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeEstimate {
    /// Median of the measured steps, the first left out.
    pub step_seconds: f64,
    /// Steps of the run.
    pub steps: u64,
}

impl TimeEstimate {
    /// From the seconds of calibration steps. The first pays for allocation and caches and is left out where there are
    /// others; `None` without a measurement.
    #[must_use]
    pub fn from_calibration(seconds: &[f64], steps: u64) -> Option<Self> {
        let mut rest = if seconds.len() > 1 { seconds[1..].to_vec() } else { seconds.to_vec() };
        rest.sort_by(f64::total_cmp);
        let step_seconds = *rest.get(rest.len() / 2)?;
        Some(Self { step_seconds, steps })
    }

    /// Seconds of the whole run.
    #[must_use]
    pub fn total_seconds(&self) -> f64 {
        self.step_seconds * self.steps as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_does_not_fit_is_refused_with_the_largest_part_first() {
        let estimate = MemoryEstimate::new().with_trained("policy", 50_000_000).with_floats("activations", GIB / 2);
        assert_eq!(estimate.total_bytes(), 1_000_000_000 + 2 * GIB);
        estimate.check(4 * GIB).unwrap();
        let error = estimate.check(3 * GIB).unwrap_err().to_string();
        assert!(error.contains("2.9 GiB") && error.contains("(activations 2.00 GiB, policy 0.93 GiB)"), "{error}");
    }

    #[test]
    fn absurd_shapes_saturate_instead_of_overflowing() {
        let shape = TransformerShape { layers: 1 << 20, width: 1 << 40, ff_width: 1 << 42, heads: 1 << 20 };
        let estimate = MemoryEstimate::new().with_floats("activations", shape.training_floats(u64::MAX, u64::MAX));
        assert!(estimate.check(u64::MAX / 2).is_err());
    }

    #[test]
    fn activations_by_hand() {
        let shape = TransformerShape { layers: 2, width: 4, ff_width: 8, heads: 2 };
        // 2 layers * (3 * 5 positions * (48 + 24) + 3 * 5 * 5 * 6)
        assert_eq!(shape.training_floats(3, 5), 2 * (15 * 72 + 450));
        assert_eq!(shape.cache_floats(3, 5), 15 * 16);
    }

    #[test]
    fn the_first_step_does_not_count_where_there_are_others() {
        assert_eq!(TimeEstimate::from_calibration(&[], 10), None);
        assert_eq!(TimeEstimate::from_calibration(&[9.0], 10).unwrap().total_seconds(), 90.0);
        assert_eq!(TimeEstimate::from_calibration(&[9.0, 1.0, 2.0, 1.5], 10).unwrap().step_seconds, 1.5);
    }
}
