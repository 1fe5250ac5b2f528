//! Encoder and decoder: [`Network`].

use burn::tensor::{Device, Tensor};

use super::{
    config::Config,
    conv::{Conv, ConvTransposed, Sizes},
    lstm::Lstm,
};
use crate::{Result, checkpoint::Weights};

/// Layers in sequence. Files number every layer, those without tensors too.
#[derive(Debug)]
pub(super) struct Network {
    layers: Vec<Layer>,
}

#[derive(Debug)]
enum Layer {
    Conv(Conv),
    ConvTransposed(ConvTransposed),
    Residual(Box<Residual>),
    Lstm(Lstm),
    Elu,
}

impl Network {
    /// Sound to latents: a convolution; at each rate residual blocks and a strided convolution; recurrent layers; a
    /// convolution.
    ///
    /// # Shapes
    /// - input `[clips, channels, samples]`, output `[clips, width, frames]`
    pub fn load_encoder(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let mut build = Builder { config, weights: weights.child("layers"), device, layers: Vec::new() };
        let mut width = config.num_filters;
        build.conv(config.audio_channels, width, config.kernel_size, 1)?;
        for ratio in config.upsampling_ratios.iter().rev() {
            build.residuals(width)?;
            build.layers.push(Layer::Elu);
            build.conv(width, 2 * width, 2 * ratio, *ratio)?;
            width *= 2;
        }
        build.lstm(width)?;
        build.layers.push(Layer::Elu);
        build.conv(width, config.hidden_size, config.last_kernel_size, 1)?;
        Ok(Self { layers: build.layers })
    }

    /// Latents to sound, the encoder mirrored.
    ///
    /// # Shapes
    /// - input `[clips, width, frames]`, output `[clips, channels, frames * hop]`
    pub fn load_decoder(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let mut build = Builder { config, weights: weights.child("layers"), device, layers: Vec::new() };
        let mut width = config.width_max();
        build.conv(config.hidden_size, width, config.kernel_size, 1)?;
        build.lstm(width)?;
        for ratio in &config.upsampling_ratios {
            build.layers.push(Layer::Elu);
            build.conv_transposed(width, *ratio)?;
            width /= 2;
            build.residuals(width)?;
        }
        build.layers.push(Layer::Elu);
        build.conv(width, config.audio_channels, config.last_kernel_size, 1)?;
        Ok(Self { layers: build.layers })
    }

    /// All layers; every extent of `x` is at least 1.
    pub fn forward(&self, mut x: Tensor<3>) -> Result<Tensor<3>> {
        for layer in &self.layers {
            x = match layer {
                Layer::Conv(conv) => conv.forward(x),
                Layer::ConvTransposed(conv) => conv.forward(x),
                Layer::Residual(residual) => residual.forward(x),
                Layer::Lstm(lstm) => lstm.forward(x)?,
                Layer::Elu => elu(x),
            };
        }
        Ok(x)
    }
}

struct Builder<'a> {
    config: &'a Config,
    weights: Weights<'a>,
    device: &'a Device,
    layers: Vec<Layer>,
}

impl<'a> Builder<'a> {
    /// The tensors of the layer that comes next.
    fn here(&self) -> Weights<'a> {
        self.weights.child(self.layers.len())
    }

    fn conv(&mut self, channels_in: usize, channels_out: usize, kernel: usize, stride: usize) -> Result<()> {
        let sizes = Sizes { channels_in, channels_out, kernel, stride, dilation: 1 };
        let conv = Conv::load(self.config, &self.here(), sizes, self.device)?;
        self.layers.push(Layer::Conv(conv));
        Ok(())
    }

    fn conv_transposed(&mut self, width: usize, stride: usize) -> Result<()> {
        let conv = ConvTransposed::load(self.config, &self.here(), [width, width / 2], stride, self.device)?;
        self.layers.push(Layer::ConvTransposed(conv));
        Ok(())
    }

    fn residuals(&mut self, width: usize) -> Result<()> {
        for index in 0..self.config.num_residual_layers {
            let dilation = self.config.dilation(index)?;
            let residual = Residual::load(self.config, &self.here(), width, dilation, self.device)?;
            self.layers.push(Layer::Residual(Box::new(residual)));
        }
        Ok(())
    }

    fn lstm(&mut self, width: usize) -> Result<()> {
        let lstm = Lstm::load(&self.here(), width, self.config.num_lstm_layers, self.device)?;
        self.layers.push(Layer::Lstm(lstm));
        Ok(())
    }
}

/// shortcut(x) + conv1(elu(conv_dilated(elu(x)))), narrower inside.
#[derive(Debug)]
struct Residual {
    dilated: Conv,
    pointwise: Conv,
    shortcut: Option<Conv>,
}

impl Residual {
    fn load(config: &Config, weights: &Weights<'_>, width: usize, dilation: usize, device: &Device) -> Result<Self> {
        let inside = width / config.compress;
        let load = |name: &str, channels_in, channels_out, kernel, dilation| {
            let sizes = Sizes { channels_in, channels_out, kernel, stride: 1, dilation };
            Conv::load(config, &weights.child(name), sizes, device)
        };
        // Layers 0 and 2 of a block are activations.
        Ok(Self {
            dilated: load("block.1", width, inside, config.residual_kernel_size, dilation)?,
            pointwise: load("block.3", inside, width, 1, 1)?,
            shortcut: config.use_conv_shortcut.then(|| load("shortcut", width, width, 1, 1)).transpose()?,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inside = self.pointwise.forward(elu(self.dilated.forward(elu(x.clone()))));
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + inside,
            None => x + inside,
        }
    }
}

/// x above 0, exp(x) - 1 below (Clevert et al., 2016), as max(x, 0) + exp(min(x, 0)) - 1.
fn elu(x: Tensor<3>) -> Tensor<3> {
    let below = x.clone().clamp_max(0.0).exp().sub_scalar(1.0);
    x.clamp_min(0.0) + below
}
