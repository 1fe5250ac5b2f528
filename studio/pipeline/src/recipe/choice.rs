//! When a stage is measured, and which of its checkpoints is the result.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    run::{Best, Direction, Keep},
};

/// Measuring on held-out captions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// After every so many steps (and before the first and after the last); 0: never.
    pub every: u64,
    /// Clips of an evaluation, one a held-out caption.
    pub clips: usize,
    /// How many of them are written as audio.
    pub samples: usize,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { every: 50, clips: 32, samples: 4 }
    }
}

/// Which checkpoint is a stage's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// The last one.
    #[default]
    Last,
    /// The one whose evaluation was best by `metric`.
    Best,
    /// The one whose reward was highest, among evaluations within the guards' limits at which the rewards of weight 0, which
    /// are watched and not learned from, were not below their best beyond noise: see [`watch`](crate::align::watch). With
    /// [`validation`](CheckpointConfig::validation) those rewards choose.
    Guarded,
}

/// Writing, keeping and choosing checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// After every so many steps (and after the last).
    pub every: u64,
    /// The newest so many stay.
    pub keep_last: usize,
    /// Which one is the result.
    pub choose: Choose,
    /// The evaluation metric that "best" means.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// For a guarded choice: the rewards of weight 0 by whose mean gain it is made, in the place of the gain of the reward
    /// that is learned from. A second user preference model that was trained on other pairs is the *validation reward
    /// model*: it need not be wrong about the clips that the first one is wrong about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<String>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every: 25,
            keep_last: 2,
            choose: Choose::Last,
            metric: "reward".into(),
            direction: Direction::Higher,
            validation: Vec::new(),
        }
    }
}

impl CheckpointConfig {
    /// What the driver keeps.
    #[must_use]
    pub fn keep(&self) -> Keep {
        let best = match self.choose {
            Choose::Last => None,
            Choose::Best => Some(Best { metric: self.metric.clone(), direction: self.direction }),
            Choose::Guarded => Some(Best { metric: "guarded".into(), direction: Direction::Higher }),
        };
        Keep { last: self.keep_last, best }
    }

    /// Checks the keys, beside those of the evaluation.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, prefix: &str, evaluation: &EvaluationConfig) -> Result<()> {
        let field = |name: &str| format!("{prefix}.checkpoint.{name}");
        if self.every == 0 {
            return Err(Error::config(field("every"), "at least 1", 0));
        }
        if self.keep_last == 0 {
            return Err(Error::config(field("keep_last"), "at least 1", 0));
        }
        if self.choose != Choose::Guarded && !self.validation.is_empty() {
            let got = format!("{:?}", self.validation);
            return Err(Error::config(field("validation"), "left out, or choose = \"guarded\"", got));
        }
        if self.choose != Choose::Last {
            if evaluation.every == 0 {
                let got = format!("{:?}", self.choose).to_lowercase();
                return Err(Error::config(field("choose"), "\"last\" where nothing is evaluated", got));
            }
            // Else the best evaluation may fall between two checkpoints.
            if !evaluation.every.is_multiple_of(self.every) {
                let expected = format!("a divisor of evaluation.every ({})", evaluation.every);
                return Err(Error::config(field("every"), expected, self.every));
            }
        }
        Ok(())
    }
}
