//! What a frame holds: [`TokenLayout`], and the tokens that follow it: [`Tokens`].

use alloc::{format, vec::Vec};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, reward::TokensView};

/// The family of tokens that a slot belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// Clustered features of a masked audio model: long-term structure.
    Semantic,
    /// The first levels of the codec's residual quantiser.
    Coarse,
    /// The later levels of the codec's residual quantiser.
    Fine,
    /// A codec's levels without a division into coarse and fine (MusicGen's four codebooks).
    Acoustic,
}

/// One place for a token inside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The family of the slot's tokens.
    pub stream: StreamKind,
    /// Number of entries: ids are below it.
    pub codebook: usize,
}

/// The ordered slots of a frame and the rate of frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLayout {
    /// The slots in generation order (K of them).
    pub slots: Vec<Slot>,
    /// Frames a second.
    pub frame_rate_hz: f64,
}

impl TokenLayout {
    /// Checks the layout itself; `init` functions and readers call it once.
    ///
    /// # Errors
    /// [`Error::Config`] for no slots, an empty codebook, one whose ids do not fit `u32`, or a frame rate that is not
    /// positive and finite.
    pub fn validate(&self) -> Result<()> {
        let bad = |field, expected: &str, got| Err(Error::Config { field, expected: expected.into(), got });
        if self.slots.is_empty() {
            return bad("slots", "at least one slot", "none".into());
        }
        if let Some(slot) = self.slots.iter().find(|slot| slot.codebook == 0 || slot.codebook > u32::MAX as usize) {
            return bad("codebook", "between 1 and 2^32 - 1 entries", format!("{}", slot.codebook));
        }
        if !(self.frame_rate_hz.is_finite() && self.frame_rate_hz > 0.0) {
            return bad("frame_rate_hz", "positive and finite", format!("{}", self.frame_rate_hz));
        }
        Ok(())
    }

    /// Tokens inside a frame (K).
    #[must_use]
    pub fn slots_per_frame(&self) -> usize {
        self.slots.len()
    }

    /// The largest codebook: the last extent of padded logits (V). 0 of a layout without slots.
    #[must_use]
    pub fn codebook_max(&self) -> usize {
        self.slots.iter().map(|slot| slot.codebook).max().unwrap_or(0)
    }

    /// Whole frames in `seconds`, rounded to the nearest and at least 1.
    #[must_use]
    pub fn frames_in(&self, seconds: f64) -> usize {
        (libm::round(seconds * self.frame_rate_hz) as usize).max(1)
    }

    /// For every slot and entry of the padded codebook, whether the entry exists: `[slots, codebook]` row by row.
    ///
    /// Where it is false, logits are -inf: a slot cannot hold an id beyond its own codebook.
    #[must_use]
    pub fn allowed(&self) -> Vec<bool> {
        let codebook = self.codebook_max();
        self.slots.iter().flat_map(|slot| (0..codebook).map(|id| id < slot.codebook)).collect()
    }

    /// Checks one clip against the layout: the shape, and every id against its slot's codebook. Called once, where
    /// tokens come in; code behind that boundary relies on it.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Token`] (with clip 0) for the first token outside its codebook.
    pub fn check(&self, tokens: &Tokens) -> Result<()> {
        self.check_clip(0, tokens)
    }

    /// [`check`](Self::check) for clip number `clip` of a batch, which the error then names.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_clip(&self, clip: usize, tokens: &Tokens) -> Result<()> {
        let slots = self.slots.len();
        if slots == 0 || tokens.slots != slots || Some(tokens.ids.len()) != tokens.frames.checked_mul(slots) {
            return Err(Error::Shape {
                what: "tokens",
                expected: format!("[{}, {slots}]", tokens.frames),
                got: format!("{} ids in {} frames of {} slots", tokens.ids.len(), tokens.frames, tokens.slots),
            });
        }
        let beyond = |(_, (id, slot)): &(usize, (&u32, &Slot))| **id as usize >= slot.codebook;
        match tokens.ids.iter().zip(self.slots.iter().cycle()).enumerate().find(beyond) {
            Some((at, (&id, slot))) => {
                Err(Error::Token { at: (clip, at / slots, at % slots), codebook: slot.codebook, got: i64::from(id) })
            }
            None => Ok(()),
        }
    }
}

