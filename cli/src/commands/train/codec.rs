//! `musicrl train codec`.

use musicrl_pipeline::{
    bundle::part,
    corpus::{Corpus, Split},
    estimate,
    train::{
        codec::{CodecTraining, CodecTrainingConfig},
        crops::CorpusCrops,
    },
};

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    report::Report,
};

/// Pieces of held-out sound that an evaluation hears.
const HELD_OUT_PIECES: usize = 32;

/// Trains the codec and puts it into the bundle.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let preset = |steps: Option<u64>| match flags.preset {
        Preset::Base => steps.map_or_else(CodecTrainingConfig::default, CodecTrainingConfig::base),
        Preset::Small => CodecTrainingConfig::small(steps.unwrap_or(3_000)),
        Preset::Published => CodecTrainingConfig::published(steps.unwrap_or(400_000)),
    };
    let config = flags.settings(&preset(flags.steps))?;
    let steps = flags.steps.unwrap_or(preset(None).optimiser.decay_steps);
    let corpus = flags.corpus(config.codec.sample_rate_hz)?;
    let mut bundle = flags.bundle()?;
    let recipe = flags.recipe(context, part::CODEC, steps, config.clone(), (&bundle, &[]))?;
    drive::check_memory(&estimate::models::codec(&config))?;
    let crops = CorpusCrops::new(&corpus, Split::Train)?;
    let held_out = held_out(&corpus, config.crop_frames * config.codec.hop())?;
    let device = context.backend.device()?;
    let mut training = CodecTraining::new(config.clone(), &crops, &held_out, recipe.seed, &device)?;
    let out = flags.out("codec");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "codec", &mut training, &dir, &recipe.plan())?;
    bundle.set(part::CODEC, &config.codec, &training.codec(), flags.precision.into())?;
    flags.finish(part::CODEC, bundle, &out, &outcome)
}

/// The beginnings of held-out clips, spread over all of them.
fn held_out(corpus: &Corpus, samples: usize) -> Result<Vec<Vec<f32>>, Failure> {
    let clips = corpus.spread(Split::HeldOut, HELD_OUT_PIECES);
    let pieces = clips.into_iter().map(|clip| corpus.crop(clip, 0, samples));
    Ok(pieces.collect::<Result<_, _>>()?)
}
