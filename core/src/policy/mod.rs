//! Policies: distributions over the next token, given a prompt and the tokens so far.
//!
//! A [`Policy`] answers in two ways that agree to rounding: *teacher-forced*, all positions of given clips at once, for
//! learning ([`Policy::logits`]); and *incremental*, action after action, for generation ([`Policy::decoder`]).
//!
//! - [`HierarchicalPolicy`]: a global causal transformer over frames and a local one over the slots of a frame,
//!   conditioned on the caption's embedding tokens ([`ConditionPrompt`]).
//! - [`ValueNetwork`]: the expected return before each action, on the same trunk.
//! - [`PreferenceModel`]: how much listeners like a whole clip, on the same trunk.
//!
//! Sampling lives in [`crate::sampling`]; this module knows logits alone.

mod config;
mod contract;
mod decoder;
mod hierarchical;
mod packed;
mod preference_model;
mod prompt;
mod tokens;
mod trunk;
mod value;

pub use config::{HierarchicalPolicyConfig, StackConfig};
pub use contract::{Decoder, PADDED, Policy, Prompt};
pub use decoder::TensorDecoder;
pub use hierarchical::HierarchicalPolicy;
pub use packed::{Matrix as PackedMatrix, PackedDecoder};
pub use preference_model::PreferenceModel;
pub use prompt::ConditionPrompt;
pub use tokens::{frames_from_tokens, tokens_from_frames};
pub use trunk::HierarchicalTrunk;
pub use value::ValueNetwork;
