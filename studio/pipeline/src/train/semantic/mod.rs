//! Training of the semantic tokeniser: masked prediction over crops of audio, then k-means.

mod settings;
mod training;

pub use settings::SemanticTrainingConfig;
pub use training::{SemanticOutcome, SemanticTraining};
