//! MusicGen (Copet et al., "Simple and controllable music generation", NeurIPS 2023): a decoder over K codebooks under a
//! delay pattern, with cross-attention to a text encoder, and a codec.
//!
//! [`MusicGenPolicy`] is the decoder as a [`Policy`](musicrl_core::policy::Policy): frames of K slots, whose generation
//! order follows the delays. [`MusicGen`] is the whole checkpoint.

mod adapters;
mod block;
mod config;
mod decoder;
mod export;
mod model;
mod packed;
mod pattern;
mod policy;
mod positions;
mod prompt;
mod recompute;
mod run;
mod sound;
mod steps;
mod value;
mod walk;

pub use block::Block;
pub use config::{Config, DecoderConfig};
pub use decoder::MusicGenDecoder;
pub use model::MusicGen;
pub use packed::PackedMusicGen;
pub use policy::MusicGenPolicy;
pub use prompt::TextPrompt;
pub use recompute::{Kept, PartGradients};
pub use steps::{Grid, greedy};
pub use value::MusicGenValue;
