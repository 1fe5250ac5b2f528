//! What a preference model may be told of a clip's sound beside its tokens: loudness, colour, beat and recurrence as a few
//! numbers, by the definitions that music information retrieval has for them.
//!
//! Statistics of a language model's vectors over a clip's frames hold what a clip sounds like at any moment and little of how
//! its moments follow each other: a beat, or a phrase that comes again, leaves their mean and deviation as they are. These
//! descriptors hold some of that. All are defined for any input (silence, one sample, NaN) and finite; what a sound is too
//! short for is 0.
//!
//! They are relatives of the [`properties`](crate::properties) that simulated listeners have tastes about, as any such list
//! would be: both are taken from the same literature. With simulated listeners they therefore help more than they may with
//! people.

use musicrl_core::stats::mean;

use crate::{
    math::ln,
    properties::{PitchClasses, Spectra, tame},
};

/// How many there are.
pub const COUNT: usize = 14;

/// Their names, in the order of [`describe`].
pub const NAMES: [&str; COUNT] = [
    "level_median_db",
    "level_mean_db",
    "level_deviation_db",
    "level_range_db",
    "log_centroid",
    "log_spread",
    "flatness",
    "log_centroid_deviation",
    "log_flux",
    "flux_variation",
    "pulse_clarity",
    "recurrence",
    "phrase_recurrence",
    "chroma_variation",
];

/// Windows of spectral flux, 46 ms every 10 (Dixon, "Onset detection revisited", DAFx 2006).
const FLUX_SECONDS: [f64; 2] = [0.046, 0.01];
/// Windows of pitch classes, long enough to tell semitones from 250 Hz on.
const CHROMA_SECONDS: [f64; 2] = [0.128, 0.0625];
/// Blocks of levels.
const LEVEL_SECONDS: f64 = 0.1;
/// Frequencies above are left out, so that sounds of 16 kHz and 44.1 kHz compare.
const HZ_MAX: f64 = 8000.0;
/// log(1 + gamma |X|), |X| of a full-scale sine being 1 (Mueller, "Fundamentals of Music Processing", 2015, section 6.1).
const COMPRESSION: f64 = 1000.0;
/// Periods of a beat, 50 to 300 a minute.
const BEAT_SECONDS: [f64; 2] = [0.2, 1.2];
/// Added to powers before their logarithm.
const FLOOR: f64 = 1e-10;
/// The least distance in time at which something comes again.
const RECURRENCE_SECONDS: f64 = 1.0;
/// Windows of pitch classes that are one profile: a quarter of a second.
const PROFILE_WINDOWS: usize = 4;

/// The descriptors of mono samples, in the order of [`NAMES`].
#[must_use]
pub fn describe(audio: &[f32], sample_rate_hz: u32) -> [f64; COUNT] {
    let [level_median, level_mean, level_deviation, level_range] = levels(audio, sample_rate_hz);
    let spectra = Magnitudes::of(audio, sample_rate_hz);
    let [centroid, spread, flatness, centroid_deviation] = spectra.colour();
    let [flux, flux_variation, pulse_clarity] = spectra.flux();
    let [recurrence, phrase_recurrence, chroma_variation] = recurrence(audio, sample_rate_hz);
    [
        level_median,
        level_mean,
        level_deviation,
        level_range,
        centroid,
        spread,
        flatness,
        centroid_deviation,
        flux,
        flux_variation,
        pulse_clarity,
        recurrence,
        phrase_recurrence,
        chroma_variation,
    ]
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    libm::sqrt(squares / values.len().max(1) as f64)
}

/// Median, mean, deviation and distance of the 10th from the 90th percentile of the levels of tenths of a second, in dB.
fn levels(audio: &[f32], sample_rate_hz: u32) -> [f64; 4] {
    let block = ((LEVEL_SECONDS * f64::from(sample_rate_hz)).round() as usize).max(1);
    let level = |block: &[f32]| {
        let power: f64 = block.iter().map(|x| f64::from(tame(*x)) * f64::from(tame(*x))).sum();
        10.0 * libm::log10(power / block.len().max(1) as f64 + 1e-7)
    };
    let mut levels: Vec<f64> = audio.chunks(block).map(level).collect();
    let (mean, deviation) = (mean(&levels), deviation(&levels));
    levels.sort_by(f64::total_cmp);
    let Some(last) = levels.len().checked_sub(1) else { return [0.0; 4] };
    let at = |share: f64| levels[(share * last as f64).round() as usize];
    [at(0.5), mean, deviation, at(0.9) - at(0.1)]
}

