//! Where the windows of a clip lie: the embedding hears a clip in windows of one length (10 s of the published 30 s).

/// A last part shorter than this share of a window gets no window of its own; the others move apart instead.
const REST_SHARE: f64 = 0.1;

/// First frames of equal windows that are spread evenly from the clip's first frame to its last.
///
/// A clip of three window lengths (or a little more, since frames do not divide every length) has three windows, the
/// paper's three segments; other lengths have as many as are needed to hear all of it but a rest. Neighbours overlap
/// where the length is no multiple. A clip shorter than one window has none.
#[must_use]
pub fn window_starts(clip_frames: usize, window_frames: usize) -> Vec<usize> {
    if window_frames == 0 || clip_frames < window_frames {
        return Vec::new();
    }
    let lengths = clip_frames as f64 / window_frames as f64;
    let count = ((lengths - REST_SHARE).ceil() as usize).max(1);
    let room = clip_frames - window_frames;
    if count == 1 {
        return vec![room / 2];
    }
    (0..count).map(|index| room * index / (count - 1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(clip_frames: usize, window_frames: usize, expected: &[usize]) {
        assert_eq!(window_starts(clip_frames, window_frames), expected, "{clip_frames} of {window_frames}");
    }

    #[test]
    fn three_windows_of_a_third_each() {
        check(300, 100, &[0, 100, 200]);
        check(320, 106, &[0, 107, 214]);
        check(100, 100, &[0]);
        check(108, 100, &[4]);
        check(150, 100, &[0, 50]);
        check(99, 100, &[]);
        check(0, 0, &[]);
    }

    proptest! {
        #[test]
        fn windows_lie_inside_and_leave_small_gaps(window in 1_usize..200, extra in 0_usize..5000) {
            let clip = window + extra;
            let starts = window_starts(clip, window);
            prop_assert!(!starts.is_empty());
            prop_assert!(starts.iter().all(|start| start + window <= clip));
            for pair in starts.windows(2) {
                prop_assert!(pair[1] > pair[0]);
                let gap = (pair[1] - pair[0]).saturating_sub(window);
                prop_assert!(gap as f64 <= REST_SHARE * window as f64 + 1.0, "gap {} of {}", gap, window);
            }
        }
    }
}
