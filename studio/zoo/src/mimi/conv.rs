//! Convolutions over time with Mimi's padding: [`Conv`], [`Deconv`].

use burn::tensor::{
    Device, Tensor,
    module::{conv_transpose1d, conv1d},
    ops::{ConvOptions, ConvTransposeOptions, PadMode as Fill},
};

use super::{Config, PadMode};
use crate::{Result, checkpoint::Weights};

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub channels_in: usize,
    pub channels_out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Sizes {
    /// Stride and dilation 1.
    pub(super) fn plain(channels_in: usize, channels_out: usize, kernel: usize) -> Self {
        Self { channels_in, channels_out, kernel, stride: 1, dilation: 1 }
    }

    /// A kernel of two strides.
    pub(super) fn strided(channels_in: usize, channels_out: usize, stride: usize) -> Self {
        Self { channels_in, channels_out, kernel: 2 * stride, stride, dilation: 1 }
    }
}

/// A convolution whose output has one step for every begun stride of its input.
#[derive(Debug)]
pub(super) struct Conv {
    /// `[channels_out, channels_in, kernel]`.
    weight: Tensor<3>,
    /// `[channels_out]`.
    bias: Option<Tensor<1>>,
    stride: usize,
    dilation: usize,
    /// Kernel with its gaps, less a stride.
    padding: usize,
    causal: bool,
    mode: PadMode,
}

impl Conv {
    /// Reads `conv.weight`, under weight normalisation or not, and `conv.bias`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load(weights: &Weights<'_>, config: &Config, sizes: Sizes, device: &Device) -> Result<Self> {
        let bias = weights.tensor("conv.bias", [sizes.channels_out], device)?;
        let unbiased = Self::load_unbiased(weights, config, sizes, config.pad_mode, device)?;
        Ok(Self { bias: Some(bias), ..unbiased })
    }

    /// Reads `conv.weight` alone, and pads as `mode` says.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load_unbiased(
        weights: &Weights<'_>,
        config: &Config,
        sizes: Sizes,
        mode: PadMode,
        device: &Device,
    ) -> Result<Self> {
        let shape = [sizes.channels_out, sizes.channels_in, sizes.kernel];
        let weight = kernel(weights, shape, device)?;
        let span = (sizes.kernel - 1) * sizes.dilation + 1;
        let (stride, dilation) = (sizes.stride, sizes.dilation);
        Ok(Self {
            weight,
            bias: None,
            stride,
            dilation,
            padding: span.saturating_sub(stride),
            causal: config.use_causal_conv,
            mode,
        })
    }

    /// # Shapes
    /// - x: `[clips, channels_in, time]`, `time` > 0
    /// - output: `[clips, channels_out, ceil(time / stride)]`
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let time = x.dims()[2];
        // So that the last window is full. The reference computes it in 32-bit floats; these are integers.
        let extra = time.div_ceil(self.stride) * self.stride - time;
        let x = if self.causal {
            pad(x, self.padding, extra, self.mode)
        } else {
            let right = self.padding / 2;
            pad(x, self.padding - right, right + extra, self.mode)
        };
        let options = ConvOptions::new([self.stride], [0], [self.dilation], 1);
        conv1d(x, self.weight.clone(), self.bias.clone(), options)
    }
}

/// A transposed convolution whose output is `stride` times as long as its input.
#[derive(Debug)]
pub(super) struct Deconv {
    /// `[channels_in, channels_out / groups, kernel]`.
    weight: Tensor<3>,
    /// `[channels_out]`.
    bias: Option<Tensor<1>>,
    stride: usize,
    groups: usize,
    /// Steps to cut off the start.
    left: usize,
}

impl Deconv {
    /// Reads `conv.weight`, under weight normalisation or not, and `conv.bias`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load(weights: &Weights<'_>, config: &Config, sizes: Sizes, device: &Device) -> Result<Self> {
        let bias = weights.tensor("conv.bias", [sizes.channels_out], device)?;
        Ok(Self { bias: Some(bias), ..Self::load_unbiased(weights, config, sizes, 1, device)? })
    }

    /// Reads `conv.weight` alone, of so many groups.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load_unbiased(
        weights: &Weights<'_>,
        config: &Config,
        sizes: Sizes,
        groups: usize,
        device: &Device,
    ) -> Result<Self> {
        let shape = [sizes.channels_in, sizes.channels_out / groups, sizes.kernel];
        let weight = kernel(weights, shape, device)?;
        let total = sizes.kernel - sizes.stride;
        let right =
            if config.use_causal_conv { (total as f64 * config.trim_right_ratio).ceil() as usize } else { total / 2 };
        Ok(Self { weight, bias: None, stride: sizes.stride, groups, left: total.saturating_sub(right) })
    }

    /// # Shapes
    /// - x: `[clips, channels_in, time]`, `time` > 0
    /// - output: `[clips, channels_out, time * stride]`
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let time = x.dims()[2];
        let options = ConvTransposeOptions::new([self.stride], [0], [0], [1], self.groups);
        // The last input reaches a kernel's length, of which a stride is kept: left and right cuts are that difference.
        conv_transpose1d(x, self.weight.clone(), self.bias.clone(), options).narrow(2, self.left, time * self.stride)
    }
}

fn kernel(weights: &Weights<'_>, shape: [usize; 3], device: &Device) -> Result<Tensor<3>> {
    let values = weights.weight_normed("conv", shape)?;
    Ok(crate::named::device_floats(&values, shape, device))
}

/// # Shapes
/// - x: `[clips, channels, time]`, `time` > 0
/// - output: `[clips, channels, left + time + right]`
fn pad(x: Tensor<3>, left: usize, right: usize, mode: PadMode) -> Tensor<3> {
    if left == 0 && right == 0 {
        return x;
    }
    match mode {
        PadMode::Constant => x.pad([(left, right)], Fill::Constant(0.0)),
        PadMode::Replicate => x.pad([(left, right)], Fill::Edge),
        PadMode::Reflect => {
            // A sound too short to be mirrored first gets zeros at its end, as many as lack; they go again afterwards.
            let time = x.dims()[2];
            let lacking = (left.max(right) + 1).saturating_sub(time);
            let x = if lacking == 0 { x } else { x.pad([(0, lacking)], Fill::Constant(0.0)) };
            x.pad([(left, right)], Fill::Reflect).narrow(2, 0, left + time + right)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named::host;

    fn padded(values: &[f32], left: usize, right: usize, mode: PadMode) -> Vec<f32> {
        let x = Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 1, values.len()]);
        host(pad(x, left, right, mode)).unwrap()
    }

    #[test]
    fn padding_is_that_of_the_reference() {
        let x = [1.0, 2.0, 3.0];
        assert_eq!(padded(&x, 2, 1, PadMode::Constant), [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]);
        assert_eq!(padded(&x, 2, 1, PadMode::Replicate), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(padded(&x, 2, 1, PadMode::Reflect), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
        // `_pad1d` of the reference: three zeros at the end, five mirrored, three cut off.
        assert_eq!(padded(&x, 5, 0, PadMode::Reflect), [0.0, 0.0, 0.0, 3.0, 2.0, 1.0, 2.0, 3.0]);
        assert_eq!(padded(&[4.0], 1, 1, PadMode::Reflect), [0.0, 4.0, 0.0]);
    }
}
