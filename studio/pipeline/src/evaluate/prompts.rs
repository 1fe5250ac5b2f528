//! The captions that systems are evaluated on.

use std::{collections::BTreeSet, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, bundle::sha256_hex};

/// Ours: 101 captions over the attributes that etudes have, worded as etudes never word theirs.
const BUILT_IN: &str = include_str!("prompts.txt");

/// Most prompts that a file may have.
const PROMPTS_MAX: usize = 100_000;

/// Captions in their order, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// `built-in`, or the file.
    pub source: String,
    /// SHA-256 of the captions, each with a line end.
    pub sha256: String,
    /// The captions; none empty, no two equal.
    pub captions: Vec<String>,
}

impl Prompts {
    /// Captions of one's own; what is empty or repeated is left out.
    ///
    /// # Errors
    /// [`Error::Config`] for none, or too many.
    pub fn new(source: impl Into<String>, captions: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let captions: Vec<String> = captions
            .into_iter()
            .map(|caption| caption.trim().to_string())
            .filter(|caption| !caption.is_empty() && seen.insert(caption.clone()))
            .collect();
        let source = source.into();
        if captions.is_empty() || captions.len() > PROMPTS_MAX {
            let got = format!("{} in {source}", captions.len());
            return Err(Error::config("prompts", format!("from 1 to {PROMPTS_MAX} captions"), got));
        }
        let lines: String = captions.iter().flat_map(|caption| [caption.as_str(), "\n"]).collect();
        Ok(Self { source, sha256: sha256_hex(lines.as_bytes()), captions })
    }

    /// The list that ships.
    ///
    /// # Errors
    /// None, as long as the list is in order, which a test says.
    pub fn built_in() -> Result<Self> {
        Self::new("built-in", BUILT_IN.lines().map(str::to_string))
    }

    /// Reads a file: CSV or JSON lines with a field `caption`, by the name's ending; else one caption a line.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] with the line; [`Error::Config`] for a file without a caption.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read prompts", path))?;
        let text = text.trim_start_matches('\u{feff}');
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let captions = match extension.to_ascii_lowercase().as_str() {
            "csv" => csv_captions(text, path)?,
            "jsonl" => json_captions(text, path)?,
            _ => text.lines().map(str::to_string).collect(),
        };
        Self::new(path.display().to_string(), captions)
    }

    /// The first `count` captions.
    ///
    /// # Errors
    /// [`Error::Config`] for none.
    pub fn first(self, count: usize) -> Result<Self> {
        Self::new(self.source, self.captions.into_iter().take(count))
    }
}

fn bad(path: &Path, line: usize, reason: impl ToString) -> Error {
    Error::Parse { path: path.into(), line, reason: reason.to_string() }
}

fn csv_captions(text: &str, path: &Path) -> Result<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad(path, 1, error))?;
    let Some(column) = header.iter().position(|name| name == "caption") else {
        return Err(bad(path, 1, "expected a column `caption`"));
    };
    let mut captions = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(path, error.position().map_or(0, |at| at.line() as usize), &error))?;
        captions.push(record.get(column).unwrap_or_default().to_string());
    }
    Ok(captions)
}

fn json_captions(text: &str, path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        caption: String,
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let line: Line = serde_json::from_str(line).map_err(|error| bad(path, at + 1, error))?;
            Ok(line.caption)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Split, caption_bank};

    fn plain(caption: &str) -> String {
        let letters: String = caption.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect();
        letters.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_list_has_101_captions_over_all_attributes() {
        let prompts = Prompts::built_in().unwrap();
        assert_eq!(prompts.captions.len(), 101);
        let texts: Vec<String> = prompts.captions.iter().map(|caption| format!(" {} ", plain(caption))).collect();
        let count = |words: &[&str]| {
            texts.iter().filter(|text| words.iter().any(|word| text.contains(&format!(" {word}")))).count()
        };
        for lead in ["guitar", "piano", "organ", "flute", "bell", "marimba", "clarinet", "synth"] {
            assert!(count(&[lead]) >= 10, "{lead}");
        }
        assert!(count(&["trumpet", "brass"]) >= 10 && count(&["string"]) >= 10);
        let tempi = [
            count(&["slow", "unhurried", "calm waltz"]),
            count(&["mid tempo", "midtempo", "moderate", "medium"]),
            count(&["fast", "quick", "driving", "around 1"]),
        ];
        assert!(tempi.iter().all(|n| (28..=42).contains(n)), "{tempi:?}");
        for (what, words, least) in [
            ("drums", &["drum"][..], 25),
            ("shaker", &["shaker"], 10),
            ("bass", &["bass"], 15),
            ("minor", &["minor", "dorian", "phrygian"], 25),
            ("major", &["major", "lydian", "mixolydian", "in g", "in c", "in d "], 25),
            ("three", &["waltz", "threefour"], 15),
            ("soft", &["soft", "quiet", "hushed"], 15),
            ("loud", &["loud ", "forceful"], 12),
            ("crescendo", &["grow", "swell", "build", "louder", "ends loud"], 8),
            ("bright", &["bright", "brilliant"], 10),
            ("dark", &["dark", "muffled", "mellow"], 10),
            ("sparse", &["sparse", "few ", "space"], 8),
            ("dense", &["dense", "busy"], 10),
            ("staccato", &["staccato", "detached", "short "], 6),
            ("legato", &["legato", "smooth", "flowing"], 6),
        ] {
            assert!(count(words) >= least, "{what}: {}", count(words));
        }
    }

    #[test]
    fn no_caption_is_one_that_models_learn_from() {
        let ours: BTreeSet<String> = Prompts::built_in().unwrap().captions.iter().map(|text| plain(text)).collect();
        for split in [Split::Train, Split::HeldOut] {
            for item in caption_bank(1, 5_000, split) {
                assert!(!ours.contains(&plain(&item.caption)), "{}", item.caption);
            }
        }
    }

    #[test]
    fn lines_csv_and_json_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            Prompts::read(&path)
        };
        let lines = read("p.txt", "\u{feff}a waltz\n\n  slow, sad \na waltz\n").unwrap();
        assert_eq!(lines.captions, ["a waltz", "slow, sad"]);
        for (name, text) in [
            ("p.csv", "id,caption\n1,a waltz\n2,\"slow, sad\"\n"),
            ("p.jsonl", "{\"caption\":\"a waltz\",\"id\":1}\n\n{\"caption\":\"slow, sad\"}\n"),
        ] {
            let other = read(name, text).unwrap();
            assert_eq!((&other.captions, &other.sha256), (&lines.captions, &lines.sha256), "{name}");
        }
        let refused = |name: &str, text: &str, expected: &str| {
            let error = read(name, text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name), "{error}");
        };
        refused("empty.txt", " \n\n", "got 0");
        refused("text.csv", "text\na waltz\n", "`caption`");
        refused("torn.csv", "id,caption\n1,a\n2\n", "torn.csv:3");
        refused("torn.jsonl", "{\"caption\":\"a\"}\n{\"text\":\"a\"}\n", "torn.jsonl:2");
        assert!(matches!(Prompts::read(&dir.path().join("gone.txt")), Err(Error::Io { .. })));
        assert_ne!(lines.clone().first(1).unwrap().sha256, lines.sha256);
        assert!(lines.first(0).is_err());
    }
}
