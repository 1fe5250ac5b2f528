use burn::tensor::Device;
use musicrl_core::{
    nn::FeedForward,
    policy::{HierarchicalPolicy, HierarchicalPolicyConfig, Policy as _, StackConfig},
    preference::{Judgement, Outcome},
    random::{Key, Purpose},
    tokens::{Interleave, Tokens},
};

use super::*;
use crate::{
    optim::AdamWConfig,
    preference::{PreferenceData, clips::PreferenceClip},
    training::Training as _,
};

fn policy() -> HierarchicalPolicy {
    let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 32, feed_forward: FeedForward::Gelu };
    HierarchicalPolicyConfig {
        layout: Interleave { coarse_levels: 1 }.layout(6, 6, 12.5).unwrap(),
        global: stack.clone(),
        local: stack,
        condition_slots: 1,
        condition_codebook: 4,
    }
    .init(Key::new(1, Purpose::Init), &Device::flex())
    .unwrap()
}

/// Clips of four frames; those with more zeros are preferred.
fn pairs(seed: u64, count: usize) -> Vec<DpoPair> {
    let mut random = Key::new(seed, Purpose::Test).stream();
    let mut clip = |zeros: f64| {
        let ids = (0..12).map(|_| if random.chance(zeros) { 0 } else { random.below(6) as u32 }).collect();
        Tokens::new(ids, 3).unwrap()
    };
    (0..count).map(|_| DpoPair { condition: Some(vec![1]), chosen: clip(0.6), rejected: clip(0.0) }).collect()
}

fn training() -> DpoTraining {
    let config = DpoConfig {
        batch_pairs: 4,
        optimiser: AdamWConfig { learning_rate: 5e-3, weight_decay: 0.0, ..AdamWConfig::default() },
        ..DpoConfig::default()
    };
    DpoTraining::new(config, (pairs(1, 16), pairs(2, 16)), &policy(), 1, &Device::flex()).unwrap()
}

#[test]
fn it_begins_at_chance_and_learns_what_was_preferred() {
    let mut training = training();
    let first = training.evaluate(0).unwrap();
    assert!(first.get("kl").unwrap().abs() < 1e-4 && first.get("entropy").unwrap() > 0.1, "{first:?}");
    assert!((first.get("loss").unwrap() - std::f64::consts::LN_2).abs() < 1e-5, "{first:?}");
    assert!(first.get("margin").unwrap().abs() < 1e-5);
    for step in 0..12 {
        training.step(step).unwrap();
    }
    let last = training.evaluate(12).unwrap();
    assert!(last.get("accuracy").unwrap() > 0.85 && last.get("loss").unwrap() < 0.5, "{last:?}");
    assert!(last.get("kl").unwrap() > 0.01, "{last:?}");
    let margins = training.held_out_margins().unwrap();
    let mean = margins.iter().sum::<f64>() / margins.len() as f64;
    assert!((mean - last.get("margin").unwrap()).abs() < 1e-9 && margins.len() == 16);
}

#[test]
fn a_resumed_training_goes_on_to_the_same_bytes() {
    let mut straight = training();
    let mut stopped = training();
    for step in 0..4 {
        straight.step(step).unwrap();
        if step < 2 {
            stopped.step(step).unwrap();
        }
    }
    let mut resumed = training();
    resumed.restore(&stopped.state().unwrap()).unwrap();
    for step in 2..4 {
        resumed.step(step).unwrap();
    }
    assert_eq!(resumed.state().unwrap(), straight.state().unwrap());
}

#[test]
fn pairs_of_several_lengths_go_through_by_length() {
    let mut mixed = pairs(1, 6);
    for pair in mixed.iter_mut().skip(1).step_by(2) {
        for clip in [&mut pair.chosen, &mut pair.rejected] {
            *clip = Tokens::new(clip.ids[..6].to_vec(), 3).unwrap();
        }
    }
    let margins = |pairs: Vec<DpoPair>| {
        let mut training =
            DpoTraining::new(DpoConfig::default(), (pairs.clone(), pairs), &policy(), 1, &Device::flex()).unwrap();
        training.step(0).unwrap();
        training.held_out_margins().unwrap()
    };
    assert_eq!(margins(mixed).len(), 6);
}

