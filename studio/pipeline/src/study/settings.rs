//! What a study is: [`StudySettings`].

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    preference::{Division, PreferenceData, division::FOLDS_MAX},
    recipe::settings::to_toml,
    train::preference::{ConfidenceUse, Init, PreferenceTrainingConfig, Select},
};

/// Settings of [`study`](super::study).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySettings {
    /// Seed of weights, orders of pairs and crops.
    pub seed: u64,
    /// Parts of the cross-validation over clusters of captions; 1 is the single division that a training makes.
    pub folds: usize,
    /// The training that the first variant is; the others change one thing in it.
    pub training: PreferenceTrainingConfig,
}

impl StudySettings {
    /// For some hundred pairs and the shipped base, in minutes on two cores.
    #[must_use]
    pub fn base() -> Self {
        let training = PreferenceTrainingConfig {
            confidence: ConfidenceUse::Ignore,
            epochs: 3.0,
            // Nothing is chosen on the pairs that are reported: the weights are the last ones, averaged over steps.
            select: Select::Last,
            patience: 0,
            centring_clips: 0,
            ..PreferenceTrainingConfig::base()
        };
        Self { seed: 1, folds: 3, training }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.training.validate()?;
        if !(1..=FOLDS_MAX).contains(&self.folds) {
            return Err(Error::config("folds", format!("1 to {FOLDS_MAX}"), self.folds));
        }
        if self.training.select != Select::Last {
            let expected = "\"last\" in a study: pairs that choose weights cannot be reported";
            return Err(Error::config("select", expected, "best"));
        }
        if self.training.init == Init::Shared {
            let expected = "\"policy\" or \"scratch\" in a study: a shared model may know the held-out pairs";
            return Err(Error::config("init", expected, "shared"));
        }
        if self.folds == 1 && self.training.held_out_share <= 0.0 {
            return Err(Error::config("held_out_share", "above 0 with one fold", self.training.held_out_share));
        }
        Ok(())
    }

    /// The divisions of the pairs, the same for all variants.
    ///
    /// # Errors
    /// [`Error::Config`] where there are too few clusters of captions.
    pub fn divisions(&self, data: &PreferenceData) -> Result<Vec<Division>> {
        match self.folds {
            1 => Ok(vec![data.split(self.training.held_out_share, self.training.split_seed)?]),
            folds => data.folds(folds, self.training.split_seed),
        }
    }

    /// As the study's folder has it, with what the numbers depend on beside the settings.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written as TOML.
    pub fn recipe(&self, bundle: &str, pairs: &str) -> Result<String> {
        #[derive(Serialize)]
        struct Recipe<'a> {
            kind: &'static str,
            bundle: &'a str,
            pairs: &'a str,
            #[serde(flatten)]
            settings: &'a StudySettings,
        }
        to_toml(&Recipe { kind: "study", bundle, pairs, settings: self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::preference::fixture;

    #[test]
    fn what_would_choose_on_reported_pairs_is_refused() {
        StudySettings::base().validate().unwrap();
        let check = |field: &str, change: &dyn Fn(&mut StudySettings)| {
            let mut settings = StudySettings::base();
            change(&mut settings);
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        };
        check("folds", &|settings| settings.folds = 0);
        check("folds", &|settings| settings.folds = 21);
        check("select", &|settings| settings.training.select = Select::Best);
        check("init", &|settings| settings.training.init = Init::Shared);
        check("epochs", &|settings| settings.training.epochs = 0.0);
        check("held_out_share", &|settings| (settings.folds, settings.training.held_out_share) = (1, 0.0));
    }

    #[test]
    fn one_fold_is_the_division_of_a_training() {
        let data = fixture::data(40, 1);
        let mut settings = StudySettings::base();
        assert_eq!(settings.divisions(&data).unwrap().len(), 3);
        settings.folds = 1;
        let single = settings.divisions(&data).unwrap();
        assert_eq!(single, [data.split(settings.training.held_out_share, settings.training.split_seed).unwrap()]);
    }
}
