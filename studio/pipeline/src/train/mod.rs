//! The training loops of the models, each a [`Training`](crate::training::Training).

pub mod codec;
pub mod crops;
//! The training loops, one a model.

pub mod text_audio;
