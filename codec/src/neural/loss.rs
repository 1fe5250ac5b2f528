//! What a reconstruction is compared by: mel spectra at several resolutions, and the waveform itself.
//!
//! `sum over windows w of  a |log M_w(x) - log M_w(y)|_1 + b |M_w(x) - M_w(y)|_1`, plus `c |x - y|_1 + d |x - y|^2`
//! (Yamamoto et al., "Parallel WaveGAN", 2020; Défossez et al., "EnCodec", 2022, equation 2). `M_w` is the root of the
//! mel-weighted power of windows of `w` samples. Spectra are products with Fourier kernels: at these sizes as quick on
//! a CPU as a transform, and differentiable on every backend.

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use musicrl_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{
    conv::frame,
    spectrum::{band_weights, fourier_kernels, hann},
};

/// Strides a window: every sample lies in two. Four, as is common, costs twice as much and taught no more (LOG.md):
/// crops start anywhere, so every alignment is seen in time.
const TAPS: usize = 2;

/// Settings of [`SpectralLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpectralLossConfig {
    /// Window lengths in samples, each a multiple of 8.
    pub windows: Vec<usize>,
    /// Mel bands of the longest window, the shorter ones in proportion; a window has at most an eighth of its samples.
    /// Music wants many: fewer do not tell a semitone from the next.
    pub mel_bands: usize,
    /// Weight of the distance of log mel magnitudes (natural logarithm).
    pub log_mel: f64,
    /// Weight of the distance of mel magnitudes.
    pub mel: f64,
    /// Weight of the mean absolute difference of samples.
    pub wave_l1: f64,
    /// Weight of the mean squared difference of samples.
    pub wave_l2: f64,
    /// Power below which nothing is heard, relative to full scale: 1e-10 is -100 dB.
    pub floor: f64,
}

impl Default for SpectralLossConfig {
    fn default() -> Self {
        Self {
            windows: vec![2_048, 1_024, 512, 256, 128],
            mel_bands: 192,
            log_mel: 1.0,
            mel: 1.0,
            wave_l1: 0.1,
            wave_l2: 0.0,
            floor: 1e-10,
        }
    }
}

impl SpectralLossConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let wrong = |field, expected: &str, got: String| Err(Error::Config { field, expected: expected.into(), got });
        if self.windows.is_empty() || self.windows.iter().any(|w| *w < 16 || *w > 1 << 16 || w % 8 != 0) {
            return wrong("loss.windows", "one or more multiples of 8 in 16..=65536", format!("{:?}", self.windows));
        }
        if !(1..=1_024).contains(&self.mel_bands) {
            return wrong("loss.mel_bands", "in 1..=1024", self.mel_bands.to_string());
        }
        for (field, weight) in [
            ("loss.log_mel", self.log_mel),
            ("loss.mel", self.mel),
            ("loss.wave_l1", self.wave_l1),
            ("loss.wave_l2", self.wave_l2),
        ] {
            if !(0.0..=1e6).contains(&weight) {
                return wrong(field, "in [0, 1e6]", weight.to_string());
            }
        }
        if !(1e-20..=1.0).contains(&self.floor) {
            return wrong("loss.floor", "in [1e-20, 1]", self.floor.to_string());
        }
        Ok(())
    }

    /// The loss for sound of one sample rate.
    ///
    /// # Errors
    /// As [`SpectralLossConfig::validate`].
    pub fn init(&self, sample_rate_hz: u32, device: &Device) -> Result<SpectralLoss> {
        self.validate()?;
        let longest = self.windows.iter().copied().max().unwrap_or(1);
        let resolution = |&window: &usize| {
            let bands = (self.mel_bands * window / longest).max(window / 16).min(window / 8).min(self.mel_bands);
            // Unit-variance noise has power 1 in every bin.
            let energy: f64 = hann(window).iter().map(|w| w * w).sum();
            Resolution {
                window,
                kernels: fourier_kernels(window, energy.sqrt().recip(), device),
                mel: mel_weights(window, bands, sample_rate_hz, device),
            }
        };
        Ok(SpectralLoss { resolutions: self.windows.iter().map(resolution).collect(), config: self.clone() })
    }
}

#[derive(Module, Debug)]
struct Resolution {
    window: usize,
    kernels: Tensor<2>,
    mel: Tensor<2>,
}

impl Resolution {
    /// Mel-weighted power plus the floor.
    ///
    /// # Shapes
    /// - samples: `[clips, samples, 1]`
    /// - result: `[clips * frames, bands]`
    fn mel_power(&self, samples: Tensor<3>, floor: f64) -> Tensor<2> {
        let stride = self.window / TAPS;
        let [clips, count, _] = samples.dims();
        let missing = (stride - count % stride) % stride;
        let samples = if missing == 0 {
            samples
        } else {
            let silence = Tensor::zeros([clips, missing, 1], &samples.device());
            Tensor::cat(vec![samples, silence], 1)
        };
        let framed = frame(samples, stride, TAPS, false);
        let [clips, frames, window] = framed.dims();
        let spectrum = framed.reshape([clips * frames, window]).matmul(self.kernels.clone());
        // The bands add up squares of both parts at once: the weights stand twice.
        (spectrum.clone() * spectrum).matmul(self.mel.clone()) + floor
    }
}

