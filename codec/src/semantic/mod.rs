//! The semantic tokeniser: sound to slow, coarse units that carry long-term structure.
//!
//! The encoder learns by masked prediction with random-projection targets (BEST-RQ: Chiu et al., "Self-supervised
//! learning with random-projection quantizer for speech recognition", ICML 2022): spans of a log-mel spectrogram are
//! hidden, and the encoder says which entry of a frozen random codebook the hidden frames fall into. Then k-means
//! clusters the features of one of its layers, and a frame's token is its cluster.
//!
//! | file | concept |
//! |---|---|
//! | [`SemanticConfig`] | sizes, rates and presets |
//! | [`FrontEnd`] | log-mel frames stacked to the token rate, on the CPU |
//! | [`RandomTargets`] | the frozen random-projection codebooks |
//! | [`mask_spans`] | which frames are hidden |
//! | [`MaskedPredictor`], [`SemanticEncoder`] | the networks: the first is trained, its lower half is kept |
//! | [`kmeans`] | seeded k-means++ and Lloyd's iterations |
//! | [`SemanticTokeniser`] | encoder and centroids: what ships |
//! | [`windows`] | how long clips are cut into overlapping windows |
//!
//! Training itself (data, optimiser, checkpoints) is not here but in `musicrl-pipeline`.

mod config;
mod encoder;
mod front_end;
pub(crate) mod host;
pub mod kmeans;
mod masking;
mod targets;
mod tokeniser;
pub mod windows;

pub use config::SemanticConfig;
pub use encoder::{EncoderInput, MaskedPredictor, SemanticEncoder};
pub use front_end::{BandStatistics, FrontEnd};
pub use masking::mask_spans;
pub use targets::RandomTargets;
pub use tokeniser::{CodebookUse, SemanticTokeniser};
