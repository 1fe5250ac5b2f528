//! Training of the user preference model: Bradley-Terry with ties on pairs of clips, from the policy's checkpoint.
//!
//! - `settings`: what a training may be: initialisation, text, crops, confidence, ties, ensemble, one listener.
//! - `start`: where its models begin: the policy, nothing, a shared model; a head that is fitted first.
//! - `divided`: pairs to learn from and held-out ones. `selection`: the best weights so far.
//! - `member`: one model of the ensemble with its optimiser, average and best weights.
//! - `training`: all of it as a [`Training`](crate::training::Training).
//!
//! The model is `musicrl_core::policy::PreferenceModel`, its data [`crate::preference::PreferenceData`].

mod divided;
#[cfg(test)]
pub(crate) mod fixture;
mod member;
mod selection;
mod settings;
mod start;
#[cfg(test)]
mod tests;
mod training;

pub(crate) use divided::Divided;
pub(crate) use selection::Selection;
pub use settings::{ConfidenceUse, Head, Init, Learn, PreferenceTrainingConfig, Select, Ties};
pub use start::Features;
pub use training::{HeldOut, PreferenceTraining};

/// Pairs that go through a network together, on one thread. Fixed, so that gradients do not depend on the threads.
pub const PART_PAIRS: usize = 2;
