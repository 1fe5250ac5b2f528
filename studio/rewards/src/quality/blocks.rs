//! Mixing along time at any length: neighbours side by side, two matrices, a residual.

use burn::{module::Module, tensor::Tensor};
use musicrl_core::nn::{Linear, RmsNorm, gelu};

/// `x + down(gelu(up([n(t - d), n(t), n(t + d)])))` with `n = norm(x)`: a convolution of three taps, `d` positions
/// apart, written as one product. What lies outside the clip is zero.
#[derive(Module, Debug)]
pub struct TemporalBlock {
    norm: RmsNorm,
    /// `[3 * width, width]`.
    up: Linear,
    /// `[width, width]`.
    down: Linear,
    dilation: usize,
}

impl TemporalBlock {
    pub(super) fn new(width: usize, dilation: usize, device: &burn::tensor::Device) -> Self {
        Self {
            norm: RmsNorm::new(width, device),
            up: Linear::zeros(3 * width, width, device),
            down: Linear::zeros(width, width, device),
            dilation,
        }
    }

    /// # Shapes
    /// - x, output: `[clips, time, width]`
    /// - present: `[clips, time, 1]`, 1 inside a clip and 0 behind its end; all is inside without it
    #[must_use]
    pub fn forward(&self, x: Tensor<3>, present: Option<&Tensor<3>>) -> Tensor<3> {
        let normed = self.norm.forward(x.clone());
        // Behind the end of a short clip there is what there is behind the end of the longest: zeros.
        let normed = match present {
            Some(present) => normed * present.clone(),
            None => normed,
        };
        let (before, after) = self.neighbours(normed.clone());
        let inside = gelu(self.up.forward(Tensor::cat(vec![before, normed, after], 2)));
        x + self.down.forward(inside)
    }

    /// Every position's neighbours, `dilation` positions before and after it.
    fn neighbours(&self, x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let [clips, time, width] = x.dims();
        let device = x.device();
        if self.dilation >= time {
            let none = Tensor::zeros([clips, time, width], &device);
            return (none.clone(), none);
        }
        let (gap, rest) = (Tensor::zeros([clips, self.dilation, width], &device), time - self.dilation);
        let before = Tensor::cat(vec![gap.clone(), x.clone().narrow(1, 0, rest)], 1);
        let after = Tensor::cat(vec![x.narrow(1, self.dilation, rest), gap], 1);
        (before, after)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use musicrl_core::{
        params::reinitialise,
        random::{Key, Purpose},
    };

    use super::*;

    fn block(dilation: usize) -> TemporalBlock {
        reinitialise(TemporalBlock::new(4, dilation, &Device::flex()), Key::new(1, Purpose::Test))
    }

    fn noise(time: usize) -> Tensor<3> {
        let mut stream = Key::new(2, Purpose::Test).stream();
        let values: Vec<f32> = (0..time * 4).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, time, 4]), &Device::flex())
    }

    fn rows(tensor: Tensor<3>) -> Vec<Vec<f32>> {
        let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
        values.chunks(4).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn a_position_hears_itself_and_two_neighbours_alone() {
        let (time, dilation, at) = (12, 3, 5);
        let x = noise(time);
        let plain = rows(block(dilation).forward(x.clone(), None));
        let changed = x.slice_assign([0..1, at..at + 1, 0..4], Tensor::ones([1, 1, 4], &Device::flex()));
        let after = rows(block(dilation).forward(changed, None));
        for position in 0..time {
            let hears = [at - dilation, at, at + dilation].contains(&position);
            assert_eq!(plain[position] != after[position], hears, "position {position}");
        }
    }

    #[test]
    fn a_clip_shorter_than_the_distance_hears_itself() {
        let x = noise(3);
        assert!(rows(block(7).forward(x.clone(), None)).iter().flatten().all(|value| value.is_finite()));
        assert_eq!(rows(block(7).forward(x.clone(), None)), rows(block(3).forward(x, None)));
    }
}
