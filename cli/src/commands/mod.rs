//! The commands, one a file: settings from flags, one call into the studio, a report.

pub mod bench;
pub mod corpus;
pub mod doctor;
pub mod drive;
pub mod train;

use crate::{
    backend::Backend,
    failure::Failure,
    flags::{Command, Global},
    report::Report,
};

/// What every command may need of the global flags.
pub struct Context {
    /// Device family.
    pub backend: Backend,
    /// Seed, if one was given.
    pub seed: Option<u64>,
}

impl Context {
    /// Sets the threads and keeps the rest.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        if let Some(threads) = global.threads {
            if threads == 0 {
                return Err(Failure::usage("--threads must be at least 1"));
            }
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()
                .map_err(|error| Failure::failed(format!("cannot start {threads} threads: {error}")))?;
        }
        Ok(Self { backend: global.backend, seed: global.seed })
    }

    /// The seed, 1 where none was given.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }
}

/// Runs a command.
pub fn run(context: &Context, command: Command) -> Result<Report, Failure> {
    match command {
        Command::Corpus(command) => corpus::run(context, command),
        Command::Train(command) => train::run(context, &command),
        Command::Bench(flags) => bench::run(context, &flags),
        Command::Doctor => doctor::run(context),
    }
}
