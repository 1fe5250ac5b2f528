//! The one error type of this crate: each variant is a violated rule with what was expected and what came.

use alloc::string::String;
use core::fmt;

/// What can go wrong in `musicrl-core`.
#[derive(Debug, Clone, PartialEq)]
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
    /// A token id lies outside its slot's codebook.
    Token {
        /// Clip, frame and slot of the token.
        at: (usize, usize, usize),
        /// The codebook size of the slot: ids are below it.
        codebook: usize,
        /// The id that came.
        got: i64,
    },
    /// A value that must be finite is not.
    NonFinite {
        /// Which value.
        what: &'static str,
        /// Where, in words or an index.
        at: String,
    },
    /// A named weight is missing, unexpected, or of another shape or type.
    Weights {
        /// The tensor's name.
        tensor: String,
        /// What the model has.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// A judge failed as a whole.
    Reward {
        /// The reward's name.
        name: String,
        /// What happened.
        reason: String,
    },
    /// A statistic that these data do not define.
    Undefined {
        /// Which statistic.
        what: &'static str,
        /// Why there is none.
        reason: String,
    },
    /// Bytes that should be a safetensors file are not.
    Format {
        /// What the bytes should have been.
        expected: &'static str,
        /// What is wrong with them.
        got: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { field, expected, got } => write!(f, "`{field}` must be {expected}, got {got}"),
            Self::Shape { what, expected, got } => write!(f, "{what}: expected shape {expected}, got {got}"),
            Self::Token { at: (clip, frame, slot), codebook, got } => write!(
                f,
                "token {got} at clip {clip}, frame {frame}, slot {slot} is outside its codebook of {codebook}"
            ),
            Self::NonFinite { what, at } => write!(f, "{what} is not finite at {at}"),
            Self::Weights { tensor, expected, got } => write!(f, "weight `{tensor}`: expected {expected}, got {got}"),
            Self::Reward { name, reason } => write!(f, "reward `{name}` failed: {reason}"),
            Self::Undefined { what, reason } => write!(f, "{what} is undefined: {reason}"),
            Self::Format { expected, got } => write!(f, "expected {expected}: {got}"),
        }
    }
}

impl core::error::Error for Error {}
