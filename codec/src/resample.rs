//! Change of sampling rate.
//!
//! An FFT resampler with a Blackman-Harris low-pass (rubato's `Fft`): flat to about 95 % of the lower Nyquist rate,
//! aliases more than 100 dB down, no delay. The result depends on nothing but its input.
//!
//! **Length**: `n` samples at `from` Hz become `ceil(n * to / from)` samples at `to` Hz, in exact integer arithmetic.

use rubato::{Fft, FixedSync, Resampler, WindowFunction, audioadapter_buffers::direct::SequentialSlice};

use crate::{Error, Result, audio::check_sample_rate};

/// Block length that the resampler aims at, in samples of its input: longer is a steeper filter.
const BLOCK_SAMPLES: usize = 1_024;

/// `ceil(samples * to / from)`, the length rule.
#[must_use]
pub fn resampled_len(samples: usize, from_hz: u32, to_hz: u32) -> usize {
    let exact = (samples as u128 * u128::from(to_hz)).div_ceil(u128::from(from_hz.max(1)));
    usize::try_from(exact).unwrap_or(usize::MAX)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Resamples one channel.
///
/// # Shapes
/// - samples: \[samples\]; returns \[`resampled_len(samples, from_hz, to_hz)`\]. Equal rates copy.
///
/// # Errors
/// [`Error::SampleRate`] for rates outside [`crate::audio::SAMPLE_RATE_RANGE_HZ`].
pub fn resample(samples: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>> {
    check_sample_rate("resampling from", from_hz)?;
    check_sample_rate("resampling to", to_hz)?;
    if from_hz == to_hz || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    // The filter has no delay only where half its block is a whole number of samples on both sides; an odd block would
    // shift the sound by half a sample.
    let unit = (from_hz / gcd(from_hz, to_hz)) as usize;
    let block = unit * BLOCK_SAMPLES.div_ceil(unit).next_multiple_of(2);
    let library = |reason: String| Error::Library { what: "resampler", reason };
    let mut resampler = Fft::<f32>::new_custom(
        from_hz as usize,
        to_hz as usize,
        block,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|error| library(error.to_string()))?;
    let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|error| library(error.to_string()))?;
    let output = resampler.process_all(&input, samples.len(), None).map_err(|error| library(error.to_string()))?;
    let mut output = output.take_data();
    // The library computes the length in floating point.
    output.resize(resampled_len(samples.len(), from_hz, to_hz), 0.0);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(frequency_hz: f64, rate_hz: u32, samples: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * frequency_hz / f64::from(rate_hz);
        (0..samples).map(|i| (step * i as f64).sin() as f32).collect()
    }

    /// Largest difference from the ideal tone, away from the ends.
    fn error_of(frequency_hz: f64, from_hz: u32, to_hz: u32) -> f32 {
        let got = resample(&tone(frequency_hz, from_hz, from_hz as usize), from_hz, to_hz).unwrap();
        let want = tone(frequency_hz, to_hz, got.len());
        let edge = to_hz as usize / 10;
        (edge..got.len() - edge).map(|i| (got[i] - want[i]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn tones_keep_their_phase_and_level() {
        for (frequency_hz, from_hz, to_hz) in [
            (440.0, 44_100, 16_000),
            (6_000.0, 44_100, 16_000),
            (3_000.0, 16_000, 24_000),
            (9_000.0, 48_000, 22_050),
            (1_000.0, 44_100, 48_000),
            (50.0, 11_025, 44_100),
        ] {
            let error = error_of(frequency_hz, from_hz, to_hz);
            assert!(error < 2e-4, "{frequency_hz} Hz, {from_hz} -> {to_hz}: {error}");
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_vanishes() {
        let got = resample(&tone(10_000.0, 44_100, 44_100), 44_100, 16_000).unwrap();
        let peak = got[2_000..14_000].iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
        assert!(peak < 1e-4, "alias of {peak}");
    }

    #[test]
    fn absurd_rates_are_refused() {
        for (from_hz, to_hz) in [(0, 16_000), (16_000, 0), (1, 16_000), (16_000, 768_000)] {
            assert!(matches!(resample(&[0.0; 8], from_hz, to_hz), Err(Error::SampleRate { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_length_rule_holds(n in 0_usize..9_000, from in 0_usize..6, to in 0_usize..6) {
            let rates = [8_000, 11_025, 16_000, 24_000, 44_100, 48_000];
            let got = resample(&vec![0.25; n], rates[from], rates[to]).unwrap();
            prop_assert_eq!(got.len(), resampled_len(n, rates[from], rates[to]));
            prop_assert!(got.iter().all(|x| x.is_finite()));
        }
    }
}
