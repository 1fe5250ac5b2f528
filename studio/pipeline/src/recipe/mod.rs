//! Recipes and settings: TOML files in, checked and fully resolved values out.
//!
//! - [`parse`]: any settings type from TOML; an unknown key is an error with its line and the nearest known key.
//! - [`AlignRecipe`]: what `musicrl align` runs.
//! - [`settings`]: presets of the `train` commands, a settings file over them, `--set key=value` over both.

mod align;
mod captions;
mod choice;
mod kl;
mod nearest;
mod optimiser;
mod parse;
mod rewards;
mod sampling;
pub mod settings;
mod stage;
mod train;

pub use align::{AlignRecipe, BaseConfig, EMBEDDED};
pub use captions::{CaptionSource, CaptionsConfig};
pub use choice::{CheckpointConfig, Choose, EvaluationConfig};
pub use kl::{KlConfig, KlRule};
pub use nearest::nearest;
pub use parse::{parse, parse_file};
pub use rewards::RewardConfig;
pub use sampling::SamplingConfig;
pub(crate) use stage::is_default;
pub use stage::{Baseline, LoraConfig, Reference, StageConfig, ValueTrunk};
pub use train::TrainRecipe;
