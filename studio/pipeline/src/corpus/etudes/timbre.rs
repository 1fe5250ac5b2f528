//! How each instrument sounds: its partials and how they rise and fall.

use super::attributes::{Brightness, Timbre};

/// One sine of a sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partial {
    /// Frequency over the fundamental's.
    pub ratio: f64,
    pub level: f64,
    /// Time constant of the rise.
    pub attack_seconds: f64,
    /// Time constant of the fall after the rise.
    pub decay_seconds: f64,
    /// What the fall ends on, as a share of the level.
    pub sustain: f64,
}

/// A sound made of sines and a little noise.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub partials: Vec<Partial>,
    /// Time constant of the fall after the note's end.
    pub release_seconds: f64,
    pub vibrato_hz: f64,
    pub vibrato_cents: f64,
    /// Level of the blown or bowed noise that lasts as long as the note.
    pub breath: f64,
    /// Level of the knock of a hammer or mallet at the beginning.
    pub knock: f64,
}

/// Exponent by which partials are raised or lowered with their height: the player's part in brightness.
pub(super) fn tilt(brightness: Brightness, velocity: f32) -> f64 {
    let asked = match brightness {
        Brightness::Dark => -0.7,
        Brightness::Medium => 0.0,
        Brightness::Bright => 0.4,
    };
    // Hard notes are brighter, as on any real instrument.
    asked + 0.9 * (f64::from(velocity) - 0.7)
}

/// A partial that stays.
fn sustained(ratio: f64, level: f64, attack_seconds: f64) -> Partial {
    Partial { ratio, level, attack_seconds, decay_seconds: 1.0, sustain: 1.0 }
}

/// A partial that dies away.
fn struck(ratio: f64, level: f64, decay_seconds: f64) -> Partial {
    Partial { ratio, level, attack_seconds: 0.0015, decay_seconds, sustain: 0.0 }
}

