//! The delay pattern: codebook `k` runs `delays[k]` steps behind.

use alloc::{format, vec, vec::Vec};
use serde::{Deserialize, Serialize};

use super::Tokens;
use crate::{Error, Result};

/// Largest number of codebooks and largest delay: far above any codec, and small enough that sizes cannot overflow.
const LIMIT: usize = 1 << 16;

/// A delay for each codebook (MusicGen: Copet et al., "Simple and Controllable Music Generation", 2023, arXiv
/// 2306.05284, section 2.3).
///
/// T frames become `T + max(delays)` steps; step `s` of codebook `k` holds frame `s - delays[k]`, or the pad id where
/// there is no such frame. The start token that MusicGen feeds before step 0 is the policy's affair, not part of the
/// pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct DelayPattern {
    delays: Vec<usize>,
    pad: u32,
}

/// What is stored; [`DelayPattern`] is what has been checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    delays: Vec<usize>,
    pad: u32,
}

impl TryFrom<Fields> for DelayPattern {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        Self::new(fields.delays, fields.pad)
    }
}

impl From<DelayPattern> for Fields {
    fn from(pattern: DelayPattern) -> Self {
        Self { delays: pattern.delays, pad: pattern.pad }
    }
}

impl DelayPattern {
    /// `delays[k]` steps for codebook `k`; `pad` fills the places without a frame and must not be a music token.
    ///
    /// # Errors
    /// [`Error::Config`] for no codebooks, or more than 65,536 codebooks or steps of delay.
    pub fn new(delays: Vec<usize>, pad: u32) -> Result<Self> {
        if delays.is_empty() || delays.len() > LIMIT || delays.iter().any(|&delay| delay > LIMIT) {
            return Err(Error::Config {
                field: "delays",
                expected: format!("1 to {LIMIT} delays of at most {LIMIT} steps"),
                got: format!("{} delays, the largest {:?}", delays.len(), delays.iter().max()),
            });
        }
        Ok(Self { delays, pad })
    }

    /// MusicGen's mono pattern: codebook `k` is `k` steps late, and the pad id is the first beyond the codebook.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the codebook's size does not fit `u32`.
    pub fn musicgen(codebooks: usize, codebook: usize) -> Result<Self> {
        let pad = u32::try_from(codebook).map_err(|_| Error::Config {
            field: "codebook",
            expected: "below 2^32".into(),
            got: format!("{codebook}"),
        })?;
        Self::new((0..codebooks.min(LIMIT + 2)).collect(), pad)
    }

    /// The delay of each codebook, in steps.
    #[must_use]
    pub fn delays(&self) -> &[usize] {
        &self.delays
    }

    /// The id that fills places without a frame.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Number of codebooks (K).
    #[must_use]
    pub fn codebooks(&self) -> usize {
        self.delays.len()
    }

    /// How many steps more than frames there are.
    #[must_use]
    pub fn delay_max(&self) -> usize {
        self.delays.iter().copied().max().unwrap_or(0)
    }

    /// The frame that codebook `codebook` holds at `step` of a clip of `frames` frames; `None` for padding.
    #[must_use]
    pub fn frame_at(&self, step: usize, codebook: usize, frames: usize) -> Option<usize> {
        step.checked_sub(*self.delays.get(codebook)?).filter(|&frame| frame < frames)
    }

    /// True where a step holds a music token: `[frames + delay_max, codebooks]` row by row. The mask of actions.
    #[must_use]
    pub fn mask(&self, frames: usize) -> Vec<bool> {
        (0..frames.saturating_add(self.delay_max()))
            .flat_map(|step| (0..self.codebooks()).map(move |k| self.frame_at(step, k, frames).is_some()))
            .collect()
    }

    /// `[frames, codebooks]` to `[frames + delay_max, codebooks]`; [`revert`](Self::revert) is the exact inverse.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of codebooks; [`Error::Token`] for a pad id among the tokens.
    pub fn apply(&self, tokens: &Tokens) -> Result<Tokens> {
        self.check_shape("tokens", tokens)?;
        let (slots, frames) = (self.codebooks(), tokens.frames);
        let steps = frames + self.delay_max();
        let mut ids = vec![self.pad; steps * slots];
        for (at, &id) in tokens.ids.iter().enumerate() {
            let (frame, k) = (at / slots, at % slots);
            if id == self.pad {
                return Err(self.misplaced(frame, k, id));
            }
            ids[(frame + self.delays[k]) * slots + k] = id;
        }
        Ok(Tokens { ids, frames: steps, slots })
    }

