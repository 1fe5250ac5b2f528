//! Accuracy of reward models by epoch: curves of a study, or of one training.

use std::path::Path;

use serde::Deserialize;

use super::evaluation::{Raters, SourceView};
use crate::{
    Error, Result,
    run::{Kind, Record},
};

/// A curve as `study.json` has it: the file is a list of these.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurveOfFile {
    name: String,
    points: Vec<AccuracyPoint>,
    /// Who chose, as preference sets write it; unknown where it is left out.
    #[serde(default)]
    source: Option<SourceView>,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::report) struct AccuracyPoint {
    /// Times that every training pair has been seen.
    pub epoch: f64,
    /// Share of the decided held-out pairs whose preferred clip has the higher score, from 0 to 1.
    pub accuracy: f64,
    /// Lower end of its interval.
    #[serde(default)]
    pub low: Option<f64>,
    /// Upper end of its interval.
    #[serde(default)]
    pub high: Option<f64>,
}

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct AccuracyCurve {
    /// What was varied.
    pub name: String,
    /// In ascending order of the epochs.
    pub points: Vec<AccuracyPoint>,
    /// Who chose.
    pub raters: Raters,
}

impl AccuracyCurve {
    /// The curves of a study.
    ///
    /// # Errors
    /// [`Error::Parse`] with the line for another form; [`Error::Io`].
    pub fn read_study(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let curves: Vec<CurveOfFile> = serde_json::from_str(&text).map_err(|error| Error::Parse {
            path: path.into(),
            line: error.line(),
            reason: format!("expected a list of {{name, points: [{{epoch, accuracy, low, high}}]}}: {error}"),
        })?;
        let curve = |mut curve: CurveOfFile| {
            curve.points.sort_by(|a, b| a.epoch.total_cmp(&b.epoch));
            let raters = curve.source.map_or(Raters::Unknown, |source| Raters::of(&source));
            Self { name: curve.name, points: curve.points, raters }
        };
        Ok(curves.into_iter().map(curve).collect())
    }

    /// The evaluations of a training that hold an accuracy; by step where they do not say the epoch. `None` when there
    /// are none.
    pub fn of_records(name: &str, records: &[Record], raters: Raters) -> Option<Self> {
        let point = |record: &Record| {
            let metric = |name: &str| record.metrics.get(name).filter(|value| value.is_finite());
            Some(AccuracyPoint {
                epoch: metric("epoch").unwrap_or(record.step as f64),
                accuracy: metric("accuracy")?,
                low: metric("accuracy_low"),
                high: metric("accuracy_high"),
            })
        };
        let evaluations = records.iter().filter(|record| record.kind == Kind::Evaluation);
        let points: Vec<AccuracyPoint> = evaluations.filter_map(point).collect();
        (!points.is_empty()).then(|| Self { name: name.into(), points, raters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Metrics;

    #[test]
    fn a_study_is_read_and_a_wrong_one_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("study.json");
        let text = r#"[{"name": "10 s", "points": [{"epoch": 2, "accuracy": 0.6, "low": 0.5, "high": 0.7},
            {"epoch": 1, "accuracy": 0.5}], "source": {"kind": "simulated", "population": "town"}}]"#;
        std::fs::write(&path, text).unwrap();
        let curves = AccuracyCurve::read_study(&path).unwrap();
        assert_eq!((curves[0].points[0].epoch, curves[0].points[1].low), (1.0, Some(0.5)));
        assert_eq!(curves[0].raters, Raters::Simulated("town".into()));
        std::fs::write(&path, text.replace("accuracy", "acuracy")).unwrap();
        let error = AccuracyCurve::read_study(&path).unwrap_err().to_string();
        assert!(error.contains("study.json:1") && error.contains("acuracy"), "{error}");
    }

    #[test]
    fn a_training_has_points_where_it_was_evaluated() {
        let record = |step, kind, metrics: &[(&str, f64)]| Record {
            step,
            kind,
            metrics: Metrics(metrics.iter().map(|(name, value)| ((*name).into(), *value)).collect()),
        };
        let records = [
            record(1, Kind::Train, &[("accuracy", 0.9)]),
            record(2, Kind::Evaluation, &[("accuracy", 0.6), ("epoch", 0.5), ("accuracy_low", 0.5)]),
            record(4, Kind::Evaluation, &[("accuracy", f64::NAN)]),
        ];
        let curve = AccuracyCurve::of_records("p", &records, Raters::Unknown).unwrap();
        let expected = AccuracyPoint { epoch: 0.5, accuracy: 0.6, low: Some(0.5), high: None };
        assert_eq!(curve.points, [expected]);
        assert!(AccuracyCurve::of_records("p", &records[..1], Raters::Unknown).is_none());
    }
}
