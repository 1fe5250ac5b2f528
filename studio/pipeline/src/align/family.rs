//! What a family of policies must offer to be aligned: [`Learnable`], [`Baseliner`] and [`Player`].
//!
//! Two families do: our own hierarchical policies with the models of a bundle, and imported checkpoints of MusicGen.

use std::fmt::Debug;

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor},
};
use musicrl_core::{
    params::{ParamTable, freeze_except},
    policy::{ConditionPrompt, HierarchicalPolicy, Policy, ValueNetwork},
    random::Key,
    tokens::Tokens,
};

use crate::{Error, Result, music::Music, recipe::StageConfig};

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

/// The prompts of a player's policies.
pub type PromptOf<M> = <<M as Player>::Policy as Policy>::Prompt;
