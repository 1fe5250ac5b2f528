//! Sizes, rates and presets of the semantic tokeniser.

use burn::tensor::Device;
use musicrl_core::{
    Error, Result,
    nn::{Attention, FeedForward, Linear, TransformerConfig},
};
use serde::{Deserialize, Serialize};

use super::{FrontEnd, MaskedPredictor, SemanticEncoder, SemanticTokeniser};
use crate::mel::{Log, MelConfig, Spectrum};

/// Settings of the semantic tokeniser and of the masked prediction that trains it.
///
/// A token covers `frame_samples` samples, which the front end turns into `frame_samples / mel_hop_samples` stacked
/// log-mel frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SemanticConfig {
    /// Samples a second of the audio.
    pub sample_rate_hz: u32,
    /// Samples a token covers: the token rate is `sample_rate_hz / frame_samples`.
    pub frame_samples: usize,
    /// Mel bands.
    pub mel_bands: usize,
    /// Length of the Fourier window.
    pub mel_window_samples: usize,
    /// Distance of mel frames; divides `frame_samples`.
    pub mel_hop_samples: usize,
    /// Width of the transformer.
    pub width: usize,
    /// Attention heads; divide `width` into even parts.
    pub heads: usize,
    /// Width inside a feed-forward block (SwiGLU).
    pub ff_width: usize,
    /// Layers that are trained.
    pub layers: usize,
    /// The layer whose normalised output is clustered, counted from 1; the layers above it only serve training.
    pub feature_layer: usize,
    /// Random-projection codebooks that are predicted side by side.
    pub target_codebooks: usize,
    /// Entries of each of them.
    pub target_entries: usize,
    /// Dimension of the random projection.
    pub target_dim: usize,
    /// Seed of projection and codebooks, which are derived anew instead of stored.
    pub target_seed: u64,
    /// Probability that a hidden span starts at a frame.
    pub mask_start_probability: f64,
    /// Length of a hidden span.
    pub mask_span_frames: usize,
    /// Clusters of the features, so the token ids are below this.
    pub clusters: usize,
    /// Frames that attend to each other: the length of a training crop and of a tokenised window.
    pub window_frames: usize,
    /// Frames that neighbouring windows of a long clip share.
    pub overlap_frames: usize,
}

impl SemanticConfig {
    /// The shipped base: 16 kHz, 12.5 tokens a second, 128 clusters.
    #[must_use]
    pub fn base() -> Self {
        Self {
            sample_rate_hz: 16_000,
            frame_samples: 1_280,
            mel_bands: 64,
            mel_window_samples: 1_024,
            mel_hop_samples: 320,
            width: 128,
            heads: 4,
            ff_width: 352,
            layers: 3,
            feature_layer: 2,
            target_codebooks: 4,
            target_entries: 256,
            target_dim: 16,
            target_seed: 0,
            mask_start_probability: 0.1,
            mask_span_frames: 5,
            clusters: 128,
            window_frames: 80,
            overlap_frames: 16,
        }
    }

    /// For real recordings on a small machine: 24 kHz, 25 tokens a second, 256 clusters.
    #[must_use]
    pub fn small() -> Self {
        Self {
            sample_rate_hz: 24_000,
            frame_samples: 960,
            mel_bands: 80,
            mel_window_samples: 2_048,
            mel_hop_samples: 480,
            width: 192,
            heads: 6,
            ff_width: 512,
            layers: 4,
            feature_layer: 3,
            target_entries: 512,
            mask_start_probability: 0.06,
            mask_span_frames: 10,
            clusters: 256,
            window_frames: 160,
            overlap_frames: 32,
            ..Self::base()
        }
    }

