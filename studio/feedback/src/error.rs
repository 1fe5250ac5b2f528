//! The one error type of this crate.

use std::{fmt, io, path::PathBuf};

/// What can go wrong in `musicrl-feedback`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    Io {
        /// What was being done, e.g. "write judgements".
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be (format, version).
    File {
        /// Where.
        path: PathBuf,
        /// What the file should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A record breaks a rule.
    Record {
        /// Where it stands: a file with its line, or "new clip" and the like.
        at: String,
        /// The field, as the file writes it.
        field: &'static str,
        /// The rule.
        expected: String,
        /// The offending value.
        got: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: an [`Error::Io`] that says what was being done where.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn record(at: &str, field: &'static str, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self::Record { at: at.into(), field, expected: expected.into(), got: got.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Self::File { path, expected, got } => write!(f, "{}: expected {expected}, got {got}", path.display()),
            Self::Record { at, field, expected, got } => write!(f, "{at}: `{field}`: expected {expected}, got {got}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::File { .. } | Self::Record { .. } => None,
        }
    }
}
