//! Pretraining of the policy: next-token prediction on a corpus's tokens, conditioned on the audio's own embedding
//! tokens, and for a share of the clips on those of a caption.

use burn::{
    module::Module as _,
    tensor::{Device, Int, Tensor, activation::log_softmax},
};
use musicrl_core::{
    nn::FeedForward,
    params::{self, ParamTable, Storage},
    policy::{
        ConditionPrompt, HierarchicalPolicy, HierarchicalPolicyConfig, Policy as _, StackConfig, frames_from_tokens,
    },
    random::{Key, Purpose},
    tokens::{Interleave, TokenLayout, Tokens},
};
use musicrl_rewards::EmbeddingQuantiser;
use serde::{Deserialize, Serialize};

use super::geometry::project_conditions;
use crate::{
    Error, Result,
    corpus::Split,
    optim::{AdamW, AdamWConfig},
    parallel::sum_gradients,
    token_set::TokenSet,
    training::{Files, Metrics, Training},
};

/// Settings of [`PolicyTraining`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTrainingConfig {
    /// The transformer over frames.
    pub global: StackConfig,
    /// The transformer over the slots of a frame.
    pub local: StackConfig,
    /// Acoustic levels that the policy plays; the fine stage adds the others.
    pub coarse_levels: usize,
    /// Length of the clips, in seconds.
    pub clip_seconds: f64,
    /// Clips a step.
    pub batch_clips: usize,
    /// Share of clips that are learned without their condition, for guidance.
    pub null_share: f64,
    /// Share of the conditioned clips whose condition is made from one of their captions, as at generation, and not from
    /// their audio. Where the embedding is small its two towers agree in their first tokens only, and a policy that has
    /// met audio tokens alone takes a caption's for noise. 0 learns from audio alone, as MusicLM does.
    pub caption_share: f64,
    /// Share of condition tokens that are replaced by random ones: the caption's tokens at generation are not the
    /// audio's own either.
    pub noise_share: f64,
    /// Clips of an evaluation, from the held-out part.
    pub evaluation_clips: usize,
    /// The optimiser.
    pub optimiser: AdamWConfig,
}

impl PolicyTrainingConfig {
    /// The shipped base's: 5 slots of 80 ms, clips of 6.4 s.
    #[must_use]
    pub fn base(steps: u64) -> Self {
        Self {
            global: StackConfig { width: 192, layers: 4, heads: 6, ff_width: 576, feed_forward: FeedForward::Gelu },
            local: StackConfig { width: 128, layers: 2, heads: 4, ff_width: 384, feed_forward: FeedForward::Gelu },
            coarse_levels: 2,
            clip_seconds: 6.4,
            batch_clips: 16,
            null_share: 0.1,
            caption_share: 0.5,
            noise_share: 0.05,
            evaluation_clips: 64,
            optimiser: AdamWConfig {
                learning_rate: 2e-3,
                weight_decay: 0.05,
                warmup_steps: 40,
                decay_steps: steps,
                ..AdamWConfig::default()
            },
        }
    }

    /// For real recordings on a small machine: 9 slots of 40 ms.
    #[must_use]
    pub fn small(steps: u64) -> Self {
        Self {
            global: StackConfig { width: 256, layers: 4, heads: 8, ff_width: 768, feed_forward: FeedForward::Gelu },
            coarse_levels: 4,
            clip_seconds: 5.12,
            batch_clips: 8,
            ..Self::base(steps)
        }
    }

