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
    /// Clips that are generated at once; with 0 nothing is generated.
    pub clips: usize,
    /// Their length.
    pub clip_seconds: f64,
    /// Whether blocks are computed again in the backward pass.
    pub checkpointing: bool,
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
            checkpointing: stage.checkpointing,
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
    model.audio_encoder.validate()?;
    // In floating point: lengths and batches are the user's, and squares of them must not wrap.
    let (width, inner) = (decoder.hidden_size as f64, decoder.ffn_dim as f64);
    let (layers, heads) = (decoder.num_hidden_layers as f64, decoder.num_attention_heads as f64);
    let (codebooks, vocab) = (decoder.num_codebooks as f64, decoder.vocab_size as f64);
    let frames = (config.clip_seconds * model.audio_encoder.frame_rate_hz() as f64).ceil();
    let steps = frames + decoder.delays().last().copied().unwrap_or(0) as f64;
    let matrices = layers * (8.0 * width * width + 2.0 * width * inner);
    let policy = (matrices + codebooks * (2.0 * vocab + 1.0) * width) as u64;
    let others = checkpoint.elements().saturating_sub(policy);
    let rank = config.lora.map_or(0.0, |lora| lora.rank as f64);
    // rank * (in + out) of every matrix.
    let adapters = (rank * layers * (8.0 * 2.0 * width + 2.0 * (width + inner))) as u64;

    // A block keeps some tensors of the width, of the inner width, and the scores of both attentions; an adapter two of
    // its rank and one of the matrix's width.
    let passes = if config.guided { 2.0 } else { 1.0 };
    let per_block =
        steps * (width * ACTIVATIONS_WIDTH + inner * ACTIVATIONS_INNER) + steps * steps * heads * ACTIVATIONS_SCORES;
    let low_rank = if rank > 0.0 { steps * 10.0 * (2.0 * rank + width) } else { 0.0 };
    let logits = frames * codebooks * vocab * 6.0;
    // Computed again, one block's exist at a time, and of the others the input.
    let blocks = match config.checkpointing {
        true => per_block + low_rank + passes * layers * steps * width,
        false => passes * layers * (per_block + low_rank),
    };
    let activations = (blocks + passes * logits) as u64;
    let cache = (passes * config.clips as f64 * layers * 2.0 * steps * width) as u64;

    let packed = if config.clips > 0 { policy.saturating_add(cache) } else { 0 };
    let mut estimate = MemoryEstimate::new()
        .with_frozen("text encoder and codec", others)
        .with_frozen("policy", policy)
        // While clips are generated, the weights exist a second time, packed. What is freed after stays with the
        // allocator, in pieces that the tensors of learning do not fit.
        .with_floats("generation", packed)
        .with_floats("activations", activations);
    estimate = match config.lora {
        Some(_) => estimate.with_floats("adapters", adapters.saturating_mul(LEARNING)),
        None => estimate.with_floats("policy that learns", policy.saturating_mul(LEARNING)),
    };
    if config.baseline == Baseline::Learned {
        estimate = match (config.value_trunk, config.lora) {
            (ValueTrunk::Shared, _) => estimate,
            (ValueTrunk::Own, Some(_)) => {
                estimate.with_floats("adapters of the baseline", adapters.saturating_mul(LEARNING))
            }
            (ValueTrunk::Own, None) => estimate.with_floats("baseline", policy.saturating_mul(LEARNING)),
        };
    }
    Ok(estimate)
}

/// What adapters under a preference head need on clips of `clip_seconds`: two clips at a time, of both of which the blocks
/// are computed again, and no generation.
///
/// # Errors
/// As [`memory`].
pub fn preference(checkpoint: &Checkpoint, lora: LoraConfig, clip_seconds: f64) -> Result<MemoryEstimate> {
    let choice = Choice {
        lora: Some(lora),
        baseline: Baseline::LeaveOneOut,
        value_trunk: ValueTrunk::Shared,
        guided: true,
        clips: 0,
        clip_seconds,
        checkpointing: true,
    };
    memory(checkpoint, &choice)
}

/// How often what learns exists: the leaves, the flat values, the copy that computes, its gradients as tensors, flat and
/// summed, two moments, and what a checkpoint under way adds. LOG.md holds the sum against measured peaks.
const LEARNING: u64 = 9;
/// Tensors of `[steps, width]` that a block's backward pass reads.
const ACTIVATIONS_WIDTH: f64 = 30.0;
/// Tensors of `[steps, ffn_dim]`.
const ACTIVATIONS_INNER: f64 = 3.0;
/// Tensors of `[heads, steps, steps]`.
const ACTIVATIONS_SCORES: f64 = 4.0;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_learns_and_longer_clips_cost_memory() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/tests/fixtures/musicgen_mono");
        let checkpoint = Checkpoint::open(&dir).unwrap();
        let choice = Choice {
            lora: Some(LoraConfig { rank: 4, alpha: None }),
            baseline: Baseline::LeaveOneOut,
            value_trunk: ValueTrunk::Shared,
            guided: false,
            clips: 2,
            clip_seconds: 1.0,
            checkpointing: false,
        };
        let bytes = |choice: Choice| memory(&checkpoint, &choice).unwrap().total_bytes();
        let least = bytes(choice);
        let own = Choice { baseline: Baseline::Learned, value_trunk: ValueTrunk::Own, ..choice };
        let all = Choice { lora: None, ..own };
        assert!(least < bytes(own) && bytes(own) < bytes(all));
        assert_eq!(bytes(Choice { baseline: Baseline::Learned, ..choice }), least);
        assert!(bytes(Choice { guided: true, ..choice }) > least);
        assert!(bytes(Choice { checkpointing: true, ..choice }) < least);
        // Scores take the square of the length.
        let by_seconds = |seconds| bytes(Choice { clip_seconds: seconds, ..choice });
        assert!(by_seconds(40.0) - by_seconds(20.0) > 2 * (by_seconds(20.0) - by_seconds(10.0)));
        assert!(bytes(Choice { clip_seconds: f64::MAX, ..choice }) > 1 << 60);
    }
}
