//! The records of a preference set: one JSON object a line.

use musicrl_core::preference::{Judgement, Outcome};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Who judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// People.
    Human,
    /// Listeners that the program simulates. They are never shown as people.
    Simulated {
        /// The population that the listener was drawn from.
        population: String,
    },
}

/// The random numbers that a clip was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipOrigin {
    /// SHA-256 identity of the bundle whose policy played it.
    pub bundle: String,
    /// Seed of the key.
    pub seed: u64,
    /// Step of the key.
    pub step: u64,
    /// Clip of the key.
    pub clip: u64,
}

/// One clip that listeners heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipRecord {
    /// Unique in the set: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The text that it was made for.
    pub caption: String,
    /// The system that made it, e.g. `base` or the name of a run.
    pub system: String,
    /// Its sound, relative to the set's folder; without it only the tokens are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// The policy's tokens, frame after frame; empty where no policy made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// Tokens a frame; 0 where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slots: usize,
    /// How to make it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ClipOrigin>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl ClipRecord {
    /// A clip without sound and tokens.
    #[must_use]
    pub fn new(id: impl Into<String>, caption: impl Into<String>, system: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            caption: caption.into(),
            system: system.into(),
            audio: None,
            tokens: Vec::new(),
            slots: 0,
            origin: None,
        }
    }

    /// Checks every field; `at` is where the record stands.
    ///
    /// # Errors
    /// [`Error::Record`] naming the field.
    pub fn validate(&self, at: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.id.is_empty() || self.id.len() > 200 || self.id.starts_with('.') || !self.id.chars().all(plain) {
            let expected = "1 to 200 letters, digits, `-`, `_` and `.`, not beginning with `.`";
            return Err(Error::record(at, "id", expected, format!("{:?}", self.id)));
        }
        let whole = match self.slots {
            0 => self.tokens.is_empty(),
            slots => !self.tokens.is_empty() && self.tokens.len().is_multiple_of(slots),
        };
        if !whole {
            let got = format!("{} tokens, {} a frame", self.tokens.len(), self.slots);
            return Err(Error::record(at, "tokens", "whole frames of `slots` tokens, or neither key", got));
        }
        if let Some(audio) = &self.audio {
            let inside = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            if audio.is_empty() || !std::path::Path::new(audio).components().all(inside) {
                return Err(Error::record(at, "audio", "a path inside the set's folder", format!("{audio:?}")));
            }
        }
        Ok(())
    }
}

/// What one listener said about a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgementRecord {
    /// The clip that was offered first.
    pub a: String,
    /// The other one.
    pub b: String,
    /// What was said.
    pub outcome: Outcome,
    /// By how much the winner's score should exceed the loser's before the loss treats them as even.
    #[serde(default, skip_serializing_if = "is_none")]
    pub margin: f64,
    /// Confidence in the judgement: its weight in the loss.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub confidence: f64,
    /// Whether a, and whether b, was listened to; only pairs of which both were count.
    #[serde(default = "both", skip_serializing_if = "is_both")]
    pub heard: [bool; 2],
    /// Who.
    pub listener: String,
    /// Whether that is a person.
    pub source: Source,
}

fn one() -> f64 {
    1.0
}

fn is_one(x: &f64) -> bool {
    *x == 1.0
}

fn is_none(x: &f64) -> bool {
    *x == 0.0
}

fn both() -> [bool; 2] {
    [true, true]
}

fn is_both(heard: &[bool; 2]) -> bool {
    heard.iter().all(|heard| *heard)
}

impl JudgementRecord {
    /// A judgement in full confidence, both clips heard.
    #[must_use]
    pub fn new(
        a: impl Into<String>,
        b: impl Into<String>,
        outcome: Outcome,
        listener: impl Into<String>,
        source: Source,
    ) -> Self {
        Self {
            a: a.into(),
            b: b.into(),
            outcome,
            margin: 0.0,
            confidence: 1.0,
            heard: both(),
            listener: listener.into(),
            source,
        }
    }

    /// Whether it counts: both clips were heard and something was said.
    #[must_use]
    pub fn counts(&self) -> bool {
        is_both(&self.heard) && self.outcome != Outcome::Skipped
    }

