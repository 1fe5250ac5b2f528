//! A policy of one's own, aligned: a table of bigrams learns to move in steps of one.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Bool, Device, Int, Tensor};
use musicrl_core::Result;
use musicrl_core::policy::{ConditionPrompt, Decoder, Policy, Prompt, frames_from_tokens};
use musicrl_core::rl::{self, Actions, ChunkLogits, Normalisation, Objective};
use musicrl_core::sampling::{GenerationRequest, SamplingConfig, generate};
use musicrl_core::tokens::{Slot, StreamKind, TokenLayout, Tokens};

const NOTES: usize = 8;
/// Row: the note before (the last row: none). Column: the next note.
#[derive(Module, Debug)]
struct Bigrams {
    table: Param<Tensor<2>>,
    #[module(skip)]
    layout: TokenLayout,
}
impl Policy for Bigrams {
    type Prompt = ConditionPrompt;
    fn layout(&self) -> &TokenLayout {
        &self.layout
    }
    /// Which note came before, as a one-hot vector: the head turns it into a row of the table.
    fn hidden(&self, _: &ConditionPrompt, frames: Tensor<3, Int>) -> Result<Tensor<4>> {
        let [clips, time, _] = frames.dims();
        let none = Tensor::full([clips, 1, 1], NOTES as i64, &frames.device());
        let before = Tensor::cat(vec![none, frames], 1).narrow(1, 0, time);
        Ok(before.one_hot::<4>(NOTES + 1).float())
    }
    fn head(&self, hidden: Tensor<4>) -> Tensor<4> {
        hidden.matmul(self.table.val().unsqueeze())
    }
    fn decoder(&self, prompt: &ConditionPrompt, _: usize) -> Result<Box<dyn Decoder>> {
        let table = self.table.val().into_data().iter::<f32>().collect();
        Ok(Box::new(BigramDecoder { table, before: vec![NOTES; prompt.clips()], logits: Vec::new() }))
    }
}

struct BigramDecoder {
    table: Vec<f32>,
    before: Vec<usize>,
    logits: Vec<f32>,
}
impl Decoder for BigramDecoder {
    fn logits(&mut self) -> Result<&[f32]> {
        self.logits = self.before.iter().flat_map(|note| self.table[note * NOTES..][..NOTES].to_vec()).collect();
        Ok(&self.logits)
    }
    fn accept(&mut self, tokens: &[u32]) -> Result<()> {
        self.before = tokens.iter().map(|id| *id as usize).collect();
        Ok(())
    }
}
/// The share of steps from a note to its neighbour.
fn reward(clip: &Tokens) -> f32 {
    clip.ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count() as f32 / (clip.frames - 1) as f32
}

/// Aligns and gives the mean reward before and after.
pub fn align() -> Result<(f32, f32)> {
    let (plain, device) = (Device::flex(), Device::flex().autodiff());
    let slots = vec![Slot { stream: StreamKind::Acoustic, codebook: NOTES }];
    let table = Param::from_tensor(Tensor::zeros([NOTES + 1, NOTES], &device));
    let mut policy = Bigrams { table, layout: TokenLayout { slots, frame_rate_hz: 4.0 } };
    let reference = policy.valid();
    let (prompt, sampling) = (ConditionPrompt::unconditional(32), SamplingConfig::plain());
    let mask = Tensor::<2, Bool>::full([32, 16], true, &plain);
    let objective = Objective { alpha: 0.01, normalisation: Normalisation::default() };
    let mut optimiser = AdamConfig::new().init();
    let mut means = [0.0; 2];
    for step in 0..60 {
        let request = GenerationRequest::consecutive(sampling.clone(), 16, (7, step), 0, 32);
        let samples = generate(&policy, &prompt, &request, &mut |_| ())?;
        let clips: Vec<Tokens> = samples.into_iter().map(|sample| sample.tokens).collect();
        let rewards: Vec<f32> = clips.iter().map(reward).collect();
        let rewards = Tensor::<1>::from_data(rewards.as_slice(), &plain);
        means[usize::from(step > 0)] = rewards.clone().mean().into_scalar();
        let returns = rl::returns_to_go(&rl::rewards_at_end(&rewards, &mask)?, &mask)?;
        let advantages = rl::leave_one_out_advantages(&returns, &mask, 32)?;
        let ids = frames_from_tokens(&policy.layout, &clips, &device)?;
        let after = policy.logits(&prompt, ids.clone())?;
        let before = Some(Tensor::from_inner(reference.logits(&prompt, ids.clone().inner())?));
        let actions = Actions { ids, mask: Tensor::full([32, 16, 1], true, &device) };
        let logits = |_| Ok(ChunkLogits { policy: after.clone(), reference: before.clone() });
        let loss = rl::reinforce_loss_chunked(&actions, &advantages, &objective, 16, logits)?.loss;
        policy = optimiser.step(0.1, policy.clone(), GradientsParams::from_grads(loss.backward(), &policy));
    }
    Ok(means.into())
}

fn main() -> Result<()> {
    let (before, after) = align()?;
    println!("share of steps of one: {before:.2} before, {after:.2} after");
    Ok(())
}
