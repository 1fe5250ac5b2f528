//! Runs a policy, the objective and its gradient without the standard library: own panic handler, own allocator.
//!
//! Any dependency on std anywhere below makes the link fail with a second panic handler (E0152), which names it. The
//! binary then has to *run*: it generates clips, computes the KL-regularised REINFORCE loss and its gradient on flex,
//! and returns 0 when all of it is finite and says what it must.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{boxed::Box, format, vec, vec::Vec};
use burn::tensor::{Bool, Device, Tensor};
use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_int, c_void},
};
use musicrl_core::{
    Result,
    nn::FeedForward,
    params,
    policy::{ConditionPrompt, HierarchicalPolicyConfig, Policy, StackConfig, ValueNetwork, frames_from_tokens},
    random::{Key, Purpose},
    rl::{self, Actions, ChunkLogits, Normalisation, Objective},
    sampling::{GenerationRequest, SamplingConfig, generate},
    tokens::{Slot, StreamKind, TokenLayout, Tokens},
};

#[link(name = "c")]
#[link(name = "gcc_s")]
unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
    fn abort() -> !;
}

struct LibC;

// SAFETY: `aligned_alloc` wants a power of two, which `Layout` guarantees, and a multiple of it as size.
unsafe impl GlobalAlloc for LibC {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let layout = layout.pad_to_align();
        unsafe { aligned_alloc(layout.align().max(16), layout.size().next_multiple_of(16)).cast() }
    }
    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        unsafe { free(memory.cast()) }
    }
}

#[global_allocator]
static ALLOCATOR: LibC = LibC;

fn say(text: &str) {
    // SAFETY: pointer and length come from one string.
    unsafe { write(1, text.as_ptr().cast(), text.len()) };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say(&format!("{info}\n"));
    // SAFETY: ends the process.
    unsafe { abort() }
}

/// Named by code that was compiled to unwind; never called, since a panic aborts.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Called by the prebuilt `core` where it would unwind; never reached, since a panic aborts.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: ends the process.
    unsafe { abort() }
}

fn policy_objective_gradient() -> Result<Vec<f32>> {
    let (clips, frames) = (4, 6);
    let slot = |codebook| Slot { stream: StreamKind::Coarse, codebook };
    let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 24, feed_forward: FeedForward::SwiGlu };
    let config = HierarchicalPolicyConfig {
        layout: TokenLayout { slots: vec![slot(5), slot(9)], frame_rate_hz: 12.5 },
        global: stack.clone(),
        local: stack,
        condition_slots: 1,
        condition_codebook: 3,
    };
    let device = Device::flex().autodiff();
    let policy = config.init(Key::new(1, Purpose::Init), &device)?;
    let reference = config.init(Key::new(2, Purpose::Init), &Device::flex())?;
    let prompt = ConditionPrompt::new(vec![Some(vec![0]), Some(vec![1]), Some(vec![2]), None]);
    let request = GenerationRequest::consecutive(SamplingConfig::default(), frames, (3, 0), 0, clips);
    let samples = generate(&policy, &prompt, &request, &mut |_| ())?;
    let tokens: Vec<Tokens> = samples.into_iter().map(|sample| sample.tokens).collect();

    let ids = frames_from_tokens(policy.layout(), &tokens, &device)?;
    let values = ValueNetwork::from_policy(&policy)?.values(&prompt, ids.clone())?.inner();
    let mask = Tensor::<2, Bool>::full([clips, frames * 2], true, &Device::flex());
    let rewards = Tensor::<1>::from_data([1.0, 0.0, 0.5, -1.0], &Device::flex());
    let returns = rl::returns_to_go(&rl::rewards_at_end(&rewards, &mask)?, &mask)?;
    let advantages = rl::value_advantages(&returns, &values, &mask)?;
    let (after, before) = (policy.logits(&prompt, ids.clone())?, reference.logits(&prompt, ids.clone().inner())?);
    let actions = Actions { ids, mask: Tensor::full([clips, frames, 2], true, &device) };
    let objective = Objective { alpha: 0.1, normalisation: Normalisation::default() };
    let logits = |range: core::ops::Range<usize>| {
        let part = |logits: &Tensor<4>| logits.clone().narrow(1, range.start, range.len());
        Ok(ChunkLogits { policy: part(&after), reference: Some(Tensor::from_inner(part(&before))) })
    };
    let loss = rl::reinforce_loss_chunked(&actions, &advantages, &objective, 4, logits)?.loss;
    let mut numbers = vec![loss.clone().inner().into_scalar::<f32>()];
    numbers.extend(params::gradients(&policy, &loss.backward()));
    Ok(numbers)
}

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const u8) -> c_int {
    let text: Box<str> = match policy_objective_gradient() {
        Ok(numbers) if numbers.iter().all(|x| x.is_finite()) && numbers[1..].iter().any(|x| *x != 0.0) => {
            say(&format!("no_std: loss {}, {} gradients, all finite\n", numbers[0], numbers.len() - 1));
            return 0;
        }
        Ok(_) => "no_std: a loss or gradient is not finite, or all gradients are 0\n".into(),
        Err(error) => format!("no_std: {error}\n").into(),
    };
    say(&text);
    1
}
