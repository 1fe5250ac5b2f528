//! Numbers of an `evaluation.json`, by the names of systems and measures.

use std::path::Path;

use musicrl_core::stats::Interval;

use crate::{
    Error, Result,
    evaluate::{EVALUATION_FILE, Evaluation, measures::MeasureReport, panel_report::PairReport},
};

/// Reads the evaluation in folder `dir`.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] for a file that is none.
pub fn read_evaluation(dir: &Path) -> Result<Evaluation> {
    let path = dir.join(EVALUATION_FILE);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::File {
        path,
        expected: "an evaluation of this version".into(),
        got: error.to_string(),
    })
}

/// The same interval of the number with its sign changed.
pub(super) fn negated(interval: &Interval) -> Interval {
    // Not a mere minus: the 0 of two equal systems would get one.
    let [estimate, low, high] = [interval.estimate, interval.high, interval.low].map(|value| 0.0 - value);
    Interval { estimate, low, high, standard_error: interval.standard_error }
}

fn measure<'a>(evaluation: &'a Evaluation, name: &str) -> Option<&'a MeasureReport> {
    evaluation.listening.as_ref()?.measures.iter().find(|measure| measure.name == name)
}

/// Mean of a measure over a system's clips.
pub(super) fn mean_of(evaluation: &Evaluation, name: &str, system: &str) -> Option<Interval> {
    measure(evaluation, name)?.systems.iter().find(|score| score.system == system)?.mean
}

/// Mean difference of `a` less `b` by a measure, clip by clip.
pub(super) fn difference_of(evaluation: &Evaluation, name: &str, a: &str, b: &str) -> Option<Interval> {
    let pairs = &measure(evaluation, name)?.pairs;
    let found =
        |a: &str, b: &str| pairs.iter().find(|pair| pair.a == a && pair.b == b).and_then(|pair| pair.difference);
    found(a, b).or_else(|| found(b, a).as_ref().map(negated))
}

/// Win rate of `a` over `b` by the first panel, and how many comparisons tied of how many.
pub(super) fn win_rate_of(evaluation: &Evaluation, a: &str, b: &str) -> Option<(Option<Interval>, u64, u64)> {
    let pairs = &evaluation.panels.first()?.pairs;
    let counts = |pair: &PairReport| (pair.tally.ties, pair.tally.wins + pair.tally.ties + pair.tally.losses);
    if let Some(pair) = pairs.iter().find(|pair| pair.a == a && pair.b == b) {
        let (ties, all) = counts(pair);
        return Some((pair.win_rate, ties, all));
    }
    let pair = pairs.iter().find(|pair| pair.a == b && pair.b == a)?;
    let (ties, all) = counts(pair);
    let turned = pair.win_rate.as_ref().map(|rate| {
        let less = negated(rate);
        Interval { estimate: 1.0 + less.estimate, low: 1.0 + less.low, high: 1.0 + less.high, ..less }
    });
    Some((turned, ties, all))
}

/// "+0.123 [+0.045, +0.201]", of a difference, or a dash.
pub(super) fn in_words(interval: Option<&Interval>, factor: f64, decimals: usize) -> String {
    interval.map_or_else(
        || "-".into(),
        |interval| {
            let [estimate, low, high] = [interval.estimate, interval.low, interval.high].map(|value| factor * value);
            format!("{estimate:+.decimals$} [{low:+.decimals$}, {high:+.decimals$}]")
        },
    )
}

/// "2.902 [2.826, 2.976]", of a score, or a dash.
pub(super) fn plain(score: Option<&Interval>) -> String {
    score.map_or_else(|| "-".into(), |score| format!("{:.3} [{:.3}, {:.3}]", score.estimate, score.low, score.high))
}

/// "88 [75, 100]", of a share, or a dash.
pub(super) fn percent(share: Option<&Interval>) -> String {
    share.map_or_else(
        || "-".into(),
        |share| format!("{:.0} [{:.0}, {:.0}]", 100.0 * share.estimate, 100.0 * share.low, 100.0 * share.high),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use musicrl_feedback::Source;

    use super::*;
    use crate::evaluate::{PanelRatings, Rating, RatingsInput, StatisticsSettings, evaluate_ratings};

    /// Systems that are rated so much each, by one listener on eight prompts.
    pub(crate) fn rated(population: &str, systems: &[(&str, f64)]) -> Evaluation {
        let rating = |system, prompt, rating| Rating { system, prompt, take: 0, rater: "x".into(), rating };
        let ratings = (0..8).flat_map(|prompt| {
            systems.iter().enumerate().map(move |(at, (_, value))| {
                // One prompt goes the other way round.
                rating(at, prompt, if prompt == 7 { 6.0 - value } else { *value })
            })
        });
        let source = Source::Simulated { population: population.into() };
        let input = RatingsInput {
            systems: systems.iter().map(|(name, _)| (name.to_string(), None)).collect(),
            prompts: (0..8).map(|at| format!("prompt {at}")).collect(),
            panels: vec![PanelRatings { source, ratings: ratings.collect() }],
            unfilled: 0,
            play: None,
        };
        evaluate_ratings(&input, &StatisticsSettings::default(), 1).unwrap()
    }

    #[test]
    fn rates_are_turned_round_with_their_systems() {
        let evaluation = rated("town", &[("base", 2.0), ("u", 4.0)]);
        let (rate, ties, all) = win_rate_of(&evaluation, "u", "base").unwrap();
        let other = win_rate_of(&evaluation, "base", "u").unwrap().0.unwrap();
        let rate = rate.unwrap();
        assert_eq!((rate.estimate, ties, all), (0.875, 0, 8));
        assert!((rate.estimate + other.estimate - 1.0).abs() < 1e-12 && (rate.low + other.high - 1.0).abs() < 1e-12);
        assert!(rate.low <= rate.estimate && rate.estimate <= rate.high);
        assert!(win_rate_of(&evaluation, "u", "r").is_none());
        assert!(mean_of(&evaluation, "text_adherence", "u").is_none());
    }

    #[test]
    fn an_evaluation_that_is_none_is_named() {
        let temp = tempfile::tempdir().unwrap();
        assert!(read_evaluation(temp.path()).unwrap_err().to_string().contains(EVALUATION_FILE));
        rated("town", &[("a", 2.0), ("b", 4.0)]).write(temp.path()).unwrap();
        assert_eq!(read_evaluation(temp.path()).unwrap().systems.len(), 2);
        std::fs::write(temp.path().join(EVALUATION_FILE), "{}").unwrap();
        assert!(read_evaluation(temp.path()).unwrap_err().to_string().contains("an evaluation of this version"));
    }
}
