//! Writing a corpus of etudes to disk.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::source::Etudes;
use crate::{
    Error, Result,
    corpus::{Corpus, CorpusInfo, CorpusWriter, NewClip, Split},
};

/// Clips that are rendered side by side and then written in order: what bounds the memory.
const CLIPS_AT_ONCE: usize = 32;

/// Settings of a corpus of etudes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtudesConfig {
    /// What the whole corpus follows from.
    pub seed: u64,
    /// Clips to learn from.
    pub train_clips: usize,
    /// Clips to measure on; their combinations of lead, tempo and percussion are not among the others.
    pub heldout_clips: usize,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Duration of each clip.
    pub clip_seconds: f64,
}

impl Default for EtudesConfig {
    fn default() -> Self {
        Self { seed: 0, train_clips: 1800, heldout_clips: 200, sample_rate_hz: 16000, clip_seconds: 6.4 }
    }
}

impl EtudesConfig {
    /// Checks the settings against their rules.
    ///
    /// # Errors
    /// When the rate or the duration is out of range, or there would be no clip.
    pub fn validate(&self) -> Result<()> {
        Etudes::new(self.seed, Split::Train, self.train_clips, self.sample_rate_hz, self.clip_seconds)?;
        if self.train_clips + self.heldout_clips == 0 {
            return Err(Error::Config { field: "train_clips".into(), expected: "at least 1".into(), got: "0".into() });
        }
        Ok(())
    }
}

/// Writes the corpus to `dir` (new or empty), the same bytes for the same settings whatever the number of threads.
/// `progress` hears how many clips of how many are written; an error of its own stops the work and leaves nothing.
///
/// # Errors
/// When the settings break a rule, the folder cannot be written, or `progress` says so.
pub fn write_etudes(
    dir: impl AsRef<Path>,
    config: &EtudesConfig,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Corpus> {
    config.validate()?;
    let settings = serde_json::to_value(config).map_err(|error| Error::Config {
        field: "settings".into(),
        expected: "numbers that JSON can hold".into(),
        got: error.to_string(),
    })?;
    let info = CorpusInfo::new(
        "etudes",
        config.sample_rate_hz,
        "composed and synthesised by musicrl",
        "made by the program; no rights are claimed in it",
    )
    .with_settings(settings);
    let mut writer = CorpusWriter::create(dir, info)?;
    let total = config.train_clips + config.heldout_clips;
    for (split, clips) in [(Split::Train, config.train_clips), (Split::HeldOut, config.heldout_clips)] {
        let etudes = Etudes::new(config.seed, split, clips, config.sample_rate_hz, config.clip_seconds)?;
        for start in (0..clips).step_by(CLIPS_AT_ONCE) {
            let indices = start..(start + CLIPS_AT_ONCE).min(clips);
            let rendered: Vec<_> = indices.clone().into_par_iter().map(|index| etudes.clip(index)).collect();
            for (index, etude) in indices.zip(rendered) {
                let id = format!("{}-{index:06}", split.name());
                let mut clip = NewClip::new(&id, split, &id);
                clip.captions = etude.captions;
                clip.attributes = etude.attributes.to_map();
                writer.add(clip, &etude.audio)?;
                progress(writer.len(), total)?;
            }
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    fn small() -> EtudesConfig {
        EtudesConfig { seed: 3, train_clips: 9, heldout_clips: 3, sample_rate_hz: 8000, clip_seconds: 1.0 }
    }

    fn bytes(config: &EtudesConfig, threads: usize) -> BTreeMap<String, Vec<u8>> {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("etudes");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| write_etudes(&dir, config, &mut |_, _| Ok(())).unwrap());
        walkdir::WalkDir::new(&dir)
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let name = entry.path().strip_prefix(&dir).unwrap().to_string_lossy().into_owned();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
        let one = bytes(&small(), 1);
        assert_eq!(one.len(), 14);
        assert!(one == bytes(&small(), 4));
        assert!(one != bytes(&EtudesConfig { seed: 4, ..small() }, 1));
    }

    #[test]
    fn disk_and_memory_agree() {
        let temp = tempfile::tempdir().unwrap();
        let mut heard = Vec::new();
        let corpus = write_etudes(temp.path().join("etudes"), &small(), &mut |done, total| {
            heard.push((done, total));
            Ok(())
        })
        .unwrap();
        assert_eq!(heard, (1..=12).map(|done| (done, 12)).collect::<Vec<_>>());
        assert_eq!((corpus.split(Split::Train).len(), corpus.split(Split::HeldOut).len()), (9, 3));
        let etude = Etudes::new(3, Split::HeldOut, 3, 8000, 1.0).unwrap().clip(2);
        assert_eq!(corpus.clips()[11].captions, etude.captions);
        assert_eq!(corpus.clips()[11].attributes["lead"], etude.attributes.lead.name());
        for (read, made) in corpus.audio(11).unwrap().iter().zip(&etude.audio) {
            assert!((read - made).abs() < 2e-5);
        }
    }

    #[test]
    fn an_interruption_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let result = write_etudes(temp.path().join("etudes"), &small(), &mut |done, _| {
            if done < 5 { Ok(()) } else { Err(Error::Interrupted) }
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn bad_settings_are_refused() {
        for config in [
            EtudesConfig { train_clips: 0, heldout_clips: 0, ..small() },
            EtudesConfig { clip_seconds: f64::NAN, ..small() },
            EtudesConfig { sample_rate_hz: 10, ..small() },
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
        assert!(serde_json::from_str::<EtudesConfig>("{\"clips\": 3}").is_err());
    }
}
