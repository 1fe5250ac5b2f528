//! Evaluation of music systems: the same prompts and random numbers for all, ratings, and statistics that clustered
//! ratings allow.
//!
//! - what is compared: [`system`] (bundles under names), [`best_of`] (the best of n of their clips), [`prompts`] (101 captions, or one's own)
//! - who rates: [`rater`] (the contract and panels), [`panel`] (simulated populations), [`form`] (clips under blinded
//!   names for people), [`ratings_file`] (filled forms, preference sets); people and programs stay apart in [`ratings`]
//! - [`run`]: plays, lets everybody rate and judge, compares; [`listen`] is what happens to a clip
//! - what comes out: [`mod@panel_report`] (wins, intervals, tests; no model, no sound), [`leaderboard`], [`measures`]
//!   (rewards as measures), [`distribution`] (embeddings against a [`mod@reference`]), [`signal`] (silence, clipping)
//! - [`report`]: `evaluation.json`, which `spec/evaluation.md` describes; [`table`]: the same for a terminal

pub mod best_of;
pub mod distribution;
pub mod form;
mod keys;
pub mod leaderboard;
pub mod listen;
pub mod measures;
pub mod panel;
pub mod panel_report;
pub mod prompts;
pub mod rater;
pub mod ratings;
pub mod ratings_file;
pub mod reference;
pub mod report;
pub mod run;
pub mod settings;
pub mod signal;
pub mod system;
pub mod table;

pub use best_of::{BestOf, BestOfArgument};
pub use panel_report::{PanelReport, panel_report};
pub use prompts::Prompts;
pub use rater::{Panel, RatedClip, Rater};
pub use ratings::{PanelRatings, Rating};
pub use ratings_file::{RatingsInput, read_ratings};
pub use report::{EVALUATION_FILE, Evaluation};
pub use run::{EvaluateInput, evaluate, evaluate_ratings};
pub use settings::{EvaluateSettings, PanelSettings, PlaySpec, ReferenceSettings, StatisticsSettings};
pub use system::{System, SystemArgument};
