//! What listeners said: clips, judgements of pairs, ratings, and the folder that holds them.
//!
//! - [`record`]: one clip, one judgement, one rating, as a line of a file has it.
//! - [`set`]: [`PreferenceSet`], a folder of such lines; appended to, never rewritten.
//!
//! ```
//! use musicrl_core::preference::Outcome;
//! use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, Source};
//! # fn main() -> musicrl_feedback::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let mut set = PreferenceSet::create(&folder.path().join("preferences"))?;
//! let clip = |id: &str| ClipRecord::new(id, "a slow waltz", "base");
//! set.add_clips(vec![clip("c1"), clip("c2")])?;
//! set.add_judgements(vec![JudgementRecord::new("c1", "c2", Outcome::BetterB, "anna", Source::Human)])?;
//! assert_eq!(PreferenceSet::open(set.path())?.judgements().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! The crate stands on `musicrl-core` without its models, so it builds without Burn. It plays nothing and trains nothing.
#![forbid(unsafe_code)]

mod error;
pub mod record;
pub mod set;

pub use error::{Error, Result};
pub use record::{ClipOrigin, ClipRecord, JudgementRecord, RatingRecord, Source};
pub use set::PreferenceSet;
