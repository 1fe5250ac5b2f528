//! Properties of sound that can be measured without a model: what simulated listeners have tastes about.
//!
//! Each is a plain function of mono samples, defined for any input: silence and sounds too short to tell have the
//! value that its documentation names, never NaN.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

use crate::math::ln;

/// Window of the spectra.
const WINDOW_SECONDS: f64 = 0.064;
/// Step between spectra.
const HOP_SECONDS: f64 = 0.016;
/// Spectra quieter than the loudest by this power ratio (50 dB) are pauses.
const PAUSE: f64 = 1e-5;

/// A sample as it is heard: silence for what is not finite, and clipped at full scale, as files and outputs do.
pub(crate) fn tame(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}

/// All properties of one sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Properties {
    /// How regularly the sound moves, 0 (not at all) to 1 (like a clock).
    pub tempo_steadiness: f64,
    /// How well simultaneous tones blend, 0 (harsh) to 1 (pure).
    pub consonance: f64,
    /// Loudness: root mean square of the sounding parts, in dB below full scale.
    pub loudness_db: f64,
    /// Range between quiet and loud tenths of a second, in dB.
    pub dynamics_db: f64,
    /// Centre of mass of the spectrum.
    pub brightness_hz: f64,
    /// How much of the sound comes again, 0 to 1.
    pub repetition: f64,
}

/// Power spectra of a sound.
#[derive(Debug, Clone)]
pub struct Spectra {
    /// One row a hop: power of each bin.
    pub(crate) rows: Vec<Vec<f64>>,
    pub(crate) bin_hz: f64,
    pub(crate) hop_seconds: f64,
}

impl Properties {
    /// Measures a sound.
    #[must_use]
    pub fn of(audio: &[f32], sample_rate_hz: u32) -> Self {
        let spectra = Spectra::of(audio, sample_rate_hz);
        Self {
            tempo_steadiness: tempo_steadiness(&spectra),
            consonance: consonance(&spectra),
            loudness_db: loudness_db(audio, sample_rate_hz),
            dynamics_db: dynamics_db(audio, sample_rate_hz),
            brightness_hz: brightness_hz(&spectra),
            repetition: repetition(&spectra),
        }
    }
}

impl Spectra {
    /// Hann-windowed power spectra; none when the sound is shorter than a window.
    #[must_use]
    pub fn of(audio: &[f32], sample_rate_hz: u32) -> Self {
        let window = (WINDOW_SECONDS * f64::from(sample_rate_hz.max(1000))).round() as usize;
        Self::windowed(audio, sample_rate_hz, [WINDOW_SECONDS, HOP_SECONDS], window.next_power_of_two() * 2)
    }

    /// As [`of`](Self::of) with other windows, each padded to `size` samples (at least the window's) before its transform.
    pub(crate) fn windowed(
        audio: &[f32],
        sample_rate_hz: u32,
        [window_seconds, hop_seconds]: [f64; 2],
        size: usize,
    ) -> Self {
        let rate = f64::from(sample_rate_hz.max(1000));
        let window = ((window_seconds * rate).round() as usize).max(1);
        let hop = ((hop_seconds * rate).round() as usize).max(1);
        let size = size.max(window);
        let transform: Arc<dyn RealToComplex<f32>> = RealFftPlanner::new().plan_fft_forward(size);
        let shape: Vec<f32> = (0..window)
            .map(|n| (0.5 - 0.5 * libm::cos(2.0 * core::f64::consts::PI * n as f64 / window as f64)) as f32)
            .collect();
        let mut input = transform.make_input_vec();
        let mut output: Vec<Complex<f32>> = transform.make_output_vec();
        let mut rows = Vec::new();
        for frame in audio.windows(window).step_by(hop) {
            input.fill(0.0);
            for ((into, sample), weight) in input.iter_mut().zip(frame).zip(&shape) {
                *into = tame(*sample) * weight;
            }
            // The buffers are the transform's own, so their lengths fit.
            if transform.process(&mut input, &mut output).is_ok() {
                rows.push(output.iter().map(|bin| f64::from(bin.norm_sqr())).collect());
            }
        }
        Self { rows, bin_hz: rate / size as f64, hop_seconds: hop as f64 / rate }
    }

