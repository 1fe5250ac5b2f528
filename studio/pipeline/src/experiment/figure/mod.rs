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

use crate::figure::{Panel, Svg};

/// What stands below every title.
const SIMULATED: &str = "simulated listeners, no people";

/// What a panel's upright axis shows, above it: at its side it would lie on wide numbers.
fn upright_label(svg: &mut Svg, panel: &Panel, label: &str) {
    svg.text((panel.area.x, panel.area.y - 7.0), "small", label);
}

/// The numbers that an axis must hold.
fn ends<'a>(intervals: impl IntoIterator<Item = &'a Interval>) -> Vec<f64> {
    intervals.into_iter().flat_map(|interval| [interval.low, interval.estimate, interval.high]).collect()
}
