//! The user preference model at work: what a bundle's part `preference` is, and what it is asked.
//!
//! - [`clips`]: clips as the model sees them: condition and tokens, padded into batches.
//! - [`data`]: one or several preference sets as clips and pairs, divided by caption.
//! - [`descriptors`]: what is measured of a clip's sound, for models that are given it beside the tokens.
//! - [`encode`]: the tokens of a set's clips; sound files go through the bundle's codec first.
//! - [`ensemble`]: one or several models whose mean is the score and whose spread is reported.
//! - [`centre`]: the reference scores zero.
//! - [`reward`]: the ensemble as a reward of alignment.
//!
//! It is trained by [`train::preference`](crate::train::preference) and measured by
//! [`evaluate_preference`](crate::evaluate_preference).

pub mod centre;
pub mod clips;
pub mod data;
pub mod descriptors;
pub mod division;
pub mod encode;
pub mod ensemble;
mod read;
pub mod reward;

pub use clips::PreferenceClip;
pub use data::{DataConfig, Pair, PreferenceData, Reads, Sources};
pub use descriptors::DescriptorScale;
pub use division::Division;
pub use ensemble::{PreferenceConfig, PreferenceEnsemble};
pub use reward::UserPreference;
