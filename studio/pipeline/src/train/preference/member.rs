//! One model of the ensemble while it learns: weights, optimiser, average and best weights.

use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use musicrl_core::{
    params::{Entry, ParamTable, Storage},
    policy::PreferenceModel,
};

use super::{
    settings::{Learn, PreferenceTrainingConfig, Ties},
    start::{Features, Start},
};
use crate::{
    Error, Result,
    optim::{AdamW, Update},
    preference::{
        DescriptorScale, PreferenceClip,
        clips::{Excerpt, descriptor_tensor},
        ensemble::scores_of,
    },
    training::Files,
};

/// What the optimiser moves.
#[derive(Module, Debug)]
pub(super) struct Learner {
    pub(super) model: PreferenceModel,
    /// log of Davidson's nu, `[1]`.
    pub(super) log_tie_strength: Param<Tensor<1>>,
}

const TRUNK: &str = "model.trunk.";
const HEAD: &str = "model.head";
const DESCRIPTORS: &str = "model.descriptors";
const LOG_TIES: &str = "log_tie_strength";

/// Where a fixed tie strength of 0 is kept, which has no logarithm; it is not read.
const NO_TIES: f64 = 1.0;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) learner: Learner,
    /// Of a trunk that stays as it is.
    pub(super) features: Option<Arc<Features>>,
    optimiser: AdamW,
    /// Weights averaged over steps; where there is no averaging, none.
    average: Option<Vec<f32>>,
    best: Option<Vec<f32>>,
    /// All values where they began.
    start: Vec<f32>,
}

impl Member {
    /// A model on an autodiff device, ready to learn.
    pub(super) fn new(config: &PreferenceTrainingConfig, start: Start) -> Self {
        let Start { model, tie_strength, features } = start;
        let features = features.filter(|_| config.learn == Learn::Head);
        let tie_strength = if tie_strength > 0.0 { tie_strength } else { NO_TIES };
        let log = Tensor::<1>::from_floats([tie_strength.ln() as f32], &model.trunk.device());
        let learner = Learner { model, log_tie_strength: Param::from_tensor(log) };
        let table = ParamTable::collect(&learner);
        Self {
            features,
            optimiser: AdamW::new(config.optimiser.clone(), table.values().len()),
            average: (config.average_decay > 0.0).then(|| table.values().to_vec()),
            best: None,
            start: table.values().to_vec(),
            learner,
        }
    }

    /// Adds the gradient of the prior on the head: that of |w - w_0|^2 variance / (2 deviation^2 pairs), and the same on the
    /// weights of descriptors, which have a variance of 1 each.
    pub(super) fn add_prior(
        &self,
        config: &PreferenceTrainingConfig,
        table: &ParamTable,
        pairs: usize,
        gradient: &mut [f32],
    ) {
        let Some(features) = &self.features else { return };
        for entry in table.entries() {
            let variance = match entry.name.as_str() {
                HEAD => features.variance,
                DESCRIPTORS => DescriptorScale::NUMBERS as f64,
                _ => continue,
            };
            let strength = variance / (config.deviation * config.deviation * pairs.max(1) as f64);
            let (now, start) = (&table.values()[entry.range()], &self.start[entry.range()]);
            for ((gradient, now), start) in gradient[entry.range()].iter_mut().zip(now).zip(start) {
                *gradient += strength as f32 * (now - start);
            }
        }
    }

    /// One step of optimiser and average; `step` counts from 0.
    pub(super) fn update(
        &mut self,
        config: &PreferenceTrainingConfig,
        mut table: ParamTable,
        gradient: &[f32],
        step: u64,
    ) -> Result<Update> {
        let rate = |entry: &Entry| match (config.learn, entry.name.starts_with(TRUNK)) {
            (Learn::All, true) => config.trunk_rate,
            (Learn::Head, true) => 0.0,
            (_, false) if entry.name == LOG_TIES && config.ties == Ties::Fixed => 0.0,
            (_, false) if entry.name != LOG_TIES && config.head_stays() => 0.0,
            (_, false) => 1.0,
        };
        let update = self.optimiser.update_at(&mut table, gradient, rate)?;
        if let Some(average) = &mut self.average {
            let decay = config.average_decay.min((1 + step) as f64 / (10 + step) as f64) as f32;
            for (average, now) in average.iter_mut().zip(table.values()) {
                // In this form what does not move stays the same to the last bit.
                *average += (1.0 - decay) * (now - *average);
            }
        }
        self.learner = table.apply(self.learner.clone())?;
        Ok(update)
    }

    pub(super) fn skipped(&self) -> u64 {
        self.optimiser.skipped()
    }

    /// The weights that an evaluation measures, on a plain device.
    pub(super) fn current(&self) -> Result<Learner> {
        self.with(self.average.as_ref())
    }

