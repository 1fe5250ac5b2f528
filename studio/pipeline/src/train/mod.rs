//! The training loops of the models, each a [`Training`](crate::training::Training).

pub mod codec;
pub mod crops;
pub mod dpo;
pub mod fine;
mod geometry;
pub mod policy;
pub mod preference;
pub mod quality;
pub mod semantic;
pub mod text_audio;
