//! `musicrl demo`: what the program does, on the base inside it, in minutes.
//!
//! - [`adherence`]: one stage with text adherence, measured before and after.
//! - [`stages`]: the paper's systems R, U and RU and the joint control, evaluated against each other, as a chain of
//!   commands that a user can run one by one.

mod adherence;
mod stages;

use std::path::PathBuf;

use clap::Args;
use musicrl_pipeline::demo::DemoSettings;

use super::Context;
use crate::{failure::Failure, report::Report};

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Run folder; a demo that was stopped goes on there [default: runs/demo, runs/stages with --stages]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The paper's systems R, U and RU and the joint control, evaluated against each other
    #[arg(long)]
    stages: bool,
    /// With --stages: a third of the steps and of the prompts
    #[arg(long, requires = "stages")]
    quick: bool,
    /// Learning steps [default: the recipe's]
    #[arg(long, conflicts_with = "stages")]
    steps: Option<u64>,
    /// Held-out captions that are measured before and after
    #[arg(long, default_value_t = DemoSettings::default().captions, conflicts_with = "stages")]
    captions: usize,
}

/// Runs the demo.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let out = |usual: &str| flags.out.clone().unwrap_or_else(|| usual.into());
    if flags.stages {
        return stages::run(context, &out("runs/stages"), flags.quick);
    }
    adherence::run(context, &out("runs/demo"), flags.steps, flags.captions)
}
