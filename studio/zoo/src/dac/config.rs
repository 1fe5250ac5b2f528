//! The settings of `config.json`: [`Config`].

use serde::Deserialize;

use crate::{Error, Result};

/// Most elements that one activation may have: 4 GiB of floats.
const ACTIVATION_MAX: usize = 1 << 30;

/// Settings of `config.json`. A key that a published file may leave out has the reference library's default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Channels of the encoder's first convolution; each downsampling doubles them.
    pub encoder_hidden_size: usize,
    /// Strides of the encoder.
    pub downsampling_ratios: Vec<usize>,
    /// Strides of the decoder: the encoder's in reverse without it.
    pub upsampling_ratios: Option<Vec<usize>>,
    /// Channels of the decoder's first convolution; each upsampling halves them.
    pub decoder_hidden_size: usize,
    /// Width of the latents: that of the encoder's last block without it.
    pub hidden_size: Option<usize>,
    /// Levels of the quantiser.
    pub n_codebooks: usize,
    /// Entries of a codebook.
    pub codebook_size: usize,
    /// Width of an entry.
    pub codebook_dim: usize,
    /// Samples a second.
    pub sampling_rate: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            encoder_hidden_size: 64,
            downsampling_ratios: vec![2, 4, 8, 8],
            upsampling_ratios: None,
            decoder_hidden_size: 1536,
            hidden_size: None,
            n_codebooks: 9,
            codebook_size: 1024,
            codebook_dim: 8,
            sampling_rate: 16_000,
        }
    }
}

impl Config {
    /// Samples a second.
    #[must_use]
    pub fn sample_rate_hz(&self) -> usize {
        self.sampling_rate
    }

    /// Samples of one frame. Of settings that [`Config::validate`] passed it is exact.
    #[must_use]
    pub fn hop(&self) -> usize {
        self.downsampling_ratios.iter().fold(1, |hop: usize, ratio| hop.saturating_mul(*ratio))
    }

    /// Strides of the decoder.
    #[must_use]
    pub fn strides_up(&self) -> Vec<usize> {
        let reversed = || self.downsampling_ratios.iter().rev().copied().collect();
        self.upsampling_ratios.clone().unwrap_or_else(reversed)
    }

    /// Width of the latents.
    #[must_use]
    pub fn width(&self) -> usize {
        self.hidden_size.unwrap_or_else(|| self.encoder_width(self.downsampling_ratios.len()))
    }

    /// Channels of the encoder after so many downsamplings.
    fn encoder_width(&self, level: usize) -> usize {
        (0..level).fold(self.encoder_hidden_size, |width, _| width.saturating_mul(2))
    }

    /// Frames of a sound: at each stride s, floor((length + 2 ceil(s/2) - 2s) / s) + 1.
    ///
    /// # Errors
    /// [`Error::Input`] for a sound that is shorter than a kernel on the way, or whose activations would not fit.
    pub(super) fn frames(&self, clips: usize, samples: usize) -> Result<usize> {
        let bad = |rule: String| Error::input("waveform", rule, format!("{clips} clips of {samples} samples"));
        let mut length = samples;
        let mut widest = samples.saturating_mul(self.encoder_hidden_size);
        for (level, stride) in self.downsampling_ratios.iter().enumerate() {
            let padded = length.saturating_add(2 * stride.div_ceil(2));
            if length == 0 || padded < 2 * stride {
                return Err(bad("a sound of a frame at least".into()));
            }
            length = (padded - 2 * stride) / stride + 1;
            widest = widest.max(length.saturating_mul(self.encoder_width(level + 1)));
        }
        if clips == 0 || length == 0 {
            return Err(bad("a clip of a frame at least".into()));
        }
        if clips.saturating_mul(widest) > ACTIVATION_MAX {
            return Err(bad(format!(
                "a sound whose largest activation has at most {ACTIVATION_MAX} elements: split it"
            )));
        }
        Ok(length)
    }

