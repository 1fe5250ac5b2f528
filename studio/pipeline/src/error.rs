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
    /// A recipe or settings file does not parse, or has a key that nothing reads.
    Parse {
        /// The file (or `--set`, for an override on the command line).
        path: PathBuf,
        /// Line in the file, from 1; 0 when it is not known.
        line: usize,
        /// What is wrong, with the nearest known name where there is one.
        reason: String,
    },
    /// Another process is writing this run directory.
    Busy {
        /// The run directory.
        path: PathBuf,
    },
    /// A guard stopped the training.
    Guard {
        /// The guard: its key in recipes, or the metric that it watches.
        guard: &'static str,
        /// What it saw and what it allows.
        reason: String,
    },
    /// The work needs more memory than there is.
    Memory {
        /// Estimated need.
        needed_bytes: u64,
        /// What the machine has to give.
        available_bytes: u64,
        /// The parts of the estimate, largest first.
        parts: String,
    },
    /// The user asked to stop; everything up to the last checkpoint is kept.
    Interrupted,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 30)
}

impl Error {
    /// For `map_err`: an I/O failure with what was being done and where.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// A setting that breaks a rule.
    pub fn config(field: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Config { field: field.into(), expected: expected.into(), got: got.to_string() }
    }

    /// Whether a write failed because the disk is full or the quota used up.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Config { field, expected, got } => write!(f, "`{field}` must be {expected}, got {got}"),
            Self::File { path, expected, got } => write!(f, "{}: expected {expected}, got {got}", path.display()),
            Self::Parse { path, line: 0, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Parse { path, line, reason } => write!(f, "{}:{line}: {reason}", path.display()),
            Self::Busy { path } => write!(f, "{}: another process is writing this run", path.display()),
            Self::Guard { guard, reason } => write!(f, "guard `{guard}`: {reason}"),
            Self::Memory { needed_bytes, available_bytes, parts } => write!(
                f,
                "needs about {:.1} GiB of memory, {:.1} GiB are available ({parts})",
                gibibytes(*needed_bytes),
                gibibytes(*available_bytes)
            ),
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

impl From<musicrl_rewards::Error> for Error {
    fn from(error: musicrl_rewards::Error) -> Self {
        match error {
            musicrl_rewards::Error::Core(error) => Self::Core(error),
            musicrl_rewards::Error::Config { field, expected, got } => {
                Self::Config { field: field.into(), expected, got }
            }
            other => Self::Codec(other.to_string()),
        }
    }
}

impl From<musicrl_feedback::Error> for Error {
    fn from(error: musicrl_feedback::Error) -> Self {
        match error {
            musicrl_feedback::Error::Io { doing, path, source } => Self::Io { doing, path, source },
            musicrl_feedback::Error::File { path, expected, got } => Self::File { path, expected, got },
            musicrl_feedback::Error::Record { at, field, expected, got } => {
                Self::File { path: at.into(), expected: format!("`{field}` to be {expected}"), got }
            }
            other => Self::Codec(other.to_string()),
        }
    }
}

impl From<musicrl_zoo::Error> for Error {
    fn from(error: musicrl_zoo::Error) -> Self {
        match error {
            musicrl_zoo::Error::Io { doing, path, source } => Self::Io { doing, path, source },
            musicrl_zoo::Error::File { path, expected, got } => Self::File { path, expected, got },
            musicrl_zoo::Error::Config { field, expected, got } => Self::Config { field, expected, got },
            musicrl_zoo::Error::Core(error) => Self::Core(error),
            other => Self::Codec(other.to_string()),
        }
    }
}

impl From<musicrl_codec::Error> for Error {
    fn from(error: musicrl_codec::Error) -> Self {
        Self::Codec(error.to_string())
    }
}
