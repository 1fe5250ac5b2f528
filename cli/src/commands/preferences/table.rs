//! `musicrl preferences import` and `export`.

use std::{path::PathBuf, sync::atomic::Ordering};

use clap::Args;
use musicrl_feedback::PreferenceSet;
use musicrl_pipeline::{
    Error,
    preferences::{
        export as exporting,
        import::{self as importing, SET_ASIDE},
        summary::Summary,
    },
};

use super::{Context, show};
use crate::{failure::Failure, progress::Bar, report::Report, words};

/// Flags of `preferences import`.
#[derive(Debug, Args)]
pub struct ImportFlags {
    /// CSV or JSONL: caption, audio_a, audio_b, outcome (better-a, better-b, tie, both-bad, skipped), listener[,
    /// confidence, margin, heard_a, heard_b, source, system_a, system_b]; sounds relative to the file
    file: PathBuf,
    /// New folder for the set
    #[arg(long)]
    out: PathBuf,
}

/// Flags of `preferences export`.
#[derive(Debug, Args)]
pub struct ExportFlags {
    /// Folder of the set
    dir: PathBuf,
    /// The table: .csv or .jsonl
    #[arg(long)]
    to: PathBuf,
}

/// Imports.
pub fn import(context: &Context, flags: &ImportFlags) -> Result<Report, Failure> {
    let stop = context.interrupt()?;
    let mut bar = Bar::new("import");
    let done = importing::import(&flags.file, &flags.out, &mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })?;
    for row in &done.set_aside {
        bar.say(&format!("set aside line {}: {}", row.line, row.reason));
    }
    drop(bar);
    let mut report = show::counts(&Summary::of(&done.set)).value("set_aside", &done.set_aside);
    if !done.set_aside.is_empty() {
        let list = flags.out.join(SET_ASIDE);
        report = report.line(format!("{} rows set aside, listed in {}", done.set_aside.len(), list.display()));
    }
    Ok(report.next(format!("musicrl preferences show {}", words::shell(&flags.out))))
}

/// Exports.
pub fn export(flags: &ExportFlags) -> Result<Report, Failure> {
    let set = PreferenceSet::open(&flags.dir).map_err(Error::from)?;
    let judgements = exporting::export(&set, &flags.to)?;
    let silent = set.clips().iter().filter(|clip| clip.audio.is_none()).count();
    let mut report = Report::new().fact("judgements", "judgements", judgements).fact(
        "table",
        "table",
        flags.to.display().to_string(),
    );
    if silent > 0 {
        report = report.line(format!("note: {silent} clips have no sound in the set; their names are empty"));
    }
    Ok(report)
}
