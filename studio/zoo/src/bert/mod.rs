//! Bert.

use burn::tensor::Device;
use serde::Deserialize;

use crate::{NamedTensors, Result, checkpoint::Weights};

/// Settings of `config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {}

/// The model.
#[derive(Debug)]
pub struct Bert {}

impl Bert {
    /// Takes its tensors from `weights`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor), [`Error::Config`](crate::Error::Config).
    pub fn load(_config: Config, _weights: &Weights<'_>, _device: &Device) -> Result<Self> {
        Ok(Self {})
    }

    /// Computes every output whose inputs are there.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input).
    pub fn run(&self, _inputs: &NamedTensors) -> Result<NamedTensors> {
        Ok(NamedTensors::new())
    }
}
