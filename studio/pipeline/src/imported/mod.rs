//! Imported checkpoints: MusicGen in the layout of other libraries as a base, aligned and given back; BERT as a reader of
//! captions.
//!
//! - [`identity`]: what makes a checkpoint the one that a run began from.
//! - [`family`]: MusicGen as a family of policies that can be aligned.
//! - [`base`]: a checkpoint's folder, or that of an aligned policy, as a base.
//! - [`estimate`]: memory of a stage.
//! - [`preference`]: what listeners like, learned on an imported policy's vectors.
//! - [`sentences`]: BERT as the sentence encoder of a bundle's text tower.
//! - [`run`]: `align`, `generate` and `export` on them.

pub mod base;
pub mod estimate;
pub mod family;
pub mod identity;
pub mod preference;
pub mod run;
pub mod sentences;

pub use base::ImportedBase;
pub use identity::{checkpoint_identity, is_checkpoint, is_imported};
pub use sentences::BertSentences;
