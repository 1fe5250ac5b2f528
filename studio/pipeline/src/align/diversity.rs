//! How far clips differ from each other, by their tokens.

use std::collections::BTreeMap;

use musicrl_core::{
    reward::{Clip, Reward, Score},
    tokens::Tokens,
};

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
    let shares: Vec<Shares> = clips.iter().map(|clip| Shares::of(&clip.ids, clip.slots)).collect();
    let sums = Shares::sum(&shares);
    let within = shares.iter().map(|clip| clip.within).sum::<f64>();
    let between = shares.iter().map(|clip| clip.with(&sums) - clip.with(clip)).sum::<f64>();
    (clips.len() > 1 && within > 0.0).then(|| 1.0 - between / (clips.len() as f64 - 1.0) / within)
}

/// How often each token stands in each slot of a clip, or of several.
#[derive(Debug, Clone, Default)]
struct Shares {
    /// By slot and token; the shares of a clip add up to 1 in each slot.
    of: BTreeMap<(usize, u32), f64>,
    /// The chance that two tokens of one slot are the same, summed over slots.
    within: f64,
}

impl Shares {
    fn of(ids: &[u32], slots: usize) -> Self {
        let slots = slots.max(1);
        let count = (ids.len() / slots).max(1) as f64;
        let mut times: BTreeMap<(usize, u32), f64> = BTreeMap::new();
        ids.iter().enumerate().for_each(|(place, id)| *times.entry((place % slots, *id)).or_default() += 1.0);
        let within = times.values().map(|times| times / count * (times - 1.0) / (count - 1.0).max(1.0)).sum();
        Self { of: times.into_iter().map(|(token, times)| (token, times / count)).collect(), within }
    }

    fn sum<'a>(clips: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for clip in clips {
            clip.of.iter().for_each(|(token, share)| *sum.of.entry(*token).or_default() += share);
            sum.within += clip.within;
        }
        sum
    }

    /// The chance that a token of each, of one slot, are the same, summed over slots (and over the clips of a sum).
    fn with(&self, other: &Self) -> f64 {
        self.of.iter().map(|(token, share)| share * other.of.get(token).copied().unwrap_or(0.0)).sum()
    }
}

/// The reward `token_diversity`: how differently a clip uses its tokens from the batch's clips of other captions, as
/// [`token_diversity`] has it. With p the mean chance that a token of the clip and one of such a clip are the same, and q the
/// batch's mean chance within a clip, a clip's score is `1 - p / q`. The mean over a batch of one clip a caption is its diversity.
///
/// What a judge likes of one clip at a time it may like best in one clip for every caption. This is the price of that: a clip is
/// worth less for what the others have as well. (A reward for variety beside one for quality: Cideron et al., "Diversity-Rewarded CFG
/// Distillation", arXiv 2410.06084, theirs on embeddings of clips of one caption.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDiversity;

impl TokenDiversity {
    /// The reward's name.
    pub const NAME: &'static str = "token_diversity";
}

impl Reward for TokenDiversity {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn hears_audio(&self) -> bool {
        false
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let shares: Vec<Shares> = clips.iter().map(|clip| Shares::of(clip.tokens.ids, clip.tokens.slots)).collect();
        let sums = Shares::sum(&shares);
        let mut by_caption: BTreeMap<&str, Vec<&Shares>> = BTreeMap::new();
        clips.iter().zip(&shares).for_each(|(clip, shares)| by_caption.entry(clip.caption).or_default().push(shares));
        let own: BTreeMap<&str, (Shares, usize)> = by_caption
            .into_iter()
            .map(|(caption, clips)| (caption, (Shares::sum(clips.iter().copied()), clips.len())))
            .collect();
        let within = sums.within / clips.len().max(1) as f64;
        let score = |(clip, shares): (&Clip<'_>, &Shares)| {
            let Some((own, count)) = own.get(clip.caption).filter(|(_, count)| *count < clips.len()) else {
                return Score::Unscorable("no clip of another caption in the batch".into());
            };
            if within == 0.0 {
                return Score::Unscorable("no token comes twice in a clip of the batch".into());
            }
            let between = (shares.with(&sums) - shares.with(own)) / (clips.len() - count) as f64;
            Score::Value(1.0 - between / within)
        };
        Ok(clips.iter().zip(&shares).map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::{
        random::{Key, Purpose},
        reward::TokensView,
    };

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

    #[test]
    fn a_clip_is_worth_what_the_clips_of_other_captions_do_not_have() {
        let score = |clips: &[(&str, [u32; 2])]| -> Vec<Score> {
            let ids: Vec<Vec<u32>> = clips.iter().map(|(_, pair)| pair.repeat(50)).collect();
            let clips = clips.iter().zip(&ids);
            let clips: Vec<Clip<'_>> = clips
                .map(|((caption, _), ids)| Clip { caption, tokens: TokensView { ids, slots: 2 }, audio: None })
                .collect();
            TokenDiversity.score(&clips).unwrap()
        };
        // Clips of one caption may be alike; of three others' slots the first clip has one in common.
        let scores = score(&[("a", [1, 2]), ("a", [1, 2]), ("b", [3, 2]), ("c", [5, 6]), ("c", [7, 8])]);
        let values: Vec<f64> = scores.iter().map(|score| score.value().unwrap()).collect();
        let (a, b) = (1.0 - 1.0 / 6.0, 1.0 - 2.0 / 8.0);
        assert!(values.iter().zip([a, a, b, 1.0, 1.0]).all(|(x, y)| (x - y).abs() < 1e-12), "{values:?}");
        assert!(score(&[("a", [1, 2]), ("a", [3, 4])])[0].value().is_none());
        assert!(score(&[]).is_empty());
    }

    #[test]
    fn the_rewards_mean_is_the_diversity_of_a_batch() {
        let mut random = Key::new(3, Purpose::Test).stream();
        let tokens: Vec<Tokens> = (0..12)
            .map(|clip| Tokens {
                frames: 20,
                slots: 3,
                ids: (0..60).map(|_| (clip % 4 + random.below(9)) as u32).collect(),
            })
            .collect();
        let captions: Vec<String> = (0..12).map(|clip| clip.to_string()).collect();
        let clips = captions.iter().zip(&tokens).map(|(caption, tokens)| Clip {
            caption,
            tokens: TokensView { ids: &tokens.ids, slots: 3 },
            audio: None,
        });
        let scores = TokenDiversity.score(&clips.collect::<Vec<_>>()).unwrap();
        let mean = scores.iter().filter_map(Score::value).sum::<f64>() / 12.0;
        assert!((mean - token_diversity(&tokens).unwrap()).abs() < 1e-12);
    }
}
