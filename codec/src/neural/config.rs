//! Settings of the codec, the rules between them, and the presets.

use musicrl_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The non-linearity between convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Exponential linear unit, as in SoundStream.
    Elu,
    /// Gaussian error linear unit.
    Gelu,
    /// `x + sin^2(x)`: periodic (Ziyin et al., "Neural networks fail to learn periodic functions", 2020).
    Snake,
}

/// What the outermost convolutions, those that touch samples, are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveKernels {
    /// Learned kernels, as in SoundStream.
    Learned,
    /// Windowed Fourier kernels: the encoder sees log magnitudes and compressed spectra, the decoder predicts
    /// magnitude and phase and overlap-adds (Siuzdak, "Vocos", 2023). Learns far faster and costs less.
    Fourier,
}

/// Settings of the residual vector quantiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantiserConfig {
    /// Levels, each coding what the ones before left over.
    pub levels: usize,
    /// Entries of each codebook.
    pub entries: usize,
    /// Width in which entries are looked up: 0 looks up in the latent itself, otherwise each level projects into and
    /// out of this width (Kumar et al., "High-fidelity audio compression with improved RVQGAN", 2023).
    pub lookup_width: usize,
    /// Decay of the moving averages that the codebooks follow, per training step.
    pub ema_decay: f64,
    /// An entry is dead, and starts anew at a random input, when its use falls below this share of the mean use.
    pub dead_entry_share: f64,
    /// Probability that a training clip keeps only a random number of its first levels.
    pub dropout: f64,
}

/// Settings of [`NeuralCodec`](super::NeuralCodec).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodecConfig {
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Strides from samples to frames; their product is the hop. The first belongs to the convolution that reads
    /// samples (1 is allowed there), the others to down-sampling stages.
    pub strides: Vec<usize>,
    /// Kernel of the convolutions that touch samples, in strides: 4 means 4 times `strides[0]` samples.
    pub wave_kernel_strides: usize,
    /// What those convolutions are made of.
    pub wave_kernels: WaveKernels,
    /// Channels after the first convolution.
    pub base_channels: usize,
    /// Growth of the channels at every further stage.
    pub channel_growth: f64,
    /// Dilations of the residual units of a stage, one unit each.
    pub dilations: Vec<usize>,
    /// Kernel of the residual units (odd).
    pub residual_kernel: usize,
    /// Residual units at the frame rate, on either side of the quantiser.
    pub frame_units: usize,
    /// Kernel of the convolutions into and out of the latent (odd).
    pub latent_kernel: usize,
    /// Width of the latent.
    pub latent_width: usize,
    /// Bands of the linear path beside either network, from loudness to latent and back; 0 has none. Only with
    /// Fourier kernels.
    pub shortcut_bands: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether a frame may depend on nothing later than itself.
    pub causal: bool,
    /// The residual vector quantiser.
    pub quantiser: QuantiserConfig,
}

impl CodecConfig {
    /// The shipped base: 16 kHz, 25 Hz x 8 x 256 (1.6 kbit/s), for synthesised music on two cores.
    #[must_use]
    pub fn base() -> Self {
        Self {
            sample_rate_hz: 16_000,
            strides: vec![160, 2, 2],
            wave_kernel_strides: 4,
            wave_kernels: WaveKernels::Fourier,
            base_channels: 80,
            channel_growth: 1.4,
            dilations: vec![1, 3],
            residual_kernel: 3,
            frame_units: 1,
            latent_kernel: 3,
            latent_width: 64,
            shortcut_bands: 64,
            activation: Activation::Gelu,
            causal: false,
            quantiser: QuantiserConfig {
                levels: 8,
                entries: 256,
                lookup_width: 0,
                ema_decay: 0.98,
                dead_entry_share: 0.05,
                dropout: 0.5,
            },
        }
    }

    /// Real recordings on two cores: 24 kHz, 50 Hz x 12 x 1024 (6 kbit/s).
    #[must_use]
    pub fn small() -> Self {
        let base = Self::base();
        Self {
            sample_rate_hz: 24_000,
            strides: vec![240, 2],
            base_channels: 192,
            channel_growth: 1.34,
            latent_width: 96,
            quantiser: QuantiserConfig { levels: 12, entries: 1024, ..base.quantiser.clone() },
            ..base
        }
    }

