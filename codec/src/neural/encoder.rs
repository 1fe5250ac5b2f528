//! Samples to latent frames.

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData, activation},
};
use musicrl_core::nn::gelu;

use super::{
    config::{Activation, CodecConfig, WaveKernels},
    conv::Conv,
    spectrum::{Analysis, band_weights},
};

impl Activation {
    pub(crate) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            // Not burn's, whose exponential of large inputs makes NaN of their gradient.
            Self::Elu => activation::relu(x.clone()) + x.clamp_max(0.0).exp() - 1.0,
            Self::Gelu => gelu(x),
            Self::Snake => x.clone() + x.sin().square(),
        }
    }
}

/// `x + pointwise(a(dilated(a(x))))`, the unit of both networks.
#[derive(Module, Debug)]
pub(crate) struct ResidualUnit {
    dilated: Conv,
    pointwise: Conv,
    #[module(skip)]
    activation: Activation,
}

impl ResidualUnit {
    pub(crate) fn new(channels: usize, dilation: usize, config: &CodecConfig, device: &Device) -> Self {
        Self {
            dilated: Conv::same([channels, channels], config.residual_kernel, dilation, config.causal, device),
            pointwise: Conv::same([channels, channels], 1, 1, config.causal, device),
            activation: config.activation,
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = self.dilated.forward(self.activation.apply(x.clone()));
        // Half a variance each: without it activations double at every unit, and there is no norm to bring them back.
        (x + self.pointwise.forward(self.activation.apply(inner))) * std::f64::consts::FRAC_1_SQRT_2
    }
}

/// Residual units and the strided convolution that follows them.
#[derive(Module, Debug)]
struct Stage {
    units: Vec<ResidualUnit>,
    down: Conv,
}

/// A linear path from the loudness of a frame's bands to the latent, beside the convolutions: it learns the rough
/// spectrum within some hundred steps, and they the rest.
#[derive(Module, Debug)]
struct Shortcut {
    bands: Tensor<2>,
    linear: Conv,
}

/// Waveform to latent.
#[derive(Module, Debug)]
pub struct Encoder {
    analysis: Option<Analysis>,
    shortcut: Option<Shortcut>,
    wave: Conv,
    stages: Vec<Stage>,
    units: Vec<ResidualUnit>,
    latent: Conv,
    #[module(skip)]
    activation: Activation,
}

impl Encoder {
    pub(crate) fn new(config: &CodecConfig, device: &Device) -> Self {
        let (stride, taps, causal) = (config.strides[0], config.wave_kernel_strides, config.causal);
        let first = config.channels(0);
        let analysis = match config.wave_kernels {
            WaveKernels::Learned => None,
            WaveKernels::Fourier => Some(Analysis::new(stride, taps, causal, device)),
        };
        let wave = match &analysis {
            None => Conv::strided([1, first], stride, taps, causal, device),
            Some(analysis) => Conv::same([analysis.width(), first], 1, 1, causal, device),
        };
        let shortcut = config.shortcut_windows().map(|windows| {
            let (window, bands) = (stride * taps, config.shortcut_bands);
            let weights = TensorData::new(band_weights(window, bands, config.sample_rate_hz), [window / 2 + 1, bands]);
            Shortcut {
                bands: Tensor::from_data(weights, device),
                linear: Conv::strided([bands, config.latent_width], windows, 1, causal, device),
            }
        });
        let stages = config.strides[1..].iter().enumerate().map(|(index, &stride)| {
            let (from, to) = (config.channels(index), config.channels(index + 1));
            Stage {
                units: config.dilations.iter().map(|&d| ResidualUnit::new(from, d, config, device)).collect(),
                down: Conv::strided([from, to], stride, 2, causal, device),
            }
        });
        let last = config.channels(config.strides.len() - 1);
        Self {
            analysis,
            shortcut,
            wave,
            stages: stages.collect(),
            units: (0..config.frame_units).map(|_| ResidualUnit::new(last, 1, config, device)).collect(),
            latent: Conv::same([last, config.latent_width], config.latent_kernel, 1, causal, device),
            activation: config.activation,
        }
    }

    /// # Shapes
    /// - samples: [clips, frames * hop, 1]
    /// - result: [clips, frames, latent width]
    #[must_use]
    pub fn forward(&self, samples: Tensor<3>) -> Tensor<3> {
        let seen = match &self.analysis {
            Some(analysis) => analysis.forward(samples),
            None => samples,
        };
        let rough = self
            .shortcut
            .as_ref()
            .map(|shortcut| shortcut.linear.forward(Analysis::loudness(seen.clone(), shortcut.bands.clone())));
        let mut x = self.wave.forward(seen);
        for stage in &self.stages {
            for unit in &stage.units {
                x = unit.forward(x);
            }
            x = stage.down.forward(self.activation.apply(x));
        }
        for unit in &self.units {
            x = unit.forward(x);
        }
        let latent = self.latent.forward(self.activation.apply(x));
        match rough {
            Some(rough) => latent + rough,
            None => latent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_and_their_gradients_are_finite_anywhere() {
        let device = Device::flex().autodiff();
        for activation in [Activation::Elu, Activation::Gelu, Activation::Snake] {
            let x = Tensor::<1>::from_data([-1e4, -1.0, 0.0, 1.0, 100.0, 1e4], &device).require_grad();
            let y = activation.apply(x.clone());
            assert!(y.clone().is_finite().all().into_scalar::<bool>(), "{activation:?}");
            let grad = x.grad(&y.sum().backward()).unwrap();
            assert!(grad.is_finite().all().into_scalar::<bool>(), "{activation:?}");
        }
        let y = Activation::Elu.apply(Tensor::<1>::from_data([-1.0, 2.0], &device));
        let y = crate::neural::quantiser::floats(y);
        assert!((y[0] - (-1.0_f32).exp_m1()).abs() < 1e-6 && y[1] == 2.0, "{y:?}");
    }
}
