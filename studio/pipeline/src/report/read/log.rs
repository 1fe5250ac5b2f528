//! A `metrics.jsonl` that may still be written, or was cut off.

use std::{fs, io, path::Path};

use crate::{Error, Result, run::Record};

/// The whole records of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::report) struct Log {
    /// In the order of the file.
    pub records: Vec<Record>,
    /// What was wrong with the file.
    pub note: Option<String>,
}

impl Log {
    /// Reads `path`; a file that is not there is an empty log. Records behind a line that is none are left out, and the
    /// log says so: after a broken line nothing is known to be of this run.
    ///
    /// # Errors
    /// [`Error::File`] for a file without a single record, [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let records: Vec<Record> = lines.iter().map_while(|line| Record::parse(line)).collect();
        let (read, left) = (records.len(), lines.len() - records.len());
        if read == 0 && left > 1 {
            let expected = "one record a line ({\"step\": ..., \"train\" or \"evaluation\": {...}})".into();
            let first: String = lines[0].chars().take(60).collect();
            return Err(Error::File { path: path.into(), expected, got: format!("{first:?}") });
        }
        let note = match left {
            0 => None,
            1 => Some(format!("{}: line {} is cut off; the {read} before it are shown", path.display(), read + 1)),
            _ => Some(format!(
                "{}: line {} is no record; it and the {} after it are left out",
                path.display(),
                read + 1,
                left - 1
            )),
        };
        Ok(Self { records, note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_read_and_the_rest_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("metrics.jsonl");
        assert_eq!(Log::read(&path).unwrap(), Log::default());
        let line = |step: u64| format!("{{\"step\":{step},\"train\":{{\"reward\":0.5}}}}\n");
        let check = |text: String, records: usize, note: Option<&str>| {
            fs::write(&path, text).unwrap();
            let log = Log::read(&path).unwrap();
            assert_eq!(log.records.len(), records);
            let said = log.note.unwrap_or_default();
            assert!(note.map_or(said.is_empty(), |note| said.contains(note)), "{said}");
        };
        check(line(1) + &line(2), 2, None);
        check(line(1) + "{\"step\":2,\"tra", 1, Some("line 2 is cut off"));
        check(line(1) + "?\n" + &line(3) + &line(4), 1, Some("line 2 is no record; it and the 2 after"));
        fs::write(&path, b"RIFF\xff\n\nWAVE\n").unwrap();
        let error = Log::read(&path).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl") && error.contains("one record a line"), "{error}");
    }
}
