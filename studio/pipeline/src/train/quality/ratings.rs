//! Ratings files: what people said of which sound.
//!
//! CSV with a header: the columns `file` and `rating` are needed, `rater` should be there (ratings without one count as
//! those of different people); `track` (recordings of one track are never in two splits) and `split` (`train` or
//! `heldout`) may be; other columns are left alone. Several rows of one file are several ratings of it. JSONL says the
//! same with one object a line. A row that breaks a rule is set aside with its line and the reason; the others count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use musicrl_rewards::quality::OPINION_RANGE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Rating;
use crate::{Error, Result, corpus::Split};

/// What a ratings file says of one sound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RatedFile {
    /// Its ratings, in the order of the file.
    pub ratings: Vec<Rating>,
    /// The track it belongs to, if not one of its own.
    pub track: Option<String>,
    /// The split it must be in.
    pub split: Option<Split>,
}

/// Something that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// `line N` of the ratings file, or the sound's name.
    pub what: String,
    /// The rule that it breaks.
    pub reason: String,
}

/// A ratings file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RatingTable {
    /// By the sound's name, as written.
    pub files: BTreeMap<String, RatedFile>,
    /// Rows that were not used.
    pub set_aside: Vec<SetAside>,
}

/// The fields of a row that are read.
const FIELDS: [&str; 5] = ["file", "rating", "rater", "track", "split"];

type Row = BTreeMap<&'static str, String>;

impl RatingTable {
    /// Reads a file whose name ends in `.csv` or `.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for another ending, a header without a needed column, or no row that can be used.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io("read the ratings", path))?;
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let table = match ending.as_deref() {
            Some("csv") => Self::parse_csv(&bytes, path)?,
            Some("jsonl" | "ndjson") => Self::parse_jsonl(&bytes),
            _ => return Err(wrong(path, "a ratings file named .csv or .jsonl", "another".into())),
        };
        if table.files.is_empty() {
            let got = match table.set_aside.first() {
                Some(SetAside { what, reason }) => {
                    format!("{} rows set aside, the first for: {what}: {reason}", table.set_aside.len())
                }
                None => "no rows".into(),
            };
            return Err(wrong(path, "at least one rating", got));
        }
        Ok(table)
    }

    /// Number of ratings.
    #[must_use]
    pub fn ratings(&self) -> usize {
        self.files.values().map(|file| file.ratings.len()).sum()
    }

    /// Reads CSV; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::File`] for a header without a needed column. Bad rows are set aside.
    pub fn parse_csv(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut builder = Builder::default();
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
        let header = reader.headers().map_err(|error| wrong(path, "a header", error.to_string()))?.clone();
        for needed in &FIELDS[..2] {
            if !header.iter().any(|column| column == *needed) {
                let got = format!("the columns {}", header.iter().collect::<Vec<_>>().join(", "));
                return Err(wrong(path, &format!("a column `{needed}`"), got));
            }
        }
        for record in reader.byte_records() {
            let record = record.map_err(|error| wrong(path, "rows of CSV", error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let row = if record.len() == header.len() {
                csv_row(&header, &record)
            } else {
                Err(format!("{} fields, where the header has {}", record.len(), header.len()))
            };
            builder.add(line, row);
        }
        Ok(builder.table)
    }

    /// Reads JSONL. Bad rows are set aside.
    #[must_use]
    pub fn parse_jsonl(bytes: &[u8]) -> Self {
        let mut builder = Builder::default();
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if !line.trim_ascii().is_empty() {
                builder.add(index as u64 + 1, json_row(line));
            }
        }
        builder.table
    }
}

fn csv_row(header: &csv::StringRecord, record: &csv::ByteRecord) -> std::result::Result<Row, String> {
    let mut row = Row::new();
    for (column, value) in header.iter().zip(record) {
        if let Some(field) = FIELDS.into_iter().find(|field| *field == column) {
            let text = std::str::from_utf8(value).map_err(|_| format!("`{field}` is no UTF-8 text"))?;
            row.insert(field, text.to_owned());
        }
    }
    Ok(row)
}

fn json_row(line: &[u8]) -> std::result::Result<Row, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("no JSON object: {error}"))?;
    let mut row = Row::new();
    for field in FIELDS {
        match object.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                row.insert(field, text.clone());
            }
            Some(Value::Number(number)) => {
                row.insert(field, number.to_string());
            }
            Some(other) => return Err(format!("`{field}` is {other}, neither text nor a number")),
        }
    }
    Ok(row)
}

/// A table under way.
#[derive(Default)]
struct Builder {
    table: RatingTable,
    /// Who rated what already.
    seen: BTreeSet<(String, String)>,
}

impl Builder {
    fn add(&mut self, line: u64, row: std::result::Result<Row, String>) {
        if let Err(reason) = row.and_then(|row| self.take(&row)) {
            self.table.set_aside.push(SetAside { what: format!("line {line}"), reason });
        }
    }

