//! Latent frames to samples: the encoder's mirror image.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    config::{Activation, CodecConfig, WaveKernels},
    conv::{Conv, Upsample},
    encoder::ResidualUnit,
    spectrum::Synthesis,
};

/// The transposed convolution and the residual units that follow it.
#[derive(Module, Debug)]
struct Stage {
    up: Upsample,
    units: Vec<ResidualUnit>,
}

/// Latent to waveform.
#[derive(Module, Debug)]
pub struct Decoder {
    latent: Conv,
    units: Vec<ResidualUnit>,
    stages: Vec<Stage>,
    /// The transposed convolution that speaks samples, with learned kernels.
    wave: Option<Upsample>,
    /// The magnitudes and phases that `synthesis` speaks, with Fourier kernels.
    spectrum: Option<Conv>,
    synthesis: Option<Synthesis>,
    #[module(skip)]
    activation: Activation,
}

impl Decoder {
    pub(crate) fn new(config: &CodecConfig, device: &Device) -> Self {
        let (stride, taps, causal) = (config.strides[0], config.wave_kernel_strides, config.causal);
        let first = config.channels(0);
        let last = config.channels(config.strides.len() - 1);
        let (wave, spectrum, synthesis) = match config.wave_kernels {
            WaveKernels::Learned => (Some(Upsample::new([first, 1], stride, taps, causal, device)), None, None),
            WaveKernels::Fourier => {
                let synthesis = Synthesis::new(stride, taps, causal, device);
                let spectrum = Conv::same([first, synthesis.width()], 1, 1, causal, device);
                (None, Some(spectrum), Some(synthesis))
            }
        };
        let stages = config.strides[1..].iter().enumerate().rev().map(|(index, &stride)| {
            let (to, from) = (config.channels(index), config.channels(index + 1));
            Stage {
                up: Upsample::new([from, to], stride, 2, causal, device),
                units: config.dilations.iter().map(|&d| ResidualUnit::new(to, d, config, device)).collect(),
            }
        });
        Self {
            latent: Conv::same([config.latent_width, last], config.latent_kernel, 1, causal, device),
            units: (0..config.frame_units).map(|_| ResidualUnit::new(last, 1, config, device)).collect(),
            stages: stages.collect(),
            wave,
            spectrum,
            synthesis,
            activation: config.activation,
        }
    }

    /// # Shapes
    /// - latent: [clips, frames, latent width]
    /// - result: [clips, frames * hop, 1]
    #[must_use]
    pub fn forward(&self, latent: Tensor<3>) -> Tensor<3> {
        let mut x = self.latent.forward(latent);
        for unit in &self.units {
            x = unit.forward(x);
        }
        for stage in &self.stages {
            x = stage.up.forward(self.activation.apply(x));
            for unit in &stage.units {
                x = unit.forward(x);
            }
        }
        let x = self.activation.apply(x);
        if let (Some(spectrum), Some(synthesis)) = (&self.spectrum, &self.synthesis) {
            return synthesis.forward(spectrum.forward(x));
        }
        match &self.wave {
            Some(wave) => wave.forward(x),
            None => x,
        }
    }
}
