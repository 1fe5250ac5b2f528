//! `musicrl preferences show`.

use std::{path::PathBuf, sync::atomic::Ordering};

use clap::Args;
use musicrl_feedback::PreferenceSet;
use musicrl_pipeline::{
    Error,
    preferences::{
        summary::{Share, Summary},
        truth::{self, HeardAgain, Truth},
    },
};

use super::{Context, populations};
use crate::{commands::align::open_base, failure::Failure, progress::Bar, report::Report};

/// Listeners that are shown by name; all of them are in the JSON.
const LISTENERS_SHOWN: usize = 10;

/// Flags of `preferences show`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder of the set
    dir: PathBuf,
    /// Bundles that made the clips, to hear those without a sound again (`embedded` for the base inside the program)
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    bundle: Vec<PathBuf>,
    /// A file of populations in the place of those that ship
    #[arg(long)]
    tastes: Option<PathBuf>,
}

/// Shows.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let set = PreferenceSet::open(&flags.dir).map_err(Error::from)?;
    let summary = Summary::of(&set);
    let mut report = counts(&summary);
    for notice in set.notices() {
        report = report.line(format!("note: {notice}"));
    }
    let simulated = truth::populations_of(&set);
    if simulated.is_empty() || (summary.with_audio == 0 && flags.bundle.is_empty()) {
        return Ok(report);
    }
    let known = populations(flags.tastes.as_deref())?;
    let heard = hear(context, flags, &set)?;
    report = spreads(report, &heard);
    let mut truths = Vec::new();
    for name in &simulated {
        let Some(population) = known.iter().find(|population| population.name == *name) else {
            report = report.line(format!("note: the taste of {name:?} is not known here (see --tastes)"));
            continue;
        };
        if let Some(truth) = truth::truth(&set, &heard, population) {
            report = of_truth(report, &truth);
            truths.push(truth);
        }
    }
    Ok(report.value("truth", truths))
}

fn hear(context: &Context, flags: &Flags, set: &PreferenceSet) -> Result<HeardAgain, Failure> {
    let bundles = flags.bundle.iter().map(|path| open_base(path)).collect::<Result<Vec<_>, _>>()?;
    let stop = context.interrupt()?;
    let mut bar = Bar::new("hearing");
    let heard = truth::hear(set, &bundles, &context.backend.device()?, &mut |done, total| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })?;
    Ok(heard)
}

/// What a set holds, in lines and values.
pub fn counts(summary: &Summary) -> Report {
    let share = |share: Option<Share>| share.map_or("none to tell by".to_string(), |share| share.to_string());
    let list = |counts: &std::collections::BTreeMap<String, usize>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let mut report = Report::new()
        .line(format!(
            "{:<22}{} of {} captions ({} with sound, {} with tokens)",
            "clips", summary.clips, summary.captions, summary.with_audio, summary.with_tokens
        ))
        .line(format!("{:<22}{}, {} count", "judgements", summary.judgements, summary.counted))
        .line(format!("{:<22}{}", "outcomes", list(&summary.outcomes)))
        .line(format!("{:<22}{}", "sources", list(&summary.sources)))
        .line(format!("{:<22}{}", "listeners", summary.listeners.len()));
    for listener in summary.listeners.iter().take(LISTENERS_SHOWN) {
        let first = share(listener.first_wins);
        report =
            report.line(format!("  {:<20}{} judgements, first wins {first}", listener.listener, listener.judgements));
    }
    if summary.listeners.len() > LISTENERS_SHOWN {
        report = report.line(format!("  and {} more", summary.listeners.len() - LISTENERS_SHOWN));
    }
    report = report.line(format!("{:<22}{}", "first clip wins", share(summary.first_wins))).line(format!(
        "{:<22}{}, on {} repeated pairs",
        "listeners agree",
        share(summary.agreement),
        summary.repeated_pairs
    ));
    for system in &summary.systems {
        let tally = system.tally;
        let rate = tally.win_rate().map_or(String::new(), |rate| format!(" ({:.1} % of decided)", 100.0 * rate));
        report = report.line(format!(
            "{} against {}: won {}{rate}, tied {}, lost {}",
            system.system, system.against, tally.wins, tally.ties, tally.losses
        ));
    }
    for rating in &summary.ratings {
        report =
            report.line(format!("{:<22}{}: mean {:.2} of {}", "ratings", rating.system, rating.mean, rating.ratings));
    }
    report.value("summary", summary)
}

fn spreads(mut report: Report, heard: &HeardAgain) -> Report {
    for (reason, count) in &heard.unheard {
        report = report.line(format!("note: {count} clips cannot be heard again: {reason}"));
    }
    let spreads = truth::spreads(heard);
    if !spreads.is_empty() {
        report = report.line(format!("{:<22}{:>10}{:>10}   standardised", "property", "mean", "spread"));
    }
    for spread in &spreads {
        report = report.line(format!(
            "  {:<20}{:>10.4}{:>10.4}   {:.3} +- {:.3}",
            spread.property, spread.mean, spread.spread, spread.standardised_mean, spread.standardised_spread
        ));
    }
    report.value("properties", spreads)
}

fn of_truth(report: Report, truth: &Truth) -> Report {
    let percent = |share: Option<f64>| share.map_or("unknown".into(), |share| format!("{:.1} %", 100.0 * share));
    report
        .line(format!(
            "the taste that {} shares, over {} judgements of simulated listeners",
            truth.population, truth.judgements
        ))
        .line(format!("  {:<20}{:.3} +- {:.3}", "utility of clips", truth.utility_mean, truth.utility_spread))
        .line(format!("  {:<20}{:.3} (root mean square)", "within pairs", truth.difference))
        .line(format!("  {:<20}{} of decided pairs", "ideal scorer", percent(truth.ideal_accuracy)))
        .line(format!("  {:<20}{} (what it can expect)", "accuracy ceiling", percent(truth.ceiling)))
}
