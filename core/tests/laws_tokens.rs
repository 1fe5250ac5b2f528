//! Interleaving and delay are exact inverses, and junk is refused without a panic.

use musicrl_core::tokens::{DelayPattern, Interleave, Streams, Tokens};
use proptest::prelude::*;

fn ids(count: usize, below: u32) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..below, count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn interleaving_is_exactly_invertible(
        (levels, frames, semantic, coarse) in (0_usize..9, 0_usize..12).prop_flat_map(|(levels, frames)| {
            (Just(levels), Just(frames), ids(frames, 1024), ids(2 * frames * levels, 1024))
        })
    ) {
        let interleave = Interleave { coarse_levels: levels };
        let streams = Streams { semantic, coarse: Tokens { ids: coarse, frames: 2 * frames, slots: levels } };
        let joined = interleave.join(&streams).unwrap();
        prop_assert_eq!((joined.frames, joined.slots, joined.ids.len()), (frames, 1 + 2 * levels, frames * (1 + 2 * levels)));
        // Every token stands where the rule says.
        for t in 0..frames {
            let frame = joined.frame(t).unwrap();
            prop_assert_eq!(frame[0], streams.semantic[t]);
            for step in 0..2 {
                for level in 0..levels {
                    prop_assert_eq!(frame[1 + step * levels + level], streams.coarse.ids[(2 * t + step) * levels + level]);
                }
            }
        }
        prop_assert_eq!(&interleave.split(&joined).unwrap(), &streams);
        prop_assert_eq!(interleave.join(&interleave.split(&joined).unwrap()).unwrap(), joined);
    }

    #[test]
    fn delay_is_exactly_invertible(
        (delays, frames, tokens) in (prop::collection::vec(0_usize..7, 1..6), 0_usize..10).prop_flat_map(|(delays, frames)| {
            let count = frames * delays.len();
            (Just(delays), Just(frames), ids(count, 99))
        })
    ) {
        let pattern = DelayPattern::new(delays.clone(), 99).unwrap();
        let tokens = Tokens { ids: tokens, frames, slots: delays.len() };
        let delayed = pattern.apply(&tokens).unwrap();
        prop_assert_eq!(delayed.frames, frames + delays.iter().max().unwrap());
        prop_assert_eq!(&pattern.revert(&delayed).unwrap(), &tokens);
        for (k, delay) in delays.iter().enumerate() {
            for t in 0..frames {
                prop_assert_eq!(delayed.frame(t + delay).unwrap()[k], tokens.frame(t).unwrap()[k]);
            }
        }
        // The mask is true exactly at the music tokens.
        let music: Vec<bool> = delayed.ids.iter().map(|&id| id != 99).collect();
        prop_assert_eq!(pattern.mask(frames), music);
    }

    #[test]
    fn junk_is_refused_or_reverts_and_applies_back(
        delays in prop::collection::vec(0_usize..4, 1..4), junk in prop::collection::vec(0_u32..4, 0..24), slots in 0_usize..4
    ) {
        let pattern = DelayPattern::new(delays, 3).unwrap();
        if let Ok(tokens) = Tokens::new(junk, slots) {
            if let Ok(reverted) = pattern.revert(&tokens) {
                prop_assert_eq!(pattern.apply(&reverted).unwrap(), tokens);
            } else {
                let interleave = Interleave { coarse_levels: slots / 2 };
                if let Ok(streams) = interleave.split(&tokens) {
                    prop_assert_eq!(interleave.join(&streams).unwrap(), tokens);
                }
            }
        }
    }
}
