//! From samples at any rate to the log-mel frames that the audio tower reads.

use musicrl_codec::{
    audio::SAMPLE_RATE_RANGE_HZ,
    mel::{Log, Mel, MelConfig, Norm, Scale, Spectrum},
    resample::resample,
};
use musicrl_core::reward::AudioView;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Level that becomes 0, and decibels that become 1, in the scaled features.
const CENTRE_DB: f32 = -35.0;
const SPREAD_DB: f32 = 25.0;
/// Power at which the logarithm stops: -90 dB.
const FLOOR_POWER: f32 = 1e-9;

/// Settings of [`FrontEnd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontEndConfig {
    /// Rate that audio is brought to.
    pub sample_rate_hz: u32,
    /// Samples of one Fourier transform; a power of two.
    pub fft_samples: usize,
    /// Samples from frame to frame.
    pub hop_samples: usize,
    /// Mel bands.
    pub bands: usize,
}

impl Default for FrontEndConfig {
    fn default() -> Self {
        Self { sample_rate_hz: 16_000, fft_samples: 1024, hop_samples: 320, bands: 80 }
    }
}

impl FrontEndConfig {
    /// Checks every field, alone and against the others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            ("front_end.sample_rate_hz", self.sample_rate_hz as usize, 4_000, 192_000),
            ("front_end.fft_samples", self.fft_samples, 64, 1 << 16),
            ("front_end.hop_samples", self.hop_samples, 16, self.fft_samples),
            ("front_end.bands", self.bands, 4, self.fft_samples / 4),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from {low} to {high}"), got: got.to_string() });
            }
        }
        if !self.fft_samples.is_power_of_two() {
            let got = self.fft_samples.to_string();
            return Err(Error::Config { field: "front_end.fft_samples", expected: "a power of two".into(), got });
        }
        Ok(self.mel().validate()?)
    }

    /// Plain band powers: the logarithm is ours, so that a feature can be turned back into a power.
    fn mel(&self) -> MelConfig {
        MelConfig {
            scale: Scale::Htk,
            norm: Norm::None,
            spectrum: Spectrum::Power,
            log: Log::None,
            ..MelConfig::new(self.sample_rate_hz, self.fft_samples, self.hop_samples, self.bands)
        }
    }

    /// The front end of these settings.
    ///
    /// # Errors
    /// As [`FrontEndConfig::validate`].
    pub fn init(&self) -> Result<FrontEnd> {
        self.validate()?;
        Ok(FrontEnd { config: self.clone(), mel: self.mel().init()? })
    }
}

/// Scaled log-mel frames of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    bands: usize,
    values: Vec<f32>,
}

impl Features {
    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.values.len() / self.bands.max(1)
    }

    /// Number of bands.
    #[must_use]
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// The values of `frames` frames from `start` on, frame after frame; fewer at the clip's end.
    #[must_use]
    pub fn window(&self, start: usize, frames: usize) -> &[f32] {
        let last = self.frames();
        let (start, end) = (start.min(last), start.saturating_add(frames).min(last));
        &self.values[start * self.bands..end * self.bands]
    }
}

/// The scaled value of a mel power.
#[must_use]
pub fn feature_of_power(power: f32) -> f32 {
    (10.0 * power.max(FLOOR_POWER).log10() - CENTRE_DB) / SPREAD_DB
}

/// The mel power of a scaled value: the inverse above the floor.
#[must_use]
pub fn power_of_feature(feature: f32) -> f32 {
    10.0_f32.powf((feature * SPREAD_DB + CENTRE_DB) / 10.0)
}

/// Resampling and log-mel frames with fixed settings.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    config: FrontEndConfig,
    mel: Mel,
}

impl FrontEnd {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &FrontEndConfig {
        &self.config
    }

