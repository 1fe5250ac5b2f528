//! What the figure is drawn from.

use std::path::Path;

use crate::{
    Result,
    demo::DemoReport,
    figure::Series,
    recipe::StageConfig,
    run::{Record, read_metrics},
};

/// Everything that the figure shows.
#[derive(Debug, Clone)]
pub struct DemoFigure<'a> {
    /// What was measured before and after.
    pub report: &'a DemoReport,
    /// The stages in their order.
    pub stages: Vec<StageCurve>,
    /// Name of the backend.
    pub backend: &'a str,
    /// Held-out clips to show.
    pub clips: Vec<ClipPair<'a>>,
    /// Rate of their samples.
    pub sample_rate_hz: u32,
}

/// What a stage reported.
#[derive(Debug, Clone, PartialEq)]
pub struct StageCurve {
    /// Clips a step.
    pub batch: usize,
    /// Its `metrics.jsonl`.
    pub records: Vec<Record>,
    /// The step whose checkpoint is its result.
    pub chosen_step: u64,
}

/// The same caption and random numbers, before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipPair<'a> {
    /// The caption.
    pub caption: &'a str,
    /// By the base.
    pub before: Heard<'a>,
    /// By the aligned policy.
    pub after: Heard<'a>,
}

/// A clip and what the judge said of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard<'a> {
    /// Its sound; empty when there is none.
    pub samples: &'a [f32],
    /// Its score; `None` where it could not be scored.
    pub score: Option<f64>,
}

impl StageCurve {
    /// Reads what `stage` left in the run folder `run`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when its metrics cannot be read.
    pub fn read(run: &Path, stage: &StageConfig, chosen_step: u64) -> Result<Self> {
        let records = read_metrics(&run.join("stages").join(&stage.name).join("metrics.jsonl"))?;
        Ok(Self { batch: stage.batch, records, chosen_step })
    }

    /// The last step that it reported.
    pub(super) fn last_step(&self) -> u64 {
        self.records.iter().map(|record| record.step).max().unwrap_or(0)
    }
}

impl DemoFigure<'_> {
    /// Each stage with the steps that were taken before it.
    pub(super) fn timeline(&self) -> impl Iterator<Item = (f64, &StageCurve)> {
        self.stages.iter().scan(0.0, |before, stage| {
            let offset = *before;
            *before += stage.last_step() as f64;
            Some((offset, stage))
        })
    }

    /// A training metric over all stages, one after the other.
    pub(super) fn series(&self, name: &str) -> Series {
        Series::new(self.timeline().flat_map(|(offset, stage)| {
            let series = Series::of_metric(&stage.records, name);
            series.points().iter().map(|(step, value)| (step + offset, *value)).collect::<Vec<_>>()
        }))
    }
}
