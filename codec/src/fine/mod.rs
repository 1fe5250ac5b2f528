//! The fine stage: semantic and coarse acoustic tokens in, the remaining quantiser levels out, a level at a time and
//! all frames of it in parallel (SoundStorm: Borsos et al., "SoundStorm: efficient parallel audio generation", 2023).
//!
//! | file | concept |
//! |---|---|
//! | [`FineConfig`] | sizes, decoding passes and presets |
//! | [`FineClip`] | the tokens of one clip, checked |
//! | [`FineBatch`] | what is hidden in training and in evaluation |
//! | [`FineModel`] | the bidirectional transformer |
//! | [`FineModel::generate`] | parallel masked decoding |
//!
//! Training itself (data, optimiser, checkpoints) is not here but in `musicrl-pipeline`.

mod batch;
mod clip;
mod config;
mod generate;
mod model;

pub use batch::FineBatch;
pub use clip::FineClip;
pub use config::FineConfig;
pub use model::FineModel;
