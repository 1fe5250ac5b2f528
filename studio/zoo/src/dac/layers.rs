//! What encoder and decoder are made of: [`Conv`], [`ConvTransposed`], [`Snake`], [`Residual`].

use burn::tensor::{
    Device, Tensor,
    module::{conv_transpose1d, conv1d},
    ops::{ConvOptions, ConvTransposeOptions},
};

use crate::{Result, checkpoint::Weights, named::device_floats};

/// A convolution with the same number of zeros at both sides.
#[derive(Debug)]
pub(super) struct Conv {
    weight: Tensor<3>,
    bias: Tensor<1>,
    options: ConvOptions<1>,
}

impl Conv {
    /// Reads a kernel `[out, in, kernel]` that keeps the length: stride 1, an odd span.
    pub fn load(
        weights: &Weights<'_>,
        name: &str,
        shape: [usize; 3],
        dilation: usize,
        device: &Device,
    ) -> Result<Self> {
        let padding = (shape[2] - 1) * dilation / 2;
        Self::load_with(weights, name, shape, ConvOptions::new([1], [padding], [dilation], 1), device)
    }

    /// Reads a kernel of twice the stride, padded by ceil(stride / 2).
    pub fn load_strided(
        weights: &Weights<'_>,
        name: &str,
        channels: [usize; 2],
        stride: usize,
        device: &Device,
    ) -> Result<Self> {
        let [channels_in, channels_out] = channels;
        let options = ConvOptions::new([stride], [stride.div_ceil(2)], [1], 1);
        Self::load_with(weights, name, [channels_out, channels_in, 2 * stride], options, device)
    }

    fn load_with(
        weights: &Weights<'_>,
        name: &str,
        shape: [usize; 3],
        options: ConvOptions<1>,
        device: &Device,
    ) -> Result<Self> {
        let bias = weights.tensor(&format!("{name}.bias"), [shape[0]], device)?;
        Ok(Self { weight: kernel(weights, name, shape, device)?, bias, options })
    }

    /// # Shapes
    /// - x: `[clips, in, length]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        conv1d(x, self.weight.clone(), Some(self.bias.clone()), self.options.clone())
    }
}

/// A transposed convolution, its kernel twice its stride, padded by ceil(stride / 2).
#[derive(Debug)]
pub(super) struct ConvTransposed {
    weight: Tensor<3>,
    bias: Tensor<1>,
    stride: usize,
}

impl ConvTransposed {
    /// Reads a kernel `[in, out, 2 stride]`.
    pub fn load(
        weights: &Weights<'_>,
        name: &str,
        channels: [usize; 2],
        stride: usize,
        device: &Device,
    ) -> Result<Self> {
        let [channels_in, channels_out] = channels;
        let weight = kernel(weights, name, [channels_in, channels_out, 2 * stride], device)?;
        Ok(Self { weight, bias: weights.tensor(&format!("{name}.bias"), [channels_out], device)?, stride })
    }

    /// # Shapes
    /// - x: `[clips, in, length]`
    /// - output: `[clips, out, length * stride + stride - 2 ceil(stride / 2)]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let options = ConvTransposeOptions::new([self.stride], [self.stride.div_ceil(2)], [0], [1], 1);
        conv_transpose1d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

/// Published files hold plain kernels; files that were not converted hold them under weight normalisation.
fn kernel(weights: &Weights<'_>, name: &str, shape: [usize; 3], device: &Device) -> Result<Tensor<3>> {
    Ok(device_floats(&weights.weight_normed(name, shape)?, shape, device))
}

/// x + sin(a x)^2 / (a + 1e-9), a one a channel (Ziyin et al., "Neural networks fail to learn periodic functions and how
/// to fix it", 2020).
#[derive(Debug)]
pub(super) struct Snake {
    alpha: Tensor<3>,
    inverse: Tensor<3>,
}

impl Snake {
    /// Reads `alpha`.
    pub fn load(weights: &Weights<'_>, channels: usize, device: &Device) -> Result<Self> {
        let alpha: Tensor<3> = weights.tensor("alpha", [1, channels, 1], device)?;
        Ok(Self { inverse: alpha.clone().add_scalar(1e-9).recip(), alpha })
    }

    /// # Shapes
    /// - x, output: `[clips, channels, length]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let sine = (x.clone() * self.alpha.clone()).sin();
        sine.clone() * sine * self.inverse.clone() + x
    }
}

/// x + conv1(snake(conv7_dilated(snake(x)))).
#[derive(Debug)]
pub(super) struct Residual {
    snakes: [Snake; 2],
    dilated: Conv,
    pointwise: Conv,
}

impl Residual {
    /// Reads `snake1`, `conv1`, `snake2`, `conv2`.
    pub fn load(weights: &Weights<'_>, width: usize, dilation: usize, device: &Device) -> Result<Self> {
        let snake = |name: &str| Snake::load(&weights.child(name), width, device);
        Ok(Self {
            snakes: [snake("snake1")?, snake("snake2")?],
            dilated: Conv::load(weights, "conv1", [width, width, 7], dilation, device)?,
            pointwise: Conv::load(weights, "conv2", [width, width, 1], 1, device)?,
        })
    }

    /// Reads `res_unit1` to `res_unit3`, of dilations 1, 3 and 9.
    pub fn load_three(weights: &Weights<'_>, width: usize, device: &Device) -> Result<[Self; 3]> {
        let load = |index: u32| {
            Self::load(&weights.child(format!("res_unit{}", index + 1)), width, 3_usize.pow(index), device)
        };
        Ok([load(0)?, load(1)?, load(2)?])
    }

    /// # Shapes
    /// - x, output: `[clips, width, length]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inside = self.dilated.forward(self.snakes[0].forward(x.clone()));
        x + self.pointwise.forward(self.snakes[1].forward(inside))
    }
}
