//! DAC, the Descript audio codec (Kumar et al., "High-fidelity audio compression with improved RVQGAN", 2023).
//!
//! A convolutional encoder with periodic activations, a residual vector quantiser whose codebooks are narrow and compared
//! by direction, and a mirrored decoder. Mono.
//!
//! | file | what |
//! |---|---|
//! | `config` | [`Config`]: the settings of `config.json`, checked, and the lengths that follow from them |
//! | `layers` | convolutions, the Snake activation, residual units |
//! | `network` | encoder and decoder |
//! | `quantiser` | residual vector quantisation: [`Quantised`] |
//! | `model`, `run` | [`Dac`], and its outputs by name |
//!
//! Strided and transposed convolutions are padded by ceil(stride / 2), so with an odd stride the decoder gives fewer
//! samples than frames * hop.

mod config;
mod layers;
mod model;
mod network;
mod quantiser;
mod run;

pub use config::Config;
pub use model::Dac;
pub use quantiser::Quantised;
