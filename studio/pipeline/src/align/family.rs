//! What a family of policies must offer to be aligned: [`Learnable`], [`Baseliner`] and [`Player`].
//!
//! Two families do: our own hierarchical policies with the models of a bundle, and imported checkpoints of MusicGen.
//! Where a stage says `checkpointing`, gradients come from the methods that compute networks a second time; a family that
//! has no such method refuses the setting in [`Learnable::prepare`].

use std::fmt::Debug;

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor},
};
use musicrl_core::{
    params::{ParamTable, freeze_except},
    policy::{ConditionPrompt, HierarchicalPolicy, Policy, ValueNetwork},
    random::Key,
    sampling::SamplingConfig,
    tokens::Tokens,
};
use rayon::prelude::*;

use super::hidden::Hidden;
use crate::{Error, Result, music::Music, recipe::StageConfig};

/// What a backward pass gives.
#[derive(Debug)]
pub struct LossGradient<T> {
    /// In the order of the table.
    pub gradient: Vec<f32>,
    /// The loss.
    pub loss: f64,
    /// What the loss said beside its value.
    pub other: T,
}

impl<T> LossGradient<T> {
    /// By one backward pass through all that `loss` came from.
    #[must_use]
    pub fn of<M: Module>(table: &ParamTable, module: &M, loss: Tensor<1>, other: T) -> Self {
        let gradient = table.gradients(module, &loss.backward());
        Self { gradient, loss: f64::from(loss.inner().into_scalar::<f32>()), other }
    }
}

/// A policy whose parameters learn.
pub trait Learnable: Policy<Prompt: Debug + Send + Sync> + Module + Sync {
    /// Its learned baseline.
    type Value: Baseliner<Self::Prompt>;

    /// The device of its weights.
    fn device(&self) -> Device;

    /// The policy of a stage on an autodiff device, with what the recipe lets learn.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that the family does not have, or that leave nothing to learn.
    fn prepare(start: &Self, config: &StageConfig, seed: u64, device: &Device) -> Result<Self>;

    /// The baseline of a prepared policy.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    fn value(&self, config: &StageConfig, seed: u64) -> Result<Self::Value>;

    /// The parameters that are optimised and checkpointed.
    fn table<M: Module>(module: &M) -> ParamTable;

    /// The gradient of a loss of the vectors before the heads, in the order of `table`. `loss` may use the policy's heads.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    ///
    /// # Errors
    /// When prompt, frames and layout disagree; whatever `loss` says.
    fn gradient<T>(
        &self,
        table: &ParamTable,
        prompt: &Self::Prompt,
        frames: Tensor<3, Int>,
        sampling: &SamplingConfig,
        loss: impl FnOnce(&Hidden) -> Result<(Tensor<1>, T)>,
    ) -> Result<LossGradient<T>> {
        let (loss, other) = loss(&Hidden::of(self, prompt, frames, sampling)?)?;
        Ok(LossGradient::of(table, self, loss, other))
    }

    /// The same to rounding, with less of the networks in memory at a time; [`gradient`](Self::gradient) itself for
    /// families that refuse `checkpointing`.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    fn gradient_recomputed<T>(
        &self,
        table: &ParamTable,
        prompt: &Self::Prompt,
        frames: Tensor<3, Int>,
        sampling: &SamplingConfig,
        loss: impl FnOnce(&Hidden) -> Result<(Tensor<1>, T)>,
    ) -> Result<LossGradient<T>> {
        self.gradient(table, prompt, frames, sampling, loss)
    }

    /// Whether parts of a batch may run on several threads, each with a copy of what learns.
    fn runs_parts_in_parallel() -> bool;

    /// Clips that go through the networks at once.
    fn clips_at_once() -> usize;
}

