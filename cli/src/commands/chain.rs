//! A chain of the program's own commands: each is printed as a user would type it, and what is there already is not made
//! again. A chain that was stopped is taken up by the same command: every command of it keeps what it has done.

use std::time::Instant;

use clap::Parser as _;

use crate::{
    commands::{self, Context, drive},
    failure::Failure,
    flags::Flags,
    progress::Bar,
    report::Report,
    words,
};

/// One command of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name, and the key of what it reports.
    pub name: String,
    /// What stands after `musicrl`.
    pub arguments: Vec<String>,
    /// Whether its result is there already.
    pub done: bool,
}

/// A chain under way.
pub struct Chain<'a> {
    context: &'a Context,
    what: &'static str,
    bar: Bar,
    report: Report,
    seconds: Vec<(String, f64)>,
    start: Instant,
}

impl<'a> Chain<'a> {
    /// A chain that speaks as `what`.
    pub fn new(context: &'a Context, what: &'static str) -> Self {
        Self { context, what, bar: Bar::new(what), report: Report::new(), seconds: Vec::new(), start: Instant::now() }
    }

    /// Tells the user something.
    pub fn say(&self, text: &str) {
        self.bar.say(&format!("{}: {text}", self.what));
    }

    /// Runs a step, or says that its result is there.
    pub fn run(&mut self, step: Step) -> Result<(), Failure> {
        let typed: Vec<String> = step.arguments.iter().map(words::shell).collect();
        if step.done {
            self.say(&format!("{} is there: musicrl {}", step.name, typed.join(" ")));
            return Ok(());
        }
        self.say(&format!("{}: musicrl {}", step.name, typed.join(" ")));
        let begun = Instant::now();
        let line = std::iter::once("musicrl".to_string()).chain(step.arguments);
        let flags = Flags::try_parse_from(line).map_err(|error| Failure::failed(format!("{}: {error}", step.name)))?;
        // A seed of the step's own goes before that of the whole.
        let reseeded = flags.global.seed.map(|seed| self.context.with_seed(seed)).transpose()?;
        let context = reseeded.as_ref().unwrap_or(self.context);
        let done = commands::run(context, flags.command).map_err(|failure| {
            failure.hint(format!("what is done stays done; go on with: {}", drive::this_command()))
        })?;
        let took = begun.elapsed().as_secs_f64();
        self.seconds.push((step.name.clone(), took));
        self.say(&format!("{} took {}", step.name, words::duration(took)));
        let report = std::mem::take(&mut self.report);
        let report = report.line(format!("== {} ({})", step.name, words::duration(took)));
        self.report = report.append(&step.name, done);
        Ok(())
    }

    /// What the steps reported, with the seconds of each and of all under `step_seconds` and `seconds`; the seconds.
    pub fn finish(self) -> (Report, f64) {
        let all = self.start.elapsed().as_secs_f64();
        (self.report.value("step_seconds", self.seconds).value("seconds", all), all)
    }
}
