//! Captions files.
//!
//! CSV with a header: the columns `file` (relative to the folder, `/` between its parts) and `caption` are needed;
//! `track` (recordings of one track are never in two splits) and `split` (`train` or `heldout`) may be there; all other
//! columns become attributes. Several rows of one file are several captions of it. JSONL says the same with one object
//! a line, `caption` a text or `captions` a list of texts. An empty caption is none.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::Split;
use crate::{Error, Result};

/// Names that are looked for in the folder.
const NAMES: [&str; 2] = ["captions.csv", "captions.jsonl"];

/// What a captions file says of one recording.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Its captions, in the order of the file.
    pub captions: Vec<String>,
    /// The track it belongs to, if not one of its own.
    pub track: Option<String>,
    /// The split it must be in.
    pub split: Option<Split>,
    /// All other columns.
    pub attributes: BTreeMap<String, String>,
}

/// A captions file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaptionTable {
    rows: BTreeMap<String, Row>,
}

impl CaptionTable {
    /// Reads the file that was named, else one of the folder's, else none.
    ///
    /// # Errors
    /// When the file cannot be read or a line breaks a rule; the message names the line.
    pub fn find(folder: &Path, named: Option<&Path>) -> Result<Self> {
        let found: Option<PathBuf> = match named {
            Some(path) => Some(path.to_owned()),
            None => NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()),
        };
        let Some(path) = found else { return Ok(Self::default()) };
        let text = fs::read_to_string(&path).map_err(Error::io("read the captions file", &path))?;
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("csv") => Self::parse_csv(&text, &path),
            Some("jsonl" | "ndjson") => Self::parse_jsonl(&text, &path),
            _ => Err(Error::File {
                path,
                expected: "a captions file named .csv or .jsonl".into(),
                got: "another".into(),
            }),
        }
    }

    /// The row of a recording.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.get(name)
    }

    /// All recordings that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// Reads CSV; `path` names it in errors.
    ///
    /// # Errors
    /// As [`CaptionTable::find`].
    pub fn parse_csv(text: &str, path: &Path) -> Result<Self> {
        let mut table = Self::default();
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| bad(path, 1, "a header", error.to_string()))?.clone();
        for needed in ["file", "caption"] {
            if !header.iter().any(|column| column == needed) {
                let got = header.iter().collect::<Vec<_>>().join(", ");
                return Err(bad(path, 1, &format!("a column `{needed}`"), format!("the columns {got}")));
            }
        }
        for record in reader.records() {
            let record = record.map_err(|error| {
                let line = error.position().map_or(0, |position| position.line());
                bad(path, line, "as many fields as the header has", error.to_string())
            })?;
            let line = record.position().map_or(0, |position| position.line());
            let fields = header.iter().zip(record.iter()).map(|(key, value)| (key.to_owned(), value.to_owned()));
            table.add(fields, path, line)?;
        }
        table.check_splits(path)
    }

    /// Reads JSONL; `path` names it in errors.
    ///
    /// # Errors
    /// As [`CaptionTable::find`].
    pub fn parse_jsonl(text: &str, path: &Path) -> Result<Self> {
        let mut table = Self::default();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let line_number = index as u64 + 1;
            let object: serde_json::Map<String, Value> = serde_json::from_str(line)
                .map_err(|error| bad(path, line_number, "one JSON object a line", error.to_string()))?;
            let mut fields = Vec::new();
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("captions", Value::Array(captions)) => {
                        for caption in captions {
                            let Value::String(caption) = caption else {
                                return Err(bad(path, line_number, "texts in `captions`", caption.to_string()));
                            };
                            fields.push(("caption".to_owned(), caption));
                        }
                    }
                    ("captions", Value::String(caption)) => fields.push(("caption".into(), caption)),
                    (_, Value::String(text)) => fields.push((key, text)),
                    (_, Value::Null) => {}
                    (_, value @ (Value::Number(_) | Value::Bool(_))) => fields.push((key, value.to_string())),
                    (_, value) => {
                        return Err(bad(path, line_number, &format!("text or a number as `{key}`"), value.to_string()));
                    }
                }
            }
            if !fields.iter().any(|(key, _)| key == "file") {
                return Err(bad(path, line_number, "a field `file`", "none".into()));
            }
            table.add(fields.into_iter(), path, line_number)?;
        }
        table.check_splits(path)
    }

    fn add(&mut self, fields: impl Iterator<Item = (String, String)>, path: &Path, line: u64) -> Result<()> {
        let mut new = Row::default();
        let mut file = String::new();
        for (key, value) in fields {
            let value = value.trim();
            match key.as_str() {
                "file" => file = value.trim_start_matches("./").replace('\\', "/"),
                _ if value.is_empty() => {}
                "caption" => new.captions.push(value.into()),
                "track" => new.track = Some(value.into()),
                "split" => {
                    new.split = Some(match value {
                        "train" => Split::Train,
                        "heldout" => Split::HeldOut,
                        other => return Err(bad(path, line, "`train` or `heldout` as split", other.into())),
                    });
                }
                _ => {
                    new.attributes.insert(key, value.into());
                }
            }
        }
        if file.is_empty() {
            return Err(bad(path, line, "a file", "an empty field".into()));
        }
        let row = self.rows.entry(file.clone()).or_default();
        row.captions.append(&mut new.captions);
        row.attributes.append(&mut new.attributes);
        if row.track.is_some() && new.track.is_some() && row.track != new.track {
            return Err(bad(path, line, &format!("one track for {file}"), "a second".into()));
        }
        row.track = row.track.take().or(new.track);
        if row.split.is_some() && new.split.is_some() && row.split != new.split {
            return Err(bad(path, line, &format!("one split for {file}"), "a second".into()));
        }
        row.split = row.split.or(new.split);
        Ok(())
    }

    /// One track has one split, whichever of its recordings says so.
    fn check_splits(self, path: &Path) -> Result<Self> {
        let mut splits = BTreeMap::new();
        for (file, row) in &self.rows {
            let track = row.track.as_ref().unwrap_or(file);
            let Some(split) = row.split else { continue };
            if *splits.entry(track).or_insert(split) != split {
                return Err(Error::File {
                    path: path.into(),
                    expected: "each track in one split".into(),
                    got: format!("track `{track}` in both"),
                });
            }
        }
        Ok(self)
    }
}

