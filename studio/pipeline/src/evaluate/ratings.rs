//! Ratings of clips: who gave what to which clip of which system.

use std::{collections::BTreeMap, ops::RangeInclusive};

use musicrl_feedback::Source;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Opinion scores: 1 (bad) to 5 (excellent).
pub const RATING_RANGE: RangeInclusive<f64> = 1.0..=5.0;

/// One rating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rating {
    /// Index of the system.
    pub system: usize,
    /// Index of the prompt.
    pub prompt: usize,
    /// Which clip of that prompt.
    pub take: usize,
    /// Who.
    pub rater: String,
    /// From 1 to 5.
    pub rating: f64,
}

/// Ratings of one kind of raters. People and each population of simulated listeners stay apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelRatings {
    /// Whether the raters are people, or of which population.
    pub source: Source,
    /// What they said.
    pub ratings: Vec<Rating>,
}

/// The same clip slot of all systems, as one rater heard it: what comparisons are made of.
pub(super) type Slot<'a> = (usize, usize, &'a str);

impl PanelRatings {
    /// Ratings by prompt, take and rater, then by system.
    ///
    /// # Errors
    /// [`Error::Config`] for a rating out of range, of a system that is not there, or given twice.
    pub(super) fn slots(&self, systems: usize) -> Result<BTreeMap<Slot<'_>, BTreeMap<usize, f64>>> {
        let mut slots = BTreeMap::<Slot<'_>, BTreeMap<usize, f64>>::new();
        for rating in &self.ratings {
            if !RATING_RANGE.contains(&rating.rating) {
                return Err(Error::config("rating", "from 1 to 5", rating.rating));
            }
            if rating.system >= systems {
                return Err(Error::config("system of a rating", format!("below {systems}"), rating.system));
            }
            let slot = slots.entry((rating.prompt, rating.take, rating.rater.as_str())).or_default();
            if slot.insert(rating.system, rating.rating).is_some() {
                let got = format!(
                    "two by `{}` of system {}, prompt {}, take {}",
                    rating.rater, rating.system, rating.prompt, rating.take
                );
                return Err(Error::config("ratings", "one by each rater of each clip", got));
            }
        }
        Ok(slots)
    }
}

/// The raters in words: what every figure made of them must say.
#[must_use]
pub fn label(source: &Source, raters: usize) -> String {
    let s = if raters == 1 { "" } else { "s" };
    match source {
        Source::Human => format!("{raters} human rater{s}"),
        Source::Simulated { population } => format!("{raters} simulated listener{s} of population `{population}`"),
    }
}

/// Puts ratings of several kinds apart: people first, then the populations by name.
#[must_use]
pub fn by_source(ratings: impl IntoIterator<Item = (Source, Rating)>) -> Vec<PanelRatings> {
    let mut panels = BTreeMap::<Option<String>, PanelRatings>::new();
    for (source, rating) in ratings {
        let kind = match &source {
            Source::Human => None,
            Source::Simulated { population } => Some(population.clone()),
        };
        panels.entry(kind).or_insert_with(|| PanelRatings { source, ratings: Vec::new() }).ratings.push(rating);
    }
    panels.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rating(system: usize, rating: f64) -> Rating {
        Rating { system, prompt: 0, take: 0, rater: "anna".into(), rating }
    }

    #[test]
    fn broken_rules_are_named() {
        let check = |ratings: Vec<Rating>, expected: &str| {
            let panel = PanelRatings { source: Source::Human, ratings };
            let error = panel.slots(2).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(vec![rating(0, 5.5)], "from 1 to 5");
        check(vec![rating(0, f64::NAN)], "from 1 to 5");
        check(vec![rating(2, 3.0)], "below 2");
        check(vec![rating(0, 3.0), rating(0, 4.0)], "two by `anna`");
    }

    #[test]
    fn people_and_populations_stay_apart_and_are_named() {
        let village = Source::Simulated { population: "village".into() };
        let panels =
            by_source([(village.clone(), rating(0, 1.0)), (Source::Human, rating(0, 2.0)), (village, rating(1, 3.0))]);
        assert_eq!(panels.iter().map(|panel| panel.ratings.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(label(&panels[0].source, 1), "1 human rater");
        assert_eq!(label(&panels[1].source, 2), "2 simulated listeners of population `village`");
    }
}