    /// The published sizes: 9 slots of 40 ms, clips of 30 s; for machines with an accelerator.
    #[must_use]
    pub fn published(steps: u64) -> Self {
        Self {
            global: StackConfig { width: 1024, layers: 24, heads: 16, ff_width: 4096, feed_forward: FeedForward::Gelu },
            local: StackConfig { width: 512, layers: 6, heads: 8, ff_width: 2048, feed_forward: FeedForward::Gelu },
            coarse_levels: 4,
            clip_seconds: 30.0,
            caption_share: 0.0,
            optimiser: AdamWConfig {
                learning_rate: 3e-4,
                warmup_steps: 2_000,
                decay_steps: steps,
                ..AdamWConfig::default()
            },
            ..Self::base(steps)
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.global.transformer().validate()?;
        self.local.transformer().validate()?;
        self.optimiser.validate("optimiser")?;
        let rules = [
            ("coarse_levels", self.coarse_levels > 0, "at least 1", self.coarse_levels as f64),
            ("clip_seconds", self.clip_seconds.is_finite() && self.clip_seconds > 0.0, "above 0", self.clip_seconds),
            ("batch_clips", self.batch_clips > 0, "at least 1", self.batch_clips as f64),
            ("null_share", (0.0..1.0).contains(&self.null_share), "in [0, 1)", self.null_share),
            ("caption_share", (0.0..=1.0).contains(&self.caption_share), "in [0, 1]", self.caption_share),
            ("noise_share", (0.0..=1.0).contains(&self.noise_share), "in [0, 1]", self.noise_share),
            ("evaluation_clips", self.evaluation_clips > 0, "at least 1", self.evaluation_clips as f64),
        ];
        match rules.into_iter().find(|(_, holds, ..)| !holds) {
            Some((field, _, rule, got)) => Err(Error::config(field, rule, got)),
            None => Ok(()),
        }
    }
}

/// Sizes that the other models fix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vocabulary {
    /// Entries of the semantic codebook.
    pub semantic_entries: usize,
    /// Entries of each acoustic codebook.
    pub acoustic_entries: usize,
    /// Frames of the policy a second.
    pub frame_rate_hz: f64,
    /// Condition tokens a clip.
    pub condition_slots: usize,
    /// Entries of each condition slot.
    pub condition_entries: usize,
}

/// Clips that go through the network together, on one thread.
const PART_CLIPS: usize = 4;

/// Next-token prediction with AdamW.
#[derive(Debug)]
pub struct PolicyTraining {
    config: PolicyTrainingConfig,
    policy: HierarchicalPolicy,
    optimiser: AdamW,
    learning: Vec<Piece>,
    held_out: Vec<Piece>,
    unigram_bits: f64,
    condition_entries: usize,
    seed: u64,
    device: Device,
}

#[derive(Debug, Clone)]
struct Piece {
    tokens: Tokens,
    condition: Vec<u32>,
    captions: Vec<Vec<u32>>,
}

impl PolicyTraining {
    /// A fresh policy and its data. Its condition embeddings begin as a random projection of `conditions`, the quantiser
    /// whose tokens they stand for, so that conditions that are near each other look alike from the first step on.
    ///
    /// # Errors
    /// For bad settings, or when a part of the corpus has no pieces.
    pub fn new(
        config: PolicyTrainingConfig,
        vocabulary: Vocabulary,
        conditions: &EmbeddingQuantiser,
        set: &TokenSet,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let layout = Interleave { coarse_levels: config.coarse_levels }.layout(
            vocabulary.semantic_entries,
            vocabulary.acoustic_entries,
            vocabulary.frame_rate_hz,
        )?;
        let pieces = |split: Split| -> Result<Vec<Piece>> {
            let indices = set.split(split);
            if indices.is_empty() {
                let expected = format!("a corpus with clips of {} s in its {} part", config.clip_seconds, split.name());
                return Err(Error::config("corpus", expected, "none"));
            }
            indices
                .into_iter()
                .map(|index| {
                    let item = &set.items[index];
                    let tokens = set.policy_frames(item, config.coarse_levels)?;
                    layout.check_clip(index, &tokens)?;
                    Ok(Piece { tokens, condition: item.condition.clone(), captions: item.captions.clone() })
                })
                .collect()
        };
        let (learning, held_out) = (pieces(Split::Train)?, pieces(Split::HeldOut)?);
        let unigram_bits = unigram_bits(&layout, &learning, &held_out);
        let policy_config = HierarchicalPolicyConfig {
            layout,
            global: config.global.clone(),
            local: config.local.clone(),
            condition_slots: vocabulary.condition_slots,
            condition_codebook: vocabulary.condition_entries,
        };
        let device = device.clone().autodiff();
        let key = Key::new(seed, Purpose::Init);
        let policy = project_conditions(policy_config.init(key, &device)?, conditions, key.step(1))?;
        let parameters = ParamTable::collect(&policy).values().len();
        let optimiser = AdamW::new(config.optimiser.clone(), parameters);
        let condition_entries = vocabulary.condition_entries;
        Ok(Self { config, policy, optimiser, learning, held_out, unigram_bits, condition_entries, seed, device })
    }

