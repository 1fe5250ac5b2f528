//! `musicrl train policy`.

use std::sync::atomic::Ordering;

use burn::tensor::Device;
use musicrl_codec::{neural::CodecConfig, semantic::SemanticConfig};
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    corpus::Corpus,
    estimate,
    music::load_text_audio,
    token_set::TokenSet,
    train::policy::{PolicyTraining, PolicyTrainingConfig, Vocabulary},
};
use musicrl_rewards::TextAudioConfig;

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    progress::Bar,
    report::Report,
};

/// Turns the corpus into tokens, trains the policy on them and puts it into the bundle.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let steps = flags.steps.unwrap_or(match flags.preset {
        Preset::Base => 1_500,
        Preset::Small => 2_000,
        Preset::Published => 200_000,
    });
    let preset = match flags.preset {
        Preset::Base => PolicyTrainingConfig::base(steps),
        Preset::Small => PolicyTrainingConfig::small(steps),
        Preset::Published => PolicyTrainingConfig::published(steps),
    };
    let config = flags.settings(&preset)?;
    config.validate()?;
    let mut bundle = flags.bundle()?;
    let vocabulary = vocabulary(&bundle)?;
    let codec: CodecConfig = bundle.config(part::CODEC)?;
    let corpus = flags.corpus(codec.sample_rate_hz)?;
    let recipe = flags.recipe(
        context,
        part::POLICY,
        steps,
        config.clone(),
        (&bundle, &[part::CODEC, part::SEMANTIC, part::TEXT_AUDIO]),
    )?;
    drive::check_memory(&estimate::models::policy(&config, &vocabulary))?;
    let device = context.backend.device()?;
    let set = tokens(context, &bundle, &corpus, config.clip_seconds, &device)?;
    let text_audio = load_text_audio(&bundle, &device.clone().inner())?;
    let mut training =
        PolicyTraining::new(config.clone(), vocabulary, text_audio.quantiser(), &set, recipe.seed, &device)?;
    let out = flags.out("policy");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "policy", &mut training, &dir, &recipe.plan())?;
    let policy = training.policy();
    bundle.set(part::POLICY, policy.config(), &policy, flags.precision.into())?;
    bundle.set_clip_seconds(config.clip_seconds);
    let report = flags.finish(part::POLICY, bundle, &out, &outcome)?;
    Ok(report.fact("unigram_bits", "unigram bits a token", training.unigram_bits()))
}

/// The corpus as tokens, with progress; made once for the same corpus and models.
pub fn tokens(
    context: &Context,
    bundle: &Bundle,
    corpus: &Corpus,
    clip_seconds: f64,
    device: &Device,
) -> Result<TokenSet, Failure> {
    let stop = context.interrupt()?;
    let mut bar = Bar::new("tokens");
    let mut progress = |done: usize, total: usize| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    };
    Ok(TokenSet::of_corpus(bundle, corpus, clip_seconds, device, &mut progress)?)
}

fn vocabulary(bundle: &Bundle) -> Result<Vocabulary, Failure> {
    let codec: CodecConfig = bundle.config(part::CODEC)?;
    let semantic: SemanticConfig = bundle.config(part::SEMANTIC)?;
    let text_audio: TextAudioConfig = bundle.config(part::TEXT_AUDIO)?;
    Ok(Vocabulary {
        semantic_entries: semantic.clusters,
        acoustic_entries: codec.quantiser.entries,
        frame_rate_hz: f64::from(semantic.sample_rate_hz) / semantic.frame_samples as f64,
        condition_slots: text_audio.quantiser.levels,
        condition_entries: text_audio.quantiser.entries,
    })
}
