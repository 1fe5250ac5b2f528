//! `musicrl train quality`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use burn::tensor::Device;
use clap::Args;
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part, sha256_hex},
    corpus::Corpus,
    estimate,
    music::load_codec,
    train::quality::{
        Agreement, DegradedSounds, QualityTraining, QualityTrainingConfig, RatedFiles, RatedSounds, RatingTable,
        SetAside, generated_clips, write_record,
    },
};
use musicrl_rewards::{QualityConfig, quality::RatingsOrigin};
use serde::{Deserialize, Serialize};

use super::{Flags, Preset};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    progress::Bar,
    report::Report,
};

/// Rows and sounds that were set aside and are shown; all of them are in the run.
const ASIDE_SHOWN: usize = 5;

/// Flags of `train quality`.
#[derive(Debug, Args)]
pub struct QualityFlags {
    /// Ratings that people gave, CSV or JSONL with `file`, `rating` (1 to 5) and `rater`; a file is a clip of the corpus
    /// or a sound beside the ratings [default: simulated ratings of degraded clips]
    #[arg(long, value_name = "FILE")]
    ratings: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// The model and its training.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    model: QualityConfig,
    training: QualityTrainingConfig,
}

/// Rated sounds and what could not be used of them.
type Rated = (Box<dyn RatedSounds>, Vec<SetAside>);

/// Trains the predictor and puts it into the bundle.
pub fn run(context: &Context, quality: &QualityFlags) -> Result<Report, Failure> {
    let flags = &quality.flags;
    let model = match flags.preset {
        Preset::Base => QualityConfig::base(),
        Preset::Small => QualityConfig::small(),
        Preset::Published => QualityConfig::published(),
    };
    let steps = flags.steps.unwrap_or(match flags.preset {
        Preset::Base => 800,
        Preset::Small => 2_000,
        Preset::Published => 50_000,
    });
    let mut training = match flags.preset {
        Preset::Base | Preset::Small => QualityTrainingConfig::default(),
        Preset::Published => QualityTrainingConfig::published(),
    };
    training.optimiser.decay_steps = steps;
    let mut settings: Settings = flags.settings(&Settings { model, training })?;
    settings.model.ratings = quality.ratings.as_ref().map_or(RatingsOrigin::Simulated, |_| RatingsOrigin::Human);
    settings.model.validate().map_err(Error::from)?;
    settings.training.validate("training", &settings.model)?;
    let corpus = flags.corpus(settings.model.front_end.sample_rate_hz)?;
    let mut bundle = flags.bundle()?;
    // People rated what they heard; simulated raters are given what the bundle makes.
    let read: &[&str] = match quality.ratings {
        Some(_) => &[],
        None => &[part::CODEC, part::TEXT_AUDIO, part::POLICY, part::FINE],
    };
    let mut recipe = flags.recipe(context, part::QUALITY, steps, settings.clone(), (&bundle, read))?;
    if let Some(path) = &quality.ratings {
        let bytes = fs::read(path).map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))?;
        recipe.inputs.insert("ratings".into(), sha256_hex(&bytes));
    }
    drive::check_memory(&estimate::models::quality(&settings.model, &settings.training))?;
    let table = quality.ratings.as_deref().map(RatingTable::read).transpose()?;
    let device = context.backend.device()?;
    let out = flags.out("quality");
    // Opened before sounds are made: a run of other settings should not have to wait for them to be refused.
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let (sounds, aside) = match (table, &quality.ratings) {
        (Some(table), Some(path)) => rated(context, table, path, &corpus, &settings, &device)?,
        _ => simulated(context, &bundle, &corpus, &settings, &device)?,
    };
    let training = settings.training.clone();
    let mut training = QualityTraining::new(&settings.model, training, sounds, recipe.seed, &device)?;
    write_record(&out, training.sounds(), &aside)?;
    let outcome = drive::run(context, "quality", &mut training, &dir, &recipe.plan())?;
    bundle.set(part::QUALITY, &settings.model, &training.model(), flags.precision.into())?;
    let report = flags.finish(part::QUALITY, bundle, &out, &outcome)?;
    let sounds = training.sounds();
    let ratings: usize = sounds.sounds().iter().map(|sound| sound.rated.count).sum();
    let report = report
        .fact("ratings", "ratings by", sounds.origin().name())
        .fact("rated_sounds", "rated sounds", sounds.sounds().len())
        .fact("rating_count", "ratings", ratings);
    let report = with_aside(report, &aside);
    let report = match training.measure()? {
        Some(agreement) => with_calibration(report, &agreement),
        None => report.line("no held-out sounds: nothing was measured"),
    };
    let reward = format!(
        "rewards = [{{ name = \"acoustic_quality\", weight = 1.0, range = [1.0, 5.0], bundle = \"{}\", windows = {{ kind = \
         \"ends\", fraction = 0.6667 }} }}]",
        flags.bundle.display()
    );
    Ok(report.next(format!("musicrl align RECIPE, with {reward}")))
}

