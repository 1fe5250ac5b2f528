//! `musicrl preferences`.

mod collect;
mod personal;
mod show;
mod study;
mod table;

use std::{fs, path::Path};

use clap::Subcommand;
use musicrl_rewards::listeners::{Population, catalogue};

use super::Context;
use crate::{failure::Failure, report::Report};

/// The commands about preference sets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play pairs of clips to simulated listeners and keep what they say
    Collect(Box<collect::Flags>),
    /// What a set holds, and how its listeners agree
    Show(show::Flags),
    /// What a reward model owes to its start, its text, the length of clips and confidence, on the same held-out pairs
    Study(Box<study::Flags>),
    /// Reward models for single listeners, from few of their own judgements
    Personal(Box<personal::Flags>),
    /// Make a set of judgements of sound files (CSV or JSONL)
    Import(table::ImportFlags),
    /// Write a set's judgements as CSV or JSONL
    Export(table::ExportFlags),
}

/// Runs one.
pub fn run(context: &Context, command: Command) -> Result<Report, Failure> {
    match command {
        Command::Collect(flags) => collect::run(context, &flags),
        Command::Show(flags) => show::run(context, &flags),
        Command::Study(flags) => study::run(context, &flags),
        Command::Personal(flags) => personal::run(context, &flags),
        Command::Import(flags) => table::import(context, &flags),
        Command::Export(flags) => table::export(&flags),
    }
}

/// The populations of a file, or those that ship.
fn populations(tastes: Option<&Path>) -> Result<Vec<Population>, Failure> {
    let Some(path) = tastes else {
        return catalogue::populations().map_err(|error| Failure::failed(error.to_string()));
    };
    let text =
        fs::read_to_string(path).map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))?;
    catalogue::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