    /// Power of each spectrum.
    fn power(&self) -> Vec<f64> {
        self.rows.iter().map(|row| row.iter().sum()).collect()
    }

    /// The spectra that are not pauses.
    fn sounding(&self) -> Vec<&Vec<f64>> {
        let power = self.power();
        let gate = power.iter().copied().fold(0.0, f64::max) * PAUSE;
        self.rows.iter().zip(&power).filter(|&(_, &power)| power > 1e-9 && power > gate).map(|(row, _)| row).collect()
    }

    /// Rise of the logarithmic spectrum from each frame to the next, mean removed: peaks where something begins.
    fn onsets(&self) -> Vec<f64> {
        let loudest = self.rows.iter().flatten().copied().fold(0.0, f64::max);
        if loudest <= 0.0 {
            return Vec::new();
        }
        let floor = loudest * 1e-6;
        let logs: Vec<Vec<f64>> =
            self.rows.iter().map(|row| row.iter().map(|power| ln(power + floor)).collect()).collect();
        let mut rises: Vec<f64> = logs
            .windows(2)
            .map(|pair| pair[1].iter().zip(&pair[0]).map(|(now, before)| (now - before).max(0.0)).sum())
            .collect();
        let mean = rises.iter().sum::<f64>() / rises.len().max(1) as f64;
        for rise in &mut rises {
            *rise -= mean;
        }
        rises
    }
}

/// Largest autocorrelation of the onsets at a lag between 0.2 and 1.2 s. 0 for silence, for sounds shorter than 2.4 s
/// and where nothing begins.
#[must_use]
pub fn tempo_steadiness(spectra: &Spectra) -> f64 {
    let onsets = spectra.onsets();
    let lag = |seconds: f64| (seconds / spectra.hop_seconds).round() as usize;
    let energy: f64 = onsets.iter().map(|x| x * x).sum();
    if energy <= 1e-9 || onsets.len() < lag(2.4) {
        return 0.0;
    }
    let at = |lag: usize| onsets.iter().zip(&onsets[lag..]).map(|(a, b)| a * b).sum::<f64>() / energy;
    // A shorter overlap makes the sum smaller by itself: put right.
    let whole = onsets.len() as f64;
    let best = (lag(0.2)..=lag(1.2)).map(|lag| at(lag) * whole / (whole - lag as f64)).fold(0.0, f64::max);
    best.min(1.0)
}

