//! Settings of external judges, as recipes write them.

use std::path::{Path, PathBuf};

use musicrl_codec::{
    audio::SAMPLE_RATE_RANGE_HZ,
    mel::{Log, MelConfig, Norm, Scale, Spectrum},
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Longest time limit that is accepted: a day.
const TIMEOUT_MAX_SECONDS: f64 = 86_400.0;
/// Most restarts and repetitions that are accepted.
const REPETITIONS_MAX: u32 = 1_000;

fn config_error(field: &'static str, expected: impl Into<String>, got: impl ToString) -> Error {
    Error::Config { field, expected: expected.into(), got: got.to_string() }
}

fn check_timeout(field: &'static str, seconds: f64) -> Result<()> {
    if seconds.is_finite() && seconds > 0.0 && seconds <= TIMEOUT_MAX_SECONDS {
        return Ok(());
    }
    Err(config_error(field, format!("above 0 and at most {TIMEOUT_MAX_SECONDS}"), seconds))
}

fn check_repetitions(field: &'static str, count: u32) -> Result<()> {
    if count <= REPETITIONS_MAX {
        return Ok(());
    }
    Err(config_error(field, format!("at most {REPETITIONS_MAX}"), count))
}

/// `path` as seen from `folder`; an empty folder is the current one.
fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    if joined.as_os_str().is_empty() { PathBuf::from(".") } else { joined }
}

/// A program of the user's that judges: JSON lines in, JSON lines out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// The program and its arguments. No shell reads them. A name without a `/` is looked for in the path, any other is
    /// relative to `folder`.
    pub command: Vec<String>,
    /// Where the program runs, relative to the recipe; the recipe's own folder where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// How long one batch may take, the program's start included.
    #[serde(default = "half_a_minute")]
    pub timeout_seconds: f64,
    /// How often in a row it is started again when it ends or takes too long.
    #[serde(default = "three")]
    pub restarts: u32,
    /// Whether it gets the sound, as the path of a 16-bit WAV file.
    #[serde(default = "yes")]
    pub audio: bool,
    /// Whether it gets the tokens.
    #[serde(default)]
    pub tokens: bool,
}

/// In which form an HTTP judge gets the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioForm {
    /// A 16-bit WAV file in base64.
    #[default]
    Base64,
    /// The path of a 16-bit WAV file, for a service on the same machine.
    Path,
    /// Not at all.
    None,
}

/// A service that judges: POST of a batch as JSON, answer as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where batches go: `http://HOST:PORT/PATH`.
    pub url: String,
    /// How long one request may take.
    #[serde(default = "half_a_minute")]
    pub timeout_seconds: f64,
    /// How often a request is repeated when there is no connection, or the service answers 429 or 5xx.
    #[serde(default = "two")]
    pub retries: u32,
    /// The form of the sound.
    #[serde(default)]
    pub audio: AudioForm,
    /// Whether the tokens are sent.
    #[serde(default)]
    pub tokens: bool,
}

/// What a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnnxInput {
    /// Samples, `[1, samples]`.
    #[default]
    Samples,
    /// Log-mel bands, `[1, bands, frames]`.
    LogMel,
}

/// The mel bands that a network reads: the codec crate's [`MelConfig`] with defaults, at the judge's rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MelInput {
    /// Window and FFT length, in samples.
    pub fft_size: usize,
    /// Distance of frames, in samples.
    pub hop_samples: usize,
    /// Number of bands.
    pub bands: usize,
    /// Lower edge of the lowest band.
    pub low_hz: f64,
    /// Upper edge of the highest band; half the sampling rate where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_hz: Option<f64>,
    /// The formula of the mel.
    pub scale: Scale,
    /// The height of the triangles.
    pub norm: Norm,
    /// Magnitudes or powers.
    pub spectrum: Spectrum,
    /// The compression.
    pub log: Log,
    /// `[1, frames, bands]` in place of `[1, bands, frames]`.
    pub frames_first: bool,
}

impl Default for MelInput {
    fn default() -> Self {
        Self {
            fft_size: 1024,
            hop_samples: 320,
            bands: 80,
            low_hz: 0.0,
            high_hz: None,
            scale: Scale::Htk,
            norm: Norm::None,
            spectrum: Spectrum::Power,
            log: Log::Natural { floor: 1e-5 },
            frames_first: false,
        }
    }
}

impl MelInput {
    /// The front end's settings at a rate.
    #[must_use]
    pub fn at(&self, sample_rate_hz: u32) -> MelConfig {
        MelConfig {
            low_hz: self.low_hz,
            high_hz: self.high_hz.unwrap_or(f64::from(sample_rate_hz) / 2.0),
            scale: self.scale,
            norm: self.norm,
            spectrum: self.spectrum,
            log: self.log,
            ..MelConfig::new(sample_rate_hz, self.fft_size, self.hop_samples, self.bands)
        }
    }
}

/// A network in an ONNX file that judges sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxConfig {
    /// The file, relative to the recipe.
    pub path: PathBuf,
    /// The rate that sound is brought to.
    #[serde(default = "speech_rate")]
    pub sample_rate_hz: u32,
    /// What the network reads.
    #[serde(default)]
    pub input: OnnxInput,
    /// Which element of the network's first output is the score, in row-major order.
    #[serde(default)]
    pub output: usize,
    /// The mel bands, for `input = "log_mel"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel: Option<MelInput>,
}

