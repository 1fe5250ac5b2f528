//! What goes along with the lead: chords, bass, percussion.

use musicrl_core::random::Stream;

use super::{
    attributes::{Articulation, Attributes, Bass, Pattern, Percussion, Timbre},
    score::{Drum, Part, Plan, Score},
};

/// Share of its time for which a note is held.
pub(super) fn gate(articulation: Articulation) -> f64 {
    match articulation {
        Articulation::Staccato => 0.3,
        Articulation::Normal => 0.85,
        Articulation::Legato => 1.08,
    }
}

/// The middle of the accompaniment's range: below every lead.
const CENTRE: i32 = 57;

/// Writes the accompanying instrument's part.
pub(super) fn accompany(attributes: &Attributes, plan: &Plan, score: &mut Score, random: &mut Stream) {
    let Some((timbre, pattern)) = attributes.accompaniment else { return };
    let gate = gate(attributes.articulation);
    let player = (Part::Accompaniment, Some(timbre));
    // In three-four time the bass has the first beat, if there is one, and the chords the others.
    let after_beat = plan.bar_beats == 3 && attributes.bass != Bass::None;
    match pattern {
        Pattern::Arpeggio => arpeggio(attributes, plan, (Part::Accompaniment, timbre), CENTRE, 0.5, score, random),
        Pattern::Held => {
            for start in plan.chords() {
                for pitch in plan.scale.voicing(plan.root(start as f64), CENTRE) {
                    score.note(plan, player, (start as f64, plan.chord_beats as f64 * 1.02), pitch, random);
                }
            }
        }
        Pattern::Block => {
            for start in plan.chords() {
                let voicing = plan.scale.voicing(plan.root(start as f64), CENTRE);
                for beat in start + usize::from(after_beat)..start + plan.chord_beats {
                    for pitch in voicing {
                        score.note(plan, player, (beat as f64, gate), pitch, random);
                    }
                }
            }
        }
    }
}

/// Chord notes one after another, up and down, a new one every `beats` beats.
pub(super) fn arpeggio(
    attributes: &Attributes,
    plan: &Plan,
    (part, timbre): (Part, Timbre),
    centre: i32,
    beats: f64,
    score: &mut Score,
    random: &mut Stream,
) {
    // Notes that ring into the next are what makes an arpeggio of struck and plucked strings.
    let length = match attributes.articulation {
        Articulation::Staccato => 0.4,
        Articulation::Normal => 1.2,
        Articulation::Legato => 2.0,
    } * beats;
    let order: &[usize] = if plan.bar_beats == 3 { &[0, 1, 2, 3, 2, 1] } else { &[0, 1, 2, 3] };
    for start in plan.chords() {
        let [low, middle, high] = plan.scale.voicing(plan.root(start as f64), centre);
        let notes = [low, middle, high, low + 12];
        let count = (plan.chord_beats as f64 / beats).round() as usize;
        for (index, &which) in order.iter().cycle().take(count).enumerate() {
            let at = start as f64 + index as f64 * beats;
            score.note(plan, (part, Some(timbre)), (at, length), notes[which], random);
        }
    }
}

/// Writes the bass line, from E1 to E flat 2 and a fifth above.
pub(super) fn bass(attributes: &Attributes, plan: &Plan, score: &mut Score, random: &mut Stream) {
    let low = |degree: i32| 33 + (plan.scale.pitch(degree) - 33).rem_euclid(12);
    let player = (Part::Bass, None);
    for start in plan.chords() {
        let root = plan.root(start as f64);
        match attributes.bass {
            Bass::None => return,
            Bass::Root => {
                let step = if plan.bar_beats == 3 { 3 } else { 2 };
                for (index, beat) in (start..start + plan.chord_beats).step_by(step).enumerate() {
                    let fifth = index % 2 == 1;
                    let pitch = low(if fifth { root + 4 } else { root });
                    score.note(plan, player, (beat as f64, step as f64 * 0.9), pitch, random);
                }
            }
            Bass::Walking => {
                let next = low(plan.root((start + plan.chord_beats) as f64));
                let middle: &[i32] = if random.chance(0.5) { &[2, 4] } else { &[4, 2] };
                for beat in 0..plan.chord_beats {
                    let pitch = if beat == 0 {
                        low(root)
                    } else if beat + 1 == plan.chord_beats {
                        // A scale step below or above what comes next.
                        let target = plan.scale.degree_near(next);
                        plan.scale.pitch(target + if random.chance(0.5) { 1 } else { -1 })
                    } else {
                        low(root + middle[(beat - 1) % 2])
                    };
                    score.note(plan, player, ((start + beat) as f64, 0.92), pitch, random);
                }
            }
        }
    }
}

/// Writes the percussion.
pub(super) fn percussion(attributes: &Attributes, plan: &Plan, score: &mut Score, random: &mut Stream) {
    let four_on_the_floor = plan.bar_beats == 4 && random.chance(0.35);
    let syncopated = random.chance(0.4);
    for bar in 0..plan.bars {
        for half in 0..plan.bar_beats * 2 {
            let at = (bar * plan.bar_beats) as f64 + half as f64 * 0.5;
            let on_beat = half % 2 == 0;
            let beat = half / 2;
            match attributes.percussion {
                Percussion::None => return,
                Percussion::Shaker => {
                    score.hit(plan, Drum::Shaker, at, if on_beat { 1.0 } else { 0.6 }, random);
                }
                Percussion::Drums => {
                    let (kick, snare) = if plan.bar_beats == 3 {
                        (beat == 0, beat > 0)
                    } else {
                        (four_on_the_floor || beat % 2 == 0, beat % 2 == 1)
                    };
                    if (on_beat && kick) || (syncopated && !four_on_the_floor && half == 5) {
                        score.hit(plan, Drum::Kick, at, 1.0, random);
                    }
                    if on_beat && snare {
                        score.hit(plan, Drum::Snare, at, if plan.bar_beats == 3 { 0.6 } else { 0.9 }, random);
                    }
                    if !(four_on_the_floor && on_beat) {
                        score.hit(plan, Drum::Hat, at, if on_beat { 0.8 } else { 0.55 }, random);
                    }
                    // A fill leads into the next phrase.
                    if bar % 4 == 3 && half + 2 >= plan.bar_beats * 2 {
                        score.hit(plan, Drum::Snare, at, 0.5, random);
                        score.hit(plan, Drum::Snare, at + 0.25, 0.65, random);
                    }
                }
            }
        }
    }
}
