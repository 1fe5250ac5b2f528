//! The training loops, one a model.

pub mod text_audio;
