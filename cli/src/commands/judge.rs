//! `musicrl judge`.

use std::path::PathBuf;

use clap::Args;
use musicrl_pipeline::{
    align::judges::REWARDS,
    judge::{JudgeSettings, judge},
    recipe::AlignRecipe,
};

use super::{Context, align::open_base};
use crate::{failure::Failure, report::Report, words};

/// Flags of `judge`.
#[derive(Debug, Args)]
pub struct Flags {
    /// The recipe (TOML) whose rewards judge
    recipe: PathBuf,
    /// Sound files
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    audio: Vec<PathBuf>,
    /// Captions: one for all files, or one for each
    #[arg(long, required = true, num_args = 1.., value_name = "TEXT")]
    caption: Vec<String>,
    /// The stage whose rewards judge [default: the first]
    #[arg(long)]
    stage: Option<String>,
}

/// Judges sound files with a recipe's rewards.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let recipe = AlignRecipe::load(&flags.recipe, &REWARDS)?;
    let stage = match &flags.stage {
        None => recipe.stage.first(),
        Some(name) => recipe.stage.iter().find(|stage| stage.name == *name),
    };
    let Some(stage) = stage else {
        let names: Vec<&str> = recipe.stage.iter().map(|stage| stage.name.as_str()).collect();
        let message = format!("the recipe has no stage `{}`", flags.stage.as_deref().unwrap_or_default());
        return Err(Failure::usage(message).hint(format!("its stages: {}", names.join(", "))));
    };
    let settings = JudgeSettings { files: flags.audio.clone(), captions: flags.caption.clone() };
    let judged = judge(&open_base(&recipe.base.path)?, stage, &settings, &context.backend.device()?)?;
    Ok(Report::new()
        .table(&judged)
        .value("stage", &stage.name)
        .value("clips", &judged.clips)
        .next(format!("musicrl align {}", words::shell(&flags.recipe))))
}
