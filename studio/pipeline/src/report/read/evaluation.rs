//! `evaluation.json` as the page needs it. Sections that are missing are empty, and keys that nothing here reads are
//! passed over: `spec/evaluation.md` describes the file.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use serde::Deserialize;

use crate::{Error, Result};

/// The format that this code knows.
const FORMAT_VERSION: u32 = 1;

/// All of an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Evaluation {
    /// Layout of the file.
    pub format_version: u32,
    /// What made it.
    pub made_by: Option<MadeBy>,
    /// Seed of all random numbers.
    pub seed: Option<u64>,
    /// Intervals and tests.
    pub statistics: Option<Statistics>,
    /// The systems, in the order that indices mean.
    pub systems: Vec<SystemInfo>,
    /// The prompts.
    pub prompts: Option<Prompts>,
    /// One report a kind of raters.
    pub panels: Vec<Panel>,
    /// Clips that were to be rated and have not been.
    pub unfilled: u64,
    /// What was played and measured.
    pub listening: Option<Listening>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What made the numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct MadeBy {
    /// Version of the program.
    pub musicrl: String,
    /// Version of Burn.
    pub burn: String,
    /// Name of the backend.
    pub backend: String,
}

/// Intervals and tests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Statistics {
    /// Of the intervals.
    pub bootstrap: Bootstrap,
}

/// Of the intervals.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Bootstrap {
    /// How many resamples of prompts.
    pub resamples: Option<u64>,
    /// Share of them that intervals cover.
    pub confidence: Option<f64>,
}

/// A system.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct SystemInfo {
    /// Its name.
    pub name: String,
    /// The bundle's identity.
    pub sha256: Option<String>,
}

/// The prompts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Prompts {
    /// Where they come from.
    pub source: String,
    /// The captions.
    pub captions: Vec<String>,
}

/// Who rated, as preference sets write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct SourceView {
    kind: String,
    population: Option<String>,
}

/// Who rated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::report) enum Raters {
    /// People.
    Human,
    /// Listeners that the program simulates, of a population.
    Simulated(String),
    /// The file does not say; never taken for people.
    #[default]
    Unknown,
}

impl Raters {
    /// Of a file's record.
    pub fn of(source: &SourceView) -> Self {
        match source.kind.as_str() {
            "human" => Self::Human,
            "simulated" => Self::Simulated(source.population.clone().unwrap_or_else(|| "not named".into())),
            _ => Self::Unknown,
        }
    }
}

/// The words of the badge.
impl fmt::Display for Raters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Human => f.write_str("human listeners"),
            Self::Simulated(population) => write!(f, "SIMULATED listeners, population {population}"),
            Self::Unknown => f.write_str("listeners NOT KNOWN to be people"),
        }
    }
}

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Span {
    /// The statistic of the data as they are.
    pub estimate: Option<f64>,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// All that one panel's ratings say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Panel {
    /// Who they are.
    pub source: SourceView,
    /// The same in words.
    pub label: String,
    /// All ratings.
    pub ratings: u64,
    /// Prompts with a rating.
    pub prompts: u64,
    /// Mean rank correlation between raters.
    pub rater_agreement: Option<f64>,
    /// Each system.
    pub systems: Vec<Score>,
    /// Each pair.
    pub pairs: Vec<Pair>,
    /// Bradley-Terry strengths.
    pub leaderboard: Option<Leaderboard>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One system's opinion scores.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Score {
    /// Its name.
    pub system: String,
    /// Ratings that it got.
    pub ratings: u64,
    /// Their mean.
    pub mean_opinion_score: Option<Span>,
    /// Comparisons that it won.
    pub wins: u64,
    /// That tied.
    pub ties: u64,
    /// That it lost.
    pub losses: u64,
}

/// Wins of the first, ties, wins of the second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Tally {
    /// The first was better.
    pub wins: u64,
    /// Neither was.
    pub ties: u64,
    /// The second was better.
    pub losses: u64,
}

/// One pair of systems.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Pair {
    /// First system.
    pub a: String,
    /// Second system.
    pub b: String,
    /// Their comparisons.
    pub tally: Tally,
    /// Prompts with a comparison.
    pub prompts: u64,
    /// Wins over wins and losses of a.
    pub win_rate: Option<Span>,
    /// Mean of a's rating less b's.
    pub mean_difference: Option<Span>,
    /// The test.
    pub signed_rank: Option<SignedRank>,
}

impl Pair {
    /// The same pair seen from the other side.
    pub fn turned(&self) -> Self {
        let turn = |span: Span, of: fn(f64) -> f64| Span {
            estimate: span.estimate.map(of),
            low: span.high.map(of),
            high: span.low.map(of),
        };
        Self {
            a: self.b.clone(),
            b: self.a.clone(),
            tally: Tally { wins: self.tally.losses, ties: self.tally.ties, losses: self.tally.wins },
            prompts: self.prompts,
            win_rate: self.win_rate.map(|span| turn(span, |rate| 1.0 - rate)),
            mean_difference: self.mean_difference.map(|span| turn(span, |difference| -difference)),
            signed_rank: self.signed_rank,
        }
    }
}

/// The signed-rank test of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct SignedRank {
    /// Two-sided.
    pub p_value: Option<f64>,
    /// Corrected for the number of pairs.
    pub p_holm: Option<f64>,
}

/// Bradley-Terry strengths.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Leaderboard {
    /// The strongest first.
    pub rows: Vec<Place>,
    /// Davidson's nu.
    pub tie_strength: Option<f64>,
    /// Games against an imaginary system.
    pub prior_games: f64,
}

