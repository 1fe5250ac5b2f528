//! The commands, one a file: settings from flags, one call into the studio, a report.

pub mod align;
pub mod bench;
pub mod chain;
pub mod corpus;
pub mod demo;
pub mod doctor;
pub mod drive;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod generate;
pub mod import;
pub mod judge;
pub mod preferences;
pub mod report;
pub mod train;
pub mod zoo;

use std::{
    cell::OnceCell,
    sync::{Arc, atomic::AtomicBool},
};

use crate::{
    backend::Backend,
    failure::Failure,
    flags::{Command, Global},
    interrupt,
    report::Report,
};

/// What every command may need of the global flags.
pub struct Context {
    /// Device family.
    pub backend: Backend,
    /// Seed, if one was given.
    pub seed: Option<u64>,
    interrupt: OnceCell<Arc<AtomicBool>>,
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
        Ok(Self { backend: global.backend, seed: global.seed, interrupt: OnceCell::new() })
    }

    /// The flag that Ctrl-C sets, from the first call on.
    pub fn interrupt(&self) -> Result<Arc<AtomicBool>, Failure> {
        if let Some(flag) = self.interrupt.get() {
            return Ok(Arc::clone(flag));
        }
        let flag = interrupt::flag()?;
        Ok(Arc::clone(self.interrupt.get_or_init(|| flag)))
    }

    /// The same with another seed; the flag that Ctrl-C sets stays one.
    pub fn with_seed(&self, seed: u64) -> Result<Self, Failure> {
        let interrupt = OnceCell::from(self.interrupt()?);
        Ok(Self { backend: self.backend, seed: Some(seed), interrupt })
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
        Command::Demo(flags) => demo::run(context, &flags),
        Command::Generate(flags) => generate::run(context, &flags),
        Command::Evaluate(flags) => evaluate::run(context, &flags),
        Command::Experiment(command) => experiment::run(context, &command),
        Command::Preferences(command) => preferences::run(context, command),
        Command::Align(flags) => align::run(context, &flags),
        Command::Judge(flags) => judge::run(context, &flags),
        Command::Report(flags) => report::run(context, &flags),
        Command::Train(command) => train::run(context, &command),
        Command::Bench(flags) => bench::run(context, &flags),
        Command::Import(flags) => import::run(context, &flags),
        Command::Export(flags) => export::run(context, &flags),
        Command::Zoo(command) => zoo::run(context, command),
        Command::Doctor => doctor::run(context),
    }
}
