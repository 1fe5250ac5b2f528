//! What a training command runs, as it is written into the run.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::settings::to_toml;
use crate::{
    Error, Result,
    run::{DrivePlan, Keep},
};

/// A training run: which part of a bundle, on which corpus, for how long, with which settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRecipe<S> {
    /// The part that is trained, e.g. "codec".
    pub part: String,
    /// Seed of all keyed random numbers.
    pub seed: u64,
    /// The corpus folder.
    pub corpus: PathBuf,
    /// Steps of the run.
    pub steps: u64,
    /// A checkpoint after every so many steps.
    pub checkpoint_every: u64,
    /// An evaluation after every so many steps; 0: none.
    pub evaluate_every: u64,
    /// SHA-256 of what the run learns from: the corpus's list of clips and the parts that it reads. A run must not go on
    /// with other data than it began with.
    pub inputs: BTreeMap<String, String>,
    /// The trainer's own settings.
    pub settings: S,
}

impl<S: Serialize> TrainRecipe<S> {
    /// Checks the keys; those of `settings` are the trainer's to check.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [("steps", self.steps), ("checkpoint_every", self.checkpoint_every)] {
            if value == 0 {
                return Err(Error::config(field, "at least 1", 0));
            }
        }
        match i64::try_from(self.seed) {
            Ok(_) => Ok(()),
            // TOML's integers are signed.
            Err(_) => Err(Error::config("seed", format!("at most {}", i64::MAX), self.seed)),
        }
    }

    /// The recipe as TOML, nothing left to a default.
    ///
    /// # Errors
    /// [`Error::Config`] when the settings cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self)
    }

    /// What the driver does.
    #[must_use]
    pub fn plan(&self) -> DrivePlan {
        DrivePlan {
            steps: self.steps,
            checkpoint_every: self.checkpoint_every,
            evaluate_every: self.evaluate_every,
            keep: Keep::default(),
            interrupt: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::AdamWConfig;

    #[test]
    fn it_is_written_with_every_setting_and_refuses_no_steps() {
        let recipe = TrainRecipe {
            part: "codec".into(),
            seed: 1,
            corpus: "c".into(),
            steps: 3,
            checkpoint_every: 2,
            evaluate_every: 0,
            inputs: [("codec".to_string(), "00".to_string())].into(),
            settings: AdamWConfig::default(),
        };
        let text = recipe.to_toml().unwrap();
        assert!(text.contains("[settings]") && text.contains("epsilon"), "{text}");
        assert_eq!(super::super::parse::<TrainRecipe<AdamWConfig>>(&text, "r".as_ref()).unwrap(), recipe);
        recipe.validate().unwrap();
        assert!(TrainRecipe { steps: 0, ..recipe.clone() }.validate().is_err());
        assert!(TrainRecipe { seed: u64::MAX, ..recipe }.validate().is_err());
    }
}
