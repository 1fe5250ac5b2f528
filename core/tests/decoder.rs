//! Incremental and teacher-forced logits are one distribution.

mod support;

use burn::tensor::{Device, Int, Tensor, TensorData};
use musicrl_core::{
    Error,
    nn::FeedForward,
    policy::{ConditionPrompt, Decoder, PADDED, Policy, ValueNetwork, frames_from_tokens},
    random::{Key, Purpose},
    tokens::Tokens,
};
use proptest::prelude::*;
use support::Sizes;

/// Feeds `clips` to the decoder and gives the largest difference from the teacher-forced logits.
fn difference(sizes: &Sizes, decoder: &mut dyn Decoder, forced: &[f32], clips: &[Tokens]) -> Result<f32, Error> {
    let (slots, codebook) = (sizes.codebooks.len(), sizes.codebooks.iter().copied().max().unwrap_or(0));
    let mut largest = 0.0_f32;
    for action in 0..sizes.frames * slots {
        let logits = decoder.logits()?.to_vec();
        assert_eq!(logits.len(), sizes.clips * codebook);
        assert_eq!(decoder.logits()?, logits, "asking twice changes nothing");
        for (clip, row) in logits.chunks(codebook).enumerate() {
            let start = (clip * sizes.frames * slots + action) * codebook;
            for (id, (a, b)) in row.iter().zip(&forced[start..start + codebook]).enumerate() {
                if id < sizes.codebooks[action % slots] {
                    largest = largest.max((a - b).abs());
                } else {
                    assert!(*a <= PADDED / 2.0 && *b <= PADDED / 2.0, "padding has no probability");
                }
            }
        }
        decoder.accept(&clips.iter().map(|clip| clip.ids[action]).collect::<Vec<_>>())?;
    }
    assert!(decoder.logits().is_err(), "all frames are decoded");
    Ok(largest)
}