    /// Takes a row as a whole, or nothing of it.
    fn take(&mut self, row: &Row) -> std::result::Result<(), String> {
        let text = |field| row.get(field).map_or("", |value| value.trim());
        let file = text("file").trim_start_matches("./").replace('\\', "/");
        if file.is_empty() {
            return Err("no `file`".into());
        }
        let [low, high] = OPINION_RANGE;
        let rating = text("rating");
        let rating = match rating.parse::<f64>() {
            Ok(value) if (low..=high).contains(&value) => value,
            Ok(_) => return Err(format!("the rating {rating} of {file} is outside {low} to {high}")),
            Err(_) => return Err(format!("the rating {rating:?} of {file} is no number")),
        };
        let split = match text("split") {
            "" => None,
            "train" => Some(Split::Train),
            "heldout" => Some(Split::HeldOut),
            other => return Err(format!("the split {other:?} is neither `train` nor `heldout`")),
        };
        let track = Some(text("track")).filter(|track| !track.is_empty()).map(str::to_owned);
        let there = self.table.files.get(&file);
        let differs = |field: &str, old: Option<String>, new: Option<String>| match (old, new) {
            (Some(old), Some(new)) if old != new => Err(format!("{file} has the {field} {old} already, not {new}")),
            _ => Ok(()),
        };
        let name = |split: Option<Split>| split.map(|split| split.name().to_owned());
        differs("track", there.and_then(|there| there.track.clone()), track.clone())?;
        differs("split", name(there.and_then(|there| there.split)), name(split))?;
        let rater = text("rater").to_owned();
        if !rater.is_empty() && !self.seen.insert((file.clone(), rater.clone())) {
            return Err(format!("{rater} rated {file} before"));
        }
        let entry = self.table.files.entry(file).or_default();
        entry.ratings.push(Rating { rater, rating });
        entry.track = entry.track.take().or(track);
        entry.split = entry.split.or(split);
        Ok(())
    }
}

fn wrong(path: &Path, expected: &str, got: String) -> Error {
    Error::File { path: path.into(), expected: expected.into(), got }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSV: &str = "\u{feff}file,rating,rater,note,split\n\
        a.wav,4,ann,fine,\n\
        ./b/c.ogg,2.5,ann,,heldout\n\
        b\\c.ogg,3,bob,,\n\
        a.wav,6,bob,,\n\
        a.wav,0.9,bob,,\n\
        a.wav,good,bob,,\n\
        a.wav,nan,bob,,\n\
        ,3,bob,,\n\
        a.wav,3,ann,,\n\
        a.wav,3\n\
        a.wav,3,cid,,test\n\
        b/c.ogg,3,cid,,train\n\
        a.wav,5,,,\n\
        a.wav,5,,,\n";

    #[test]
    fn csv_and_jsonl_say_the_same_and_name_what_they_set_aside() {
        let table = RatingTable::parse_csv(CSV.as_bytes(), Path::new("r.csv")).unwrap();
        let given =
            |file: &str| table.files[file].ratings.iter().map(|r| (r.rater.as_str(), r.rating)).collect::<Vec<_>>();
        // Two ratings without a rater are those of two people.
        assert_eq!(given("a.wav"), [("ann", 4.0), ("", 5.0), ("", 5.0)]);
        assert_eq!(given("b/c.ogg"), [("ann", 2.5), ("bob", 3.0)]);
        assert_eq!(table.files["b/c.ogg"].split, Some(Split::HeldOut));
        assert_eq!(table.ratings(), 5);
        let reasons = [
            ("line 5", "6 of a.wav is outside 1 to 5"),
            ("line 6", "0.9"),
            ("line 7", "\"good\""),
            ("line 8", "nan"),
            ("line 9", "no `file`"),
            ("line 10", "ann rated a.wav before"),
            ("line 11", "2 fields"),
            ("line 12", "test"),
            ("line 13", "heldout already, not train"),
        ];
        assert_eq!(table.set_aside.len(), reasons.len(), "{:?}", table.set_aside);
        for (aside, (what, reason)) in table.set_aside.iter().zip(reasons) {
            assert!(aside.what == what && aside.reason.contains(reason), "{aside:?}: {reason}");
        }
        let jsonl = r#"{"file": "a.wav", "rating": 4, "rater": "ann", "note": "fine"}

            {"file": "b/c.ogg", "rating": "2.5", "rater": "ann", "split": "heldout"}
            {"file": "b/c.ogg", "rating": 3, "rater": "bob"}
            {"file": "a.wav", "rating": [3], "rater": "bob"}
            {"file": "a.wav"}
            not json
            {"file": "a.wav", "rating": 5, "rater": null}
            {"file": "a.wav", "rating": 5}"#;
        let other = RatingTable::parse_jsonl(jsonl.as_bytes());
        assert_eq!(other.files, table.files);
        let lines: Vec<&str> = other.set_aside.iter().map(|aside| aside.what.as_str()).collect();
        assert_eq!(lines, ["line 5", "line 6", "line 7"]);
    }

    #[test]
    fn a_file_without_ratings_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            RatingTable::read(&path).unwrap_err().to_string()
        };
        assert!(read("r.csv", b"file,ratng,rater\na,3,b\n").contains("column `rating`"));
        assert!(read("r.csv", b"file,rating,rater\na,9,b\n").contains("line 2: the rating 9"));
        assert!(read("e.csv", b"file,rating,rater\n").contains("no rows"));
        assert!(read("e.jsonl", b"").contains("e.jsonl"));
        assert!(read("r.txt", b"x").contains(".jsonl"));
        let gone = RatingTable::read(Path::new("/nowhere/r.csv")).unwrap_err().to_string();
        assert!(gone.contains("/nowhere/r.csv"));
        // A field that is no text costs its row alone.
        let table = RatingTable::parse_csv(b"file,rating\n\xff.wav,3\nb.wav,3\n", Path::new("r.csv")).unwrap();
        assert_eq!((table.ratings(), table.set_aside.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_or_set_aside(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for table in [
                RatingTable::parse_jsonl(&bytes),
                RatingTable::parse_csv(&[b"file,rating,rater\n", &bytes[..]].concat(), Path::new("r.csv"))
                    .unwrap_or_default(),
            ] {
                let range = |rating: &Rating| (1.0..=5.0).contains(&rating.rating);
                prop_assert!(table.files.values().all(|file| !file.ratings.is_empty()));
                prop_assert!(table.files.values().flat_map(|file| &file.ratings).all(range));
            }
        }
    }
}
