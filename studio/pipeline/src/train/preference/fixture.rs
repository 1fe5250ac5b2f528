//! Tiny policies and synthetic listeners for the tests of the preference model.

use burn::tensor::Device;
use musicrl_core::{
    nn::FeedForward,
    params::Storage,
    policy::{HierarchicalPolicyConfig, PreferenceModel, StackConfig},
    preference::{Judgement, Outcome, reference::log_outcomes},
    random::{Key, Purpose},
    tokens::{Slot, StreamKind, TokenLayout, Tokens},
};
use musicrl_rewards::descriptors;

use crate::{
    bundle::{Bundle, part},
    preference::{PreferenceClip, PreferenceData, PreferenceEnsemble},
};

pub(crate) fn layout() -> TokenLayout {
    let slot = |codebook| Slot { stream: StreamKind::Acoustic, codebook };
    TokenLayout { slots: vec![slot(4), slot(6)], frame_rate_hz: 12.5 }
}

pub(crate) fn policy() -> HierarchicalPolicyConfig {
    let stack = |width| StackConfig { width, layers: 1, heads: 2, ff_width: 24, feed_forward: FeedForward::Gelu };
    HierarchicalPolicyConfig {
        layout: layout(),
        global: stack(16),
        local: stack(16),
        condition_slots: 2,
        condition_codebook: 5,
    }
}

/// With a policy of random weights and nothing else.
pub(crate) fn bundle() -> Bundle {
    let mut bundle = Bundle::new();
    let model = policy().init(Key::new(7, Purpose::Init), &Device::flex()).unwrap();
    bundle.set(part::POLICY, &policy(), &model, Storage::F32).unwrap();
    bundle
}

pub(crate) fn ensemble(members: usize) -> PreferenceEnsemble {
    of_members(members, true)
}

pub(crate) fn ensemble_without_text(members: usize) -> PreferenceEnsemble {
    of_members(members, false)
}

fn of_members(members: usize, text: bool) -> PreferenceEnsemble {
    let key = |member: usize| Key::new(3, Purpose::Init).step(member as u64);
    let model = |member| PreferenceModel::init(&policy(), key(member), &Device::flex()).unwrap();
    PreferenceEnsemble::new((0..members).map(model).collect(), vec![0.5; members], text, None).unwrap()
}

/// Clips of 8 to 12 frames, each with a leaning of its own to token 0, and descriptors that say nothing of it.
pub(crate) fn clips(count: usize) -> Vec<PreferenceClip> {
    let clip = |clip: usize| {
        let mut random = Key::new(21, Purpose::Test).clip(clip as u64).stream();
        let (frames, leaning) = (8 + random.below(5), random.uniform());
        let mut token = |codebook: usize| if random.chance(leaning) { 0 } else { random.below(codebook) as u32 };
        let ids = (0..frames).flat_map(|_| [token(4), token(6)]).collect();
        let condition = Some(vec![clip as u32 % 5, clip as u32 % 3]);
        let descriptors = (0..descriptors::COUNT).map(|at| at as f64 + random.normal()).collect();
        PreferenceClip { condition, tokens: Tokens::new(ids, 2).unwrap(), descriptors: Some(descriptors) }
    };
    (0..count).map(clip).collect()
}

/// What the synthetic listener likes: the share of token 0 in the first slot.
pub(crate) fn utility(clip: &PreferenceClip) -> f64 {
    let zeros = clip.tokens.ids.iter().step_by(2).filter(|id| **id == 0).count();
    8.0 * zeros as f64 / clip.tokens.frames as f64
}

/// Choices by Davidson's model with the utility, of `pairs` pairs of a caption each; some ties, some less sure.
pub(crate) fn data(pairs: usize, seed: u64) -> PreferenceData {
    data_with(pairs, seed, utility)
}

pub(crate) fn data_with(pairs: usize, seed: u64, utility: impl Fn(&PreferenceClip) -> f64) -> PreferenceData {
    let clips = clips(2 * pairs);
    let judgement = |pair: usize| {
        let mut random = Key::new(seed, Purpose::Test).clip(pair as u64).stream();
        let difference = utility(&clips[2 * pair]) - utility(&clips[2 * pair + 1]);
        let [a, b, _] = log_outcomes(difference, 0.3).map(f64::exp);
        let u = random.uniform();
        let outcome = match () {
            () if u < a => Outcome::BetterA,
            () if u < a + b => Outcome::BetterB,
            () => Outcome::Tie,
        };
        let weight = if random.chance(0.3) { 0.3 } else { 1.0 };
        (2 * pair, 2 * pair + 1, Judgement { weight, ..outcome.into() })
    };
    let judgements: Vec<_> = (0..pairs).map(judgement).collect();
    // Two pairs a caption.
    let clips = clips.iter().enumerate().map(|(clip, it)| (format!("caption {}", clip / 4), it.clone())).collect();
    PreferenceData::new(&layout(), clips, &judgements).unwrap()
}
