//! What a listener said about a pair.

use alloc::format;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The outcome of comparing clip a with clip b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// a is better.
    BetterA,
    /// b is better.
    BetterB,
    /// As good as each other.
    Tie,
    /// Neither is any good.
    BothBad,
    /// No judgement was given.
    Skipped,
}

impl Outcome {
    /// The same judgement with the two clips exchanged.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::BetterA => Self::BetterB,
            Self::BetterB => Self::BetterA,
            same => same,
        }
    }
}

/// An outcome with how much it says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// What was said.
    pub outcome: Outcome,
    /// By how much the winner's score should exceed the loser's before the loss treats them as even (Touvron et al.,
    /// "Llama 2", 2023, equation 2). At least 0; not used for ties.
    #[serde(default)]
    pub margin: f64,
    /// Confidence in the judgement, at least 0: its share of the loss. A skipped one always weighs 0.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl From<Outcome> for Judgement {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, margin: 0.0, weight: 1.0 }
    }
}

impl Judgement {
    /// Checks margin and weight.
    ///
    /// # Errors
    /// [`Error::Config`] when one is negative or not finite.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [("margin", self.margin), ("weight", self.weight)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::Config { field, expected: "at least 0 and finite".into(), got: format!("{value}") });
            }
        }
        Ok(())
    }

    /// The weight that counts: 0 for a skipped pair.
    #[must_use]
    pub fn counted_weight(&self) -> f64 {
        if self.outcome == Outcome::Skipped { 0.0 } else { self.weight }
    }

    /// What the difference of scores is lowered by before the loss: the margin, towards the loser.
    #[must_use]
    pub fn signed_margin(&self) -> f64 {
        match self.outcome {
            Outcome::BetterA => self.margin,
            Outcome::BetterB => -self.margin,
            Outcome::Tie | Outcome::BothBad | Outcome::Skipped => 0.0,
        }
    }

    /// The share of the outcomes [a, b, tie], summing to 1 (0 if skipped). Without tie strength a tie is half a win
    /// for each.
    #[must_use]
    pub fn target(&self, tie_strength: f64) -> [f64; 3] {
        match self.outcome {
            Outcome::BetterA => [1.0, 0.0, 0.0],
            Outcome::BetterB => [0.0, 1.0, 0.0],
            Outcome::Tie | Outcome::BothBad if tie_strength > 0.0 => [0.0, 0.0, 1.0],
            Outcome::Tie | Outcome::BothBad => [0.5, 0.5, 0.0],
            Outcome::Skipped => [0.0; 3],
        }
    }

    /// As [`target`](Self::target), with the share `smoothing` of a win given to the other clip: how often a listener
    /// is thought to have chosen against what they prefer. Ties stay as they are.
    #[must_use]
    pub fn smoothed_target(&self, tie_strength: f64, smoothing: f64) -> [f64; 3] {
        match self.outcome {
            Outcome::BetterA => [1.0 - smoothing, smoothing, 0.0],
            Outcome::BetterB => [smoothing, 1.0 - smoothing, 0.0],
            Outcome::Tie | Outcome::BothBad | Outcome::Skipped => self.target(tie_strength),
        }
    }
}

/// A tie strength must be a finite number of at least 0.
pub(crate) fn check_tie_strength(tie_strength: f64) -> Result<()> {
    if tie_strength.is_finite() && tie_strength >= 0.0 {
        return Ok(());
    }
    let expected = "at least 0 and finite".into();
    Err(Error::Config { field: "tie_strength", expected, got: format!("{tie_strength}") })
}

/// A win that is smoothed must stay a win.
pub(crate) fn check_smoothing(smoothing: f64) -> Result<()> {
    if (0.0..0.5).contains(&smoothing) {
        return Ok(());
    }
    Err(Error::Config { field: "label_smoothing", expected: "in [0, 0.5)".into(), got: format!("{smoothing}") })
}

/// The share of decided pairs (a or b better) whose winner has the higher score; equal scores count one half. `None`
/// when no pair is decided: the accuracy of a reward model against preferences.
///
/// Pairs beyond the shortest of the three slices are left out.
#[must_use]
pub fn agreement(scores_a: &[f64], scores_b: &[f64], outcomes: &[Outcome]) -> Option<f64> {
    let (mut right, mut decided) = (0.0, 0.0);
    for ((a, b), outcome) in scores_a.iter().zip(scores_b).zip(outcomes) {
        let difference = match outcome {
            Outcome::BetterA => a - b,
            Outcome::BetterB => b - a,
            Outcome::Tie | Outcome::BothBad | Outcome::Skipped => continue,
        };
        decided += 1.0;
        right += if difference > 0.0 {
            1.0
        } else if difference == 0.0 {
            0.5
        } else {
            0.0
        };
    }
    (decided > 0.0).then(|| right / decided)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_counts_decided_pairs() {
        let outcomes = [Outcome::BetterA, Outcome::BetterB, Outcome::BetterA, Outcome::Tie, Outcome::Skipped];
        let (a, b) = ([2.0, 2.0, 1.0, 9.0, 9.0], [1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(agreement(&a, &b, &outcomes), Some(0.5));
        assert_eq!(agreement(&a, &b, &[Outcome::Tie, Outcome::BothBad]), None);
        // A score that is no number is never right.
        assert_eq!(agreement(&[f64::NAN], &[0.0], &[Outcome::BetterA]), Some(0.0));
    }

    #[test]
    fn stored_judgements_have_defaults_and_refuse_unknown_keys() {
        let read = |text: &str| serde_json::from_str::<Judgement>(text);
        assert_eq!(read(r#"{"outcome":"both-bad"}"#).ok(), Some(Outcome::BothBad.into()));
        assert!(read(r#"{"outcome":"better-a","certainty":1}"#).is_err());
        for (margin, weight) in [(-1.0, 1.0), (0.0, f64::NAN), (f64::INFINITY, 1.0)] {
            let bad = Judgement { outcome: Outcome::Tie, margin, weight };
            assert!(matches!(bad.validate(), Err(Error::Config { .. })), "{bad:?}");
        }
    }
}
