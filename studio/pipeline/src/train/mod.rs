//! The training loops of the models, each a [`Training`](crate::training::Training).

pub mod crops;
pub mod fine;
pub mod semantic;
pub mod codec;
pub mod crops;
//! The training loops, one a model.

pub mod text_audio;
