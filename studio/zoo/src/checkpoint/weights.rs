//! Tensors under a common prefix: [`Weights`].

use burn::{
    module::Param,
    tensor::{Device, Tensor, TensorData},
};

use super::Checkpoint;
use crate::{Error, Result};

/// The tensors of a checkpoint whose names begin with a prefix.
#[derive(Debug, Clone)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
}

impl<'a> Weights<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, prefix: String) -> Self {
        Self { checkpoint, prefix }
    }

    /// The tensors under `name.`.
    #[must_use]
    pub fn child(&self, name: impl std::fmt::Display) -> Self {
        Self { checkpoint: self.checkpoint, prefix: format!("{}{name}.", self.prefix) }
    }

    /// The checkpoint that they belong to.
    #[must_use]
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// The full name of a tensor.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether there is such a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.has(&self.name(name))
    }

    /// Whether any tensor lies under the prefix.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.checkpoint.names().any(|name| name.starts_with(&self.prefix))
    }

    /// The shape of a tensor.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.checkpoint.shape(&self.name(name))
    }

    /// The values of a tensor of exactly this shape.
    ///
    /// # Errors
    /// As [`Checkpoint::floats`].
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.checkpoint.floats(&self.name(name), shape)
    }

    /// A tensor of exactly this shape on a device.
    ///
    /// # Errors
    /// As [`Checkpoint::floats`].
    pub fn tensor<const D: usize>(&self, name: &str, shape: [usize; D], device: &Device) -> Result<Tensor<D>> {
        Ok(Tensor::from_data(TensorData::new(self.floats(name, &shape)?, shape), device))
    }

    /// A parameter of exactly this shape on a device.
    ///
    /// # Errors
    /// As [`Checkpoint::floats`].
    pub fn param<const D: usize>(&self, name: &str, shape: [usize; D], device: &Device) -> Result<Param<Tensor<D>>> {
        Ok(Param::from_tensor(self.tensor(name, shape, device)?))
    }

    /// A kernel under weight normalisation, w = g v / |v| with the norm over all extents but the first, in whichever of
    /// the layouts it is stored: `{name}.weight`, `{name}.weight_g` and `_v`, or
    /// `{name}.parametrizations.weight.original0` and `1`.
    ///
    /// # Shapes
    /// - shape: that of the kernel (v); g is `[shape[0], 1, 1]`
    ///
    /// # Errors
    /// As [`Checkpoint::floats`]; [`Error::Tensor`] for a row of zeros in v.
    pub fn weight_normed(&self, name: &str, shape: [usize; 3]) -> Result<Vec<f32>> {
        let here = self.child(name);
        let (g, v) = if here.has("weight_g") {
            ("weight_g", "weight_v")
        } else if here.has("parametrizations.weight.original0") {
            ("parametrizations.weight.original0", "parametrizations.weight.original1")
        } else {
            return here.floats("weight", &shape);
        };
        let gains = here.floats(g, &[shape[0], 1, 1])?;
        let mut values = here.floats(v, &shape)?;
        for (row, gain) in values.chunks_mut((shape[1] * shape[2]).max(1)).zip(gains) {
            let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let scale = f64::from(gain) / norm;
            // All zeros have no direction; what was finite in the file would be NaN from here on.
            if !scale.is_finite() {
                return Err(Error::tensor(here.name(v), "rows of positive length", "a row of zeros"));
            }
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
            if row.iter().any(|value| !value.is_finite()) {
                let got = format!("a direction of length {norm} and a gain of {gain}");
                return Err(Error::tensor(here.name(v), "directions that a gain can scale", got));
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::{Dtype, tensor::TensorView};

    use super::*;

    #[test]
    fn kernels_have_the_length_of_their_gain_in_either_layout() {
        for (g, v) in
            [("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")]
        {
            for zeros in [false, true] {
                let bytes =
                    |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
                let gains = bytes(&[10.0, -1.0]);
                let values = bytes(&[3.0, 4.0, 0.0, if zeros { 0.0 } else { 2.0 }]);
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join("config.json"), "{}").unwrap();
                let tensors = [
                    (format!("c.{g}"), TensorView::new(Dtype::F32, vec![2, 1, 1], &gains).unwrap()),
                    (format!("c.{v}"), TensorView::new(Dtype::F32, vec![2, 1, 2], &values).unwrap()),
                ];
                let file = safetensors::serialize(tensors, None).unwrap();
                fs::write(dir.path().join("model.safetensors"), file).unwrap();
                let checkpoint = Checkpoint::open(dir.path()).unwrap();
                let kernel = checkpoint.weights().weight_normed("c", [2, 1, 2]);
                if zeros {
                    assert!(kernel.unwrap_err().to_string().contains(v));
                } else {
                    assert_eq!(kernel.unwrap(), [6.0, 8.0, -0.0, -1.0]);
                    checkpoint.finish().unwrap();
                }
            }
        }
    }
}