/// A learned baseline: the expected return before each action.
pub trait Baseliner<Q>: Module + Sync {
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips, actions]`
    ///
    /// # Errors
    /// When prompt, frames and layout disagree.
    fn values(&self, prompt: &Q, frames: Tensor<3, Int>) -> Result<Tensor<2>>;

    /// The gradient of a loss of the values, in the order of `table`.
    ///
    /// # Errors
    /// As [`values`](Self::values); whatever `loss` says.
    fn gradient<T>(
        &self,
        table: &ParamTable,
        prompt: &Q,
        frames: Tensor<3, Int>,
        loss: impl FnOnce(&Tensor<2>) -> Result<(Tensor<1>, T)>,
    ) -> Result<LossGradient<T>> {
        let (loss, other) = loss(&self.values(prompt, frames)?)?;
        Ok(LossGradient::of(table, self, loss, other))
    }

    /// As [`Learnable::gradient_recomputed`].
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    fn gradient_recomputed<T>(
        &self,
        table: &ParamTable,
        prompt: &Q,
        frames: Tensor<3, Int>,
        loss: impl FnOnce(&Tensor<2>) -> Result<(Tensor<1>, T)>,
    ) -> Result<LossGradient<T>> {
        self.gradient(table, prompt, frames, loss)
    }
}

/// What turns captions into prompts and tokens into sound.
pub trait Player: Sync {
    /// The policies that it plays.
    type Policy: Learnable;

    /// Captions as the policy's conditions.
    ///
    /// # Errors
    /// When a caption cannot be encoded.
    fn prompt(&self, captions: &[&str]) -> Result<<Self::Policy as Policy>::Prompt>;

    /// The sound of clips, mono; one key a clip for whatever is random in it.
    ///
    /// # Errors
    /// Tokens that do not fit, other numbers of keys than clips.
    fn sound(&self, clips: &[Tokens], keys: &[Key]) -> Result<Vec<Vec<f32>>>;

    /// Samples a second of that sound.
    fn sample_rate_hz(&self) -> u32;

    /// A sound as the policy's tokens, for clips that go on from it; `channels` at the player's own rate.
    ///
    /// # Errors
    /// When the family has no way from sound to tokens, or the sound is too short.
    fn tokens(&self, channels: &[Vec<f32>]) -> Result<Tokens>;
}

impl Learnable for HierarchicalPolicy {
    type Value = ValueNetwork;

    fn device(&self) -> Device {
        self.trunk.device()
    }

    fn prepare(start: &Self, config: &StageConfig, _seed: u64, device: &Device) -> Result<Self> {
        if config.lora.is_some() {
            return Err(Error::config("lora", "left out for a base of our own (see `trainable`)", "settings"));
        }
        if config.checkpointing {
            let expected = "left out for a base of our own (a smaller `batch` or shorter clips save memory there)";
            return Err(Error::config("checkpointing", expected, "true"));
        }
        let policy = start.clone().to_device(device).train();
        // Copied through the table: a mere clone would share nodes of the autodiff graph with the start.
        let policy = ParamTable::collect(start).apply(policy)?;
        Ok(freeze_except(policy, &config.trainable))
    }

    fn value(&self, _config: &StageConfig, _seed: u64) -> Result<ValueNetwork> {
        Ok(ValueNetwork::from_policy(self)?)
    }

    fn table<M: Module>(module: &M) -> ParamTable {
        ParamTable::collect(module)
    }

    fn runs_parts_in_parallel() -> bool {
        true
    }

    fn clips_at_once() -> usize {
        4
    }
}

impl Baseliner<ConditionPrompt> for ValueNetwork {
    fn values(&self, prompt: &ConditionPrompt, frames: Tensor<3, Int>) -> Result<Tensor<2>> {
        Ok(Self::values(self, prompt, frames)?)
    }
}

impl Player for Music {
    type Policy = HierarchicalPolicy;

    fn prompt(&self, captions: &[&str]) -> Result<ConditionPrompt> {
        Self::prompt(self, captions)
    }

    fn sound(&self, clips: &[Tokens], keys: &[Key]) -> Result<Vec<Vec<f32>>> {
        Self::sound(self, clips, keys)
    }

    fn sample_rate_hz(&self) -> u32 {
        Self::sample_rate_hz(self)
    }

    fn tokens(&self, _channels: &[Vec<f32>]) -> Result<Tokens> {
        Err(Error::config("continue_from", "left out: only imported checkpoints go on from a sound", "a sound"))
    }
}

/// What `of` makes of each part of a batch, in their order, on several threads where the family allows it.
pub(super) fn map_parts<P: Learnable, Q: Sync, T: Send>(parts: &[Q], of: impl Fn(&Q) -> T + Sync + Send) -> Vec<T> {
    if P::runs_parts_in_parallel() { parts.par_iter().map(of).collect() } else { parts.iter().map(of).collect() }
}

/// The prompts of a player's policies.
pub type PromptOf<M> = <<M as Player>::Policy as Policy>::Prompt;