    /// The rates of the published system: 24 kHz, 25 tokens a second, 1024 clusters.
    #[must_use]
    pub fn published() -> Self {
        Self {
            mel_bands: 128,
            width: 1_024,
            heads: 16,
            ff_width: 2_816,
            layers: 12,
            feature_layer: 7,
            target_entries: 8_192,
            clusters: 1_024,
            window_frames: 750,
            overlap_frames: 150,
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
        let divisor = self.frame_samples.checked_rem(self.mel_hop_samples);
        let head = self.width.checked_div(self.heads).unwrap_or(0);
        let p = self.mask_start_probability;
        let rules: [(&'static str, bool, &str, String); 19] = [
            (
                "sample_rate_hz",
                (1_000..=768_000).contains(&self.sample_rate_hz),
                "1,000 to 768,000",
                self.sample_rate_hz.to_string(),
            ),
            (
                "frame_samples",
                (1..=1 << 20).contains(&self.frame_samples),
                "1 to 1,048,576",
                self.frame_samples.to_string(),
            ),
            ("mel_hop_samples", divisor == Some(0), "a divisor of frame_samples", self.mel_hop_samples.to_string()),
            (
                "mel_window_samples",
                self.mel_window_samples >= self.mel_hop_samples && self.mel_window_samples <= 1 << 16,
                "mel_hop_samples to 65,536",
                self.mel_window_samples.to_string(),
            ),
            ("mel_bands", (1..=512).contains(&self.mel_bands), "1 to 512", self.mel_bands.to_string()),
            ("heads", self.heads > 0 && head * self.heads == self.width, "a divisor of width", self.heads.to_string()),
            (
                "width",
                head > 0 && head.is_multiple_of(2) && self.width <= 1 << 14,
                "an even multiple of heads, at most 16,384",
                self.width.to_string(),
            ),
            ("ff_width", (1..=1 << 16).contains(&self.ff_width), "1 to 65,536", self.ff_width.to_string()),
            ("layers", (2..=256).contains(&self.layers), "2 to 256", self.layers.to_string()),
            (
                "feature_layer",
                (1..self.layers).contains(&self.feature_layer),
                "1 or more and below layers",
                self.feature_layer.to_string(),
            ),
            (
                "target_codebooks",
                (1..=64).contains(&self.target_codebooks),
                "1 to 64",
                self.target_codebooks.to_string(),
            ),
            (
                "target_entries",
                (2..=1 << 16).contains(&self.target_entries),
                "2 to 65,536",
                self.target_entries.to_string(),
            ),
            ("target_dim", (1..=1_024).contains(&self.target_dim), "1 to 1,024", self.target_dim.to_string()),
            ("mask_start_probability", p > 0.0 && p < 1.0, "above 0 and below 1", p.to_string()),
            (
                "mask_span_frames",
                (1..=self.window_frames).contains(&self.mask_span_frames),
                "1 to window_frames",
                self.mask_span_frames.to_string(),
            ),
            ("clusters", (1..=1 << 16).contains(&self.clusters), "1 to 65,536", self.clusters.to_string()),
            (
                "window_frames",
                (2..=1 << 16).contains(&self.window_frames),
                "2 to 65,536",
                self.window_frames.to_string(),
            ),
            (
                "overlap_frames",
                self.overlap_frames <= self.window_frames / 2,
                "at most half of window_frames",
                self.overlap_frames.to_string(),
            ),
            ("overlap_frames", self.overlap_frames.is_multiple_of(2), "even", self.overlap_frames.to_string()),
        ];
        for (field, holds, expected, got) in rules {
            if !holds {
                return Err(Error::Config { field, expected: expected.into(), got });
            }
        }
        Ok(())
    }

    /// Tokens a second.
    #[must_use]
    pub fn frame_rate_hz(&self) -> f64 {
        f64::from(self.sample_rate_hz) / self.frame_samples as f64
    }

    /// Tokens of a clip of `samples` samples: one for every `frame_samples` begun.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        samples.div_ceil(self.frame_samples)
    }

    /// Mel frames stacked into one token's features.
    #[must_use]
    pub fn stack(&self) -> usize {
        self.frame_samples / self.mel_hop_samples
    }

    /// Features of one token: `stack * mel_bands`.
    #[must_use]
    pub fn feature_width(&self) -> usize {
        self.stack() * self.mel_bands
    }

    /// The log-mel front end.
    ///
    /// # Errors
    /// [`Error::Config`] as [`SemanticConfig::validate`], or from the mel filter bank.
    pub fn front_end(&self) -> Result<FrontEnd> {
        self.validate()?;
        FrontEnd::new(self)
    }

    pub(super) fn mel(&self) -> MelConfig {
        let (window, hop) = (self.mel_window_samples, self.mel_hop_samples);
        MelConfig {
            // Powers, which need no root. Those of a full-scale tone are near a sixteenth of the window squared, so
            // this floor lies some 90 dB below.
            spectrum: Spectrum::Power,
            log: Log::Natural { floor: 1e-4 },
            ..MelConfig::new(self.sample_rate_hz, window, hop, self.mel_bands)
        }
    }

    /// A tokeniser whose weights wait for values: those of a file, or of training.
    ///
    /// # Errors
    /// [`Error::Config`] as [`SemanticConfig::validate`], or from the mel filter bank.
    pub fn init(&self, device: &Device) -> Result<SemanticTokeniser> {
        let encoder = self.init_encoder(device)?;
        SemanticTokeniser::new(self.clone(), encoder, device)
    }

    /// The network that is trained: encoder, upper layers and one head for all target codebooks. Weights are zero
    /// until [`reinitialise`](musicrl_core::params::reinitialise).
    ///
    /// # Errors
    /// [`Error::Config`] as [`SemanticConfig::validate`].
    pub fn init_predictor(&self, device: &Device) -> Result<MaskedPredictor> {
        let encoder = self.init_encoder(device)?;
        let upper = self.transformer(self.layers - self.feature_layer).init(device);
        let head = Linear::zeros(self.width, self.target_codebooks * self.target_entries, device);
        Ok(MaskedPredictor::new(encoder, upper, head, self.target_entries))
    }

    fn init_encoder(&self, device: &Device) -> Result<SemanticEncoder> {
        self.validate()?;
        // One more input than features: the flag "this frame is hidden", whose row of weights is the mask embedding.
        let input = Linear::zeros(self.feature_width() + 1, self.width, device);
        let blocks = self.transformer(self.feature_layer).init(device);
        Ok(SemanticEncoder::new(self.mel_bands, input, blocks, device))
    }

    fn transformer(&self, layers: usize) -> TransformerConfig {
        TransformerConfig {
            width: self.width,
            layers,
            heads: self.heads,
            ff_width: self.ff_width,
            feed_forward: FeedForward::SwiGlu,
            attention: Attention::Bidirectional,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_have_the_promised_rates() {
        for (name, rate, clusters) in [("base", 12.5, 128), ("small", 25.0, 256), ("published", 25.0, 1024)] {
            let config = SemanticConfig::preset(name).unwrap();
            config.validate().unwrap();
            assert_eq!((config.frame_rate_hz(), config.clusters), (rate, clusters), "{name}");
        }
        assert!(SemanticConfig::preset("huge").is_err());
    }

    #[test]
    fn a_token_for_every_frame_begun() {
        let config = SemanticConfig::base();
        for (samples, frames) in [(0, 0), (1, 1), (1_280, 1), (1_281, 2), (102_400, 80), (102_399, 80)] {
            assert_eq!(config.frames(samples), frames, "{samples}");
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        let check = |field: &str, change: fn(&mut SemanticConfig)| {
            let mut config = SemanticConfig::base();
            change(&mut config);
            match config.validate() {
                Err(Error::Config { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        };
        check("sample_rate_hz", |c| c.sample_rate_hz = 1);
        check("frame_samples", |c| c.frame_samples = 0);
        check("mel_hop_samples", |c| c.mel_hop_samples = 300);
        check("mel_hop_samples", |c| c.mel_hop_samples = 0);
        check("mel_window_samples", |c| c.mel_window_samples = 10);
        check("mel_bands", |c| c.mel_bands = 0);
        check("heads", |c| c.heads = 0);
        check("heads", |c| c.heads = 5);
        check("width", |c| c.heads = 128);
        check("ff_width", |c| c.ff_width = 0);
        check("layers", |c| c.layers = 1);
        check("feature_layer", |c| c.feature_layer = 3);
        check("target_codebooks", |c| c.target_codebooks = 0);
        check("target_entries", |c| c.target_entries = 1);
        check("target_dim", |c| c.target_dim = 0);
        check("mask_start_probability", |c| c.mask_start_probability = f64::NAN);
        check("mask_span_frames", |c| c.mask_span_frames = 81);
        check("clusters", |c| c.clusters = 0);
        check("window_frames", |c| (c.window_frames, c.mask_span_frames) = (1, 1));
        check("overlap_frames", |c| c.overlap_frames = 42);
        check("overlap_frames", |c| c.overlap_frames = 15);
    }
}