/// One less the roughness of the spectral peaks, weighted by their amplitudes (Plomp and Levelt, "Tonal consonance and
/// critical bandwidth", 1965; their curve as Sethares, "Local consonance and the relationship between timbre and
/// scale", 1993, writes it). 1 for a single tone and for silence.
#[must_use]
pub fn consonance(spectra: &Spectra) -> f64 {
    let sounding = spectra.sounding();
    // A spectrum every 0.1 s is enough: chords do not change faster.
    let stride = ((0.1 / spectra.hop_seconds) as usize).max(1);
    let values: Vec<f64> = sounding.iter().step_by(stride).map(|row| 1.0 - roughness(row, spectra.bin_hz)).collect();
    if values.is_empty() { 1.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Roughness of one spectrum's ten highest peaks below 4 kHz, as a share of what the same amplitudes could make.
fn roughness(row: &[f64], bin_hz: f64) -> f64 {
    let last = ((4000.0 / bin_hz) as usize).min(row.len().saturating_sub(1));
    let highest = row.iter().copied().fold(0.0, f64::max);
    let mut peaks: Vec<(f64, f64)> = (2..last)
        .filter(|&bin| row[bin] > row[bin - 1] && row[bin] >= row[bin + 1] && row[bin] > 1e-4 * highest)
        .map(|bin| {
            // The parabola through three logarithms finds the peak between bins.
            let [a, b, c] = [bin - 1, bin, bin + 1].map(|bin| libm::log(row[bin] + 1e-30));
            let offset = 0.5 * (a - c) / (a - 2.0 * b + c).min(-1e-9);
            ((bin as f64 + offset.clamp(-0.5, 0.5)) * bin_hz, libm::sqrt(row[bin]))
        })
        .collect();
    peaks.sort_by(|a, b| b.1.total_cmp(&a.1));
    peaks.truncate(10);
    let (mut rough, mut possible) = (0.0, 0.0);
    for (index, &(f1, a1)) in peaks.iter().enumerate() {
        for &(f2, a2) in &peaks[index + 1..] {
            let distance = (f1 - f2).abs() * 0.24 / (0.0207 * f1.min(f2) + 18.96);
            // The curve's maximum is 0.18: brought to 1.
            let curve = (libm::exp(-3.51 * distance) - libm::exp(-5.75 * distance)) / 0.18;
            rough += a1 * a2 * curve;
            possible += a1 * a2;
        }
    }
    if possible > 0.0 { (rough / possible).clamp(0.0, 1.0) } else { 0.0 }
}

/// Power of each tenth of a second, pauses (50 dB below the loudest) left out.
fn levels(audio: &[f32], sample_rate_hz: u32) -> Vec<f64> {
    let block = (sample_rate_hz as usize / 10).max(1);
    let power: Vec<f64> = audio
        .chunks(block)
        .map(|block| {
            let square = |x: &f32| f64::from(tame(*x)) * f64::from(tame(*x));
            block.iter().map(square).sum::<f64>() / block.len() as f64
        })
        .collect();
    let gate = power.iter().copied().fold(0.0, f64::max) * PAUSE;
    power.into_iter().filter(|&power| power > 1e-12 && power > gate).collect()
}

/// Root mean square of the sounding parts in dB below full scale; -120 for silence.
#[must_use]
pub fn loudness_db(audio: &[f32], sample_rate_hz: u32) -> f64 {
    let levels = levels(audio, sample_rate_hz);
    let mean = levels.iter().sum::<f64>() / levels.len().max(1) as f64;
    10.0 * libm::log10(mean.max(1e-12))
}

/// Distance in dB between the 95th and the 10th percentile of the tenths of a second; 0 for silence.
#[must_use]
pub fn dynamics_db(audio: &[f32], sample_rate_hz: u32) -> f64 {
    let mut levels = levels(audio, sample_rate_hz);
    levels.sort_by(f64::total_cmp);
    let Some(last) = levels.len().checked_sub(1) else { return 0.0 };
    let at = |share: f64| levels[(share * last as f64).round() as usize];
    10.0 * libm::log10(at(0.95) / at(0.1))
}

/// Spectral centroid, each spectrum weighted by its power; 0 for silence.
#[must_use]
pub fn brightness_hz(spectra: &Spectra) -> f64 {
    let (mut weighted, mut sum) = (0.0, 0.0);
    for row in &spectra.rows {
        for (bin, power) in row.iter().enumerate() {
            weighted += bin as f64 * spectra.bin_hz * power;
            sum += power;
        }
    }
    if sum > 1e-9 { weighted / sum } else { 0.0 }
}

/// How alike each moment is to the most alike moment at least a second away: mean over time of the best cosine between
/// pitch-class profiles of 0.25 s, above what the whole sound's mean profile has in common with each. 0 for silence
/// and for sounds shorter than 2.5 s.
#[must_use]
pub fn repetition(spectra: &Spectra) -> f64 {
    let per_profile = ((0.25 / spectra.hop_seconds).round() as usize).max(1);
    let classes = PitchClasses::of(spectra);
    let mut profiles: Vec<[f64; 24]> =
        spectra.rows.chunks_exact(per_profile).map(|rows| profile(rows, &classes)).collect();
    if profiles.len() < 10 {
        return 0.0;
    }
    let mut mean = [0.0; 24];
    for profile in &profiles {
        for (sum, value) in mean.iter_mut().zip(profile) {
            *sum += value / profiles.len() as f64;
        }
    }
    for profile in &mut profiles {
        for (value, mean) in profile.iter_mut().zip(&mean) {
            *value -= mean;
        }
    }
    let norm = |a: &[f64; 24]| libm::sqrt(a.iter().map(|x| x * x).sum());
    let cosine = |a: &[f64; 24], b: &[f64; 24]| {
        let product: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
        let norms = norm(a) * norm(b);
        if norms > 1e-9 { product / norms } else { 0.0 }
    };
    // Two neighbouring profiles together: a sequence that comes again, not a single tone.
    let pairs = profiles.len() - 1;
    let alike =
        |i: usize, j: usize| 0.5 * (cosine(&profiles[i], &profiles[j]) + cosine(&profiles[i + 1], &profiles[j + 1]));
    let best = |i: usize| (0..pairs).filter(|j| j.abs_diff(i) >= 4).map(|j| alike(i, j)).fold(0.0, f64::max);
    ((0..pairs).map(best).sum::<f64>() / pairs as f64).clamp(0.0, 1.0)
}

/// Which pitch class each bin of 55 to 4,000 Hz belongs to: twelve below 500 Hz, then twelve above.
pub(crate) struct PitchClasses(Vec<(usize, usize)>);

impl PitchClasses {
    pub(crate) fn of(spectra: &Spectra) -> Self {
        let class = |bin: usize| {
            let hz = bin as f64 * spectra.bin_hz;
            let pitch = || libm::round(12.0 * libm::log2(hz / 440.0) + 69.0) as usize;
            (55.0..4000.0).contains(&hz).then(|| (bin, pitch() % 12 + if hz < 500.0 { 0 } else { 12 }))
        };
        Self((0..spectra.rows.first().map_or(0, Vec::len)).filter_map(class).collect())
    }

    /// Power by pitch class of some of the spectra.
    pub(crate) fn powers(&self, rows: &[Vec<f64>]) -> [f64; 24] {
        let mut classes = [0.0; 24];
        for row in rows {
            for (bin, class) in &self.0 {
                classes[*class] += row[*bin];
            }
        }
        classes
    }
}

/// Energy by pitch class in two registers, square roots taken, unit length.
fn profile(rows: &[Vec<f64>], classes: &PitchClasses) -> [f64; 24] {
    let profile = classes.powers(rows).map(libm::sqrt);
    let norm = libm::sqrt(profile.iter().map(|x| x * x).sum());
    if norm > 1e-9 { profile.map(|x| x / norm) } else { profile }
}

#[cfg(test)]
mod tests {
    use core::f64::consts::PI;

    use musicrl_core::random::{Key, Purpose};

    use super::*;

    const RATE: u32 = 16000;

    /// `seconds` of a sum of sines.
    fn tones(frequencies_hz: &[f64], seconds: f64) -> Vec<f32> {
        (0..(seconds * f64::from(RATE)) as usize)
            .map(|n| {
                let t = n as f64 / f64::from(RATE);
                let sum: f64 = frequencies_hz.iter().map(|f| libm::sin(2.0 * PI * f * t)).sum();
                (0.5 * sum / frequencies_hz.len() as f64) as f32
            })
            .collect()
    }

    /// Decaying beeps at the given times.
    fn beeps(notes: &[(f64, f64)], seconds: f64) -> Vec<f32> {
        let mut audio = vec![0.0; (seconds * f64::from(RATE)) as usize];
        for &(onset, hz) in notes {
            let start = (onset * f64::from(RATE)) as usize;
            for (n, sample) in audio.iter_mut().skip(start).take(6000).enumerate() {
                let t = n as f64 / f64::from(RATE);
                *sample += (0.4 * libm::sin(2.0 * PI * hz * t) * libm::exp(-t / 0.08)) as f32;
            }
        }
        audio
    }

    fn measured(audio: &[f32]) -> Properties {
        Properties::of(audio, RATE)
    }

    #[test]
    fn a_clock_is_steadier_than_chance() {
        let clock: Vec<_> = (0..12).map(|beat| (0.5 * f64::from(beat), 440.0)).collect();
        let mut random = Key::new(1, Purpose::Test).stream();
        let chance: Vec<_> = (0..12).map(|_| (random.between(0.0, 5.8), 440.0)).collect();
        let (clock, chance) = (measured(&beeps(&clock, 6.0)), measured(&beeps(&chance, 6.0)));
        assert!(clock.tempo_steadiness > 0.8, "{clock:?}");
        assert!(chance.tempo_steadiness < 0.5, "{chance:?}");
    }

    #[test]
    fn a_fifth_is_smoother_than_a_semitone() {
        let harmonics = |root: f64| [1.0, 2.0, 3.0, 4.0].map(|k| k * root);
        let chord = |interval: f64| {
            let mut both = harmonics(262.0).to_vec();
            both.extend(harmonics(262.0 * interval));
            measured(&tones(&both, 1.0)).consonance
        };
        let (fifth, tritone, semitone) = (chord(1.5), chord(core::f64::consts::SQRT_2), chord(16.0 / 15.0));
        assert!(fifth > tritone && tritone > semitone, "{fifth} {tritone} {semitone}");
        assert!(measured(&tones(&[440.0], 1.0)).consonance > 0.99);
    }

    #[test]
    fn loudness_and_dynamics_are_those_of_the_construction() {
        // A sine of amplitude 0.5 has a power of 1/8.
        let even = measured(&tones(&[440.0], 4.0));
        assert!((even.loudness_db + 9.03).abs() < 0.05, "{even:?}");
        assert!(even.dynamics_db < 0.1, "{even:?}");
        let halves: Vec<f32> =
            tones(&[440.0], 4.0).iter().enumerate().map(|(n, x)| if n < 32000 { 0.1 * x } else { *x }).collect();
        assert!((measured(&halves).dynamics_db - 20.0).abs() < 0.1);
    }

    #[test]
    fn brightness_is_where_the_tone_is() {
        assert!((measured(&tones(&[1000.0], 1.0)).brightness_hz - 1000.0).abs() < 10.0);
        assert!((measured(&tones(&[1000.0, 3000.0], 1.0)).brightness_hz - 2000.0).abs() < 20.0);
    }

    #[test]
    fn a_repeated_phrase_comes_again() {
        let pitch = |step: usize| 220.0 * libm::exp2(step as f64 / 12.0);
        let phrase = [0, 4, 7, 3, 9, 2, 11, 5];
        let repeated: Vec<_> = (0..24).map(|n| (0.25 * n as f64, pitch(phrase[n % 8]))).collect();
        let mut random = Key::new(2, Purpose::Test).stream();
        let wandering: Vec<_> = (0..24).map(|n| (0.25 * n as f64, pitch(random.below(24)))).collect();
        let (repeated, wandering) = (measured(&beeps(&repeated, 6.0)), measured(&beeps(&wandering, 6.0)));
        assert!(repeated.repetition > wandering.repetition + 0.15, "{repeated:?} {wandering:?}");
        assert!(repeated.repetition > 0.8, "{repeated:?}");
    }

    #[test]
    fn strange_sounds_have_finite_properties() {
        for audio in
            [vec![], vec![0.0; 5], vec![0.0; 50000], vec![f32::NAN; 50000], vec![1.0; 50000], vec![1e30; 50000]]
        {
            let p = measured(&audio);
            let values =
                [p.tempo_steadiness, p.consonance, p.loudness_db, p.dynamics_db, p.brightness_hz, p.repetition];
            assert!(values.iter().all(|value| value.is_finite()), "{} samples: {p:?}", audio.len());
            assert!((0.0..=1.0).contains(&p.consonance) && (0.0..=1.0).contains(&p.repetition), "{p:?}");
        }
    }
}
