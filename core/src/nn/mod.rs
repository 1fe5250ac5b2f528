//! Building blocks of networks: [`Linear`], [`RmsNorm`], rotary positions and the [`Transformer`] made of them.
//!
//! All of it is written for few, large tensor operations: clips and time are flattened to rows before a product, masks
//! and rotary tables are built once a forward pass, and incremental decoding writes its [`Cache`] in place.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use musicrl_core::nn::{Attention, FeedForward, TransformerConfig};
//! # fn main() -> musicrl_core::Result<()> {
//! let config = TransformerConfig {
//!     width: 8,
//!     layers: 1,
//!     heads: 2,
//!     ff_width: 16,
//!     feed_forward: FeedForward::Gelu,
//!     attention: Attention::Causal,
//! };
//! config.validate()?;
//! let device = Device::flex();
//! let transformer = config.init(&device);
//! let y = transformer.forward(Tensor::zeros([3, 5, 8], &device), None);
//! assert_eq!(y.dims(), [3, 5, 8]);
//! # Ok(())
//! # }
//! ```

mod attention;
mod config;
mod feed_forward;
mod gelu;
mod linear;
pub mod math;
pub(crate) mod mixing;
mod norm;
mod rotary;
mod transformer;

pub use attention::{KeyValue, SelfAttention, Visible};
pub use config::{Attention, FeedForward, TransformerConfig};
pub use feed_forward::FeedForwardLayer;
pub use gelu::gelu;
pub use linear::Linear;
pub use norm::RmsNorm;
pub use rotary::Rotary;
pub use transformer::{Block, Cache, Transformer};

pub(crate) use {norm::EPSILON, rotary::turn};