    /// The scaled log-mel frames of a clip: `10 log10(mel power)`, 0 dB for a full-scale sine in the middle of a band,
    /// then -35 dB at 0 and 25 dB a unit. `n` samples (at the front end's rate) give `n / hop_samples + 1` frames.
    ///
    /// # Errors
    /// [`Error::Audio`] for audio at an unusable rate or with a sample that is not finite.
    pub fn features(&self, audio: AudioView<'_>) -> Result<Features> {
        let AudioView { samples, sample_rate_hz } = audio;
        let (low, high) = SAMPLE_RATE_RANGE_HZ;
        if !(low..=high).contains(&sample_rate_hz) {
            let expected = format!("audio at {low} to {high} Hz");
            return Err(Error::Audio { expected, got: format!("{sample_rate_hz} Hz") });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            let got = format!("{} at sample {index}", samples[index]);
            return Err(Error::Audio { expected: "finite samples".into(), got });
        }
        let mut values = if sample_rate_hz == self.config.sample_rate_hz {
            self.mel.features(samples)
        } else {
            self.mel.features(&resample(samples, sample_rate_hz, self.config.sample_rate_hz)?)
        };
        // A full-scale sine has the power (fft_samples / 4)^2 at its bin under the Hann window.
        let full_scale = (self.config.fft_samples as f32 / 4.0).powi(2);
        values.iter_mut().for_each(|value| *value = feature_of_power(*value / full_scale));
        Ok(Features { bands: self.config.bands, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, sample_rate_hz: u32, seconds: f64) -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / f64::from(sample_rate_hz);
        (0..(seconds * f64::from(sample_rate_hz)) as usize).map(|i| (step * i as f64).sin() as f32).collect()
    }

    fn middle(features: &Features) -> Vec<f32> {
        features.window(features.frames() / 2, 1).to_vec()
    }

    #[test]
    fn a_full_scale_sine_is_near_zero_decibels_at_any_rate() {
        let front_end = FrontEndConfig::default().init().unwrap();
        let rows: Vec<Vec<f32>> = [16_000, 48_000]
            .map(|sample_rate_hz| {
                let samples = tone(1000.0, sample_rate_hz, 1.0);
                let features = front_end.features(AudioView { samples: &samples, sample_rate_hz }).unwrap();
                assert_eq!((features.frames(), features.bands()), (51, 80));
                middle(&features)
            })
            .to_vec();
        let peak = rows[0].iter().copied().fold(f32::MIN, f32::max);
        assert!((peak - feature_of_power(1.0)).abs() < 3.0 / SPREAD_DB, "{peak}");
        // Bands that hold anything hold the same at both rates.
        for (a, b) in rows[0].iter().zip(&rows[1]).filter(|(a, _)| **a > feature_of_power(1e-6)) {
            assert!((a - b).abs() < 0.02, "{a} {b}");
        }
    }

    #[test]
    fn powers_and_features_are_inverses_above_the_floor() {
        for power in [1e-8_f32, 1e-4, 0.3, 7.0] {
            let back = power_of_feature(feature_of_power(power));
            assert!((back / power - 1.0).abs() < 1e-4, "{power} {back}");
        }
        assert_eq!(feature_of_power(0.0), feature_of_power(FLOOR_POWER));
    }

    #[test]
    fn windows_stay_inside_the_clip() {
        let features = Features { bands: 2, values: vec![0.0; 20] };
        assert_eq!(features.window(8, 5).len(), 4);
        assert_eq!(features.window(90, 5).len(), 0);
        assert_eq!(features.window(3, usize::MAX).len(), 14);
    }

    #[test]
    fn unusable_audio_and_settings_are_named() {
        let front_end = FrontEndConfig::default().init().unwrap();
        let refused = |samples: &[f32], sample_rate_hz| {
            front_end.features(AudioView { samples, sample_rate_hz }).unwrap_err().to_string()
        };
        assert!(refused(&[0.0; 9], 1).contains("1 Hz"));
        assert!(refused(&[0.0, f32::NAN], 16_000).contains("sample 1"));
        assert_eq!(front_end.features(AudioView { samples: &[], sample_rate_hz: 16_000 }).unwrap().frames(), 0);
        let config = |fft_samples, bands| FrontEndConfig { fft_samples, bands, ..Default::default() };
        assert!(config(1000, 80).init().unwrap_err().to_string().contains("power of two"));
        assert!(config(1024, 250).init().unwrap_err().to_string().contains("bands"));
    }
}
