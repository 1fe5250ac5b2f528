//! EnCodec, a neural codec of 24, 32 or 48 kHz (Defossez et al., "High fidelity neural audio compression", 2022).
//!
//! A convolutional encoder turns sound into latents, one vector a frame; a residual vector quantiser turns each vector
//! into one code a level; the way back sums the codebook entries and runs a mirrored decoder.
//!
//! | file | what |
//! |---|---|
//! | `config` | [`Config`]: the settings of `config.json`, checked |
//! | `conv` | convolutions with the reference's padding and trimming |
//! | `lstm` | the recurrent layers between convolutions and latents |
//! | `seanet` | encoder and decoder |
//! | `quantiser` | residual vector quantisation |
//! | `chunks` | sound in overlapping chunks, as the 48 kHz model takes it: [`Chunks`] |
//! | `model`, `run` | [`Encodec`], and its outputs by name |
//!
//! The 24 kHz model is causal and mono; the 32 kHz model (MusicGen's) is neither causal nor has it shortcut
//! convolutions; the 48 kHz model is stereo, normalises each chunk's loudness, and has group normalisation in place of
//! weight normalisation.

mod chunks;
mod config;
mod conv;
mod lstm;
mod model;
mod quantiser;
mod run;
mod seanet;

pub use chunks::Chunks;
pub use config::{Config, NormType, PadMode};
pub use model::Encodec;
