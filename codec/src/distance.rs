//! How far a reconstruction is from its original: the two numbers that codecs are compared by.

use crate::{
    Error, Result,
    mel::{Log, MelConfig},
};

/// (FFT size, bands) of the multi-resolution distance: bands in a fixed ratio to bins, so that none is empty.
pub const RESOLUTIONS: [(usize, usize); 4] = [(256, 16), (512, 32), (1_024, 64), (2_048, 128)];

/// Mel magnitudes below this are silence to the distance.
const FLOOR: f64 = 1e-5;

fn check_pair(a: &[f32], b: &[f32]) -> Result<()> {
    if a.len() != b.len() || a.is_empty() {
        return Err(Error::Shape {
            what: "signals to compare",
            expected: "the same number of samples, at least 1".into(),
            got: format!("{} and {}", a.len(), b.len()),
        });
    }
    for (what, signal) in [("first signal", a), ("second signal", b)] {
        if let Some(at) = signal.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { what: what.into(), at: format!("sample {at}") });
        }
    }
    Ok(())
}

/// The multi-resolution log-mel distance, in nats (1 nat is 8.7 dB); 0 for equal signals.
///
/// `D(a, b) = mean_r mean_{t, b} | ln max(M_r(a), 1e-5) - ln max(M_r(b), 1e-5) |` over the [`RESOLUTIONS`] r, with
/// mel magnitudes M (HTK triangles from 0 to half the rate, hop a quarter of the window). The family of measures that
/// SoundStream (arXiv 2107.03312) and EnCodec (arXiv 2210.13438) train with.
///
/// # Shapes
/// - a, b: \[samples\], equally long.
///
/// # Errors
/// Different lengths, no samples, samples that are not finite, rates that are not accepted or above 96 kHz (the
/// shortest window has no bin for its lowest band there: resample first).
pub fn log_mel_distance(a: &[f32], b: &[f32], sample_rate_hz: u32) -> Result<f64> {
    check_pair(a, b)?;
    let mut sum = 0.0;
    for (fft_size, bands) in RESOLUTIONS {
        let log = Log::Natural { floor: FLOOR };
        let mel = MelConfig { log, ..MelConfig::new(sample_rate_hz, fft_size, fft_size / 4, bands) }.init()?;
        let (a, b) = (mel.features(a), mel.features(b));
        let total: f64 = a.iter().zip(&b).map(|(x, y)| f64::from((x - y).abs())).sum();
        sum += total / a.len() as f64;
    }
    Ok(sum / RESOLUTIONS.len() as f64)
}

/// Scale-invariant signal-to-distortion ratio in dB, limited to [-100, 100] (Le Roux et al., "SDR: half-baked or well
/// done?", ICASSP 2019).
///
/// With means removed and `s = <e, r> / <r, r> * r`: `10 log10(|s|^2 / |e - s|^2)`. Its sign does not see polarity:
/// an estimate of opposite sign has a negative scale and still counts as close.
///
/// # Shapes
/// - reference, estimate: \[samples\], equally long.
///
/// # Errors
/// As [`log_mel_distance`]; and a reference that is constant has no ratio.
pub fn si_sdr(reference: &[f32], estimate: &[f32]) -> Result<f64> {
    check_pair(reference, estimate)?;
    let n = reference.len() as f64;
    let mean = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let (mean_reference, mean_estimate) = (mean(reference), mean(estimate));
    let (mut rr, mut re, mut ee) = (0.0, 0.0, 0.0);
    for (&r, &e) in reference.iter().zip(estimate) {
        let (r, e) = (f64::from(r) - mean_reference, f64::from(e) - mean_estimate);
        rr += r * r;
        re += r * e;
        ee += e * e;
    }
    if rr <= 1e-20 * n {
        return Err(Error::Library { what: "SI-SDR", reason: "the reference is silent".into() });
    }
    let target = re * re / rr;
    let distortion = (ee - target).max(0.0);
    if target <= 0.0 {
        return Ok(-100.0);
    }
    if distortion <= 0.0 {
        return Ok(100.0);
    }
    Ok((10.0 * (target / distortion).log10()).clamp(-100.0, 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use musicrl_core::random::{Key, Purpose};

    fn noise(clip: u64, level: f64) -> Vec<f32> {
        let mut stream = Key::new(5, Purpose::Test).clip(clip).stream();
        (0..16_000).map(|_| (level * stream.normal()) as f32).collect()
    }

    #[test]
    fn si_sdr_is_the_noise_level_and_ignores_scale() {
        let clean = noise(0, 0.3);
        let dirty: Vec<f32> = clean.iter().zip(noise(1, 0.03)).map(|(s, n)| s + n).collect();
        let ratio = si_sdr(&clean, &dirty).unwrap();
        assert!((ratio - 20.0).abs() < 0.3, "{ratio}");
        let scaled: Vec<f32> = dirty.iter().map(|x| 0.25 * x).collect();
        assert!((si_sdr(&clean, &scaled).unwrap() - ratio).abs() < 1e-3);
        assert_eq!(si_sdr(&clean, &clean).unwrap(), 100.0);
        assert_eq!(si_sdr(&clean, &vec![0.0; 16_000]).unwrap(), -100.0);
    }

    #[test]
    fn log_mel_distance_is_a_distance_and_knows_gain() {
        let (a, b) = (noise(0, 0.1), noise(1, 0.1));
        assert_eq!(log_mel_distance(&a, &a, 16_000).unwrap(), 0.0);
        let forth = log_mel_distance(&a, &b, 16_000).unwrap();
        assert!(forth > 0.1 && (forth - log_mel_distance(&b, &a, 16_000).unwrap()).abs() < 1e-12);
        // A gain of e moves every band that is above the floor by one nat.
        let louder: Vec<f32> = a.iter().map(|x| x * std::f32::consts::E).collect();
        assert!((log_mel_distance(&a, &louder, 16_000).unwrap() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn every_rate_has_its_bands() {
        for rate_hz in [4_000, 16_000, 24_000, 48_000, 96_000] {
            assert!(log_mel_distance(&[0.1; 300], &[0.2; 300], rate_hz).is_ok(), "{rate_hz}");
        }
        assert!(matches!(log_mel_distance(&[0.1; 300], &[0.2; 300], 384_000), Err(Error::Config { .. })));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert!(matches!(si_sdr(&[0.1, 0.2], &[0.1]), Err(Error::Shape { .. })));
        assert!(matches!(log_mel_distance(&[], &[], 16_000), Err(Error::Shape { .. })));
        assert!(matches!(si_sdr(&[0.5; 9], &[0.1; 9]), Err(Error::Library { .. })));
        assert!(matches!(si_sdr(&[0.5, f32::NAN], &[0.1; 2]), Err(Error::NonFinite { .. })));
    }
}
