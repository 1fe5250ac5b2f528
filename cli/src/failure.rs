//! What went wrong, and what to do about it.

use std::process::ExitCode;

use musicrl_pipeline::Error;

use crate::report::put;

/// An error for the user: a message, perhaps a hint, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    usage: bool,
}

impl Failure {
    /// The work failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, usage: false }
    }

    /// The user asked for something that cannot be: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { usage: true, ..Self::failed(message) }
    }

    /// With what to do next.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What went wrong, in a sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Writes it to the error stream, or as one JSON object to the output.
    pub fn print(&self, json: bool) {
        if json {
            // The exit code says that it failed, whether this can be read or not.
            put(&[serde_json::json!({ "error": self.message, "hint": self.hint }).to_string()]);
            return;
        }
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }

    /// 1 for failed work, 2 for wrong usage.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = match &error {
            _ if error.is_disk_full() => {
                Some("free some space and run the same command again: it goes on from the last good checkpoint")
            }
            Error::Busy { .. } => Some("wait for it to end, or give this run another folder with --out"),
            Error::Memory { .. } => Some("take a smaller preset, or a smaller batch (see --set)"),
            Error::Interrupted => Some("run the same command again to start over: this work keeps no checkpoints"),
            Error::Guard { guard: "unscorable", .. } => Some(
                "a judge refuses every clip: look at the stage's clip_seconds and rewards, and hear the run's samples",
            ),
            Error::Core(musicrl_core::Error::Reward { .. }) => Some(
                "try the judge with `musicrl judge RECIPE --audio FILE --caption TEXT`; a run goes on from its last \
                 checkpoint with the same command",
            ),
            Error::Guard { .. } => Some(
                "the last good checkpoint is kept; raise the KL's alpha or lower the learning rate in the recipe, or let a \
                     stage that chooses guarded end there: guards.at_limit = \"end_stage\"",
            ),
            Error::File { path, .. } if path.ends_with("recipe.toml") => {
                Some("a run keeps the settings that it began with; give the new ones another folder with --out")
            }
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("check who may read and write there")
            }
            _ => None,
        };
        let usage = matches!(error, Error::Parse { .. } | Error::Config { .. });
        Self { message: error.to_string(), hint: hint.map(Into::into), usage }
    }
}

impl From<musicrl_zoo::Error> for Failure {
    fn from(error: musicrl_zoo::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<musicrl_core::Error> for Failure {
    fn from(error: musicrl_core::Error) -> Self {
        Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_usage_and_a_full_disk_is_not() {
        assert!(Failure::from(Error::config("steps", "at least 1", 0)).usage);
        let full = Error::io("write", "x")(std::io::ErrorKind::StorageFull.into());
        let failure = Failure::from(full);
        assert!(!failure.usage && failure.hint.unwrap().contains("last good checkpoint"));
    }
}
