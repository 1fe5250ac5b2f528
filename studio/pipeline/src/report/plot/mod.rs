//! The figures: numbers of a report to SVG documents, each with a table of the same numbers.

mod accuracy;
mod curve;
mod drawn;
mod intervals;
mod number;
mod reward;
mod utility;
mod wins;

pub(super) use accuracy::accuracy_figure;
pub(super) use curve::reward_names;
pub(super) use drawn::{Drawn, Table};
pub(super) use intervals::{IntervalRow, intervals_figure};
pub(super) use number::{number, p_value, percent, span};
pub(super) use reward::{diversity_figures, reward_figures};
pub(super) use utility::{TRUE_UTILITY, utilities};
pub(super) use wins::wins_figure;
