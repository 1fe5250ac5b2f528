//! `musicrl train text-audio`.

use musicrl_codec::neural::{CodecConfig, NeuralCodec};
use musicrl_core::random::{Key, Purpose};
use musicrl_pipeline::{
    bundle::{Bundle, part},
    corpus::Split,
    estimate,
    train::text_audio::{CorpusPairs, RoundTrip, TextAudioTraining, TextAudioTrainingConfig},
};
use musicrl_rewards::TextAudioConfig;
use serde::{Deserialize, Serialize};

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    report::Report,
};

/// The model and its training.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    model: TextAudioConfig,
    training: TextAudioTrainingConfig,
}

/// Trains the embedding and puts it into the bundle. Where the bundle has a codec, the embedding learns to hear sound
/// that went through it, for that is what it will judge.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let model = match flags.preset {
        Preset::Base => TextAudioConfig::base(),
        Preset::Small => TextAudioConfig::small(),
        Preset::Published => TextAudioConfig::published(),
    };
    let steps = flags.steps.unwrap_or(match flags.preset {
        Preset::Base => 1_500,
        Preset::Small => 2_000,
        Preset::Published => 100_000,
    });
    let mut training = TextAudioTrainingConfig::default();
    training.optimiser.decay_steps = steps;
    let settings = flags.settings(&Settings { model, training })?;
    let corpus = flags.corpus(settings.model.front_end.sample_rate_hz)?;
    let mut bundle = flags.bundle()?;
    let recipe = flags.recipe(context, part::TEXT_AUDIO, steps, settings.clone(), (&bundle, &[part::CODEC]))?;
    drive::check_memory(&estimate::models::text_audio(&settings.model, &settings.training))?;
    let device = context.backend.device()?;
    let pairs = |split| Box::new(CorpusPairs::new(corpus.clone(), split));
    let (train, held_out) = (pairs(Split::Train), pairs(Split::HeldOut));
    let mut training =
        TextAudioTraining::new(&settings.model, settings.training, train, held_out, recipe.seed, &device)?;
    if let Some(round_trip) = round_trip(&bundle, &device)? {
        training = training.with_round_trip(round_trip);
    }
    let out = flags.out("text-audio");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "text-audio", &mut training, &dir, &recipe.plan())?;
    bundle.set(part::TEXT_AUDIO, &settings.model, &training.finish()?, flags.precision.into())?;
    flags.finish(part::TEXT_AUDIO, bundle, &out, &outcome)
}

/// Through the bundle's codec and back, if it has one.
fn round_trip(bundle: &Bundle, device: &burn::tensor::Device) -> Result<Option<RoundTrip>, Failure> {
    if !bundle.parts().any(|name| name == part::CODEC) {
        return Ok(None);
    }
    let config: CodecConfig = bundle.config(part::CODEC)?;
    let codec: NeuralCodec = bundle.load(part::CODEC, config.init(device, Key::new(0, Purpose::Init))?)?;
    Ok(Some(Box::new(move |samples: &[f32]| {
        let coded = codec.encode_track(samples).and_then(|codes| codec.decode_track(&codes));
        // Sound that the codec refuses (an empty clip) is heard as it is.
        coded.unwrap_or_else(|_| samples.to_vec())
    })))
}