/// One clip's tokens: `frames * slots` ids, the slots of a frame side by side, which is generation order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The ids: frame `t`, slot `k` at `t * slots + k`.
    pub ids: Vec<u32>,
    /// Number of frames (T).
    pub frames: usize,
    /// Tokens inside a frame (K).
    pub slots: usize,
}

impl Tokens {
    /// Whole frames of `slots` ids.
    ///
    /// # Errors
    /// [`Error::Shape`] when the ids do not fill whole frames. No slots hold no ids (and 0 frames).
    pub fn new(ids: Vec<u32>, slots: usize) -> Result<Self> {
        let frames = ids.len().checked_div(slots).unwrap_or(0);
        if frames * slots == ids.len() {
            Ok(Self { ids, frames, slots })
        } else {
            Err(Error::Shape {
                what: "tokens",
                expected: format!("whole frames of {slots} slots"),
                got: format!("{} ids", ids.len()),
            })
        }
    }

    /// The ids of frame `t`; `None` past the end.
    #[must_use]
    pub fn frame(&self, t: usize) -> Option<&[u32]> {
        let start = t.checked_mul(self.slots)?;
        if t < self.frames { self.ids.get(start..start.checked_add(self.slots)?) } else { None }
    }

    /// The clip as a judge sees it.
    #[must_use]
    pub fn view(&self) -> TokensView<'_> {
        TokensView { ids: &self.ids, slots: self.slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn layout() -> TokenLayout {
        let slot = |stream, codebook| Slot { stream, codebook };
        TokenLayout { slots: vec![slot(StreamKind::Semantic, 3), slot(StreamKind::Coarse, 5)], frame_rate_hz: 12.5 }
    }

    #[test]
    fn a_token_outside_its_codebook_is_named() -> Result<()> {
        let layout = layout();
        layout.check(&Tokens::new(vec![2, 4, 0, 0], 2)?)?;
        let error = layout.check_clip(7, &Tokens::new(vec![2, 4, 3, 0], 2)?);
        assert_eq!(error, Err(Error::Token { at: (7, 1, 0), codebook: 3, got: 3 }));
        Ok(())
    }

    #[test]
    fn wrong_shapes_are_refused() {
        assert!(matches!(Tokens::new(vec![1, 2, 3], 2), Err(Error::Shape { .. })));
        assert!(matches!(Tokens::new(vec![1], 0), Err(Error::Shape { .. })));
        for tokens in [
            Tokens { ids: vec![0; 3], frames: 1, slots: 3 },
            Tokens { ids: vec![0; 3], frames: 2, slots: 2 },
            Tokens { ids: vec![], frames: usize::MAX, slots: 2 },
        ] {
            assert!(matches!(layout().check(&tokens), Err(Error::Shape { .. })), "{tokens:?}");
        }
        assert_eq!(Tokens { ids: vec![], frames: usize::MAX, slots: usize::MAX }.frame(usize::MAX - 1), None);
    }

    #[test]
    fn bad_layouts_are_refused() {
        let mut bad = vec![layout(), layout(), layout()];
        bad[0].slots.clear();
        bad[1].slots[1].codebook = 0;
        bad[2].frame_rate_hz = f64::NAN;
        for layout in bad {
            assert!(matches!(layout.validate(), Err(Error::Config { .. })), "{layout:?}");
        }
        assert_eq!(layout().validate(), Ok(()));
    }

    #[test]
    fn padding_of_the_codebook_is_not_allowed() {
        assert_eq!(layout().allowed(), [true, true, true, false, false, true, true, true, true, true]);
        assert_eq!((layout().codebook_max(), layout().frames_in(6.4), layout().frames_in(0.0)), (5, 80, 1));
    }
}
