//! `musicrl preferences collect`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use clap::Args;
use musicrl_core::sampling::SamplingConfig;
use musicrl_pipeline::{
    Error,
    corpus::{Split, caption_bank},
    preferences::{
        collect::collect,
        settings::{CollectSettings, System},
        summary::Summary,
    },
    recipe::EMBEDDED,
};

use super::{Context, populations, show};
use crate::{
    commands::{align::open_base, drive},
    failure::Failure,
    progress::Bar,
    report::Report,
    words,
};

/// Captions of etudes that are used where no file is given.
const ETUDE_CAPTIONS: usize = 1024;

/// Flags of `preferences collect`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Bundle folder of the system that plays [default: the base inside the program]
    #[arg(long, default_value = EMBEDDED, hide_default_value = true)]
    bundle: PathBuf,
    /// Bundle folders of further systems: the clips of a pair then come from two different systems
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    systems: Vec<PathBuf>,
    /// Who listens, by name; simulated, not people
    #[arg(long)]
    population: String,
    /// A file of populations in the place of those that ship
    #[arg(long)]
    tastes: Option<PathBuf>,
    /// Pairs of clips; a set that is there goes on to this number
    #[arg(long)]
    pairs: usize,
    /// Folder of the set
    #[arg(long)]
    out: PathBuf,
    /// A text file with one caption a line [default: 1024 captions of etudes]
    #[arg(long)]
    captions: Option<PathBuf>,
    /// Listeners that take part
    #[arg(long, default_value_t = 20)]
    listeners: usize,
    /// Of so many pairs one is judged by a second listener too; 0 for none
    #[arg(long, default_value_t = 10)]
    repeat_every: usize,
    /// Listeners that rate each clip from 1 to 5
    #[arg(long, default_value_t = 0)]
    ratings: usize,
    /// Listeners also say how sure they are, with this much error in logits [default error: 0.5]
    #[arg(long, value_name = "NOISE", num_args = 0..=1, default_missing_value = "0.5")]
    confidence: Option<f64>,
    /// Length of a clip [default: that of the bundle's training clips]
    #[arg(long)]
    seconds: Option<f64>,
    /// Divides the logits
    #[arg(long, default_value_t = 0.99)]
    temperature: f64,
    /// Keep the sounds as WAV files
    #[arg(long)]
    audio: bool,
    /// Clips at once: more memory, less time, the same clips
    #[arg(long, default_value_t = 16)]
    batch: usize,
}

/// Collects.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let all = populations(flags.tastes.as_deref())?;
    let names: Vec<String> = all.iter().map(|population| population.name.clone()).collect();
    let found = all.into_iter().find(|population| population.name == flags.population);
    let Some(population) = found else {
        return Err(Failure::usage(format!("no population is named {:?}", flags.population))
            .hint(format!("there are: {}", names.join(", "))));
    };
    let settings = CollectSettings {
        population,
        pairs: flags.pairs,
        captions: captions(flags.captions.as_deref(), context.seed())?,
        seed: context.seed(),
        listeners: flags.listeners,
        repeat_every: flags.repeat_every,
        raters: flags.ratings,
        confidence_noise: flags.confidence,
        clip_seconds: flags.seconds,
        sampling: SamplingConfig { temperature: flags.temperature, ..SamplingConfig::default() },
        batch: flags.batch,
        audio: flags.audio,
    };
    let systems = systems(flags)?;
    let stop = context.interrupt()?;
    let mut bar = Bar::new("preferences");
    let collected = collect(&systems, &settings, &flags.out, &context.backend.device()?, &mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) && done < total { Err(Error::Interrupted) } else { Ok(()) }
    });
    drop(bar);
    let set = match collected {
        Err(Error::Interrupted) => {
            return Err(Failure::failed("stopped; what was collected is kept")
                .hint(format!("go on with: {}", drive::this_command())));
        }
        collected => collected?,
    };
    let dir = words::shell(&flags.out);
    let bundle = if flags.audio { String::new() } else { format!(" --bundle {}", words::shell(&flags.bundle)) };
    Ok(show::counts(&Summary::of(&set)).next(format!("musicrl preferences show {dir}{bundle}")))
}

fn captions(file: Option<&Path>, seed: u64) -> Result<Vec<String>, Failure> {
    let Some(path) = file else {
        let bank = caption_bank(seed, ETUDE_CAPTIONS, Split::Train);
        return Ok(bank.into_iter().map(|captioned| captioned.caption).collect());
    };
    let text =
        fs::read_to_string(path).map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))?;
    let captions: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string).collect();
    if captions.is_empty() {
        return Err(Failure::usage(format!("{} has no caption", path.display())).hint("one caption a line"));
    }
    Ok(captions)
}

/// The bundles with names of their own: the folder's, `base` for the one inside the program.
fn systems(flags: &Flags) -> Result<Vec<System>, Failure> {
    let mut systems: Vec<System> = Vec::new();
    for path in std::iter::once(&flags.bundle).chain(&flags.systems) {
        let stem = match path.file_name() {
            Some(_) if path == Path::new(EMBEDDED) => "base".into(),
            Some(name) => name.to_string_lossy().into_owned(),
            None => "system".into(),
        };
        let taken = |name: &String| systems.iter().any(|system| system.name == *name);
        let name = std::iter::once(stem.clone()).chain((2..).map(|n| format!("{stem}-{n}"))).find(|name| !taken(name));
        systems.push(System { name: name.unwrap_or(stem), bundle: open_base(path)? });
    }
    Ok(systems)
}
