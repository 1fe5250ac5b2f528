//! A stage's rewards as a recipe writes them.

use serde::{Deserialize, Serialize};

use super::nearest::nearest;
use crate::{Error, Result};

/// Which parts of a clip are judged; the scores of the parts are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Windows {
    /// The clip as one.
    #[default]
    Whole,
    /// Consecutive segments of `window_seconds`.
    Segments,
    /// The first and the last `window_seconds`.
    Ends,
}

/// One judge and what its scores count for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardConfig {
    /// The reward's name, e.g. "text_adherence".
    pub name: String,
    /// Its weight in the sum; above 0.
    pub weight: f64,
    /// The raw scores that become 0 and 1; the sum has raw scores where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Which parts are judged.
    #[serde(default)]
    pub windows: Windows,
    /// Length of a part; for windows other than "whole". A shorter clip is one part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<f64>,
}

impl RewardConfig {
    /// Checks every key against the rules and the name against the rewards that there are.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, prefix: &str, known: &[&str]) -> Result<()> {
        let field = |name: &str| format!("{prefix}.{name}");
        if !known.contains(&self.name.as_str()) {
            let expected = match nearest(&self.name, known.iter().copied()) {
                Some(name) => format!("a known reward (did you mean `{name}`?)"),
                None => format!("one of {}", known.join(", ")),
            };
            return Err(Error::config(field("name"), expected, &self.name));
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(Error::config(field("weight"), "above 0", self.weight));
        }
        if let Some([low, high]) = self.range.filter(|[low, high]| !(low.is_finite() && high.is_finite() && low < high))
        {
            return Err(Error::config(field("range"), "[low, high] with low below high", format!("[{low}, {high}]")));
        }
        match (self.windows, self.window_seconds) {
            (Windows::Whole, Some(seconds)) => {
                Err(Error::config(field("window_seconds"), "left out for windows = \"whole\"", seconds))
            }
            (Windows::Segments | Windows::Ends, None) => {
                Err(Error::config(field("window_seconds"), "given for these windows", "nothing"))
            }
            (_, Some(seconds)) if !(seconds.is_finite() && seconds > 0.0) => {
                Err(Error::config(field("window_seconds"), "above 0", seconds))
            }
            _ => Ok(()),
        }
    }
}
