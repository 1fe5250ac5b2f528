//! `musicrl corpus`.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use clap::{Args, Subcommand};
use musicrl_pipeline::{
    Error,
    corpus::{
        Corpus,
        etudes::{EtudesConfig, write_etudes},
        import::{ImportSettings, SET_ASIDE_FILE, import},
    },
};

use super::Context;
use crate::{failure::Failure, progress::Bar, report::Report, words};

/// The commands about corpora.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compose and synthesise captioned etudes from the seed
    Etudes(EtudesFlags),
    /// Make a corpus of a folder of recordings
    Import(Box<ImportFlags>),
    /// What a corpus holds
    Show {
        /// The corpus folder
        dir: PathBuf,
    },
}

/// Flags of `corpus etudes`.
#[derive(Debug, Args)]
pub struct EtudesFlags {
    /// New folder for the corpus
    dir: PathBuf,
    /// Clips to learn from
    #[arg(long, default_value_t = EtudesConfig::default().train_clips)]
    train_clips: usize,
    /// Clips held out
    #[arg(long, default_value_t = EtudesConfig::default().heldout_clips)]
    heldout_clips: usize,
    /// Samples a second
    #[arg(long, default_value_t = EtudesConfig::default().sample_rate_hz)]
    sample_rate_hz: u32,
    /// Length of each clip
    #[arg(long, default_value_t = EtudesConfig::default().clip_seconds)]
    clip_seconds: f64,
}

/// Flags of `corpus import`.
#[derive(Debug, Args)]
pub struct ImportFlags {
    /// Folder of recordings (WAV, FLAC, MP3, Ogg Vorbis, Opus, AAC), searched with its subfolders
    source: PathBuf,
    /// New folder for the corpus
    dir: PathBuf,
    /// Samples a second of the corpus
    #[arg(long, default_value_t = ImportSettings::default().sample_rate_hz)]
    sample_rate_hz: u32,
    /// Cut recordings into segments of this length [default: one clip a recording]
    #[arg(long)]
    segment_seconds: Option<f64>,
    /// Leave out what is shorter
    #[arg(long, default_value_t = ImportSettings::default().shortest_seconds)]
    shortest_seconds: f64,
    /// Longest recording that is decoded
    #[arg(long, default_value_t = ImportSettings::default().longest_seconds)]
    longest_seconds: f64,
    /// Share of the tracks to hold out
    #[arg(long, default_value_t = ImportSettings::default().heldout_share)]
    heldout_share: f64,
    /// Captions file (CSV or JSONL) [default: captions.csv or captions.jsonl in the folder, else tags and names]
    #[arg(long)]
    captions: Option<PathBuf>,
    /// Leave what is measured (level, brightness, pulse) out of captions that come from tags and names
    #[arg(long)]
    plain_captions: bool,
    /// Keep the recordings' own levels
    #[arg(long)]
    keep_levels: bool,
    /// Name of the corpus [default: the folder's]
    #[arg(long)]
    name: Option<String>,
    /// What may be done with the recordings, in words
    #[arg(long, default_value = "not stated")]
    licence: String,
    /// Replace a corpus that is there
    #[arg(long)]
    replace: bool,
}

/// Runs one.
pub fn run(context: &Context, command: Command) -> Result<Report, Failure> {
    match command {
        Command::Etudes(flags) => etudes(context, &flags),
        Command::Import(flags) => import_folder(context, &flags),
        Command::Show { dir } => show(&Corpus::open(dir)?),
    }
}

/// A corpus that models of this sample rate hear; for one of another rate the hint is to make it anew `or` so.
pub fn open_at(dir: &Path, sample_rate_hz: u32, or: &str) -> Result<Corpus, Failure> {
    let corpus = Corpus::open(dir)?;
    if corpus.sample_rate_hz() == sample_rate_hz {
        return Ok(corpus);
    }
    let message =
        format!("{} is at {} Hz, the model hears {sample_rate_hz} Hz", dir.display(), corpus.sample_rate_hz());
    Err(Failure::usage(message).hint(format!("make the corpus at the model's rate, or {or}")))
}

