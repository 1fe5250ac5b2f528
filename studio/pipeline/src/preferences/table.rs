//! Judgements of sound files as a table: CSV with a header, or JSONL with one object a line.
//!
//! Needed are `caption`, `audio_a`, `audio_b` (paths, relative to the table's folder), `outcome` (`better-a` or `a`,
//! `better-b` or `b`, `tie`, `both-bad`, `skipped`) and `listener`. May be there: `confidence` (1), `margin` (0),
//! `heard_a` and `heard_b` (true), `source` (`human`, or `simulated:POPULATION`), `system_a` and `system_b` (who made the
//! sounds: `unknown`). No other columns are read or accepted. The clip a is the one that was offered first.

use std::path::Path;

use musicrl_core::preference::Outcome;
use musicrl_feedback::Source;
use serde::{Deserialize, Serialize};

use super::summary::{outcome_name, source_name};
use crate::{Error, Result, recipe::nearest};

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What both clips were made for.
    pub caption: String,
    /// The sound that was offered first; empty where an exported clip has none.
    pub audio_a: String,
    /// The other one.
    pub audio_b: String,
    /// What was said.
    pub outcome: String,
    /// Who said it.
    pub listener: String,
    /// Confidence in it.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// By how much the winner's score should exceed the loser's.
    #[serde(default)]
    pub margin: Option<f64>,
    /// Whether a was listened to.
    #[serde(default)]
    pub heard_a: Option<bool>,
    /// Whether b was listened to.
    #[serde(default)]
    pub heard_b: Option<bool>,
    /// `human` or `simulated:POPULATION`.
    #[serde(default)]
    pub source: Option<String>,
    /// Who made a.
    #[serde(default)]
    pub system_a: Option<String>,
    /// Who made b.
    #[serde(default)]
    pub system_b: Option<String>,
}

/// The columns, in the order in which they are written.
pub const COLUMNS: [&str; 12] = [
    "caption",
    "audio_a",
    "audio_b",
    "outcome",
    "listener",
    "confidence",
    "margin",
    "heard_a",
    "heard_b",
    "source",
    "system_a",
    "system_b",
];

/// Those that must be there.
const NEEDED: usize = 5;

/// What a line of a table came to: a row, or why it is none.
pub type Line = (u64, std::result::Result<Row, String>);

/// Forms of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Form {
    /// By the file's ending.
    ///
    /// # Errors
    /// [`Error::File`] for another ending than `.csv`, `.jsonl` and `.ndjson`.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ => Err(Error::File {
                path: path.into(),
                expected: "a table named .csv or .jsonl".into(),
                got: ending.map_or("no ending".into(), |ending| format!(".{ending}")),
            }),
        }
    }

    /// The lines of a table, each with its number; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::File`] for a CSV header that lacks a column or has one too many. A bad line is no error here.
    pub fn parse(self, text: &str, path: &Path) -> Result<Vec<Line>> {
        match self {
            Self::Csv => parse_csv(text, path),
            Self::Jsonl => Ok(parse_jsonl(text)),
        }
    }

    /// A table of rows.
    ///
    /// # Errors
    /// [`Error::Config`] for what the form cannot hold.
    pub fn write(self, rows: &[Row]) -> Result<String> {
        let unwritable = |error: String| Error::config("table", "text that a table can hold", error);
        match self {
            Self::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
                writer.write_record(COLUMNS).map_err(|error| unwritable(error.to_string()))?;
                for row in rows {
                    writer.serialize(row).map_err(|error| unwritable(error.to_string()))?;
                }
                let bytes = writer.into_inner().map_err(|error| unwritable(error.to_string()))?;
                String::from_utf8(bytes).map_err(|error| unwritable(error.to_string()))
            }
            Self::Jsonl => {
                let mut text = String::new();
                for row in rows {
                    text += &serde_json::to_string(row).map_err(|error| unwritable(error.to_string()))?;
                    text.push('\n');
                }
                Ok(text)
            }
        }
    }
}

fn parse_csv(text: &str, path: &Path) -> Result<Vec<Line>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let wrong = |expected: String, got: String| Error::File { path: path.into(), expected, got };
    let header = reader.headers().map_err(|error| wrong("a header".into(), error.to_string()))?.clone();
    for (index, column) in header.iter().enumerate() {
        if !COLUMNS.contains(&column) {
            let near = nearest(column, COLUMNS).map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            return Err(wrong(format!("the columns {}", COLUMNS.join(", ")), format!("a column `{column}`{near}")));
        }
        if header.iter().take(index).any(|other| other == column) {
            return Err(wrong("each column once".into(), format!("`{column}` twice")));
        }
    }
    for needed in &COLUMNS[..NEEDED] {
        if !header.iter().any(|column| column == *needed) {
            let got = header.iter().collect::<Vec<_>>().join(", ");
            return Err(wrong(format!("a column `{needed}`"), format!("the columns {got}")));
        }
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                let row = if record.len() == header.len() {
                    record.deserialize(Some(&header)).map_err(|error| error.to_string())
                } else {
                    Err(format!("{} fields where the header has {}", record.len(), header.len()))
                };
                lines.push((line, row));
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                lines.push((line, Err(error.to_string())));
            }
        }
    }
    Ok(lines)
}

