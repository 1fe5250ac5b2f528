//! Statistics of evaluations: who wins, how sure that is, and whether two measures agree.
//!
//! - [`Tally`]: wins, ties, losses and the win rate.
//! - [`wilcoxon_signed_rank`]: whether paired ratings differ; [`holm`] corrects several such tests.
//! - [`cluster_bootstrap`]: intervals for clips that share prompts.
//! - [`pearson`], [`spearman`], [`kendall`]: agreement of two measures.
//! - [`brier`], [`reliability`], [`calibration_error`]: whether predicted probabilities hold.
//! - [`distribution`]: how far two sets of embeddings lie apart, and how spread one is.
//!
//! All of it is plain `f64` on the host. What is undefined for the data at hand is an [`Error`], never a
//! NaN. Tests hold every function against values from scipy or worked by hand.

mod bootstrap;
mod calibration;
mod correlation;
pub mod distribution;
mod holm;
mod ranks;
mod tally;
mod wilcoxon;

pub use bootstrap::{BootstrapConfig, ClusterResamples, Interval, cluster_bootstrap, mean, percentile_interval};
pub use calibration::{Bin, brier, calibration_error, reliability};
pub use correlation::{kendall, pearson, spearman};
pub use holm::holm;
pub use ranks::midranks;
pub use tally::Tally;
pub use wilcoxon::{Alternative, Distribution, Wilcoxon, Zeros, wilcoxon_signed_rank};

use alloc::{format, string::String};

use crate::{Error, Result};

/// Refuses NaN and infinity.
pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::NonFinite { what, at: format!("index {at}") }),
        None => Ok(()),
    }
}

/// Refuses slices of different lengths.
pub(crate) fn check_lengths(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Shape { what, expected: format!("[{expected}]"), got: format!("[{got}]") })
}

/// The error of a statistic that the data do not define.
pub(crate) fn undefined(what: &'static str, reason: &str) -> Error {
    Error::Undefined { what, reason: String::from(reason) }
}
