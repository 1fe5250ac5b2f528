//! `musicrl preferences study`.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Instant,
};

use burn::tensor::Device;
use clap::Args;
use musicrl_core::{policy::HierarchicalPolicyConfig, stats::Interval};
use musicrl_feedback::PreferenceSet;
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    estimate,
    preference::PreferenceData,
    recipe::EMBEDDED,
    run::Versions,
    study::{
        Curve, Figures, Study, StudyInput, StudySettings, Variant,
        run::{Stage, study},
        variant::QUICK,
    },
    train::preference::PreferenceTrainingConfig,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Context, populations};
use crate::{
    commands::{align::open_base, drive, train::resolve_settings},
    failure::Failure,
    machine::Hardware,
    progress::Bar,
    report::Report,
    words,
};

/// Flags that both kinds of study have.
#[derive(Debug, Args)]
pub struct Common {
    /// Folder of the preference set
    pub set: PathBuf,
    /// Bundle whose policy the models begin from and whose judges are the predictors [default: the base inside the
    /// program]
    #[arg(long, default_value = EMBEDDED, hide_default_value = true)]
    pub bundle: PathBuf,
    /// Other bundles that played clips of the set, to hear those without a sound
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    pub makers: Vec<PathBuf>,
    /// Folder of the study; trainings that are done there are not done again
    #[arg(long)]
    pub out: PathBuf,
    /// TOML file with settings of the study over its own
    #[arg(long)]
    pub settings: Option<PathBuf>,
    /// A setting over the file's, e.g. training.members=4, training.optimiser.learning_rate=1e-3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Times that every pair is seen [default: that of the settings]
    #[arg(long)]
    pub epochs: Option<f64>,
    /// A file of populations in the place of those that ship
    #[arg(long)]
    pub tastes: Option<PathBuf>,
}

/// Flags of `preferences study`.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    common: Common,
    /// Parts of the cross-validation over captions; 1 is a single division [default: 3]
    #[arg(long)]
    folds: Option<usize>,
    /// Only these variants: policy, with-sound, scratch, scratch-with-sound, without-text, crop-1-2, crop-1-4, crop-3-20,
    /// text-adherence, acoustic-quality, confidence-weighted, confident-only
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    only: Vec<String>,
    /// One epoch, one division, the first variants: to see whether all is in place
    #[arg(long, conflicts_with_all = ["only", "folds", "epochs"])]
    quick: bool,
}

/// What a study is about, read.
pub struct Opened {
    pub set: PreferenceSet,
    pub bundle: Bundle,
    pub makers: Vec<Bundle>,
    pub data: PreferenceData,
    pub device: Device,
    pub versions: Versions,
}

impl Common {
    /// The preset with the settings file and the overrides in place.
    pub fn resolve<S: Serialize + DeserializeOwned>(&self, preset: &S) -> Result<S, Failure> {
        resolve_settings(preset, self.settings.as_deref(), &self.overrides)
    }

    /// Reads set, bundles and pairs; refuses what memory cannot hold.
    pub fn open(&self, context: &Context, training: &PreferenceTrainingConfig, seed: u64) -> Result<Opened, Failure> {
        let (set, bundle) = (PreferenceSet::open(&self.set).map_err(Error::from)?, open_base(&self.bundle)?);
        let makers = self.makers.iter().map(|path| open_base(path)).collect::<Result<Vec<_>, _>>()?;
        let device = context.backend.device()?;
        let stop = context.interrupt()?;
        let mut bar = Bar::new("clips");
        set.notices().iter().for_each(|notice| bar.say(notice));
        let mut progress = |done: usize, total: usize| {
            bar.count(done as u64, total as u64);
            if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
        };
        let data = PreferenceData::of_set(&set, &training.data, training.reads(), &bundle, &device, &mut progress)?;
        drop(bar);
        let policy: HierarchicalPolicyConfig = bundle.config(part::POLICY)?;
        drive::check_memory(&estimate::models::preference(training, &policy, data.frames_max()))?;
        let versions = Versions::new(context.backend.name(), seed, Hardware::look().record());
        Ok(Opened { set, bundle, makers, data, device, versions })
    }
}

/// What an interrupted study says.
pub fn stopped(error: Error) -> Failure {
    match error {
        Error::Interrupted => Failure::failed("stopped; trainings that were finished are kept")
            .hint(format!("go on with: {}", drive::this_command())),
        other => other.into(),
    }
}

