//! The captions of a recipe: those that learning sees and those that it never sees.

use std::{collections::BTreeSet, fs, path::Path};

use musicrl_core::random::{Key, Purpose};

use crate::{
    Error, Result,
    corpus::{Corpus, Split, etudes::caption_bank},
    recipe::{CaptionSource, CaptionsConfig},
};

/// Two lists without a common caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captions {
    /// To learn from.
    pub learning: Vec<String>,
    /// To measure on.
    pub held_out: Vec<String>,
}

impl Captions {
    /// Reads or makes the captions that `config` describes. Etudes and corpora come with a division of their own
    /// (by combination of attributes, by track); a file is divided at random by the seed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] when the source cannot be read; [`Error::Config`] when a list would be empty.
    pub fn load(config: &CaptionsConfig, seed: u64) -> Result<Self> {
        let held_out_count = ((config.count as f64 * config.held_out_fraction).round() as usize).max(1);
        let learning_count = config.count.saturating_sub(held_out_count).max(1);
        let path = config.path.as_deref().unwrap_or(Path::new(""));
        let captions = match config.source {
            CaptionSource::Etudes => {
                let bank = |count, split| -> Vec<String> {
                    caption_bank(seed, count, split).into_iter().map(|captioned| captioned.caption).collect()
                };
                let learning = bank(learning_count, Split::Train);
                let taken: BTreeSet<&String> = learning.iter().collect();
                let mut held_out = bank(held_out_count, Split::HeldOut);
                held_out.retain(|caption| !taken.contains(caption));
                Self { learning, held_out }
            }
            CaptionSource::File => {
                let text = fs::read_to_string(path).map_err(Error::io("read captions", path))?;
                let mut lines = unique(text.lines().map(str::to_string));
                Key::new(seed, Purpose::Split).stream().shuffle(&mut lines);
                lines.truncate(config.count);
                let held_out_count =
                    ((lines.len() as f64 * config.held_out_fraction).round() as usize).clamp(1, lines.len().max(1));
                let learning = lines.split_off(held_out_count.min(lines.len()));
                Self { learning, held_out: lines }
            }
            CaptionSource::Corpus => {
                let corpus = Corpus::open(path)?;
                let of = |split: Split| {
                    let clips = corpus.split(split).into_iter();
                    unique(clips.flat_map(|clip| corpus.clips()[clip].captions.clone()))
                };
                let mut learning = of(Split::Train);
                let mut held_out = of(Split::HeldOut);
                learning.truncate(learning_count);
                // A caption that both parts share (a tag of two tracks) belongs to learning.
                let taken: BTreeSet<&String> = learning.iter().collect();
                held_out.retain(|caption| !taken.contains(caption));
                held_out.truncate(held_out_count);
                Self { learning, held_out }
            }
        };
        for (what, list) in [("learn from", &captions.learning), ("hold out", &captions.held_out)] {
            if list.is_empty() {
                let got = format!(
                    "none in {}",
                    if path.as_os_str().is_empty() { "the etudes".into() } else { path.display().to_string() }
                );
                return Err(Error::config("captions", format!("at least one caption to {what}"), got));
            }
        }
        Ok(captions)
    }
}

/// Trimmed, without empty and repeated ones, in the order in which they first come.
fn unique(captions: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    captions
        .map(|caption| caption.trim().to_string())
        .filter(|caption| !caption.is_empty() && seen.insert(caption.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(source: CaptionSource, path: Option<&Path>, count: usize) -> CaptionsConfig {
        CaptionsConfig { source, path: path.map(Path::to_path_buf), count, held_out_fraction: 0.1 }
    }

    #[test]
    fn no_caption_is_in_both_lists() {
        let captions = Captions::load(&config(CaptionSource::Etudes, None, 200), 3).unwrap();
        assert_eq!(captions.learning.len(), 180);
        assert!(captions.held_out.len() >= 15);
        assert!(captions.held_out.iter().all(|caption| !captions.learning.contains(caption)));
        assert_eq!(captions, Captions::load(&config(CaptionSource::Etudes, None, 200), 3).unwrap());
    }

    #[test]
    fn a_file_is_divided_by_the_seed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("captions.txt");
        let lines: Vec<String> = (0..50).map(|i| format!("  caption {i}")).collect();
        fs::write(&path, lines.join("\n") + "\n\ncaption 3\n").unwrap();
        let load = |seed| Captions::load(&config(CaptionSource::File, Some(&path), 1000), seed).unwrap();
        let captions = load(1);
        assert_eq!((captions.learning.len(), captions.held_out.len()), (45, 5));
        assert_eq!(captions, load(1));
        assert_ne!(captions, load(2));
        fs::write(&path, "\n \n").unwrap();
        assert!(Captions::load(&config(CaptionSource::File, Some(&path), 10), 1).is_err());
    }
}