    /// The published sizes: 24 kHz, 50 Hz x 12 x 1024, learned kernels from the first sample, causal.
    #[must_use]
    pub fn published() -> Self {
        Self {
            sample_rate_hz: 24_000,
            strides: vec![1, 2, 4, 5, 12],
            wave_kernel_strides: 7,
            wave_kernels: WaveKernels::Learned,
            base_channels: 32,
            channel_growth: 2.0,
            dilations: vec![1, 3, 9],
            residual_kernel: 7,
            frame_units: 0,
            latent_kernel: 3,
            latent_width: 128,
            shortcut_bands: 0,
            activation: Activation::Elu,
            causal: true,
            quantiser: QuantiserConfig {
                levels: 12,
                entries: 1024,
                lookup_width: 0,
                ema_decay: 0.99,
                dead_entry_share: 0.02,
                dropout: 0.5,
            },
        }
    }

    /// Samples a frame.
    #[must_use]
    pub fn hop(&self) -> usize {
        self.strides.iter().product()
    }

    /// Frames a second.
    #[must_use]
    pub fn frame_rate_hz(&self) -> f64 {
        f64::from(self.sample_rate_hz) / self.hop() as f64
    }

    /// Bits a second with the first `levels` levels.
    #[must_use]
    pub fn bits_per_second(&self, levels: usize) -> f64 {
        self.frame_rate_hz() * levels as f64 * (self.quantiser.entries as f64).log2()
    }

    /// Channels of stage `stage`, 0 being the one next to the samples.
    #[must_use]
    pub fn channels(&self, stage: usize) -> usize {
        let wide = self.base_channels as f64 * self.channel_growth.powi(i32::try_from(stage).unwrap_or(i32::MAX));
        // Multiples of 8 suit every matrix kernel.
        ((wide / 8.0).round() as usize).max(1) * 8
    }

    /// Windows of the Fourier kernels in a frame, when there is a linear path over them.
    pub(crate) fn shortcut_windows(&self) -> Option<usize> {
        let wanted = self.wave_kernels == WaveKernels::Fourier && self.shortcut_bands > 0;
        wanted.then(|| self.strides[1..].iter().product())
    }

    /// Frames on either side that a frame may depend on, in the encoder or the decoder, bounded from above.
    #[must_use]
    pub fn context_frames(&self) -> usize {
        let mut rate = 1;
        let mut samples = 0;
        for (stage, &stride) in self.strides.iter().enumerate() {
            let taps = if stage == 0 { self.wave_kernel_strides } else { 2 };
            samples += (taps - 1) * stride * rate;
            rate *= stride;
            let units = if stage + 1 < self.strides.len() { self.dilations.iter().sum() } else { self.frame_units };
            samples += (self.residual_kernel - 1) * units * rate;
        }
        samples += (self.latent_kernel - 1) * rate;
        samples.div_ceil(rate)
    }

