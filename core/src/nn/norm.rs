//! Root-mean-square normalisation: [`RmsNorm`].

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

/// Added to the mean square, so that a row of zeros stays one.
pub(crate) const EPSILON: f32 = 1e-5;

/// `y = x / sqrt(mean(x^2) + epsilon) * gain` over the last extent (Zhang and Sennrich, "Root mean square layer
/// normalization", NeurIPS 2019).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// One gain a channel, `[width]`; starts at one.
    pub gain: Param<Tensor<1>>,
}

impl RmsNorm {
    /// Gains of one.
    #[must_use]
    pub fn new(width: usize, device: &Device) -> Self {
        Self { gain: Param::from_tensor(Tensor::ones([width], device)) }
    }

    /// Normalises every row.
    ///
    /// # Shapes
    /// - x, output: `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dims = x.dims();
        let width = dims[D - 1];
        let rows = dims[..D - 1].iter().product::<usize>();
        let x = x.reshape([rows, width]);
        let scale = (x.clone() * x.clone()).mean_dim(1).add_scalar(EPSILON).sqrt().recip();
        (x * scale * self.gain.val().unsqueeze::<2>()).reshape(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_unit_mean_square_and_zeros_stay() {
        let device = Device::flex();
        let x = Tensor::<2>::from_data([[3.0, -4.0], [0.0, 0.0]], &device);
        let y: Vec<f32> = RmsNorm::new(2, &device).forward(x).into_data().try_to_vec().unwrap_or_default();
        let scale = 12.5_f32.sqrt();
        for (got, want) in y.iter().zip([3.0 / scale, -4.0 / scale, 0.0, 0.0]) {
            assert!((got - want).abs() < 1e-5, "{y:?}");
        }
    }
}
