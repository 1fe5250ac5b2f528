//! Training of the fine stage: parallel masked decoding over sequences of tokens.

mod settings;
mod source;
mod training;

pub use settings::FineTrainingConfig;
pub use source::{MemoryTokens, TokenCrop, TokenSource};
pub use training::FineTraining;
