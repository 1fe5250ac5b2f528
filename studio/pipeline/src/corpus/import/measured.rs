//! What can be said of a clip by measuring it.
//!
//! Tags name a whole recording, and often say the same of every recording of a folder. A text-audio model then has
//! nothing to learn from captions within a recording, and nothing that carries over to recordings it never saw. Three
//! measured properties fill the gap. Each has three levels, of which the middle one is an attribute only:
//!
//! | attribute | low | middle | high | measured by |
//! |---|---|---|---|---|
//! | `level` | quiet, below -23 dB | moderate | loud, above -19 dB | root mean square, pauses left out |
//! | `brightness` | dark, below 340 Hz | warm | bright, above 550 Hz | centre of mass of the spectrum |
//! | `pulse` | free, below 0.45 | flowing | steady, above 0.64 | regularity of onsets, 0 to 1 |
//!
//! The limits are the thirds of 12.8 s segments of one collection of orchestral game music at -20 LUFS; they are
//! fixed, so that the words of a clip do not depend on the other clips of its corpus.

use musicrl_rewards::properties::{Spectra, brightness_hz, loudness_db, tempo_steadiness};

/// A property: attribute, (limit, word) of low and high, the word between.
type Scale = (&'static str, (f64, &'static str), (f64, &'static str), &'static str);

const LEVEL: Scale = ("level", (-23.0, "quiet"), (-19.0, "loud"), "moderate");
const BRIGHTNESS: Scale = ("brightness", (340.0, "dark"), (550.0, "bright"), "warm");
const PULSE: Scale = ("pulse", (0.45, "free"), (0.64, "steady"), "flowing");

/// What was measured of one clip.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Attributes and their values, always three.
    pub attributes: Vec<(&'static str, &'static str)>,
    /// The words that belong into a caption: of those properties that are not in the middle.
    pub words: Vec<&'static str>,
}

impl Measured {
    /// Measures a clip.
    #[must_use]
    pub fn of(samples: &[f32], sample_rate_hz: u32) -> Self {
        let spectra = Spectra::of(samples, sample_rate_hz);
        Self::from_values([
            (LEVEL, loudness_db(samples, sample_rate_hz)),
            (BRIGHTNESS, brightness_hz(&spectra)),
            (PULSE, tempo_steadiness(&spectra)),
        ])
    }

    fn from_values(values: [(Scale, f64); 3]) -> Self {
        let mut measured = Self::default();
        for ((attribute, (low, low_word), (high, high_word), middle), value) in values {
            let (word, is_middle) = match value {
                value if value < low => (low_word, false),
                value if value > high => (high_word, false),
                _ => (middle, true),
            };
            measured.attributes.push((attribute, word));
            if !is_middle {
                measured.words.push(word);
            }
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(level: f64, brightness: f64, pulse: f64) -> String {
        Measured::from_values([(LEVEL, level), (BRIGHTNESS, brightness), (PULSE, pulse)]).words.join(" ")
    }

    #[test]
    fn levels_have_words_and_the_middle_has_none() {
        assert_eq!(words(-30.0, 100.0, 0.1), "quiet dark free");
        assert_eq!(words(-10.0, 900.0, 0.9), "loud bright steady");
        assert_eq!(words(-21.0, 400.0, 0.5), "");
        assert_eq!(words(f64::NAN, 400.0, 0.9), "steady");
    }

    #[test]
    fn tones_are_told_apart_by_level_and_brightness() {
        let tone = |hz: f32, level: f32| -> Vec<f32> {
            (0..48_000).map(|i| level * (std::f32::consts::TAU * hz * i as f32 / 24_000.0).sin()).collect()
        };
        let low = Measured::of(&tone(110.0, 0.02), 24_000);
        let high = Measured::of(&tone(1_500.0, 0.5), 24_000);
        assert_eq!(low.words[..2], ["quiet", "dark"]);
        assert_eq!(high.words[..2], ["loud", "bright"]);
        assert_eq!(low.attributes.len(), 3);
        assert_eq!(low.attributes[1], ("brightness", "dark"));
    }
}
