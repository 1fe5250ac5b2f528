//! Latent frames to samples: the encoder's mirror image.

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use super::{
    config::{Activation, CodecConfig, WaveKernels},
    conv::{Conv, Upsample},
    encoder::ResidualUnit,
    quantiser::floats,
    spectrum::{Synthesis, band_spread},
};

/// The transposed convolution and the residual units that follow it.
#[derive(Module, Debug)]
struct Stage {
    up: Upsample,
    units: Vec<ResidualUnit>,
}

/// A linear path from the latent to the loudness of each window's bands: the encoder's, mirrored.
#[derive(Module, Debug)]
struct Shortcut {
    linear: Upsample,
    /// From bands to the synthesis's values: log magnitudes, and zero for phases.
    bands: Tensor<2>,
}

impl Shortcut {
    /// # Shapes
    /// - latent: [clips, frames, latent width]
    /// - result: [clips, frames * windows, 2 * bins]
    fn forward(&self, latent: Tensor<3>) -> Tensor<3> {
        let loudness = self.linear.forward(latent);
        let [clips, windows, count] = loudness.dims();
        let width = self.bands.dims()[1];
        loudness.reshape([clips * windows, count]).matmul(self.bands.clone()).reshape([clips, windows, width])
    }
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
    shortcut: Option<Shortcut>,
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
        let shortcut = config.shortcut_windows().map(|windows| {
            let (window, bands) = (stride * taps, config.shortcut_bands);
            let bins = window / 2 + 1;
            let spread = TensorData::new(band_spread(window, bands, config.sample_rate_hz), [bands, bins]);
            let loudness = Tensor::<2>::from_data(spread, device);
            Shortcut {
                linear: Upsample::new([config.latent_width, bands], windows, 1, causal, device),
                bands: Tensor::cat(vec![loudness, Tensor::zeros([bands, bins], device)], 1),
            }
        });
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
            shortcut,
            activation: config.activation,
        }
    }

    /// # Shapes
    /// - latent: [clips, frames, latent width]
    /// - result: [clips, frames * hop, 1]
    #[must_use]
    pub fn forward(&self, latent: Tensor<3>) -> Tensor<3> {
        let spoken = self.spoken(latent);
        match (&self.synthesis, &self.wave) {
            (Some(synthesis), _) => synthesis.forward(spoken),
            (None, Some(wave)) => wave.forward(spoken),
            (None, None) => spoken,
        }
    }

    /// The samples of [`Decoder::forward`] on the processor; no gradient comes back from them.
    ///
    /// # Shapes
    /// - latent: [clips, frames, latent width]
    /// - result: [clips][frames * hop]
    #[must_use]
    pub fn samples(&self, latent: Tensor<3>) -> Vec<Vec<f32>> {
        match &self.synthesis {
            Some(synthesis) => synthesis.samples(self.spoken(latent)),
            None => {
                let audio = self.forward(latent);
                let [clips, samples, _] = audio.dims();
                floats(audio).chunks_exact(samples.max(1)).take(clips).map(<[f32]>::to_vec).collect()
            }
        }
    }

    /// What the last layer, the one that speaks samples, is given.
    fn spoken(&self, latent: Tensor<3>) -> Tensor<3> {
        let rough = self.shortcut.as_ref().map(|shortcut| shortcut.forward(latent.clone()));
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
        match (&self.spectrum, rough) {
            (Some(spectrum), Some(rough)) => spectrum.forward(x) + rough,
            (Some(spectrum), None) => spectrum.forward(x),
            (None, _) => x,
        }
    }
}
