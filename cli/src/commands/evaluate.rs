//! `musicrl evaluate`.

use std::{path::PathBuf, sync::atomic::Ordering, time::Instant};

use clap::Args;
use musicrl_core::{sampling::SamplingConfig, stats::BootstrapConfig};
use musicrl_pipeline::{
    Error,
    align::judges::REWARDS,
    evaluate::{
        BestOfArgument, EVALUATION_FILE, EvaluateInput, EvaluateSettings, Evaluation, PanelSettings, PlaySpec, Prompts,
        RatingsInput, ReferenceSettings, StatisticsSettings, System, SystemArgument, evaluate, evaluate_ratings,
        form::{FORM_FILE, KEY_FILE},
        panel::JUDGES,
        read_ratings,
    },
};

use super::Context;
use crate::{failure::Failure, progress::Bar, report::Report, words};

/// Simulated listeners who take turns where none are asked for.
const LISTENERS: usize = 20;

/// Flags of `evaluate`.
#[derive(Debug, Args)]
pub struct Flags {
    /// NAME=FOLDER of a bundle or a run, or a folder alone; `embedded` is the base inside the program
    systems: Vec<String>,
    /// Of system NAME's clips the best of N is heard, by the rewards of a recipe's first stage (or of RECIPE#STAGE) with the
    /// models of its base, or by rewards of the system's own bundle, with `+` between them
    #[arg(long, value_name = "NAME=N:RECIPE|REWARD")]
    best_of: Vec<String>,
    /// Captions, one a line, or CSV or JSONL with `caption` [default: 101 of the program's own]
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Only the so many first prompts
    #[arg(long)]
    count: Option<usize>,
    /// Clips of each prompt
    #[arg(long, default_value_t = 1)]
    takes: usize,
    /// Length of a clip [default: the shortest of the systems' training clips]
    #[arg(long)]
    seconds: Option<f64>,
    /// Ratings from outside: a filled form (CSV, JSONL) or a preference set; without systems nothing is played
    #[arg(long)]
    ratings: Option<PathBuf>,
    /// Key of the export that the form belongs to [default: key.json beside the form]
    #[arg(long, requires = "ratings")]
    key: Option<PathBuf>,
    /// Writes the clips under blinded names into this new folder, with a form to fill and its key
    #[arg(long)]
    export: Option<PathBuf>,
    /// Population of simulated listeners, or `none` [default: town, or none with --ratings]
    #[arg(long)]
    population: Option<String>,
    /// Raters of each clip: simulated ones, and those that an exported form is for
    #[arg(long, default_value_t = 3)]
    raters: usize,
    /// Simulated listeners, who take turns over the prompts [default: 20, or as many as --raters]
    #[arg(long)]
    listeners: Option<usize>,
    /// Rewards that are reported as automatic measures
    #[arg(long = "measure", default_values_t = vec![REWARDS[0].to_string()])]
    measures: Vec<String>,
    /// Corpus whose held-out clips embeddings are compared with, or `none` [default: etudes, for the base's embedding]
    #[arg(long)]
    reference: Option<PathBuf>,
    /// Clips of the reference
    #[arg(long, default_value_t = 256)]
    reference_clips: usize,
    /// Bootstrap resamples of prompts
    #[arg(long, default_value_t = 2_000)]
    resamples: usize,
    /// Share of resamples that intervals cover
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// Divides the logits
    #[arg(long, default_value_t = 0.99)]
    temperature: f64,
    /// Only the so many likeliest tokens
    #[arg(long)]
    top_k: Option<usize>,
    /// Only the likeliest tokens whose probabilities reach this sum
    #[arg(long)]
    top_p: Option<f64>,
    /// Classifier-free guidance: 1 is none
    #[arg(long, default_value_t = 1.0)]
    guidance: f64,
    /// Clips at once: more memory, less time, the same clips
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Folder for evaluation.json
    #[arg(long, default_value = "runs/evaluate")]
    out: PathBuf,
}

/// Word for "leave it out".
const NONE: &str = "none";

