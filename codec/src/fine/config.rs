//! Sizes, decoding passes and presets of the fine stage.

use core::ops::Range;

use burn::tensor::Device;
use musicrl_core::{
    Error, Result,
    nn::{Attention, FeedForward, TransformerConfig},
};
use serde::{Deserialize, Serialize};

use super::FineModel;

/// Settings of the fine stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineConfig {
    /// Semantic ids are below this.
    pub semantic_entries: usize,
    /// Acoustic ids are below this, at every level.
    pub entries: usize,
    /// Quantiser levels of the codec (Q).
    pub quantisers: usize,
    /// Levels that are given; the others are generated here.
    pub coarse_levels: usize,
    /// Acoustic frames that share one semantic token.
    pub frames_per_semantic: usize,
    /// Width of the transformer.
    pub width: usize,
    /// Attention heads; divide `width` into even parts.
    pub heads: usize,
    /// Width inside a feed-forward block (SwiGLU).
    pub ff_width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Decoding passes for each generated level, the coarsest first. A level with one pass takes the most probable
    /// entries; one with more is sampled, the surest frames first.
    pub passes: Vec<usize>,
    /// Temperature of the entries in levels with several passes; 0 takes the most probable entry.
    pub temperature: f64,
    /// Weight of the Gumbel noise on the confidence by which frames are chosen, falling linearly to 0 over the passes
    /// of a level; 0 chooses strictly by confidence.
    pub choice_temperature: f64,
    /// Acoustic frames that attend to each other: the length of a training crop and of a decoded window.
    pub window_frames: usize,
    /// Acoustic frames that neighbouring windows of a long clip share.
    pub overlap_frames: usize,
}

impl FineConfig {
    /// The shipped base: 8 levels of 256 entries at 25 Hz, 2 of them coarse, semantic tokens at 12.5 Hz.
    #[must_use]
    pub fn base() -> Self {
        Self {
            semantic_entries: 128,
            entries: 256,
            quantisers: 8,
            coarse_levels: 2,
            frames_per_semantic: 2,
            width: 128,
            heads: 4,
            ff_width: 352,
            layers: 3,
            passes: vec![2, 1, 1, 1, 1, 1],
            temperature: 0.7,
            choice_temperature: 1.0,
            window_frames: 160,
            overlap_frames: 32,
        }
    }

    /// For real recordings on a small machine: 12 levels of 1024 entries at 50 Hz, 4 of them coarse.
    #[must_use]
    pub fn small() -> Self {
        Self {
            semantic_entries: 256,
            entries: 1_024,
            quantisers: 12,
            coarse_levels: 4,
            width: 192,
            heads: 6,
            ff_width: 512,
            passes: vec![8, 2, 1, 1, 1, 1, 1, 1],
            window_frames: 200,
            overlap_frames: 40,
            ..Self::base()
        }
    }

