//! Which clips stand in a batch, and what is done to their features.

use std::collections::{BTreeMap, BTreeSet};

use musicrl_core::random::{Key, Stream};
use musicrl_rewards::front_end::{Features, feature_of_power, power_of_feature};

use super::{Pairs, TextAudioTrainingConfig};

/// Clips that are looked at for one hard negative.
const CANDIDATES: usize = 8;

/// The clips of a corpus by what is known about them.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Each clip's attributes as sorted numbers.
    attributes: Vec<Vec<u32>>,
}

impl Facts {
    /// Reads the attributes of every clip.
    #[must_use]
    pub fn new(pairs: &dyn Pairs) -> Self {
        let mut numbers = BTreeMap::new();
        let mut attributes = Vec::with_capacity(pairs.len());
        for clip in 0..pairs.len() {
            let mut row: Vec<u32> = Vec::new();
            for fact in pairs.attributes(clip) {
                let next = numbers.len() as u32;
                row.push(*numbers.entry(fact).or_insert(next));
            }
            row.sort_unstable();
            attributes.push(row);
        }
        Self { attributes }
    }

    /// Number of facts that two clips share.
    #[must_use]
    pub fn shared(&self, a: usize, b: usize) -> usize {
        self.attributes[a].iter().filter(|fact| self.attributes[b].binary_search(fact).is_ok()).count()
    }

    /// Whether all facts of two clips are the same, and there are any.
    #[must_use]
    pub fn same(&self, a: usize, b: usize) -> bool {
        !self.attributes[a].is_empty() && self.attributes[a] == self.attributes[b]
    }

    /// Distinct clips for one step: some drawn uniformly, then for as many of those as `hard_share` asks for a clip
    /// that resembles it, the one of a few candidates that shares the most facts without sharing all. What such
    /// neighbours differ in is what the batch teaches.
    #[must_use]
    pub fn compose(&self, batch_pairs: usize, hard_share: f64, stream: &mut Stream) -> Vec<usize> {
        let clips = self.attributes.len();
        let size = batch_pairs.min(clips);
        let hard = ((size as f64 * hard_share) as usize).min(size / 2);
        let mut chosen = Vec::with_capacity(size);
        let mut taken = BTreeSet::new();
        while chosen.len() < size - hard {
            take(next_free(stream.below(clips), clips, &taken), &mut chosen, &mut taken);
        }
        for anchor in 0..hard {
            let anchor = chosen[anchor];
            let mut best: Option<(usize, usize)> = None;
            for _ in 0..CANDIDATES {
                let candidate = stream.below(clips);
                let shared = self.shared(anchor, candidate);
                let fits = !taken.contains(&candidate) && !self.same(anchor, candidate);
                if fits && best.is_none_or(|(most, _)| shared > most) {
                    best = Some((shared, candidate));
                }
            }
            let clip = best.map_or_else(|| next_free(stream.below(clips), clips, &taken), |(_, clip)| clip);
            take(clip, &mut chosen, &mut taken);
        }
        chosen
    }
}

/// The first clip from `start` on, around the end, that is not taken; there is one as long as a batch is no larger
/// than the corpus.
fn next_free(start: usize, clips: usize, taken: &BTreeSet<usize>) -> usize {
    (start..clips).chain(0..start).find(|clip| !taken.contains(clip)).unwrap_or(start)
}

fn take(clip: usize, chosen: &mut Vec<usize>, taken: &mut BTreeSet<usize>) {
    taken.insert(clip);
    chosen.push(clip);
}

/// Appends one window of a clip at a random place, louder or softer and sometimes with noise, to `out`. A clip that is
/// shorter than the window goes on in silence.
pub(super) fn push_window(
    features: &Features,
    window_frames: usize,
    config: &TextAudioTrainingConfig,
    stream: &mut Stream,
    out: &mut Vec<f32>,
) {
    let start = stream.below((features.frames() + 1).saturating_sub(window_frames).max(1));
    let gain_db = stream.between(-config.gain_db, config.gain_db);
    let gain = 10.0_f64.powf(gain_db / 10.0) as f32;
    let noise = if stream.chance(config.noise_share) {
        10.0_f64.powf(stream.between(config.noise_db_min, config.noise_db_max) / 10.0) as f32
    } else {
        0.0
    };
    let first = out.len();
    out.extend_from_slice(features.window(start, window_frames));
    out.resize(first + window_frames * features.bands(), feature_of_power(0.0));
    if noise > 0.0 {
        for chunk in out[first..].chunks_mut(4) {
            for (value, word) in chunk.iter_mut().zip(stream.words()) {
                // The power of a band of noise scatters about its mean: an exponential variable a value.
                let scatter = -((word as f32 + 1.0) / 4_294_967_296.0).ln();
                *value = feature_of_power(gain * power_of_feature(*value) + noise * scatter);
            }
        }
    } else {
        // A gain moves features by a constant, down to the floor.
        let (shift, floor) = (feature_of_power(gain) - feature_of_power(1.0), feature_of_power(0.0));
        out[first..].iter_mut().for_each(|value| *value = (*value + shift).max(floor));
    }
}