    /// The policy as it is now, on a plain device.
    #[must_use]
    pub fn policy(&self) -> HierarchicalPolicy {
        self.policy.valid()
    }

    /// Pieces to learn from, and held-out ones.
    #[must_use]
    pub fn pieces(&self) -> (usize, usize) {
        (self.learning.len(), self.held_out.len())
    }

    /// Bits a held-out token costs under the frequencies of each slot in the training part.
    #[must_use]
    pub fn unigram_bits(&self) -> f64 {
        self.unigram_bits
    }

    /// The pieces of a step: epochs in a new order each, so that every piece comes once before one comes twice.
    fn batch(&self, step: u64) -> Vec<usize> {
        let count = self.learning.len();
        let first = step as usize * self.config.batch_clips;
        let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
        (first..first + self.config.batch_clips)
            .map(|position| {
                let epoch = position / count;
                if order.0 != epoch {
                    let mut indices: Vec<usize> = (0..count).collect();
                    Key::new(self.seed, Purpose::Batch).step(epoch as u64).stream().shuffle(&mut indices);
                    order = (epoch, indices);
                }
                order.1[position % count]
            })
            .collect()
    }

    fn condition(&self, piece: &Piece, step: u64, clip: usize) -> Option<Vec<u32>> {
        let mut random = Key::new(self.seed, Purpose::Mask).step(step).clip(clip as u64).stream();
        if random.chance(self.config.null_share) {
            return None;
        }
        let caption = random.chance(self.config.caption_share).then(|| random.pick(&piece.captions)).flatten();
        let noisy = caption.unwrap_or(&piece.condition).iter().map(|token| {
            if random.chance(self.config.noise_share) { random.below(self.condition_entries) as u32 } else { *token }
        });
        Some(noisy.collect())
    }
}

/// Negative log-likelihood in nats, mean over all tokens.
fn negative_log_likelihood(
    policy: &HierarchicalPolicy,
    prompt: &ConditionPrompt,
    frames: Tensor<3, Int>,
) -> Result<Tensor<1>> {
    let dims = frames.dims();
    let logits = policy.logits(prompt, frames.clone())?;
    let [clips, time, slots] = dims;
    let log_probs = log_softmax(logits, 3);
    let taken = log_probs.gather(3, frames.reshape([clips, time, slots, 1]));
    Ok(taken.mean().neg())
}

/// Cost of the held-out tokens under each slot's frequencies, with one added to every count.
fn unigram_bits(layout: &TokenLayout, learning: &[Piece], held_out: &[Piece]) -> f64 {
    let slots = layout.slots_per_frame();
    let mut counts: Vec<Vec<f64>> = layout.slots.iter().map(|slot| vec![1.0; slot.codebook]).collect();
    for piece in learning {
        for (at, id) in piece.tokens.ids.iter().enumerate() {
            counts[at % slots][*id as usize] += 1.0;
        }
    }
    let totals: Vec<f64> = counts.iter().map(|counts| counts.iter().sum()).collect();
    let (mut bits, mut tokens) = (0.0, 0.0_f64);
    for piece in held_out {
        for (at, id) in piece.tokens.ids.iter().enumerate() {
            bits -= (counts[at % slots][*id as usize] / totals[at % slots]).log2();
            tokens += 1.0;
        }
    }
    bits / tokens.max(1.0)
}

const POLICY: &str = "policy.safetensors";
const OPTIMISER: &str = "policy-optimiser.bin";

/// The state of a training that has a policy and its optimiser, and nothing else.
pub(super) fn state_of(policy: &HierarchicalPolicy, optimiser: &AdamW) -> Result<Files> {
    let mut files = Files::new();
    files.insert(POLICY.into(), ParamTable::collect(policy).to_safetensors(Storage::F32)?);
    optimiser.save(OPTIMISER, &mut files);
    Ok(files)
}

