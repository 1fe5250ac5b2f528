//! The driver: takes a training from its last sound checkpoint to its last step.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    RunDir,
    checkpoint::Keep,
    metrics::{Kind, MetricsLog, Record},
    remaining::Remaining,
    tensorboard::{Event, EventFile},
};
use crate::{
    Error, Result,
    training::{Metrics, Training},
};

/// How far to go and what to do on the way.
#[derive(Debug, Clone, Default)]
pub struct DrivePlan {
    /// Steps of the whole run, those before a resume included.
    pub steps: u64,
    /// A checkpoint after every so many steps; 0: only at the end.
    pub checkpoint_every: u64,
    /// An evaluation before the first step, after every so many, and after the last; 0: none.
    pub evaluate_every: u64,
    /// Which checkpoints stay.
    pub keep: Keep,
    /// Set from a signal handler: the step in progress is finished, a checkpoint written, and the run stops.
    pub interrupt: Option<Arc<AtomicBool>>,
}

impl DrivePlan {
    fn is_due(&self, every: u64, step: u64) -> bool {
        step == self.steps || (every > 0 && step.is_multiple_of(every))
    }

    fn evaluates(&self, step: u64) -> bool {
        self.evaluate_every > 0 && self.is_due(self.evaluate_every, step)
    }

    /// Multiples of `every` and the last step, after `step`.
    fn times_left(&self, every: u64, step: u64) -> u64 {
        let multiples = |n: u64| n.checked_div(every).unwrap_or(0);
        let last = u64::from(step < self.steps && (every == 0 || !self.steps.is_multiple_of(every)));
        multiples(self.steps).saturating_sub(multiples(step)) + last
    }

    fn interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// What the last step reported.
    pub metrics: &'a Metrics,
    /// Median seconds of a step.
    pub step_seconds: f64,
    /// Seconds to the end, evaluations and checkpoints included; `None` while too little was seen.
    pub remaining_seconds: Option<f64>,
}

/// Watches a run. Every method does nothing by default.
pub trait Observer {
    /// The run starts at `step` (above 0 when it is resumed) of `steps`.
    fn started(&mut self, step: u64, steps: u64) {
        let _ = (step, steps);
    }

    /// A step was done.
    fn stepped(&mut self, progress: &Progress<'_>) {
        let _ = progress;
    }

    /// An evaluation begins; it can take as long as many steps.
    fn evaluating(&mut self, step: u64) {
        let _ = step;
    }

    /// An evaluation was done.
    fn evaluated(&mut self, step: u64, metrics: &Metrics) {
        let _ = (step, metrics);
    }

    /// A checkpoint was written.
    fn checkpointed(&mut self, step: u64, path: &Path) {
        let _ = (step, path);
    }

    /// Something that the user should know.
    fn notice(&mut self, message: &str) {
        let _ = message;
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are done, or the training said that it is.
    Finished,
    /// The interrupt flag was set; the last step done has its checkpoint.
    Interrupted,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why.
    pub end: End,
    /// Steps done.
    pub step: u64,
    /// The step of the checkpoint that it took up; `None` when it began anew.
    pub resumed_from: Option<u64>,
    /// What the last step reported; empty when none was left to do.
    pub metrics: Metrics,
    /// What the last evaluation measured; empty when there was none since the start of this process.
    pub evaluation: Metrics,
}

/// Runs `training` in `dir` from its last sound checkpoint (or from the start) to the end of `plan`.
///
/// What follows a checkpoint is a function of the checkpoint alone; `metrics.jsonl` and the event file are cut back to
/// it first. So a run that was killed ends with the same last checkpoint and the same `metrics.jsonl` as one that was
/// not.
///
/// # Errors
/// The training's own; [`Error::Io`] when something cannot be written (the last sound checkpoint stays);
/// [`Error::File`] when there are checkpoints and none is sound; [`Error::Config`] when the last one is beyond
/// `plan.steps`.
pub fn drive(
    training: &mut dyn Training,
    dir: &RunDir,
    plan: &DrivePlan,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    for difference in dir.differences() {
        observer.notice(&format!("{difference}: the result may differ from an undisturbed run's"));
    }
    let resumed_from = resume(training, dir, plan, observer)?;
    let mut step = resumed_from.unwrap_or(0);
    let mut run = Run {
        training,
        dir,
        plan,
        observer,
        logs: Logs::open(dir, resumed_from)?,
        remaining: Remaining::default(),
        metrics: Metrics::default(),
        evaluation: Metrics::default(),
    };
    run.observer.started(step, plan.steps);
    if resumed_from.is_none() && plan.evaluate_every > 0 {
        run.evaluate(0)?;
    }
    let mut end = End::Finished;
    while step < plan.steps && !run.training.is_done() {
        if plan.interrupted() {
            end = End::Interrupted;
            break;
        }
        run.step(step)?;
        step += 1;
        let evaluated = plan.evaluates(step);
        if evaluated {
            run.evaluate(step)?;
        }
        if plan.is_due(plan.checkpoint_every, step) || plan.interrupted() || run.training.is_done() {
            run.checkpoint(step, evaluated)?;
        }
    }
    // A flag that was set between the checkpoint and the loop's check, or before the first step of all.
    if end == End::Interrupted && resumed_from != Some(step) && !dir.checkpoints().path(step).exists() {
        run.checkpoint(step, false)?;
    }
    dir.checkpoints().prune(&plan.keep)?;
    let (metrics, evaluation) = (run.metrics, run.evaluation);
    Ok(Outcome { end, step, resumed_from, metrics, evaluation })
}

/// Takes up the last sound checkpoint and sets damaged ones aside.
fn resume(
    training: &mut dyn Training,
    dir: &RunDir,
    plan: &DrivePlan,
    observer: &mut dyn Observer,
) -> Result<Option<u64>> {
    let latest = dir.checkpoints().latest()?;
    for (step, error) in latest.refused {
        let aside = dir.checkpoints().set_aside(step)?;
        observer.notice(&format!("damaged checkpoint, kept as {}: {error}", aside.display()));
    }
    let Some(checkpoint) = latest.checkpoint else { return Ok(None) };
    if checkpoint.step > plan.steps {
        let expected = format!("at least {}, the step of the run's last checkpoint", checkpoint.step);
        return Err(Error::config("steps", expected, plan.steps));
    }
    training.restore(&checkpoint.files)?;
    Ok(Some(checkpoint.step))
}

/// The run's files that grow.
struct Logs {
    metrics: MetricsLog,
    timings: MetricsLog,
    events: EventFile,
}

impl Logs {
    fn open(dir: &RunDir, keep: Option<u64>) -> Result<Self> {
        Ok(Self {
            metrics: MetricsLog::open(dir.metrics_path(), keep)?,
            timings: MetricsLog::open(dir.timings_path(), keep)?,
            events: EventFile::open(dir.events_path(), keep, unix_seconds())?,
        })
    }

