//! Recipes, corpora, training loops, checkpoints, evaluation.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod corpus;
mod error;
pub mod estimate;
pub mod evaluate_codec;
pub mod guards;
pub mod optim;
pub mod recipe;
pub mod run;
pub mod train;
pub mod training;

pub use error::{Error, Result};
