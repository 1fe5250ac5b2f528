//! A bundle of tiny models with random weights, for tests that need no music.

use std::path::Path;

use burn::tensor::Device;
use musicrl_codec::neural::CodecConfig;
use musicrl_core::{
    nn::FeedForward,
    params::{Storage, reinitialise},
    policy::{HierarchicalPolicyConfig, StackConfig},
    random::{Key, Purpose},
    tokens::Interleave,
};
use musicrl_pipeline::bundle::{Bundle, part};
use musicrl_rewards::TextAudioConfig;

fn stack(width: usize) -> StackConfig {
    StackConfig { width, layers: 1, heads: 2, ff_width: 2 * width, feed_forward: FeedForward::Gelu }
}

/// Codec, embedding and policy; no fine stage, so that the path without one is walked too.
pub fn tiny_bundle(folder: &Path, seed: u64) {
    let device = Device::flex();
    let key = Key::new(seed, Purpose::Init);
    let mut bundle = Bundle::new();
    let codec = CodecConfig::base();
    let module = codec.init(&device, key).unwrap();
    bundle.set(part::CODEC, &codec, &reinitialise(module, key.step(1)), Storage::F32).unwrap();
    let text_audio = TextAudioConfig::base();
    bundle.set(part::TEXT_AUDIO, &text_audio, &text_audio.init_seeded(seed, &device).unwrap(), Storage::F32).unwrap();
    let policy = HierarchicalPolicyConfig {
        layout: Interleave { coarse_levels: 2 }.layout(128, 256, 12.5).unwrap(),
        global: stack(32),
        local: stack(32),
        condition_slots: text_audio.quantiser.levels,
        condition_codebook: text_audio.quantiser.entries,
    };
    bundle.set(part::POLICY, &policy, &policy.init(key.step(2), &device).unwrap(), Storage::F32).unwrap();
    bundle.set_clip_seconds(2.4);
    bundle.save(folder).unwrap();
}
