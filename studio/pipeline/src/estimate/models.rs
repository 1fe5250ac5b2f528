//! Memory of the training loops, from their settings.
//!
//! What a backward pass needs is what the forward pass left behind: mostly activations. The counts follow the layers;
//! they are meant to be right within a factor of two, so that a batch that cannot fit is refused before an hour is
//! spent on its data.

use musicrl_core::{nn::TransformerConfig, policy::HierarchicalPolicyConfig};
use musicrl_rewards::{QualityConfig, TextAudioConfig};

use super::{MemoryEstimate, TransformerShape};
use crate::{
    recipe::{Baseline, StageConfig},
    train::{
        codec::CodecTrainingConfig,
        dpo::{DpoConfig, training::PART_PAIRS as DPO_PART_PAIRS},
        fine::FineTrainingConfig,
        policy::{PolicyTrainingConfig, Vocabulary},
        preference::{PART_PAIRS, PreferenceTrainingConfig},
        quality::QualityTrainingConfig,
        semantic::SemanticTrainingConfig,
        text_audio::TextAudioTrainingConfig,
    },
};

/// Tensors of a residual unit of the codec that its backward pass reads: input, activation, unfolded kernel taps and
/// both convolutions' results.
const UNIT_TENSORS: u64 = 8;
/// Spectra of several resolutions, of the sound and of the original, with their magnitudes and mel bands.
const SPECTRA_FLOATS: u64 = 48;
/// Tensors of a block of the quality predictor that its backward pass reads: the norm's, three neighbours side by side,
/// the layer inside before and after its activation, the sum.
const QUALITY_TENSORS: u64 = 9;
/// Logits, their softmax, its logarithm and the gradient.
const LOGIT_TENSORS: u64 = 4;

impl From<&TransformerConfig> for TransformerShape {
    fn from(config: &TransformerConfig) -> Self {
        Self {
            layers: config.layers as u64,
            width: config.width as u64,
            ff_width: config.ff_width as u64,
            heads: config.heads as u64,
        }
    }
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor as u64))
}

/// Training of the neural codec.
#[must_use]
pub fn codec(config: &CodecTrainingConfig) -> MemoryEstimate {
    let codec = &config.codec;
    let samples = product(&[config.batch_clips, config.crop_frames, codec.hop()]);
    let mut length = samples as f64;
    let mut channels = codec.base_channels as f64;
    let (mut activations, mut parameters) = (0.0, 0.0);
    for (stage, stride) in codec.strides.iter().enumerate() {
        length /= (*stride).max(1) as f64;
        if stage > 0 {
            channels *= codec.channel_growth;
        }
        let units = codec.dilations.len() + codec.frame_units;
        activations += length * channels * (units as u64 * UNIT_TENSORS) as f64;
        parameters += channels * channels * (units * (codec.residual_kernel + 1) + 2 * stride) as f64;
    }
    // Encoder and decoder mirror each other. Casts saturate.
    MemoryEstimate::new()
        .with_floats("activations", (2.0 * activations) as u64)
        .with_floats("spectral loss", samples.saturating_mul(SPECTRA_FLOATS))
        .with_trained("codec", (2.0 * parameters) as u64)
}

/// Training of the semantic tokeniser.
#[must_use]
pub fn semantic(config: &SemanticTrainingConfig) -> MemoryEstimate {
    let model = &config.model;
    let shape = TransformerShape {
        layers: model.layers as u64,
        width: model.width as u64,
        ff_width: model.ff_width as u64,
        heads: model.heads as u64,
    };
    let logits = product(&[config.batch_crops, config.crop_frames, model.target_codebooks, model.target_entries]);
    let heads = product(&[model.width, model.target_codebooks, model.target_entries]);
    MemoryEstimate::new()
        .with_floats("activations", shape.training_floats(config.batch_crops as u64, config.crop_frames as u64))
        .with_floats("logits", logits.saturating_mul(LOGIT_TENSORS))
        .with_trained("tokeniser", shape.parameters().saturating_add(heads))
}

/// Training of the text-audio embedding.
#[must_use]
pub fn text_audio(model: &TextAudioConfig, config: &TextAudioTrainingConfig) -> MemoryEstimate {
    let front_end = &model.front_end;
    let frames = model.window_seconds * f64::from(front_end.sample_rate_hz) / front_end.hop_samples.max(1) as f64;
    let positions = (frames / model.stack_frames.max(1) as f64).ceil() as u64;
    let (audio, text) = (TransformerShape::from(&model.audio), TransformerShape::from(&model.text));
    let pairs = config.batch_pairs as u64;
    let words = product(&[model.tokeniser.word_buckets + model.tokeniser.trigram_buckets, model.text.width]);
    // Activations and weights of the text side; the frozen encoder's own memory is the checkpoint's size.
    let (text_floats, text_weights) = match &model.sentence {
        Some(sentence) => {
            let row = sentence.width.saturating_add(sentence.hidden).saturating_add(model.dim) as u64;
            (pairs.saturating_mul(row).saturating_mul(4), sentence.parameters(model.dim) as u64)
        }
        None => {
            (text.training_floats(pairs, model.tokeniser.words_max as u64), text.parameters().saturating_add(words))
        }
    };
    MemoryEstimate::new()
        .with_floats("audio activations", audio.training_floats(pairs, positions))
        .with_floats("text activations", text_floats)
        .with_trained("towers", audio.parameters().saturating_add(text_weights))
        .with_floats("features kept", (config.cache_mib as u64).saturating_mul(1 << 18))
}

