//! The settings of `config.json`: [`Config`].

use serde::Deserialize;

use crate::{Error, Result};

/// Largest span of one dilated kernel, in steps. No tensor proves a dilation, so it is bounded here.
const KERNEL_SPAN_MAX: usize = 1 << 16;
/// Most elements that one activation may have: 4 GiB of floats.
const ACTIVATION_MAX: usize = 1 << 30;

/// What a convolution does to its output's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormType {
    /// Nothing at run time: the kernel is stored as a gain and a direction.
    WeightNorm,
    /// One mean and one variance over all channels and steps.
    TimeGroupNorm,
}

/// What stands beyond the ends of a sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// The sound mirrored at its last sample, which is not repeated.
    Reflect,
    /// Zeros.
    Constant,
    /// The last sample.
    Replicate,
}

/// Settings of `config.json`. A key that a published file may leave out has the reference library's default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Bandwidths that the model offers, in kbit/s. The last one sets the number of codebooks.
    pub target_bandwidths: Vec<f64>,
    /// Samples a second.
    pub sampling_rate: usize,
    /// Channels: 1 or 2.
    pub audio_channels: usize,
    /// Whether each chunk is divided by its loudness before encoding.
    pub normalize: bool,
    /// Length of a chunk; the whole sound is one chunk without it.
    pub chunk_length_s: Option<f64>,
    /// Share of a chunk that the next one covers again.
    pub overlap: Option<f64>,
    /// Width of the latents.
    pub hidden_size: usize,
    /// Channels of the first convolution; each downsampling doubles them.
    pub num_filters: usize,
    /// Residual blocks at each rate.
    pub num_residual_layers: usize,
    /// Strides of the decoder; the encoder has them in reverse.
    pub upsampling_ratios: Vec<usize>,
    /// Normalisation of the convolutions.
    pub norm_type: NormType,
    /// Kernel of the first convolution of encoder and decoder.
    pub kernel_size: usize,
    /// Kernel of the last convolution of encoder and decoder.
    pub last_kernel_size: usize,
    /// Kernel of the first convolution of a residual block.
    pub residual_kernel_size: usize,
    /// Residual block j has dilation `dilation_growth_rate^j`.
    pub dilation_growth_rate: usize,
    /// Whether a step sees the past alone.
    pub use_causal_conv: bool,
    /// What stands beyond the ends.
    pub pad_mode: PadMode,
    /// A residual block is narrower by this factor inside.
    pub compress: usize,
    /// Recurrent layers.
    pub num_lstm_layers: usize,
    /// Share of the surplus of a causal transposed convolution that is cut at the right.
    pub trim_right_ratio: f64,
    /// Entries of a codebook.
    pub codebook_size: usize,
    /// Width of an entry: `hidden_size` without it.
    pub codebook_dim: Option<usize>,
    /// Whether the shortcut of a residual block is a convolution.
    pub use_conv_shortcut: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target_bandwidths: vec![1.5, 3.0, 6.0, 12.0, 24.0],
            sampling_rate: 24_000,
            audio_channels: 1,
            normalize: false,
            chunk_length_s: None,
            overlap: None,
            hidden_size: 128,
            num_filters: 32,
            num_residual_layers: 1,
            upsampling_ratios: vec![8, 5, 4, 2],
            norm_type: NormType::WeightNorm,
            kernel_size: 7,
            last_kernel_size: 7,
            residual_kernel_size: 3,
            dilation_growth_rate: 2,
            use_causal_conv: true,
            pad_mode: PadMode::Reflect,
            compress: 2,
            num_lstm_layers: 2,
            trim_right_ratio: 1.0,
            codebook_size: 1024,
            codebook_dim: None,
            use_conv_shortcut: true,
        }
    }
}

impl Config {
    /// Samples a second.
    #[must_use]
    pub fn sample_rate_hz(&self) -> usize {
        self.sampling_rate
    }

