//! One stage of a run: what it was to do, how far it came, and which checkpoint is its result.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{log::Log, recipe::StageView};
use crate::{
    Error, Result,
    align::run::StageEnding,
    run::{Kind, Record},
};

/// How far a stage came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum StageEnd {
    /// All its steps, or as far as its guards let it go.
    Finished,
    /// So many of them.
    Unfinished(u64),
    /// It has no record.
    NotBegun,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Stage {
    /// What the recipe says.
    pub plan: StageView,
    /// What it reported.
    pub records: Vec<Record>,
    /// How far it came.
    pub end: StageEnd,
    /// What the run itself said of its end; runs of older builds say nothing.
    pub ending: Option<StageEnding>,
    /// Learning steps between the first base and its start, along the checkpoints that were chosen.
    pub start: u64,
    /// Evaluations that left clips: the step and its folder, in ascending order.
    pub samples: Vec<(u64, PathBuf)>,
}

impl Stage {
    /// Reads what a stage left in `dir`; notes go to `notes`.
    ///
    /// # Errors
    /// When its metrics are no metrics, or a folder cannot be listed.
    pub fn read(plan: StageView, dir: &Path, notes: &mut Vec<String>) -> Result<Self> {
        let log = Log::read(&dir.join("metrics.jsonl"))?;
        notes.extend(log.note);
        let last = log.records.iter().map(|record| record.step).max();
        let ending = ending(&dir.join(StageEnding::FILE))?;
        let end = match last {
            None => StageEnd::NotBegun,
            Some(_) if ending.is_some() => StageEnd::Finished,
            Some(step) if step >= plan.steps => StageEnd::Finished,
            Some(step) => StageEnd::Unfinished(step),
        };
        Ok(Self { plan, records: log.records, end, ending, start: 0, samples: samples(&dir.join("samples")) })
    }

    /// The last step that it reported.
    pub fn last_step(&self) -> u64 {
        self.records.iter().map(|record| record.step).max().unwrap_or(0)
    }

    /// The step whose checkpoint is the result, by the rule of the recipe on the evaluations; 0 is the start itself.
    /// `None` while it is not finished.
    pub fn chosen(&self) -> Option<u64> {
        if self.end != StageEnd::Finished {
            return None;
        }
        if let Some(ending) = &self.ending {
            return Some(ending.chosen_step);
        }
        let rule = &self.plan.checkpoint;
        let (metric, lower) = match rule.choose.as_str() {
            "best" => (rule.metric.as_str(), rule.direction == "lower"),
            "guarded" => ("guarded", false),
            _ => return Some(self.last_step()),
        };
        let mut best: Option<(u64, f64)> = None;
        // No checkpoint is written before the first step; the newest of equals is taken.
        for record in self.evaluations().filter(|record| record.step > 0) {
            let Some(value) = record.metrics.get(metric).filter(|value| value.is_finite()) else { continue };
            if best.is_none_or(|(_, leader)| if lower { value <= leader } else { value >= leader }) {
                best = Some((record.step, value));
            }
        }
        Some(match (rule.choose.as_str(), best) {
            // Gains are held against the start, whose own is 0.
            ("guarded", Some((step, gain))) if gain > 0.0 => step,
            ("guarded", _) => 0,
            (_, Some((step, _))) => step,
            (_, None) => self.last_step(),
        })
    }

    /// Where the next policy goes on: the chosen step, or the last one so far.
    pub fn result_step(&self) -> u64 {
        self.chosen().unwrap_or_else(|| self.last_step())
    }

