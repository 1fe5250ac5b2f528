//! `musicrl demo`: what the program does, on the base inside it, in minutes.
//!
//! - [`stages`]: the paper's systems R, U and RU and the joint control, evaluated against each other, as a chain of
//!   commands that a user can run one by one.
//! - [`adherence`]: one stage with text adherence, measured before and after.

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
    /// Run folder; a demo that was stopped goes on there [default: runs/demo, runs/adherence with --adherence]
    #[arg(long)]
    out: Option<PathBuf>,
    /// A quarter of the learning steps and pairs, a third of the prompts
    #[arg(long)]
    quick: bool,
    /// Only one stage, with text adherence, measured before and after
    #[arg(long, conflicts_with = "quick")]
    adherence: bool,
    /// With --adherence: learning steps [default: the recipe's]
    #[arg(long, requires = "adherence")]
    steps: Option<u64>,
    /// With --adherence: held-out captions that are measured before and after
    #[arg(long, default_value_t = DemoSettings::default().captions, requires = "adherence")]
    captions: usize,
}

/// Runs the demo.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let out = |usual: &str| flags.out.clone().unwrap_or_else(|| usual.into());
    if flags.adherence {
        return adherence::run(context, &out("runs/adherence"), flags.steps, flags.captions);
    }
    stages::run(context, &out("runs/demo"), flags.quick)
}
