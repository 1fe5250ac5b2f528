//! A reward of one's own: a judge that likes low notes aligns a small hierarchical policy, held by the exact KL.
//!
//! `cargo run --release -p musicrl-core --example own_reward`
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Bool, Device, Tensor};
use musicrl_core::Result;
use musicrl_core::nn::FeedForward;
use musicrl_core::policy::{ConditionPrompt, HierarchicalPolicyConfig, Policy, StackConfig, frames_from_tokens};
use musicrl_core::random::{Key, Purpose};
use musicrl_core::reward::{Clip, Reward, Score};
use musicrl_core::rl::{self, Actions, ChunkLogits, Normalisation, Objective};
use musicrl_core::sampling::{GenerationRequest, SamplingConfig, generate};
use musicrl_core::tokens::{Slot, StreamKind, TokenLayout, Tokens};

/// Scores a clip by the share of its tokens in the lower half of the codebook.
struct LowNotes;

impl Reward for LowNotes {
    fn name(&self) -> &str {
        "low notes"
    }
    fn hears_audio(&self) -> bool {
        false
    }
    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
        let low = |clip: &Clip<'_>| match clip.tokens.ids {
            [] => Score::Unscorable("an empty clip".into()),
            ids => Score::Value(ids.iter().filter(|id| **id < 4).count() as f64 / ids.len() as f64),
        };
        Ok(clips.iter().map(low).collect())
    }
}

/// Aligns and gives the mean reward before and after.
pub fn align() -> Result<(f32, f32)> {
    let (clips, frames) = (16, 8);
    let slots = vec![Slot { stream: StreamKind::Acoustic, codebook: 8 }; 2];
    let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 32, feed_forward: FeedForward::Gelu };
    let config = HierarchicalPolicyConfig {
        layout: TokenLayout { slots, frame_rate_hz: 12.5 },
        global: stack.clone(),
        local: stack,
        condition_slots: 1,
        condition_codebook: 4,
    };
    let device = Device::flex().autodiff();
    let mut policy = config.init(Key::new(1, Purpose::Init), &device)?;
    let reference = policy.valid();
    let prompt = ConditionPrompt::new((0..clips as u32).map(|clip| Some(vec![clip % 4])).collect());
    let sampling = SamplingConfig::default();
    let objective = Objective { alpha: 0.02, normalisation: Normalisation::default() };
    let mut optimiser = AdamConfig::new().init();
    let mut means = [0.0; 2];
    for step in 0..40 {
        // Generate and judge.
        let request = GenerationRequest::consecutive(sampling.clone(), frames, (7, step), 0, clips);
        let samples = generate(&policy, &prompt, &request, &mut |_| ())?;
        let tokens: Vec<Tokens> = samples.into_iter().map(|sample| sample.tokens).collect();
        let judged: Vec<Clip<'_>> =
            tokens.iter().map(|tokens| Clip { caption: "low", tokens: tokens.view(), audio: None }).collect();
        let scores = LowNotes.score(&judged)?;
        let rewards: Vec<f32> = scores.iter().map(|score| score.value().unwrap_or_default() as f32).collect();
        means[usize::from(step > 0)] = rewards.iter().sum::<f32>() / clips as f32;

        // Learn: exact KL to the reference, one chunk of frames at a time.
        let plain = device.clone().inner();
        let mask = Tensor::<2, Bool>::full([clips, frames * 2], true, &plain);
        let rewards = Tensor::<1>::from_data(rewards.as_slice(), &plain);
        let returns = rl::returns_to_go(&rl::rewards_at_end(&rewards, &mask)?, &mask)?;
        let advantages = rl::leave_one_out_advantages(&returns, &mask, clips)?;
        let ids = frames_from_tokens(policy.layout(), &tokens, &device)?;
        let hidden = policy.hidden(&prompt, ids.clone())?;
        let hidden_before = reference.hidden(&prompt, ids.clone().inner())?;
        let actions = Actions { ids, mask: Tensor::full([clips, frames, 2], true, &device) };
        let logits = |range: core::ops::Range<usize>| {
            let part = |hidden: &Tensor<4>| hidden.clone().narrow(1, range.start, range.len());
            let after = sampling.temper(policy.head(part(&hidden)), None)?;
            let before = sampling.temper(reference.head(part(&hidden_before)), None)?;
            Ok(ChunkLogits { policy: after, reference: Some(Tensor::from_inner(before)) })
        };
        let loss = rl::reinforce_loss_chunked(&actions, &advantages, &objective, 4, logits)?.loss;
        let gradients = GradientsParams::from_grads(loss.backward(), &policy);
        policy = optimiser.step(0.01, policy, gradients);
    }
    Ok(means.into())
}

fn main() -> Result<()> {
    let (before, after) = align()?;
    println!("mean reward: {before:.2} before, {after:.2} after");
    Ok(())
}
