//! The one error type of this crate: each variant is a violated rule with what was expected and what came.

use std::fmt;

/// What can go wrong in `musicrl-rewards`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
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
    /// Audio that no embedding can be made of: too short, silent, not finite, at an unusable rate.
    Audio {
        /// What a usable clip is.
        expected: String,
        /// What came.
        got: String,
    },
    /// A caption that the sentence encoder refused.
    Sentence {
        /// What it takes.
        expected: String,
        /// What came.
        got: String,
    },
    /// Weights, shapes or numbers that `musicrl-core` refused.
    Core(musicrl_core::Error),
    /// Settings or audio that `musicrl-codec` refused.
    Codec(musicrl_codec::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { field, expected, got } => write!(f, "`{field}` must be {expected}, got {got}"),
            Self::Shape { what, expected, got } => write!(f, "{what}: expected {expected}, got {got}"),
            Self::Audio { expected, got } => write!(f, "expected {expected}, got {got}"),
            Self::Sentence { expected, got } => write!(f, "sentence encoder: expected {expected}, got {got}"),
            Self::Core(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
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
