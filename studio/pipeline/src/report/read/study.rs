//! Accuracy of reward models: curves of a study, by epoch or by pairs, or of one training.

use std::path::Path;

use serde::Deserialize;

use super::evaluation::{Raters, SourceView};
use crate::{
    Error, Result,
    run::{Kind, Record},
    study::Figures,
};

/// A curve as `study.json` and `personal.json` have it: the files are lists of these.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurveOfFile {
    name: String,
    /// Its name in the command that made it; the page shows the other.
    #[serde(default, rename = "variant")]
    _variant: Option<String>,
    points: Vec<PointOfFile>,
    /// Who chose, as preference sets write it; unknown where it is left out.
    #[serde(default)]
    source: Option<SourceView>,
    /// What was measured at the last point.
    #[serde(default)]
    figures: Option<Figures>,
}

/// A measurement as the files have it: by epoch or by pairs.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointOfFile {
    #[serde(default)]
    epoch: Option<f64>,
    #[serde(default)]
    pairs: Option<f64>,
    accuracy: f64,
    #[serde(default)]
    low: Option<f64>,
    #[serde(default)]
    high: Option<f64>,
}

/// What accuracy is drawn against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Times that every pair to learn from has been seen: `study.json`.
    Epochs,
    /// Pairs to learn from: `personal.json`.
    Pairs,
}

impl Against {
    fn key(self) -> &'static str {
        match self {
            Self::Epochs => "epoch",
            Self::Pairs => "pairs",
        }
    }

    fn of(self, point: &PointOfFile) -> Option<AccuracyPoint> {
        let (x, other) = match self {
            Self::Epochs => (point.epoch, point.pairs),
            Self::Pairs => (point.pairs, point.epoch),
        };
        let PointOfFile { accuracy, low, high, .. } = *point;
        if other.is_some() { None } else { Some(AccuracyPoint { at: x?, accuracy, low, high }) }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct AccuracyPoint {
    /// Epochs or pairs.
    pub at: f64,
    /// Share of the decided held-out pairs whose preferred clip has the higher score, from 0 to 1.
    pub accuracy: f64,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
}

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct AccuracyCurve {
    /// What was varied.
    pub name: String,
    /// In ascending order of the epochs or pairs.
    pub points: Vec<AccuracyPoint>,
    /// Who chose.
    pub raters: Raters,
    /// What a study measured at the last point.
    pub figures: Option<Figures>,
}

impl AccuracyCurve {
    /// The curves of a study.
    ///
    /// # Errors
    /// [`Error::Parse`] with the line for another form; [`Error::Io`].
    pub fn read_study(path: &Path, against: Against) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let key = against.key();
        let wrong = |line: usize, error: &dyn std::fmt::Display| Error::Parse {
            path: path.into(),
            line,
            reason: format!("expected a list of {{name, points: [{{{key}, accuracy, low, high}}]}}: {error}"),
        };
        let curves: Vec<CurveOfFile> = serde_json::from_str(&text).map_err(|error| wrong(error.line(), &error))?;
        let curve = |curve: CurveOfFile| {
            let points: Option<Vec<AccuracyPoint>> = curve.points.iter().map(|point| against.of(point)).collect();
            let mut points = points
                .ok_or_else(|| wrong(0, &format!("`{}` has a point without `{key}` or with more", curve.name)))?;
            points.sort_by(|a, b| a.at.total_cmp(&b.at));
            let raters = curve.source.map_or(Raters::Unknown, |source| Raters::of(&source));
            Ok(Self { name: curve.name, points, raters, figures: curve.figures })
        };
        curves.into_iter().map(curve).collect()
    }

    /// The evaluations of a training that hold an accuracy; by step where they do not say the epoch. `None` when there
    /// are none.
    pub fn of_records(name: &str, records: &[Record], raters: Raters) -> Option<Self> {
        let point = |record: &Record| {
            let metric = |name: &str| record.metrics.get(name).filter(|value| value.is_finite());
            Some(AccuracyPoint {
                at: metric("epoch").unwrap_or(record.step as f64),
                accuracy: metric("accuracy")?,
                low: metric("accuracy_low"),
                high: metric("accuracy_high"),
            })
        };
        let evaluations = records.iter().filter(|record| record.kind == Kind::Evaluation);
        let points: Vec<AccuracyPoint> = evaluations.filter_map(point).collect();
        (!points.is_empty()).then(|| Self { name: name.into(), points, raters, figures: None })
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
        let curves = AccuracyCurve::read_study(&path, Against::Epochs).unwrap();
        assert_eq!((curves[0].points[0].at, curves[0].points[1].low), (1.0, Some(0.5)));
        assert_eq!(curves[0].raters, Raters::Simulated("town".into()));
        std::fs::write(&path, text.replace("accuracy", "acuracy")).unwrap();
        let error = AccuracyCurve::read_study(&path, Against::Epochs).unwrap_err().to_string();
        assert!(error.contains("study.json:1") && error.contains("acuracy"), "{error}");
        // By pairs is another file's form, and figures are read strictly, too.
        let refused = |text: String, against| {
            std::fs::write(&path, text).unwrap();
            AccuracyCurve::read_study(&path, against).unwrap_err().to_string()
        };
        assert!(refused(text.into(), Against::Pairs).contains("without `pairs`"));
        assert!(refused(text.replace("epoch", "pairs"), Against::Epochs).contains("without `epoch`"));
        let figures = r#""figures": {"pairs": 9, "decided": 8, "clusters": 3, "celing": 0.7}, "source""#;
        assert!(refused(text.replace("\"source\"", figures), Against::Epochs).contains("celing"));
        let good = text.replace("\"source\"", &figures.replace("celing", "ceiling"));
        std::fs::write(&path, good).unwrap();
        let curves = AccuracyCurve::read_study(&path, Against::Epochs).unwrap();
        assert_eq!(curves[0].figures.as_ref().unwrap().ceiling, Some(0.7));
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
        let expected = AccuracyPoint { at: 0.5, accuracy: 0.6, low: Some(0.5), high: None };
        assert_eq!(curve.points, [expected]);
        assert!(AccuracyCurve::of_records("p", &records[..1], Raters::Unknown).is_none());
    }
}
