//! What is to be played: notes and drum hits in seconds, and the plan of beats and chords they stand on.

use musicrl_core::random::Stream;

use super::{
    attributes::{Attributes, Dynamics, Metre, Tempo, Timbre},
    theory::{Scale, progression},
};

/// Which part a note belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Lead,
    Accompaniment,
    Bass,
}

/// One pitched note.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub part: Part,
    /// `None` plays the bass' own sound.
    pub timbre: Option<Timbre>,
    pub onset_seconds: f64,
    pub seconds: f64,
    /// MIDI pitch.
    pub pitch: i32,
    /// 0 to 1.
    pub velocity: f32,
}

/// Sounds of the drum kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drum {
    Kick,
    Snare,
    Hat,
    Shaker,
}

/// One hit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    pub drum: Drum,
    pub onset_seconds: f64,
    pub velocity: f32,
}

/// A piece.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Score {
    pub notes: Vec<Note>,
    pub hits: Vec<Hit>,
}

/// The beats and chords of a piece.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub scale: Scale,
    pub clip_seconds: f64,
    pub beat_seconds: f64,
    pub bar_beats: usize,
    /// Whole bars that begin inside the clip.
    pub bars: usize,
    /// How long a chord lasts.
    pub chord_beats: usize,
    roots: [i32; 4],
    dynamics: Dynamics,
}

impl Plan {
    pub(super) fn new(attributes: &Attributes, clip_seconds: f64, random: &mut Stream) -> Self {
        let bar_beats = match attributes.metre {
            Metre::Four => 4,
            Metre::Three => 3,
        };
        let beat_seconds = 60.0 / f64::from(attributes.tempo_bpm.max(1));
        // At a slow tempo a bar is long: two chords in it keep the harmony moving.
        let chord_beats = if attributes.tempo == Tempo::Slow && bar_beats == 4 { 2 } else { bar_beats };
        Self {
            scale: Scale::new(attributes.tonic, attributes.mode),
            clip_seconds,
            beat_seconds,
            bar_beats,
            bars: (clip_seconds / (beat_seconds * bar_beats as f64)).ceil() as usize,
            chord_beats,
            roots: progression(attributes.mode, random),
            dynamics: attributes.dynamics,
        }
    }

    /// The chord's root at a beat, as a degree of the scale.
    pub(super) fn root(&self, beat: f64) -> i32 {
        self.roots[(beat / self.chord_beats as f64) as usize % 4]
    }

    /// The first beat of each chord.
    pub(super) fn chords(&self) -> impl Iterator<Item = usize> {
        (0..self.bars * self.bar_beats).step_by(self.chord_beats)
    }

    /// How hard to play at a time.
    pub(super) fn loudness(&self, onset_seconds: f64) -> f32 {
        match self.dynamics {
            Dynamics::Soft => 0.45,
            Dynamics::Medium => 0.68,
            Dynamics::Loud => 0.95,
            Dynamics::Crescendo => 0.3 + 0.7 * (onset_seconds / self.clip_seconds).clamp(0.0, 1.0) as f32,
        }
    }

    /// How hard a beat is played against the others: the first of the bar most, off-beats least.
    pub(super) fn accent(&self, beat: f64) -> f32 {
        let in_bar = beat.rem_euclid(self.bar_beats as f64);
        if in_bar < 1e-6 {
            1.0
        } else if (in_bar - in_bar.round()).abs() < 1e-6 {
            0.88
        } else {
            0.76
        }
    }

    /// Onset of a beat: a few milliseconds of human unsteadiness, none on the first note.
    fn onset(&self, beat: f64, random: &mut Stream) -> f64 {
        (beat * self.beat_seconds + 0.003 * random.normal().clamp(-2.0, 2.0)).max(0.0)
    }
}

impl Score {
    /// Writes a note down if it begins inside the clip. `at` and `beats` count beats.
    pub(super) fn note(
        &mut self,
        plan: &Plan,
        (part, timbre): (Part, Option<Timbre>),
        (at, beats): (f64, f64),
        pitch: i32,
        random: &mut Stream,
    ) {
        let onset_seconds = plan.onset(at, random);
        let human = 0.94 + 0.12 * random.uniform() as f32;
        if onset_seconds < plan.clip_seconds {
            let velocity = (plan.loudness(onset_seconds) * plan.accent(at) * human).clamp(0.0, 1.0);
            let seconds = (beats * plan.beat_seconds).max(0.04);
            self.notes.push(Note { part, timbre, onset_seconds, seconds, pitch, velocity });
        }
    }

    /// Writes a hit down if it lies inside the clip.
    pub(super) fn hit(&mut self, plan: &Plan, drum: Drum, at: f64, strength: f32, random: &mut Stream) {
        let onset_seconds = plan.onset(at, random);
        if onset_seconds < plan.clip_seconds {
            let velocity = (plan.loudness(onset_seconds) * strength).clamp(0.0, 1.0);
            self.hits.push(Hit { drum, onset_seconds, velocity });
        }
    }
}
