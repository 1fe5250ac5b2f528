//! Playing one note: a bank of sines that rise and fall each on its own, and the plucked string.

use core::f64::consts::PI;

use super::{
    filter::{Biquad, Noise},
    timbre::Recipe,
};

/// Samples between two looks at the envelopes; in between amplitudes go straight.
const BLOCK: usize = 32;
/// Sines that are computed side by side.
const LANES: usize = 8;
/// A sound below this share of full scale is over.
const INAUDIBLE: f64 = 1e-4;

/// Where and how a note sounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tone {
    pub frequency_hz: f64,
    /// From the onset to the moment the player lets go.
    pub seconds: f64,
    pub gain: f64,
    pub sample_rate_hz: f64,
    /// Seed of the note's noise.
    pub noise: u32,
}

impl Tone {
    /// Envelope after the note's end: 1 before it.
    fn release(&self, at_seconds: f64, release_seconds: f64) -> f64 {
        if at_seconds <= self.seconds { 1.0 } else { libm::exp(-(at_seconds - self.seconds) / release_seconds) }
    }
}

/// Eight sines in step: the coupled form of the digital resonator, `s += e c; c -= e s` with `e = 2 sin(w / 2)`, keeps
/// its amplitude for as long as it runs and stays in tune at low frequencies, in 32 bits.
#[derive(Default)]
struct Bank {
    sine: [f32; LANES],
    cosine: [f32; LANES],
    step: [f32; LANES],
    amplitude: [f32; LANES],
}

/// Adds a note to `out`, whose first sample is the onset.
pub(super) fn play(recipe: &Recipe, tone: Tone, out: &mut [f32]) {
    let rate = tone.sample_rate_hz;
    let heard: Vec<_> =
        recipe.partials.iter().filter(|partial| partial.ratio * tone.frequency_hz < 0.45 * rate).collect();
    let mut banks: Vec<Bank> = Vec::new();
    for (group, partials) in heard.chunks(LANES).enumerate() {
        let mut bank = Bank::default();
        for (lane, partial) in partials.iter().enumerate() {
            bank.step[lane] = (2.0 * libm::sin(PI * partial.ratio * tone.frequency_hz / rate)) as f32;
            // Spread phases: partials that all began at zero would pile up into one peak.
            let index = (group * LANES + lane) as f64;
            let phase = PI * index * index / heard.len().max(1) as f64;
            bank.sine[lane] = libm::sin(phase) as f32;
            bank.cosine[lane] = libm::cos(phase) as f32;
        }
        banks.push(bank);
    }
    let mut noise = Noise::new(tone.noise);
    let mut breath = Biquad::band_pass((2.5 * tone.frequency_hz).min(3000.0), 0.8, rate);
    let mut knock = Biquad::band_pass(900.0, 0.7, rate);
    let noisy = recipe.breath > 0.0 || recipe.knock > 0.0;
    let mut last_noise = [0.0_f32; 2];
    let longest = recipe.partials.iter().map(|partial| partial.attack_seconds).fold(0.0, f64::max);

    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let end_seconds = ((block + 1) * BLOCK) as f64 / rate;
        let release = tone.release(end_seconds, recipe.release_seconds);
        let mut loudest = 0.0_f64;
        for (bank, partials) in banks.iter_mut().zip(heard.chunks(LANES)) {
            let mut slope = [0.0_f32; LANES];
            for (lane, partial) in partials.iter().enumerate() {
                let rise = 1.0 - libm::exp(-end_seconds / partial.attack_seconds);
                let fall = partial.sustain + (1.0 - partial.sustain) * libm::exp(-end_seconds / partial.decay_seconds);
                let target = tone.gain * partial.level * rise * fall * release;
                loudest = loudest.max(target);
                slope[lane] = (target as f32 - bank.amplitude[lane]) / BLOCK as f32;
            }
            let mut step = bank.step;
            if recipe.vibrato_cents > 0.0 {
                // The vibrato sets in as the note goes on.
                let depth = recipe.vibrato_cents * (1.0 - libm::exp(-end_seconds / 0.25));
                let cents = depth * libm::sin(2.0 * PI * recipe.vibrato_hz * end_seconds);
                let bend = (1.0 + cents * (core::f64::consts::LN_2 / 1200.0)) as f32;
                step = step.map(|step| step * bend);
            }
            for sample in out.iter_mut() {
                let mut sum = 0.0;
                for lane in 0..LANES {
                    bank.sine[lane] += step[lane] * bank.cosine[lane];
                    bank.cosine[lane] -= step[lane] * bank.sine[lane];
                    bank.amplitude[lane] += slope[lane];
                    sum += bank.amplitude[lane] * bank.sine[lane];
                }
                *sample += sum;
            }
        }
        if noisy {
            let blown = recipe.breath * (1.0 - libm::exp(-end_seconds / longest.max(0.002))) * release;
            let struck = recipe.knock * libm::exp(-end_seconds / 0.008) * 4.0;
            let target = [(tone.gain * blown * 2.0) as f32, (tone.gain * struck) as f32];
            let slope = [0, 1].map(|which: usize| (target[which] - last_noise[which]) / BLOCK as f32);
            for sample in out.iter_mut() {
                let white = noise.next();
                last_noise[0] += slope[0];
                last_noise[1] += slope[1];
                if recipe.breath > 0.0 {
                    *sample += last_noise[0] * breath.process(white);
                }
                if recipe.knock > 0.0 {
                    *sample += last_noise[1] * knock.process(white);
                }
            }
        }
        // Both a note that was let go and one that rang out end here; the attack is over in either case.
        if end_seconds > 4.0 * longest && loudest < INAUDIBLE * tone.gain.max(1e-3) {
            break;
        }
    }
}

