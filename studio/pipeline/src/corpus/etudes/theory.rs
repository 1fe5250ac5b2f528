//! Scales, chords and progressions.

use musicrl_core::random::Stream;

use super::attributes::Mode;

/// Seven pitch classes from a tonic on. A *degree* counts scale steps from the tonic at or above MIDI pitch 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    tonic: i32,
    steps: [i32; 7],
}

impl Scale {
    pub(super) fn new(tonic: u8, mode: Mode) -> Self {
        let steps = match mode {
            Mode::Major => [0, 2, 4, 5, 7, 9, 11],
            Mode::Lydian => [0, 2, 4, 6, 7, 9, 11],
            Mode::Mixolydian => [0, 2, 4, 5, 7, 9, 10],
            Mode::Minor => [0, 2, 3, 5, 7, 8, 10],
            Mode::Dorian => [0, 2, 3, 5, 7, 9, 10],
            Mode::Phrygian => [0, 1, 3, 5, 7, 8, 10],
        };
        Self { tonic: i32::from(tonic), steps }
    }

    /// The MIDI pitch of a degree.
    pub(super) fn pitch(&self, degree: i32) -> i32 {
        self.tonic + 12 * degree.div_euclid(7) + self.steps[degree.rem_euclid(7) as usize]
    }

    /// The degree whose pitch is nearest, the lower of two.
    pub(super) fn degree_near(&self, pitch: i32) -> i32 {
        let low = (pitch - self.tonic).div_euclid(12) * 7;
        (low..=low + 7).min_by_key(|&degree| (self.pitch(degree) - pitch).abs()).unwrap_or(low)
    }

    /// The degree nearest to `degree` that belongs to the triad on `root`.
    pub(super) fn chord_tone_near(&self, degree: i32, root: i32) -> i32 {
        let in_chord = |candidate: &i32| matches!((candidate - root).rem_euclid(7), 0 | 2 | 4);
        (degree - 3..=degree + 3).filter(in_chord).min_by_key(|candidate| (candidate - degree).abs()).unwrap_or(degree)
    }

    /// The triad on `root` within the octave around `centre`, from low to high: neighbouring chords move little.
    pub(super) fn voicing(&self, root: i32, centre: i32) -> [i32; 3] {
        let mut pitches = [0, 2, 4].map(|third| {
            let pitch = self.pitch(root + third);
            centre - 6 + (pitch - (centre - 6)).rem_euclid(12)
        });
        pitches.sort_unstable();
        pitches
    }
}

/// Four roots, as degrees of the scale, that are usual in the mode and show what is its own.
pub(super) fn progression(mode: Mode, random: &mut Stream) -> [i32; 4] {
    let choices: &[[i32; 4]] = match mode {
        Mode::Major => &[[0, 4, 5, 3], [0, 3, 4, 0], [0, 5, 3, 4], [0, 3, 0, 4], [0, 5, 1, 4]],
        Mode::Lydian => &[[0, 1, 0, 1], [0, 1, 4, 0], [0, 4, 1, 0]],
        Mode::Mixolydian => &[[0, 6, 3, 0], [0, 4, 6, 3], [0, 6, 0, 3]],
        Mode::Minor => &[[0, 5, 2, 6], [0, 3, 6, 0], [0, 6, 5, 6], [0, 3, 5, 6], [0, 5, 3, 6]],
        Mode::Dorian => &[[0, 3, 0, 3], [0, 1, 3, 0], [0, 6, 3, 0]],
        Mode::Phrygian => &[[0, 1, 0, 6], [0, 1, 2, 1], [0, 6, 1, 0]],
    };
    random.pick(choices).copied().unwrap_or([0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitches_of_a_scale() {
        let scale = Scale::new(2, Mode::Minor);
        let octave: Vec<i32> = (35..43).map(|degree| scale.pitch(degree)).collect();
        assert_eq!(octave, [62, 64, 65, 67, 69, 70, 72, 74]);
        for degree in 20..60 {
            assert_eq!(scale.degree_near(scale.pitch(degree)), degree);
        }
        assert_eq!(scale.pitch(scale.degree_near(63)), 62);
    }

    #[test]
    fn chords_of_a_scale() {
        let scale = Scale::new(0, Mode::Major);
        assert_eq!(scale.voicing(0, 60), [55, 60, 64]);
        assert_eq!(scale.voicing(3, 60), [57, 60, 65]);
        assert_eq!(scale.chord_tone_near(36, 0), 35);
        assert_eq!(scale.chord_tone_near(37, 0), 37);
        for mode in Mode::ALL {
            let scale = Scale::new(7, *mode);
            let thirds = scale.pitch(2) - scale.pitch(0);
            assert_eq!(thirds == 4, mode.has_major_third(), "{mode:?}");
        }
    }
}