    /// The sizes of the published system: 24 kHz, 12 levels of 1024 entries at 50 Hz, 30 s windows.
    #[must_use]
    pub fn published() -> Self {
        Self {
            semantic_entries: 1_024,
            width: 1_024,
            heads: 16,
            ff_width: 2_816,
            layers: 12,
            passes: vec![16, 1, 1, 1, 1, 1, 1, 1],
            temperature: 1.0,
            window_frames: 1_500,
            overlap_frames: 300,
            ..Self::small()
        }
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// [`Error::Config`] for any name but `base`, `small` and `published`.
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "base" => Ok(Self::base()),
            "small" => Ok(Self::small()),
            "published" => Ok(Self::published()),
            other => Err(Error::Config {
                field: "preset",
                expected: "base, small or published".into(),
                got: format!("{other:?}"),
            }),
        }
    }

    /// Checks every field alone and against the others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let head = self.width.checked_div(self.heads).unwrap_or(0);
        let (window, ratio) = (self.window_frames, self.frames_per_semantic);
        let temperature = |value: f64| (0.0..=100.0).contains(&value);
        let rules: [(&'static str, bool, &str, String); 15] = [
            (
                "semantic_entries",
                (1..=1 << 20).contains(&self.semantic_entries),
                "1 to 1,048,576",
                self.semantic_entries.to_string(),
            ),
            ("entries", (1..=1 << 20).contains(&self.entries), "1 to 1,048,576", self.entries.to_string()),
            ("quantisers", (2..=256).contains(&self.quantisers), "2 to 256", self.quantisers.to_string()),
            (
                "coarse_levels",
                (1..self.quantisers).contains(&self.coarse_levels),
                "1 or more and below quantisers",
                self.coarse_levels.to_string(),
            ),
            ("frames_per_semantic", (1..=64).contains(&ratio), "1 to 64", ratio.to_string()),
            ("heads", self.heads > 0 && head * self.heads == self.width, "a divisor of width", self.heads.to_string()),
            (
                "width",
                head > 0 && head.is_multiple_of(2) && self.width <= 1 << 14,
                "an even multiple of heads, at most 16,384",
                self.width.to_string(),
            ),
            ("ff_width", (1..=1 << 16).contains(&self.ff_width), "1 to 65,536", self.ff_width.to_string()),
            ("layers", (1..=256).contains(&self.layers), "1 to 256", self.layers.to_string()),
            (
                "passes",
                self.passes.len() == self.fine_levels().len(),
                "one number for each generated level",
                format!("{} numbers", self.passes.len()),
            ),
            (
                "passes",
                self.passes.iter().all(|passes| (1..=256).contains(passes)),
                "1 to 256 each",
                format!("{:?}", self.passes),
            ),
            ("temperature", temperature(self.temperature), "0 to 100", self.temperature.to_string()),
            (
                "choice_temperature",
                temperature(self.choice_temperature),
                "0 to 100",
                self.choice_temperature.to_string(),
            ),
            (
                "window_frames",
                (1..=1 << 16).contains(&window) && window.is_multiple_of(ratio),
                "1 to 65,536 and a multiple of frames_per_semantic",
                window.to_string(),
            ),
            (
                "overlap_frames",
                self.overlap_frames <= window / 2 && self.overlap_frames.is_multiple_of(ratio.saturating_mul(2)),
                "at most half of window_frames and a multiple of 2 * frames_per_semantic",
                self.overlap_frames.to_string(),
            ),
        ];
        for (field, holds, expected, got) in rules {
            if !holds {
                return Err(Error::Config { field, expected: expected.into(), got });
            }
        }
        Ok(())
    }

    /// The levels that are generated.
    #[must_use]
    pub fn fine_levels(&self) -> Range<usize> {
        self.coarse_levels..self.quantisers
    }

    /// Decoding passes of a generated level.
    #[must_use]
    pub fn passes_of(&self, level: usize) -> usize {
        level.checked_sub(self.coarse_levels).and_then(|fine| self.passes.get(fine)).copied().unwrap_or(1)
    }

    /// The id that stands for "hidden": one past the codebook.
    #[must_use]
    pub fn mask_id(&self) -> u32 {
        u32::try_from(self.entries).unwrap_or(u32::MAX)
    }

    /// First row of a level in the embedding table, which holds the semantic entries, then for each level its entries
    /// and its mask.
    #[must_use]
    pub fn level_offset(&self, level: usize) -> usize {
        self.semantic_entries + level * (self.entries + 1)
    }

    /// The model. Weights wait for [`reinitialise`](musicrl_core::params::reinitialise) or a file.
    ///
    /// # Errors
    /// [`Error::Config`] as [`FineConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<FineModel> {
        self.validate()?;
        let blocks = TransformerConfig {
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            ff_width: self.ff_width,
            feed_forward: FeedForward::SwiGlu,
            attention: Attention::Bidirectional,
        };
        Ok(FineModel::new(self.clone(), blocks.init(device), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        for name in ["base", "small", "published"] {
            FineConfig::preset(name).unwrap().validate().unwrap();
        }
        assert!(FineConfig::preset("").is_err());
        let base = FineConfig::base();
        assert_eq!(base.fine_levels(), 2..8);
        assert_eq!((base.passes_of(2), base.passes_of(7)), (2, 1));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let check = |field: &str, change: fn(&mut FineConfig)| {
            let mut config = FineConfig::base();
            change(&mut config);
            match config.validate() {
                Err(Error::Config { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
            assert!(config.init(&Device::flex()).is_err());
        };
        check("semantic_entries", |c| c.semantic_entries = 0);
        check("entries", |c| c.entries = 0);
        check("quantisers", |c| c.quantisers = 1);
        check("coarse_levels", |c| c.coarse_levels = 8);
        check("coarse_levels", |c| c.coarse_levels = 0);
        check("frames_per_semantic", |c| c.frames_per_semantic = 0);
        check("heads", |c| c.heads = 3);
        check("width", |c| c.heads = 128);
        check("ff_width", |c| c.ff_width = 0);
        check("layers", |c| c.layers = 0);
        check("passes", |c| c.passes = vec![1; 5]);
        check("passes", |c| c.passes[3] = 0);
        check("temperature", |c| c.temperature = -0.1);
        check("temperature", |c| c.temperature = f64::NAN);
        check("choice_temperature", |c| c.choice_temperature = f64::INFINITY);
        check("window_frames", |c| c.window_frames = 161);
        check("overlap_frames", |c| c.overlap_frames = 34);
        check("overlap_frames", |c| c.overlap_frames = 84);
    }
}