    /// `[frames + delay_max, codebooks]` back to `[frames, codebooks]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of codebooks or too few steps; [`Error::Token`] for a music token where
    /// padding must be, or padding where a music token must be: such a sequence is no delayed clip.
    pub fn revert(&self, delayed: &Tokens) -> Result<Tokens> {
        self.check_shape("delayed tokens", delayed)?;
        let slots = self.codebooks();
        let Some(frames) = delayed.frames.checked_sub(self.delay_max()) else {
            return Err(Error::Shape {
                what: "delayed tokens",
                expected: format!("at least {} steps", self.delay_max()),
                got: format!("{} steps", delayed.frames),
            });
        };
        let mut ids = vec![self.pad; frames * slots];
        for (at, &id) in delayed.ids.iter().enumerate() {
            let (step, k) = (at / slots, at % slots);
            let frame = self.frame_at(step, k, frames);
            if frame.is_some() == (id == self.pad) {
                return Err(self.misplaced(step, k, id));
            }
            if let Some(frame) = frame {
                ids[frame * slots + k] = id;
            }
        }
        Ok(Tokens { ids, frames, slots })
    }

    fn check_shape(&self, what: &'static str, tokens: &Tokens) -> Result<()> {
        let slots = self.codebooks();
        if tokens.slots == slots && Some(tokens.ids.len()) == tokens.frames.checked_mul(slots) {
            return Ok(());
        }
        Err(Error::Shape {
            what,
            expected: format!("[{}, {slots}]", tokens.frames),
            got: format!("{} ids in [{}, {}]", tokens.ids.len(), tokens.frames, tokens.slots),
        })
    }

    /// A pad among music tokens, or the reverse.
    fn misplaced(&self, step: usize, codebook: usize, id: u32) -> Error {
        Error::Token { at: (0, step, codebook), codebook: self.pad as usize, got: i64::from(id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn musicgen_shifts_codebook_k_by_k() -> Result<()> {
        let pattern = DelayPattern::musicgen(3, 99)?;
        let tokens = Tokens::new(vec![1, 2, 3, 4, 5, 6], 3)?;
        let delayed = pattern.apply(&tokens)?;
        assert_eq!(delayed.ids, [1, 99, 99, 4, 2, 99, 99, 5, 3, 99, 99, 6]);
        assert_eq!(pattern.revert(&delayed)?, tokens);
        let mask: Vec<bool> = delayed.ids.iter().map(|&id| id != 99).collect();
        assert_eq!(pattern.mask(2), mask);
        Ok(())
    }

    #[test]
    fn misplaced_padding_is_refused() -> Result<()> {
        let pattern = DelayPattern::musicgen(2, 9)?;
        assert!(matches!(pattern.apply(&Tokens::new(vec![1, 9], 2)?), Err(Error::Token { at: (0, 0, 1), .. })));
        // A pad where frame 0 of codebook 0 must be; a token where codebook 1 has not begun.
        assert!(matches!(pattern.revert(&Tokens::new(vec![9, 9, 9, 2], 2)?), Err(Error::Token { .. })));
        assert!(matches!(pattern.revert(&Tokens::new(vec![1, 1, 9, 2], 2)?), Err(Error::Token { .. })));
        assert!(matches!(pattern.revert(&Tokens::new(vec![], 2)?), Err(Error::Shape { .. })));
        assert!(matches!(pattern.apply(&Tokens::new(vec![1, 2, 3], 3)?), Err(Error::Shape { .. })));
        Ok(())
    }

    #[test]
    fn stored_patterns_are_checked() {
        let read = |text: &str| serde_json::from_str::<DelayPattern>(text);
        assert_eq!(read(r#"{"delays":[0,2,1],"pad":7}"#).ok(), DelayPattern::new(vec![0, 2, 1], 7).ok());
        for bad in [r#"{"delays":[],"pad":7}"#, r#"{"delays":[70000],"pad":7}"#, r#"{"delays":[0],"pad":7,"x":1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(DelayPattern::musicgen(usize::MAX, 4).is_err());
    }
}
