//! What the paper leaves open, as experiments: on-policy rounds, training on one population and judging by another, the
//! trade-off between rewards, and reward over-optimisation with a choice of the checkpoint that holds it off.
//!
//! An experiment is a chain of the program's commands (the chain itself is the command line's); here is what is said before
//! and after: the recipe ([`ExperimentRecipe`]), the recipes of its alignments ([`StageDraft`]), and what is computed from
//! what the commands left in the folder ([`Experiment`], with a figure).
//!
//! - [`pareto`]: which points no other beats in everything.
//! - [`share`]: how much of the best true utility of a run a chosen checkpoint has.
//! - [`rounds`], [`matrix`], [`weights`], [`over_optimisation`]: one kind of experiment each, from files to numbers.
//!
//! All listeners are simulated, and every result says so.

mod draft;
mod figure;
mod folder;
pub mod matrix;
mod measured;
pub mod over_optimisation;
pub mod pareto;
mod recipe;
mod result;
pub mod rounds;
pub mod share;
pub mod weights;

pub use draft::{RewardDraft, StageDraft};
pub use folder::ExperimentDir;
pub use measured::read_evaluation;
pub use recipe::{EvaluationPlan, ExperimentRecipe, Kind, Plan, QualityPlan, StageRecipe};
pub use result::{EXPERIMENT_FILE, Experiment, Findings, write};
