//! Direct preference optimisation: the control that learns from the same pairs without a reward model and without
//! playing (Rafailov et al., "Direct Preference Optimization", 2023, arXiv 2305.18290).
//!
//! - [`config`]: what can be set.
//! - [`data`]: the pairs of a preference set of which one clip was preferred.
//! - [`training`]: the loop.

pub mod config;
pub mod data;
pub mod training;

pub use config::DpoConfig;
pub use data::{DpoData, DpoPair};
pub use training::DpoTraining;

#[cfg(test)]
mod tests;
