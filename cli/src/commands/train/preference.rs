//! `musicrl train preference`.

mod imported;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use clap::Args;
use musicrl_core::policy::HierarchicalPolicyConfig;
use musicrl_feedback::PreferenceSet;
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    estimate,
    evaluate_preference::PreferenceReport,
    imported::is_imported,
    preference::{
        DataConfig, PreferenceData, PreferenceEnsemble, Reads,
        centre::{Centring, centre},
    },
    train::preference::{Init, PreferenceTraining, PreferenceTrainingConfig},
};

use super::{Flags as TrainFlags, Precision, Preset};
use crate::{
    commands::{Context, align::open_base, drive},
    failure::Failure,
    progress::Bar,
    report::Report,
    words,
};

/// Flags of `train preference`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Preference sets to learn from, one or several: SET,SET
    #[arg(long, required = true, value_delimiter = ',', num_args = 1..)]
    preferences: Vec<PathBuf>,
    /// Bundle folder whose policy the model begins from, and which it is added to
    #[arg(long)]
    bundle: PathBuf,
    /// Bundle folder for a copy of the bundle with the model, in place of --bundle: one listener's, an ablation's
    #[arg(long)]
    save_to: Option<PathBuf>,
    /// Other bundle folders that get the model as well, one or several: systems that were aligned from --bundle, to choose
    /// the best of n by it or to align on from
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "FOLDER")]
    add_to: Vec<PathBuf>,
    /// Run folder; a run that is there goes on from its last checkpoint [default: runs/preference]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Settings to start from
    #[arg(long, value_enum, default_value = "base")]
    preset: Preset,
    /// Steps of the run, unless the held-out loss ends it before [default: by the setting `epochs`]
    #[arg(long)]
    steps: Option<u64>,
    /// TOML file with settings over the preset's
    #[arg(long)]
    settings: Option<PathBuf>,
    /// A setting over the preset's and the file's, e.g. members=4, init=scratch, text=false, sound=false
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 200)]
    checkpoint_every: u64,
    /// Steps between evaluations; 0: none [default: a quarter of an epoch, or an eighth of a short run]
    #[arg(long)]
    evaluate_every: Option<u64>,
    /// Precision of the weights in the bundle
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

/// How the base inside the program is named.
pub(super) const EMBEDDED: &str = "embedded";

impl Flags {
    /// The flags that it has in common with the other trainings.
    fn common(&self, evaluate_every: u64) -> TrainFlags {
        TrainFlags {
            corpus: self.preferences.first().cloned().unwrap_or_default(),
            bundle: self.target().to_path_buf(),
            out: self.out.clone(),
            preset: self.preset,
            steps: self.steps,
            settings: self.settings.clone(),
            set: self.set.clone(),
            checkpoint_every: self.checkpoint_every,
            evaluate_every: Some(evaluate_every),
            precision: self.precision,
        }
    }

    fn target(&self) -> &Path {
        self.save_to.as_ref().unwrap_or(&self.bundle)
    }

    /// The bundles of `--add-to`, each of which must hear and speak as `bundle` does.
    fn others(&self, bundle: &Bundle) -> Result<Vec<(&Path, Bundle)>, Failure> {
        let language = |bundle: &Bundle| -> Result<_, Error> {
            let policy: HierarchicalPolicyConfig = bundle.config(part::POLICY)?;
            let parts = [part::TEXT_AUDIO, part::CODEC, part::SEMANTIC];
            let parts = parts.map(|part| bundle.sha256(part).map(str::to_string));
            Ok((policy.layout, policy.condition_slots, policy.condition_codebook, parts))
        };
        let ours = language(bundle)?;
        let open = |path: &PathBuf| {
            let other = Bundle::open(path)?;
            if language(&other)? != ours {
                let message = format!("{}: other tokens, captions or sound than those of the base", path.display());
                return Err(Failure::failed(message).hint("--add-to is for systems that were aligned from --bundle"));
            }
            Ok(other)
        };
        self.add_to.iter().map(|path| Ok((path.as_path(), open(path)?))).collect()
    }
}

