//! Recipes, corpora, training loops, checkpoints, evaluation.
#![forbid(unsafe_code)]

pub mod bundle;
mod error;
pub mod optim;
pub mod training;

pub use error::{Error, Result};
