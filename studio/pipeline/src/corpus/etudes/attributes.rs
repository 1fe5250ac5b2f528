//! What an etude is, before it is composed: its attributes, how they are drawn, and which combinations are held out.

use std::collections::BTreeMap;

use musicrl_core::random::Stream;
use serde::{Deserialize, Serialize};

use crate::corpus::Split;

/// An enumeration with its values and their names in files.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])* #[serde(rename = $text)] $value,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The value's name in files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

choices! {
    /// The sound of a pitched part.
    Timbre {
        /// A plucked string.
        Guitar = "guitar",
        /// Struck strings.
        Piano = "piano",
        /// Pipes, sustained.
        Organ = "organ",
        /// A breathy, nearly pure tone.
        Flute = "flute",
        /// Inharmonic, long ringing.
        Bells = "bells",
        /// Brass: its harmonics enter one after another.
        Trumpet = "trumpet",
        /// Bowed strings in unison.
        Strings = "strings",
        /// Struck wooden bars, short.
        Marimba = "marimba",
        /// Odd harmonics.
        Clarinet = "clarinet",
        /// A detuned saw with a closing filter.
        Synth = "synth",
    }
}

choices! {
    /// The scale.
    Mode {
        /// Ionian.
        Major = "major",
        /// Major with a raised fourth.
        Lydian = "lydian",
        /// Major with a lowered seventh.
        Mixolydian = "mixolydian",
        /// Natural minor.
        Minor = "minor",
        /// Minor with a raised sixth.
        Dorian = "dorian",
        /// Minor with a lowered second.
        Phrygian = "phrygian",
    }
}

choices! {
    /// Class of tempo; the classes leave gaps between them so that they can be told apart.
    Tempo {
        /// 56 to 74 beats a minute.
        Slow = "slow",
        /// 92 to 112 beats a minute.
        Moderate = "moderate",
        /// 136 to 168 beats a minute.
        Fast = "fast",
    }
}

choices! {
    /// Beats in a bar.
    Metre {
        /// Four quarters.
        Four = "4/4",
        /// Three quarters.
        Three = "3/4",
    }
}

choices! {
    /// What the lead instrument does.
    Texture {
        /// One note at a time, a tune.
        Melody = "melody",
        /// Chords together.
        Chords = "chords",
        /// Chords one note after another.
        Arpeggio = "arpeggio",
    }
}

choices! {
    /// What the accompanying instrument does.
    Pattern {
        /// Chords on the beats.
        Block = "block",
        /// Chords one note after another.
        Arpeggio = "arpeggio",
        /// Chords that last until the next one.
        Held = "held",
    }
}

choices! {
    /// The bass line.
    Bass {
        /// No bass.
        None = "none",
        /// Roots and fifths.
        Root = "root",
        /// A note a beat, stepwise to the next root.
        Walking = "walking",
    }
}

choices! {
    /// What beats time.
    Percussion {
        /// Nothing.
        None = "none",
        /// Kick, snare and hi-hat.
        Drums = "drums",
        /// A shaker alone.
        Shaker = "shaker",
    }
}

choices! {
    /// How many notes the lead plays a beat.
    Density {
        /// One note every second beat or fewer.
        Sparse = "sparse",
        /// About a note a beat.
        Medium = "medium",
        /// Two notes a beat or more.
        Dense = "dense",
    }
}

choices! {
    /// Loudness and its course.
    Dynamics {
        /// Quiet throughout.
        Soft = "soft",
        /// Neither.
        Medium = "medium",
        /// Loud throughout.
        Loud = "loud",
        /// From quiet to loud.
        Crescendo = "crescendo",
    }
}

choices! {
    /// Balance of high and low frequencies.
    Brightness {
        /// Muffled.
        Dark = "dark",
        /// As the instrument is.
        Medium = "medium",
        /// Brilliant.
        Bright = "bright",
    }
}

choices! {
    /// How long the notes last of the time they have.
    Articulation {
        /// Short, with gaps.
        Staccato = "staccato",
        /// Nearly all of it.
        Normal = "normal",
        /// Into the next one.
        Legato = "legato",
    }
}

/// Names of the twelve pitch classes, from C on.
pub const TONICS: [&str; 12] = ["C", "D flat", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B"];

/// Everything that is decided about an etude before a note is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// Pitch class of the tonic, 0 (C) to 11 (B).
    pub tonic: u8,
    /// The scale.
    pub mode: Mode,
    /// Class of tempo.
    pub tempo: Tempo,
    /// Beats a minute, inside the class.
    pub tempo_bpm: u16,
    /// Beats in a bar.
    pub metre: Metre,
    /// The lead's sound.
    pub lead: Timbre,
    /// What the lead does.
    pub texture: Texture,
    /// The accompanying instrument and what it does.
    pub accompaniment: Option<(Timbre, Pattern)>,
    /// The bass line.
    pub bass: Bass,
    /// What beats time.
    pub percussion: Percussion,
    /// How many notes the lead plays.
    pub density: Density,
    /// Loudness.
    pub dynamics: Dynamics,
    /// Spectral balance.
    pub brightness: Brightness,
    /// Length of the notes.
    pub articulation: Articulation,
}

