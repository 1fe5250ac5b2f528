//! Judges that hear audio.
#![forbid(unsafe_code)]

pub mod adherence;
pub mod contrastive;
mod error;
pub mod front_end;
mod kmeans;
pub mod model;
pub mod quantiser;
pub mod text;
pub mod towers;
pub mod windows;

pub use adherence::TextAdherence;
pub use error::{Error, Result};
pub use model::{TextAudioConfig, TextAudioModel};
pub use quantiser::{EmbeddingQuantiser, EmbeddingQuantiserConfig};
