//! From samples at any rate to the log-mel frames that the audio tower reads.

use musicrl_core::reward::AudioView;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, mel::Mel};

/// Level that becomes 0, and decibels that become 1, in the scaled features.
const CENTRE_DB: f32 = -35.0;
const SPREAD_DB: f32 = 25.0;
/// Power at which the logarithm stops: -90 dB.
const FLOOR_POWER: f32 = 1e-9;
/// Rates that are resampled from.
const RATES_HZ: std::ops::RangeInclusive<u32> = 2_000..=768_000;

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
        Ok(())
    }

    /// The front end of these settings.
    ///
    /// # Errors
    /// As [`FrontEndConfig::validate`].
    pub fn init(&self) -> Result<FrontEnd> {
        self.validate()?;
        Ok(FrontEnd { config: self.clone(), mel: Mel::new(self) })
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
        let end = (start.saturating_add(frames) * self.bands).min(self.values.len());
        &self.values[(start * self.bands).min(end)..end]
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

    /// The scaled log-mel frames of a clip: `10 log10(mel power)` in decibels, -35 dB at 0 and 25 dB a unit.
    ///
    /// # Errors
    /// [`Error::Audio`] for audio at an unusable rate or with a sample that is not finite.
    pub fn features(&self, audio: AudioView<'_>) -> Result<Features> {
        let AudioView { samples, sample_rate_hz } = audio;
        if !RATES_HZ.contains(&sample_rate_hz) {
            return Err(Error::Audio {
                expected: format!("audio at {} to {} Hz", RATES_HZ.start(), RATES_HZ.end()),
                got: format!("{sample_rate_hz} Hz"),
            });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::Audio {
                expected: "finite samples".into(),
                got: format!("{} at sample {index}", samples[index]),
            });
        }
        let mut values = if sample_rate_hz == self.config.sample_rate_hz {
            self.mel.power(samples)
        } else {
            return Err(Error::Codec("no resampler yet".into()));
        };
        values.iter_mut().for_each(|value| *value = feature_of_power(*value));
        Ok(Features { bands: self.config.bands, values })
    }
}