impl Timbre {
    /// True where the instrument can sound several notes at once.
    #[must_use]
    pub fn plays_chords(self) -> bool {
        !matches!(self, Self::Flute | Self::Trumpet | Self::Clarinet)
    }

    /// True where the player ends a note; the others ring as long as they ring.
    #[must_use]
    pub fn is_damped(self) -> bool {
        !matches!(self, Self::Bells | Self::Marimba)
    }
}

impl Mode {
    /// True with a major third above the tonic.
    #[must_use]
    pub fn has_major_third(self) -> bool {
        matches!(self, Self::Major | Self::Lydian | Self::Mixolydian)
    }
}

impl Tempo {
    /// Slowest and fastest tempo of the class, in beats a minute.
    #[must_use]
    pub fn bpm_range(self) -> (u16, u16) {
        match self {
            Self::Slow => (56, 74),
            Self::Moderate => (92, 112),
            Self::Fast => (136, 168),
        }
    }
}

/// The tonics that are drawn, C, D, G and A: a small model meets each key often enough to stay in it.
const DRAWN_TONICS: [u8; 4] = [0, 2, 7, 9];

/// Each combination of lead, tempo and percussion (some or none) belongs to one split, whatever the seed: models that
/// were trained on one corpus of etudes have not met the held-out combinations of another. One of the ten leads is held
/// out for each of the six pairs of tempo and percussion, a different one each time, so that every lead is heard in
/// training with every tempo, and with and without percussion. All three are plain to hear: were one of them not, a
/// model could guess it from the other two in training, and would guess wrongly in the held-out part.
fn held_out_lead(tempo: Tempo, percussion: bool) -> Timbre {
    match (tempo, percussion) {
        (Tempo::Slow, true) => Timbre::Trumpet,
        (Tempo::Slow, false) => Timbre::Guitar,
        (Tempo::Moderate, true) => Timbre::Strings,
        (Tempo::Moderate, false) => Timbre::Flute,
        (Tempo::Fast, true) => Timbre::Piano,
        (Tempo::Fast, false) => Timbre::Marimba,
    }
}

/// One of `items`, with the given weights.
fn weighted<T: Copy>(random: &mut Stream, first: T, items: &[(T, f64)]) -> T {
    let mut left = random.uniform() * items.iter().map(|(_, weight)| weight).sum::<f64>();
    for &(item, weight) in items {
        left -= weight;
        if left < 0.0 {
            return item;
        }
    }
    first
}

impl Attributes {
    /// Draws the attributes of one etude of a split.
    #[must_use]
    pub fn draw(random: &mut Stream, split: Split) -> Self {
        let tempo = weighted(random, Tempo::Slow, &[(Tempo::Slow, 1.0), (Tempo::Moderate, 1.0), (Tempo::Fast, 1.0)]);
        let major_third = random.chance(0.5);
        let mode = if major_third {
            weighted(random, Mode::Major, &[(Mode::Major, 0.7), (Mode::Lydian, 0.15), (Mode::Mixolydian, 0.15)])
        } else {
            weighted(random, Mode::Minor, &[(Mode::Minor, 0.7), (Mode::Dorian, 0.15), (Mode::Phrygian, 0.15)])
        };
        let percussion = weighted(
            random,
            Percussion::None,
            &[(Percussion::None, 0.48), (Percussion::Drums, 0.36), (Percussion::Shaker, 0.16)],
        );
        let held_out = held_out_lead(tempo, percussion != Percussion::None);
        let others: Vec<Timbre> = Timbre::ALL.iter().copied().filter(|&timbre| timbre != held_out).collect();
        let lead = match split {
            Split::HeldOut => held_out,
            Split::Train => random.pick(&others).copied().unwrap_or(held_out),
        };
        let (slowest, fastest) = tempo.bpm_range();
        let tempo_bpm = slowest + random.below(usize::from(fastest - slowest) + 1) as u16;
        let texture = if lead.plays_chords() {
            weighted(
                random,
                Texture::Melody,
                &[(Texture::Melody, 0.7), (Texture::Chords, 0.15), (Texture::Arpeggio, 0.15)],
            )
        } else {
            Texture::Melody
        };
        let articulation = if lead.is_damped() {
            weighted(
                random,
                Articulation::Normal,
                &[(Articulation::Staccato, 0.25), (Articulation::Normal, 0.45), (Articulation::Legato, 0.3)],
            )
        } else {
            Articulation::Normal
        };
        let accompaniment = (texture == Texture::Melody && random.chance(0.75)).then(|| {
            let timbre = weighted(
                random,
                Timbre::Piano,
                &[(Timbre::Piano, 0.3), (Timbre::Guitar, 0.25), (Timbre::Organ, 0.2), (Timbre::Strings, 0.25)],
            );
            let sustains = matches!(timbre, Timbre::Organ | Timbre::Strings);
            let pattern = match (sustains, articulation) {
                (true, Articulation::Staccato) | (false, _) => {
                    weighted(random, Pattern::Block, &[(Pattern::Block, 0.5), (Pattern::Arpeggio, 0.5)])
                }
                (true, _) => weighted(random, Pattern::Held, &[(Pattern::Held, 0.7), (Pattern::Block, 0.3)]),
            };
            (timbre, pattern)
        });
        // Few notes and short ones would be mostly silence.
        let sparse = if articulation == Articulation::Staccato { 0.0 } else { 0.3 };
        let density = weighted(
            random,
            Density::Medium,
            &[(Density::Sparse, sparse), (Density::Medium, 0.4), (Density::Dense, 0.3)],
        );
        Self {
            tonic: random.pick(&DRAWN_TONICS).copied().unwrap_or(0),
            mode,
            tempo,
            tempo_bpm,
            metre: weighted(random, Metre::Four, &[(Metre::Four, 0.7), (Metre::Three, 0.3)]),
            lead,
            texture,
            accompaniment,
            bass: weighted(random, Bass::None, &[(Bass::None, 0.45), (Bass::Root, 0.35), (Bass::Walking, 0.2)]),
            percussion,
            density,
            dynamics: weighted(
                random,
                Dynamics::Medium,
                &[
                    (Dynamics::Soft, 0.28),
                    (Dynamics::Medium, 0.32),
                    (Dynamics::Loud, 0.28),
                    (Dynamics::Crescendo, 0.12),
                ],
            ),
            brightness: weighted(
                random,
                Brightness::Medium,
                &[(Brightness::Dark, 0.3), (Brightness::Medium, 0.4), (Brightness::Bright, 0.3)],
            ),
            articulation,
        }
    }