/// The distances of two sounds.
#[derive(Debug, Clone)]
pub struct Distances {
    /// The weighted sum, `[1]`.
    pub total: Tensor<1>,
    /// Mean over windows of the mean absolute difference of log mel magnitudes, `[1]`.
    pub log_mel: Tensor<1>,
    /// Mean absolute difference of samples, `[1]`.
    pub wave: Tensor<1>,
}

/// Multi-resolution mel loss and waveform loss.
#[derive(Module, Debug)]
pub struct SpectralLoss {
    resolutions: Vec<Resolution>,
    #[module(skip)]
    config: SpectralLossConfig,
}

impl SpectralLoss {
    /// Compares `audio` with `target`, which takes no gradient.
    ///
    /// # Shapes
    /// - audio, target: `[clips, 1, samples]`
    #[must_use]
    pub fn forward(&self, audio: Tensor<3>, target: Tensor<3>) -> Distances {
        let [clips, channels, samples] = audio.dims();
        let device = audio.device();
        let audio = audio.reshape([clips * channels, samples, 1]);
        let target = target.detach().reshape([clips * channels, samples, 1]);
        let count = self.resolutions.len().max(1) as f64;
        let mut log_mel = Tensor::<1>::zeros([1], &device);
        let mut mel = Tensor::<1>::zeros([1], &device);
        for resolution in &self.resolutions {
            let ours = resolution.mel_power(audio.clone(), self.config.floor);
            let theirs = resolution.mel_power(target.clone(), self.config.floor);
            // The logarithm of a magnitude is half that of its power.
            log_mel = log_mel + (ours.clone().log() - theirs.clone().log()).abs().mean() * (0.5 / count);
            if self.config.mel > 0.0 {
                mel = mel + (ours.sqrt() - theirs.sqrt()).abs().mean() / count;
            }
        }
        let difference = audio - target;
        let wave = difference.clone().abs().mean();
        let mut total =
            log_mel.clone() * self.config.log_mel + mel * self.config.mel + wave.clone() * self.config.wave_l1;
        if self.config.wave_l2 > 0.0 {
            total = total + difference.square().mean() * self.config.wave_l2;
        }
        Distances { total, log_mel, wave }
    }
}

/// Mel weights, standing twice: for cosines and for sines.
///
/// # Shapes
/// - result: [2 * (window / 2 + 1), bands]
fn mel_weights(window: usize, bands: usize, sample_rate_hz: u32, device: &Device) -> Tensor<2> {
    let once = TensorData::new(band_weights(window, bands, sample_rate_hz), [window / 2 + 1, bands]);
    let once = Tensor::<2>::from_data(once, device);
    Tensor::cat(vec![once.clone(), once], 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neural::codec::tests::noise;

    fn config() -> SpectralLossConfig {
        SpectralLossConfig { windows: vec![256, 64], mel_bands: 20, wave_l2: 1.0, ..Default::default() }
    }

    fn values(distances: Distances) -> [f32; 3] {
        [distances.total, distances.log_mel, distances.wave].map(|value| value.into_scalar())
    }

    #[test]
    fn a_sound_is_at_no_distance_from_itself_and_a_gain_is_known() {
        let loss = config().init(16_000, &Device::flex()).unwrap();
        let x = noise([2, 1, 1_000]);
        assert_eq!(values(loss.forward(x.clone(), x.clone())), [0.0; 3]);
        let [_, log_mel, _] = values(loss.forward(x.clone() * 2.0, x));
        assert!((log_mel - std::f32::consts::LN_2).abs() < 1e-3, "{log_mel}");
    }

    #[test]
    fn white_noise_is_flat_at_its_variance() {
        let loss = config().init(16_000, &Device::flex()).unwrap();
        let x = noise([1, 1, 64_000]).reshape([1, 64_000, 1]);
        for resolution in &loss.resolutions {
            let power = super::super::quantiser::floats(resolution.mel_power(x.clone(), 1e-8).mean_dim(0));
            // The noise has a variance of 0.09.
            assert!(power[1..power.len() - 1].iter().all(|p| (p / 0.09 - 1.0).abs() < 0.25), "{power:?}");
        }
    }

    #[test]
    fn gradients_are_finite_on_silence() {
        let device = Device::flex().autodiff();
        let loss = config().init(16_000, &device).unwrap();
        let x = Tensor::<3>::zeros([1, 1, 640], &device).require_grad();
        let target = Tensor::from_inner(noise([1, 1, 640]));
        let grads = loss.forward(x.clone(), target).total.backward();
        assert!(x.grad(&grads).unwrap().is_finite().all().into_scalar::<bool>());
    }

    #[test]
    fn bad_settings_are_named() {
        let check = |field: &str, config: SpectralLossConfig| {
            assert!(matches!(config.validate(), Err(Error::Config { field: named, .. }) if named == field), "{field}");
        };
        check("loss.windows", SpectralLossConfig { windows: vec![], ..config() });
        check("loss.windows", SpectralLossConfig { windows: vec![100], ..config() });
        check("loss.mel_bands", SpectralLossConfig { mel_bands: 0, ..config() });
        check("loss.log_mel", SpectralLossConfig { log_mel: -1.0, ..config() });
        check("loss.floor", SpectralLossConfig { floor: 0.0, ..config() });
    }
}