/// The sound of an instrument on one note; the guitar has a synthesis of its own.
pub(super) fn recipe(timbre: Timbre, frequency_hz: f64, seconds: f64, tilt: f64) -> Recipe {
    let mut recipe = Recipe {
        partials: Vec::new(),
        release_seconds: 0.05,
        vibrato_hz: 0.0,
        vibrato_cents: 0.0,
        breath: 0.0,
        knock: 0.0,
    };
    // A slow attack must not swallow a short note.
    let rise = |attack_seconds: f64| attack_seconds.min(0.25 * seconds);
    let harmonics = |count: i32| (1..=count).map(f64::from);
    match timbre {
        Timbre::Piano | Timbre::Guitar => {
            // Stiffness sharpens the upper partials; the hammer at an eighth of the string silences each eighth one.
            let ring = 1.1 * libm::sqrt(262.0 / frequency_hz);
            recipe.partials = harmonics(14)
                .map(|k| {
                    let comb = 0.15 + libm::fabs(libm::sin(core::f64::consts::PI * k / 8.0));
                    let stretch = libm::sqrt(1.0 + 0.0004 * k * k);
                    struck(k * stretch, comb * libm::pow(k, -1.25), ring / (1.0 + 0.3 * (k - 1.0)))
                })
                .collect();
            recipe.knock = 0.05;
        }
        Timbre::Organ => {
            let ranks = [(0.5, 0.25), (1.0, 1.0), (2.0, 0.7), (3.0, 0.35), (4.0, 0.45), (6.0, 0.15), (8.0, 0.25)];
            recipe.partials = ranks.into_iter().map(|(ratio, level)| sustained(ratio, level, rise(0.012))).collect();
            recipe.release_seconds = 0.04;
        }
        Timbre::Flute => {
            let levels = [1.0, 0.28, 0.1, 0.03];
            recipe.partials = harmonics(4).zip(levels).map(|(k, level)| sustained(k, level, rise(0.04))).collect();
            recipe.breath = 0.07;
            recipe.vibrato_hz = 5.2;
            recipe.vibrato_cents = 9.0;
            recipe.release_seconds = 0.06;
        }
        Timbre::Bells => {
            recipe.partials = vec![
                struck(0.5, 0.18, 1.6),
                struck(1.0, 1.0, 1.4),
                struck(2.0, 0.35, 0.9),
                struck(2.76, 0.5, 0.6),
                struck(5.4, 0.3, 0.25),
                struck(8.93, 0.15, 0.1),
            ];
            recipe.release_seconds = 0.9;
        }
        Timbre::Trumpet => {
            // Equal levels up to the bell's resonance near 1.4 kHz, less above; the higher, the later.
            recipe.partials = harmonics(14)
                .map(|k| {
                    let above = (k * frequency_hz / 1400.0).max(1.0);
                    sustained(k, libm::pow(above, -2.0), rise(0.012 + 0.006 * k))
                })
                .collect();
            recipe.vibrato_hz = 5.0;
            recipe.vibrato_cents = 5.0;
            recipe.release_seconds = 0.04;
        }
        Timbre::Strings => {
            // Two players a little apart.
            recipe.partials = harmonics(10)
                .flat_map(|k| [0.9965, 1.0035].map(|detune| sustained(k * detune, libm::pow(k, -1.0), rise(0.07))))
                .collect();
            recipe.breath = 0.02;
            recipe.vibrato_hz = 5.6;
            recipe.vibrato_cents = 7.0;
            recipe.release_seconds = 0.12;
        }
        Timbre::Marimba => {
            let ring = 0.32 * libm::sqrt(523.0 / frequency_hz);
            recipe.partials =
                vec![struck(1.0, 1.0, ring), struck(3.93, 0.32, 0.3 * ring), struck(9.24, 0.1, 0.08 * ring)];
            recipe.knock = 0.16;
            recipe.release_seconds = 0.2;
        }
        Timbre::Clarinet => {
            let levels = [(1.0, 1.0), (2.0, 0.04), (3.0, 0.75), (4.0, 0.05), (5.0, 0.5), (7.0, 0.25), (9.0, 0.14)];
            recipe.partials = levels.into_iter().map(|(k, level)| sustained(k, level, rise(0.025))).collect();
            recipe.breath = 0.015;
            recipe.release_seconds = 0.05;
        }
        Timbre::Synth => {
            recipe.partials = harmonics(12)
                .flat_map(|k| {
                    [0.994, 1.006].map(|detune| Partial {
                        ratio: k * detune,
                        level: libm::pow(k, -0.75),
                        attack_seconds: 0.004,
                        decay_seconds: 0.5 / k,
                        sustain: libm::pow(k, -0.6),
                    })
                })
                .collect();
            recipe.release_seconds = 0.05;
        }
    }
    apply_tilt(&mut recipe, tilt);
    recipe
}

/// The bass: a round pluck.
pub(super) fn bass(frequency_hz: f64, tilt: f64) -> Recipe {
    let ring = 0.7 * libm::sqrt(65.0 / frequency_hz);
    let partials = (1..=7)
        .map(f64::from)
        .map(|k| Partial {
            ratio: k,
            level: libm::pow(k, -1.1),
            attack_seconds: 0.004,
            decay_seconds: ring / (1.0 + 0.6 * (k - 1.0)),
            sustain: if k < 2.5 { 0.25 } else { 0.0 },
        })
        .collect();
    let mut recipe =
        Recipe { partials, release_seconds: 0.05, vibrato_hz: 0.0, vibrato_cents: 0.0, breath: 0.0, knock: 0.02 };
    apply_tilt(&mut recipe, tilt);
    recipe
}

/// Raises partial k by k^tilt and brings all sounds to one power, so that no instrument drowns another.
fn apply_tilt(recipe: &mut Recipe, tilt: f64) {
    for partial in &mut recipe.partials {
        partial.level *= libm::pow(partial.ratio.max(1.0), tilt);
    }
    let power: f64 = recipe.partials.iter().map(|partial| partial.level * partial.level).sum();
    let scale = 1.0 / libm::sqrt(power.max(1e-9));
    for partial in &mut recipe.partials {
        partial.level *= scale;
    }
}
