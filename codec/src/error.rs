//! The one error type of this crate: each variant is a violated rule with what was expected and what came.

use std::{fmt, io, path::PathBuf};

/// What can go wrong in `musicrl-codec`. `path` is the file, or the name the caller gave to the bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    Io {
        /// What was being done, e.g. "read".
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A setting breaks a rule, alone or against another setting.
    Config {
        /// The field, as the user writes it.
        field: &'static str,
        /// The rule.
        expected: String,
        /// The offending value.
        got: String,
    },
    /// A tensor or slice has another shape than the contract says.
    Shape {
        /// Which argument.
        what: &'static str,
        /// The shape by the contract.
        expected: String,
        /// The shape that came.
        got: String,
    },
    /// A value that must be finite is not.
    NonFinite {
        /// The file or argument.
        what: String,
        /// Where, in words or an index.
        at: String,
    },
    /// The bytes are no audio file of a known kind.
    NotAudio {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// An audio file of a kind, or with a feature, that is not read here.
    Unsupported {
        /// Which file.
        path: PathBuf,
        /// The codec or feature.
        feature: String,
    },
    /// A file without a single sample.
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The file ends before its sound does.
    Truncated {
        /// Which file.
        path: PathBuf,
        /// What was there and what was announced.
        reason: String,
    },
    /// Parts of the file cannot be decoded.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The sampling rate is outside what is accepted.
    SampleRate {
        /// The file or argument.
        what: String,
        /// Lowest and highest accepted rate.
        expected_hz: (u32, u32),
        /// The rate that came.
        got_hz: u64,
    },
    /// The recording is longer than the limit.
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The limit, in words.
        expected: String,
        /// What came, in words.
        got: String,
    },
    /// A library this crate stands on refused.
    Library {
        /// Which, and at what.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// Parameters, tokens or mathematics refused.
    Core(musicrl_core::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Config { field, expected, got } => write!(f, "`{field}` must be {expected}, got {got}"),
            Self::Shape { what, expected, got } => write!(f, "{what}: expected shape {expected}, got {got}"),
            Self::NonFinite { what, at } => write!(f, "{what}: not finite at {at}"),
            Self::NotAudio { path, reason } => {
                write!(f, "{}: expected an audio file (WAV, FLAC, MP3, Ogg, M4A, Opus): {reason}", path.display())
            }
            Self::Unsupported { path, feature } => write!(f, "{}: not supported: {feature}", path.display()),
            Self::Empty { path } => write!(f, "{}: expected sound, got no samples", path.display()),
            Self::Truncated { path, reason } => write!(f, "{}: truncated: {reason}", path.display()),
            Self::Damaged { path, reason } => write!(f, "{}: damaged: {reason}", path.display()),
            Self::SampleRate { what, expected_hz: (low, high), got_hz } => {
                write!(f, "{what}: expected a sampling rate of {low} to {high} Hz, got {got_hz} Hz")
            }
            Self::TooLong { path, expected, got } => {
                write!(f, "{}: expected at most {expected}, got {got}", path.display())
            }
            Self::Library { what, reason } => write!(f, "{what}: {reason}"),
            Self::Core(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Core(error) => Some(error),
            _ => None,
        }
    }
}

impl From<musicrl_core::Error> for Error {
    fn from(error: musicrl_core::Error) -> Self {
        Self::Core(error)
    }
}