    /// Checks every field and the rules between them.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let quantiser = &self.quantiser;
        let bounds: [(&'static str, usize, usize, usize); 12] = [
            ("sample_rate_hz", self.sample_rate_hz as usize, 1_000, 768_000),
            ("wave_kernel_strides", self.wave_kernel_strides, 1, 64),
            ("base_channels", self.base_channels, 1, 4_096),
            ("residual_kernel", self.residual_kernel, 1, 63),
            ("latent_kernel", self.latent_kernel, 1, 63),
            ("frame_units", self.frame_units, 0, 64),
            ("latent_width", self.latent_width, 1, 4_096),
            ("shortcut_bands", self.shortcut_bands, 0, 1_024),
            ("strides (how many)", self.strides.len(), 1, 12),
            ("quantiser.levels", quantiser.levels, 1, 64),
            ("quantiser.entries", quantiser.entries, 1, 65_536),
            ("quantiser.lookup_width", quantiser.lookup_width, 0, 4_096),
        ];
        for (field, got, low, high) in bounds {
            if !(low..=high).contains(&got) {
                return Err(wrong(field, format!("in {low}..={high}"), got));
            }
        }
        for (field, kernel) in [("residual_kernel", self.residual_kernel), ("latent_kernel", self.latent_kernel)] {
            if kernel % 2 == 0 {
                return Err(wrong(field, "odd".into(), kernel));
            }
        }
        for (index, &stride) in self.strides.iter().enumerate() {
            let low = if index == 0 { 1 } else { 2 };
            if !(low..=4_096).contains(&stride) {
                return Err(wrong("strides", format!("each in {low}..=4096"), stride));
            }
        }
        if self
            .strides
            .iter()
            .try_fold(1_usize, |product, stride| product.checked_mul(*stride))
            .is_none_or(|hop| hop > 1 << 20)
        {
            return Err(wrong("strides", "of a product of at most 2^20".into(), format!("{:?}", self.strides)));
        }
        if let Some(&dilation) = self.dilations.iter().find(|dilation| !(1..=1_024).contains(*dilation)) {
            return Err(wrong("dilations", "each in 1..=1024".into(), dilation));
        }
        let shares: [(&'static str, f64, bool, &str); 4] = [
            ("channel_growth", self.channel_growth, (1.0..=4.0).contains(&self.channel_growth), "in [1, 4]"),
            ("quantiser.ema_decay", quantiser.ema_decay, (0.0..1.0).contains(&quantiser.ema_decay), "in [0, 1)"),
            (
                "quantiser.dead_entry_share",
                quantiser.dead_entry_share,
                (0.0..1.0).contains(&quantiser.dead_entry_share),
                "in [0, 1)",
            ),
            ("quantiser.dropout", quantiser.dropout, (0.0..=1.0).contains(&quantiser.dropout), "in [0, 1]"),
        ];
        for (field, got, holds, rule) in shares {
            if !holds {
                return Err(wrong(field, rule.into(), got));
            }
        }
        if self.channels(self.strides.len()) > 16_384 {
            return Err(wrong(
                "channel_growth",
                "such that no stage has over 16384 channels".into(),
                self.channel_growth,
            ));
        }
        let window = self.wave_kernel_strides * self.strides[0];
        if self.wave_kernels == WaveKernels::Fourier && (self.wave_kernel_strides < 2 || window % 2 == 1 || window < 8)
        {
            let rule = "at least 2 with an even kernel of 8 samples or more when `wave_kernels` is \"fourier\"";
            return Err(wrong("wave_kernel_strides", rule.into(), self.wave_kernel_strides));
        }
        Ok(())
    }
}

fn wrong(field: &'static str, expected: String, got: impl ToString) -> Error {
    Error::Config { field, expected, got: got.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_have_the_agreed_rates() {
        for (config, hop, rate, bits) in [
            (CodecConfig::base(), 640, 25.0, 1_600.0),
            (CodecConfig::small(), 480, 50.0, 6_000.0),
            (CodecConfig::published(), 480, 50.0, 6_000.0),
        ] {
            config.validate().unwrap();
            assert_eq!(config.hop(), hop);
            assert_eq!(config.frame_rate_hz(), rate);
            assert_eq!(config.bits_per_second(config.quantiser.levels), bits);
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        let check = |field: &str, change: &dyn Fn(&mut CodecConfig)| {
            let mut config = CodecConfig::base();
            change(&mut config);
            match config.validate() {
                Err(Error::Config { field: named, .. }) => assert!(named.starts_with(field), "{named} for {field}"),
                other => panic!("{field}: {other:?}"),
            }
        };
        check("sample_rate_hz", &|c| c.sample_rate_hz = 1);
        check("strides", &|c| c.strides.clear());
        check("strides", &|c| c.strides[1] = 0);
        check("strides", &|c| c.strides = vec![4_096; 6]);
        check("residual_kernel", &|c| c.residual_kernel = 4);
        check("latent_kernel", &|c| c.latent_kernel = 0);
        check("dilations", &|c| c.dilations[0] = 0);
        check("channel_growth", &|c| c.channel_growth = f64::NAN);
        check("quantiser.levels", &|c| c.quantiser.levels = 0);
        check("quantiser.entries", &|c| c.quantiser.entries = 0);
        check("quantiser.ema_decay", &|c| c.quantiser.ema_decay = 1.0);
        check("quantiser.dropout", &|c| c.quantiser.dropout = -0.1);
        check("wave_kernel_strides", &|c| c.wave_kernel_strides = 1);
    }
}