/// Spectra whose bins are amplitudes of sines.
struct Magnitudes {
    rows: Vec<Vec<f64>>,
    bin_hz: f64,
    hop_seconds: f64,
}

impl Magnitudes {
    fn of(audio: &[f32], sample_rate_hz: u32) -> Self {
        let Spectra { mut rows, bin_hz, hop_seconds } = Spectra::windowed(audio, sample_rate_hz, FLUX_SECONDS, 0);
        let bins = (HZ_MAX / bin_hz) as usize + 1;
        // The weights of a Hann window sum to half its length, and a real sine has half its amplitude in each of two bins.
        let window = f64::from(sample_rate_hz.max(1000)) / bin_hz;
        for row in &mut rows {
            row.truncate(bins);
            row.iter_mut().for_each(|power| *power = libm::sqrt(*power) * 4.0 / window);
        }
        Self { rows, bin_hz, hop_seconds }
    }

    /// log of the centroid and of the spread around it in Hz, both of all spectra together; flatness (log of the geometric
    /// over the arithmetic mean of all powers); log of the deviation over time of the spectra's centroids.
    fn colour(&self) -> [f64; 4] {
        if self.rows.is_empty() {
            return [0.0; 4];
        }
        let bins = self.rows[0].len();
        let (mut together, mut log_powers) = (vec![0.0; bins], vec![0.0; bins]);
        let (mut logs, mut sum, mut centroids) = (0.0, 0.0, Vec::with_capacity(self.rows.len()));
        for row in &self.rows {
            log_powers.iter_mut().zip(row).for_each(|(log, magnitude)| *log = ln(magnitude * magnitude + FLOOR));
            logs += log_powers.iter().sum::<f64>();
            let (mut weighted, mut power) = (0.0, 0.0);
            for (bin, (magnitude, total)) in row.iter().zip(&mut together).enumerate() {
                let square = magnitude * magnitude;
                *total += square;
                weighted += bin as f64 * self.bin_hz * square;
                power += square;
            }
            sum += power;
            centroids.push(weighted / (power + FLOOR));
        }
        let count = (bins * self.rows.len()) as f64;
        let flatness = logs / count - libm::log(sum / count + FLOOR);
        let moment = |of: &dyn Fn(f64) -> f64| {
            let bins = together.iter().enumerate();
            bins.map(|(bin, power)| of(bin as f64 * self.bin_hz) * power).sum::<f64>() / (sum + FLOOR)
        };
        let centroid = moment(&|hz| hz);
        let spread = libm::sqrt(moment(&|hz| (hz - centroid) * (hz - centroid)));
        [libm::log1p(centroid), libm::log1p(spread), flatness, libm::log1p(deviation(&centroids))]
    }

