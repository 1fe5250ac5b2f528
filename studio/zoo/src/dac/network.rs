//! [`Encoder`] and [`Decoder`].

use burn::tensor::{Device, Tensor};

use super::{
    config::Config,
    layers::{Conv, ConvTransposed, Residual, Snake},
};
use crate::{Result, checkpoint::Weights};

/// Sound to latents.
#[derive(Debug)]
pub(super) struct Encoder {
    first: Conv,
    blocks: Vec<Down>,
    snake: Snake,
    last: Conv,
}

#[derive(Debug)]
struct Down {
    residuals: [Residual; 3],
    snake: Snake,
    conv: Conv,
}

impl Encoder {
    pub fn load(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let mut width = config.encoder_hidden_size;
        let first = Conv::load(weights, "conv1", [width, 1, 7], 1, device)?;
        let mut blocks = Vec::new();
        for (index, stride) in config.downsampling_ratios.iter().enumerate() {
            let weights = weights.child("block").child(index);
            blocks.push(Down {
                residuals: Residual::load_three(&weights, width, device)?,
                snake: Snake::load(&weights.child("snake1"), width, device)?,
                conv: Conv::load_strided(&weights, "conv1", [width, 2 * width], *stride, device)?,
            });
            width *= 2;
        }
        let snake = Snake::load(&weights.child("snake1"), width, device)?;
        let last = Conv::load(weights, "conv2", [config.width(), width, 3], 1, device)?;
        Ok(Self { first, blocks, snake, last })
    }

    /// # Shapes
    /// - x: `[clips, 1, samples]`, as many as [`Config::frames`] passes
    /// - output: `[clips, width, frames]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mut x = self.first.forward(x);
        for block in &self.blocks {
            for residual in &block.residuals {
                x = residual.forward(x);
            }
            x = block.conv.forward(block.snake.forward(x));
        }
        self.last.forward(self.snake.forward(x))
    }
}

/// Latents to sound.
#[derive(Debug)]
pub(super) struct Decoder {
    first: Conv,
    blocks: Vec<Up>,
    snake: Snake,
    last: Conv,
}

#[derive(Debug)]
struct Up {
    snake: Snake,
    conv: ConvTransposed,
    residuals: [Residual; 3],
}

impl Decoder {
    pub fn load(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let mut width = config.decoder_hidden_size;
        let first = Conv::load(weights, "conv1", [width, config.width(), 7], 1, device)?;
        let mut blocks = Vec::new();
        for (index, stride) in config.strides_up().iter().enumerate() {
            let weights = weights.child("block").child(index);
            blocks.push(Up {
                snake: Snake::load(&weights.child("snake1"), width, device)?,
                conv: ConvTransposed::load(&weights, "conv_t1", [width, width / 2], *stride, device)?,
                residuals: Residual::load_three(&weights, width / 2, device)?,
            });
            width /= 2;
        }
        let snake = Snake::load(&weights.child("snake1"), width, device)?;
        let last = Conv::load(weights, "conv2", [1, width, 7], 1, device)?;
        Ok(Self { first, blocks, snake, last })
    }

    /// # Shapes
    /// - x: `[clips, width, frames]`, as many as [`Config::samples`] passes
    /// - output: `[clips, 1, samples]`, in -1 to 1
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mut x = self.first.forward(x);
        for block in &self.blocks {
            x = block.conv.forward(block.snake.forward(x));
            for residual in &block.residuals {
                x = residual.forward(x);
            }
        }
        self.last.forward(self.snake.forward(x)).tanh()
    }
}