fn check(sizes: &Sizes, seed: u64, device: &Device) -> Result<(), Error> {
    let policy = sizes.policy(seed, device);
    let mut stream = Key::new(seed, Purpose::Test).stream();
    let prompt = sizes.prompt(&mut stream);
    let clips = sizes.tokens(&mut stream);
    let frames = frames_from_tokens(policy.layout(), &clips, device)?;
    let forced = policy.logits(&prompt, frames)?.into_data().try_to_vec::<f32>().unwrap_or_default();
    let own = difference(sizes, &mut *policy.decoder(&prompt, sizes.frames)?, &forced, &clips)?;
    let tensor = difference(sizes, &mut policy.tensor_decoder(&prompt, sizes.frames)?, &forced, &clips)?;
    assert!(own < 1e-4 && tensor < 1e-4, "{own} {tensor} {sizes:?}");
    Ok(())
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let pair = |a: core::ops::Range<usize>| (a.clone(), a);
    (
        prop::collection::vec(1_usize..20, 1..5),
        1_usize..7,
        1_usize..11,
        (0_usize..3, 1_usize..5),
        pair(1..3),
        pair(1..4),
        (pair(4..7), any::<bool>()),
    )
        .prop_map(|(codebooks, frames, clips, condition, layers, heads, (halves, gated))| Sizes {
            codebooks,
            frames,
            clips,
            condition,
            layers,
            heads,
            // Not narrower than 8: a norm over a few channels may divide by almost nothing and magnify rounding.
            head_widths: (2 * halves.0, 2 * halves.1),
            feed_forward: if gated { FeedForward::SwiGlu } else { FeedForward::Gelu },
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoder_and_teacher_forced_logits_agree(sizes in sizes(), seed in 0_u64..1000) {
        check(&sizes, seed, &Device::flex())?;
    }
}

#[test]
fn a_decoder_of_a_policy_in_training_agrees_too() -> Result<(), Error> {
    check(&Sizes::mixed(), 3, &Device::flex().autodiff())
}

#[test]
fn a_base_sized_policy_agrees() -> Result<(), Error> {
    let sizes = Sizes {
        codebooks: vec![128, 256, 256, 256, 256],
        frames: 12,
        clips: 3,
        condition: (4, 64),
        layers: (4, 2),
        heads: (4, 4),
        head_widths: (48, 32),
        feed_forward: FeedForward::Gelu,
    };
    check(&sizes, 5, &Device::flex())
}

#[test]
fn one_frame_of_one_slot_with_one_entry() -> Result<(), Error> {
    let sizes = Sizes { codebooks: vec![1], frames: 1, clips: 1, condition: (0, 0), ..Sizes::mixed() };
    check(&sizes, 1, &Device::flex())
}

#[test]
fn the_past_and_the_condition_matter_and_the_future_does_not() -> Result<(), Error> {
    let device = Device::flex();
    let sizes = Sizes { clips: 2, ..Sizes::mixed() };
    let policy = sizes.policy(7, &device);
    let prompt = ConditionPrompt::new(vec![Some(vec![0, 1]), Some(vec![2, 3])]);
    let clips = sizes.tokens(&mut Key::new(7, Purpose::Test).stream());
    let logits = |prompt: &ConditionPrompt, clips: &[Tokens]| -> Result<Vec<f32>, Error> {
        let logits = policy.logits(prompt, frames_from_tokens(policy.layout(), clips, &device)?)?;
        Ok(logits.into_data().try_to_vec::<f32>().unwrap_or_default())
    };
    let base = logits(&prompt, &clips)?;
    let (slots, codebook, actions) = (3, 9, 18);
    for action in 0..actions {
        let mut changed = clips.clone();
        let id = &mut changed[0].ids[action];
        *id = (*id + 1) % sizes.codebooks[action % slots] as u32;
        let other = logits(&prompt, &changed)?;
        let moved =
            |t: usize| (0..codebook).any(|id| (base[t * codebook + id] - other[t * codebook + id]).abs() > 1e-6);
        assert!((0..=action).all(|t| !moved(t)), "action {action} reaches back");
        assert!((action + 1..actions).all(moved), "action {action} is not seen by a later one");
        assert!((actions..2 * actions).all(|t| !moved(t)), "clips must not mix");
    }
    let other = logits(&ConditionPrompt::new(vec![None, Some(vec![2, 3])]), &clips)?;
    assert_ne!(base[..actions * codebook], other[..actions * codebook]);
    assert_eq!(base[actions * codebook..], other[actions * codebook..]);
    Ok(())
}

#[test]
fn a_decoder_refuses_what_does_not_fit() -> Result<(), Error> {
    let sizes = Sizes { clips: 2, ..Sizes::mixed() };
    let policy = sizes.policy(1, &Device::flex());
    let prompt = ConditionPrompt::unconditional(2);
    let mut decoders: [Box<dyn Decoder>; 2] =
        [policy.decoder(&prompt, 1)?, Box::new(policy.tensor_decoder(&prompt, 1)?)];
    for decoder in &mut decoders {
        assert!(decoder.accept(&[0, 0]).is_err(), "tokens before logits");
        decoder.logits()?;
        assert!(matches!(decoder.accept(&[0]), Err(Error::Shape { .. })));
        assert_eq!(decoder.accept(&[0, 5]), Err(Error::Token { at: (1, 0, 0), codebook: 5, got: 5 }));
        decoder.accept(&[0, 4])?;
    }
    assert!(policy.decoder(&ConditionPrompt::new(vec![Some(vec![0, 4])]), 1).is_err(), "unknown condition");
    assert!(policy.decoder(&ConditionPrompt::new(vec![Some(vec![0])]), 1).is_err(), "short condition");
    let frames = Tensor::<3, Int>::from_data(TensorData::new(vec![0_i64; 4], [1, 2, 2]), &Device::flex());
    assert!(matches!(policy.logits(&prompt, frames), Err(Error::Shape { .. })));
    Ok(())
}

#[test]
fn gradients_are_finite_and_nothing_flows_into_padding() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    let sizes = Sizes::mixed();
    let policy = sizes.policy(1, &device);
    let mut stream = Key::new(1, Purpose::Test).stream();
    let prompt = sizes.prompt(&mut stream);
    let frames = frames_from_tokens(policy.layout(), &sizes.tokens(&mut stream), &device)?;
    let logits = policy.logits(&prompt, frames.clone())?;
    let log_probabilities = burn::tensor::activation::log_softmax(logits, 3).gather(3, frames.unsqueeze_dim(3));
    let gradients = log_probabilities.sum().backward();
    let flat = musicrl_core::params::gradients(&policy, &gradients);
    assert!(flat.iter().all(|gradient| gradient.is_finite()));
    let table = musicrl_core::params::ParamTable::collect(&policy);
    for entry in table.entries() {
        let part = &flat[entry.range()];
        assert!(part.iter().any(|gradient| *gradient != 0.0), "{} learns", entry.name);
        if entry.name == "heads" {
            for (at, gradient) in part.iter().enumerate() {
                let (slot, id) = (at / (8 * 9), at % 9);
                assert!(id < sizes.codebooks[slot] || *gradient == 0.0, "padding of slot {slot}, entry {id}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_value_network_starts_at_zero_sees_the_past_only_and_shares_no_gradient() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    let sizes = Sizes { clips: 1, ..Sizes::mixed() };
    let policy = sizes.policy(2, &device);
    let network = ValueNetwork::from_policy(&policy)?;
    let clips = sizes.tokens(&mut Key::new(2, Purpose::Test).stream());
    let prompt = ConditionPrompt::new(vec![Some(vec![1, 1])]);
    let read = |network: &ValueNetwork, clips: &[Tokens]| -> Result<Vec<f32>, Error> {
        let values = network.values(&prompt, frames_from_tokens(policy.layout(), clips, &device)?)?;
        assert_eq!(values.dims(), [1, 18]);
        Ok(values.into_data().try_to_vec::<f32>().unwrap_or_default())
    };
    assert!(read(&network, &clips)?.iter().all(|value| *value == 0.0));

    let frames = frames_from_tokens(policy.layout(), &clips, &device)?;
    let values = network.values(&prompt, frames.clone())?;
    let loss = (values - 1.0).powi_scalar(2).sum() + policy.logits(&prompt, frames)?.narrow(3, 0, 1).sum();
    let gradients = loss.backward();
    let value_gradients = musicrl_core::params::gradients(&network, &gradients);
    let table = musicrl_core::params::ParamTable::collect(&network);
    let head = table.entries().iter().find(|entry| entry.name == "head").map(|entry| entry.range()).unwrap_or_default();
    assert!(value_gradients[head.clone()].iter().any(|gradient| *gradient != 0.0));
    assert!(
        value_gradients[..head.start].iter().all(|gradient| *gradient == 0.0),
        "the head is zero, so the trunk rests"
    );

    let mut moved = table.clone();
    moved.values_mut()[head].iter_mut().enumerate().for_each(|(i, value)| *value = 0.1 * (i as f32).sin());
    let network = moved.apply(network)?;
    let base = read(&network, &clips)?;
    let mut changed = clips.clone();
    changed[0].ids[7] = (changed[0].ids[7] + 1) % 3;
    let other = read(&network, &changed)?;
    assert_eq!(base[..8], other[..8], "V(s_t) is known before action t");
    assert!(base[8..].iter().zip(&other[8..]).all(|(a, b)| a != b));
    Ok(())
}