/// What people rated.
fn rated(
    context: &Context,
    table: RatingTable,
    path: &Path,
    corpus: &Corpus,
    settings: &Settings,
    device: &Device,
) -> Result<Rated, Failure> {
    let model = settings.model.init(&device.clone().inner()).map_err(Error::from)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let share = settings.training.held_out_share;
    let mut counted = counted(context, "sounds")?;
    let files = RatedFiles::open(table, folder, corpus, (&model, share, context.seed()), &mut counted)?;
    let aside = files.aside().to_vec();
    Ok((Box::new(files), aside))
}

/// What simulated raters say of clips of the corpus and of the bundle's policy.
fn simulated(
    context: &Context,
    bundle: &Bundle,
    corpus: &Corpus,
    settings: &Settings,
    device: &Device,
) -> Result<Rated, Failure> {
    let seed = context.seed();
    let has = |names: &[&str]| names.iter().all(|name| bundle.parts().any(|part| part == *name));
    let config = &settings.training.simulated;
    let device = device.clone().inner();
    let generated = if has(&[part::CODEC, part::TEXT_AUDIO, part::POLICY]) {
        let mut counted = counted(context, "clips")?;
        generated_clips(bundle, corpus, config, seed, &device, &mut counted)?
    } else {
        Vec::new()
    };
    let codec = if has(&[part::CODEC]) { Some(load_codec(bundle, &device)?) } else { None };
    // A codec at another rate is none that the corpus could go through.
    let codec = codec.filter(|codec| codec.config().sample_rate_hz == corpus.sample_rate_hz());
    let sounds = DegradedSounds::new(corpus.clone(), generated, codec, config, seed)?;
    Ok((Box::new(sounds), Vec::new()))
}

/// Progress that stops when the user asks for it.
fn counted(
    context: &Context,
    what: &'static str,
) -> Result<impl FnMut(usize, usize) -> musicrl_pipeline::Result<()>, Failure> {
    let stop = context.interrupt()?;
    let mut bar = Bar::new(what);
    Ok(move |done: usize, total: usize| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })
}

fn with_aside(mut report: Report, aside: &[SetAside]) -> Report {
    if aside.is_empty() {
        return report.value("set_aside", 0);
    }
    report = report.fact("set_aside", "set aside", aside.len());
    for aside in aside.iter().take(ASIDE_SHOWN) {
        report = report.line(format!("  {}: {}", aside.what, aside.reason));
    }
    if aside.len() > ASIDE_SHOWN {
        report = report.line(format!("  and {} more: set_aside.jsonl of the run has them", aside.len() - ASIDE_SHOWN));
    }
    report
}

fn with_calibration(mut report: Report, agreement: &Agreement) -> Report {
    report = report.line("held-out sounds by their prediction: how many, mean prediction, mean rating");
    for bin in agreement.bins.iter().filter(|bin| bin.count > 0) {
        report = report.line(format!("  {:>5}  {:.2}  {:.2}", bin.count, bin.predicted, bin.rated));
    }
    report = report.line("the same by kind, with Spearman's correlation within it");
    for (name, group) in &agreement.groups {
        let within = group.spearman.map_or("-".into(), |value| format!("{value:.2}"));
        report = report
            .line(format!("  {:>5}  {:.2}  {:.2}  {within:>5}  {name}", group.sounds, group.predicted, group.rated));
    }
    report.value("held_out", agreement)
}
