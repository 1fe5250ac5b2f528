//! What preference alignment of a token policy *is*, without I/O, clock, backend or ambient randomness.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
#[cfg(feature = "model")]
pub mod nn;
#[cfg(feature = "model")]
pub mod params;
#[cfg(feature = "model")]
pub mod policy;
pub mod preference;
pub mod random;
pub mod reward;
pub mod rl;
#[cfg(feature = "model")]
pub mod sampling;
pub mod stats;
pub mod tokens;

pub use error::{Error, Result};
