//! Corpora: captioned audio to learn from.
//!
//! A corpus is a folder ([`Corpus`] reads it, [`CorpusWriter`] writes it):
//!
//! ```text
//! corpus.json    version, name, sample rate, source, licence note, the settings that made it
//! clips.jsonl    one line a clip: id, file, captions, seconds, split, track, attributes
//! audio/*.wav    mono, 16 bits
//! ```

pub mod etudes;
pub mod import;
pub mod store;
pub mod summary;
pub mod writer;

pub use etudes::{Etudes, EtudesConfig, caption_bank, write_etudes};
pub use store::{Clip, Corpus, CorpusInfo, Split};
pub(crate) use store::{spread, stays_inside};
pub use summary::{SplitSummary, Summary};
pub use writer::{CorpusWriter, NewClip};
