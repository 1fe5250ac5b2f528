//! One-dimensional convolutions over channels-last sequences, each a few matrix products.
//!
//! At the frame rates where this codec works, one product a kernel tap over all clips and times is two to three times
//! faster on a CPU than a general convolution (LOG.md), and every backend has fast products. A kernel of `m` strides is
//! `m` taps over sequences whose `stride` neighbouring steps are laid side by side, which in channels-last is a reshape.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

/// How the padding that keeps lengths equal is shared between the past and the future.
fn left_padding(total: usize, causal: bool) -> usize {
    if causal { total } else { total / 2 }
}

/// Zeros before and after in time.
///
/// # Shapes
/// - x: [clips, time, channels]
/// - result: [clips, left + time + right, channels]
fn pad_time(x: Tensor<3>, left: usize, right: usize) -> Tensor<3> {
    let [clips, _, channels] = x.dims();
    let device = x.device();
    let zeros = |time: usize| Tensor::<3>::zeros([clips, time, channels], &device);
    match (left, right) {
        (0, 0) => x,
        (0, right) => Tensor::cat(vec![x, zeros(right)], 1),
        (left, 0) => Tensor::cat(vec![zeros(left), x], 1),
        (left, right) => Tensor::cat(vec![zeros(left), x, zeros(right)], 1),
    }
}

/// Cuts a signal into overlapping frames of `taps` strides, one a stride: the im2col of a strided convolution.
///
/// # Shapes
/// - x: [clips, frames * stride, channels]
/// - result: [clips, frames, taps * stride * channels]
pub(crate) fn frame(x: Tensor<3>, stride: usize, taps: usize, causal: bool) -> Tensor<3> {
    let [clips, time, channels] = x.dims();
    let frames = time / stride;
    let total = (taps - 1) * stride;
    let left = left_padding(total, causal);
    let x = pad_time(x, left, total - left).reshape([clips, frames + taps - 1, stride * channels]);
    if taps == 1 {
        return x;
    }
    Tensor::cat((0..taps).map(|tap| x.clone().narrow(1, tap, frames)).collect(), 2)
}

/// Adds overlapping frames of `taps` strides, one a stride: what a transposed convolution does after its product.
///
/// # Shapes
/// - frames: [clips, frames, taps * stride * channels]
/// - result: [clips, frames * stride, channels]
pub(crate) fn overlap_add(x: Tensor<3>, stride: usize, taps: usize, causal: bool) -> Tensor<3> {
    let [clips, frames, width] = x.dims();
    let piece = width / taps;
    let channels = piece / stride;
    let mut sum: Option<Tensor<3>> = None;
    for tap in 0..taps {
        let part = pad_time(x.clone().narrow(2, tap * piece, piece), tap, taps - 1 - tap);
        sum = Some(match sum {
            Some(sum) => sum + part,
            None => part,
        });
    }
    let whole = sum.unwrap_or(x).reshape([clips, (frames + taps - 1) * stride, channels]);
    // A causal decoder's frame sounds from its own time on; otherwise it is centred, as `frame` sees it.
    let from = if causal { 0 } else { (taps - 1) * stride / 2 };
    whole.narrow(1, from, frames * stride)
}

/// A convolution that keeps the length, or divides it by its stride.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[kernel * channels_in, channels_out]`, tap by tap.
    weight: Param<Tensor<2>>,
    /// `[channels_out]`
    bias: Param<Tensor<1>>,
    stride: usize,
    taps: usize,
    dilation: usize,
    causal: bool,
}

impl Conv {
    /// A convolution of stride 1 with an odd `kernel`.
    #[must_use]
    pub fn same(channels: [usize; 2], kernel: usize, dilation: usize, causal: bool, device: &Device) -> Self {
        Self::with(channels, 1, kernel, dilation, causal, device)
    }

    /// A convolution of kernel `taps * stride`.
    #[must_use]
    pub fn strided(channels: [usize; 2], stride: usize, taps: usize, causal: bool, device: &Device) -> Self {
        Self::with(channels, stride, taps, 1, causal, device)
    }

    fn with(
        [channels_in, channels_out]: [usize; 2],
        stride: usize,
        taps: usize,
        dilation: usize,
        causal: bool,
        device: &Device,
    ) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([taps * stride * channels_in, channels_out], device)),
            bias: Param::from_tensor(Tensor::zeros([channels_out], device)),
            stride,
            taps,
            dilation,
            causal,
        }
    }

    /// # Shapes
    /// - x: [clips, time, channels_in], `time` a multiple of the stride
    /// - result: [clips, time / stride, channels_out]
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [clips, time, channels] = x.dims();
        debug_assert_eq!(time % self.stride, 0);
        let (frames, width) = (time / self.stride, self.stride * channels);
        let span = (self.taps - 1) * self.dilation * self.stride;
        let left = left_padding(span, self.causal);
        let x = pad_time(x, left, span - left).reshape([clips, (time + span) / self.stride, width]);
        let weight = self.weight.val();
        let out = weight.dims()[1];
        let mut sum: Option<Tensor<2>> = None;
        for tap in 0..self.taps {
            let seen = x.clone().narrow(1, tap * self.dilation, frames).reshape([clips * frames, width]);
            let part = seen.matmul(weight.clone().narrow(0, tap * width, width));
            sum = Some(match sum {
                Some(sum) => sum + part,
                None => part,
            });
        }
        let sum = sum.unwrap_or_else(|| Tensor::zeros([clips * frames, out], &weight.device()));
        (sum + self.bias.val().unsqueeze::<2>()).reshape([clips, frames, out])
    }
}

