//! Where a recipe's captions come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptionSource {
    /// Captions of etudes, composed from the seed.
    #[default]
    Etudes,
    /// A text file, one caption a line.
    File,
    /// The captions of a corpus folder.
    Corpus,
}

/// The captions that a run aligns on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptionsConfig {
    /// Kind of the source.
    pub source: CaptionSource,
    /// The file or the corpus folder; relative to the recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// At most so many captions; for etudes exactly so many.
    pub count: usize,
    /// Share of the captions that learning never sees and evaluation uses, in (0, 1).
    pub held_out_fraction: f64,
}

impl Default for CaptionsConfig {
    fn default() -> Self {
        Self { source: CaptionSource::Etudes, path: None, count: 1024, held_out_fraction: 0.1 }
    }
}

impl CaptionsConfig {
    /// Checks every key; the path must lead somewhere.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        match (self.source, &self.path) {
            (CaptionSource::Etudes, Some(path)) => {
                return Err(Error::config("captions.path", "left out for source = \"etudes\"", path.display()));
            }
            (CaptionSource::File | CaptionSource::Corpus, None) => {
                return Err(Error::config("captions.path", "given for this source", "nothing"));
            }
            (CaptionSource::File, Some(path)) if !path.is_file() => {
                return Err(Error::config("captions.path", "a file", format!("{}, which is none", path.display())));
            }
            (CaptionSource::Corpus, Some(path)) if !path.is_dir() => {
                return Err(Error::config("captions.path", "a folder", format!("{}, which is none", path.display())));
            }
            _ => {}
        }
        if self.count < 2 {
            return Err(Error::config("captions.count", "at least 2 (one to learn from, one held out)", self.count));
        }
        if !(self.held_out_fraction > 0.0 && self.held_out_fraction < 1.0) {
            return Err(Error::config("captions.held_out_fraction", "above 0 and below 1", self.held_out_fraction));
        }
        Ok(())
    }
}