    /// Channels of the sound: 1 or 2.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.audio_channels
    }

    /// Samples of one frame. Of settings that [`Config::validate`] passed it is exact.
    #[must_use]
    pub fn hop(&self) -> usize {
        self.upsampling_ratios.iter().fold(1, |hop: usize, ratio| hop.saturating_mul(*ratio))
    }

    /// Frames a second, rounded up as the reference has it where it counts bits: ceil(sample rate / hop).
    #[must_use]
    pub fn frame_rate_hz(&self) -> usize {
        self.sampling_rate.div_ceil(self.hop().max(1))
    }

    /// Frames of a sound: ceil(samples / hop). Each strided convolution rounds up.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        self.upsampling_ratios.iter().rev().fold(samples, |length, ratio| length.div_ceil((*ratio).max(1)))
    }

    /// Entries of a codebook: codes are below it.
    #[must_use]
    pub fn codebook_size(&self) -> usize {
        self.codebook_size
    }

    /// Levels of the quantiser: what the last bandwidth pays for at ceil(log2(codebook size)) bits a code.
    #[must_use]
    pub fn quantisers(&self) -> usize {
        let bits = self.codebook_size.max(2).next_power_of_two().trailing_zeros();
        let bits_per_second = self.frame_rate_hz() as f64 * f64::from(bits);
        let bandwidth = self.target_bandwidths.last().copied().unwrap_or(0.0);
        floor_division(1000.0 * bandwidth, bits_per_second) as usize
    }

    /// Levels that a bandwidth in kbit/s pays for, at least one: floor(1000 bandwidth / (log2(codebook size) frame
    /// rate)), and no more than there are.
    ///
    /// # Errors
    /// [`Error::Config`] when the model does not offer the bandwidth.
    pub fn quantisers_for(&self, bandwidth_kbps: f64) -> Result<usize> {
        if !self.target_bandwidths.contains(&bandwidth_kbps) {
            let offered = format!("one of {:?}", self.target_bandwidths);
            return Err(Error::config("bandwidth", offered, bandwidth_kbps));
        }
        let bits_per_second = (self.codebook_size as f64).log2() * self.frame_rate_hz() as f64;
        let affordable = (bandwidth_kbps * 1000.0 / bits_per_second).floor() as usize;
        Ok(affordable.clamp(1, self.quantisers().max(1)))
    }

    /// Samples of a chunk, where the sound is cut into chunks.
    #[must_use]
    pub fn chunk_samples(&self) -> Option<usize> {
        self.chunk_length_s.map(|seconds| (seconds * self.sampling_rate as f64) as usize)
    }

    /// Samples from one chunk's start to the next one's, where the sound is cut into chunks.
    #[must_use]
    pub fn chunk_stride_samples(&self) -> Option<usize> {
        let (length, overlap) = (self.chunk_samples()?, self.overlap?);
        Some((((1.0 - overlap) * length as f64) as usize).max(1))
    }

    /// Width of the middle, where the recurrent layers are.
    pub(super) fn width_max(&self) -> usize {
        self.num_filters << self.upsampling_ratios.len()
    }

    /// Dilation of residual block `index`.
    ///
    /// # Errors
    /// [`Error::Config`] when the kernel spans too much.
    pub(super) fn dilation(&self, index: usize) -> Result<usize> {
        u32::try_from(index)
            .ok()
            .and_then(|index| self.dilation_growth_rate.checked_pow(index))
            .filter(|dilation| dilation.saturating_mul(self.residual_kernel_size) <= KERNEL_SPAN_MAX)
            .ok_or_else(|| {
                let rule = format!("kernels that span at most {KERNEL_SPAN_MAX} steps");
                Error::config("dilation_growth_rate", rule, format!("{}^{index}", self.dilation_growth_rate))
            })
    }

    /// Refuses a sound whose activations would not fit.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn check_size(&self, clips: usize, samples: usize) -> Result<()> {
        // The widest activation: each downsampling doubles the channels and divides the length.
        let mut length = samples;
        let mut per_clip = length.saturating_mul(self.num_filters.max(self.audio_channels));
        for (level, ratio) in self.upsampling_ratios.iter().rev().enumerate() {
            length = length.div_ceil((*ratio).max(1));
            per_clip = per_clip.max(length.saturating_mul(self.num_filters << (level + 1)));
        }
        // The recurrent layers hold four gates a unit.
        per_clip = per_clip.max(length.saturating_mul(self.width_max().saturating_mul(4)));
        if clips.saturating_mul(per_clip) <= ACTIVATION_MAX {
            return Ok(());
        }
        let rule = format!("a sound whose largest activation has at most {ACTIVATION_MAX} elements: split it");
        Err(Error::input("waveform", rule, format!("{clips} clips of {samples} samples")))
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
        within("audio_channels", self.audio_channels, 1, 2)?;
        within("hidden_size", self.hidden_size, 1, 1 << 16)?;
        within("num_filters", self.num_filters, 1, 1 << 14)?;
        within("num_residual_layers", self.num_residual_layers, 0, 16)?;
        within("upsampling_ratios (their number)", self.upsampling_ratios.len(), 1, 10)?;
        for ratio in &self.upsampling_ratios {
            within("upsampling_ratios", *ratio, 1, 1 << 10)?;
        }
        within("upsampling_ratios (their product)", self.hop(), 1, 1 << 20)?;
        within("kernel_size", self.kernel_size, 1, 1 << 10)?;
        within("last_kernel_size", self.last_kernel_size, 1, 1 << 10)?;
        within("residual_kernel_size", self.residual_kernel_size, 1, 1 << 10)?;
        within("dilation_growth_rate", self.dilation_growth_rate, 1, KERNEL_SPAN_MAX)?;
        for index in 0..self.num_residual_layers {
            self.dilation(index)?;
        }
        within("compress", self.compress, 1, self.num_filters)?;
        within("num_lstm_layers", self.num_lstm_layers, 1, 16)?;
        within("codebook_size", self.codebook_size, 2, 1 << 20)?;
        // The reference has no projection between latents and codebooks.
        let width = self.codebook_dim.unwrap_or(self.hidden_size);
        within("codebook_dim", width, self.hidden_size, self.hidden_size)?;
        if !(0.0..=1.0).contains(&self.trim_right_ratio) || (!self.use_causal_conv && self.trim_right_ratio != 1.0) {
            let rule = "0 to 1, and 1 without causal convolutions";
            return Err(Error::config("trim_right_ratio", rule, self.trim_right_ratio));
        }
        let plausible = |kbps: &f64| *kbps > 0.0 && *kbps <= 1e6;
        if self.target_bandwidths.len() > 1000 || !self.target_bandwidths.iter().all(plausible) {
            let got = self.target_bandwidths.iter().find(|kbps| !plausible(kbps)).copied();
            let got = got.map_or(format!("{} of them", self.target_bandwidths.len()), |kbps| kbps.to_string());
            return Err(Error::config("target_bandwidths", "at most 1000, each above 0 and at most 1e6", got));
        }
        within("target_bandwidths (the codebooks that the last pays for)", self.quantisers(), 1, 1024)?;
        self.validate_chunks()
    }

    fn validate_chunks(&self) -> Result<()> {
        let Some(seconds) = self.chunk_length_s else { return Ok(()) };
        let samples = self.chunk_samples().unwrap_or(0);
        if !(seconds > 0.0 && seconds <= 3600.0 && samples >= 1) {
            return Err(Error::config("chunk_length_s", "at least a sample and at most an hour", seconds));
        }
        // A larger overlap would make the work many times the sound's length.
        match self.overlap {
            Some(overlap) if (0.0..=0.95).contains(&overlap) => Ok(()),
            Some(overlap) => Err(Error::config("overlap", "0 to 0.95", overlap)),
            None => Err(Error::config("overlap", "set, as `chunk_length_s` is", "nothing")),
        }
    }
}

