//! What an evaluation ends with: `evaluation.json`, described in `spec/evaluation.md`.

use std::path::Path;

use musicrl_codec::write::write_atomic;
use serde::{Deserialize, Serialize};

use super::{
    distribution::DistributionReport,
    listen::ClipReport,
    measures::MeasureReport,
    panel_report::PanelReport,
    prompts::Prompts,
    ratings::PanelRatings,
    settings::{EvaluateSettings, StatisticsSettings},
    system::SystemInfo,
};
use crate::{Error, Result};

/// The format that this code writes.
pub const FORMAT_VERSION: u32 = 1;

/// The file's name in the output folder.
pub const EVALUATION_FILE: &str = "evaluation.json";

/// What made the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// Version of this crate.
    pub musicrl: String,
    /// Version of Burn.
    pub burn: String,
    /// Name of the backend; empty where nothing was played.
    pub backend: String,
}

/// One system's sound, over its clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundReport {
    /// The system.
    pub system: String,
    /// Its clips.
    pub clips: usize,
    /// Mean level in dB of full scale, of the clips that are not nothing but zeros.
    pub mean_rms_db: Option<f64>,
    /// Share of clips without a piece of 50 ms above -60 dB.
    pub silent_clips: f64,
    /// Mean share of time in pieces below -60 dB.
    pub silent_time: f64,
    /// Share of clips with a run of three samples or more at full scale.
    pub clipped_clips: f64,
    /// Share of samples in such runs.
    pub clipped_samples: f64,
    /// Share of clips that differ from every clip before them in at least a tenth of their tokens.
    pub distinct_share: f64,
}

/// Clips that were played, and what was measured on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listening {
    /// How they were played and judged, nothing left to a default.
    pub settings: EvaluateSettings,
    /// The system whose bundle judged: its text-audio embedding and the models of the measures.
    pub judge: String,
    /// SHA-256 of the embedding's weights.
    pub judge_sha256: String,
    /// Level, silence, clipping, copies.
    pub sound: Vec<SoundReport>,
    /// Rewards as measures.
    pub measures: Vec<MeasureReport>,
    /// Embeddings against a reference.
    pub distribution: DistributionReport,
    /// Every clip.
    pub clips: Vec<ClipReport>,
}

/// All of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Layout of the file.
    pub format_version: u32,
    /// What made it.
    pub made_by: MadeBy,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Intervals and tests.
    pub statistics: StatisticsSettings,
    /// The systems, in the order that indices mean.
    pub systems: Vec<SystemInfo>,
    /// The prompts that were played; where nothing was played, those that were rated.
    pub prompts: Prompts,
    /// The prompts that ratings index, where they are others than those.
    pub rated_prompts: Option<Vec<String>>,
    /// One report a kind of raters: people first.
    pub panels: Vec<PanelReport>,
    /// The ratings that the reports are made of, in the same order.
    pub ratings: Vec<PanelRatings>,
    /// Clips that were to be rated and have not been.
    pub unfilled: usize,
    /// What was played; `None` where ratings alone were read.
    pub listening: Option<Listening>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Evaluation {
    /// The file's bytes: the same for the same seed, whatever the threads.
    ///
    /// # Errors
    /// When a number is not one that JSON can hold.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::config(EVALUATION_FILE, "numbers that JSON can hold", error))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Writes `evaluation.json` into `dir`, which is made.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        Ok(write_atomic(&dir.join(EVALUATION_FILE), &self.to_json()?)?)
    }
}