fn half_a_minute() -> f64 {
    30.0
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn yes() -> bool {
    true
}

fn speech_rate() -> u32 {
    16_000
}

impl ProcessConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.command.first().is_none_or(|program| program.trim().is_empty()) {
            let got = format!("{:?}", self.command);
            return Err(config_error(
                "process.command",
                "a program and its arguments, [\"python3\", \"judge.py\"]",
                got,
            ));
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return Err(config_error("process.command", "words without a zero byte", format!("{:?}", self.command)));
        }
        check_timeout("process.timeout_seconds", self.timeout_seconds)?;
        check_repetitions("process.restarts", self.restarts)
    }

    /// Makes the working folder relative to the recipe's `folder`.
    pub fn seen_from(&mut self, folder: &Path) {
        self.folder = Some(seen_from(folder, self.folder.as_deref().unwrap_or(Path::new(""))));
    }
}

impl HttpConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let expected = "http://HOST:PORT/PATH";
        let url: ureq::http::Uri = self
            .url
            .parse()
            .map_err(|error| config_error("http.url", expected, format!("{:?} ({error})", self.url)))?;
        match url.scheme_str() {
            Some("http") if url.host().is_some_and(|host| !host.is_empty()) => {}
            Some("https") => {
                let expected =
                    format!("{expected} (this program has no TLS: put a proxy of your own before the service)");
                return Err(config_error("http.url", expected, &self.url));
            }
            _ => return Err(config_error("http.url", expected, format!("{:?}", self.url))),
        }
        check_timeout("http.timeout_seconds", self.timeout_seconds)?;
        check_repetitions("http.retries", self.retries)
    }
}

impl OnnxConfig {
    /// Checks every field but the file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field; what the mel front end refuses.
    pub fn validate(&self) -> Result<()> {
        let (low, high) = SAMPLE_RATE_RANGE_HZ;
        if !(low..=high).contains(&self.sample_rate_hz) {
            return Err(config_error("onnx.sample_rate_hz", format!("{low} to {high}"), self.sample_rate_hz));
        }
        match (self.input, &self.mel) {
            (OnnxInput::Samples, Some(_)) => Err(config_error(
                "onnx.mel",
                "left out, or input = \"log_mel\" chosen",
                "settings that nothing would read",
            )),
            (OnnxInput::Samples, None) => Ok(()),
            (OnnxInput::LogMel, mel) => {
                let mel = mel.clone().unwrap_or_default().at(self.sample_rate_hz);
                mel.validate().map_err(|error| config_error("onnx.mel", "a front end that works", error))
            }
        }
    }

    /// Makes the path relative to the recipe's `folder`.
    pub fn seen_from(&mut self, folder: &Path) {
        self.path = seen_from(folder, &self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(text: &str) -> std::result::Result<ProcessConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let config = process(r#"{"command": ["judge"]}"#).unwrap();
        assert_eq!((config.timeout_seconds, config.restarts, config.audio, config.tokens), (30.0, 3, true, false));
        let http: HttpConfig = serde_json::from_str(r#"{"url": "http://h"}"#).unwrap();
        assert_eq!((http.retries, http.audio), (2, AudioForm::Base64));
        let onnx: OnnxConfig = serde_json::from_str(r#"{"path": "a.onnx", "input": "log_mel"}"#).unwrap();
        assert_eq!((onnx.sample_rate_hz, onnx.output, onnx.input), (16_000, 0, OnnxInput::LogMel));
        assert!(process(r#"{"command": ["judge"], "tokenz": true}"#).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let good = process(r#"{"command": ["judge"]}"#).unwrap();
        let bad = |config: ProcessConfig, field: &str| {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        };
        assert!(good.validate().is_ok());
        bad(ProcessConfig { command: vec![], ..good.clone() }, "process.command");
        bad(ProcessConfig { command: vec![" ".into()], ..good.clone() }, "process.command");
        bad(ProcessConfig { command: vec!["a\0b".into()], ..good.clone() }, "zero byte");
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            bad(ProcessConfig { timeout_seconds: seconds, ..good.clone() }, "process.timeout_seconds");
        }
        bad(ProcessConfig { restarts: u32::MAX, ..good }, "process.restarts");
        for (url, expected) in [
            ("", "http://"),
            ("localhost:80", "http://"),
            ("https://h/", "TLS"),
            ("ftp://h", "http://"),
            ("http://", ""),
        ] {
            let config: HttpConfig = serde_json::from_str(&format!(r#"{{"url": "{url}"}}"#)).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("http.url") && error.contains(expected), "{url}: {error}");
        }
        let onnx: OnnxConfig = serde_json::from_str(r#"{"path": "a"}"#).unwrap();
        assert!(onnx.validate().is_ok());
        assert!(OnnxConfig { sample_rate_hz: 1, ..onnx.clone() }.validate().is_err());
        assert!(OnnxConfig { mel: Some(MelInput::default()), ..onnx.clone() }.validate().is_err());
        let mel = Some(MelInput { bands: 2_000, ..MelInput::default() });
        let error = OnnxConfig { input: OnnxInput::LogMel, mel, ..onnx }.validate().unwrap_err().to_string();
        assert!(error.contains("onnx.mel") && error.contains("bands"), "{error}");
    }

    #[test]
    fn folders_are_seen_from_the_recipe() {
        let mut config = process(r#"{"command": ["judge"]}"#).unwrap();
        config.seen_from(Path::new(""));
        assert_eq!(config.folder, Some(".".into()));
        let mut config = process(r#"{"command": ["judge"], "folder": "judges"}"#).unwrap();
        config.seen_from(Path::new("recipes"));
        assert_eq!(config.folder, Some("recipes/judges".into()));
        let mut onnx: OnnxConfig = serde_json::from_str(r#"{"path": "/m/a.onnx"}"#).unwrap();
        onnx.seen_from(Path::new("recipes"));
        assert_eq!(onnx.path, Path::new("/m/a.onnx"));
    }
}
