//! The flags, as they are typed.

use clap::{Args, Parser, Subcommand};

use crate::{backend::Backend, commands};

/// Text-to-music token models, aligned with preference: generate, score, learn, listen, repeat.
#[derive(Debug, Parser)]
#[command(name = "musicrl", version, arg_required_else_help = true)]
pub struct Flags {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Device family that does the mathematics
    #[arg(long, global = true, value_enum, default_value = "flex")]
    pub backend: Backend,
    /// Seed of everything random [default: 1, or the recipe's]
    #[arg(long, global = true)]
    pub seed: Option<u64>,
    /// Threads of the processor [default: all]
    #[arg(long, global = true)]
    pub threads: Option<usize>,
    /// Write the result as one JSON object
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The paper in miniature: R, U, RU and joint training on the base inside the program, compared, with a report
    Demo(commands::demo::Flags),
    /// Music from captions
    Generate(commands::generate::Flags),
    /// Captioned audio to learn from
    #[command(subcommand)]
    Corpus(commands::corpus::Command),
    /// Train one part of a bundle on a corpus
    #[command(subcommand)]
    Train(commands::train::Command),
    /// Move a policy towards what judges prefer, by a recipe
    Align(commands::align::Flags),
    /// What a recipe's rewards say about sound files: try a judge of your own before a long run
    Judge(commands::judge::Flags),
    /// Compare systems on the same prompts: ratings by people or simulated listeners, statistics, measures
    Evaluate(commands::evaluate::Flags),
    /// What the paper leaves open: rounds, other populations, weights of rewards, over-optimisation
    #[command(subcommand)]
    Experiment(commands::experiment::Command),
    /// What listeners prefer: collected from simulated ones, brought in and out, counted
    #[command(subcommand)]
    Preferences(commands::preferences::Command),
    /// One page about runs and their evaluation: figures, tables, clips
    Report(commands::report::Flags),
    /// Measure this machine's backends on the work of training, or a bundle's models on held-out clips
    Bench(commands::bench::Flags),
    /// Look at a published checkpoint: what it is, whether every tensor is as it must be, what it needs
    Import(commands::import::Flags),
    /// Give an aligned checkpoint back in the layout of the library that it came from
    Export(commands::export::Flags),
    /// Published architectures, held against other implementations
    #[command(subcommand)]
    Zoo(commands::zoo::Command),
    /// What this program and this machine have: backends, cores, memory
    Doctor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Flags::command().debug_assert();
    }
}
