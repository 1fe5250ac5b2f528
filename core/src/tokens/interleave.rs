//! Semantic and coarse acoustic streams as frames of `1 + 2 * levels` slots.

use alloc::{format, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{Slot, StreamKind, TokenLayout, Tokens};
use crate::{Error, Result};

/// Acoustic time steps inside a frame: the codec runs at twice the semantic rate.
const STEPS: usize = 2;

/// The frame-interleaved order of MusicLM's successors (PAPER: semantic 25 Hz, acoustic 50 Hz).
///
/// Frame `t` is `[semantic(t), coarse(2t) level 0.., coarse(2t + 1) level 0..]`, so K = 1 + 2 * levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interleave {
    /// Levels of the residual quantiser that the policy generates.
    pub coarse_levels: usize,
}

/// The two streams of a clip, apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streams {
    /// One semantic id a frame: `[frames]`.
    pub semantic: Vec<u32>,
    /// Coarse acoustic ids: `[2 * frames, levels]`.
    pub coarse: Tokens,
}

impl Interleave {
    /// Tokens inside a frame: K = 1 + 2 * levels.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.coarse_levels.saturating_mul(STEPS).saturating_add(1)
    }

    /// The layout of the interleaved frames.
    ///
    /// # Errors
    /// [`Error::Config`] when a codebook or the rate breaks [`TokenLayout::validate`], or there are more than 64
    /// levels (no residual quantiser has so many, and the layout's memory grows with them).
    pub fn layout(
        &self,
        semantic_codebook: usize,
        coarse_codebook: usize,
        semantic_rate_hz: f64,
    ) -> Result<TokenLayout> {
        if self.coarse_levels > 64 {
            let got = format!("{}", self.coarse_levels);
            return Err(Error::Config { field: "coarse_levels", expected: "at most 64".into(), got });
        }
        let semantic = Slot { stream: StreamKind::Semantic, codebook: semantic_codebook };
        let coarse = Slot { stream: StreamKind::Coarse, codebook: coarse_codebook };
        let slots = core::iter::once(semantic).chain(core::iter::repeat_n(coarse, STEPS * self.coarse_levels));
        let layout = TokenLayout { slots: slots.collect(), frame_rate_hz: semantic_rate_hz };
        layout.validate()?;
        Ok(layout)
    }

    /// Joins the streams into frames; [`split`](Self::split) is the exact inverse.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the coarse stream has this many levels and exactly twice as many steps as there are
    /// semantic ids.
    pub fn join(&self, streams: &Streams) -> Result<Tokens> {
        let (frames, levels) = (streams.semantic.len(), self.coarse_levels);
        let coarse = &streams.coarse;
        let ids = frames.checked_mul(STEPS).and_then(|steps| steps.checked_mul(levels));
        if coarse.slots != levels || coarse.frames != frames * STEPS || Some(coarse.ids.len()) != ids {
            return Err(Error::Shape {
                what: "coarse tokens",
                expected: format!("[{}, {levels}]", frames * STEPS),
                got: format!("{} ids in [{}, {}]", coarse.ids.len(), coarse.frames, coarse.slots),
            });
        }
        let mut ids = Vec::with_capacity(frames + coarse.ids.len());
        for (t, &semantic) in streams.semantic.iter().enumerate() {
            let width = STEPS * levels;
            ids.push(semantic);
            ids.extend_from_slice(&coarse.ids[t * width..(t + 1) * width]);
        }
        Ok(Tokens { ids, frames, slots: self.slots() })
    }

    /// Takes frames apart; [`join`](Self::join) is the exact inverse.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the tokens are whole frames of [`slots`](Self::slots) ids.
    pub fn split(&self, tokens: &Tokens) -> Result<Streams> {
        let slots = self.slots();
        if tokens.slots != slots || Some(tokens.ids.len()) != tokens.frames.checked_mul(slots) {
            return Err(Error::Shape {
                what: "interleaved tokens",
                expected: format!("[{}, {slots}]", tokens.frames),
                got: format!("{} ids in [{}, {}]", tokens.ids.len(), tokens.frames, tokens.slots),
            });
        }
        let mut semantic = Vec::with_capacity(tokens.frames);
        let mut coarse = Vec::with_capacity(tokens.ids.len() - tokens.frames);
        for frame in tokens.ids.chunks_exact(slots) {
            semantic.push(frame[0]);
            coarse.extend_from_slice(&frame[1..]);
        }
        let coarse = Tokens { ids: coarse, frames: tokens.frames * STEPS, slots: self.coarse_levels };
        Ok(Streams { semantic, coarse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn order_inside_a_frame() -> Result<()> {
        let streams = Streams { semantic: vec![100, 200], coarse: Tokens::new((0..8).collect(), 2)? };
        let tokens = Interleave { coarse_levels: 2 }.join(&streams)?;
        assert_eq!(tokens.ids, [100, 0, 1, 2, 3, 200, 4, 5, 6, 7]);
        assert_eq!((tokens.frames, tokens.slots), (2, 5));
        Ok(())
    }

    #[test]
    fn the_published_frame_holds_one_semantic_and_eight_coarse_tokens() -> Result<()> {
        let layout = Interleave { coarse_levels: 4 }.layout(1024, 1024, 25.0)?;
        assert_eq!((layout.slots_per_frame(), layout.slots[0].stream), (9, StreamKind::Semantic));
        assert!(layout.slots[1..].iter().all(|slot| slot.stream == StreamKind::Coarse));
        Ok(())
    }

    #[test]
    fn wrong_shapes_are_refused() -> Result<()> {
        let interleave = Interleave { coarse_levels: 2 };
        let odd = Streams { semantic: vec![1, 2], coarse: Tokens::new(vec![0; 6], 2)? };
        assert!(matches!(interleave.join(&odd), Err(Error::Shape { .. })));
        let levels = Streams { semantic: vec![1], coarse: Tokens::new(vec![0; 6], 3)? };
        assert!(matches!(interleave.join(&levels), Err(Error::Shape { .. })));
        assert!(matches!(interleave.split(&Tokens::new(vec![0; 8], 4)?), Err(Error::Shape { .. })));
        let lying = Tokens { ids: vec![0; 4], frames: 1, slots: 5 };
        assert!(matches!(interleave.split(&lying), Err(Error::Shape { .. })));
        let huge = Interleave { coarse_levels: usize::MAX };
        assert!(matches!(huge.split(&lying), Err(Error::Shape { .. })));
        assert!(matches!(huge.layout(2, 2, 25.0), Err(Error::Config { .. })));
        Ok(())
    }
}
