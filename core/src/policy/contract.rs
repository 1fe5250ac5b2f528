//! What a policy is: [`Policy`], its [`Prompt`] and its [`Decoder`].

use alloc::{boxed::Box, vec::Vec};
use burn::tensor::{Int, Tensor};

use crate::{Result, tokens::TokenLayout};

/// The logit of an entry beyond its slot's codebook: its probability is exactly 0, and it stays finite through
/// tempering and guidance, so that neither values nor gradients become NaN.
pub const PADDED: f32 = -1e9;

/// What clips are made for: one condition a clip.
pub trait Prompt: Clone {
    /// Number of clips (B).
    fn clips(&self) -> usize;

    /// The prompts of some clips, by index, in that order; for splitting a batch.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for an index past the end.
    fn select(&self, clips: &[usize]) -> Result<Self>;

    /// As many clips without a condition, for classifier-free guidance; `None` when the policy has no such thing.
    fn null(&self) -> Option<Self>;
}

/// A distribution over the next token.
pub trait Policy {
    /// What a clip is conditioned on.
    type Prompt: Prompt;

    /// The slots of a frame.
    fn layout(&self) -> &TokenLayout;

    /// The vectors before the heads, for every position, teacher-forced.
    ///
    /// The vector of an action sees the actions before it and nothing else.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`, ids inside their codebooks
    /// - output: `[clips, frames, slots, width]`
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when prompt, frames and layout disagree.
    fn hidden(&self, prompt: &Self::Prompt, frames: Tensor<3, Int>) -> Result<Tensor<4>>;

    /// The heads, for any part of what [`hidden`](Self::hidden) gave: the chunked loss calls it for some frames at a
    /// time, so that logits of all positions never exist at once.
    ///
    /// # Shapes
    /// - hidden: `[clips, frames, slots, width]`
    /// - output: `[clips, frames, slots, codebook]`; entries beyond a slot's codebook are [`PADDED`]
    fn head(&self, hidden: Tensor<4>) -> Tensor<4>;

    /// Logits of every position, teacher-forced.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips, frames, slots, codebook]`
    ///
    /// # Errors
    /// As [`hidden`](Self::hidden).
    fn logits(&self, prompt: &Self::Prompt, frames: Tensor<3, Int>) -> Result<Tensor<4>> {
        Ok(self.head(self.hidden(prompt, frames)?))
    }

    /// The order in which the actions of `frames` frames are chosen, as places `frame * slots + slot`: each once.
    /// Frame after frame by default; a delay pattern has another one. The decoder walks the same order.
    fn order(&self, frames: usize) -> Vec<usize> {
        (0..frames * self.layout().slots_per_frame()).collect()
    }

    /// Incremental decoding of up to `frames_max` frames, with everything allocated at once.
    ///
    /// # Errors
    /// [`Error`](crate::Error) when the prompt does not fit the policy.
    fn decoder(&self, prompt: &Self::Prompt, frames_max: usize) -> Result<Box<dyn Decoder>>;

    /// Decoders of several prompts, for policies that can share work between them; guidance has two.
    ///
    /// # Errors
    /// As [`decoder`](Self::decoder).
    fn decoders(&self, prompts: &[&Self::Prompt], frames_max: usize) -> Result<Vec<Box<dyn Decoder>>> {
        prompts.iter().map(|prompt| self.decoder(prompt, frames_max)).collect()
    }
}

/// Walks the actions of a batch of clips in [generation order](Policy::order).
pub trait Decoder {
    /// Logits of the next action, clip after clip: `[clips, codebook]` as rows. Calling it twice without
    /// [`accept`](Self::accept) gives the same numbers.
    ///
    /// # Errors
    /// [`Error`](crate::Error) when all frames are decoded, or when the device fails.
    fn logits(&mut self) -> Result<&[f32]>;

    /// Takes the tokens chosen for the action whose logits were given, one a clip.
    ///
    /// # Errors
    /// [`Error`](crate::Error) for another number of tokens, one outside the slot's codebook, or when no logits were
    /// asked for.
    fn accept(&mut self, tokens: &[u32]) -> Result<()>;
}
