//! Recipes, corpora, training loops, checkpoints, evaluation.
#![forbid(unsafe_code)]

pub mod align;
pub mod bundle;
pub mod corpus;
pub mod demo;
pub mod embedded;
mod error;
pub mod estimate;
pub mod evaluate;
pub mod evaluate_codec;
pub mod evaluate_fine;
pub mod evaluate_gradient;
pub mod evaluate_preference;
pub mod experiment;
pub mod figure;
pub mod generate;
pub mod guards;
pub mod imported;
pub mod judge;
pub mod music;
pub mod optim;
pub mod parallel;
pub mod preference;
pub mod preferences;
pub mod recipe;
pub mod report;
pub mod run;
pub mod study;
pub mod token_set;
pub mod train;
pub mod training;

pub use error::{Error, Result};
