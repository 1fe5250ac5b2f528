//! Loudness by EBU R 128 / ITU-R BS.1770: measure it, and bring recordings to one level.

use ebur128::{EbuR128, Mode};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, audio::check_sample_rate};

/// The level to bring recordings to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Integrated loudness, in LUFS.
    pub loudness_lufs: f64,
    /// True peaks stay below this, in dB of full scale: the gain is held back rather than a limiter used, so that the
    /// waveform stays what it was.
    pub true_peak_dbfs: f64,
    /// Largest gain, in dB: near-silent recordings are not blown up to noise.
    pub gain_max_db: f64,
}

impl Default for Target {
    fn default() -> Self {
        Self { loudness_lufs: -20.0, true_peak_dbfs: -1.0, gain_max_db: 30.0 }
    }
}

impl Target {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            ("loudness_lufs", self.loudness_lufs, -70.0, 0.0),
            ("true_peak_dbfs", self.true_peak_dbfs, -40.0, 0.0),
            ("gain_max_db", self.gain_max_db, 0.0, 60.0),
        ];
        for (field, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                return Err(Error::Config { field, expected: format!("{low} to {high}"), got: value.to_string() });
            }
        }
        Ok(())
    }
}

/// How loud a recording is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Integrated loudness in LUFS; `None` when every 400 ms block is below the gate of -70 LUFS, or there is none.
    pub integrated_lufs: Option<f64>,
    /// True peak, linear (1 is full scale).
    pub true_peak: f64,
}

/// Measures one channel. A mono signal is measured as one front channel.
///
/// # Errors
/// [`Error::SampleRate`] for rates that are not accepted.
pub fn measure(samples: &[f32], sample_rate_hz: u32) -> Result<Loudness> {
    check_sample_rate("loudness", sample_rate_hz)?;
    let library = |error: ebur128::Error| Error::Library { what: "loudness meter", reason: error.to_string() };
    let mut meter = EbuR128::new(1, sample_rate_hz, Mode::I | Mode::TRUE_PEAK).map_err(library)?;
    meter.add_frames_f32(samples).map_err(library)?;
    let integrated = meter.loudness_global().map_err(library)?;
    let true_peak = meter.true_peak(0).map_err(library)?;
    Ok(Loudness { integrated_lufs: integrated.is_finite().then_some(integrated), true_peak })
}

/// A recording brought to a level.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised {
    /// The scaled samples.
    pub samples: Vec<f32>,
    /// The gain that was applied, in dB.
    pub gain_db: f64,
    /// Its loudness now, in LUFS.
    pub after_lufs: f64,
}

/// Scales one channel to the target loudness, as far as the true-peak ceiling and the largest gain allow.
///
/// # Errors
/// [`Error::NonFinite`] for samples that are not finite, [`Error::Config`] for a bad target, and [`Error::Library`]
/// for a recording without loudness (silence, or shorter than 400 ms).
pub fn normalise(samples: &[f32], sample_rate_hz: u32, target: &Target) -> Result<Normalised> {
    target.validate()?;
    if let Some(at) = samples.iter().position(|x| !x.is_finite()) {
        return Err(Error::NonFinite { what: "samples to normalise".into(), at: format!("sample {at}") });
    }
    let loudness = measure(samples, sample_rate_hz)?;
    let silent = || Error::Library { what: "loudness", reason: "the recording is silent or shorter than 0.4 s".into() };
    let before = loudness.integrated_lufs.ok_or_else(silent)?;
    let headroom_db = target.true_peak_dbfs - 20.0 * loudness.true_peak.max(1e-9).log10();
    let gain_db = (target.loudness_lufs - before).min(headroom_db).min(target.gain_max_db);
    let gain = 10.0_f64.powf(gain_db / 20.0);
    let samples = samples.iter().map(|&x| (gain * f64::from(x)) as f32).collect();
    Ok(Normalised { samples, gain_db, after_lufs: before + gain_db })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(level: f32) -> Vec<f32> {
        let step = std::f32::consts::TAU * 997.0 / 48_000.0;
        (0..5 * 48_000).map(|i| level * (step * i as f32).sin()).collect()
    }

    #[test]
    fn the_calibration_tone_of_the_standard() {
        // BS.1770: a 997 Hz sine of 0 dBFS in one front channel measures -3.01 LUFS.
        let loudness = measure(&tone(1.0), 48_000).unwrap();
        assert!((loudness.integrated_lufs.unwrap() + 3.01).abs() < 0.05, "{loudness:?}");
        assert!((loudness.true_peak - 1.0).abs() < 0.01);
    }

    #[test]
    fn the_target_is_met_unless_a_ceiling_forbids() {
        let target = Target::default();
        let quiet = normalise(&tone(0.01), 48_000, &target).unwrap();
        let measured = measure(&quiet.samples, 48_000).unwrap().integrated_lufs.unwrap();
        assert!((measured - target.loudness_lufs).abs() < 0.05 && (quiet.after_lufs - measured).abs() < 0.05);

        // A soft tone with one loud click: the click's true peak decides.
        let mut click = tone(0.01);
        click[100_000] = 0.9;
        let held = normalise(&click, 48_000, &target).unwrap();
        let peak = measure(&held.samples, 48_000).unwrap().true_peak;
        assert!(20.0 * peak.log10() < target.true_peak_dbfs + 0.01 && held.after_lufs < target.loudness_lufs - 1.0);

        let whisper = normalise(&tone(0.001), 48_000, &target).unwrap();
        assert_eq!(whisper.gain_db, target.gain_max_db);
    }

    #[test]
    fn silence_nan_and_bad_targets_are_refused() {
        let target = Target::default();
        assert!(matches!(normalise(&vec![0.0; 48_000], 48_000, &target), Err(Error::Library { .. })));
        assert!(matches!(normalise(&tone(0.1)[..100], 48_000, &target), Err(Error::Library { .. })));
        assert!(matches!(normalise(&[f32::NAN], 48_000, &target), Err(Error::NonFinite { .. })));
        let bad = Target { loudness_lufs: f64::NAN, ..target };
        assert!(matches!(normalise(&tone(0.1), 48_000, &bad), Err(Error::Config { field: "loudness_lufs", .. })));
    }
}