fn parse_jsonl(text: &str) -> Vec<Line> {
    let lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    lines
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| (number, serde_json::from_str(line).map_err(|error| error.to_string())))
        .collect()
}

impl Row {
    /// What was said.
    ///
    /// # Errors
    /// For a word that is no outcome.
    pub fn outcome(&self) -> std::result::Result<Outcome, String> {
        let known = [Outcome::BetterA, Outcome::BetterB, Outcome::Tie, Outcome::BothBad, Outcome::Skipped];
        match self.outcome.trim() {
            "a" => Ok(Outcome::BetterA),
            "b" => Ok(Outcome::BetterB),
            word => known
                .into_iter()
                .find(|outcome| outcome_name(*outcome) == word)
                .ok_or_else(|| format!("`outcome` must be {}, got {word:?}", known.map(outcome_name).join(", "))),
        }
    }

    /// Who judged.
    ///
    /// # Errors
    /// For what is neither people nor simulated.
    pub fn source(&self) -> std::result::Result<Source, String> {
        match self.source.as_deref().map(str::trim) {
            None | Some("" | "human") => Ok(Source::Human),
            Some(text) => match text.strip_prefix("simulated:").filter(|population| !population.is_empty()) {
                Some(population) => Ok(Source::Simulated { population: population.into() }),
                None => Err(format!("`source` must be human or simulated:POPULATION, got {text:?}")),
            },
        }
    }

    /// With outcome and source as tables write them.
    #[must_use]
    pub fn said(self, outcome: Outcome, source: &Source) -> Self {
        Self { outcome: outcome_name(outcome).into(), source: Some(source_name(source)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let row = Row {
            caption: "a waltz, \"slow\"\nand soft".into(),
            audio_a: "a.wav".into(),
            audio_b: "b, c.wav".into(),
            listener: "anna".into(),
            confidence: Some(0.1),
            heard_b: Some(false),
            ..Row::default()
        };
        row.said(Outcome::BothBad, &Source::Simulated { population: "village".into() })
    }

    #[test]
    fn both_forms_keep_every_field() {
        for form in [Form::Csv, Form::Jsonl] {
            let rows = [row(), Row { confidence: None, heard_b: None, ..row() }];
            let text = form.write(&rows).unwrap();
            let read = form.parse(&text, Path::new("t")).unwrap();
            assert_eq!(read.into_iter().map(|(_, row)| row.unwrap()).collect::<Vec<_>>(), rows, "{text}");
        }
        assert_eq!(row().outcome(), Ok(Outcome::BothBad));
        assert_eq!(row().source(), Ok(Source::Simulated { population: "village".into() }));
    }

    #[test]
    fn columns_come_in_any_order_and_are_needed() {
        let parse = |text: &str| Form::Csv.parse(text, Path::new("t.csv"));
        let lines = parse("listener,outcome,audio_b,audio_a,caption\nanna, a ,b.wav,a.wav,\"x\"\n").unwrap();
        let row = lines[0].1.clone().unwrap();
        assert_eq!((lines[0].0, row.outcome(), row.source()), (2, Ok(Outcome::BetterA), Ok(Source::Human)));
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("caption,audio_a,audio_b,outcome\n").contains("`listener`"));
        assert!(error("caption,audio_a,audio_b,outcome,listner\n").contains("did you mean `listener`"));
        assert!(error("caption,caption\n").contains("twice"));
        assert!(error("").contains("`caption`"));
    }

    #[test]
    fn bad_lines_are_numbered_and_the_others_stay() {
        let text =
            "caption,audio_a,audio_b,outcome,listener,confidence\nx,a,b,a,l,1\nx,a,b\nx,a,b,a,l,much\nx,a,b,tie,l,\n";
        let lines = Form::Csv.parse(text, Path::new("t.csv")).unwrap();
        let bad: Vec<u64> = lines.iter().filter(|(_, row)| row.is_err()).map(|(line, _)| *line).collect();
        assert_eq!((lines.len(), bad), (4, vec![3, 4]));
        let text =
            "{}\n\n{\"caption\":\"x\",\"audio_a\":\"a\",\"audio_b\":\"b\",\"outcome\":\"b\",\"listener\":\"l\"}\n[\n";
        let lines = Form::Jsonl.parse(text, Path::new("t.jsonl")).unwrap();
        let states: Vec<(u64, bool)> = lines.iter().map(|(line, row)| (*line, row.is_ok())).collect();
        assert_eq!(states, [(1, false), (3, true), (4, false)]);
    }

    #[test]
    fn unknown_words_are_refused() {
        let row = |outcome: &str, source: &str| Row { outcome: outcome.into(), source: Some(source.into()), ..row() };
        assert!(row("better", "human").outcome().unwrap_err().contains("better-a"));
        for source in ["people", "simulated", "simulated:"] {
            assert!(row("a", source).source().is_err(), "{source}");
        }
        assert!(Form::of(Path::new("x.CSV")).is_ok() && Form::of(Path::new("x.txt")).is_err());
    }
}
