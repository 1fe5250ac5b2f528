//! Settings of Mimi: [`Config`].

use serde::Deserialize;

use crate::{Error, Result, bounds::within, nn::Activation};

/// Elements of the largest layer of one pass, at most: 4 GiB of 32-bit floats.
const ELEMENTS_MAX: usize = 1 << 30;

/// How convolutions fill what lies before and after the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// Zeros.
    #[default]
    Constant,
    /// The sound backwards, without its first or last sample.
    Reflect,
    /// The first or last sample again and again.
    Replicate,
}

/// Settings of `config.json`, under their published names. A key that is not there has the reference library's default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Samples a second.
    pub sampling_rate: usize,
    /// Channels of the sound, 1 or 2.
    pub audio_channels: usize,
    /// Width of the latents and of both transformers.
    pub hidden_size: usize,
    /// Channels of the first convolution; each stride doubles them.
    pub num_filters: usize,
    /// Residual blocks before (encoder) or after (decoder) each stride.
    pub num_residual_layers: usize,
    /// The decoder's strides; the encoder's are these backwards.
    pub upsampling_ratios: Vec<usize>,
    /// Kernel of the first convolution of each stack.
    pub kernel_size: usize,
    /// Kernel of the last convolution of each stack.
    pub last_kernel_size: usize,
    /// Kernel of the first convolution of a residual block.
    pub residual_kernel_size: usize,
    /// Dilation of residual block j is this to the power of j.
    pub dilation_growth_rate: usize,
    /// Whether convolutions see the past alone.
    pub use_causal_conv: bool,
    /// Padding of all convolutions but the one to the frame rate, which always replicates.
    pub pad_mode: PadMode,
    /// A residual block's inner channels are the outer ones divided by this.
    pub compress: usize,
    /// Which part of what a causal transposed convolution gives too much is cut off its end; the rest off its start.
    pub trim_right_ratio: f64,
    /// Entries of a codebook.
    pub codebook_size: usize,
    /// Width of an entry.
    pub codebook_dim: usize,
    /// Codebooks.
    pub num_quantizers: usize,
    /// Whether residual blocks have a convolution in their shortcut.
    pub use_conv_shortcut: bool,
    /// Width in which the quantisers work; must be `codebook_dim`.
    pub vector_quantization_hidden_dimension: usize,
    /// The first codebooks, which have a residual quantiser of their own.
    pub num_semantic_quantizers: usize,
    /// Groups of the transposed convolution from the frame rate.
    pub upsample_groups: usize,
    /// Layers of each transformer.
    pub num_hidden_layers: usize,
    /// Inner width of a layer's feed-forward part.
    pub intermediate_size: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Heads of keys and values; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; `hidden_size / num_attention_heads` when absent.
    pub head_dim: Option<usize>,
    /// Activation of the feed-forward parts.
    pub hidden_act: String,
    /// Epsilon of the layer norms.
    pub norm_eps: f64,
    /// Keys that a position sees, itself among them.
    pub sliding_window: usize,
    /// Whether attention has biases.
    pub attention_bias: bool,
    /// Base of the rotary frequencies, as files up to transformers 4 have it.
    pub rope_theta: Option<f64>,
    /// The same, as later files have it.
    pub rope_parameters: Option<RopeParameters>,
    /// Frames a second; samples a second by half of the strides' product when absent.
    pub frame_rate: Option<f64>,
    /// The same, as transformers 5 writes it.
    #[serde(rename = "_frame_rate")]
    pub private_frame_rate: Option<f64>,
}