    /// As the losses take it; a pair that does not count weighs nothing.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let weight = if self.counts() { self.confidence } else { 0.0 };
        Judgement { outcome: self.outcome, margin: self.margin, weight }
    }

    /// Checks every field but the clips' ids; `at` is where the record stands.
    ///
    /// # Errors
    /// [`Error::Record`] naming the field.
    pub fn validate(&self, at: &str) -> Result<()> {
        for (field, value) in [("margin", self.margin), ("confidence", self.confidence)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::record(at, field, "at least 0 and finite", value));
            }
        }
        if self.a == self.b {
            return Err(Error::record(at, "b", "another clip than `a`", format!("{:?} twice", self.a)));
        }
        Ok(())
    }
}

/// What one rater gave one clip, on the scale of opinion scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingRecord {
    /// The clip.
    pub clip: String,
    /// 1 (bad) to 5 (excellent).
    pub rating: f64,
    /// Who.
    pub rater: String,
    /// Whether that is a person.
    pub source: Source,
}

impl RatingRecord {
    /// Checks every field but the clip's id; `at` is where the record stands.
    ///
    /// # Errors
    /// [`Error::Record`] naming the field.
    pub fn validate(&self, at: &str) -> Result<()> {
        if !(1.0..=5.0).contains(&self.rating) {
            return Err(Error::record(at, "rating", "from 1 to 5", self.rating));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_form() {
        let clip = ClipRecord { tokens: vec![1, 2, 3, 4], slots: 2, ..ClipRecord::new("c-1", "a waltz", "base") };
        let text = serde_json::to_string(&clip).unwrap();
        assert_eq!(text, r#"{"id":"c-1","caption":"a waltz","system":"base","tokens":[1,2,3,4],"slots":2}"#);
        assert_eq!(serde_json::from_str::<ClipRecord>(&text).unwrap(), clip);
        let source = Source::Simulated { population: "village".into() };
        let judgement = JudgementRecord::new("a", "b", Outcome::BetterA, "l1", source);
        let text = serde_json::to_string(&judgement).unwrap();
        let form = r#"{"a":"a","b":"b","outcome":"better-a","listener":"l1","source":{"kind":"simulated","population":"village"}}"#;
        assert_eq!(text, form);
        assert_eq!(serde_json::from_str::<JudgementRecord>(&text).unwrap(), judgement);
    }

    #[test]
    fn pairs_count_when_both_were_heard_and_something_was_said() {
        let pair = JudgementRecord::new("a", "b", Outcome::Tie, "l", Source::Human);
        assert_eq!(pair.judgement().weight, 1.0);
        assert!(!JudgementRecord { heard: [true, false], ..pair.clone() }.counts());
        assert_eq!(JudgementRecord { heard: [false, true], ..pair.clone() }.judgement().weight, 0.0);
        assert!(!JudgementRecord { outcome: Outcome::Skipped, ..pair }.counts());
    }

    #[test]
    fn broken_rules_are_named() {
        let clip = ClipRecord::new("c", "", "base");
        let field = |result: Result<()>| match result {
            Err(Error::Record { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        for id in ["", "../c", ".c", "a/b", "a b"] {
            assert_eq!(field(ClipRecord { id: id.into(), ..clip.clone() }.validate("")), "id", "{id}");
        }
        for audio in ["", "/etc/passwd", "../x.wav", "audio/../../x.wav"] {
            let clip = ClipRecord { audio: Some(audio.into()), ..clip.clone() };
            assert_eq!(field(clip.validate("")), "audio", "{audio}");
        }
        assert_eq!(field(ClipRecord { tokens: vec![1, 2, 3], slots: 2, ..clip.clone() }.validate("")), "tokens");
        assert_eq!(field(ClipRecord { slots: 2, ..clip.clone() }.validate("")), "tokens");
        assert_eq!(field(ClipRecord { tokens: vec![1], ..clip.clone() }.validate("")), "tokens");
        assert!(ClipRecord { audio: Some("audio/c.wav".into()), ..clip }.validate("").is_ok());
        let pair = JudgementRecord::new("a", "b", Outcome::Tie, "l", Source::Human);
        assert_eq!(field(JudgementRecord { margin: -1.0, ..pair.clone() }.validate("")), "margin");
        assert_eq!(field(JudgementRecord { confidence: f64::NAN, ..pair.clone() }.validate("")), "confidence");
        assert_eq!(field(JudgementRecord { b: "a".into(), ..pair }.validate("")), "b");
        let rating = RatingRecord { clip: "c".into(), rating: 5.5, rater: "r".into(), source: Source::Human };
        assert_eq!(field(rating.validate("")), "rating");
        assert_eq!(field(RatingRecord { rating: f64::NAN, ..rating }.validate("")), "rating");
    }
}
