//! The learned baseline: [`ValueNetwork`].

use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};

use super::{ConditionPrompt, HierarchicalPolicy, HierarchicalTrunk};
use crate::{Result, params::ParamTable};

/// V(s_t): the expected return from action t on, before action t is taken.
///
/// Same trunk as the policy, with one number an action in place of logits. It starts from a policy's weights, as the
/// paper's value network starts from the base checkpoint, and with a head of zeros, so that it first says 0 everywhere.
#[derive(Module, Debug)]
pub struct ValueNetwork {
    /// The two transformers.
    pub trunk: HierarchicalTrunk,
    /// One vector a slot, `[slots, local width]`.
    pub head: Param<Tensor<2>>,
    /// One number a slot, `[slots]`.
    pub bias: Param<Tensor<1>>,
}

impl ValueNetwork {
    /// Copies the trunk of `policy`; the two share no state afterwards.
    ///
    /// # Errors
    /// None that a policy of this crate can cause; the copy goes through the checked parameter table.
    pub fn from_policy(policy: &HierarchicalPolicy) -> Result<Self> {
        // A mere clone would share the nodes of the autodiff graph: gradients of one would reach the other.
        let trunk = ParamTable::collect(&policy.trunk).apply(policy.trunk.clone())?;
        let device = trunk.device();
        let slots = trunk.config().layout.slots_per_frame();
        let head = Tensor::zeros([slots, trunk.config().local.width], &device);
        let bias = Tensor::zeros([slots], &device);
        Ok(Self { trunk, head: Param::from_tensor(head), bias: Param::from_tensor(bias) })
    }

    /// Values of all states of given clips. The value at action t sees the actions before t and no other.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips, actions]`, actions = frames * slots in generation order
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when prompt, frames and layout disagree.
    pub fn values(&self, prompt: &ConditionPrompt, frames: Tensor<3, Int>) -> Result<Tensor<2>> {
        let hidden = self.trunk.forward(prompt, frames)?;
        let [clips, time, slots, width] = hidden.dims();
        let rows = hidden.reshape([clips * time, slots, width]);
        let values = (rows * self.head.val().reshape([1, slots, width])).sum_dim(2).reshape([clips * time, slots]);
        Ok((values + self.bias.val().reshape([1, slots])).reshape([clips, time * slots]))
    }
}
