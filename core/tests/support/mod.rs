//! Small policies and clips for the tests of this folder.
#![allow(dead_code, reason = "each test uses its own part")]

use burn::tensor::Device;
use musicrl_core::{
    nn::FeedForward,
    policy::{ConditionPrompt, HierarchicalPolicy, HierarchicalPolicyConfig, StackConfig},
    random::{Key, Purpose, Stream},
    tokens::{Slot, StreamKind, TokenLayout, Tokens},
};

/// The sizes of a small policy.
#[derive(Debug, Clone)]
pub struct Sizes {
    pub codebooks: Vec<usize>,
    pub frames: usize,
    pub clips: usize,
    pub condition: (usize, usize),
    pub layers: (usize, usize),
    pub heads: (usize, usize),
    pub head_widths: (usize, usize),
    pub feed_forward: FeedForward,
}

impl Sizes {
    /// Something of everything: different codebooks, a condition, two layers.
    pub fn mixed() -> Self {
        Self {
            codebooks: vec![5, 3, 9],
            frames: 6,
            clips: 4,
            condition: (2, 4),
            layers: (2, 2),
            heads: (2, 2),
            head_widths: (6, 4),
            feed_forward: FeedForward::Gelu,
        }
    }

    pub fn config(&self) -> HierarchicalPolicyConfig {
        let stack = |layers, heads, head_width| StackConfig {
            width: heads * head_width,
            layers,
            heads,
            ff_width: heads * head_width * 2 + 3,
            feed_forward: self.feed_forward,
        };
        let slot = |codebook: &usize| Slot { stream: StreamKind::Acoustic, codebook: *codebook };
        HierarchicalPolicyConfig {
            layout: TokenLayout { slots: self.codebooks.iter().map(slot).collect(), frame_rate_hz: 12.5 },
            global: stack(self.layers.0, self.heads.0, self.head_widths.0),
            local: stack(self.layers.1, self.heads.1, self.head_widths.1),
            condition_slots: self.condition.0,
            condition_codebook: self.condition.1,
        }
    }

    pub fn policy(&self, seed: u64, device: &Device) -> HierarchicalPolicy {
        let policy = self.config().init(Key::new(seed, Purpose::Init), device).expect("valid sizes");
        // Larger heads than a fresh policy's: a distribution that is far from uniform.
        let mut table = musicrl_core::params::ParamTable::collect(&policy);
        let heads: Vec<_> = table.entries().iter().filter(|entry| entry.name == "heads").cloned().collect();
        for entry in heads {
            table.values_mut()[entry.range()].iter_mut().for_each(|value| *value *= 4.0);
        }
        table.apply(policy).expect("same names")
    }

    /// A prompt in which every third clip has no condition.
    pub fn prompt(&self, stream: &mut Stream) -> ConditionPrompt {
        let (slots, codebook) = self.condition;
        let mut one = || (0..slots).map(|_| stream.below(codebook) as u32).collect();
        ConditionPrompt::new((0..self.clips).map(|clip| (clip % 3 != 2).then(&mut one)).collect())
    }

    pub fn tokens(&self, stream: &mut Stream) -> Vec<Tokens> {
        let mut clip = || {
            let ids = (0..self.frames).flat_map(|_| self.codebooks.iter());
            let ids = ids.map(|codebook| stream.below(*codebook) as u32).collect();
            Tokens::new(ids, self.codebooks.len()).expect("whole frames")
        };
        (0..self.clips).map(|_| clip()).collect()
    }
}
