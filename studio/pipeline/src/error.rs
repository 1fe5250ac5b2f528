//! The one error type of this crate.

use std::{fmt, io, path::PathBuf};

/// What can go wrong in `musicrl-pipeline`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    Io {
        /// What was being done, e.g. "write checkpoint".
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A setting breaks a rule.
    Config {
        /// The field, as the user writes it.
        field: String,
        /// The rule.
        expected: String,
        /// The offending value.
        got: String,
    },
    /// A file is not what it should be (format, checksum, version).
    File {
        /// Where.
        path: PathBuf,
        /// What the file should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Policies, rewards or mathematics refused.
    Core(musicrl_core::Error),
    /// A codec, decoder or front end refused.
    Codec(String),
    /// The user asked to stop; everything up to the last checkpoint is kept.
    Interrupted,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Config { field, expected, got } => write!(f, "`{field}` must be {expected}, got {got}"),
            Self::File { path, expected, got } => write!(f, "{}: expected {expected}, got {got}", path.display()),
            Self::Core(error) => error.fmt(f),
            Self::Codec(reason) => f.write_str(reason),
            Self::Interrupted => f.write_str("interrupted"),
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
