//! `musicrl bench gradient`.

use std::path::{Path, PathBuf};

use clap::Args;
use musicrl_pipeline::{
    align::{
        captions::Captions,
        judges::{Judges, REWARDS},
        stage::{Stage, StageParts},
    },
    demo::RECIPE,
    evaluate_gradient::evaluate_gradient,
    music::{Music, load_policy},
    recipe::AlignRecipe,
};

use super::held_out::with_progress;
use crate::{
    commands::{
        Context,
        align::{check_memory, open_base},
    },
    failure::Failure,
    report::Report,
};

/// What is measured.
#[derive(Debug, Args)]
pub struct Flags {
    /// Recipe whose first stage is measured, all parameters or those that it lets learn [default: the demo's, with all]
    recipe: Option<PathBuf>,
    /// Batches that are compared
    #[arg(long, default_value_t = 16)]
    batches: usize,
}

/// Signal and noise of the gradient at the beginning of a recipe's first stage.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let mut recipe = match &flags.recipe {
        Some(path) => AlignRecipe::load(path, &REWARDS)?,
        None => AlignRecipe::parse(RECIPE, Path::new("demo.toml"), &REWARDS)?,
    };
    recipe.seed = context.seed.unwrap_or(recipe.seed);
    let Some(config) = recipe.stage.first_mut() else { return Err(Failure::usage("the recipe has no stage")) };
    // A floor costs a measurement of its own, which nothing here reads.
    config.guards.entropy_floor_fraction = 0.0;
    if flags.recipe.is_none() {
        config.trainable.clear();
    }
    let config = config.clone();
    let base = open_base(&recipe.base.path)?;
    check_memory(&recipe, &base)?;
    let device = context.backend.device()?;
    let captions = Captions::load(&recipe.captions, recipe.seed)?;
    let music = Music::load(&base, &device)?;
    let policy = load_policy(&base, &device)?;
    let parts = StageParts {
        music: &music,
        judges: Judges::of_recipe(&config.rewards, &base, &device)?,
        captions: captions.learning,
        held_out: captions.held_out,
        start: policy.clone(),
        reference: policy,
        seed: recipe.seed,
        samples: None,
    };
    let mut stage = Stage::new(config, parts, base.clip_seconds(), &device)?;
    let measured =
        with_progress(context, "bench gradient", |progress| evaluate_gradient(&mut stage, flags.batches, progress))?;
    Ok(Report::new()
        .table(&measured)
        .value("batches", measured.batches)
        .value("clips", measured.clips)
        .value("reward", measured.reward)
        .value("rows", &measured.rows))
}
