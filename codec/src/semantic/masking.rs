//! Which frames are hidden in masked prediction.

use musicrl_core::random::Stream;

/// Draws a mask over `frames` frames: each frame starts a hidden span of `span` frames with `probability`; spans may
/// overlap and are cut at the end. When no span started, one is put at a random frame, so that a clip never goes
/// without a prediction.
///
/// The expected hidden share away from the start is `1 - (1 - probability)^span`.
#[must_use]
pub fn mask_spans(frames: usize, probability: f64, span: usize, stream: &mut Stream) -> Vec<bool> {
    let mut mask = vec![false; frames];
    let mut hide = |from: usize| mask.iter_mut().skip(from).take(span.max(1)).for_each(|hidden| *hidden = true);
    let mut any = false;
    for frame in 0..frames {
        if stream.chance(probability) {
            hide(frame);
            any = true;
        }
    }
    if !any && frames > 0 {
        hide(stream.below(frames));
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use musicrl_core::random::{Key, Purpose};

    fn draw(frames: usize, probability: f64, span: usize, clip: u64) -> Vec<bool> {
        mask_spans(frames, probability, span, &mut Key::new(1, Purpose::Mask).clip(clip).stream())
    }

    #[test]
    fn hidden_share_is_the_expected_one() {
        let (frames, clips) = (100, 400);
        let hidden: usize = (0..clips).map(|clip| draw(frames, 0.1, 5, clip)[4..].iter().filter(|m| **m).count()).sum();
        let share = hidden as f64 / (clips as usize * (frames - 4)) as f64;
        let expected = 1.0 - 0.9_f64.powi(5);
        assert!((share - expected).abs() < 0.02, "{share} against {expected}");
    }

    #[test]
    fn every_clip_hides_something_and_spans_are_whole() {
        for clip in 0..200 {
            let mask = draw(30, 0.01, 4, clip);
            let runs: Vec<usize> = mask.split(|hidden| !hidden).map(<[bool]>::len).filter(|run| *run > 0).collect();
            assert!(!runs.is_empty());
            let cut_at_the_end = mask[29];
            for (index, run) in runs.iter().enumerate() {
                assert!(*run >= 4 || (cut_at_the_end && index + 1 == runs.len()), "{mask:?}");
            }
        }
        assert_eq!(draw(1, 0.01, 4, 0), [true]);
        assert!(draw(0, 0.5, 4, 0).is_empty());
        assert_eq!(draw(50, 0.1, 5, 3), draw(50, 0.1, 5, 3));
    }
}
