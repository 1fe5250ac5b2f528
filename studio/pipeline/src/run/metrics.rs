//! `metrics.jsonl`: one line a step and one an evaluation, the same bytes for the same run.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{Error, Result, training::Metrics};

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a training step reported.
    Train,
    /// What an evaluation measured.
    Evaluation,
}

impl Kind {
    /// Its key in `metrics.jsonl` and the folder of its tags in TensorBoard.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Evaluation => "evaluation",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Steps done when it was written (a training step counts itself).
    pub step: u64,
    /// What the line tells.
    pub kind: Kind,
    /// The numbers, in the order of the training.
    pub metrics: Metrics,
}

impl Record {
    /// The line, without its end. Numbers have their shortest exact form; one that is not finite is `null`.
    #[must_use]
    pub fn to_line(&self) -> String {
        let string = |text: &str| serde_json::Value::from(text).to_string();
        let pair = |(name, value): &(String, f64)| format!("{}:{}", string(name), serde_json::Value::from(*value));
        let pairs: Vec<String> = self.metrics.0.iter().map(pair).collect();
        format!("{{\"step\":{},\"{}\":{{{}}}}}", self.step, self.kind.key(), pairs.join(","))
    }

    /// The record of a line; `None` when it is none of ours, for instance cut.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let Line { step, train, evaluation } = serde_json::from_str(line).ok()?;
        let (kind, numbers) = match (train, evaluation) {
            (Some(numbers), None) => (Kind::Train, numbers),
            (None, Some(numbers)) => (Kind::Evaluation, numbers),
            _ => return None,
        };
        Some(Self { step, kind, metrics: Metrics(numbers.0) })
    }
}

#[derive(Deserialize)]
struct Line {
    step: u64,
    train: Option<Numbers>,
    evaluation: Option<Numbers>,
}

/// A JSON object of numbers in the order of the file; `null` is NaN.
struct Numbers(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Numbers, A::Error> {
                let mut numbers = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Option<f64>>()? {
                    numbers.push((name, value.unwrap_or(f64::NAN)));
                }
                Ok(Numbers(numbers))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// All whole records of a `metrics.jsonl`, up to the first line that is none.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read.
pub fn read_metrics(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    Ok(text.lines().map_while(Record::parse).collect())
}

/// The writer of `metrics.jsonl` (and of `timings.jsonl`, which has the same form).
#[derive(Debug)]
pub struct MetricsLog {
    file: File,
    path: PathBuf,
}

impl MetricsLog {
    /// Opens `path` for appending after the last line of step `keep`; what came later is cut off. With `None`
    /// everything is.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, cut or created.
    pub fn open(path: PathBuf, keep: Option<u64>) -> Result<Self> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let length = keep.map_or(Ok(0), |step| kept_bytes(&file, step))?;
            file.set_len(length)?;
            file.seek(io::SeekFrom::Start(length))?;
            Ok(file)
        };
        let file = open().map_err(Error::io("open", &path))?;
        Ok(Self { file, path })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let line = record.to_line() + "\n";
        // One write call a line: a kill leaves whole lines, or one cut line that the next start removes.
        self.file.write_all(line.as_bytes()).map_err(Error::io("write", &self.path))
    }

    /// Returns once all lines are on the medium.
    ///
    /// # Errors
    /// [`Error::Io`] when the system cannot.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }
}

/// Bytes of the leading whole lines whose step is at most `step`.
fn kept_bytes(file: &File, step: u64) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut kept, mut line) = (0, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let record = std::str::from_utf8(&line).ok().and_then(Record::parse);
        if !line.ends_with(b"\n") || record.is_none_or(|record| record.step > step) {
            break;
        }
        kept += line.len() as u64;
        line.clear();
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64, kind: Kind) -> Record {
        let metrics = Metrics(vec![("z".into(), 0.1), ("a \"b\"".into(), -3.0e-9)]);
        Record { step, kind, metrics }
    }

    #[test]
    fn a_line_keeps_order_and_exact_numbers() {
        let line = record(7, Kind::Train).to_line();
        assert_eq!(line, r#"{"step":7,"train":{"z":0.1,"a \"b\"":-3e-9}}"#);
        assert_eq!(Record::parse(&line).unwrap(), record(7, Kind::Train));
        let mut odd = record(0, Kind::Evaluation);
        odd.metrics.push("loss", f64::INFINITY);
        assert!(odd.to_line().ends_with("\"loss\":null}}"));
        assert!(Record::parse(&odd.to_line()).unwrap().metrics.get("loss").unwrap().is_nan());
        assert_eq!(Record::parse(&line[..line.len() - 1]), None);
        assert_eq!(Record::parse(r#"{"step":1}"#), None);
    }

    #[test]
    fn reopening_cuts_later_and_broken_lines() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(path.clone(), None).unwrap();
        let records = [(0, Kind::Evaluation), (1, Kind::Train), (2, Kind::Train), (2, Kind::Evaluation)];
        for (step, kind) in records {
            log.append(&record(step, kind)).unwrap();
        }
        let kept = fs::read(&path).unwrap();
        log.append(&record(3, Kind::Train)).unwrap();
        log.file.write_all(b"{\"step\":4,\"tra").unwrap();
        MetricsLog::open(path.clone(), Some(2)).unwrap().sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), kept);
        assert_eq!(read_metrics(&path).unwrap().len(), 4);
        MetricsLog::open(path.clone(), None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