/// Studies.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let start = Instant::now();
    let mut settings: StudySettings = flags.common.resolve(&StudySettings::base())?;
    settings.seed = context.seed.unwrap_or(settings.seed);
    settings.folds = flags.folds.unwrap_or(settings.folds);
    settings.training.epochs = flags.common.epochs.unwrap_or(settings.training.epochs);
    let mut only = flags.only.clone();
    if flags.quick {
        (settings.folds, settings.training.epochs) = (1, 1.0);
        only = QUICK.map(str::to_string).to_vec();
    }
    settings.validate()?;
    // Hearing every clip takes minutes: only for variants that are told of it.
    let sound =
        settings.training.sound && (only.is_empty() || only.iter().any(|name| Variant::is_told_of_the_sound(name)));
    let read = PreferenceTrainingConfig { sound, ..settings.training.clone() };
    let opened = flags.common.open(context, &read, settings.seed)?;
    let known = populations(flags.common.tastes.as_deref())?;
    let input = StudyInput {
        set: &opened.set,
        data: &opened.data,
        bundle: &opened.bundle,
        makers: &opened.makers,
        populations: &known,
        settings: &settings,
        only: &only,
    };
    let stop = context.interrupt()?;
    let (mut hearing, mut bar) = (None, None);
    let mut said = (String::new(), 0);
    let done = study(&input, &flags.common.out, &opened.versions, &opened.device, &mut |stage, done, total| {
        match stage {
            Stage::Hearing => hearing.get_or_insert_with(|| Bar::new("hearing")).count(done, total),
            Stage::Training { title, fold } => {
                hearing = None;
                let bar = bar.get_or_insert_with(|| Bar::new("study"));
                if (said.0.as_str(), said.1) != (title, fold) {
                    said = (title.to_string(), fold);
                    bar.say(&format!("study: {title}, part {fold} of {}", settings.folds));
                }
                bar.count(done, total);
            }
        }
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    });
    drop((hearing, bar));
    let done = done.map_err(stopped)?;
    Ok(report_of(&done, &flags.common.out, start.elapsed().as_secs_f64()))
}

fn report_of(study: &Study, out: &Path, seconds: f64) -> Report {
    let mut report = Report::new()
        .line(format!("accuracy on held-out pairs, {} part(s) of a cross-validation over captions", study.folds));
    report = table(report, &study.curves);
    for note in &study.notes {
        report = report.line(format!("note: {note}"));
    }
    let file = out.join("study.json").display().to_string();
    report
        .fact("trained", "trainings now", study.trained)
        .line(format!("{} in all", words::duration(seconds)))
        .value("seconds", seconds)
        .value("study", study)
        .fact("file", "study", file)
        .next(format!("musicrl report {}", words::shell(out)))
}

/// The figures of curves, a line each.
pub fn table(mut report: Report, curves: &[Curve]) -> Report {
    let Some(first) = curves.iter().find_map(|curve| curve.figures.as_ref()) else { return report };
    report = report.line(format!(
        "{:<34}{:>24}{:>26}{:>10}{:>13}{:>9}",
        "", "accuracy", "less the first's", "log-loss", "calibration", "of way"
    ));
    for curve in curves {
        if let Some(figures) = &curve.figures {
            report = report.line(line(&curve.name, figures));
        }
    }
    let ceiling = first.ceiling.map_or(String::new(), |ceiling| {
        format!("; ceiling {:.1} % (the taste that simulated listeners share, and their noise)", 100.0 * ceiling)
    });
    report = report.line(format!(
        "{} pairs, {} decided, {} clusters of captions{ceiling}",
        first.pairs, first.decided, first.clusters
    ));
    heard(report, curves)
}

/// Which properties of a known taste each curve's scores follow.
fn heard(mut report: Report, curves: &[Curve]) -> Report {
    let all = || curves.iter().filter_map(|curve| Some((curve, curve.figures.as_ref()?.hears.as_ref()?)));
    let Some((_, first)) = all().next() else { return report };
    let line = |name: &str, cells: Vec<String>, rest: String| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>18}")).collect();
        format!("{name:<34}{cells}{rest:>8}")
    };
    let names = first.weights.iter().map(|heard| heard.property.clone()).collect();
    report = report.line("what of the listeners' taste the scores follow (1: as much as it counts, 0: not at all)");
    report = report.line(line("", names, "rest".into()));
    let shares = first.weights.iter().map(|heard| format!("{:.0} %", 100.0 * heard.share)).collect();
    report = report.line(line("share of the taste's variance", shares, String::new()));
    for (curve, hears) in all() {
        let cells = hears.weights.iter().map(|heard| format!("{:.2}", heard.weight)).collect();
        report = report.line(line(&curve.name, cells, format!("{:.0} %", 100.0 * hears.rest)));
    }
    report
}

fn line(name: &str, figures: &Figures) -> String {
    let percent =
        |it: Interval| format!("{:.1} [{:.1}, {:.1}] %", 100.0 * it.estimate, 100.0 * it.low, 100.0 * it.high);
    let points =
        |it: Interval| format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * it.estimate, 100.0 * it.low, 100.0 * it.high);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    format!(
        "{name:<34}{:>24}{:>26}{:>10}{:>13}{:>9}",
        or_none(figures.accuracy.map(percent)),
        or_none(figures.difference.map(points)),
        or_none(figures.log_loss.map(|it| format!("{:.4}", it.estimate))),
        or_none(figures.calibration_error.map(|it| format!("{:.3}", it.estimate))),
        or_none(figures.share_of_ceiling.map(|it| format!("{:.0} %", 100.0 * it.estimate))),
    )
}
