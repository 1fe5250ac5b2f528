//! `musicrl zoo`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use musicrl_zoo::{NamedTensors, open};

use super::Context;
use crate::{failure::Failure, report::Report};

/// What to do with a published architecture.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a checkpoint on named tensors and write named outputs
    Run(RunFlags),
}

/// Flags of `zoo run`.
#[derive(Debug, Args)]
pub struct RunFlags {
    /// Folder of the checkpoint
    dir: PathBuf,
    /// Safetensors file of inputs, named `in.X`
    #[arg(long)]
    inputs: PathBuf,
    /// Safetensors file for the outputs, named `out.Y`
    #[arg(long)]
    outputs: PathBuf,
}

/// Runs it.
pub fn run(context: &Context, command: Command) -> Result<Report, Failure> {
    let Command::Run(flags) = command;
    let inputs = NamedTensors::read(&flags.inputs)?;
    let model = open(&flags.dir, &context.backend.device()?)?;
    let outputs = model.run(&inputs)?;
    outputs.write(&flags.outputs)?;
    let mut report = Report::new().fact("architecture", "architecture", model.architecture().name());
    for name in outputs.names() {
        let shape = outputs.get(name).map(|named| named.shape.clone()).unwrap_or_default();
        report = report.line(format!("{name:<36}{shape:?}"));
    }
    let names: Vec<&str> = outputs.names().collect();
    if names.is_empty() {
        report = report.line("nothing was computed: no output has all its inputs (named `in.X`) in the file");
    }
    Ok(report.value("outputs", &names))
}
