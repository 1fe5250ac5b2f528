//! A matrix with or without a bias, and a low-rank adapter beside it: [`Linear`], [`Adapter`].

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

use crate::{Result, checkpoint::Weights, named::device_floats};

/// `y = x W + b`, and with an adapter `+ scale x A B`; `W` is kept as `[in, out]`, files have `[out, in]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// The matrix, `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// The bias, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What LoRA adds.
    pub adapter: Option<Adapter>,
}

/// A low-rank update, `scale A B` (Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022).
#[derive(Module, Debug)]
pub struct Adapter {
    /// `[in, rank]`, random at first.
    pub down: Param<Tensor<2>>,
    /// `[rank, out]`, zeros at first, so that the adapter changes nothing before it has learned.
    pub up: Param<Tensor<2>>,
    /// alpha / rank.
    pub scale: f64,
}

impl Linear {
    /// Reads `weight` and no bias.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load(weights: &Weights<'_>, width_in: usize, width_out: usize, device: &Device) -> Result<Self> {
        let stored = weights.floats("weight", &[width_out, width_in])?;
        let weight = device_floats(&transposed(&stored, width_out, width_in), [width_in, width_out], device);
        Ok(Self { weight: Param::from_tensor(weight), bias: None, adapter: None })
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
        let x = x.reshape([rows, width_in]);
        let mut y = x.clone().matmul(weight);
        if let Some(bias) = &self.bias {
            y = y + bias.val().reshape([1, width_out]);
        }
        if let Some(adapter) = &self.adapter {
            y = y + x.matmul(adapter.down.val()).matmul(adapter.up.val()).mul_scalar(adapter.scale);
        }
        y.reshape(dims)
    }

    /// The matrix with what the adapter adds, `[in, out]`.
    #[must_use]
    pub fn merged(&self) -> Tensor<2> {
        let weight = self.weight.val();
        match &self.adapter {
            Some(adapter) => weight + adapter.down.val().matmul(adapter.up.val()).mul_scalar(adapter.scale),
            None => weight,
        }
    }
}

/// `[rows, columns]` as `[columns, rows]`.
#[must_use]
pub fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    /// Side of the squares that are turned at a time: both sides of one stay in the cache.
    const SQUARE: usize = 32;
    let mut out = vec![0.0; values.len()];
    for first_row in (0..rows).step_by(SQUARE) {
        for first_column in (0..columns).step_by(SQUARE) {
            for row in first_row..(first_row + SQUARE).min(rows) {
                for column in first_column..(first_column + SQUARE).min(columns) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}