/// One system's place.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Place {
    /// Its name.
    pub system: String,
    /// Natural logarithm of its strength.
    pub score: Span,
    /// Share of resamples in which it is the strongest.
    pub best_share: Option<f64>,
}

/// Clips that were played, and what was measured on them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Listening {
    /// The system whose bundle judged.
    pub judge: String,
    /// Level, silence, clipping, copies.
    pub sound: Vec<Sound>,
    /// Rewards as measures.
    pub measures: Vec<Measure>,
    /// Embeddings against a reference.
    pub distribution: Distribution,
}

/// One system's sound.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Sound {
    /// The system.
    pub system: String,
    /// Its clips.
    pub clips: u64,
    /// Mean level in dB of full scale.
    pub mean_rms_db: Option<f64>,
    /// Share of silent clips.
    pub silent_clips: Option<f64>,
    /// Mean share of silent time.
    pub silent_time: Option<f64>,
    /// Share of clips that clip.
    pub clipped_clips: Option<f64>,
    /// Share of clips that differ from those before.
    pub distinct_share: Option<f64>,
}

/// One reward over all systems.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Measure {
    /// The reward's name.
    pub name: String,
    /// Each system.
    pub systems: Vec<MeasureScore>,
    /// Against each panel.
    pub agreement: Vec<Agreement>,
}

/// One system by a measure.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct MeasureScore {
    /// The system.
    pub system: String,
    /// Mean over clips.
    pub mean: Option<Span>,
    /// Clips without a score.
    pub unscorable: u64,
}

/// How often the higher score is the higher rating.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Agreement {
    /// The panel, in words.
    pub panel: String,
    /// Share of decided comparisons.
    pub agreement: Option<f64>,
    /// Those that both have a score.
    pub comparisons: u64,
}

/// Embeddings against a reference.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Distribution {
    /// The reference.
    pub reference: Option<Reference>,
    /// Other clips of the reference's source.
    pub floor: Option<Set>,
    /// Each system.
    pub systems: Vec<Set>,
}

/// The reference set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Reference {
    /// Where it comes from: a map of texts.
    pub source: BTreeMap<String, serde_json::Value>,
    /// Its clips.
    pub clips: u64,
    /// How spread they are.
    pub diversity: Diversity,
}

/// Clips of one source.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Set {
    /// The system, or what else they are.
    pub name: String,
    /// Clips with an embedding.
    pub clips: u64,
    /// Squared Frechet distance.
    pub frechet: Option<f64>,
    /// Squared maximum mean discrepancy.
    pub mmd: Option<Mmd>,
    /// Cosine distances.
    pub diversity: Diversity,
}

/// Squared maximum mean discrepancy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Mmd {
    /// The unbiased estimate.
    pub squared: Option<f64>,
    /// Jackknife standard error.
    pub standard_error: Option<f64>,
    /// Of the permutation test.
    pub p_value: Option<f64>,
}

/// Cosine distances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct Diversity {
    /// Within prompts.
    pub within: Option<f64>,
    /// Between prompts.
    pub between: Option<f64>,
}

impl Evaluation {
    /// Reads `path`; another format version is a note.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Parse`] with the line where a value is of another kind than it should be.
    pub fn read(path: &Path, notes: &mut Vec<String>) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let read: Self = serde_json::from_str(&text).map_err(|error| Error::Parse {
            path: path.into(),
            line: error.line(),
            reason: format!("expected an evaluation (see musicrl evaluate): {error}"),
        })?;
        if read.format_version != FORMAT_VERSION {
            notes.push(format!(
                "{}: format version {} where {FORMAT_VERSION} is known; what could be read is shown",
                path.display(),
                read.format_version
            ));
        }
        Ok(read)
    }

    /// The name of the confidence of its intervals, e.g. "95 %".
    pub fn confidence(&self) -> Option<String> {
        let confidence = self.statistics.as_ref()?.bootstrap.confidence?;
        Some(format!("{} %", (1e4 * confidence).round() / 1e2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_optional_and_unknown_keys_are_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("evaluation.json");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let mut notes = Vec::new();
            Evaluation::read(&path, &mut notes).map(|read| (read, notes))
        };
        let (empty, notes) = read("{}").unwrap();
        assert!(empty.panels.is_empty() && notes[0].contains("format version 0"));
        let (read_one, notes) = read(
            r#"{"format_version": 1, "new": [], "listening": null,
                "panels": [{"source": {"kind": "simulated", "population": "town"}, "pairs": [{"a": "x", "b": "y",
                "tally": {"wins": 3, "ties": 1, "losses": 2}, "win_rate": {"estimate": 0.6, "low": 0.5, "high": 0.8,
                "standard_error": 0.1}, "mean_difference": null}]}]}"#,
        )
        .unwrap();
        assert!(notes.is_empty());
        let panel = &read_one.panels[0];
        assert_eq!(Raters::of(&panel.source), Raters::Simulated("town".into()));
        let turned = panel.pairs[0].turned();
        assert_eq!((turned.a.as_str(), turned.tally.wins, turned.tally.losses), ("y", 2, 3));
        let rate = turned.win_rate.unwrap();
        assert!((rate.low.unwrap() - 0.2).abs() < 1e-12 && (rate.high.unwrap() - 0.5).abs() < 1e-12);
        let error = read("{\"panels\": 3}").unwrap_err().to_string();
        assert!(error.contains("evaluation.json:1") && error.contains("evaluation"), "{error}");
        assert!(Raters::of(&SourceView::default()).to_string().contains("NOT KNOWN"));
    }
}
