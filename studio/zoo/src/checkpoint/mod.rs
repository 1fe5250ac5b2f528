//! Checkpoints in the Hugging Face layout, read tensor by tensor.
//!
//! [`Checkpoint::open`] reads `config.json` and the headers of the weight files, nothing more. A model takes its tensors
//! by name and shape through [`Weights`]; [`Checkpoint::finish`] then names what nobody took. Memory is only taken for
//! tensors whose shape the model asked for and whose bytes the file really has.

mod export;
mod files;
mod floats;
mod weights;

pub use export::{Replacement, export};
pub use files::Checkpoint;
pub use weights::Weights;
