//! Overlapping windows over a long clip, so that attention and memory stay bounded.

use core::ops::Range;

/// One window of a clip and the part of its result that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The frames that the network sees.
    pub frames: Range<usize>,
    /// The frames whose result is taken from this window; these ranges tile the clip.
    pub kept: Range<usize>,
}

impl Window {
    /// The kept frames counted from the start of the window.
    #[must_use]
    pub fn kept_inside(&self) -> Range<usize> {
        self.kept.start - self.frames.start..self.kept.end - self.frames.start
    }
}

/// Cuts `frames` frames into windows of `window` frames that share at least `overlap` frames with their neighbours.
///
/// A clip that fits into one window is one window. Otherwise every window is full (the last one is moved back to end
/// with the clip), and neighbours share their overlap in halves, so that every kept frame has at least `overlap / 2`
/// frames of context inside its window on a side where the clip goes on.
///
/// `overlap` is taken as at most `window - 1`, `window` as at least 1.
#[must_use]
pub fn cut(frames: usize, window: usize, overlap: usize) -> Vec<Window> {
    let window = window.max(1);
    if frames == 0 {
        return Vec::new();
    }
    if frames <= window {
        return vec![Window { frames: 0..frames, kept: 0..frames }];
    }
    let stride = window - overlap.min(window - 1);
    let count = (frames - window).div_ceil(stride) + 1;
    let start = |index: usize| (index * stride).min(frames - window);
    let mut kept_from = 0;
    (0..count)
        .map(|index| {
            let from = start(index);
            let shared = if index + 1 == count { 0 } else { from + window - start(index + 1) };
            let kept_to = from + window - shared / 2;
            let kept = kept_from..kept_to;
            kept_from = kept_to;
            Window { frames: from..from + window, kept }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_worked_example() {
        let windows = cut(25, 10, 4);
        let ranges: Vec<_> = windows.iter().map(|w| (w.frames.clone(), w.kept.clone())).collect();
        assert_eq!(ranges, [(0..10, 0..8), (6..16, 8..14), (12..22, 14..19), (15..25, 19..25)]);
        assert!(cut(0, 10, 4).is_empty());
    }

    proptest! {
        #[test]
        fn kept_parts_tile_the_clip(frames in 1_usize..500, window in 1_usize..60, half in 0_usize..15) {
            let overlap = (2 * half).min(window / 2);
            let windows = cut(frames, window, overlap);
            let mut next = 0;
            for w in &windows {
                prop_assert_eq!(w.kept.start, next);
                prop_assert!(w.kept.end > w.kept.start);
                prop_assert!(w.frames.start <= w.kept.start && w.kept.end <= w.frames.end);
                prop_assert_eq!(w.frames.len(), window.min(frames));
                prop_assert!(w.kept.start == 0 || w.kept.start - w.frames.start >= overlap / 2);
                prop_assert!(w.kept.end == frames || w.frames.end - w.kept.end >= overlap / 2);
                next = w.kept.end;
            }
            prop_assert_eq!(next, frames);
        }
    }
}
