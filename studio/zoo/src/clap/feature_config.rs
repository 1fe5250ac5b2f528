//! Settings of the front end: [`FeatureConfig`].

use std::{fs, path::Path};

use musicrl_codec::mel::{Log, MelConfig, Norm, Scale, Spectrum};
use serde::Deserialize;
use serde_json::Value;

use super::FrontEnd;
use crate::{Error, Result, bounds::within};

/// Power at which the logarithm stops: -100 dB.
const FLOOR: f64 = 1e-10;
/// Longest window: eleven minutes at 48 kHz.
const WINDOW_SAMPLES_MAX: usize = 1 << 25;
/// Largest file of settings that is read.
const JSON_BYTES_MAX: u64 = 1 << 20;

/// What becomes of a clip longer than the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The whole clip shrunk to the window's frames, and three parts of it: four channels. HTK's mel scale.
    Fusion,
    /// One part: one channel. Slaney's mel scale and norm.
    RandTrunc,
}

/// What becomes of a clip shorter than the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Repeated as often as it fits whole, then zeros.
    Repeatpad,
    /// Repeated and cut.
    Repeat,
    /// Zeros.
    Pad,
}

/// `preprocessor_config.json`, with the defaults of the reference library.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct FeatureConfig {
    /// Mel bands.
    pub feature_size: usize,
    /// Samples a second.
    pub sampling_rate: u32,
    /// Samples from frame to frame.
    pub hop_length: usize,
    /// The window, in seconds.
    pub max_length_s: f64,
    /// Samples of one Fourier transform.
    pub fft_window_size: usize,
    /// Lower edge of the lowest band, in Hz.
    pub frequency_min: f64,
    /// Upper edge of the highest band, in Hz.
    pub frequency_max: f64,
    /// Longer clips. Where nothing is said, what the audio tower can hear.
    pub truncation: Option<Truncation>,
    /// Shorter clips.
    pub padding: Padding,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self {
            feature_size: 64,
            sampling_rate: 48_000,
            hop_length: 480,
            max_length_s: 10.0,
            fft_window_size: 1024,
            frequency_min: 0.0,
            frequency_max: 14_000.0,
            truncation: None,
            padding: Padding::Repeatpad,
        }
    }
}

impl FeatureConfig {
    /// The settings of a folder: `preprocessor_config.json`, else `feature_extractor` of `processor_config.json`, else
    /// the defaults.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for a file that is too large or holds something else.
    pub fn read(dir: &Path) -> Result<Self> {
        let own = dir.join("preprocessor_config.json");
        if own.exists() {
            return Self::of(&own, &read_json(&own)?);
        }
        let all = dir.join("processor_config.json");
        let settings = if all.exists() { read_json(&all)? } else { Value::Null };
        match settings.get("feature_extractor") {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(part) => Self::of(&all, part),
        }
    }

    fn of(path: &Path, settings: &Value) -> Result<Self> {
        // A list would be taken for settings in order.
        if !settings.is_object() {
            return Err(not_settings(path, settings.to_string().chars().take(80).collect()));
        }
        Self::deserialize(settings).map_err(|error| not_settings(path, error.to_string()))
    }

    /// Samples of the window.
    #[must_use]
    pub fn window_samples(&self) -> usize {
        (self.max_length_s * f64::from(self.sampling_rate)) as usize
    }

    fn mel(&self, truncation: Truncation) -> MelConfig {
        let (scale, norm) = match truncation {
            Truncation::Fusion => (Scale::Htk, Norm::None),
            Truncation::RandTrunc => (Scale::Slaney, Norm::Slaney),
        };
        MelConfig {
            low_hz: self.frequency_min,
            high_hz: self.frequency_max,
            scale,
            norm,
            spectrum: Spectrum::Power,
            log: Log::Decibel { floor: FLOOR },
            ..MelConfig::new(self.sampling_rate, self.fft_window_size, self.hop_length, self.feature_size)
        }
    }

