//! Layers that several architectures share, loaded from a checkpoint.

mod linear;
mod norm;

pub use linear::Linear;
pub use norm::LayerNorm;
