//! What an import is told.

use std::path::PathBuf;

use musicrl_codec::{audio::check_sample_rate, decode::Limits, loudness};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Settings of an import. What does not change the corpus is not recorded in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportSettings {
    /// The rate of the corpus.
    pub sample_rate_hz: u32,
    /// Decides which tracks are held out.
    pub seed: u64,
    /// Share of tracks to hold out, 0 to below 1.
    pub heldout_share: f64,
    /// Cuts recordings into segments of this length; without it, each is one clip.
    pub segment_seconds: Option<f64>,
    /// Recordings, and rests of segmented ones, that are shorter are left out.
    pub shortest_seconds: f64,
    /// The level that every recording is brought to, as a whole; without it, levels stay.
    pub loudness: Option<loudness::Target>,
    /// Puts what was measured of a clip into its captions, where these come from tags or names: see
    /// [`super::measured`].
    pub measured_words: bool,
    /// Longest recording.
    pub longest_seconds: f64,
    /// Name of the corpus; the folder's if not given.
    pub name: Option<String>,
    /// What may be done with the recordings, in words.
    pub licence: String,
    /// The captions file; without it, `captions.csv` or `captions.jsonl` in the folder, if there.
    #[serde(skip)]
    pub captions: Option<PathBuf>,
    /// Replaces a corpus that stands at the target.
    #[serde(skip)]
    pub replace: bool,
    /// Recordings that are prepared at once; each takes the memory of one decoded recording.
    #[serde(skip)]
    pub threads: usize,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self {
            sample_rate_hz: 24_000,
            seed: 0,
            heldout_share: 0.1,
            segment_seconds: None,
            shortest_seconds: 1.0,
            loudness: Some(loudness::Target::default()),
            measured_words: true,
            longest_seconds: Limits::default().seconds,
            name: None,
            licence: "not stated".into(),
            captions: None,
            replace: false,
            threads: 2,
        }
    }
}

impl ImportSettings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        check_sample_rate("corpus", self.sample_rate_hz)
            .map_err(|error| Error::config("sample_rate_hz", "an accepted rate", error))?;
        if !(0.0..1.0).contains(&self.heldout_share) {
            return Err(Error::config("heldout_share", "0 to below 1", self.heldout_share));
        }
        if !(0.05..=3_600.0).contains(&self.shortest_seconds) {
            return Err(Error::config("shortest_seconds", "0.05 to 3600", self.shortest_seconds));
        }
        if let Some(seconds) = self.segment_seconds.filter(|s| !(self.shortest_seconds..=36_000.0).contains(s)) {
            return Err(Error::config("segment_seconds", "shortest_seconds to 36000", seconds));
        }
        if !(self.longest_seconds >= self.shortest_seconds && self.longest_seconds <= 86_400.0) {
            return Err(Error::config("longest_seconds", "shortest_seconds to 86400", self.longest_seconds));
        }
        if let Some(target) = self.loudness {
            target.validate().map_err(|error| Error::config("loudness", "a level within reason", error))?;
        }
        Ok(())
    }

    /// What one file may cost.
    pub(super) fn limits(&self) -> Limits {
        Limits { seconds: self.longest_seconds, ..Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_name_their_field() {
        let good = ImportSettings::default();
        assert!(good.validate().is_ok());
        for (settings, field) in [
            (ImportSettings { sample_rate_hz: 1, ..good.clone() }, "sample_rate_hz"),
            (ImportSettings { heldout_share: 1.0, ..good.clone() }, "heldout_share"),
            (ImportSettings { heldout_share: f64::NAN, ..good.clone() }, "heldout_share"),
            (ImportSettings { shortest_seconds: 0.0, ..good.clone() }, "shortest_seconds"),
            (ImportSettings { segment_seconds: Some(0.5), ..good.clone() }, "segment_seconds"),
            (ImportSettings { longest_seconds: 0.5, ..good.clone() }, "longest_seconds"),
        ] {
            let error = settings.validate().unwrap_err();
            assert!(matches!(&error, Error::Config { field: got, .. } if got == field), "{error}");
        }
    }

    #[test]
    fn what_does_not_change_the_corpus_is_not_recorded() {
        let one = ImportSettings { threads: 1, replace: true, captions: Some("x".into()), ..ImportSettings::default() };
        assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&ImportSettings::default()).unwrap());
    }
}