/// A transposed convolution of kernel `taps * stride`: multiplies the length by its stride.
#[derive(Module, Debug)]
pub struct Upsample {
    /// `[channels_in, taps * stride * channels_out]`
    weight: Param<Tensor<2>>,
    /// `[channels_out]`
    bias: Param<Tensor<1>>,
    stride: usize,
    taps: usize,
    causal: bool,
}

impl Upsample {
    /// Zero weights of the given sizes.
    #[must_use]
    pub fn new(
        [channels_in, channels_out]: [usize; 2],
        stride: usize,
        taps: usize,
        causal: bool,
        device: &Device,
    ) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([channels_in, taps * stride * channels_out], device)),
            bias: Param::from_tensor(Tensor::zeros([channels_out], device)),
            stride,
            taps,
            causal,
        }
    }

    /// # Shapes
    /// - x: [clips, time, channels_in]
    /// - result: [clips, time * stride, channels_out]
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [clips, time, channels] = x.dims();
        let wide = x.reshape([clips * time, channels]).matmul(self.weight.val());
        let width = wide.dims()[1];
        let sum = overlap_add(wide.reshape([clips, time, width]), self.stride, self.taps, self.causal);
        sum + self.bias.val().unsqueeze::<3>()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{
        TensorData,
        module::{conv_transpose1d, conv1d},
        ops::{ConvOptions, ConvTransposeOptions},
    };
    use musicrl_core::{
        params::reinitialise,
        random::{Key, Purpose},
    };

    use super::*;

    fn noise<const D: usize>(shape: [usize; D], clip: u64) -> Tensor<D> {
        let mut stream = Key::new(3, Purpose::Test).clip(clip).stream();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn assert_close(ours: Tensor<3>, theirs: Tensor<3>) {
        assert_eq!(ours.dims(), theirs.dims());
        let worst: f32 = (ours - theirs).abs().max().into_scalar();
        assert!(worst < 1e-4, "differs by {worst}");
    }

    #[test]
    fn a_convolution_is_burns_convolution() {
        let device = Device::flex();
        for (stride, taps, dilation, causal) in
            [(1, 3, 1, false), (1, 3, 4, true), (1, 5, 2, false), (4, 2, 1, false), (6, 3, 1, true), (3, 2, 1, false)]
        {
            let conv =
                reinitialise(Conv::with([3, 5], stride, taps, dilation, causal, &device), Key::new(1, Purpose::Init));
            let x = noise([2, 12 * stride, 3], 1);
            let kernel = taps * stride;
            // [kernel * in, out] -> [out, in, kernel]
            let weight = conv.weight.val().reshape([kernel, 3, 5]).permute([2, 1, 0]);
            let span = (taps - 1) * dilation * stride;
            let left = left_padding(span, causal);
            let padded = pad_time(x.clone(), left, span - left).swap_dims(1, 2);
            let theirs = conv1d(padded, weight, None::<Tensor<1>>, ConvOptions::new([stride], [0], [dilation], 1))
                .swap_dims(1, 2);
            assert_close(conv.forward(x), theirs);
        }
    }

    #[test]
    fn an_upsampling_is_burns_transposed_convolution() {
        let device = Device::flex();
        for (stride, taps, causal) in [(2, 2, false), (4, 2, true), (3, 4, false), (1, 7, true)] {
            let up = reinitialise(Upsample::new([3, 2], stride, taps, causal, &device), Key::new(1, Purpose::Init));
            let x = noise([2, 9, 3], 2);
            // [in, kernel * out] -> [in, out, kernel]
            let weight = up.weight.val().reshape([3, taps * stride, 2]).permute([0, 2, 1]);
            let options = ConvTransposeOptions::new([stride], [0], [0], [1], 1);
            let whole = conv_transpose1d(x.clone().swap_dims(1, 2), weight, None::<Tensor<1>>, options).swap_dims(1, 2);
            let from = if causal { 0 } else { (taps - 1) * stride / 2 };
            assert_close(up.forward(x), whole.narrow(1, from, 9 * stride));
        }
    }

    #[test]
    fn framing_and_overlap_adding_are_adjoint() {
        for (stride, taps) in [(4, 4), (4, 3), (5, 2)] {
            let x = noise([1, 6 * stride, 1], 3);
            let y = noise([1, 6, taps * stride], 4);
            let analysis: f32 = (frame(x.clone(), stride, taps, false) * y.clone()).sum().into_scalar();
            let synthesis: f32 = (overlap_add(y, stride, taps, false) * x).sum().into_scalar();
            assert!((analysis - synthesis).abs() < 1e-3, "{analysis} {synthesis}");
        }
    }
}
