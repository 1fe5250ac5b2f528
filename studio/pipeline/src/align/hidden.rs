//! The vectors before the heads, and the distributions that come of them: [`Hidden`].

use std::ops::Range;

use burn::tensor::{Int, Tensor};
use musicrl_core::{
    policy::{Policy, Prompt as _},
    sampling::SamplingConfig,
};

use crate::Result;

/// What stands before the heads, with and without condition.
#[derive(Debug)]
pub struct Hidden {
    /// `[clips, frames, slots, width]`
    pub conditioned: Tensor<4>,
    /// The same without the prompts, under classifier-free guidance.
    pub unconditioned: Option<Tensor<4>>,
}

impl Hidden {
    /// Of given clips.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    ///
    /// # Errors
    /// When prompt, frames and layout disagree.
    pub fn of<P: Policy>(
        policy: &P,
        prompt: &P::Prompt,
        frames: Tensor<3, Int>,
        sampling: &SamplingConfig,
    ) -> Result<Self> {
        let unconditioned = match prompt.null().filter(|_| sampling.is_guided()) {
            Some(null) => Some(policy.hidden(&null, frames.clone())?),
            None => None,
        };
        Ok(Self { conditioned: policy.hidden(prompt, frames)?, unconditioned })
    }

    /// Logits of some frames of `ids`, as they are sampled.
    ///
    /// # Errors
    /// As [`SamplingConfig::shape`].
    pub fn shaped<P: Policy>(
        &self,
        policy: &P,
        frames: Range<usize>,
        sampling: &SamplingConfig,
        ids: &Tensor<3, Int>,
    ) -> musicrl_core::Result<Tensor<4>> {
        let (logits, null) = self.heads(policy, frames.clone());
        sampling.shape(logits, null, &ids.clone().slice_dim(1, frames))
    }

    /// Logits of a reference: tempered and guided in the same way but not cut off, since an entry that only the
    /// reference forbids would make the KL infinite.
    ///
    /// # Errors
    /// As [`SamplingConfig::temper`].
    pub fn tempered<P: Policy>(
        &self,
        policy: &P,
        frames: Range<usize>,
        sampling: &SamplingConfig,
    ) -> musicrl_core::Result<Tensor<4>> {
        let (logits, null) = self.heads(policy, frames);
        sampling.temper(logits, null)
    }

    fn heads<P: Policy>(&self, policy: &P, frames: Range<usize>) -> (Tensor<4>, Option<Tensor<4>>) {
        let head = |hidden: &Tensor<4>| policy.head(hidden.clone().slice_dim(1, frames.clone()));
        (head(&self.conditioned), self.unconditioned.as_ref().map(head))
    }
}