    /// log of the mean spectral flux, its deviation over its mean, and pulse clarity: the largest autocorrelation of the
    /// flux at the period of a beat ("MaximumAutocorr" in Lartillot et al., "Multi-feature modeling of pulse clarity",
    /// ISMIR 2008).
    fn flux(&self) -> [f64; 3] {
        let logs: Vec<Vec<f64>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|magnitude| ln(1.0 + COMPRESSION * magnitude)).collect())
            .collect();
        let rise = |pair: &[Vec<f64>]| {
            let rises = pair[1].iter().zip(&pair[0]).map(|(now, before)| (now - before).max(0.0));
            rises.sum::<f64>() / pair[0].len().max(1) as f64
        };
        let mut flux: Vec<f64> = logs.windows(2).map(rise).collect();
        let (mean, deviation) = (mean(&flux), deviation(&flux));
        flux.iter_mut().for_each(|value| *value -= mean);
        let (log, variation) = (libm::log(mean + 1e-4), deviation / (mean + 1e-4));
        [log, variation, self.pulse_clarity(&flux)]
    }

    fn pulse_clarity(&self, flux: &[f64]) -> f64 {
        let [shortest, longest] = BEAT_SECONDS.map(|seconds| (seconds / self.hop_seconds).round() as usize);
        let energy: f64 = flux.iter().map(|x| x * x).sum();
        // Two of the longest periods, so that what is compared is half of the sound at least.
        if energy <= 1e-9 || flux.len() < 2 * longest {
            return 0.0;
        }
        let whole = flux.len() as f64;
        let at = |lag: usize| {
            let sum: f64 = flux.iter().zip(&flux[lag..]).map(|(a, b)| a * b).sum();
            // A shorter overlap makes the sum smaller by itself: put right.
            sum / energy * whole / (whole - lag as f64)
        };
        (shortest..=longest).map(at).fold(0.0, f64::max).min(1.0)
    }
}

/// How alike each quarter of a second is to the most alike one at least a second away, by pitch classes in two registers
/// less their mean; the same of two neighbouring quarters; and how far quarters are from the mean.
fn recurrence(audio: &[f32], sample_rate_hz: u32) -> [f64; 3] {
    let spectra = Spectra::windowed(audio, sample_rate_hz, CHROMA_SECONDS, 0);
    let classes = PitchClasses::of(&spectra);
    let mut profiles: Vec<[f64; 24]> =
        spectra.rows.chunks_exact(PROFILE_WINDOWS).map(|rows| profile(rows, &classes)).collect();
    let apart = (RECURRENCE_SECONDS / (PROFILE_WINDOWS as f64 * spectra.hop_seconds)).round() as usize;
    if profiles.len() < apart + 3 {
        return [0.0; 3];
    }
    let mut centre = [0.0; 24];
    for profile in &profiles {
        centre.iter_mut().zip(profile).for_each(|(sum, value)| *sum += value / profiles.len() as f64);
    }
    let mut distance = 0.0;
    for profile in &mut profiles {
        profile.iter_mut().zip(&centre).for_each(|(value, centre)| *value -= centre);
        let norm = libm::sqrt(profile.iter().map(|value| value * value).sum());
        distance += norm;
        if norm > 1e-6 {
            profile.iter_mut().for_each(|value| *value /= norm);
        }
    }
    let cosine = |i: usize, j: usize| profiles[i].iter().zip(&profiles[j]).map(|(a, b)| a * b).sum::<f64>();
    let best = |count: usize, alike: &dyn Fn(usize, usize) -> f64| {
        let of = |i: usize| (0..count).filter(|j| i.abs_diff(*j) >= apart).map(|j| alike(i, j)).fold(-1.0, f64::max);
        (0..count).map(of).sum::<f64>() / count as f64
    };
    let phrase = |i: usize, j: usize| 0.5 * (cosine(i, j) + cosine(i + 1, j + 1));
    [best(profiles.len(), &cosine), best(profiles.len() - 1, &phrase), distance / profiles.len() as f64]
}

