//! The one error type of this crate: each variant is a violated rule with what was expected and what came.

use std::{fmt, io, path::PathBuf};

/// What can go wrong in `musicrl-zoo`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not what it must be.
    File {
        /// The file.
        path: PathBuf,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A tensor of a checkpoint is missing, unexpected, of another shape or type, or not finite.
    Tensor {
        /// Its name in the checkpoint.
        tensor: String,
        /// What the architecture asks for.
        expected: String,
        /// What the checkpoint has.
        got: String,
    },
    /// A setting of `config.json`, or of the caller, that cannot be.
    Config {
        /// The setting, as it is written.
        field: String,
        /// The rule.
        expected: String,
        /// The offending value.
        got: String,
    },
    /// An input of another shape, type or range than the contract says.
    Input {
        /// Which input.
        what: String,
        /// What the contract says.
        expected: String,
        /// What came.
        got: String,
    },
    /// What `musicrl-core` refused.
    Core(musicrl_core::Error),
    /// What `musicrl-codec` refused.
    Codec(musicrl_codec::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Config`].
    pub fn config(field: impl Into<String>, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self::Config { field: field.into(), expected: expected.into(), got: got.to_string() }
    }

    /// An [`Error::Input`].
    pub fn input(what: impl Into<String>, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self::Input { what: what.into(), expected: expected.into(), got: got.to_string() }
    }

    /// An [`Error::Tensor`].
    pub fn tensor(tensor: impl Into<String>, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self::Tensor { tensor: tensor.into(), expected: expected.into(), got: got.to_string() }
    }

    /// For `map_err`: an [`Error::Io`].
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Self::File { path, expected, got } => write!(f, "{}: expected {expected}, got {got}", path.display()),
            Self::Tensor { tensor, expected, got } => write!(f, "tensor `{tensor}`: expected {expected}, got {got}"),
            Self::Config { field, expected, got } => write!(f, "`{field}` must be {expected}, got {got}"),
            Self::Input { what, expected, got } => write!(f, "{what}: expected {expected}, got {got}"),
            Self::Core(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Core(error) => Some(error),
            Self::Codec(error) => Some(error),
            _ => None,
        }
    }
}

impl From<musicrl_core::Error> for Error {
    fn from(error: musicrl_core::Error) -> Self {
        Self::Core(error)
    }
}

impl From<musicrl_codec::Error> for Error {
    fn from(error: musicrl_codec::Error) -> Self {
        Self::Codec(error)
    }
}