/// Training of the quality predictor.
#[must_use]
pub fn quality(model: &QualityConfig, config: &QualityTrainingConfig) -> MemoryEstimate {
    let positions = (config.crop_frames(model) / model.stack_frames.max(1)) as u64;
    let stacked = product(&[model.stack_frames, model.front_end.bands]);
    let (width, blocks) = (model.width as u64, model.dilations.len() as u64);
    let rows = positions.saturating_mul(config.batch_clips as u64);
    let block = product(&[4, model.width, model.width]);
    let parameters = stacked
        .saturating_mul(width)
        .saturating_add(blocks.saturating_mul(block))
        .saturating_add(product(&[2, model.width, model.head_width]));
    MemoryEstimate::new()
        .with_floats("features", rows.saturating_mul(stacked))
        .with_floats("activations", rows.saturating_mul(width).saturating_mul(blocks.saturating_mul(QUALITY_TENSORS)))
        .with_trained("quality predictor", parameters)
        .with_floats("features kept", (config.cache_mib as u64).saturating_mul(1 << 18))
}

/// Training of the policy on clips of `clip_frames` frames.
#[must_use]
pub fn policy(config: &PolicyTrainingConfig, vocabulary: &Vocabulary) -> MemoryEstimate {
    let frames = (config.clip_seconds * vocabulary.frame_rate_hz).ceil() as u64;
    let slots = 1 + 2 * config.coarse_levels as u64;
    let codebook = vocabulary.semantic_entries.max(vocabulary.acoustic_entries) as u64;
    let (global, local) = (config.global.transformer(), config.local.transformer());
    policy_stacks(&global, &local, config.batch_clips as u64, frames, slots, codebook)
}

/// A stage of an alignment: the policy and, for the learned baseline, a value network of its size; they are trained one
/// after the other, so only one leaves activations at a time.
#[must_use]
pub fn stage(policy: &HierarchicalPolicyConfig, config: &StageConfig, clip_seconds: f64) -> MemoryEstimate {
    let frames = policy.layout.frames_in(config.clip_seconds.unwrap_or(clip_seconds)) as u64;
    let (slots, codebook) = (policy.layout.slots_per_frame() as u64, policy.layout.codebook_max() as u64);
    let (global, local) = (policy.global.transformer(), policy.local.transformer());
    let trained = policy_stacks(&global, &local, config.batch as u64, frames, slots, codebook);
    let weights =
        TransformerShape::from(&global).parameters().saturating_add(TransformerShape::from(&local).parameters());
    match config.baseline {
        Baseline::Learned => trained.with_trained("value network", weights).with_frozen("reference", weights),
        Baseline::Linear | Baseline::LeaveOneOut | Baseline::BatchMean => trained.with_frozen("reference", weights),
    }
}

/// A policy's two transformers under a backward pass over `clips` clips.
#[must_use]
pub fn policy_stacks(
    global: &TransformerConfig,
    local: &TransformerConfig,
    clips: u64,
    frames: u64,
    slots: u64,
    codebook: u64,
) -> MemoryEstimate {
    let (global, local) = (TransformerShape::from(global), TransformerShape::from(local));
    let sequences = clips.saturating_mul(frames);
    let logits = sequences.saturating_mul(slots).saturating_mul(codebook);
    // Every slot has an embedding for either transformer and an output row for each entry.
    let tables = slots.saturating_mul(codebook).saturating_mul(global.width.saturating_add(2 * local.width));
    MemoryEstimate::new()
        .with_floats("frame activations", global.training_floats(clips, frames))
        .with_floats("slot activations", local.training_floats(sequences, slots))
        .with_floats("logits", logits.saturating_mul(LOGIT_TENSORS))
        .with_trained("policy", global.parameters().saturating_add(local.parameters()).saturating_add(tables))
}

