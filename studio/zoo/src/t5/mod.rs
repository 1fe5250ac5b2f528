//! The encoder of T5 (Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text
//! transformer", JMLR 2020): the text tower of MusicGen.
//!
//! What differs from other transformers: root-mean-square norms without bias, no bias anywhere, scores that are not
//! divided by the root of the head's width, positions only as a learned bias of the scores, shared by all blocks.

mod bias;
mod config;
mod encoder;

pub use bias::bucket;
pub use config::Config;
pub use encoder::T5Encoder;
