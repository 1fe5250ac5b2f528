//! A matrix with or without a bias: [`Linear`].

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

use crate::{Result, checkpoint::Weights, named::device_floats};

/// `y = x W + b`; `W` is kept as `[in, out]`, files have `[out, in]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// The matrix, `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// The bias, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Reads `weight` and no bias.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load(weights: &Weights<'_>, width_in: usize, width_out: usize, device: &Device) -> Result<Self> {
        let stored = weights.floats("weight", &[width_out, width_in])?;
        let weight = device_floats(&transposed(&stored, width_out, width_in), [width_in, width_out], device);
        Ok(Self { weight: Param::from_tensor(weight), bias: None })
    }

    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load_biased(weights: &Weights<'_>, width_in: usize, width_out: usize, device: &Device) -> Result<Self> {
        let bias = weights.param("bias", [width_out], device)?;
        Ok(Self { bias: Some(bias), ..Self::load(weights, width_in, width_out, device)? })
    }

    /// One product over all rows.
    ///
    /// # Shapes
    /// - x: `[.., in]`
    /// - output: `[.., out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let [width_in, width_out] = weight.dims();
        let mut dims = x.dims();
        let rows = dims[..D - 1].iter().product();
        dims[D - 1] = width_out;
        let y = x.reshape([rows, width_in]).matmul(weight);
        match &self.bias {
            Some(bias) => (y + bias.val().reshape([1, width_out])).reshape(dims),
            None => y.reshape(dims),
        }
    }
}

/// `[rows, columns]` as `[columns, rows]`.
#[must_use]
pub fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for row in 0..rows {
        for column in 0..columns {
            out[column * rows + row] = values[row * columns + column];
        }
    }
    out
}
