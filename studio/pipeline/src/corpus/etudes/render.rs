//! From a score to sound: every note and hit, the room, the tone, the level.

use musicrl_core::random::Stream;

use super::{
    attributes::{Attributes, Brightness, Dynamics, Timbre},
    drums,
    filter::Biquad,
    reverb,
    score::{Drum, Part, Score},
    timbre::{bass, recipe, tilt},
    voice::{Tone, play, pluck},
};

/// No sample exceeds this (-1 dBFS).
const CEILING: f32 = 0.89;
/// Below this, the limiter changes nothing.
const KNEE: f32 = 0.6;
/// The piece fades in and out over these times, so that a cut is not a click.
const FADE_IN_SECONDS: f64 = 0.002;
const FADE_OUT_SECONDS: f64 = 0.05;

/// Loudness by the strength of the playing: root mean square of the sounding parts, in dBFS.
fn level_db(dynamics: Dynamics) -> f64 {
    match dynamics {
        Dynamics::Soft => -28.0,
        Dynamics::Medium => -21.0,
        Dynamics::Loud => -14.0,
        Dynamics::Crescendo => -18.0,
    }
}

/// Plays a score.
pub(super) fn render(
    score: &Score,
    attributes: &Attributes,
    sample_rate_hz: u32,
    samples: usize,
    random: &mut Stream,
) -> Vec<f32> {
    let rate = f64::from(sample_rate_hz);
    let mut audio = vec![0.0_f32; samples];
    for note in &score.notes {
        let [noise, ..] = random.words();
        let Some(out) = audio.get_mut((note.onset_seconds * rate) as usize..) else { continue };
        let frequency_hz = 440.0 * libm::exp2((f64::from(note.pitch) - 69.0) / 12.0);
        let part = match note.part {
            Part::Lead => 0.5,
            Part::Accompaniment => 0.2,
            Part::Bass => 0.42,
        };
        let gain = part * libm::pow(f64::from(note.velocity), 1.3);
        let tone = Tone { frequency_hz, seconds: note.seconds, gain, sample_rate_hz: rate, noise };
        let tilt = tilt(attributes.brightness, note.velocity);
        match note.timbre {
            None => play(&bass(frequency_hz, tilt), tone, out),
            Some(Timbre::Guitar) => pluck(tone, tilt, out),
            Some(timbre) => play(&recipe(timbre, frequency_hz, note.seconds, tilt), tone, out),
        }
    }
    // Drums are drier than the rest: the room comes first.
    let wet = if attributes.lead.plays_chords() { 0.22 } else { 0.3 };
    reverb::add(&mut audio, wet, rate);
    let [kick, snare, hat, shaker] = random.words();
    let kit = [(Drum::Kick, kick), (Drum::Snare, snare), (Drum::Hat, hat), (Drum::Shaker, shaker)];
    for (drum, seed) in kit {
        let mut hits = score.hits.iter().filter(|hit| hit.drum == drum).peekable();
        if hits.peek().is_none() {
            continue;
        }
        let sound = drums::hit(drum, rate, seed);
        for hit in hits {
            let strength = 0.6 * hit.velocity;
            let start = ((hit.onset_seconds * rate) as usize).min(samples);
            for (sample, value) in audio[start..].iter_mut().zip(&sound) {
                *sample += strength * value;
            }
        }
    }
    colour(&mut audio, attributes.brightness, rate);
    master(&mut audio, attributes.dynamics, rate);
    audio
}

/// The recording's part in brightness, and no rumble.
fn colour(audio: &mut [f32], brightness: Brightness, rate: f64) {
    let mut rumble = Biquad::high_pass(30.0, rate);
    let mut tone = match brightness {
        Brightness::Dark => Some(Biquad::low_pass(1500.0, rate)),
        Brightness::Medium => None,
        Brightness::Bright => Some(Biquad::high_shelf(2200.0, 7.0, rate)),
    };
    for sample in audio {
        let x = rumble.process(*sample);
        *sample = tone.as_mut().map_or(x, |tone| tone.process(x));
    }
}

/// Brings a piece to its level, rounds the peaks that stand out and fades the edges.
fn master(audio: &mut [f32], dynamics: Dynamics, rate: f64) {
    let block = ((0.1 * rate) as usize).max(1);
    let power: Vec<f64> = audio
        .chunks(block)
        .map(|block| block.iter().map(|x| f64::from(x * x)).sum::<f64>() / block.len() as f64)
        .collect();
    // Pauses do not count: the gate lies 20 dB below the loudest tenth of a second.
    let gate = power.iter().fold(0.0, |most: f64, &power| most.max(power)) / 100.0;
    let sounding = || power.iter().filter(|&&power| power >= gate && power > 0.0);
    let mean = sounding().sum::<f64>() / sounding().count().max(1) as f64;
    let peak = audio.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    if mean <= 0.0 || peak <= 0.0 {
        return;
    }
    let wanted = libm::pow(10.0, level_db(dynamics) / 20.0) / libm::sqrt(mean);
    // Peaks far above the ceiling would be squashed audibly: rather a little less loud.
    let gain = (wanted as f32).min(1.35 / peak);
    let last = audio.len();
    let (fade_in, fade_out) = (FADE_IN_SECONDS * rate, FADE_OUT_SECONDS * rate);
    for (n, sample) in audio.iter_mut().enumerate() {
        let edge = ((n as f64 / fade_in).min((last - n) as f64 / fade_out)).min(1.0) as f32;
        *sample = limit(*sample * gain) * edge;
    }
}

/// Leaves what is below the knee and bends the rest towards the ceiling, which it never reaches.
fn limit(x: f32) -> f32 {
    let over = x.abs() - KNEE;
    if over <= 0.0 {
        return x;
    }
    let room = CEILING - KNEE;
    (KNEE + room * (over / (over + room))).copysign(x)
}
