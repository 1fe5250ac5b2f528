//! What listeners like, learned on the vectors of an imported policy.
//!
//! By default the policy stays as it is: a clip becomes the mean of the vectors before the heads over all its actions, given its
//! caption, and a linear head on that is fitted to judgements of pairs (Bradley-Terry). On a policy of hundreds of millions
//! of parameters that takes one forward pass a clip, and then seconds. With adapters the trunk learns too, for what the mean
//! of those vectors does not hold.
//!
//! - [`head`]: the head and its fit.
//! - `calibration`: how far apart its scores lie, so that they are chances.
//! - [`train`]: from a preference set to a head with its figures on held-out pairs.
//! - [`finetune`]: adapters on the policy's trunk, learned with the head.
//! - [`reward`]: the reward `user_preference` of such a head.

pub(crate) mod calibration;
pub mod finetune;
pub mod head;
pub mod reward;
pub mod train;

pub use finetune::FinetuneTraining;
pub use head::PreferenceHead;
pub use reward::{ImportedPreference, is_preference_head, preference_head_identity};
pub use train::{HeadReport, ImportedClips, fit_head};