/// Rotary positions, as transformers 5 writes them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RopeParameters {
    /// Base of the frequencies.
    pub rope_theta: Option<f64>,
    /// Must be `default`.
    pub rope_type: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sampling_rate: 24_000,
            audio_channels: 1,
            hidden_size: 512,
            num_filters: 64,
            num_residual_layers: 1,
            upsampling_ratios: vec![8, 6, 5, 4],
            kernel_size: 7,
            last_kernel_size: 3,
            residual_kernel_size: 3,
            dilation_growth_rate: 2,
            use_causal_conv: true,
            pad_mode: PadMode::Constant,
            compress: 2,
            trim_right_ratio: 1.0,
            codebook_size: 2048,
            codebook_dim: 256,
            num_quantizers: 32,
            use_conv_shortcut: false,
            vector_quantization_hidden_dimension: 256,
            num_semantic_quantizers: 1,
            upsample_groups: 512,
            num_hidden_layers: 8,
            intermediate_size: 2048,
            num_attention_heads: 8,
            num_key_value_heads: 8,
            head_dim: None,
            hidden_act: "gelu".into(),
            norm_eps: 1e-5,
            sliding_window: 250,
            attention_bias: false,
            rope_theta: None,
            rope_parameters: None,
            frame_rate: None,
            private_frame_rate: None,
        }
    }
}