    /// What was measured on held-out captions.
    pub fn evaluations(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.kind == Kind::Evaluation)
    }

    /// What the steps reported.
    pub fn training(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.kind == Kind::Train)
    }

    /// The clips of the stage's result: those of the chosen step, or of the last evaluation that left any.
    pub fn result_samples(&self) -> Option<&(u64, PathBuf)> {
        let chosen = self.chosen();
        self.samples.iter().find(|(step, _)| Some(*step) == chosen).or_else(|| self.samples.last())
    }

    /// The state in words.
    pub fn in_words(&self) -> String {
        match self.end {
            StageEnd::Finished => match self.ending.as_ref().and_then(|ending| ending.ended_by.as_ref()) {
                Some(guard) => format!("ended after step {} of {} by {guard}", self.last_step(), self.plan.steps),
                None => format!("finished, {} steps", self.last_step()),
            },
            StageEnd::Unfinished(step) => format!("UNFINISHED: step {step} of {}", self.plan.steps),
            StageEnd::NotBegun => "NOT BEGUN".into(),
        }
    }
}

/// What a run wrote at a stage's end; none where there is no such file.
fn ending(path: &Path) -> Result<Option<StageEnding>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let expected = || "the ending of a stage: step, chosen_step, ended_by".to_string();
    let file =
        |error: serde_json::Error| Error::File { path: path.into(), expected: expected(), got: error.to_string() };
    serde_json::from_str(&text).map(Some).map_err(file)
}

/// Folders `step-N` with something in them; a folder that is not there has none.
fn samples(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            let path = entry.path();
            fs::read_dir(&path).ok()?.next().is_some().then_some((step, path))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::{super::recipe::CheckpointView, *};
    use crate::training::Metrics;

    fn stage(choose: &str, direction: &str, evaluations: &[(u64, f64)], steps: u64) -> Stage {
        let records = evaluations.iter().map(|(step, value)| Record {
            step: *step,
            kind: Kind::Evaluation,
            metrics: Metrics(vec![("reward".into(), *value), ("guarded".into(), *value)]),
        });
        let checkpoint = CheckpointView { choose: choose.into(), metric: "reward".into(), direction: direction.into() };
        let last = evaluations.last().map_or(0, |(step, _)| *step);
        let end = if last >= steps { StageEnd::Finished } else { StageEnd::Unfinished(last) };
        let plan = StageView { steps, checkpoint, ..StageView::default() };
        Stage { plan, records: records.collect(), end, ending: None, start: 0, samples: Vec::new() }
    }

    #[test]
    fn the_chosen_step_follows_the_recipe() {
        let rising = [(0, 9.0), (10, 0.5), (20, 0.7), (30, 0.7), (40, 0.2)];
        let falling = [(0, 0.0), (10, -0.5), (20, -0.1)];
        for (choose, direction, evaluations, steps, expected) in [
            ("last", "higher", &rising[..], 40, Some(40)),
            ("best", "higher", &rising, 40, Some(30)),
            ("best", "lower", &rising, 40, Some(40)),
            ("guarded", "higher", &rising, 40, Some(30)),
            ("guarded", "higher", &falling, 20, Some(0)),
            ("best", "higher", &rising, 50, None),
        ] {
            assert_eq!(stage(choose, direction, evaluations, steps).chosen(), expected, "{choose} {direction}");
        }
        assert!(stage("last", "", &rising, 50).in_words().contains("step 40 of 50"));
    }

    #[test]
    fn a_stage_that_a_guard_ended_is_no_unfinished_one() {
        let temp = tempfile::tempdir().unwrap();
        let plan = StageView { steps: 50, ..StageView::default() };
        let metrics = "{\"step\":40,\"evaluation\":{\"reward\":0.1}}\n";
        fs::write(temp.path().join("metrics.jsonl"), metrics).unwrap();
        let read = || Stage::read(plan.clone(), temp.path(), &mut Vec::new());
        assert_eq!(read().unwrap().end, StageEnd::Unfinished(40));
        let path = temp.path().join(StageEnding::FILE);
        fs::write(&path, "{\"step\":40,\"chosen_step\":20,\"ended_by\":\"guard `kl_budget`: too far\"}").unwrap();
        let stage = read().unwrap();
        assert_eq!((stage.end, stage.chosen()), (StageEnd::Finished, Some(20)));
        assert_eq!(stage.in_words(), "ended after step 40 of 50 by guard `kl_budget`: too far");
        fs::write(&path, "{\"step\":").unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains("ending.json") && error.contains("chosen_step"), "{error}");
    }
}
