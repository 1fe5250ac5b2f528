//! What the joint embedding is made of: sizes, presets, rules.

use musicrl_core::nn::{Attention, FeedForward, TransformerConfig};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, front_end::FrontEndConfig, quantiser::EmbeddingQuantiserConfig, sentence::SentenceTowerConfig,
    text::TextTokeniserConfig,
};

/// Settings of [`TextAudioModel`](crate::TextAudioModel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextAudioConfig {
    /// How captions are split and hashed.
    pub tokeniser: TextTokeniserConfig,
    /// The transformer over words.
    pub text: TransformerConfig,
    /// Sample rate and log-mel frames.
    pub front_end: FrontEndConfig,
    /// Frames that make one position of the audio transformer.
    pub stack_frames: usize,
    /// The transformer over stacked frames.
    pub audio: TransformerConfig,
    /// Length of a window; a third of the clips that will be judged.
    pub window_seconds: f64,
    /// Dimensions of the common space.
    pub dim: usize,
    /// Temperature of the contrastive loss before the first step.
    pub temperature: f64,
    /// The temperature never falls below this. A higher bound asks for wider cosines between matching and other pairs,
    /// which is what a reward needs; a lower one only for their order.
    pub temperature_min: f64,
    /// The embedding as tokens.
    pub quantiser: EmbeddingQuantiserConfig,
    /// A tower over the vectors of a frozen sentence encoder, in the place of the tower over words: `tokeniser` and
    /// `text` then describe nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<SentenceTowerConfig>,
}

fn transformer(width: usize, layers: usize, heads: usize, ff_width: usize) -> TransformerConfig {
    let (feed_forward, attention) = (FeedForward::Gelu, Attention::Bidirectional);
    TransformerConfig { width, layers, heads, ff_width, feed_forward, attention }
}

impl TextAudioConfig {
    /// The shipped base: 16 kHz, clips of 6.4 s, half a million parameters.
    #[must_use]
    pub fn base() -> Self {
        Self {
            tokeniser: TextTokeniserConfig::default(),
            text: transformer(64, 1, 4, 128),
            front_end: FrontEndConfig::default(),
            stack_frames: 4,
            audio: transformer(96, 2, 4, 192),
            window_seconds: 6.4 / 3.0,
            dim: 64,
            temperature: 0.2,
            temperature_min: 0.1,
            quantiser: EmbeddingQuantiserConfig::default(),
            sentence: None,
        }
    }

    /// For real recordings on one machine: 24 kHz, the same clip length, about 2 M parameters.
    #[must_use]
    pub fn small() -> Self {
        Self {
            tokeniser: TextTokeniserConfig { word_buckets: 4096, trigram_buckets: 8192, ..Default::default() },
            front_end: FrontEndConfig { sample_rate_hz: 24_000, fft_samples: 2048, hop_samples: 480, bands: 96 },
            audio: transformer(128, 3, 4, 384),
            text: transformer(96, 1, 4, 192),
            ..Self::base()
        }
    }

    /// The published sizes where they are known: 24 kHz, windows of 10 s, 128 dimensions, 12 tokens of 1024 entries.
    #[must_use]
    pub fn published() -> Self {
        Self {
            tokeniser: TextTokeniserConfig {
                word_buckets: 1 << 16,
                trigram_buckets: 1 << 16,
                words_max: 128,
                word_chars_max: 32,
            },
            text: transformer(512, 8, 8, 2048),
            front_end: FrontEndConfig { sample_rate_hz: 24_000, fft_samples: 2048, hop_samples: 240, bands: 128 },
            stack_frames: 8,
            audio: transformer(768, 12, 12, 3072),
            window_seconds: 10.0,
            dim: 128,
            temperature: 0.07,
            temperature_min: 0.01,
            quantiser: EmbeddingQuantiserConfig::published(),
            sentence: None,
        }
    }

    /// Frames of one window: a multiple of the stacked frames, nowhere longer than `window_seconds`.
    #[must_use]
    pub fn window_frames(&self) -> usize {
        let hop = self.front_end.hop_samples.max(1) as f64;
        let frames = (self.window_seconds * f64::from(self.front_end.sample_rate_hz) / hop).floor() as usize;
        frames - frames % self.stack_frames.max(1)
    }

    /// Checks every field, alone and against the others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.tokeniser.validate()?;
        self.front_end.validate()?;
        self.quantiser.validate()?;
        self.text.validate()?;
        self.audio.validate()?;
        self.sentence.as_ref().map_or(Ok(()), SentenceTowerConfig::validate)?;
        for (field, config) in [("text.attention", &self.text), ("audio.attention", &self.audio)] {
            if config.attention != Attention::Bidirectional {
                let got = "causal".to_string();
                return Err(Error::Config { field, expected: "bidirectional".into(), got });
            }
        }
        let counts = [("stack_frames", self.stack_frames, 64), ("dim", self.dim, 4096)];
        for (field, got, high) in counts {
            if !(1..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from 1 to {high}"), got: got.to_string() });
            }
        }
        let numbers = [
            ("window_seconds", self.window_seconds, 0.05, 120.0),
            ("temperature_min", self.temperature_min, 1e-3, 10.0),
            ("temperature", self.temperature, self.temperature_min, 10.0),
        ];
        for (field, got, low, high) in numbers {
            if !(low..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from {low} to {high}"), got: got.to_string() });
            }
        }
        if self.window_frames() == 0 {
            let expected =
                format!("long enough for {} frames of {} samples", self.stack_frames, self.front_end.hop_samples);
            return Err(Error::Config { field: "window_seconds", expected, got: self.window_seconds.to_string() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_core::params::ParamTable;

    use super::*;

    #[test]
    fn presets_are_valid_and_of_the_promised_size() {
        let parameters = |config: &TextAudioConfig| {
            config.validate().unwrap();
            ParamTable::collect(&config.init(&Device::flex()).unwrap()).values().len()
        };
        let base = parameters(&TextAudioConfig::base());
        assert!((300_000..600_000).contains(&base), "{base}");
        let small = parameters(&TextAudioConfig::small());
        assert!((1_000_000..3_000_000).contains(&small), "{small}");
        TextAudioConfig::published().validate().unwrap();
    }

    #[test]
    fn bad_settings_are_named() {
        let base = TextAudioConfig::base;
        let cases = [
            (TextAudioConfig { stack_frames: 0, ..base() }, "stack_frames"),
            (TextAudioConfig { dim: 0, ..base() }, "dim"),
            (TextAudioConfig { window_seconds: 0.06, ..base() }, "window_seconds"),
            (TextAudioConfig { window_seconds: f64::NAN, ..base() }, "window_seconds"),
            (TextAudioConfig { temperature: 0.05, ..base() }, "temperature"),
            (TextAudioConfig { temperature_min: 0.0, ..base() }, "temperature_min"),
            (TextAudioConfig { audio: transformer(96, 2, 5, 8), ..base() }, "heads"),
            (
                TextAudioConfig { text: TransformerConfig { attention: Attention::Causal, ..base().text }, ..base() },
                "text.attention",
            ),
        ];
        for (config, field) in cases {
            let error = config.init(&Device::flex()).unwrap_err().to_string();
            assert!(error.contains(field), "{error} without {field}");
        }
    }
}