/// Compares systems.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let start = Instant::now();
    let ratings = flags.ratings.as_deref().map(|path| read_ratings(path, flags.key.as_deref())).transpose()?;
    let evaluation = match (flags.systems.is_empty(), ratings) {
        (true, _) if !flags.best_of.is_empty() => {
            return Err(Failure::usage("--best-of needs the system that plays")
                .hint("name it: musicrl evaluate base=embedded best=embedded --best-of best=8:text_adherence"));
        }
        (true, None) => {
            return Err(Failure::usage("no system and no ratings")
                .hint("musicrl evaluate base=embedded new=runs/demo, or musicrl evaluate --ratings form.csv"));
        }
        (true, Some(ratings)) => {
            if flags.export.is_some() {
                return Err(Failure::usage("--export needs the systems that play").hint("name them: NAME=FOLDER ..."));
            }
            evaluate_ratings(&ratings, &statistics(flags), context.seed())?
        }
        (false, ratings) => play(context, flags, ratings)?,
    };
    evaluation.write(&flags.out)?;
    let file = flags.out.join(EVALUATION_FILE).display().to_string();
    let report = Report::new()
        .table(&evaluation)
        .line(format!("{} in all", words::duration(start.elapsed().as_secs_f64())))
        .value("evaluation", &evaluation)
        .value("seconds", start.elapsed().as_secs_f64())
        .fact("file", "evaluation", file);
    Ok(match &flags.export {
        Some(dir) => report.value("export", dir.display().to_string()).next(format!(
            "let people fill the column `rating` of {} (1 to 5) while they hear the clips, without {KEY_FILE}; then \
             musicrl evaluate --ratings {}",
            dir.join(FORM_FILE).display(),
            words::shell(dir.join(FORM_FILE))
        )),
        None if flags.ratings.is_none() => {
            report.next(format!("let people rate: musicrl evaluate {} --export ratings", again(flags)))
        }
        None => report,
    })
}

/// The systems of this evaluation, for a shell.
fn again(flags: &Flags) -> String {
    let systems = flags.systems.iter().map(words::shell);
    systems
        .chain(flags.best_of.iter().map(|best| format!("--best-of {}", words::shell(best))))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The systems, with judges for those of whose clips the best is heard.
fn systems(flags: &Flags) -> Result<Vec<System>, Failure> {
    let arguments = SystemArgument::parse_all(&flags.systems)?;
    let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
    let choices = BestOfArgument::parse_all(&flags.best_of, &names)?;
    let open = |argument: &SystemArgument| -> Result<System, Failure> {
        let system = System::open(argument)?;
        Ok(match choices.iter().find(|choice| choice.name == system.name) {
            Some(choice) => system.choosing(choice)?,
            None => system,
        })
    };
    arguments.iter().map(open).collect()
}

fn statistics(flags: &Flags) -> StatisticsSettings {
    let bootstrap = BootstrapConfig { resamples: flags.resamples, confidence: flags.confidence };
    StatisticsSettings { bootstrap, ..StatisticsSettings::default() }
}

fn play(context: &Context, flags: &Flags, ratings: Option<RatingsInput>) -> Result<Evaluation, Failure> {
    let systems = systems(flags)?;
    // Clips that people have rated are played again as they heard them.
    let rated = ratings.as_ref().and_then(|ratings| Some((ratings.play.clone()?, ratings.prompts.clone())));
    let (play, prompts) = match rated {
        Some((play, captions)) => {
            if flags.prompts.is_some() || flags.count.is_some() {
                return Err(Failure::usage("--prompts and --count do not go with the ratings of an export")
                    .hint("leave them out: the export's own prompts are played"));
            }
            (play, Prompts::new("the export", captions)?)
        }
        None => (play_spec(context, flags, &systems), prompts(flags)?),
    };
    let population = flags.population.as_deref().or(if ratings.is_none() { Some(JUDGES) } else { None });
    let settings = EvaluateSettings {
        play,
        panel: population.filter(|population| *population != NONE).map(|population| PanelSettings {
            population: population.into(),
            raters: flags.raters,
            listeners: Some(flags.listeners.unwrap_or(LISTENERS.max(flags.raters))),
        }),
        measures: flags.measures.iter().filter(|measure| *measure != NONE).cloned().collect(),
        reference: match &flags.reference {
            None => ReferenceSettings::Automatic { clips: flags.reference_clips },
            Some(path) if path.as_os_str() == NONE => ReferenceSettings::None,
            Some(path) => ReferenceSettings::Corpus { path: path.clone(), clips: flags.reference_clips },
        },
        statistics: statistics(flags),
        batch: flags.batch,
    };
    let export = flags.export.clone().map(|dir| (dir, flags.raters));
    let input =
        EvaluateInput { systems: &systems, prompts, settings, ratings, export, backend: context.backend.name() };
    let (device, stop) = (context.backend.device()?, context.interrupt()?);
    let mut bar = Bar::new("evaluate");
    Ok(evaluate(&input, &device, &mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })?)
}

fn prompts(flags: &Flags) -> Result<Prompts, Failure> {
    let prompts = match &flags.prompts {
        Some(path) => Prompts::read(path)?,
        None => Prompts::built_in()?,
    };
    Ok(match flags.count {
        Some(count) => prompts.first(count)?,
        None => prompts,
    })
}

fn play_spec(context: &Context, flags: &Flags, systems: &[System]) -> PlaySpec {
    let shortest = systems.iter().map(|system| system.bundle.clip_seconds()).fold(f64::INFINITY, f64::min);
    PlaySpec {
        seed: context.seed(),
        takes: flags.takes,
        clip_seconds: flags.seconds.unwrap_or(shortest),
        sampling: SamplingConfig {
            temperature: flags.temperature,
            top_k: flags.top_k,
            top_p: flags.top_p,
            guidance: flags.guidance,
        },
    }
}