/// Clips of two frames and of three, judged in every way, of four captions.
fn judged() -> PreferenceData {
    let clip = |at: usize| {
        let ids = vec![(at % 6) as u32; 3 * (2 + at % 2)];
        let clip = PreferenceClip {
            condition: Some(vec![(at / 4) as u32]),
            tokens: Tokens::new(ids, 3).unwrap(),
            descriptors: None,
        };
        (format!("caption {}", at / 4), clip)
    };
    let outcomes = [Outcome::BetterA, Outcome::Tie, Outcome::BetterB, Outcome::BetterA];
    let judgements: Vec<(usize, usize, Judgement)> =
        (0..8).map(|pair| (2 * pair, 2 * pair + 1, Judgement::from(outcomes[pair % 4]))).collect();
    PreferenceData::new(policy().layout(), (0..16).map(clip).collect(), &judgements).unwrap()
}

#[test]
fn decided_pairs_of_one_length_are_taken_and_the_rest_is_counted() {
    let all = DpoConfig { held_out_share: 0.0, ..DpoConfig::default() };
    let data = DpoData::new(&judged(), &all).unwrap();
    assert_eq!((data.learning.len(), data.held_out.len(), data.undecided, data.cut), (6, 0, 2, 6));
    assert_eq!(data.frames_max(), 2);
    // Pair 2 is of clips 4 and 5, and 5 was preferred.
    assert_eq!((data.learning[1].chosen.ids[0], data.learning[1].rejected.ids[0]), (5, 4));
    assert_eq!(data.learning[1].condition, Some(vec![1]));
    assert!(data.report(&[], &all, 1).unwrap().is_none());

    let half = DpoConfig { held_out_share: 0.5, ..DpoConfig::default() };
    let data = DpoData::new(&judged(), &half).unwrap();
    assert_eq!(data.learning.len() + data.held_out.len(), 6);
    // A margin is the preferred clip's less the other's, whichever was offered first.
    let right = data.report(&vec![2.0; data.held_out.len()], &half, 1).unwrap().unwrap();
    assert_eq!((right.accuracy.unwrap().estimate, right.pairs), (1.0, data.held_out.len()));
    let wrong = data.report(&vec![-2.0; data.held_out.len()], &half, 1).unwrap().unwrap();
    assert_eq!(wrong.accuracy.unwrap().estimate, 0.0);
    assert!(wrong.log_loss.estimate > right.log_loss.estimate);
}

#[test]
fn bad_settings_and_pairs_are_refused() {
    let make = |config: DpoConfig, pairs: Vec<DpoPair>| {
        DpoTraining::new(config, (pairs, Vec::new()), &policy(), 1, &Device::flex()).unwrap_err().to_string()
    };
    let check = |config: DpoConfig, expected: &str| {
        let error = make(config, pairs(1, 1));
        assert!(error.contains(expected), "{error}");
    };
    check(DpoConfig { beta: 0.0, ..DpoConfig::default() }, "beta");
    check(DpoConfig { temperature: f64::NAN, ..DpoConfig::default() }, "temperature");
    check(DpoConfig { batch_pairs: 0, ..DpoConfig::default() }, "batch_pairs");
    check(DpoConfig { held_out_share: 1.0, ..DpoConfig::default() }, "held_out_share");
    check(DpoConfig { trainable: vec!["nothing".into()], ..DpoConfig::default() }, "trainable");
    assert!(make(DpoConfig::default(), Vec::new()).contains("pairs"));
    let mut short = pairs(1, 1);
    short[0].rejected = Tokens::new(vec![0; 9], 3).unwrap();
    assert!(make(DpoConfig::default(), short).contains("one length"));
    let mut wrong = pairs(1, 1);
    wrong[0].rejected = Tokens::new(vec![6; 12], 3).unwrap();
    assert!(make(DpoConfig::default(), wrong).contains('6'));
}
