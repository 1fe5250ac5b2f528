//! Clap.

use burn::tensor::Device;

use crate::{Checkpoint, NamedTensors, Result};

/// The model.
#[derive(Debug)]
pub struct Clap {}

impl Clap {
    /// Takes its tensors from `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor), [`Error::Config`](crate::Error::Config).
    pub fn load(_checkpoint: &Checkpoint, _device: &Device) -> Result<Self> {
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

/// STUB
#[derive(Debug)]
pub struct ClapAdherence {}

impl ClapAdherence {
    /// Its name.
    pub const NAME: &str = "clap_adherence";
    /// x
    pub fn open(_dir: &std::path::Path, _device: &Device) -> Result<Self> {
        Ok(Self {})
    }
}

impl musicrl_core::reward::Reward for ClapAdherence {
    fn name(&self) -> &str {
        Self::NAME
    }
    fn hears_audio(&self) -> bool {
        true
    }
    fn score(
        &self,
        clips: &[musicrl_core::reward::Clip<'_>],
    ) -> musicrl_core::Result<Vec<musicrl_core::reward::Score>> {
        Ok(clips.iter().map(|_| musicrl_core::reward::Score::Unscorable("stub".into())).collect())
    }
}
