//! ONNX networks of one input, run by [tract](https://github.com/sonos/tract): what a reward in an ONNX file needs.
//!
//! The crate is its own because tract is large and assembles its kernels with a C compiler; nothing else needs either.
//!
//! ```no_run
//! # fn main() -> Result<(), String> {
//! let network = musicrl_onnx::Network::load("judge.onnx".as_ref())?;
//! let scores = network.run(&[0.0; 16_000], &[16_000])?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//! It knows nothing of sound, uses no GPU, and reads external weight files only as far as tract does.
#![forbid(unsafe_code)]

mod network;

pub use network::Network;
