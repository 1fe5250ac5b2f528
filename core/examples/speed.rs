//! Time of generation and of a teacher-forced pass, forward and backward, of a base-sized policy.
//!
//! `cargo run --release -p musicrl-core --example speed [gelu|swi-glu]`; the two have equally many parameters.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Instant;

use burn::tensor::{Device, activation::log_softmax};
use musicrl_core::{
    nn::FeedForward,
    params,
    policy::{ConditionPrompt, Decoder, HierarchicalPolicyConfig, Policy, StackConfig, frames_from_tokens},
    random::{Key, Purpose},
    sampling::{GenerationRequest, SamplingConfig, generate},
    tokens::{Slot, StreamKind, TokenLayout, Tokens},
};

const CLIPS: usize = 16;
const FRAMES: usize = 80;

fn main() -> musicrl_core::Result<()> {
    let slot = |stream, codebook| Slot { stream, codebook };
    let mut slots = vec![slot(StreamKind::Semantic, 128)];
    slots.extend([slot(StreamKind::Coarse, 256); 4]);
    let stack =
        |width, layers| StackConfig { width, layers, heads: 4, ff_width: 4 * width, feed_forward: FeedForward::Gelu };
    let config = HierarchicalPolicyConfig {
        layout: TokenLayout { slots, frame_rate_hz: 12.5 },
        global: stack(192, 4),
        local: stack(128, 2),
        condition_slots: 4,
        condition_codebook: 256,
    };
    let device = Device::flex();
    let key = Key::new(1, Purpose::Init);
    let policy = config.init(key, &device)?;
    println!("{} parameters", params::ParamTable::collect(&policy).values().len());
    let prompt = ConditionPrompt::new(vec![Some(vec![1, 2, 3, 4]); CLIPS]);

    let decode = |name: &str, mut decoder: Box<dyn Decoder>| -> musicrl_core::Result<()> {
        let start = Instant::now();
        for _ in 0..FRAMES * policy.layout().slots_per_frame() {
            decoder.logits()?;
            decoder.accept(&[0; CLIPS])?;
        }
        println!("decoding {name}, no sampling: {:.3} s", start.elapsed().as_secs_f64());
        Ok(())
    };
    for _ in 0..3 {
        decode("with tensors", Box::new(policy.tensor_decoder(&prompt, FRAMES)?))?;
        decode("packed", Box::new(policy.packed_decoder(&prompt, FRAMES)?))?;
    }

    let request = GenerationRequest::consecutive(SamplingConfig::default(), FRAMES, (1, 1), 0, CLIPS);
    for _ in 0..2 {
        let start = Instant::now();
        generate(&policy, &prompt, &request, &mut |_| ())?;
        println!("generation of {CLIPS} clips of {FRAMES} frames: {:.3} s", start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    let samples = generate(&policy, &prompt, &request, &mut |_| ())?;
    println!("again: {:.3} s", start.elapsed().as_secs_f64());

    let clips: Vec<Tokens> = samples.into_iter().map(|sample| sample.tokens).collect();
    let training = config.init(key, &device.clone().autodiff())?;
    for _ in 0..3 {
        let frames = frames_from_tokens(policy.layout(), &clips, &device.clone().autodiff())?;
        let start = Instant::now();
        let logits = training.logits(&prompt, frames.clone())?;
        let loss = log_softmax(logits, 3).gather(3, frames.unsqueeze_dim(3)).mean();
        let forward = start.elapsed().as_secs_f64();
        let gradients = params::gradients(&training, &loss.backward());
        let all = start.elapsed().as_secs_f64();
        println!("forward {forward:.3} s, with backward {all:.3} s, {} gradients", gradients.len());
    }
    Ok(())
}