fn bad(path: &Path, line: u64, expected: &str, got: String) -> Error {
    Error::File { path: path.into(), expected: expected.into(), got: format!("line {line}: {got}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "\u{feff}file,caption,track,split,tempo\n\
        a.wav,\"slow, sad piano\",,,slow\n\
        ./b/c.ogg,a march,song,heldout,\n\
        b/c.ogg,brass band,song,,fast\n\
        d.wav,,,,\n";

    #[test]
    fn csv_and_jsonl_say_the_same() {
        let jsonl = r#"{"file": "a.wav", "caption": "slow, sad piano", "tempo": "slow"}

            {"file": "b\\c.ogg", "captions": ["a march", "brass band"], "track": "song", "split": "heldout", "tempo": "fast"}
            {"file": "d.wav", "caption": null}"#;
        let path = Path::new("captions.csv");
        let (csv, jsonl) =
            (CaptionTable::parse_csv(CSV, path).unwrap(), CaptionTable::parse_jsonl(jsonl, path).unwrap());
        assert_eq!(csv, jsonl);
        assert_eq!(csv.names().collect::<Vec<_>>(), ["a.wav", "b/c.ogg", "d.wav"]);
        let row = csv.row("b/c.ogg").unwrap();
        assert_eq!(row.captions, ["a march", "brass band"]);
        assert_eq!((row.split, row.track.as_deref()), (Some(Split::HeldOut), Some("song")));
        assert_eq!(row.attributes["tempo"], "fast");
    }

    #[test]
    fn errors_name_the_line() {
        let csv = |text: &str| CaptionTable::parse_csv(text, Path::new("c.csv")).unwrap_err().to_string();
        assert!(csv("path,caption\nx,y\n").contains("column `file`"));
        assert!(csv("file,caption\na.wav,b\na.wav,b,c\n").contains("line 3"));
        assert!(csv("file,caption,split\na.wav,b,test\n").contains("line 2: test"));
        assert!(csv("file,caption\n,b\n").contains("line 2"));
        assert!(csv("file,caption,track,split\na,x,t,train\nb,x,t,heldout\n").contains("track `t` in both"));
        assert!(csv("file,caption,split\na,x,train\na,y,heldout\n").contains("line 3"));
        assert!(csv("file,caption,track\na,x,t\na,y,u\n").contains("line 3"));
        let jsonl = |text: &str| CaptionTable::parse_jsonl(text, Path::new("c.jsonl")).unwrap_err().to_string();
        assert!(jsonl("{\"file\": \"a\"}\n{\"file\": 3").contains("line 2"));
        assert!(jsonl("{\"caption\": \"a\"}").contains("`file`"));
        assert!(jsonl("{\"file\": \"a\", \"captions\": [1]}").contains("texts"));
        assert!(jsonl("{\"file\": \"a\", \"x\": {}}").contains("`x`"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(CaptionTable::find(folder.path(), None).unwrap(), CaptionTable::default());
        let named = folder.path().join("mine.csv");
        assert!(matches!(CaptionTable::find(folder.path(), Some(&named)), Err(Error::Io { .. })));
        fs::write(folder.path().join("captions.csv"), CSV).unwrap();
        assert_eq!(CaptionTable::find(folder.path(), None).unwrap().rows.len(), 3);
        let text = folder.path().join("captions.txt");
        fs::write(&text, CSV).unwrap();
        assert!(matches!(CaptionTable::find(folder.path(), Some(&text)), Err(Error::File { .. })));
    }
}
