//! `study.json` and `personal.json`: lists of curves, which the report reads; and JSON files in one piece.

use std::{fs, io, path::Path};

use musicrl_codec::write::write_atomic;
use musicrl_feedback::{PreferenceSet, Source};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::figures::Figures;
use crate::{Error, Result, preference::DataConfig};

/// The curves of a study, accuracy by epoch.
pub const STUDY_FILE: &str = "study.json";

/// The curves of personal reward models, accuracy by pairs.
pub const PERSONAL_FILE: &str = "personal.json";

/// One measurement of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Times that every pair to learn from has been seen; in `personal.json` this key is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<f64>,
    /// Pairs of the listener that were learned from; in `study.json` this key is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<f64>,
    /// Share of decided held-out pairs whose preferred clip has the higher score.
    pub accuracy: f64,
    /// Lower end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// What was varied, in words.
    pub name: String,
    /// Its name in flags and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// In ascending order.
    pub points: Vec<CurvePoint>,
    /// Who chose; unknown where several kinds did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What was measured at the last point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

/// The source of all judgements that are taken, if they have one in common.
pub(super) fn source_of(set: &PreferenceSet, taken: &DataConfig) -> Option<Source> {
    let mut sources = set.judgements().iter().filter(|judgement| taken.takes(judgement)).map(|it| &it.source);
    let first = sources.next()?;
    sources.all(|source| source == first).then(|| first.clone())
}

/// Writes a value as JSON, aside and then renamed.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::config(path.display().to_string(), "writable as JSON", error))?;
    Ok(write_atomic(path, &bytes)?)
}

/// Reads one; `None` where the file is not there.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::File {
        path: path.into(),
        expected: expected.into(),
        got: format!("{error} (delete it to make it again)"),
    })
}
