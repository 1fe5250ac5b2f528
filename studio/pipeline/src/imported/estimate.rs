//! Memory of a stage on an imported checkpoint, from its settings alone: nothing is loaded.

use musicrl_zoo::{Checkpoint, musicgen::Config};

use crate::{
    Result,
    estimate::MemoryEstimate,
    recipe::{Baseline, LoraConfig, StageConfig, ValueTrunk},
};

/// What the memory of a stage depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Adapters, or all weights.
    pub lora: Option<LoraConfig>,
    /// What is taken from the return.
    pub baseline: Baseline,
    /// The trunk of a learned baseline.
    pub value_trunk: ValueTrunk,
    /// Whether clips are made under guidance: every pass is then two.
    pub guided: bool,
    /// Clips that are generated at once.
    pub clips: usize,
    /// Their length.
    pub clip_seconds: f64,
}

impl Choice {
    /// What a stage chose; `clip_seconds` where it does not say.
    #[must_use]
    pub fn of(stage: &StageConfig, clip_seconds: f64) -> Self {
        Self {
            lora: stage.lora,
            baseline: stage.baseline,
            value_trunk: stage.value_trunk,
            guided: stage.sampling.core().is_guided(),
            clips: stage.batch,
            clip_seconds: stage.clip_seconds.unwrap_or(clip_seconds),
        }
    }
}

/// What a stage needs. Clips go through the networks one by one, so activations are those of one.
///
/// # Errors
/// When the checkpoint's settings are no MusicGen's.
pub fn memory(checkpoint: &Checkpoint, config: &Choice) -> Result<MemoryEstimate> {
    let model: Config = checkpoint.config()?;
    let decoder = &model.decoder;
    decoder.validate()?;
    let (width, inner) = (decoder.hidden_size as u64, decoder.ffn_dim as u64);
    let (layers, heads) = (decoder.num_hidden_layers as u64, decoder.num_attention_heads as u64);
    let (codebooks, vocab) = (decoder.num_codebooks as u64, decoder.vocab_size as u64);
    let frames = (config.clip_seconds * model.audio_encoder.frame_rate_hz() as f64).ceil() as u64;
    let steps = frames + decoder.delays().last().copied().unwrap_or(0) as u64;
    let matrices = layers * (8 * width * width + 2 * width * inner);
    let tables = codebooks * (2 * vocab + 1) * width;
    let policy = matrices + tables;
    let others = checkpoint.elements().saturating_sub(policy);
    // With adapters: rank * (in + out) of every matrix.
    let adapters = config.lora.map(|lora| lora.rank as u64 * layers * (8 * 2 * width + 2 * (width + inner)));

    // A block keeps some tensors of the width, of the inner width, and the scores of both attentions.
    let passes = if config.guided { 2 } else { 1 };
    let per_block =
        steps * (width * ACTIVATIONS_WIDTH + inner * ACTIVATIONS_INNER) + steps * steps * heads * ACTIVATIONS_SCORES;
    let low_rank = config.lora.map_or(0, |lora| steps * 10 * (2 * lora.rank as u64 + width));
    let logits = frames * codebooks * vocab * 6;
    let activations = passes * (layers * (per_block + low_rank) + logits);
    let cache = passes * config.clips as u64 * layers * 2 * steps * width;

    let mut estimate = MemoryEstimate::new()
        .with_frozen("text encoder and codec", others)
        .with_frozen("policy", policy)
        // While clips are generated, the weights exist a second time, packed.
        .with_floats("generation", (policy + cache).max(activations).saturating_sub(activations))
        .with_floats("activations", activations);
    // Values, gradient, two moments, and the leaves of the copy that computes.
    estimate = match adapters {
        Some(adapters) => estimate.with_trained("adapters", adapters),
        None => estimate.with_trained("policy that learns", policy),
    };
    if config.baseline == Baseline::Learned {
        estimate = match (config.value_trunk, adapters) {
            (ValueTrunk::Shared, _) => estimate,
            (ValueTrunk::Own, Some(adapters)) => estimate.with_trained("adapters of the baseline", adapters),
            (ValueTrunk::Own, None) => estimate.with_trained("baseline", policy),
        };
    }
    Ok(estimate)
}

/// Tensors of `[steps, width]` that a block's backward pass reads.
const ACTIVATIONS_WIDTH: u64 = 30;
/// Tensors of `[steps, ffn_dim]`.
const ACTIVATIONS_INNER: u64 = 3;
/// Tensors of `[heads, steps, steps]`.
const ACTIVATIONS_SCORES: u64 = 4;