    fn append(&mut self, step: u64, kind: Kind, metrics: &Metrics, seconds: f64) -> Result<()> {
        self.metrics.append(&Record { step, kind, metrics: metrics.clone() })?;
        let now = unix_seconds();
        let timing = Metrics(vec![("seconds".into(), seconds), ("unix_seconds".into(), now)]);
        self.timings.append(&Record { step, kind, metrics: timing })?;
        let scalar = |(name, value): &(String, f64)| (format!("{}/{name}", kind.key()), *value as f32);
        let scalars = metrics.0.iter().map(scalar).collect();
        self.events.append(&Event { wall_seconds: now, step, scalars })
    }
}

/// Only for `timings.jsonl` and the event file: nothing that a result depends on reads the clock.
fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

struct Run<'a> {
    training: &'a mut dyn Training,
    dir: &'a RunDir,
    plan: &'a DrivePlan,
    observer: &'a mut dyn Observer,
    logs: Logs,
    remaining: Remaining,
    metrics: Metrics,
    evaluation: Metrics,
}

impl Run<'_> {
    fn step(&mut self, step: u64) -> Result<()> {
        let start = Instant::now();
        self.metrics = self.training.step(step)?;
        let seconds = start.elapsed().as_secs_f64();
        self.remaining.step(seconds);
        let (done, plan) = (step + 1, self.plan);
        self.logs.append(done, Kind::Train, &self.metrics, seconds)?;
        let evaluations = if plan.evaluate_every > 0 { plan.times_left(plan.evaluate_every, done) } else { 0 };
        let checkpoints = plan.times_left(plan.checkpoint_every, done);
        self.observer.stepped(&Progress {
            step: done,
            steps: plan.steps,
            metrics: &self.metrics,
            step_seconds: self.remaining.step_seconds().unwrap_or(seconds),
            remaining_seconds: self.remaining.seconds(plan.steps - done, evaluations, checkpoints),
        });
        Ok(())
    }

    fn evaluate(&mut self, step: u64) -> Result<()> {
        self.observer.evaluating(step);
        let start = Instant::now();
        self.evaluation = self.training.evaluate(step)?;
        let seconds = start.elapsed().as_secs_f64();
        self.remaining.evaluation(seconds);
        self.logs.append(step, Kind::Evaluation, &self.evaluation, seconds)?;
        self.observer.evaluated(step, &self.evaluation);
        Ok(())
    }

    fn checkpoint(&mut self, step: u64, evaluated: bool) -> Result<()> {
        let start = Instant::now();
        let evaluation: BTreeMap<String, f64> =
            if evaluated { self.evaluation.0.iter().cloned().collect() } else { BTreeMap::new() };
        // The lines first: a checkpoint must never be newer than the metrics that lead to it.
        self.logs.metrics.sync()?;
        let checkpoints = self.dir.checkpoints();
        let path = checkpoints.write(step, &self.training.state()?, &evaluation)?;
        checkpoints.prune(&self.plan.keep)?;
        self.remaining.checkpoint(start.elapsed().as_secs_f64());
        self.observer.checkpointed(step, &path);
        Ok(())
    }
}
