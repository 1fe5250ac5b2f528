//! What is evaluated, and how sure the answer shall be.

use std::path::PathBuf;

use musicrl_core::{sampling::SamplingConfig, stats::BootstrapConfig};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, align::judges::REWARDS};

/// Most clips of one prompt.
const TAKES_MAX: usize = 1_000;
/// Longest clip, in seconds.
const SECONDS_MAX: f64 = 600.0;

/// How clips are played: with the bundles it says every sample of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaySpec {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Clips of each prompt.
    pub takes: usize,
    /// Length of a clip.
    pub clip_seconds: f64,
    /// Tempering, truncation, guidance.
    pub sampling: SamplingConfig,
}

impl PlaySpec {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if !(1..=TAKES_MAX).contains(&self.takes) {
            return Err(Error::config("takes", format!("from 1 to {TAKES_MAX}"), self.takes));
        }
        if !(self.clip_seconds > 0.0 && self.clip_seconds <= SECONDS_MAX) {
            let expected = format!("above 0 and at most {SECONDS_MAX}");
            return Err(Error::config("seconds", expected, self.clip_seconds));
        }
        self.sampling.validate().map_err(as_setting)
    }
}

/// Intervals and tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsSettings {
    /// Resamples of prompts.
    pub bootstrap: BootstrapConfig,
    /// Deals of the permutation test.
    pub permutations: usize,
}

/// A rule of the core that a setting breaks is the user's to mend, as one of ours.
fn as_setting(error: musicrl_core::Error) -> Error {
    match error {
        musicrl_core::Error::Config { field, expected, got } => Error::config(field, expected, got),
        other => other.into(),
    }
}

impl StatisticsSettings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if !(1..=1_000_000).contains(&self.permutations) {
            return Err(Error::config("permutations", "from 1 to 1000000", self.permutations));
        }
        self.bootstrap.validate().map_err(as_setting)
    }
}

impl Default for StatisticsSettings {
    fn default() -> Self {
        Self { bootstrap: BootstrapConfig::default(), permutations: 999 }
    }
}

/// Where the sounds come from that systems are held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReferenceSettings {
    /// Etudes where the judging embedding is that of the embedded base, which knows them; else nothing.
    Automatic {
        /// How many.
        clips: usize,
    },
    /// The held-out clips of a corpus.
    Corpus {
        /// Its folder.
        path: PathBuf,
        /// At most so many.
        clips: usize,
    },
    /// No reference: no Frechet distance and no discrepancy.
    None,
}

/// Listeners that are simulated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelSettings {
    /// The population that they belong to; see [`super::panel::population_names`].
    pub population: String,
    /// How many rate each clip.
    pub raters: usize,
    /// Listeners who take turns over the prompts; without it the same `raters` hear all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<usize>,
}

/// Everything but the systems and the prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSettings {
    /// How clips are played.
    pub play: PlaySpec,
    /// Simulated listeners, if any.
    pub panel: Option<PanelSettings>,
    /// Rewards that are reported as measures.
    pub measures: Vec<String>,
    /// What embeddings are compared with.
    pub reference: ReferenceSettings,
    /// Intervals and tests.
    pub statistics: StatisticsSettings,
    /// Clips that are generated at once; the result does not depend on it.
    pub batch: usize,
}

impl EvaluateSettings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.play.validate()?;
        self.statistics.validate()?;
        if let Some(panel) = &self.panel {
            let listeners = panel.listeners.unwrap_or(panel.raters);
            if let Some(bad) = [panel.raters, listeners].into_iter().find(|count| !(1..=1_000).contains(count)) {
                return Err(Error::config("raters and listeners", "from 1 to 1000", bad));
            }
        }
        if let Some(name) = self.measures.iter().find(|name| !REWARDS.contains(&name.as_str())) {
            return Err(Error::config("measure", format!("one of {}", REWARDS.join(", ")), name));
        }
        if let Some(name) = self.measures.iter().enumerate().find(|(at, name)| self.measures[..*at].contains(name)) {
            return Err(Error::config("measure", "each reward once", name.1));
        }
        match &self.reference {
            ReferenceSettings::Automatic { clips } | ReferenceSettings::Corpus { clips, .. } if *clips < 4 => {
                Err(Error::config("reference_clips", "at least 4", clips))
            }
            _ => Ok(()),
        }
    }
}