    /// Samples that the decoder makes: at each stride s, length s + s - 2 ceil(s/2).
    ///
    /// # Errors
    /// [`Error::Input`] when nothing is left, or the activations would not fit.
    pub(super) fn samples(&self, clips: usize, frames: usize) -> Result<usize> {
        let bad = |rule: String| Error::input("codes", rule, format!("{clips} clips of {frames} frames"));
        let mut length = frames;
        let mut widest = frames.saturating_mul(self.decoder_hidden_size);
        for (level, stride) in self.strides_up().iter().enumerate() {
            length = length.saturating_mul(*stride).saturating_add(*stride).saturating_sub(2 * stride.div_ceil(2));
            widest = widest.max(length.saturating_mul(self.decoder_hidden_size >> (level + 1)));
            // A stride of 1 takes a step away.
            if frames == 0 || length == 0 {
                return Err(bad("frames that give a sample at least".into()));
            }
        }
        if clips == 0 {
            return Err(bad("a clip at least".into()));
        }
        if clips.saturating_mul(widest) > ACTIVATION_MAX {
            return Err(bad(format!(
                "a sound whose largest activation has at most {ACTIVATION_MAX} elements: split it"
            )));
        }
        Ok(length)
    }

    /// Checks every setting, and those that depend on others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        let within = |field: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::config(field, format!("{least} to {most}"), value))
        };
        within("sampling_rate", self.sampling_rate, 1, 1_000_000)?;
        within("encoder_hidden_size", self.encoder_hidden_size, 1, 1 << 14)?;
        for (field, ratios) in
            [("downsampling_ratios", &self.downsampling_ratios), ("upsampling_ratios", &self.strides_up())]
        {
            within(&format!("{field} (their number)"), ratios.len(), 1, 10)?;
            for ratio in ratios {
                within(field, *ratio, 1, 1 << 10)?;
            }
            let product = ratios.iter().fold(1, |hop: usize, ratio| hop.saturating_mul(*ratio));
            within(&format!("{field} (their product)"), product, 1, 1 << 20)?;
        }
        // Each upsampling halves the channels, and one must be left.
        within("decoder_hidden_size", self.decoder_hidden_size, 1 << self.strides_up().len(), 1 << 20)?;
        if let Some(width) = self.hidden_size {
            within("hidden_size", width, 1, 1 << 20)?;
        }
        within("n_codebooks", self.n_codebooks, 1, 1024)?;
        within("codebook_size", self.codebook_size, 1, 1 << 20)?;
        within("codebook_dim", self.codebook_dim, 1, 1 << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_follow_the_strides() {
        let even = Config::default();
        even.validate().unwrap();
        assert_eq!((even.hop(), even.width()), (512, 1024));
        assert_eq!((even.frames(1, 512 * 3).unwrap(), even.samples(1, 3).unwrap()), (3, 512 * 3));
        let odd = Config { downsampling_ratios: vec![2, 4, 5, 8], ..Config::default() };
        // 21 frames of 320 samples: a step is missing at the stride of 5, and 2 * 4 samples with it.
        assert_eq!(odd.samples(1, 21).unwrap(), 6720 - 8);
        let short = even.frames(1, 5).unwrap_err().to_string();
        assert!(short.contains("frame at least"), "{short}");
        for (clips, samples) in [(0, 5120), (1, 0), (1, usize::MAX), (usize::MAX, 5120)] {
            assert!(even.frames(clips, samples).is_err(), "{clips} {samples}");
        }
        for (clips, frames) in [(0, 3), (1, 0), (1, usize::MAX), (usize::MAX, 3)] {
            assert!(even.samples(clips, frames).is_err(), "{clips} {frames}");
        }
        let ones = Config { downsampling_ratios: vec![1], ..Config::default() };
        assert!(ones.samples(1, 1).is_err());
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        for (json, field) in [
            (r#"{"encoder_hidden_size": 0}"#, "encoder_hidden_size"),
            (r#"{"encoder_hidden_size": 18446744073709551615}"#, "encoder_hidden_size"),
            (r#"{"downsampling_ratios": []}"#, "downsampling_ratios"),
            (r#"{"downsampling_ratios": [0]}"#, "downsampling_ratios"),
            (r#"{"downsampling_ratios": [1024, 1024, 1024]}"#, "product"),
            (r#"{"upsampling_ratios": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}"#, "upsampling_ratios"),
            (r#"{"decoder_hidden_size": 8}"#, "decoder_hidden_size"),
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"n_codebooks": 1000000000}"#, "n_codebooks"),
            (r#"{"codebook_size": 0}"#, "codebook_size"),
            (r#"{"codebook_dim": 0}"#, "codebook_dim"),
            (r#"{"sampling_rate": 0}"#, "sampling_rate"),
        ] {
            let config: Config = serde_json::from_str(json).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{json}: {error}");
        }
    }
}
