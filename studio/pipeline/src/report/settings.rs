//! What a report is made of, and how large it may become.

use std::path::PathBuf;

use musicrl_codec::opus::BITRATE_RANGE_BPS;

use crate::{Error, Result};

/// The folders and files that a report reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportInput {
    /// Runs of `musicrl align`, and experiments (a folder with `systems/`).
    pub runs: Vec<PathBuf>,
    /// An `evaluation.json`, or the folder that it lies in, beside those of the experiments.
    pub evaluation: Option<PathBuf>,
}

/// How large it may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    /// Prompts that can be heard; 0: none.
    pub prompts: usize,
    /// Of the clips, in bits a second.
    pub bitrate_bps: u32,
    /// Bytes of the page that clips may take; prompts beyond are left out, and the page says so.
    pub audio_bytes: usize,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self { prompts: 8, bitrate_bps: 64_000, audio_bytes: 16_000_000 }
    }
}

impl ReportSettings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let (low, high) = BITRATE_RANGE_BPS;
        if !(low..=high).contains(&self.bitrate_bps) {
            return Err(Error::config("bitrate", format!("from {low} to {high}"), self.bitrate_bps));
        }
        Ok(())
    }
}
