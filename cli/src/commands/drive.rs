//! Every long run: an estimate first, progress, Ctrl-C, and how to go on.

use std::path::Path;

use musicrl_pipeline::{
    estimate::MemoryEstimate,
    run::{DrivePlan, End, Outcome, RunDir, Versions, calibrate, drive},
    training::Training,
};

use super::Context;
use crate::{failure::Failure, machine::Hardware, progress::Bar, words};

/// Refuses what cannot fit into the memory that is available now; says what it needs.
pub fn check_memory(estimate: &MemoryEstimate) -> Result<(), Failure> {
    let available = Hardware::look().available_bytes;
    // A system that does not say is not a reason to refuse.
    if available > 0 {
        estimate.check(available)?;
    }
    Ok(())
}

/// The run directory of resolved settings.
pub fn open(context: &Context, out: &Path, recipe: &str, seed: u64) -> Result<RunDir, Failure> {
    let versions = Versions::new(context.backend.name(), seed, Hardware::look().record());
    Ok(RunDir::create_or_open(out, recipe, &versions)?)
}

/// Drives a training to its end. Stopped by the user, it fails with the command that goes on.
pub fn run(
    context: &Context,
    what: &'static str,
    training: &mut dyn Training,
    dir: &RunDir,
    plan: &DrivePlan,
) -> Result<Outcome, Failure> {
    let mut bar = Bar::new(what);
    if let Some(estimate) = calibrate(training, &dir.checkpoints(), plan.steps)? {
        let time = words::duration(estimate.total_seconds());
        bar.say(&format!("{what}: {} steps, about {time} without evaluations", plan.steps));
    }
    let plan = DrivePlan { interrupt: Some(context.interrupt()?), ..plan.clone() };
    let outcome = drive(training, dir, &plan, &mut bar)?;
    drop(bar);
    match outcome.end {
        End::Finished => Ok(outcome),
        End::Interrupted => {
            let message = format!("stopped after step {} of {}; its checkpoint is kept", outcome.step, plan.steps);
            Err(Failure::failed(message).hint(format!("resume with: {}", this_command())))
        }
    }
}

/// The command line as it was typed, for a shell.
pub fn this_command() -> String {
    std::env::args_os().map(words::shell).collect::<Vec<_>>().join(" ")
}
