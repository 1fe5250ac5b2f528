//! Which weights are the best so far, and when to stop: [`Selection`].

use serde::{Deserialize, Serialize};

use crate::{Error, Result, training::Files};

/// Where early stopping stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Selection {
    /// Step and held-out log-loss of the best weights.
    best: Option<(u64, f64)>,
    /// Evaluations since.
    since: u64,
    /// The last step that was evaluated.
    evaluated: Option<u64>,
}

/// [`Selection`] as a checkpoint has it: numbers as text, since JSON readers differ in the last bit of a float.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    best_step: Option<u64>,
    best_log_loss: String,
    since: u64,
    evaluated: Option<u64>,
}

const FILE: &str = "preference-selection.json";

impl Selection {
    /// Step and held-out log-loss of the best weights.
    pub(crate) fn best(&self) -> Option<(u64, f64)> {
        self.best
    }

    /// Evaluations since the best one.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// Takes an evaluation in; whether the weights that it measured are the best so far. The same step again, before a
    /// resume, is the same evaluation again and says nothing new.
    pub(crate) fn observe(&mut self, step: u64, log_loss: f64) -> bool {
        if self.evaluated == Some(step) {
            return false;
        }
        self.evaluated = Some(step);
        if self.best.is_none_or(|(_, best)| log_loss < best) {
            (self.best, self.since) = (Some((step, log_loss)), 0);
            return true;
        }
        self.since += 1;
        false
    }

    pub(crate) fn save(&self, files: &mut Files) -> Result<()> {
        let Self { best, since, evaluated } = *self;
        let stored = Stored {
            best_step: best.map(|(step, _)| step),
            best_log_loss: best.map_or_else(String::new, |(_, loss)| loss.to_string()),
            since,
            evaluated,
        };
        let bytes =
            serde_json::to_vec(&stored).map_err(|error| Error::config(FILE, "a state that JSON can hold", error))?;
        files.insert(FILE.into(), bytes);
        Ok(())
    }

    pub(crate) fn load(files: &Files) -> Result<Self> {
        let wrong = |got: String| Error::File { path: FILE.into(), expected: "early stopping's state".into(), got };
        let bytes = files.get(FILE).ok_or_else(|| wrong("no such file".into()))?;
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let best = match stored.best_step {
            None => None,
            Some(step) => {
                let loss = stored.best_log_loss.parse::<f64>().map_err(|error| wrong(error.to_string()))?;
                Some((step, loss))
            }
        };
        Ok(Self { best, since: stored.since, evaluated: stored.evaluated })
    }
}
