//! `musicrl bench`: what this machine's backends do, and what a bundle's models do on clips that they never learned from.

mod backends;
mod codec;
mod fine;
mod gradient;
mod held_out;

use clap::{Args, Subcommand};

use self::held_out::HeldOut;
use super::Context;
use crate::{failure::Failure, report::Report};

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Seconds to measure each piece of work [default: 2]
    #[arg(long)]
    seconds: Option<f64>,
    /// Instead of the backends
    #[command(subcommand)]
    model: Option<Model>,
}

/// The models that can be measured.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// The neural codec, level by level, beside Opus at its bit rate
    Codec(HeldOut),
    /// The fine stage, beside the coarse levels without it and all true levels
    Fine(HeldOut),
    /// The policy gradient: which parameters' share of it stands out of its noise
    Gradient(gradient::Flags),
}

/// Measures the backends, or a model.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    match &flags.model {
        // `--seconds` means something else there.
        Some(_) if flags.seconds.is_some() => Err(Failure::usage("--seconds stands before the model")
            .hint("put --seconds behind it: bench codec --seconds 5")),
        Some(Model::Codec(held_out)) => codec::run(context, held_out),
        Some(Model::Fine(held_out)) => fine::run(context, held_out),
        Some(Model::Gradient(flags)) => gradient::run(context, flags),
        None => backends::run(context, seconds(flags.seconds.unwrap_or(2.0))?),
    }
}

/// A duration from the command line.
fn seconds(seconds: f64) -> Result<f64, Failure> {
    if seconds > 0.0 && seconds <= 600.0 {
        return Ok(seconds);
    }
    Err(Failure::usage(format!("--seconds must be above 0 and at most 600, got {seconds}")))
}
