//! `musicrl align`.

use std::path::{Path, PathBuf};

use clap::Args;
use musicrl_core::policy::HierarchicalPolicyConfig;
use musicrl_pipeline::{
    align::{
        judges,
        run::{AlignContext, StageOutcome},
    },
    bundle::{Bundle, part},
    estimate,
    imported::{
        self, ImportedBase, is_imported,
        run::{CLIP_SECONDS, align_imported},
    },
    recipe::{AlignRecipe, EMBEDDED},
    run::{End, Versions},
};
use musicrl_zoo::Checkpoint;
use serde_json::json;

use super::{Context, drive};
use crate::{failure::Failure, machine::Hardware, progress::Bar, report::Report, words};

/// Flags of `align`.
#[derive(Debug, Args)]
pub struct Flags {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Run folder; a run that is there goes on from its last checkpoint [default: runs/RECIPE]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs a recipe.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let mut recipe = AlignRecipe::load(&flags.recipe, &judges::REWARDS)?;
    recipe.seed = context.seed.unwrap_or(recipe.seed);
    let name = flags.recipe.file_stem().unwrap_or_default();
    let out = flags.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let align_context = align_context(context, recipe.seed, out.clone())?;
    let path = &recipe.base.path;
    let (stages, bundle) = if is_imported(path) {
        let needed = check_imported_memory(&recipe)?;
        let base = ImportedBase::open(path, &align_context.device)?;
        let mut bar = Bar::new("align");
        bar.say(&format!("align: needs about {} of memory", words::bytes(needed)));
        let outcome = align_imported(&recipe, &base, &align_context, &mut bar)?;
        (outcome.stages, outcome.bundle)
    } else {
        let base = open_base(path)?;
        check_memory(&recipe, &base)?;
        let mut bar = Bar::new("align");
        let outcome = musicrl_pipeline::align::run::align(&recipe, &base, &align_context, &mut bar)?;
        (outcome.stages, outcome.bundle)
    };
    report(&out, stages, bundle, is_imported(path))
}

/// What came of it.
fn report(out: &Path, outcomes: Vec<StageOutcome>, bundle: Option<PathBuf>, imported: bool) -> Result<Report, Failure> {
    let stopped = outcomes.iter().find(|stage| stage.outcome.end == End::Interrupted);
    if let Some(stage) = stopped {
        let message = format!("stopped in stage `{}` after step {}", stage.name, stage.outcome.step);
        return Err(Failure::failed(message).hint(format!("resume with: {}", drive::this_command())));
    }
    let mut report = Report::new().fact("run", "run", out.display().to_string());
    let mut stages = Vec::new();
    for stage in &outcomes {
        report = report.line(format!("stage `{}`: checkpoint of step {}", stage.name, stage.chosen_step));
        for (name, value) in &stage.outcome.evaluation.0 {
            report = report.line(format!("  {name:<32}{value:.4}"));
        }
        for warning in &stage.warnings {
            report = report.line(format!("  note: {warning}"));
        }
        let metrics: serde_json::Map<_, _> =
            stage.outcome.evaluation.0.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
        stages.push(json!({
            "name": stage.name,
            "chosen_step": stage.chosen_step,
            "evaluation": metrics,
            "warnings": stage.warnings,
        }));
    }
    let bundle = bundle.unwrap_or_default();
    let next = if imported {
        format!("musicrl export {} --to aligned", words::shell(out))
    } else {
        format!("musicrl generate --bundle {} \"a calm piano piece\"", words::shell(&bundle))
    };
    Ok(report.value("stages", stages).fact("bundle", "aligned bundle", bundle.display().to_string()).next(next))
}

/// Refuses stages on an imported checkpoint that cannot fit into memory, before it is loaded; what the largest needs, in
/// bytes.
fn check_imported_memory(recipe: &AlignRecipe) -> Result<u64, Failure> {
    // An aligned one names the checkpoint that it came from.
    let source = ImportedBase::source_of(&recipe.base.path)?;
    let checkpoint = Checkpoint::open(&source)?;
    let mut largest = 0;
    for stage in &recipe.stage {
        let choice = imported::estimate::Choice::of(stage, CLIP_SECONDS);
        let estimate = imported::estimate::memory(&checkpoint, &choice)?;
        drive::check_memory(&estimate)?;
        largest = largest.max(estimate.total_bytes());
    }
    Ok(largest)
}

/// Refuses stages that cannot fit into memory.
pub fn check_memory(recipe: &AlignRecipe, base: &Bundle) -> Result<(), Failure> {
    let policy: HierarchicalPolicyConfig = base.config(part::POLICY)?;
    for stage in &recipe.stage {
        drive::check_memory(&estimate::models::stage(&policy, stage, base.clip_seconds()))?;
    }
    Ok(())
}

/// The base of a path: "embedded" is the one inside the program.
pub fn open_base(path: &Path) -> Result<Bundle, Failure> {
    if path == Path::new(EMBEDDED) {
        return Ok(musicrl_pipeline::embedded::base()?);
    }
    Ok(Bundle::open(path)?)
}

/// What a recipe runs in.
pub fn align_context(context: &Context, seed: u64, out: PathBuf) -> Result<AlignContext, Failure> {
    Ok(AlignContext {
        run: out,
        versions: Versions::new(context.backend.name(), seed, Hardware::look().record()),
        device: context.backend.device()?,
        interrupt: Some(context.interrupt()?),
    })
}
