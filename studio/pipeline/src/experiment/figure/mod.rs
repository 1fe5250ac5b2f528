//! One figure a kind of experiment. Each says that its listeners are simulated.

mod matrix;
mod over_optimisation;
mod rounds;
mod weights;

pub(super) use matrix::matrix_figure;
pub(super) use over_optimisation::over_optimisation_figure;
pub(super) use rounds::rounds_figure;
pub(super) use weights::weights_figure;

use musicrl_core::stats::Interval;

/// What stands below every title.
const SIMULATED: &str = "simulated listeners, no people";

/// The numbers that an axis must hold.
fn ends<'a>(intervals: impl IntoIterator<Item = &'a Interval>) -> Vec<f64> {
    intervals.into_iter().flat_map(|interval| [interval.low, interval.estimate, interval.high]).collect()
}
