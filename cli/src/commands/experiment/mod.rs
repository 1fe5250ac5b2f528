//! `musicrl experiment`: what the paper leaves open, each kind a chain of the program's own commands.
//!
//! - [`lab`]: the folder, and the steps that several kinds have.
//! - [`rounds`], [`matrix`], [`weights`], [`over_optimisation`]: a kind each.

mod lab;
mod matrix;
mod over_optimisation;
mod rounds;
mod weights;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use musicrl_pipeline::{
    evaluate::report::MadeBy,
    experiment::{EXPERIMENT_FILE, ExperimentDir, ExperimentRecipe, Findings, Kind, Plan, write},
    recipe::{BaseConfig, EMBEDDED},
    run::Versions,
};

use self::lab::Lab;
use super::{Context, align::open_base};
use crate::{failure::Failure, machine::Hardware, report::Report, words};

/// The kinds.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collect on the current model, fit the preference model again, align on; against one round of the same size
    Rounds(Flags),
    /// Train on the choices of each population, let every population judge: a matrix
    Matrix(Flags),
    /// Sweep the weights of the three rewards under equal budgets: a Pareto front
    Weights(Flags),
    /// Force reward over-optimisation, and measure what the guarded choice of the checkpoint keeps
    OverOptimisation(Flags),
}

/// Flags of every kind.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder; an experiment that was stopped goes on there [default: runs/KIND]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Bundle folder to start from [default: the recipe's, or the base inside the program]
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// A recipe in the place of the one that ships (see recipes/experiments)
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// The recipe's quick sizes: a smoke run, whose numbers say little
    #[arg(long)]
    quick: bool,
}

/// Runs an experiment.
pub fn run(context: &Context, command: &Command) -> Result<Report, Failure> {
    let (kind, flags) = match command {
        Command::Rounds(flags) => (Kind::Rounds, flags),
        Command::Matrix(flags) => (Kind::Matrix, flags),
        Command::Weights(flags) => (Kind::Weights, flags),
        Command::OverOptimisation(flags) => (Kind::OverOptimisation, flags),
    };
    let out = flags.out.clone().unwrap_or_else(|| Path::new("runs").join(kind.name()));
    let recipe = resolved(context, kind, flags)?;
    let versions = Versions::new(context.backend.name(), recipe.seed, Hardware::look().record());
    let dir = ExperimentDir::create_or_open(&out, &recipe, &versions)?;
    let mut lab = Lab::new(context, &dir, &recipe)?;
    lab.say("listeners and ratings here are SIMULATED; no number of this run is about people");
    let found = match &recipe.plan {
        Plan::Rounds { population, pairs, rounds } => {
            Findings::Rounds(rounds::run(&mut lab, population, *pairs, *rounds)?)
        }
        Plan::Matrix { populations, pairs } => Findings::Matrix(matrix::run(&mut lab, populations, *pairs)?),
        Plan::Weights { population, pairs, weights } => {
            Findings::Weights(weights::run(&mut lab, population, *pairs, weights)?)
        }
        Plan::OverOptimisation { population, pairs, validation_pairs, seeds } => Findings::OverOptimisation(
            over_optimisation::run(&mut lab, population, [*pairs, *validation_pairs], *seeds)?,
        ),
    };
    let made_by = MadeBy { musicrl: versions.musicrl, burn: versions.burn, backend: versions.backend };
    let (experiment, figure) = write(dir.path(), recipe.clone(), made_by, found)?;
    lab.report()?;
    let (mut report, seconds) = lab.finish();
    if flags.quick {
        report = report.line("a quick run: sizes for a smoke test, whose numbers say little");
    }
    let page = out.join("report.html");
    Ok(report
        .table(&experiment.result)
        .line(format!("{} in all; listeners were simulated", words::duration(seconds)))
        .value("experiment", &experiment)
        .fact("file", "experiment", out.join(EXPERIMENT_FILE).display().to_string())
        .fact("figure", "figure", out.join(figure).display().to_string())
        .next(format!("open {} in a browser", words::shell(page))))
}

/// The recipe with seed and base as they are for this run.
fn resolved(context: &Context, kind: Kind, flags: &Flags) -> Result<ExperimentRecipe, Failure> {
    let (text, path) = match &flags.recipe {
        None => (kind.recipe().to_string(), PathBuf::from(format!("{kind}.toml"))),
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))?;
            (text, path.clone())
        }
    };
    let mut recipe = ExperimentRecipe::parse(kind, &text, &path, flags.quick)?;
    recipe.seed = context.seed.unwrap_or(recipe.seed);
    recipe.validate()?;
    let named = flags.bundle.clone().map(|path| BaseConfig { path, sha256: None });
    let mut base = named.or(recipe.base).unwrap_or_else(|| BaseConfig { path: PathBuf::from(EMBEDDED), sha256: None });
    let identity = open_base(&base.path)?.identity();
    if let Some(wanted) = base.sha256.filter(|wanted| *wanted != identity) {
        let message = format!("base.sha256 is {wanted}, and {} is {identity}", base.path.display());
        return Err(Failure::usage(message));
    }
    base.sha256 = Some(identity);
    if base.path != Path::new(EMBEDDED) {
        base.path = fs::canonicalize(&base.path).unwrap_or(base.path);
    }
    recipe.base = Some(base);
    Ok(recipe)
}
