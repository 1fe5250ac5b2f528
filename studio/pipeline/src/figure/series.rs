//! Measured numbers by step, and their moving mean.

use super::is_drawable;
use crate::run::{Kind, Record};

/// Points in the order in which they are drawn; only drawable ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    points: Vec<(f64, f64)>,
}

/// The mean of the points near one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrendPoint {
    /// Where.
    pub x: f64,
    /// Mean of the window.
    pub mean: f64,
    /// Standard error of that mean; `None` of a single point.
    pub standard_error: Option<f64>,
}

/// A moving mean.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    /// One point for each of the series.
    pub points: Vec<TrendPoint>,
}

impl Series {
    /// Points (x, y); those that cannot be drawn are left out.
    #[must_use]
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().filter(|(x, y)| is_drawable(*x) && is_drawable(*y)).collect();
        Self { points }
    }

    /// A training metric by step.
    #[must_use]
    pub fn of_metric(records: &[Record], name: &str) -> Self {
        let training = records.iter().filter(|record| record.kind == Kind::Train);
        Self::new(training.filter_map(|record| Some((record.step as f64, record.metrics.get(name)?))))
    }

    /// The points.
    #[must_use]
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The numbers, without their places.
    pub fn ys(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, y)| *y)
    }

    /// The series with every number divided by `whole`, in percent; empty when that is no number.
    #[must_use]
    pub fn percent_of(&self, whole: f64) -> Self {
        Self::new(self.points.iter().map(|(x, y)| (*x, 100.0 * y / whole)))
    }

    /// The mean of the `window` points around each point (of those that there are, near the ends), with its standard error
    /// `s / sqrt(n)`, where `s` is the standard deviation (of n - 1) inside the window. It takes the points for independent,
    /// and a slope inside the window widens it.
    #[must_use]
    pub fn trend(&self, window: usize) -> Trend {
        let reach = window / 2;
        let of = |(at, (x, _)): (usize, &(f64, f64))| {
            let near = &self.points[at.saturating_sub(reach)..(at + reach + 1).min(self.points.len())];
            let count = near.len() as f64;
            let mean = near.iter().map(|(_, y)| y / count).sum::<f64>();
            let squares: f64 = near.iter().map(|(_, y)| (y - mean) * (y - mean)).sum();
            let standard_error = (near.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
            TrendPoint { x: *x, mean, standard_error }
        };
        Trend { points: self.points.iter().enumerate().map(of).collect() }
    }
}

impl Trend {
    /// A window for a run of so many points: a tenth of them, from 5 to 101, odd.
    #[must_use]
    pub fn window(points: usize) -> usize {
        (points / 10).clamp(5, 101) | 1
    }

    /// Means and the ends of their bands.
    pub fn ys(&self) -> impl Iterator<Item = f64> {
        self.points.iter().flat_map(|point| {
            let error = point.standard_error.unwrap_or(0.0);
            [point.mean - error, point.mean + error]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Metrics;

    #[test]
    fn means_and_errors_by_hand() {
        let series = Series::new([(1.0, 1.0), (2.0, f64::NAN), (3.0, 3.0), (4.0, 8.0), (5.0, 4.0)]);
        assert_eq!(series.points().len(), 4);
        let trend = series.trend(3);
        let second = trend.points[1];
        assert_eq!((second.x, second.mean), (3.0, 4.0));
        // Deviations -3, -1, 4: variance 13, over 3.
        assert!((second.standard_error.unwrap() - (13.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        // At the end, the last two.
        let last = trend.points[3];
        assert_eq!((last.mean, last.standard_error), (6.0, Some(2.0)));
        let single = Series::new([(1.0, 7.0)]).trend(5);
        assert_eq!(single.points, [TrendPoint { x: 1.0, mean: 7.0, standard_error: None }]);
        assert!(Series::default().trend(5).points.is_empty());
    }

    #[test]
    fn windows_are_odd_and_bounded() {
        for (points, window) in [(0, 5), (60, 7), (140, 15), (10_000, 101)] {
            assert_eq!(Trend::window(points), window);
        }
    }

    #[test]
    fn training_metrics_only() {
        let record = |step, kind, value| Record { step, kind, metrics: Metrics(vec![("reward".into(), value)]) };
        let records =
            [record(0, Kind::Evaluation, 9.0), record(1, Kind::Train, 0.5), record(2, Kind::Train, f64::INFINITY)];
        assert_eq!(Series::of_metric(&records, "reward").points(), [(1.0, 0.5)]);
        assert!(Series::of_metric(&records, "kl").points().is_empty());
        assert_eq!(Series::of_metric(&records, "reward").percent_of(2.0).points(), [(1.0, 25.0)]);
        assert!(Series::of_metric(&records, "reward").percent_of(0.0).points().is_empty());
    }
}
