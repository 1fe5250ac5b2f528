//! Convolutions with EnCodec's padding: [`Conv`], [`ConvTransposed`].

use burn::tensor::{
    Device, Tensor,
    module::{conv_transpose1d, conv1d},
    ops::{ConvOptions, ConvTransposeOptions},
};

use super::config::{Config, NormType, PadMode};
use crate::{Error, Result, checkpoint::Weights, named::device_floats};

/// `(x - mean) / sqrt(variance + 1e-5) * weight + bias` with one mean and variance over all channels and steps of a
/// clip, weight and bias a channel (Wu and He, "Group normalization", 2018, with one group).
#[derive(Debug)]
struct GroupNorm {
    weight: Tensor<3>,
    bias: Tensor<3>,
}

impl GroupNorm {
    fn load(weights: &Weights<'_>, channels: usize, device: &Device) -> Result<Self> {
        let read = |name| Ok::<_, Error>(weights.tensor(name, [channels], device)?.reshape([1, channels, 1]));
        Ok(Self { weight: read("weight")?, bias: read("bias")? })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        // Two steps of averaging: one sum over a whole second would lose digits in 32 bits.
        let mean = |x: Tensor<3>| x.mean_dim(2).mean_dim(1);
        let centred = x.clone() - mean(x);
        let scale = mean(centred.clone() * centred.clone()).add_scalar(1e-5).sqrt().recip();
        centred * (scale * self.weight.clone()) + self.bias.clone()
    }
}

fn load_norm(config: &Config, weights: &Weights<'_>, channels: usize, device: &Device) -> Result<Option<GroupNorm>> {
    match config.norm_type {
        NormType::WeightNorm => Ok(None),
        NormType::TimeGroupNorm => GroupNorm::load(&weights.child("norm"), channels, device).map(Some),
    }
}

/// A convolution whose output has ceil(length / stride) steps.
#[derive(Debug)]
pub(super) struct Conv {
    weight: Tensor<3>,
    bias: Tensor<1>,
    norm: Option<GroupNorm>,
    stride: usize,
    dilation: usize,
    causal: bool,
    mode: PadMode,
}

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub channels_in: usize,
    pub channels_out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Conv {
    /// Reads `conv.*` and, with group normalisation, `norm.*`.
    pub fn load(config: &Config, weights: &Weights<'_>, sizes: Sizes, device: &Device) -> Result<Self> {
        let shape = [sizes.channels_out, sizes.channels_in, sizes.kernel];
        Ok(Self {
            weight: device_floats(&weights.weight_normed("conv", shape)?, shape, device),
            bias: weights.tensor("conv.bias", [sizes.channels_out], device)?,
            norm: load_norm(config, weights, sizes.channels_out, device)?,
            stride: sizes.stride,
            dilation: sizes.dilation,
            causal: config.use_causal_conv,
            mode: config.pad_mode,
        })
    }

    /// # Shapes
    /// - x: `[clips, in, length]`, length at least 1
    /// - output: `[clips, out, ceil(length / stride)]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, length] = x.dims();
        let [_, _, kernel] = self.weight.dims();
        let (left, right) = self.padding(kernel, length);
        let x = padded(x, left, right, self.mode);
        let options = ConvOptions::new([self.stride], [0], [self.dilation], 1);
        let y = conv1d(x, self.weight.clone(), Some(self.bias.clone()), options);
        match &self.norm {
            Some(norm) => norm.forward(y),
            None => y,
        }
    }

    /// Steps added at the left and at the right.
    ///
    /// The kernel's surplus over the stride stands before the sound when causal, else half at each side, the larger half
    /// at the left. At the right comes what the last window lacks. (The reference computes that in 32-bit floats, which
    /// goes wrong above 2^24 steps.)
    fn padding(&self, kernel: usize, length: usize) -> (usize, usize) {
        let surplus = ((kernel - 1) * self.dilation + 1).saturating_sub(self.stride);
        let right = if self.causal { 0 } else { surplus / 2 };
        let lacking = length.div_ceil(self.stride) * self.stride - length;
        (surplus - right, right + lacking)
    }
}

