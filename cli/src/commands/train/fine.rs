//! `musicrl train fine`.

use musicrl_codec::{neural::CodecConfig, semantic::SemanticConfig};
use musicrl_pipeline::{
    bundle::part,
    corpus::Split,
    estimate,
    music::load_codec,
    token_set::TokenSet,
    train::fine::{FineTraining, FineTrainingConfig, MemoryTokens, TokenCrop},
};

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    report::Report,
};

/// Trains the fine stage on the tokens that the policy learned from and puts it into the bundle.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let mut preset = match flags.preset {
        Preset::Base => FineTrainingConfig::base(),
        Preset::Small => FineTrainingConfig::small(),
        Preset::Published => FineTrainingConfig::published(),
    };
    if let Some(steps) = flags.steps {
        (preset.steps, preset.optimiser.decay_steps) = (steps, steps);
    }
    let mut bundle = flags.bundle()?;
    let codec: CodecConfig = bundle.config(part::CODEC)?;
    let semantic: SemanticConfig = bundle.config(part::SEMANTIC)?;
    // The bundle's models decide how large the codebooks are, whatever the preset.
    preset.model.semantic_entries = semantic.clusters;
    preset.model.entries = codec.quantiser.entries;
    preset.model.quantisers = codec.quantiser.levels;
    let config = flags.settings(&preset)?;
    config.validate()?;
    let corpus = flags.corpus(codec.sample_rate_hz)?;
    let recipe =
        flags.recipe(context, part::FINE, config.steps, config.clone(), (&bundle, &[part::CODEC, part::SEMANTIC]))?;
    drive::check_memory(&estimate::models::fine(&config))?;
    let device = context.backend.device()?;
    let set = super::policy::tokens(context, &bundle, &corpus, bundle.clip_seconds(), &device)?;
    let per_semantic = config.model.frames_per_semantic * set.quantisers;
    let (train, held_out) = (part_of(&set, Split::Train, per_semantic)?, part_of(&set, Split::HeldOut, per_semantic)?);
    let codebooks = load_codec(&bundle, &device.clone().inner())?;
    let codebooks: Vec<Vec<f32>> =
        (0..config.model.quantisers).map(|level| codebooks.quantiser().entries(level)).collect();
    let mut training =
        FineTraining::new(config.clone(), train, held_out, recipe.seed, &device)?.with_codebooks(&codebooks)?;
    let out = flags.out("fine");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "fine", &mut training, &dir, &recipe.plan())?;
    bundle.set(part::FINE, &config.model, &training.model(), flags.precision.into())?;
    flags.finish(part::FINE, bundle, &out, &outcome)
}

fn part_of(set: &TokenSet, split: Split, codes_per_semantic: usize) -> Result<MemoryTokens, Failure> {
    let items = set.items.iter().filter(|item| item.split == split);
    let crops = items.map(|item| TokenCrop { semantic: item.semantic.clone(), codes: item.codes.clone() });
    Ok(MemoryTokens::new(crops.collect(), codes_per_semantic)?)
}
