//! The lead: a tune from a repeated motive, or chords.

use musicrl_core::random::Stream;

use super::{
    accompaniment::{arpeggio, gate},
    attributes::{Attributes, Density, Tempo, Texture, Timbre},
    score::{Part, Plan, Score},
};

/// A bar's rhythm and contour. The same motive over another chord begins on that chord.
struct Motive {
    /// Onset and length in beats, and scale steps above the motive's first note.
    notes: Vec<(f64, f64, i32)>,
}

/// One bar's note lengths in beats.
fn rhythm(attributes: &Attributes, bar_beats: usize, random: &mut Stream) -> Vec<f64> {
    let choices: &[&[f64]] = match (attributes.density, bar_beats) {
        (Density::Sparse, 3) => &[&[3.0], &[2.0, 1.0]],
        (Density::Sparse, _) if attributes.tempo == Tempo::Slow => &[&[2.0, 2.0], &[3.0, 1.0]],
        (Density::Sparse, _) => &[&[2.0, 2.0], &[3.0, 1.0], &[4.0]],
        (Density::Medium, 3) => &[&[1.0, 1.0, 1.0], &[1.0, 0.5, 0.5, 1.0], &[1.5, 0.5, 1.0]],
        (Density::Medium, _) => {
            &[&[1.0, 1.0, 1.0, 1.0], &[1.0, 0.5, 0.5, 2.0], &[1.5, 0.5, 1.0, 1.0], &[1.0, 1.0, 0.5, 0.5, 1.0]]
        }
        (Density::Dense, _) => {
            let cells: &[&[f64]] = if attributes.tempo == Tempo::Fast {
                // Sixteenths at this tempo would be a blur: one pair now and then.
                &[&[0.5, 0.5], &[0.5, 0.5], &[0.5, 0.25, 0.25]]
            } else {
                &[&[0.5, 0.5], &[0.5, 0.25, 0.25], &[0.25, 0.25, 0.25, 0.25], &[0.25, 0.25, 0.5]]
            };
            return (0..bar_beats)
                .flat_map(|_| random.pick(cells).copied().unwrap_or(&[0.5, 0.5]).iter().copied())
                .collect();
        }
    };
    random.pick(choices).map_or_else(|| vec![1.0; bar_beats], |lengths| lengths.to_vec())
}

impl Motive {
    fn draw(attributes: &Attributes, bar_beats: usize, random: &mut Stream) -> Self {
        let mut at = 0.0;
        let mut step = 0;
        let mut notes = Vec::new();
        for length in rhythm(attributes, bar_beats, random) {
            notes.push((at, length, step));
            at += length;
            // Mostly steps, a leap now and then, and back towards the beginning.
            let steps: &[i32] = if step > 3 {
                &[-1, -1, -2, -3]
            } else if step < -3 {
                &[1, 1, 2, 3]
            } else {
                &[-2, -1, -1, -1, 1, 1, 1, 2, 2, -4, 4]
            };
            step += random.pick(steps).copied().unwrap_or(1);
        }
        Self { notes }
    }
}

/// The middle of an instrument's range.
pub(super) fn centre(timbre: Timbre) -> i32 {
    match timbre {
        Timbre::Guitar => 64,
        Timbre::Trumpet | Timbre::Clarinet => 67,
        Timbre::Organ => 69,
        Timbre::Strings => 71,
        Timbre::Piano | Timbre::Marimba | Timbre::Synth => 72,
        Timbre::Flute => 80,
        Timbre::Bells => 82,
    }
}

/// Writes the lead's part.
pub(super) fn lead(attributes: &Attributes, plan: &Plan, score: &mut Score, random: &mut Stream) {
    match attributes.texture {
        Texture::Melody => melody(attributes, plan, score, random),
        Texture::Chords => chords(attributes, plan, score, random),
        Texture::Arpeggio => {
            let beats = match (attributes.density, attributes.tempo) {
                (Density::Sparse, _) => 1.0,
                (Density::Medium, _) => 0.5,
                (Density::Dense, Tempo::Fast) => 1.0 / 3.0,
                (Density::Dense, _) => 0.25,
            };
            let player = (Part::Lead, attributes.lead);
            arpeggio(attributes, plan, player, centre(attributes.lead) - 3, beats, score, random);
        }
    }
}

/// Bars A A' B A'' of a four-bar phrase, the last of them ending on a long note of the chord.
fn melody(attributes: &Attributes, plan: &Plan, score: &mut Score, random: &mut Stream) {
    let motives = [0, 1].map(|_| Motive::draw(attributes, plan.bar_beats, random));
    let centre = centre(attributes.lead);
    let home = plan.scale.degree_near(centre);
    let gate = gate(attributes.articulation);
    for bar in 0..plan.bars {
        let motive = &motives[usize::from(bar % 4 == 2)];
        let bar_start = (bar * plan.bar_beats) as f64;
        let first = plan.scale.chord_tone_near(home, plan.root(bar_start));
        let half = (plan.bar_beats / 2) as f64;
        let cadence = bar % 4 == 3;
        for &(onset, length, step) in &motive.notes {
            let at = bar_start + onset;
            let ends_here = cadence && onset >= half;
            let mut degree = first + step;
            if ends_here || onset % 2.0 == 0.0 {
                degree = plan.scale.chord_tone_near(degree, plan.root(at));
            }
            let length = if ends_here { plan.bar_beats as f64 - onset } else { length };
            let pitch = plan.scale.pitch(degree);
            score.note(plan, (Part::Lead, Some(attributes.lead)), (at, length * gate), pitch, random);
            if ends_here {
                break;
            }
        }
    }
}

/// Chords as the lead's only business.
fn chords(attributes: &Attributes, plan: &Plan, score: &mut Score, random: &mut Stream) {
    let beats = match attributes.density {
        Density::Sparse => plan.chord_beats as f64,
        Density::Medium => 1.0,
        Density::Dense => 0.5,
    };
    let gate = gate(attributes.articulation);
    for start in plan.chords() {
        let voicing = plan.scale.voicing(plan.root(start as f64), centre(attributes.lead).min(70) - 4);
        let mut at = 0.0;
        while at < plan.chord_beats as f64 - 1e-6 {
            for pitch in voicing {
                let note = (start as f64 + at, beats * gate);
                score.note(plan, (Part::Lead, Some(attributes.lead)), note, pitch, random);
            }
            at += beats;
        }
    }
}
