//! The two stacks of convolutions: [`SeanetEncoder`], [`SeanetDecoder`] (Tagliasacchi et al., "SEANet: a multi-modal
//! speech enhancement network", 2020).
//!
//! The number of a layer in the file counts the activations between convolutions too, which have no tensors.

use burn::tensor::{Device, Tensor, activation::elu};

use super::{
    Config,
    conv::{Conv, Deconv, Sizes},
};
use crate::{Result, checkpoint::Weights};

/// x + conv1(elu(conv3(elu(x)))), the inner channels fewer.
#[derive(Debug)]
struct Residual {
    first: Conv,
    second: Conv,
    shortcut: Option<Conv>,
}

impl Residual {
    fn load(weights: &Weights<'_>, config: &Config, channels: usize, j: usize, device: &Device) -> Result<Self> {
        let inner = channels / config.compress;
        let wide = Sizes { dilation: config.dilation(j), ..Sizes::plain(channels, inner, config.residual_kernel_size) };
        let block = weights.child("block");
        Ok(Self {
            first: Conv::load(&block.child(1), config, wide, device)?,
            second: Conv::load(&block.child(3), config, Sizes::plain(inner, channels, 1), device)?,
            shortcut: if config.use_conv_shortcut {
                let sizes = Sizes::plain(channels, channels, 1);
                Some(Conv::load(&weights.child("shortcut"), config, sizes, device)?)
            } else {
                None
            },
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = self.first.forward(elu(x.clone(), 1.0));
        let inner = self.second.forward(elu(inner, 1.0));
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + inner,
            None => x + inner,
        }
    }
}

/// Sound to steps of `hidden_size`, one for every product of the strides.
#[derive(Debug)]
pub(super) struct SeanetEncoder {
    first: Conv,
    stages: Vec<(Vec<Residual>, Conv)>,
    last: Conv,
}

impl SeanetEncoder {
    /// Reads `layers.{i}`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let layers = weights.child("layers");
        let mut channels = config.num_filters;
        let sizes = Sizes::plain(config.audio_channels, channels, config.kernel_size);
        let first = Conv::load(&layers.child(0), config, sizes, device)?;
        let mut index = 1;
        let mut stages = Vec::new();
        for stride in config.upsampling_ratios.iter().rev() {
            let mut residuals = Vec::new();
            for j in 0..config.num_residual_layers {
                residuals.push(Residual::load(&layers.child(index), config, channels, j, device)?);
                index += 1;
            }
            let sizes = Sizes::strided(channels, 2 * channels, *stride);
            stages.push((residuals, Conv::load(&layers.child(index + 1), config, sizes, device)?));
            index += 2;
            channels *= 2;
        }
        let sizes = Sizes::plain(channels, config.hidden_size, config.last_kernel_size);
        Ok(Self { first, stages, last: Conv::load(&layers.child(index + 1), config, sizes, device)? })
    }

    /// # Shapes
    /// - x: `[clips, audio_channels, samples]`, `samples` > 0
    /// - output: `[clips, hidden_size, steps]`
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mut x = self.first.forward(x);
        for (residuals, strided) in &self.stages {
            for residual in residuals {
                x = residual.forward(x);
            }
            x = strided.forward(elu(x, 1.0));
        }
        self.last.forward(elu(x, 1.0))
    }
}

/// Steps of `hidden_size` to sound.
#[derive(Debug)]
pub(super) struct SeanetDecoder {
    first: Conv,
    stages: Vec<(Deconv, Vec<Residual>)>,
    last: Conv,
}

impl SeanetDecoder {
    /// Reads `layers.{i}`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let layers = weights.child("layers");
        let mut channels = config.num_filters << config.upsampling_ratios.len();
        let sizes = Sizes::plain(config.hidden_size, channels, config.kernel_size);
        let first = Conv::load(&layers.child(0), config, sizes, device)?;
        let mut index = 1;
        let mut stages = Vec::new();
        for stride in &config.upsampling_ratios {
            let sizes = Sizes::strided(channels, channels / 2, *stride);
            let deconv = Deconv::load(&layers.child(index + 1), config, sizes, device)?;
            index += 2;
            channels /= 2;
            let mut residuals = Vec::new();
            for j in 0..config.num_residual_layers {
                residuals.push(Residual::load(&layers.child(index), config, channels, j, device)?);
                index += 1;
            }
            stages.push((deconv, residuals));
        }
        let sizes = Sizes::plain(channels, config.audio_channels, config.last_kernel_size);
        Ok(Self { first, stages, last: Conv::load(&layers.child(index + 1), config, sizes, device)? })
    }

    /// # Shapes
    /// - x: `[clips, hidden_size, steps]`, `steps` > 0
    /// - output: `[clips, audio_channels, samples]`
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mut x = self.first.forward(x);
        for (deconv, residuals) in &self.stages {
            x = deconv.forward(elu(x, 1.0));
            for residual in residuals {
                x = residual.forward(x);
            }
        }
        self.last.forward(elu(x, 1.0))
    }
}
