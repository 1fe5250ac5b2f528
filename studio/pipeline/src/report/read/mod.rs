//! What lies in runs, experiments and evaluations. Files are read into types of this folder that pass over keys that they
//! do not know, so that a page can be made of what an older or a newer program wrote.

mod clips;
mod evaluation;
mod experiment;
mod lineage;
mod log;
mod recipe;
mod side;
mod stage;
mod study;
mod system;

pub(super) use clips::{PromptClips, prompts};
pub(super) use evaluation::{Evaluation, MeasureScore, Pair, Panel, Raters, Score, Span};
pub(super) use experiment::{Gathered, gather};
pub(super) use recipe::RecipeView;
pub(super) use stage::{Stage, StageEnd};
pub(super) use study::AccuracyCurve;
#[cfg(test)]
pub(super) use study::AccuracyPoint;
pub use study::Against;
pub(super) use system::System;