/// Adds a plucked string (Karplus and Strong, "Digital synthesis of plucked-string and drum timbres", 1983; fractional
/// delay by an all-pass as in Jaffe and Smith, "Extensions of the Karplus-Strong plucked-string algorithm", 1983).
pub(super) fn pluck(tone: Tone, tilt: f64, out: &mut [f32]) {
    let rate = tone.sample_rate_hz;
    let period = rate / tone.frequency_hz;
    // The averaging of two samples delays by half of one.
    let whole = ((period - 0.6).floor() as usize).max(2);
    let fraction = period - 0.5 - whole as f64;
    let allpass = ((1.0 - fraction) / (1.0 + fraction)) as f32;
    let mut noise = Noise::new(tone.noise);
    for _ in 0..8 {
        noise.next();
    }
    // A hard pick is a bright one: the burst's low-pass opens with the tilt.
    let cutoff_hz = 1000.0 * libm::exp2(2.5 * tilt.clamp(-1.2, 0.8));
    let follow = (1.0 - libm::exp(-2.0 * PI * cutoff_hz / rate)) as f32;
    let mut burst = vec![0.0_f32; whole];
    let mut held = 0.0;
    // The first round warms the smoothing up, so that the burst closes on itself.
    for round in 0..2 {
        for sample in &mut burst {
            if round == 0 {
                *sample = noise.next();
            }
            held += follow * (*sample - held);
            if round == 1 {
                *sample = held;
            }
        }
    }
    // Picked at a fifth of the string: its fifth partials are missing.
    let pick = (whole / 5).max(1);
    let mut line: Vec<f32> = (0..whole).map(|at| burst[at] - burst[(at + whole - pick) % whole]).collect();
    let mean = line.iter().sum::<f32>() / whole as f32;
    let power = line.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / whole as f32;
    let scale = (1.3 * tone.gain) as f32 * 0.7 / power.sqrt().max(1e-4);
    for sample in &mut line {
        *sample = (*sample - mean) * scale;
    }
    let ring_seconds = 3.2 * libm::sqrt(262.0 / tone.frequency_hz);
    let loss = libm::pow(10.0, -3.0 / (tone.frequency_hz * ring_seconds)) as f32;
    let (mut at, mut before, mut state) = (0, 0.0_f32, 0.0_f32);
    let mut gain = 0.0_f32;
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let end_seconds = ((block + 1) * BLOCK) as f64 / rate;
        let target = tone.release(end_seconds, 0.05) as f32;
        let slope = (target - gain) / BLOCK as f32;
        for sample in out.iter_mut() {
            let x = line[at];
            gain += slope;
            *sample += gain * x;
            let damped = loss * 0.5 * (x + before);
            before = x;
            // First-order all-pass, y = C x + state.
            let y = allpass * damped + state;
            state = damped - allpass * y;
            line[at] = y;
            at = if at + 1 == whole { 0 } else { at + 1 };
        }
        if target < 1e-3 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::etudes::{attributes::Timbre, timbre};

    const RATE: f64 = 16000.0;

    fn tone(frequency_hz: f64) -> Tone {
        Tone { frequency_hz, seconds: 0.6, gain: 0.5, sample_rate_hz: RATE, noise: 99 }
    }

    fn note(name: Timbre, frequency_hz: f64) -> Vec<f32> {
        let mut out = vec![0.0; 24000];
        match name {
            Timbre::Guitar => pluck(tone(frequency_hz), 0.0, &mut out),
            other => play(&timbre::recipe(other, frequency_hz, 0.6, 0.0), tone(frequency_hz), &mut out),
        }
        out
    }

    /// Power at a frequency of 0.4 s of sound from 0.1 s on.
    fn power_at(audio: &[f32], frequency_hz: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, &x) in audio[1600..8000].iter().enumerate() {
            let window = 0.5 - 0.5 * libm::cos(2.0 * PI * n as f64 / 6400.0);
            let angle = 2.0 * PI * frequency_hz * n as f64 / RATE;
            re += window * f64::from(x) * libm::cos(angle);
            im += window * f64::from(x) * libm::sin(angle);
        }
        re * re + im * im
    }

    #[test]
    fn every_instrument_is_in_tune() {
        for &name in Timbre::ALL {
            for frequency_hz in [196.0, 440.0, 783.99] {
                let audio = note(name, frequency_hz);
                let cents = |cents: f64| power_at(&audio, frequency_hz * libm::exp2(cents / 1200.0));
                let here: f64 = [-8.0, -4.0, 0.0, 4.0, 8.0].map(cents).into_iter().fold(0.0, f64::max);
                for away in [-60.0, -40.0, 40.0, 60.0] {
                    assert!(here > cents(away), "{name:?} at {frequency_hz} Hz sounds {away} cents off");
                }
            }
        }
    }

    #[test]
    fn notes_are_of_comparable_loudness_and_end() {
        for &name in Timbre::ALL {
            let audio = note(name, 440.0);
            let peak = audio.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
            assert!((0.2..2.5).contains(&peak), "{name:?} peaks at {peak}");
            assert!(audio.iter().all(|x| x.is_finite()));
            if name != Timbre::Bells {
                let tail = audio[22000..].iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
                assert!(tail < 0.01 * peak, "{name:?} still sounds at {tail}");
            }
            assert!(audio[0].abs() < 0.1 * peak, "{name:?} begins with a click");
            // The note is let go at 9600: nothing jumps there that did not before.
            let jump = |range: core::ops::Range<usize>| {
                audio[range].windows(2).fold(0.0_f32, |jump, pair| jump.max((pair[1] - pair[0]).abs()))
            };
            assert!(jump(9500..20000) <= 1.2 * jump(6000..9500), "{name:?} ends with a click");
        }
    }
}
