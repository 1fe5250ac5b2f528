//! Normalisation over the last extent: [`LayerNorm`].

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

use crate::{Result, checkpoint::Weights};

/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias` over the last extent, variance without Bessel's
/// correction (Ba et al., "Layer normalization", 2016).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load(weights: &Weights<'_>, width: usize, epsilon: f64, device: &Device) -> Result<Self> {
        let weight = weights.param("weight", [width], device)?;
        Ok(Self { weight, bias: weights.param("bias", [width], device)?, epsilon })
    }

    /// Reads `weight` and `bias`, or `gamma` and `beta` as the oldest checkpoints call them.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load_either(weights: &Weights<'_>, width: usize, epsilon: f64, device: &Device) -> Result<Self> {
        if !weights.has("gamma") {
            return Self::load(weights, width, epsilon, device);
        }
        let weight = weights.param("gamma", [width], device)?;
        Ok(Self { weight, bias: weights.param("beta", [width], device)?, epsilon })
    }

    /// Normalises every row.
    ///
    /// # Shapes
    /// - x, output: `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dims = x.dims();
        let width = dims[D - 1];
        let rows: usize = dims[..D - 1].iter().product();
        let x = x.reshape([rows, width]);
        let centred = x.clone() - x.mean_dim(1);
        let scale = (centred.clone() * centred.clone()).mean_dim(1).add_scalar(self.epsilon).sqrt().recip();
        let y = centred * scale * self.weight.val().reshape([1, width]) + self.bias.val().reshape([1, width]);
        y.reshape(dims)
    }
}