/// Trains the preference model on a set, centres it on the policy and puts it into the bundle.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    if flags.target() == Path::new(EMBEDDED) {
        let message = "the base inside the program cannot be written to";
        return Err(Failure::usage(message).hint("name a folder for the bundle with the model: --save-to FOLDER"));
    }
    let preset = match flags.preset {
        Preset::Base | Preset::Small => PreferenceTrainingConfig::base(),
        Preset::Published => PreferenceTrainingConfig::published(),
    };
    let mut config = flags.common(0).settings(&preset)?;
    config.validate()?;
    if is_imported(&flags.bundle) {
        return imported::run(context, flags, config);
    }
    config.check_no_adapters()?;
    let mut bundle = open_base(&flags.bundle)?;
    let others = flags.others(&bundle)?;
    let policy: HierarchicalPolicyConfig = bundle.config(part::POLICY)?;
    let device = context.backend.device()?;
    let sets = open_sets(&flags.preferences)?;
    let data = pairs_of(context, &sets, (&config.data, config.reads()), &bundle, &device)?;
    let captions = captions(&sets);

    // The number of pairs to learn from, and so of steps, is known with the data.
    let learning = data.split(config.held_out_share, config.split_seed)?.learning;
    let steps = flags.steps.unwrap_or_else(|| config.steps(learning.len()));
    if config.optimiser.decay_steps == 0 {
        config.optimiser.decay_steps = steps;
    }
    let quarter = (learning.len() / config.batch_pairs / 4) as u64;
    let common = flags.common(flags.evaluate_every.unwrap_or(quarter.min(steps / 8).max(1)));
    let parts = [part::POLICY, part::TEXT_AUDIO, part::CODEC, part::SEMANTIC];
    let shared = (config.init == Init::Shared).then_some(part::PREFERENCE);
    let parts: Vec<&str> = parts.into_iter().chain(shared).collect();
    let mut recipe = common.recipe(context, part::PREFERENCE, steps, config.clone(), (&bundle, &parts))?;
    recipe.inputs.insert("pairs".into(), data.identity());
    drive::check_memory(&estimate::models::preference(&config, &policy, data.frames_max()))?;

    let mut training = PreferenceTraining::new(config.clone(), &bundle, data, recipe.seed, &device)?;
    let out = common.out("preference");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "preference", &mut training, &dir, &recipe.plan())?;
    let mut ensemble = training.finish()?;
    let centred = centre_on_policy(&mut ensemble, &bundle, &config, &captions, recipe.seed, &device)?;
    // The target comes last: where it has the model, all have it.
    for (path, mut other) in others {
        ensemble.store(&mut other, flags.precision.into())?;
        other.push_provenance(format!("preference: {}", drive::this_command()));
        other.save(path)?;
    }
    ensemble.store(&mut bundle, flags.precision.into())?;

    let (learning, held_out) = training.pairs();
    let mut report = common.finish(part::PREFERENCE, bundle, &out, &outcome)?;
    report =
        report.fact("learning_pairs", "pairs to learn from", learning).fact("held_out_pairs", "held out", held_out);
    if let Some(step) = training.best_step() {
        report = report.fact("best_step", "best weights, step", step);
        if step == 0 {
            report = report.line("note: nothing that was learned made the held-out loss smaller");
        }
    }
    if let Some(mean) = centred {
        report = report.fact("offset", "policy's mean score", mean);
    }
    if let Some(held_out) = training.report()? {
        report = with_measurement(report, &held_out);
    }
    Ok(report.next(next(flags.target())))
}

fn open_sets(paths: &[PathBuf]) -> Result<Vec<PreferenceSet>, Failure> {
    let mut sets: Vec<PreferenceSet> = Vec::with_capacity(paths.len());
    for path in paths {
        let set = PreferenceSet::open(path).map_err(Error::from)?;
        // A set that is learned from twice is a mistake of the command line.
        if sets.iter().any(|other| other.path() == set.path()) {
            return Err(Failure::usage(format!("the set {} is named twice", path.display())));
        }
        sets.push(set);
    }
    Ok(sets)
}

/// The sets as pairs, with progress where sound files are encoded or clips are heard.
pub(super) fn pairs_of(
    context: &Context,
    sets: &[PreferenceSet],
    (config, reads): (&DataConfig, Reads),
    bundle: &Bundle,
    device: &burn::tensor::Device,
) -> Result<PreferenceData, Failure> {
    let stop = context.interrupt()?;
    let mut bar = Bar::new("clips");
    sets.iter().flat_map(PreferenceSet::notices).for_each(|notice| bar.say(notice));
    let mut progress = |done: usize, total: usize| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    };
    Ok(PreferenceData::of_sets(sets, config, reads, bundle, device, &mut progress)?)
}

/// What the sets' clips were made for, once each.
fn captions(sets: &[PreferenceSet]) -> Vec<String> {
    let captions = sets
        .iter()
        .flat_map(PreferenceSet::clips)
        .map(|clip| clip.caption.trim())
        .filter(|caption| !caption.is_empty());
    let captions: BTreeSet<&str> = captions.collect();
    captions.into_iter().map(str::to_string).collect()
}

/// Where the policy's clips lay before they became zero; nothing is done where the settings want none.
fn centre_on_policy(
    ensemble: &mut PreferenceEnsemble,
    bundle: &Bundle,
    config: &PreferenceTrainingConfig,
    captions: &[String],
    seed: u64,
    device: &burn::tensor::Device,
) -> Result<Option<f64>, Failure> {
    if config.centring_clips == 0 {
        return Ok(None);
    }
    let captions: Vec<&str> =
        if captions.is_empty() { vec![""] } else { captions.iter().map(String::as_str).collect() };
    let centring = Centring { captions: &captions, clips: config.centring_clips, seed };
    Ok(Some(centre(ensemble, bundle, &centring, device)?))
}

/// Accuracy, log-loss and calibration on held-out pairs.
pub(super) fn with_measurement(mut report: Report, held_out: &PreferenceReport) -> Report {
    let intervals = [
        ("accuracy", held_out.accuracy),
        ("log-loss", Some(held_out.log_loss)),
        ("calibration error", held_out.calibration_error),
    ];
    for (name, interval) in intervals {
        if let Some(interval) = interval {
            let line = format!("{name:<22}{:.4} ({:.4} to {:.4})", interval.estimate, interval.low, interval.high);
            report = report.line(line);
        }
    }
    report.line(format!("{:<22}{:.4}", "log-loss of chance", held_out.chance_log_loss)).value("held_out", held_out)
}

fn next(bundle: &Path) -> String {
    let bundle = words::shell(bundle);
    format!("musicrl align RECIPE, with base.path = \"{bundle}\" and a reward `user_preference`")
}
