//! `musicrl report`.

use std::path::{Path, PathBuf};

use clap::Args;
use musicrl_pipeline::report::{ReportInput, ReportSettings, report};

use super::Context;
use crate::{failure::Failure, report::Report, words};

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Runs of `musicrl align`, or experiments (folders with `systems/`)
    runs: Vec<PathBuf>,
    /// The page; figures go into `figures/` beside it [default: report.html in the first run]
    #[arg(long)]
    out: Option<PathBuf>,
    /// An evaluation.json (or its folder) that lies elsewhere
    #[arg(long)]
    evaluation: Option<PathBuf>,
    /// Prompts that can be heard in the page; 0: none
    #[arg(long, default_value_t = ReportSettings::default().prompts)]
    prompts: usize,
    /// Bits a second of the clips in the page (Opus)
    #[arg(long, default_value_t = ReportSettings::default().bitrate_bps)]
    bitrate: u32,
}

/// Makes one page about runs and their evaluation.
pub fn run(_: &Context, flags: &Flags) -> Result<Report, Failure> {
    if flags.runs.is_empty() && flags.evaluation.is_none() {
        return Err(Failure::usage("no run and no evaluation").hint("musicrl report runs/demo"));
    }
    let input = ReportInput { runs: flags.runs.clone(), evaluation: flags.evaluation.clone() };
    let settings = ReportSettings { prompts: flags.prompts, bitrate_bps: flags.bitrate, ..ReportSettings::default() };
    let out = flags.out.clone().unwrap_or_else(|| default_out(&input));
    let made = report(&input, &settings)?;
    let figures = made.write(&out)?;
    let mut printed = Report::new()
        .fact("report", "report", out.display().to_string())
        .line(format!("{:<22}{}", "size", words::bytes(made.html.len() as u64)))
        .value("bytes", made.html.len())
        .fact("systems", "systems", made.systems)
        .fact("clips", "clips in the page", made.clips)
        .line(format!("{:<22}{} in {}", "figures", made.figures.len(), figures.display()))
        .value(
            "figures",
            made.figures.iter().map(|(name, _)| figures.join(name).display().to_string()).collect::<Vec<_>>(),
        );
    for note in &made.notes {
        printed = printed.line(format!("note: {note}"));
    }
    Ok(printed.value("notes", &made.notes).next(format!("open {} in a browser", words::shell(&out))))
}

/// Beside what it is about.
fn default_out(input: &ReportInput) -> PathBuf {
    let evaluation = input.evaluation.as_deref();
    let folder = match (input.runs.first(), evaluation) {
        (Some(run), _) => run.as_path(),
        (None, Some(evaluation)) if evaluation.is_dir() => evaluation,
        (None, Some(evaluation)) => evaluation.parent().unwrap_or(Path::new("")),
        (None, None) => Path::new(""),
    };
    folder.join("report.html")
}
