//! Pairs to learn from, held-out pairs, and the order in which they are taken: [`Divided`].

use musicrl_core::{
    preference::Judgement,
    random::{Key, Purpose},
};

use super::settings::PreferenceTrainingConfig;
use crate::{
    Error, Result,
    preference::{Division, Pair, PreferenceData},
};

/// A set's pairs as a training takes them.
#[derive(Debug, Clone)]
pub(crate) struct Divided {
    /// What is learned from, as the loss takes it.
    pub(crate) learning: Vec<(Pair, Judgement)>,
    /// What is held out, by index.
    pub(crate) held_out: Vec<usize>,
    /// Those of `held_out` that evaluations during training measure.
    pub(crate) evaluated: Vec<usize>,
}

impl Divided {
    /// Held out is what [`PreferenceData::split`] says.
    ///
    /// # Errors
    /// [`Error::Config`] when no pair is left to learn from.
    pub(crate) fn new(config: &PreferenceTrainingConfig, data: &PreferenceData) -> Result<Self> {
        Self::of(config, data, data.split(config.held_out_share, config.split_seed)?)
    }

    /// As `division` says.
    ///
    /// # Errors
    /// [`Error::Config`] when no pair is left to learn from.
    pub(crate) fn of(config: &PreferenceTrainingConfig, data: &PreferenceData, division: Division) -> Result<Self> {
        let Division { learning, mut held_out } = division;
        let taken =
            learning.iter().map(|pair| data.pairs()[*pair]).map(|pair| (pair, config.judgement(&pair.judgement)));
        let learning: Vec<(Pair, Judgement)> = taken.filter(|(_, judgement)| judgement.weight > 0.0).collect();
        if learning.is_empty() {
            let expected = "low enough to leave pairs to learn from";
            return Err(Error::config("confidence_min", expected, config.confidence_min));
        }
        Key::new(config.split_seed, Purpose::Split).step(1).stream().shuffle(&mut held_out);
        let evaluated = held_out[..held_out.len().min(config.evaluation_pairs)].to_vec();
        held_out.sort_unstable();
        Ok(Self { learning, held_out, evaluated })
    }

    /// The pairs of a step: epochs in a new order each, an order of its own for each member of an ensemble.
    pub(crate) fn batch(&self, pairs: usize, seed: u64, step: u64, member: usize) -> Vec<(Pair, Judgement)> {
        let count = self.learning.len();
        let size = pairs.min(count);
        let first = step as usize * size;
        let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
        (first..first + size)
            .map(|position| {
                let epoch = position / count;
                if order.0 != epoch {
                    let mut indices: Vec<usize> = (0..count).collect();
                    let key = Key::new(seed, Purpose::Batch).step(epoch as u64).clip(member as u64);
                    key.stream().shuffle(&mut indices);
                    order = (epoch, indices);
                }
                self.learning[order.1[position % count]]
            })
            .collect()
    }

    /// Epochs after `steps` steps of `pairs` pairs.
    pub(crate) fn epoch(&self, pairs: usize, steps: u64) -> f64 {
        steps as f64 * pairs.min(self.learning.len()) as f64 / self.learning.len() as f64
    }
}
