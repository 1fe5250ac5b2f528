//! `musicrl corpus`.

use std::{path::PathBuf, sync::atomic::Ordering};

use clap::{Args, Subcommand};
use musicrl_pipeline::{
    Error,
    corpus::{
        Corpus,
        etudes::{EtudesConfig, write_etudes},
    },
};

use super::Context;
use crate::{failure::Failure, progress::Bar, report::Report, words};

/// The commands about corpora.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compose and synthesise captioned etudes from the seed
    Etudes(EtudesFlags),
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

/// Runs one.
pub fn run(context: &Context, command: Command) -> Result<Report, Failure> {
    match command {
        Command::Etudes(flags) => etudes(context, &flags),
        Command::Show { dir } => show(&Corpus::open(dir)?),
    }
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
