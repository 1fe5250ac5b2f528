//! The learned baseline: [`MusicGenValue`].

use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};
use musicrl_core::{Result, policy::Policy as _};

use super::{MusicGenPolicy, TextPrompt};

/// V(s_t): the expected return before each action, one number a codebook from the vector before its head.
#[derive(Module, Debug)]
pub struct MusicGenValue {
    /// The networks.
    pub trunk: MusicGenPolicy,
    /// One vector a codebook, `[codebooks, width]`; zeros at first, so that it first says 0 everywhere.
    pub value_head: Param<Tensor<2>>,
    /// One number a codebook, `[codebooks]`.
    pub value_bias: Param<Tensor<1>>,
}

impl MusicGenValue {
    /// A baseline on `trunk`, which it may share with others.
    #[must_use]
    pub fn new(trunk: MusicGenPolicy) -> Self {
        let (device, config) = (trunk.decoder.device(), trunk.decoder.config());
        let head = Tensor::zeros([config.num_codebooks, config.hidden_size], &device);
        let bias = Tensor::zeros([config.num_codebooks], &device);
        Self { value_head: Param::from_tensor(head), value_bias: Param::from_tensor(bias), trunk }
    }

    /// # Shapes
    /// - frames: `[clips, frames, codebooks]`
    /// - output: `[clips, frames * codebooks]`
    ///
    /// # Errors
    /// As the policy's `hidden`.
    pub fn values(&self, prompt: &TextPrompt, frames: Tensor<3, Int>) -> Result<Tensor<2>> {
        Ok(self.of_hidden(self.trunk.hidden(prompt, frames)?))
    }

    /// The head alone.
    ///
    /// # Shapes
    /// - hidden: of the trunk, `[clips, frames, codebooks, width]`
    /// - output: `[clips, frames * codebooks]`
    #[must_use]
    pub fn of_hidden(&self, hidden: Tensor<4>) -> Tensor<2> {
        let [clips, time, slots, width] = hidden.dims();
        let values = (hidden * self.value_head.val().reshape([1, 1, slots, width])).sum_dim(3);
        let values = values.reshape([clips * time, slots]) + self.value_bias.val().reshape([1, slots]);
        values.reshape([clips, time * slots])
    }
}