    /// The front end of an audio tower: with `fusion` or without, at most `frames_max` frames.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first setting that cannot be; [`Error::Codec`] for settings of the spectrogram.
    pub fn init(&self, fusion: bool, frames_max: usize) -> Result<FrontEnd> {
        let heard = if fusion { Truncation::Fusion } else { Truncation::RandTrunc };
        let truncation = self.truncation.unwrap_or(heard);
        if truncation != heard {
            let expected = format!("{heard:?}, as the audio tower's `enable_fusion` is {fusion}");
            return Err(Error::config("truncation", expected, format!("{truncation:?}")));
        }
        within("feature_size", self.feature_size, 1, 4096)?;
        within("fft_window_size", self.fft_window_size, 2, 1 << 16)?;
        within("hop_length", self.hop_length, 1, self.fft_window_size)?;
        let samples = self.max_length_s * f64::from(self.sampling_rate);
        // The window must be a whole number of samples.
        if !(samples >= 1.0 && samples <= WINDOW_SAMPLES_MAX as f64 && samples.fract() == 0.0) {
            let expected = format!("a whole number of samples from 1 to {WINDOW_SAMPLES_MAX}");
            return Err(Error::config("max_length_s * sampling_rate", expected, samples));
        }
        within("max_length_s (frames)", self.window_samples() / self.hop_length + 1, 1, frames_max)?;
        FrontEnd::new(self.clone(), truncation, &self.mel(truncation))
    }
}

fn not_settings(path: &Path, got: String) -> Error {
    Error::File { path: path.to_path_buf(), expected: "settings of a feature extractor".into(), got }
}

fn read_json(path: &Path) -> Result<Value> {
    let length = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if length > JSON_BYTES_MAX {
        return Err(not_settings(path, format!("{length} bytes")));
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| not_settings(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_either_file_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FeatureConfig::read(dir.path()).unwrap(), FeatureConfig::default());
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("processor_config.json", "{\"feature_extractor\": {\"hop_length\": 7, \"top_db\": null}}");
        assert_eq!(FeatureConfig::read(dir.path()).unwrap().hop_length, 7);
        write("preprocessor_config.json", "{\"hop_length\": 9, \"truncation\": \"rand_trunc\", \"padding\": \"pad\"}");
        let config = FeatureConfig::read(dir.path()).unwrap();
        assert_eq!((config.hop_length, config.truncation), (9, Some(Truncation::RandTrunc)));
        assert!(config.init(true, 1 << 20).unwrap_err().to_string().contains("truncation"));
        for text in ["{", "[]", "{\"hop_length\": -1}", "{\"padding\": \"mirror\"}"] {
            write("preprocessor_config.json", text);
            assert!(matches!(FeatureConfig::read(dir.path()), Err(Error::File { .. })), "{text}");
        }
        let base = FeatureConfig::default;
        for (config, field) in [
            (FeatureConfig { hop_length: 0, ..base() }, "hop_length"),
            (FeatureConfig { hop_length: usize::MAX, ..base() }, "hop_length"),
            (FeatureConfig { fft_window_size: 0, ..base() }, "fft_window_size"),
            (FeatureConfig { fft_window_size: 1023, ..base() }, "fft_size"),
            (FeatureConfig { feature_size: 0, ..base() }, "feature_size"),
            (FeatureConfig { sampling_rate: 0, ..base() }, "max_length_s"),
            (FeatureConfig { max_length_s: f64::INFINITY, ..base() }, "max_length_s"),
            (FeatureConfig { max_length_s: 11.0, ..base() }, "max_length_s"),
            (FeatureConfig { max_length_s: -1.0, ..base() }, "max_length_s"),
            (FeatureConfig { frequency_max: 1e9, ..base() }, "high_hz"),
        ] {
            let error = config.init(false, 1024).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        assert!(base().init(true, 1024).is_ok() && base().init(false, 1024).is_ok());
    }
}
