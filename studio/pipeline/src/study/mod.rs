//! The reward-model study: what a preference model owes to its start, its text, the length of what it hears, and the
//! confidence of listeners, all on the same held-out pairs, beside predictors that learn nothing and, where the
//! listeners are simulated, beside the accuracy that anyone can expect at best.
//!
//! - [`settings`]: what a study is, and the file that says so.
//! - [`variant`]: the models and predictors that are compared.
//! - `fold`: one training of one variant; what it says of the pairs that it has not seen.
//! - [`heard`]: what is made of the clips' sounds: scores of judges, exact probabilities of simulated listeners.
//! - [`figures`]: accuracy, log-loss, calibration, paired differences, the share of the way to the ceiling.
//! - [`mod@hears`]: which properties of a known taste a model's scores follow.
//! - [`run`]: all of it in a folder; what is done is not done again.
//! - [`file`](mod@file): `study.json` and `personal.json`, which the report reads.
//! - [`mod@personal`]: reward models for single listeners, from few of their own judgements.
//!
//! `spec/preference.md` has the definitions.

pub mod figures;
pub mod file;
mod fold;
pub mod heard;
pub mod hears;
pub mod personal;
pub mod run;
pub mod settings;
pub mod variant;

pub use figures::Figures;
pub use file::{Curve, CurvePoint};
pub use personal::{PersonalSettings, personal};
pub use run::{Study, StudyInput, study};
pub use settings::StudySettings;
pub use variant::{Predictor, Variant};
