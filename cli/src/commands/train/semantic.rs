//! `musicrl train semantic`.

use musicrl_pipeline::{
    bundle::part,
    corpus::Split,
    estimate,
    train::{
        crops::CorpusCrops,
        semantic::{SemanticTraining, SemanticTrainingConfig},
    },
};

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    report::Report,
};

/// Trains the tokeniser, clusters its features and puts it into the bundle.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let mut preset = match flags.preset {
        Preset::Base => SemanticTrainingConfig::base(),
        Preset::Small => SemanticTrainingConfig::small(),
        Preset::Published => SemanticTrainingConfig::published(),
    };
    if let Some(steps) = flags.steps {
        (preset.steps, preset.optimiser.decay_steps) = (steps, steps);
    }
    let config = flags.settings(&preset)?;
    config.validate()?;
    let corpus = flags.corpus(config.model.sample_rate_hz)?;
    let mut bundle = flags.bundle()?;
    let recipe = flags.recipe(context, part::SEMANTIC, config.steps, config.clone(), (&bundle, &[]))?;
    drive::check_memory(&estimate::models::semantic(&config))?;
    let device = context.backend.device()?;
    let train = CorpusCrops::new(&corpus, Split::Train)?;
    let held_out =
        if corpus.split(Split::HeldOut).is_empty() { None } else { Some(CorpusCrops::new(&corpus, Split::HeldOut)?) };
    let mut training = SemanticTraining::new(config.clone(), train, held_out, recipe.seed, &device)?;
    let out = flags.out("semantic");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "semantic", &mut training, &dir, &recipe.plan())?;
    let finished = training.finish()?;
    bundle.set(part::SEMANTIC, &config.model, &finished.tokeniser, flags.precision.into())?;
    let clustered = &finished.clustered;
    let held_out = finished.held_out.as_ref().unwrap_or(clustered);
    let report = flags.finish(part::SEMANTIC, bundle, &out, &outcome)?;
    Ok(report.fact("clusters_used", "clusters used", held_out.used).fact(
        "cluster_perplexity",
        "cluster perplexity",
        held_out.perplexity,
    ))
}