/// Amplitudes of pitch classes in two registers, of unit length; 0 for silence.
fn profile(rows: &[Vec<f64>], classes: &PitchClasses) -> [f64; 24] {
    let power = classes.powers(rows);
    let norm = libm::sqrt(power.iter().sum());
    power.map(|power| if norm > 1e-6 { libm::sqrt(power) / norm } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use core::f64::consts::PI;

    use musicrl_core::random::{Key, Purpose};

    use super::*;

    const RATE: u32 = 16_000;

    fn named(audio: &[f32], rate_hz: u32, name: &str) -> f64 {
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        describe(audio, rate_hz)[at]
    }

    fn sine(hz: f64, amplitude: f64, seconds: f64, rate_hz: u32) -> Vec<f32> {
        let rate = f64::from(rate_hz);
        (0..(seconds * rate) as usize)
            .map(|n| (amplitude * libm::sin(2.0 * PI * hz * n as f64 / rate)) as f32)
            .collect()
    }

    /// Decaying notes at the given times.
    fn notes(notes: &[(f64, f64)], seconds: f64) -> Vec<f32> {
        let mut audio = vec![0.0; (seconds * f64::from(RATE)) as usize];
        for &(onset, hz) in notes {
            for (n, sample) in audio.iter_mut().skip((onset * f64::from(RATE)) as usize).take(6000).enumerate() {
                let t = n as f64 / f64::from(RATE);
                *sample += (0.4 * libm::sin(2.0 * PI * hz * t) * libm::exp(-t / 0.08)) as f32;
            }
        }
        audio
    }

    #[test]
    fn levels_and_colour_are_those_of_the_construction() {
        let tone = sine(1000.0, 0.5, 4.0, RATE);
        // A sine of amplitude 0.5 has a power of 1/8.
        assert!((named(&tone, RATE, "level_mean_db") + 9.03).abs() < 0.01);
        assert!(named(&tone, RATE, "level_range_db") < 0.01);
        assert!((named(&tone, RATE, "log_centroid") - 1001_f64.ln()).abs() < 0.01);
        let halves: Vec<f32> = tone.iter().enumerate().map(|(n, x)| if n < 32_000 { 0.1 * x } else { *x }).collect();
        assert!((named(&halves, RATE, "level_range_db") - 20.0).abs() < 0.1);
        let mut random = Key::new(1, Purpose::Test).stream();
        let noise: Vec<f32> = (0..64_000).map(|_| (0.1 * random.normal()) as f32).collect();
        assert!(named(&noise, RATE, "flatness") > named(&tone, RATE, "flatness") + 5.0);
        assert!(named(&noise, RATE, "log_flux") > named(&tone, RATE, "log_flux") + 1.0);
    }

    #[test]
    fn a_clock_has_the_clearer_pulse_and_a_phrase_comes_again() {
        let clock: Vec<_> = (0..12).map(|beat| (0.5 * f64::from(beat), 440.0)).collect();
        let mut random = Key::new(1, Purpose::Test).stream();
        let chance: Vec<_> = (0..12).map(|_| (random.between(0.0, 5.8), 440.0)).collect();
        let pulse = |heard: &[(f64, f64)]| named(&notes(heard, 6.0), RATE, "pulse_clarity");
        assert!(pulse(&clock) > 0.8 && pulse(&chance) < 0.6, "{} {}", pulse(&clock), pulse(&chance));
        let pitch = |step: usize| 220.0 * libm::exp2(step as f64 / 12.0);
        let phrase = [0, 4, 7, 3, 9, 2, 11, 5];
        let repeated: Vec<_> = (0..24).map(|n| (0.25 * n as f64, pitch(phrase[n % 8]))).collect();
        let wandering: Vec<_> = (0..24).map(|n| (0.25 * n as f64, pitch(random.below(24)))).collect();
        for name in ["recurrence", "phrase_recurrence"] {
            let [repeated, wandering] = [&repeated, &wandering].map(|heard| named(&notes(heard, 6.0), RATE, name));
            assert!(repeated > wandering + 0.1, "{name}: {repeated} {wandering}");
        }
    }

    #[test]
    fn sample_rates_compare() {
        let both = [RATE, 44_100].map(|rate_hz| describe(&sine(700.0, 0.3, 4.0, rate_hz), rate_hz));
        for (at, name) in NAMES.iter().enumerate().filter(|(_, name)| !name.contains("recurrence")) {
            let [low, high] = both.map(|values| values[at]);
            assert!((low - high).abs() < 0.15 * low.abs().max(1.0), "{name}: {low} {high}");
        }
    }

    #[test]
    fn strange_sounds_have_finite_descriptors() {
        let one = |length: usize, value: f32| vec![value; length];
        for audio in [one(0, 0.0), one(1, 0.5), one(5, 0.0), one(50_000, 0.0), one(50_000, f32::NAN), one(50_000, 1e30)]
        {
            for rate_hz in [0, 1, 16_000, 192_000] {
                let values = describe(&audio, rate_hz);
                assert!(values.iter().all(|value| value.is_finite()), "{} at {rate_hz}: {values:?}", audio.len());
            }
        }
    }
}