/// Sets aside each word of a caption with the given probability, so that no one word is needed; one word stays.
pub(super) fn drop_words<T: Clone>(words: &[T], share: f64, stream: &mut Stream) -> Vec<T> {
    let kept: Vec<T> = words.iter().filter(|_| !stream.chance(share)).cloned().collect();
    if kept.is_empty() { words.to_vec() } else { kept }
}

/// The stream of one clip's part in a step: independent of its place in the batch.
pub(super) fn clip_stream(key: Key, step: u64, clip: usize) -> Stream {
    key.step(step).clip(clip as u64).stream()
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;
    use musicrl_core::reward::AudioView;
    use musicrl_rewards::front_end::FrontEndConfig;
    use proptest::prelude::*;

    use super::*;
    use crate::train::text_audio::{MemoryPairs, Pair};

    fn facts(colours: &[&str]) -> Facts {
        let pair = |colour: &&str| Pair {
            captions: vec!["x".into()],
            attributes: [("colour".to_string(), colour.to_string()), ("kind".to_string(), "test".to_string())].into(),
            audio: Vec::new(),
        };
        Facts::new(&MemoryPairs::new(8_000, colours.iter().map(pair).collect()))
    }

    proptest! {
        #[test]
        fn a_batch_has_distinct_clips(clips in 1_usize..40, size in 1_usize..50, hard in 0.0_f64..0.5, seed: u64) {
            let colours: Vec<String> = (0..clips).map(|clip| format!("{}", clip % 3)).collect();
            let facts = facts(&colours.iter().map(String::as_str).collect::<Vec<_>>());
            let mut batch = facts.compose(size, hard, &mut Key::new(seed, Purpose::Test).stream());
            prop_assert_eq!(batch.len(), size.min(clips));
            batch.sort_unstable();
            batch.dedup();
            prop_assert_eq!(batch.len(), size.min(clips));
            prop_assert!(batch.iter().all(|clip| *clip < clips));
        }

        #[test]
        fn thinned_captions_keep_order_and_a_word(words in proptest::collection::vec(0_u32..9, 1..20), seed: u64) {
            let kept = drop_words(&words, 0.6, &mut Key::new(seed, Purpose::Test).stream());
            prop_assert!(!kept.is_empty());
            let mut rest = words.iter();
            prop_assert!(kept.iter().all(|word| rest.any(|other| other == word)));
        }
    }

    #[test]
    fn hard_negatives_resemble_their_anchors() {
        // Attributes with four independent facts of three values: chance shares a third of them.
        let mut stream = Key::new(1, Purpose::Test).stream();
        let pairs = (0..300).map(|_| Pair {
            captions: vec!["x".into()],
            attributes: (0..4).map(|fact| (format!("fact{fact}"), stream.below(3).to_string())).collect(),
            audio: Vec::new(),
        });
        let facts = Facts::new(&MemoryPairs::new(8_000, pairs.collect()));
        let mut shared = 0;
        for seed in 0..20 {
            let batch = facts.compose(16, 0.5, &mut Key::new(seed, Purpose::Test).stream());
            shared += (0..8).map(|i| facts.shared(batch[i], batch[8 + i])).sum::<usize>();
            assert!((0..8).all(|i| !facts.same(batch[i], batch[8 + i])));
        }
        let mean = shared as f64 / 160.0;
        assert!(mean > 2.0, "{mean} shared facts of four");
    }

    #[test]
    fn a_window_is_a_piece_of_the_clip_unless_it_is_augmented() {
        let front_end = FrontEndConfig { sample_rate_hz: 8_000, fft_samples: 256, hop_samples: 200, bands: 8 };
        let samples: Vec<f32> = (0..8_000).map(|i| (i as f32 * 0.3).sin() * i as f32 / 8_000.0).collect();
        let features =
            front_end.init().unwrap().features(AudioView { samples: &samples, sample_rate_hz: 8_000 }).unwrap();
        let plain = TextAudioTrainingConfig { gain_db: 0.0, noise_share: 0.0, ..Default::default() };
        let window = |config: &TextAudioTrainingConfig, frames: usize, seed: u64| {
            let mut out = vec![7.0];
            push_window(&features, frames, config, &mut Key::new(seed, Purpose::Test).stream(), &mut out);
            assert_eq!((out[0], out.len()), (7.0, 1 + frames * 8));
            out.split_off(1)
        };
        for seed in 0..20 {
            let got = window(&plain, 10, seed);
            let near = |start: usize| {
                let piece = features.window(start, 10);
                piece.len() == 80 && piece.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-4)
            };
            assert!((0..features.frames()).any(near), "seed {seed}");
        }
        assert_ne!(window(&plain, 10, 1), window(&plain, 10, 2));
        // Longer than the clip: silence behind it.
        let long = window(&plain, 60, 1);
        assert!(long[41 * 8..].iter().all(|value| (value - feature_of_power(0.0)).abs() < 1e-4));
        // Noise fills the silence, and never takes away.
        let noisy = TextAudioTrainingConfig { gain_db: 0.0, noise_share: 1.0, ..Default::default() };
        let noisy = window(&noisy, 41, 1);
        assert!(noisy.iter().zip(features.window(0, 41)).all(|(after, before)| *after > before - 1e-3));
        assert!(noisy[0] > feature_of_power(1e-9));
    }
}
