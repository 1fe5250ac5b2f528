//! What every training loop of this crate is to the driver: steps, a state that can be put away, and one that can be
//! taken up again.

use std::collections::BTreeMap;

use crate::Result;

/// Named numbers of one step, in the order in which they are logged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(pub Vec<(String, f64)>);

impl Metrics {
    /// Adds one number.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// The number of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }
}

/// The files of a checkpoint: name to bytes. Equal states give equal bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A training loop, one step at a time.
///
/// A step is a function of the state and the step number alone (data order and randomness come from the keyed
/// generator), so `restore(state())` before any step changes nothing that follows.
pub trait Training {
    /// Takes step number `step` (from 0) and says what happened.
    ///
    /// # Errors
    /// Whatever makes going on senseless. A non-finite gradient is skipped and counted, not an error.
    fn step(&mut self, step: u64) -> Result<Metrics>;

    /// Every state that the next step reads (weights, optimiser, controllers, counters), as files.
    ///
    /// # Errors
    /// When a weight is not finite.
    fn state(&self) -> Result<Files>;

    /// Takes up a state that [`Training::state`] gave.
    ///
    /// # Errors
    /// When a file is missing or does not fit this training.
    fn restore(&mut self, files: &Files) -> Result<()>;

    /// Whether going on would change nothing any more (early stopping): the driver then ends the run before its last
    /// step. A function of the state, asked after a step and its evaluation. The default never is.
    fn is_done(&self) -> bool {
        false
    }

    /// Measures the model on held-out data after `step` steps. The default measures nothing.
    ///
    /// # Errors
    /// As [`Training::step`].
    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        let _ = step;
        Ok(Metrics::default())
    }
}
