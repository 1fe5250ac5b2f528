//! What a run learned from, written beside it.

use std::{fs, path::Path};

use serde::Serialize;

use super::{RatedSounds, Rating, SetAside};
use crate::{Error, Result};

/// The rated sounds of a run, one a line.
pub const RATINGS_FILE: &str = "ratings.jsonl";
/// What could not be used, one a line.
pub const SET_ASIDE_FILE: &str = "set_aside.jsonl";

/// One line of `ratings.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    sound: &'a str,
    split: &'a str,
    /// Whose ratings: "simulated" or "human".
    origin: &'a str,
    ratings: &'a [Rating],
}

/// Writes the rated sounds, and what was set aside if anything was, into `folder`. Simulated ratings are called so on
/// every line.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn write_record(folder: &Path, sounds: &dyn RatedSounds, set_aside: &[SetAside]) -> Result<()> {
    let origin = sounds.origin().name();
    let line = |sound: &'_ super::RatedSound| {
        json_line(&Line { sound: &sound.name, split: sound.split.name(), origin, ratings: &sound.ratings })
    };
    let ratings = sounds.sounds().iter().map(line).collect::<Result<String>>()?;
    let aside = set_aside.iter().map(|aside| json_line(&aside)).collect::<Result<String>>()?;
    for (name, text) in [(RATINGS_FILE, ratings), (SET_ASIDE_FILE, aside)] {
        let path = folder.join(name);
        if !text.is_empty() {
            fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
    }
    Ok(())
}

fn json_line(value: &impl Serialize) -> Result<String> {
    let text =
        serde_json::to_string(value).map_err(|error| Error::config("ratings", "text that JSON can hold", error))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use musicrl_rewards::quality::RatingsOrigin;

    use super::*;
    use crate::{
        corpus::Split,
        train::quality::{MemorySounds, RatedSound},
    };

    #[test]
    fn simulated_ratings_are_called_so_on_every_line() {
        let temp = tempfile::tempdir().unwrap();
        let sound = |name: &str| {
            let rating = Rating { rater: "simulated-03".into(), rating: 4.0 };
            (RatedSound::new(name.into(), Split::Train, vec![rating]).unwrap(), vec![0.1])
        };
        let sounds = MemorySounds::new(RatingsOrigin::Simulated, 8_000, vec![sound("a"), sound("b")]);
        write_record(temp.path(), &sounds, &[]).unwrap();
        let text = fs::read_to_string(temp.path().join(RATINGS_FILE)).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.contains("\"origin\":\"simulated\"") && line.contains("simulated-03")));
        assert!(!temp.path().join(SET_ASIDE_FILE).exists());
        let aside = [SetAside { what: "line 3".into(), reason: "no `file`".into() }];
        write_record(temp.path(), &sounds, &aside).unwrap();
        assert!(fs::read_to_string(temp.path().join(SET_ASIDE_FILE)).unwrap().contains("line 3"));
        assert!(write_record(&temp.path().join("gone"), &sounds, &[]).is_err());
    }
}