    /// The split to which this combination of lead, tempo and percussion belongs.
    #[must_use]
    pub fn split(&self) -> Split {
        if self.lead == held_out_lead(self.tempo, self.percussion != Percussion::None) {
            Split::HeldOut
        } else {
            Split::Train
        }
    }

    /// True when nothing but the lead's instrument sounds.
    #[must_use]
    pub fn is_solo(&self) -> bool {
        self.bass == Bass::None
            && self.percussion == Percussion::None
            && self.accompaniment.is_none_or(|(timbre, _)| timbre == self.lead)
    }

    /// Name and value of each attribute, as `clips.jsonl` has them.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let (accompaniment, pattern) =
            self.accompaniment.map_or(("none", "none"), |(timbre, pattern)| (timbre.name(), pattern.name()));
        let bpm = self.tempo_bpm.to_string();
        [
            ("tonic", TONICS[usize::from(self.tonic) % 12]),
            ("mode", self.mode.name()),
            ("tempo", self.tempo.name()),
            ("tempo_bpm", &bpm),
            ("metre", self.metre.name()),
            ("lead", self.lead.name()),
            ("texture", self.texture.name()),
            ("accompaniment", accompaniment),
            ("pattern", pattern),
            ("bass", self.bass.name()),
            ("percussion", self.percussion.name()),
            ("density", self.density.name()),
            ("dynamics", self.dynamics.name()),
            ("brightness", self.brightness.name()),
            ("articulation", self.articulation.name()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    fn drawn(split: Split) -> Vec<Attributes> {
        (0..600).map(|clip| Attributes::draw(&mut Key::new(5, Purpose::Test).clip(clip).stream(), split)).collect()
    }

    #[test]
    fn splits_share_no_combination_and_hold_out_a_tenth() {
        for split in [Split::Train, Split::HeldOut] {
            assert!(drawn(split).iter().all(|attributes| attributes.split() == split));
        }
        let held_out: Vec<Timbre> =
            Tempo::ALL.iter().flat_map(|&tempo| [true, false].map(|beaten| held_out_lead(tempo, beaten))).collect();
        let mut distinct = held_out.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), held_out.len());
        assert_eq!(held_out.len() * 10, Timbre::ALL.len() * Tempo::ALL.len() * 2);
    }

    #[test]
    fn every_value_is_drawn_and_fits_the_others() {
        let drawn = drawn(Split::Train);
        for &lead in Timbre::ALL {
            assert!(drawn.iter().filter(|attributes| attributes.lead == lead).count() > 20, "{lead:?}");
        }
        for &mode in Mode::ALL {
            assert!(drawn.iter().any(|attributes| attributes.mode == mode), "{mode:?}");
        }
        for attributes in &drawn {
            let (slowest, fastest) = attributes.tempo.bpm_range();
            assert!((slowest..=fastest).contains(&attributes.tempo_bpm));
            assert!(attributes.texture == Texture::Melody || attributes.lead.plays_chords());
            assert!(attributes.articulation == Articulation::Normal || attributes.lead.is_damped());
            assert!(attributes.articulation != Articulation::Staccato || attributes.density != Density::Sparse);
            assert!(DRAWN_TONICS.contains(&attributes.tonic));
        }
    }

    #[test]
    fn attributes_survive_their_file_form() {
        for attributes in &drawn(Split::HeldOut)[..20] {
            let text = serde_json::to_string(attributes).unwrap();
            assert_eq!(serde_json::from_str::<Attributes>(&text).unwrap(), *attributes);
            assert_eq!(attributes.to_map()["lead"], attributes.lead.name());
        }
    }
}
