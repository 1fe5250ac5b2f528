//! Judges that hear audio.
#![forbid(unsafe_code)]

pub mod contrastive;
mod error;
mod kmeans;
pub mod quantiser;
pub mod text;

pub use error::{Error, Result};