impl Config {
    /// Checks every setting, and those that must fit each other. All products of sizes are far from overflow afterwards.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        for (field, value, least, most) in [
            ("sampling_rate", self.sampling_rate, 1, 1_000_000),
            ("audio_channels", self.audio_channels, 1, 2),
            ("hidden_size", self.hidden_size, 1, 1 << 16),
            ("num_filters", self.num_filters, 1, 1 << 16),
            ("num_residual_layers", self.num_residual_layers, 0, 64),
            ("number of upsampling_ratios", self.upsampling_ratios.len(), 1, 16),
            ("kernel_size", self.kernel_size, 1, 1 << 10),
            ("last_kernel_size", self.last_kernel_size, 1, 1 << 10),
            ("residual_kernel_size", self.residual_kernel_size, 1, 1 << 10),
            ("dilation_growth_rate", self.dilation_growth_rate, 1, 1 << 10),
            ("compress", self.compress, 1, self.num_filters),
            ("codebook_size", self.codebook_size, 1, 1 << 20),
            ("codebook_dim", self.codebook_dim, 1, 1 << 16),
            ("num_quantizers", self.num_quantizers, 2, 1 << 10),
            ("num_semantic_quantizers", self.num_semantic_quantizers, 1, self.num_quantizers.saturating_sub(1)),
            ("upsample_groups", self.upsample_groups, 1, self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers, 0, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1, 1 << 20),
            ("num_attention_heads", self.num_attention_heads, 1, 1 << 10),
            ("num_key_value_heads", self.num_key_value_heads, 1, self.num_attention_heads),
            ("head_dim", self.head_width(), 2, 1 << 12),
            ("sliding_window", self.sliding_window, 1, 1 << 30),
        ] {
            within(field, value, least, most)?;
        }
        for &ratio in &self.upsampling_ratios {
            within("upsampling_ratios", ratio, 1, 1 << 10)?;
        }
        for (field, value, most) in [
            ("product of upsampling_ratios", self.hop_checked(), 1 << 20),
            ("dilation of the last residual block", self.dilation_checked(), 1 << 16),
            ("channels of the last stride", self.num_filters.checked_shl(self.upsampling_ratios.len() as u32), 1 << 20),
        ] {
            if value.is_none_or(|value| value > most) {
                let got = value.map_or("more".into(), |value| value.to_string());
                return Err(Error::config(field, format!("at most {most}"), got));
            }
        }
        for (field, whole, divisor) in [
            ("upsample_groups", self.hidden_size, self.upsample_groups),
            ("num_attention_heads", self.hidden_size, self.num_attention_heads),
            ("num_key_value_heads", self.num_attention_heads, self.num_key_value_heads),
            // Rotation turns pairs.
            ("head_dim", self.head_width(), 2),
        ] {
            if whole % divisor != 0 {
                return Err(Error::config(field, format!("such that {whole} is divided by {divisor}"), divisor));
            }
        }
        if self.codebook_dim != self.vector_quantization_hidden_dimension {
            let expected = format!("codebook_dim, {}", self.codebook_dim);
            let got = self.vector_quantization_hidden_dimension;
            return Err(Error::config("vector_quantization_hidden_dimension", expected, got));
        }
        if !self.codebook_size.is_power_of_two() {
            return Err(Error::config("codebook_size", "a power of two", self.codebook_size));
        }
        self.activation()?;
        let trim = self.trim_right_ratio;
        if !(0.0..=1.0).contains(&trim) || (!self.use_causal_conv && trim < 1.0) {
            let expected = "from 0 to 1, and 1 where convolutions are not causal";
            return Err(Error::config("trim_right_ratio", expected, trim));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(Error::config("norm_eps", "not negative", self.norm_eps));
        }
        if !(self.rotary_base().is_finite() && self.rotary_base() > 0.0) {
            return Err(Error::config("rope_theta", "positive", self.rotary_base()));
        }
        let kind = self.rope_parameters.as_ref().and_then(|rope| rope.rope_type.as_deref()).unwrap_or("default");
        if kind != "default" {
            return Err(Error::config("rope_type", "`default`", kind));
        }
        let ratio = self.frame_ratio();
        // The reference has no layer between equal rates, and then calls it.
        if !(1.0..=1024.0).contains(&ratio) || ratio == 1.0 {
            let expected = "less than sampling_rate / product of upsampling_ratios, by at most 1024";
            return Err(Error::config("frame_rate", expected, self.stored_frame_rate().unwrap_or(f64::NAN)));
        }
        Ok(())
    }

    /// Samples a second.
    #[must_use]
    pub fn sample_rate_hz(&self) -> usize {
        self.sampling_rate
    }

    /// Samples of one frame of codes.
    #[must_use]
    pub fn samples_per_frame(&self) -> usize {
        self.hop_checked().unwrap_or(usize::MAX).saturating_mul(self.latent_stride())
    }

    /// Frames of codes a second.
    #[must_use]
    pub fn frame_rate_hz(&self) -> f64 {
        self.sampling_rate as f64 / self.samples_per_frame() as f64
    }

    /// Frames of codes for a clip: the last one may be filled up.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        // Two roundings, as the strides and the step to the frame rate each fill up their last window; nested ceilings
        // are one.
        samples.div_ceil(self.samples_per_frame())
    }

    /// Codebooks.
    #[must_use]
    pub fn quantisers(&self) -> usize {
        self.num_quantizers
    }

    /// Entries of a codebook.
    #[must_use]
    pub fn codebook_size(&self) -> usize {
        self.codebook_size
    }

    /// Width of an attention head.
    pub(super) fn head_width(&self) -> usize {
        // A zero stands for its absence, as in the reference.
        let derived = self.hidden_size.checked_div(self.num_attention_heads).unwrap_or(0);
        self.head_dim.filter(|width| *width != 0).unwrap_or(derived)
    }

    /// Stride between the strided convolutions' output and the frames of codes.
    pub(super) fn latent_stride(&self) -> usize {
        // Truncated, as the reference does.
        self.frame_ratio() as usize
    }

    /// Base of the rotary frequencies.
    pub(super) fn rotary_base(&self) -> f64 {
        self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// Activation of the feed-forward parts.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name.
    pub(super) fn activation(&self) -> Result<Activation> {
        Activation::named("hidden_act", &self.hidden_act)
    }

    /// Dilation of residual block `j`.
    pub(super) fn dilation(&self, j: usize) -> usize {
        self.dilation_growth_rate.saturating_pow(j as u32)
    }

    /// Refuses a pass over `clips` of `samples` whose largest layer would take too much memory.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn check_size(&self, what: &str, clips: usize, samples: Option<usize>) -> Result<()> {
        let fits = |samples: usize| {
            let mut steps = samples.checked_add(self.samples_per_frame())?;
            let mut channels = self.num_filters.max(self.hidden_size.div_ceil(self.hop_checked()?));
            let mut largest = steps.checked_mul(channels)?;
            for ratio in self.upsampling_ratios.iter().rev() {
                // A residual block's first convolution sees its input and its padding.
                steps = steps.div_ceil(*ratio);
                channels = channels.checked_mul(2)?;
                largest = largest.max(steps.checked_mul(channels)?);
            }
            largest.max(steps.checked_mul(self.hidden_size.max(self.intermediate_size))?).checked_mul(clips)
        };
        if samples.and_then(fits).is_some_and(|elements| elements <= ELEMENTS_MAX) {
            return Ok(());
        }
        let got = samples.map_or("more".into(), |samples| format!("{clips} clips of {samples} samples"));
        Err(Error::input(what, format!("no layer of more than {ELEMENTS_MAX} elements"), got))
    }

    fn hop_checked(&self) -> Option<usize> {
        self.upsampling_ratios.iter().try_fold(1_usize, |hop, ratio| hop.checked_mul(*ratio))
    }

    fn dilation_checked(&self) -> Option<usize> {
        self.dilation_growth_rate.checked_pow(self.num_residual_layers.saturating_sub(1) as u32)
    }

    fn stored_frame_rate(&self) -> Option<f64> {
        self.private_frame_rate.or(self.frame_rate)
    }

    /// Rate of the strided convolutions' output by that of the frames: two, where the config does not say otherwise.
    fn frame_ratio(&self) -> f64 {
        let Some(hop) = self.hop_checked().filter(|hop| *hop > 0) else { return f64::NAN };
        let rate = self.sampling_rate.div_ceil(hop) as f64;
        let frame_rate = self.stored_frame_rate().unwrap_or(self.sampling_rate as f64 / (2.0 * hop as f64));
        rate / frame_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> std::result::Result<Config, String> {
        let config: Config = serde_json::from_str(json).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn an_empty_config_is_the_published_model() {
        let config = read("{}").unwrap();
        assert_eq!((config.sample_rate_hz(), config.samples_per_frame(), config.quantisers()), (24_000, 1920, 32));
        assert_eq!((config.frame_rate_hz(), config.frames(1), config.frames(1921)), (12.5, 1, 2));
        assert_eq!((config.head_width(), config.latent_stride()), (64, 2));
        assert_eq!(read("{\"frame_rate\": 12.5, \"rope_theta\": 10000.0}").unwrap().latent_stride(), 2);
        assert_eq!(read("{\"_frame_rate\": 6.25}").unwrap().latent_stride(), 4);
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        for (json, part) in [
            ("{\"num_hidden_layers\": 1000000000}", "num_hidden_layers"),
            ("{\"hidden_size\": 0}", "hidden_size"),
            ("{\"hidden_size\": -1}", "-1"),
            ("{\"upsampling_ratios\": []}", "upsampling_ratios"),
            ("{\"upsampling_ratios\": [8, 0]}", "upsampling_ratios"),
            ("{\"upsampling_ratios\": [1024, 1024, 1024]}", "product"),
            ("{\"num_residual_layers\": 64}", "dilation"),
            ("{\"num_quantizers\": 0}", "num_quantizers"),
            ("{\"num_semantic_quantizers\": 32}", "num_semantic_quantizers"),
            ("{\"codebook_size\": 1000}", "power of two"),
            ("{\"codebook_dim\": 128}", "codebook_dim"),
            ("{\"upsample_groups\": 500}", "upsample_groups"),
            ("{\"num_attention_heads\": 0}", "num_attention_heads"),
            ("{\"head_dim\": 3}", "head_dim"),
            ("{\"frame_rate\": 0}", "frame_rate"),
            ("{\"frame_rate\": 25}", "frame_rate"),
            ("{\"frame_rate\": 1e-300}", "frame_rate"),
            ("{\"rope_parameters\": {\"rope_theta\": 0.0}}", "rope_theta"),
            ("{\"rope_parameters\": {\"rope_type\": \"yarn\"}}", "yarn"),
            ("{\"pad_mode\": \"zero\"}", "zero"),
            ("{\"trim_right_ratio\": 1.5}", "trim_right_ratio"),
            ("{\"use_causal_conv\": false, \"trim_right_ratio\": 0.5}", "trim_right_ratio"),
            ("{\"norm_eps\": -1}", "norm_eps"),
            ("{\"hidden_act\": \"mish\"}", "hidden_act"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
