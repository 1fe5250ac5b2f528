//! Layers that several architectures share, loaded from a checkpoint.

mod activation;
mod attention;
mod linear;
mod norm;
mod packed;
mod text_layer;

pub use activation::Activation;
pub use attention::{HIDDEN, attend, split_heads};
pub use linear::{Adapter, Linear, transposed};
pub use norm::LayerNorm;
pub use packed::Packed;
pub use text_layer::{TextLayer, TextLayerSizes};