    /// The best weights so far, or the current ones.
    pub(super) fn best(&self) -> Result<Learner> {
        self.with(self.best.as_ref().or(self.average.as_ref()))
    }

    fn with(&self, values: Option<&Vec<f32>>) -> Result<Learner> {
        let learner = self.learner.valid();
        let Some(values) = values else { return Ok(learner) };
        Ok(ParamTable::collect(&learner).with_values(values.clone())?.apply(learner)?)
    }

    /// The current weights are the best so far.
    pub(super) fn keep_as_best(&mut self) {
        let values = self.average.clone();
        self.best = Some(values.unwrap_or_else(|| ParamTable::collect(&self.learner).values().to_vec()));
    }

    /// Scores of the middles of some clips under `learner`, by clip index.
    pub(super) fn scores(
        &self,
        learner: &Learner,
        clips: &[PreferenceClip],
        which: &[usize],
        config: &PreferenceTrainingConfig,
        scale: Option<&DescriptorScale>,
    ) -> Result<Vec<f64>> {
        if let Some(features) = &self.features {
            let device = learner.model.trunk.device();
            let descriptors = scale
                .map(|scale| descriptor_tensor(which.iter().map(|clip| &clips[*clip]), scale, &device))
                .transpose()?;
            let scores = learner.model.head_scores(features.select(which, &device), descriptors)?;
            return Ok(scores.into_data().iter::<f64>().collect());
        }
        let excerpts: Vec<Excerpt<'_>> =
            which.iter().map(|clip| Excerpt::of_share(&clips[*clip], config.crop, 0.5)).collect();
        scores_of(&learner.model, &excerpts, config.text, scale)
    }

    pub(super) fn save(&self, index: usize, files: &mut Files) -> Result<()> {
        let table = ParamTable::collect(&self.learner);
        let names = names(index);
        let mut put = |name: &str, values: Vec<f32>| -> Result<()> {
            files.insert(name.into(), table.with_values(values)?.to_safetensors(Storage::F32)?);
            Ok(())
        };
        put(&names.weights, table.values().to_vec())?;
        if let Some(average) = &self.average {
            put(&names.average, average.clone())?;
        }
        if let Some(best) = &self.best {
            put(&names.best, best.clone())?;
        }
        self.optimiser.save(&names.optimiser, files);
        Ok(())
    }

    /// What [`save`](Self::save) wrote, not yet put in place.
    pub(super) fn read(&self, index: usize, has_best: bool, files: &Files) -> Result<Restored> {
        let table = ParamTable::collect(&self.learner);
        let names = names(index);
        let get = |name: &str| -> Result<Vec<f32>> {
            let bytes = files.get(name).ok_or_else(|| Error::File {
                path: name.into(),
                expected: "weights of a preference model".into(),
                got: "no such file".into(),
            })?;
            Ok(table.read_safetensors(bytes)?.values().to_vec())
        };
        let mut optimiser = self.optimiser.clone();
        optimiser.load(&names.optimiser, files)?;
        Ok(Restored {
            weights: get(&names.weights)?,
            average: self.average.as_ref().map(|_| get(&names.average)).transpose()?,
            best: has_best.then(|| get(&names.best)).transpose()?,
            optimiser,
        })
    }

    pub(super) fn restore(&mut self, restored: Restored) -> Result<()> {
        let table = ParamTable::collect(&self.learner).with_values(restored.weights)?;
        self.learner = table.apply(self.learner.clone())?;
        (self.average, self.best, self.optimiser) = (restored.average, restored.best, restored.optimiser);
        Ok(())
    }
}

impl Learner {
    /// Davidson's nu.
    pub(super) fn tie_strength(&self, config: &PreferenceTrainingConfig) -> f64 {
        match config.ties {
            Ties::Fixed => config.tie_strength,
            Ties::Learned => {
                let log: Vec<f64> = self.log_tie_strength.val().inner().into_data().iter::<f64>().collect();
                log.first().map_or(0.0, |log| log.exp())
            }
        }
    }
}

/// A member's state as a checkpoint had it.
pub(super) struct Restored {
    weights: Vec<f32>,
    average: Option<Vec<f32>>,
    best: Option<Vec<f32>>,
    optimiser: AdamW,
}

struct Names {
    weights: String,
    average: String,
    best: String,
    optimiser: String,
}

fn names(index: usize) -> Names {
    let name = |what: &str, ending: &str| format!("preference-{index:02}{what}.{ending}");
    Names {
        weights: name("", "safetensors"),
        average: name("-average", "safetensors"),
        best: name("-best", "safetensors"),
        optimiser: name("-optimiser", "bin"),
    }
}
