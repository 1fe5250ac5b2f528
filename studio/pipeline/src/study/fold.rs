//! One training of one variant on one division: what it says of the pairs that it has not seen, epoch after epoch.

use std::{path::Path, sync::Arc};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    bundle::Bundle,
    preference::{Division, PreferenceData},
    train::preference::{Features, PreferenceTraining, PreferenceTrainingConfig},
    training::Training as _,
};

/// What a fold's file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fold {
    /// The held-out pairs, by index.
    pub(super) pairs: Vec<usize>,
    /// In ascending order of the epochs.
    pub(super) points: Vec<Point>,
}

/// One measurement of a fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Point {
    /// Times that every pair to learn from has been seen.
    pub(super) epoch: f64,
    /// Davidson's nu.
    pub(super) tie_strength: f64,
    /// Score of a minus score of b, one a held-out pair.
    pub(super) differences: Vec<f64>,
    /// Deviation of the same over members.
    pub(super) spread: Vec<f64>,
}

impl Fold {
    /// Trains. `stepped` is told after each step how many steps of how many are done. With heads alone, `features` are the
    /// clips' vectors from another fold of the same trunk; those of this one come back.
    #[allow(clippy::too_many_arguments, reason = "what to learn, from what, what is known of it, and where")]
    pub(super) fn train(
        config: &PreferenceTrainingConfig,
        bundle: &Bundle,
        data: &PreferenceData,
        division: &Division,
        features: Option<Arc<Features>>,
        seed: u64,
        device: &Device,
        stepped: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<(Self, Option<Arc<Features>>)> {
        let learning = learning_pairs(config, data, division);
        let steps = config.steps(learning);
        let mut config = config.clone();
        if config.optimiser.decay_steps == 0 {
            config.optimiser.decay_steps = steps;
        }
        let epochs = config.epochs;
        let of = (data.clone(), division.clone());
        let mut training = PreferenceTraining::divided(config, bundle, of, features, seed, device)?;
        let mut fold = Self { pairs: division.held_out.clone(), points: Vec::new() };
        fold.measure(&training, 0.0)?;
        for step in 0..steps {
            training.step(step)?;
            stepped(step + 1, steps)?;
            if step + 1 == steps || passes(step, steps, epochs) {
                fold.measure(&training, epochs * (step + 1) as f64 / steps as f64)?;
            }
        }
        let features = training.features();
        Ok((fold, features))
    }

    fn measure(&mut self, training: &PreferenceTraining, epoch: f64) -> Result<()> {
        let said = training.held_out()?;
        if said.pairs != self.pairs {
            let got = format!("{} of {}", said.pairs.len(), self.pairs.len());
            return Err(Error::config("held-out pairs", "those of the division, in ascending order", got));
        }
        let (differences, spread) = (said.differences, said.spread);
        self.points.push(Point { epoch, tie_strength: said.tie_strength, differences, spread });
        Ok(())
    }

    /// Reads what was written as JSON; `None` where the file is not there. A file of other pairs is refused.
    pub(super) fn read(path: &Path, division: &Division) -> Result<Option<Self>> {
        let Some(fold) = super::file::read_json::<Self>(path, "a fold of a study")? else { return Ok(None) };
        let whole =
            |point: &Point| [&point.differences, &point.spread].iter().all(|list| list.len() == fold.pairs.len());
        if fold.pairs == division.held_out && !fold.points.is_empty() && fold.points.iter().all(whole) {
            return Ok(Some(fold));
        }
        let expected = format!("a fold of this study, {} held-out pairs", division.held_out.len());
        let got = format!("{} pairs, {} measurements", fold.pairs.len(), fold.points.len());
        Err(Error::File { path: path.into(), expected, got })
    }
}

/// The pairs of a division that a variant learns from.
pub(super) fn learning_pairs(config: &PreferenceTrainingConfig, data: &PreferenceData, division: &Division) -> usize {
    let counts = |pair: &&usize| config.judgement(&data.pairs()[**pair].judgement).weight > 0.0;
    division.learning.iter().filter(counts).count()
}

/// Whether the step after which `step + 1` of `steps` are done ends an epoch.
fn passes(step: u64, steps: u64, epochs: f64) -> bool {
    let epoch = |done: u64| (epochs * done as f64 / steps as f64 + 1e-9).floor();
    epoch(step + 1) > epoch(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{study::StudySettings, train::preference::fixture};

    #[test]
    fn every_epoch_is_measured_once() {
        let measured = |steps: u64, epochs: f64| (0..steps).filter(|step| passes(*step, steps, epochs)).count();
        assert_eq!((measured(39, 3.0), measured(40, 3.0), measured(7, 2.5), measured(1, 0.5)), (3, 3, 2, 0));
    }

    #[test]
    fn a_fold_says_something_of_each_pair_that_it_holds_out() {
        let (data, mut settings) = (fixture::data(24, 3), StudySettings::base());
        settings.training.epochs = 2.0;
        settings.training.batch_pairs = 4;
        let division = data.folds(3, 1).unwrap().remove(1);
        let mut steps = Vec::new();
        let train = |steps: &mut Vec<u64>| {
            let stepped = &mut |done, _| {
                steps.push(done);
                Ok(())
            };
            Fold::train(&settings.training, &fixture::bundle(), &data, &division, None, 1, &Device::flex(), stepped)
                .unwrap()
                .0
        };
        let fold = train(&mut steps);
        assert_eq!(steps, (1..=8).collect::<Vec<_>>());
        assert_eq!(fold.points.iter().map(|point| point.epoch).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
        assert_ne!(fold.points[0].differences, fold.points[2].differences);
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("fold.json");
        assert_eq!(Fold::read(&path, &division).unwrap(), None);
        super::super::file::write_json(&path, &fold).unwrap();
        let read = Fold::read(&path, &division).unwrap().unwrap();
        assert_eq!(read.pairs, fold.pairs);
        let error = Fold::read(&path, &data.folds(3, 1).unwrap()[0]).unwrap_err().to_string();
        assert!(error.contains("fold.json"), "{error}");
    }
}
