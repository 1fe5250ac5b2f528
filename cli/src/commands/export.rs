//! `musicrl export`.

use std::path::PathBuf;

use clap::Args;
use musicrl_pipeline::imported::{ImportedBase, is_imported, run::export_imported};

use super::Context;
use crate::{failure::Failure, report::Report};

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder of a run of `align` on an imported checkpoint, or of its result (its `bundle`)
    run: PathBuf,
    /// New folder for the checkpoint
    #[arg(long)]
    to: PathBuf,
}

/// Exports it.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let inside = flags.run.join("bundle");
    let folder = if is_imported(&inside) { &inside } else { &flags.run };
    if !is_imported(folder) {
        let message = format!("{} holds no aligned checkpoint of another library", flags.run.display());
        return Err(Failure::usage(message)
            .hint("export takes the folder of a finished `musicrl align` whose base was an imported checkpoint"));
    }
    let base = ImportedBase::open(folder, &context.backend.device()?)?;
    export_imported(&base, &flags.to)?;
    Ok(Report::new()
        .fact("source", "aligned from", base.source.display().to_string())
        .fact("checkpoint", "checkpoint", flags.to.display().to_string())
        .next("load the folder with the library that the checkpoint came from, or `musicrl generate --bundle` it"))
}
