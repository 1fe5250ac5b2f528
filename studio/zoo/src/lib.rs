//! Published checkpoints, speaking the traits of `musicrl-core`.
//!
//! A checkpoint is a folder in the Hugging Face layout: `config.json`, one `model.safetensors` or shards with an index.
//! [`Checkpoint`] opens it and checks every tensor; [`open`] recognises the architecture and loads the model; a
//! [`Model`] runs on named tensors ([`NamedTensors`]), which is how it is held against another implementation.
//!
//! | module | architectures |
//! |---|---|
//! | [`musicgen`], [`t5`] | MusicGen (mono, stereo), its text encoder |
//! | [`encodec`], [`dac`], [`mimi`] | neural codecs |
//! | [`clap`], [`bert`] | text-audio embedding, sentence embedding |
//! | [`checkpoint`], [`nn`], [`named`] | files, layers, named tensors |
//!
//! What this crate does not do: it downloads nothing, and it trains nothing by itself.

pub mod bert;
mod bounds;
pub mod checkpoint;
pub mod clap;
pub mod dac;
pub mod encodec;
mod error;
pub mod mimi;
mod model;
pub mod musicgen;
pub mod named;
pub mod nn;
pub mod t5;
mod text;

pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use model::{Architecture, Model, open};
pub use named::NamedTensors;