/// Training of the preference model on clips of up to `clip_frames` frames. No more parts of a batch exist at once than
/// there are threads.
#[must_use]
pub fn preference(
    config: &PreferenceTrainingConfig,
    policy: &HierarchicalPolicyConfig,
    clip_frames: usize,
) -> MemoryEstimate {
    let frames = (config.crop * clip_frames as f64).ceil() as u64;
    let parts = rayon::current_num_threads().min(config.batch_pairs.div_ceil(PART_PAIRS));
    let (slots, codebook) = (policy.layout.slots_per_frame() as u64, policy.layout.codebook_max() as u64);
    let (global, local) = (TransformerShape::from(&policy.global.transformer()), &policy.local.transformer());
    let local = TransformerShape::from(local);
    let sequences = (2 * PART_PAIRS * parts) as u64;
    let tables = slots.saturating_mul(codebook).saturating_mul(global.width.saturating_add(local.width));
    let parameters = global.parameters().saturating_add(local.parameters()).saturating_add(tables);
    // Average and best weights beside what every training has.
    let kept = parameters.saturating_mul(2).saturating_mul(config.members as u64);
    MemoryEstimate::new()
        .with_floats("frame activations", global.training_floats(sequences, frames))
        .with_floats("slot activations", local.training_floats(sequences.saturating_mul(frames), slots))
        .with_trained("preference models", parameters.saturating_mul(config.members as u64))
        .with_floats("averages", kept)
}

/// Direct preference optimisation on clips of up to `clip_frames` frames: two clips a pair, the policy and its reference. No
/// more parts of a batch exist at once than there are threads.
#[must_use]
pub fn dpo(config: &DpoConfig, policy: &HierarchicalPolicyConfig, clip_frames: usize) -> MemoryEstimate {
    let parts = rayon::current_num_threads().min(config.batch_pairs.div_ceil(DPO_PART_PAIRS));
    let clips = (2 * DPO_PART_PAIRS * parts) as u64;
    let (slots, codebook) = (policy.layout.slots_per_frame() as u64, policy.layout.codebook_max() as u64);
    let (global, local) = (policy.global.transformer(), policy.local.transformer());
    let weights =
        TransformerShape::from(&global).parameters().saturating_add(TransformerShape::from(&local).parameters());
    policy_stacks(&global, &local, clips, clip_frames as u64, slots, codebook).with_frozen("reference", weights)
}

/// Training of the fine stage.
#[must_use]
pub fn fine(config: &FineTrainingConfig) -> MemoryEstimate {
    let model = &config.model;
    let shape = TransformerShape {
        layers: model.layers as u64,
        width: model.width as u64,
        ff_width: model.ff_width as u64,
        heads: model.heads as u64,
    };
    let frames = product(&[config.crop_frames, model.frames_per_semantic]);
    let clips = config.batch_crops as u64;
    let tables = product(&[model.quantisers, model.entries, model.width]).saturating_mul(2);
    let logits = clips.saturating_mul(frames).saturating_mul(model.entries as u64);
    MemoryEstimate::new()
        .with_floats("activations", shape.training_floats(clips, frames))
        .with_floats("logits", logits.saturating_mul(LOGIT_TENSORS))
        .with_trained("fine stage", shape.parameters().saturating_add(tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_shipped_presets_fit_a_small_machine_and_a_huge_batch_does_not() {
        let base = CodecTrainingConfig::base(100);
        assert!(codec(&base).total_bytes() < 4 * GIB, "{:?}", codec(&base));
        assert!(codec(&base).total_bytes() > 20 * MIB);
        let huge = CodecTrainingConfig { batch_clips: 1 << 16, crop_frames: 1 << 12, ..base };
        assert!(codec(&huge).check(1024 * GIB).is_err());
        assert!(semantic(&SemanticTrainingConfig::base()).total_bytes() < GIB);
        assert!(fine(&FineTrainingConfig::base()).total_bytes() < 2 * GIB);
        let (model, settings) = (QualityConfig::base(), QualityTrainingConfig::default());
        assert!(quality(&model, &settings).total_bytes() < 2 * GIB, "{:?}", quality(&model, &settings));
        let huge = QualityTrainingConfig { batch_clips: 1 << 16, crop_seconds: 600.0, ..settings };
        assert!(quality(&model, &huge).check(1024 * GIB).is_err(), "{:?}", quality(&model, &huge));
    }

    #[test]
    fn a_policy_grows_with_its_batch() {
        let vocabulary = Vocabulary {
            semantic_entries: 128,
            acoustic_entries: 256,
            frame_rate_hz: 12.5,
            condition_slots: 6,
            condition_entries: 64,
        };
        let one = PolicyTrainingConfig { batch_clips: 8, ..PolicyTrainingConfig::base(100) };
        let two = PolicyTrainingConfig { batch_clips: 16, ..one.clone() };
        let (one, two) = (policy(&one, &vocabulary), policy(&two, &vocabulary));
        assert!(two.total_bytes() < 4 * GIB, "{two:?}");
        let weights = |estimate: &MemoryEstimate| estimate.parts().last().map_or(0, |(_, bytes)| *bytes);
        assert_eq!(weights(&one), weights(&two));
        assert_eq!(two.total_bytes() - weights(&two), 2 * (one.total_bytes() - weights(&one)));
    }
}
