//! How far clips differ from each other, by their tokens.

use std::collections::BTreeMap;

use musicrl_core::tokens::Tokens;

/// The share of clips that differ from every clip before them in at least a tenth of their tokens.
#[must_use]
pub fn distinct_share(clips: &[Tokens]) -> f64 {
    let differs = |a: &Tokens, b: &Tokens| {
        let different = a.ids.iter().zip(&b.ids).filter(|(a, b)| a != b).count();
        a.ids.len() != b.ids.len() || 10 * different >= a.ids.len()
    };
    let distinct = (0..clips.len()).filter(|at| clips[..*at].iter().all(|before| differs(&clips[*at], before))).count();
    if clips.is_empty() { 0.0 } else { distinct as f64 / clips.len() as f64 }
}

/// How differently clips use their tokens: with p the chance that a token of one clip and one of another, of one slot, are the
/// same, and q that of two tokens of one clip, `1 - p / q`, means over slots taken before the division (Morisita's index of
/// dissimilarity, 1959, over all pairs). 1: no clip has a token of another; 0: another clip's tokens are as near as one's own.
/// Chances are of draws without replacement, so that short clips are not further apart for being short. `None` for fewer than
/// two clips, or where no token comes twice in a clip.
#[must_use]
pub fn token_diversity(clips: &[Tokens]) -> Option<f64> {
    let slots = clips.first().map_or(0, |clip| clip.slots);
    let (mut between, mut within) = (0.0, 0.0);
    for slot in 0..slots {
        // Shares of each token in a clip; the sums over clips of a share and of its square give every pair at once.
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for clip in clips {
            let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
            let tokens = clip.ids.iter().skip(slot).step_by(slots.max(1));
            tokens.for_each(|id| *counts.entry(*id).or_default() += 1.0);
            let count: f64 = counts.values().sum();
            for (id, times) in counts {
                let share = times / count;
                let sum = sums.entry(id).or_default();
                *sum = (sum.0 + share, sum.1 + share * share);
                within += share * (times - 1.0) / (count - 1.0).max(1.0);
            }
        }
        between += sums.values().map(|(sum, squares)| sum * sum - squares).sum::<f64>();
    }
    let pairs = (clips.len() as f64) * (clips.len() as f64 - 1.0);
    let (between, within) = (between / pairs, within / clips.len() as f64);
    (clips.len() > 1 && within > 0.0).then(|| 1.0 - between / within)
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    #[test]
    fn clips_of_other_tokens_are_diverse_and_clips_of_the_same_ones_are_not() {
        let clip = |ids: Vec<u32>| Tokens { frames: ids.len() / 2, slots: 2, ids };
        let repeat = |ids: [u32; 2]| clip(ids.repeat(50));
        assert_eq!(token_diversity(&[repeat([1, 2]), repeat([3, 4]), repeat([5, 6])]), Some(1.0));
        assert_eq!(token_diversity(&[repeat([1, 2]), repeat([1, 2])]), Some(0.0));
        // One slot in common.
        assert_eq!(token_diversity(&[repeat([1, 2]), repeat([3, 2])]), Some(0.5));
        // Draws of one distribution are near 0 however short: no more than noise.
        let mut random = Key::new(1, Purpose::Test).stream();
        let drawn: Vec<Tokens> = (0..200).map(|_| clip((0..40).map(|_| random.below(16) as u32).collect())).collect();
        let found = token_diversity(&drawn).unwrap();
        assert!(found.abs() < 0.03, "{found}");
        for nothing in [&drawn[..1], &[], &[clip(vec![1, 2]), clip(vec![1, 2])]] {
            assert_eq!(token_diversity(nothing), None);
        }
    }

    #[test]
    fn near_copies_are_not_distinct() {
        let clip = |ids: Vec<u32>| Tokens { frames: ids.len(), slots: 1, ids };
        let base: Vec<u32> = (0..20).collect();
        let mut near = base.clone();
        near[3] = 99;
        let mut far = near.clone();
        far[4] = 99;
        assert!((distinct_share(&[clip(base.clone()), clip(near.clone())]) - 0.5).abs() < 1e-12);
        assert!((distinct_share(&[clip(base.clone()), clip(far)]) - 1.0).abs() < 1e-12);
        assert!((distinct_share(&[clip(base.clone()), clip(base.clone()), clip(base)]) - 1.0 / 3.0).abs() < 1e-12);
        assert!(distinct_share(&[]).abs() < 1e-12);
    }
}