/// floor(a / b) of positive numbers without the rounding of the quotient, as Python's `//` has it.
fn floor_division(a: f64, b: f64) -> f64 {
    ((a - a % b) / b).round()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_settings_give_the_known_rates() {
        let of_24_khz = Config::default();
        of_24_khz.validate().unwrap();
        assert_eq!((of_24_khz.hop(), of_24_khz.frame_rate_hz(), of_24_khz.quantisers()), (320, 75, 32));
        let levels: Vec<_> =
            of_24_khz.target_bandwidths.iter().map(|kbps| of_24_khz.quantisers_for(*kbps).unwrap()).collect();
        assert_eq!(levels, [2, 4, 8, 16, 32]);
        assert!(of_24_khz.quantisers_for(2.0).unwrap_err().to_string().contains("24.0"));

        let of_32_khz: Config = serde_json::from_str(
            r#"{"target_bandwidths": [2.2], "sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4],
                "codebook_size": 2048, "num_filters": 64, "use_causal_conv": false, "chunk_length_s": null}"#,
        )
        .unwrap();
        of_32_khz.validate().unwrap();
        assert_eq!((of_32_khz.hop(), of_32_khz.frame_rate_hz(), of_32_khz.quantisers()), (640, 50, 4));
        assert_eq!(of_32_khz.quantisers_for(2.2).unwrap(), 4);
        assert_eq!([1, 640, 641].map(|samples| of_32_khz.frames(samples)), [1, 1, 2]);

        let of_48_khz: Config = serde_json::from_str(
            r#"{"target_bandwidths": [3, 6, 12, 24], "sampling_rate": 48000, "audio_channels": 2, "normalize": true,
                "chunk_length_s": 1, "overlap": 0.01, "norm_type": "time_group_norm", "use_causal_conv": false}"#,
        )
        .unwrap();
        of_48_khz.validate().unwrap();
        assert_eq!((of_48_khz.chunk_samples(), of_48_khz.chunk_stride_samples()), (Some(48000), Some(47520)));
        assert_eq!((of_48_khz.quantisers(), of_48_khz.quantisers_for(3.0).unwrap()), (16, 2));
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let check = |json: &str, field: &str| {
            let config: Config = serde_json::from_str(json).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{json}: {error}");
        };
        for (json, field) in [
            (r#"{"sampling_rate": 0}"#, "sampling_rate"),
            (r#"{"audio_channels": 3}"#, "audio_channels"),
            (r#"{"num_filters": 0}"#, "num_filters"),
            (r#"{"num_filters": 18446744073709551615}"#, "num_filters"),
            (r#"{"num_residual_layers": 1000000000}"#, "num_residual_layers"),
            (r#"{"num_residual_layers": 16, "dilation_growth_rate": 1000}"#, "dilation_growth_rate"),
            (r#"{"upsampling_ratios": []}"#, "upsampling_ratios"),
            (r#"{"upsampling_ratios": [8, 0]}"#, "upsampling_ratios"),
            (r#"{"upsampling_ratios": [1024, 1024, 1024, 1024, 1024, 1024, 1024]}"#, "product"),
            (r#"{"kernel_size": 0}"#, "kernel_size"),
            (r#"{"compress": 0}"#, "compress"),
            (r#"{"compress": 64}"#, "compress"),
            (r#"{"num_lstm_layers": 0}"#, "num_lstm_layers"),
            (r#"{"codebook_size": 1}"#, "codebook_size"),
            (r#"{"codebook_dim": 64}"#, "codebook_dim"),
            (r#"{"trim_right_ratio": 1.5}"#, "trim_right_ratio"),
            (r#"{"trim_right_ratio": 0.5, "use_causal_conv": false}"#, "trim_right_ratio"),
            (r#"{"target_bandwidths": []}"#, "target_bandwidths"),
            (r#"{"target_bandwidths": [0.0]}"#, "target_bandwidths"),
            (r#"{"target_bandwidths": [1e300]}"#, "target_bandwidths"),
            (r#"{"target_bandwidths": [0.001]}"#, "target_bandwidths"),
            (r#"{"chunk_length_s": 1.0}"#, "overlap"),
            (r#"{"chunk_length_s": 1.0, "overlap": 1.0}"#, "overlap"),
            (r#"{"chunk_length_s": -1.0, "overlap": 0.0}"#, "chunk_length_s"),
            (r#"{"chunk_length_s": 1e-9, "overlap": 0.0}"#, "chunk_length_s"),
        ] {
            check(json, field);
        }
        for json in [r#"{"num_filters": -1}"#, r#"{"norm_type": "layer"}"#, r#"{"pad_mode": "circular"}"#] {
            assert!(serde_json::from_str::<Config>(json).is_err(), "{json}");
        }
    }
}