/// Pads a sound of at least one step.
fn padded(x: Tensor<3>, left: usize, right: usize, mode: PadMode) -> Tensor<3> {
    use burn::tensor::ops::PadMode as Fill;
    let [_, _, length] = x.dims();
    let both = (left, right, 0, 0);
    match mode {
        _ if left == 0 && right == 0 => x,
        PadMode::Constant => x.pad(both, Fill::Constant(0.0)),
        PadMode::Replicate => x.pad(both, Fill::Edge),
        // Nothing to mirror so far out: zeros are appended first, mirrored with the rest, and cut again.
        PadMode::Reflect if length <= left.max(right) => {
            let zeros = left.max(right) - length + 1;
            let mirrored = x.pad((0, zeros, 0, 0), Fill::Constant(0.0)).pad(both, Fill::Reflect);
            mirrored.narrow(2, 0, left + length + right)
        }
        PadMode::Reflect => x.pad(both, Fill::Reflect),
    }
}

/// A transposed convolution whose output has length * stride steps; its kernel is twice its stride.
#[derive(Debug)]
pub(super) struct ConvTransposed {
    weight: Tensor<3>,
    bias: Tensor<1>,
    norm: Option<GroupNorm>,
    stride: usize,
    cut_left: usize,
}

impl ConvTransposed {
    /// Reads `conv.*` and, with group normalisation, `norm.*`.
    pub fn load(
        config: &Config,
        weights: &Weights<'_>,
        channels: [usize; 2],
        stride: usize,
        device: &Device,
    ) -> Result<Self> {
        let [channels_in, channels_out] = channels;
        // The kernel is [in, out, kernel] here, so weight normalisation has one gain an *input* channel.
        let shape = [channels_in, channels_out, 2 * stride];
        // The surplus of kernel over stride, here the stride itself, is cut.
        let cut_right = if config.use_causal_conv {
            ((stride as f64 * config.trim_right_ratio).ceil() as usize).min(stride)
        } else {
            stride / 2
        };
        Ok(Self {
            weight: device_floats(&weights.weight_normed("conv", shape)?, shape, device),
            bias: weights.tensor("conv.bias", [channels_out], device)?,
            norm: load_norm(config, weights, channels_out, device)?,
            stride,
            cut_left: stride - cut_right,
        })
    }

    /// # Shapes
    /// - x: `[clips, in, length]`, length at least 1
    /// - output: `[clips, out, length * stride]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, length] = x.dims();
        let options = ConvTransposeOptions::new([self.stride], [0], [0], [1], 1);
        let y = conv_transpose1d(x, self.weight.clone(), Some(self.bias.clone()), options);
        // The normalisation sees what is cut afterwards.
        let y = match &self.norm {
            Some(norm) => norm.forward(y),
            None => y,
        };
        y.narrow(2, self.cut_left, length * self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_mirrors_and_a_short_sound_is_filled_first() {
        let check = |values: &[f32], left, right, mode, expected: &[f32]| {
            let x = device_floats(values, [1, 1, values.len()], &Device::flex());
            let y = padded(x, left, right, mode).into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(y, expected, "{values:?} {left} {right} {mode:?}");
        };
        check(&[1.0, 2.0, 3.0], 2, 1, PadMode::Reflect, &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
        check(&[1.0, 2.0, 3.0], 0, 2, PadMode::Constant, &[1.0, 2.0, 3.0, 0.0, 0.0]);
        check(&[1.0, 2.0], 3, 1, PadMode::Replicate, &[1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
        // [1, 2] becomes [1, 2, 0, 0], mirrored [0, 0, 2, 1, 2, 0, 0, 0], then cut to 3 + 2 + 1.
        check(&[1.0, 2.0], 3, 1, PadMode::Reflect, &[0.0, 0.0, 2.0, 1.0, 2.0, 0.0]);
        check(&[1.0], 1, 0, PadMode::Reflect, &[0.0, 1.0]);
    }
}