/// Takes up what [`state_of`] gave.
pub(super) fn restore(policy: &mut HierarchicalPolicy, optimiser: &mut AdamW, files: &Files) -> Result<()> {
    let bytes = files.get(POLICY).map_or(&[][..], Vec::as_slice);
    let table = ParamTable::collect(policy).read_safetensors(bytes)?;
    *policy = table.apply(policy.clone())?;
    optimiser.load(OPTIMISER, files)
}

impl Training for PolicyTraining {
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let pieces: Vec<&Piece> = self.batch(step).into_iter().map(|index| &self.learning[index]).collect();
        let conditions: Vec<Option<Vec<u32>>> =
            pieces.iter().enumerate().map(|(clip, piece)| self.condition(piece, step, clip)).collect();
        let parts: Vec<_> = pieces.chunks(PART_CLIPS).zip(conditions.chunks(PART_CLIPS)).collect();
        let mut table = ParamTable::collect(&self.policy);
        let (gradient, nats) = sum_gradients(&self.policy, &table, &parts, |policy, _, (part, conditions)| {
            let tokens: Vec<Tokens> = part.iter().map(|piece| piece.tokens.clone()).collect();
            let frames = frames_from_tokens(policy.layout(), &tokens, &self.device)?;
            let share = part.len() as f64 / pieces.len() as f64;
            let loss = negative_log_likelihood(policy, &ConditionPrompt::new(conditions.to_vec()), frames)?;
            let loss = loss.mul_scalar(share);
            let gradients = loss.backward();
            Ok((params::gradients(policy, &gradients), f64::from(loss.inner().into_scalar::<f32>())))
        })?;
        let nats: f64 = nats.iter().sum();
        let update = self.optimiser.update(&mut table, &gradient)?;
        self.policy = table.apply(self.policy.clone())?;
        let mut metrics = Metrics::default();
        metrics.push("bits_per_token", nats / std::f64::consts::LN_2);
        metrics.push("grad_norm", update.grad_norm);
        metrics.push("learning_rate", update.learning_rate);
        metrics.push("skipped", self.optimiser.skipped() as f64);
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        state_of(&self.policy, &self.optimiser)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        restore(&mut self.policy, &mut self.optimiser, files)
    }

    /// `bits_per_token` on held-out clips with their conditions, `bits_per_token_caption` with a caption's tokens in their
    /// place (their own where a clip has no caption), `bits_per_token_null` without, `unigram_bits`, and `saved` = 1 -
    /// bits / unigram bits.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let policy = self.policy();
        let device = self.device.clone().inner();
        let pieces = &self.held_out[..self.held_out.len().min(self.config.evaluation_clips)];
        let (mut conditioned, mut captioned, mut null) = (0.0, 0.0, 0.0);
        for pieces in pieces.chunks(self.config.batch_clips) {
            let tokens: Vec<Tokens> = pieces.iter().map(|piece| piece.tokens.clone()).collect();
            let prompt = ConditionPrompt::new(pieces.iter().map(|piece| Some(piece.condition.clone())).collect());
            let frames = frames_from_tokens(policy.layout(), &tokens, &device)?;
            let bits = |prompt: &ConditionPrompt| -> Result<f64> {
                let nats = negative_log_likelihood(&policy, prompt, frames.clone())?.into_scalar::<f32>();
                Ok(f64::from(nats) / std::f64::consts::LN_2 * pieces.len() as f64)
            };
            conditioned += bits(&prompt)?;
            let captions = pieces.iter().map(|piece| Some(piece.captions.first().unwrap_or(&piece.condition).clone()));
            captioned += bits(&ConditionPrompt::new(captions.collect()))?;
            null += bits(&ConditionPrompt::unconditional(pieces.len()))?;
        }
        let count = pieces.len() as f64;
        let mut metrics = Metrics::default();
        metrics.push("bits_per_token", conditioned / count);
        metrics.push("bits_per_token_caption", captioned / count);
        metrics.push("bits_per_token_null", null / count);
        metrics.push("unigram_bits", self.unigram_bits);
        metrics.push("saved", 1.0 - conditioned / count / self.unigram_bits);
        Ok(metrics)
    }
}
