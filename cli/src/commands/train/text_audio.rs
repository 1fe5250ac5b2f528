//! `musicrl train text-audio`.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use clap::Args;
use musicrl_codec::neural::{CodecConfig, NeuralCodec};
use musicrl_core::random::{Key, Purpose};
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    corpus::Split,
    estimate,
    imported::BertSentences,
    train::text_audio::{CorpusPairs, RoundTrip, TextAudioTraining, TextAudioTrainingConfig},
};
use musicrl_rewards::{SentenceEncoder as _, SentenceTowerConfig, TextAudioConfig};
use serde::{Deserialize, Serialize};

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    progress::Bar,
    report::Report,
};

/// Flags of `train text-audio`.
#[derive(Debug, Args)]
pub struct TextAudioFlags {
    /// Folder of a BERT checkpoint (MiniLM and its kind) whose frozen sentence vectors captions are read by [default: a
    /// small text tower of our own]
    #[arg(long, value_name = "DIR")]
    text_tower: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// The model and its training.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    model: TextAudioConfig,
    training: TextAudioTrainingConfig,
}

/// Trains the embedding and puts it into the bundle. Where the bundle has a codec, the embedding learns to hear sound
/// that went through it, for that is what it will judge.
pub fn run(context: &Context, text_audio: &TextAudioFlags) -> Result<Report, Failure> {
    let flags = &text_audio.flags;
    let device = context.backend.device()?;
    let sentences = text_audio.text_tower.as_ref().map(|dir| BertSentences::open(dir, &device)).transpose()?;
    let steps = flags.steps.unwrap_or(match flags.preset {
        Preset::Base => 1_500,
        Preset::Small => 2_000,
        Preset::Published => 100_000,
    });
    let settings = flags.settings(&preset(flags.preset, steps, sentences.as_ref()))?;
    if let (Some(_), None) = (&settings.model.sentence, &sentences) {
        return Err(Failure::usage("`model.sentence` without an encoder of sentences")
            .hint("name the folder of one: --text-tower DIR"));
    }
    let corpus = flags.corpus(settings.model.front_end.sample_rate_hz)?;
    let mut bundle = flags.bundle()?;
    let mut recipe = flags.recipe(context, part::TEXT_AUDIO, steps, settings.clone(), (&bundle, &[part::CODEC]))?;
    if let Some(sentences) = &sentences {
        recipe.inputs.insert("text_tower".into(), sentences.source().sha256.clone());
    }
    drive::check_memory(&estimate::models::text_audio(&settings.model, &settings.training))?;
    let pairs = |split| Box::new(CorpusPairs::new(corpus.clone(), split));
    let (train, held_out) = (pairs(Split::Train), pairs(Split::HeldOut));
    let mut training =
        TextAudioTraining::new(&settings.model, settings.training, train, held_out, recipe.seed, &device)?;
    let source = sentences.as_ref().map(|sentences| sentences.source().clone());
    if let Some(sentences) = sentences {
        training = read_captions(context, training, sentences)?;
    }
    if let Some(round_trip) = round_trip(&bundle, &device)? {
        training = training.with_round_trip(round_trip);
    }
    let out = flags.out("text-audio");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "text-audio", &mut training, &dir, &recipe.plan())?;
    bundle.set(part::TEXT_AUDIO, &settings.model, &training.finish()?, flags.precision.into())?;
    let tower = source.as_ref().map(|source| source.path.display().to_string());
    if let Some(source) = source {
        bundle.set_source(part::TEXT_AUDIO, source);
    }
    let report = flags.finish(part::TEXT_AUDIO, bundle, &out, &outcome)?;
    Ok(match tower {
        Some(tower) => report
            .fact("text_tower", "text tower", &tower)
            .line("note: the bundle names that folder and holds no copy of it; it has to stay there, as it is"),
        None => report,
    })
}

/// The settings of a preset; over a sentence encoder, its vectors' width, and no word is left out.
fn preset(preset: Preset, steps: u64, sentences: Option<&BertSentences>) -> Settings {
    let mut model = match preset {
        Preset::Base => TextAudioConfig::base(),
        Preset::Small => TextAudioConfig::small(),
        Preset::Published => TextAudioConfig::published(),
    };
    let mut training = TextAudioTrainingConfig::default();
    training.optimiser.decay_steps = steps;
    if let Some(sentences) = sentences {
        let hidden = SentenceTowerConfig::default_hidden();
        model.sentence = Some(SentenceTowerConfig { width: sentences.width(), hidden });
        training.word_drop = 0.0;
    }
    Settings { model, training }
}

/// The training with the frozen vectors of all captions.
fn read_captions(
    context: &Context,
    training: TextAudioTraining,
    sentences: BertSentences,
) -> Result<TextAudioTraining, Failure> {
    let stop = context.interrupt()?;
    let mut bar = Bar::new("captions");
    Ok(training.with_sentences(Arc::new(sentences), &mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })?)
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