fn etudes(context: &Context, flags: &EtudesFlags) -> Result<Report, Failure> {
    let config = EtudesConfig {
        seed: context.seed(),
        train_clips: flags.train_clips,
        heldout_clips: flags.heldout_clips,
        sample_rate_hz: flags.sample_rate_hz,
        clip_seconds: flags.clip_seconds,
    };
    let stop = context.interrupt()?;
    let mut bar = Bar::new("etudes");
    let corpus = write_etudes(&flags.dir, &config, &mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })?;
    drop(bar);
    let dir = words::shell(&flags.dir);
    Ok(show(&corpus)?.next(format!("musicrl train codec --corpus {dir} --bundle bundle")))
}

fn import_folder(context: &Context, flags: &ImportFlags) -> Result<Report, Failure> {
    let defaults = ImportSettings::default();
    let settings = ImportSettings {
        sample_rate_hz: flags.sample_rate_hz,
        seed: context.seed(),
        heldout_share: flags.heldout_share,
        segment_seconds: flags.segment_seconds,
        shortest_seconds: flags.shortest_seconds,
        loudness: if flags.keep_levels { None } else { defaults.loudness },
        measured_words: !flags.plain_captions,
        longest_seconds: flags.longest_seconds,
        name: flags.name.clone(),
        licence: flags.licence.clone(),
        captions: flags.captions.clone(),
        replace: flags.replace,
        threads: rayon::current_num_threads(),
    };
    let stop = context.interrupt()?;
    let mut bar = Bar::new("import");
    let done = import(&flags.source, &flags.dir, &settings, |progress| {
        if let Err(reason) = progress.outcome {
            bar.say(&format!("set aside {}: {reason}", progress.file));
        }
        bar.count(progress.done as u64, progress.total as u64);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    drop(bar);
    let aside: Vec<_> = done.set_aside.iter().map(|file| [&file.path, &file.reason]).collect();
    let mut report = show(&done.corpus)?
        .line(done.to_string())
        .value("recordings", done.recordings)
        .value("silent_segments", done.silent_segments)
        .value("ignored", done.ignored)
        .value("set_aside", aside);
    if !done.set_aside.is_empty() {
        report = report.line(format!("reasons: {}", flags.dir.join(SET_ASIDE_FILE).display()));
    }
    let (dir, preset) = (words::shell(&flags.dir), if flags.sample_rate_hz == 16_000 { "base" } else { "small" });
    Ok(report.next(format!("musicrl train codec --corpus {dir} --bundle bundle --preset {preset}")))
}

fn show(corpus: &Corpus) -> Result<Report, Failure> {
    let summary = corpus.summary();
    let (shortest, longest) = summary.clip_seconds;
    let mut report = Report::new()
        .fact("name", "corpus", summary.name)
        .fact("source", "source", summary.source)
        .fact("licence", "licence", summary.licence)
        .fact("sample_rate_hz", "sample rate (Hz)", summary.sample_rate_hz)
        .fact("clips", "clips", summary.clips)
        .line(format!("{:<22}{:.2} h, clips of {shortest:.1} to {longest:.1} s", "sound", summary.hours))
        .value("hours", summary.hours)
        .value("clip_seconds", [shortest, longest])
        .fact("distinct_captions", "distinct captions", summary.distinct_captions);
    for (key, label, part) in [("train", "to learn from", &summary.train), ("heldout", "held out", &summary.heldout)] {
        let uncaptioned = match part.uncaptioned {
            0 => String::new(),
            count => format!(", {count} without a caption"),
        };
        let line =
            format!("{label:<22}{} clips of {} tracks, {:.2} h{uncaptioned}", part.clips, part.tracks, part.hours);
        let numbers = serde_json::json!({
            "clips": part.clips, "tracks": part.tracks, "hours": part.hours, "uncaptioned": part.uncaptioned,
        });
        report = report.line(line).value(key, numbers);
    }
    for example in &summary.examples {
        report = report.line(format!("  \"{example}\""));
    }
    Ok(report.value("examples", summary.examples))
}
