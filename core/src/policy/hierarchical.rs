//! The policy that this crate brings along: [`HierarchicalPolicy`].

use alloc::{boxed::Box, vec::Vec};
use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{
    ConditionPrompt, Decoder, HierarchicalPolicyConfig, HierarchicalTrunk, PADDED, PackedDecoder, Policy, TensorDecoder,
};
use crate::{Result, params::reinitialise, random::Key, tokens::TokenLayout};

/// A global causal transformer over frames, a local one over the slots of a frame, and a head for every slot.
#[derive(Module, Debug)]
pub struct HierarchicalPolicy {
    /// The two transformers.
    pub trunk: HierarchicalTrunk,
    /// One matrix a slot, `[slots, local width, codebook]`.
    pub heads: Param<Tensor<3>>,
}

impl HierarchicalPolicyConfig {
    /// Makes a policy with first values from `key` (of [`Purpose::Init`](crate::random::Purpose::Init)).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for settings that break a rule.
    pub fn init(&self, key: Key, device: &Device) -> Result<HierarchicalPolicy> {
        self.validate()?;
        let heads = [self.layout.slots_per_frame(), self.local.width, self.layout.codebook_max()];
        let policy = HierarchicalPolicy {
            trunk: HierarchicalTrunk::new(self, device),
            heads: Param::from_tensor(Tensor::zeros(heads, device)),
        };
        Ok(reinitialise(policy, key))
    }
}

impl HierarchicalPolicy {
    /// The settings that it was made from.
    #[must_use]
    pub fn config(&self) -> &HierarchicalPolicyConfig {
        self.trunk.config()
    }

    /// Incremental decoding in plain Rust, with weights packed once: what [`decoder`](Policy::decoder) gives.
    ///
    /// # Errors
    /// [`Error`](crate::Error) when the prompt does not fit the policy.
    pub fn packed_decoder(&self, prompt: &ConditionPrompt, frames_max: usize) -> Result<PackedDecoder> {
        PackedDecoder::new(self, prompt, frames_max)
    }

    /// Incremental decoding with tensors, on the policy's own device: for policies so large that an accelerator pays.
    ///
    /// # Errors
    /// [`Error`](crate::Error) when the prompt does not fit the policy.
    pub fn tensor_decoder(&self, prompt: &ConditionPrompt, frames_max: usize) -> Result<TensorDecoder> {
        TensorDecoder::new(self, prompt, frames_max)
    }

    /// [`PADDED`] beyond each slot's codebook, `[slots, 1, codebook]`; `None` when all codebooks are equally large.
    pub(super) fn padding(&self, device: &Device) -> Option<Tensor<3>> {
        let layout = &self.config().layout;
        let (slots, codebook) = (layout.slots_per_frame(), layout.codebook_max());
        let allowed = layout.allowed();
        let values: Vec<f32> = allowed.iter().map(|allowed| if *allowed { 0.0 } else { PADDED }).collect();
        (!allowed.iter().all(|allowed| *allowed))
            .then(|| Tensor::from_data(TensorData::new(values, [slots, 1, codebook]), device))
    }
}

impl Policy for HierarchicalPolicy {
    type Prompt = ConditionPrompt;

    fn layout(&self) -> &TokenLayout {
        &self.config().layout
    }

    fn hidden(&self, prompt: &ConditionPrompt, frames: Tensor<3, Int>) -> Result<Tensor<4>> {
        self.trunk.forward(prompt, frames)
    }

    fn head(&self, hidden: Tensor<4>) -> Tensor<4> {
        let [clips, time, slots, width] = hidden.dims();
        let logits = hidden.reshape([clips * time, slots, width]).swap_dims(0, 1).matmul(self.heads.val());
        let [_, _, codebook] = logits.dims();
        let logits = match self.padding(&logits.device()) {
            Some(padding) => logits + padding,
            None => logits,
        };
        logits.swap_dims(0, 1).reshape([clips, time, slots, codebook])
    }

    fn decoder(&self, prompt: &ConditionPrompt, frames_max: usize) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(self.packed_decoder(prompt, frames_max)?))
    }
}
