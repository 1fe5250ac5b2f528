//! A few steps before a run, for an estimate of its time; the training is then as it was.

use std::time::Instant;

use super::Checkpoints;
use crate::{Result, estimate::TimeEstimate, training::Training};

const STEPS: u64 = 3;

/// Takes the first steps of a run that has no checkpoint yet, measures them and puts the state back. `None` when there
/// is a checkpoint (the run has its own timings) or the run is too short to be worth it.
///
/// # Errors
/// The training's own.
pub fn calibrate(training: &mut dyn Training, checkpoints: &Checkpoints, steps: u64) -> Result<Option<TimeEstimate>> {
    if steps < 10 * STEPS || !checkpoints.steps()?.is_empty() {
        return Ok(None);
    }
    let before = training.state()?;
    let mut seconds = Vec::new();
    for step in 0..STEPS {
        let start = Instant::now();
        training.step(step)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    training.restore(&before)?;
    Ok(TimeEstimate::from_calibration(&seconds, steps))
}
