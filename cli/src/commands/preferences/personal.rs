//! `musicrl preferences personal`.

use std::{sync::atomic::Ordering, time::Instant};

use clap::Args;
use musicrl_pipeline::{
    Error,
    study::{
        PersonalSettings,
        personal::{Personal, PersonalInput, PersonalStage, personal},
    },
};

use super::{
    Context, populations,
    study::{Common, stopped, table},
};
use crate::{failure::Failure, progress::Bar, report::Report, words};

/// Flags of `preferences personal`.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    common: Common,
    /// Simulated listeners of this population are asked about the set's pairs [default: those of the set who said most]
    #[arg(long)]
    population: Option<String>,
    /// How many listeners [default: 3]
    #[arg(long)]
    listeners: Option<usize>,
    /// Judgements of a listener to learn from [default: 50,200,1000]
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    pairs: Vec<usize>,
}

/// Studies.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let start = Instant::now();
    let mut settings: PersonalSettings = flags.common.resolve(&PersonalSettings::base())?;
    settings.seed = context.seed.unwrap_or(settings.seed);
    settings.training.epochs = flags.common.epochs.unwrap_or(settings.training.epochs);
    settings.population = flags.population.clone().or(settings.population);
    settings.listeners = flags.listeners.unwrap_or(settings.listeners);
    if !flags.pairs.is_empty() {
        settings.pairs.clone_from(&flags.pairs);
    }
    settings.validate()?;
    let opened = flags.common.open(context, &settings.training, settings.seed)?;
    let known = populations(flags.common.tastes.as_deref())?;
    let input = PersonalInput {
        set: &opened.set,
        data: &opened.data,
        bundle: &opened.bundle,
        makers: &opened.makers,
        populations: &known,
        settings: &settings,
    };
    let stop = context.interrupt()?;
    let mut bar: Option<(PersonalStage, Bar)> = None;
    let done = personal(&input, &flags.common.out, &opened.versions, &opened.device, &mut |stage, done, total| {
        let what = match stage {
            PersonalStage::Hearing => "hearing",
            PersonalStage::Shared => "shared model",
            PersonalStage::Listeners => "listeners",
        };
        if bar.as_ref().is_none_or(|(of, _)| *of != stage) {
            bar = Some((stage, Bar::new(what)));
        }
        if let Some((_, bar)) = &mut bar {
            bar.count(done, total);
        }
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    });
    drop(bar);
    let done = done.map_err(stopped)?;
    let file = flags.common.out.join("personal.json").display().to_string();
    let report = report_of(&done)
        .line(format!("{} in all", words::duration(start.elapsed().as_secs_f64())))
        .value("seconds", start.elapsed().as_secs_f64())
        .value("personal", &done)
        .fact("file", "study", file);
    Ok(report.next(format!("musicrl report {}", words::shell(&flags.common.out))))
}

fn report_of(done: &Personal) -> Report {
    let mut report =
        Report::new().line("accuracy on held-out judgements of each listener, by judgements to learn from");
    let accuracy = |figures: &musicrl_pipeline::study::Figures| {
        figures.accuracy.map_or("-".into(), |it| format!("{:.1} %", 100.0 * it.estimate))
    };
    report = report.line(format!(
        "{:<24}{:>8}{:>10}{:>12}{:>10}{:>10}",
        "listener", "pairs", "shared", "corrected", "alone", "ceiling"
    ));
    for listener in &done.listeners {
        for size in &listener.sizes {
            let ceiling = listener.shared.ceiling.map_or("-".into(), |ceiling| format!("{:.1} %", 100.0 * ceiling));
            report = report.line(format!(
                "{:<24}{:>8}{:>10}{:>12}{:>10}{:>10}",
                listener.listener,
                size.pairs,
                accuracy(&listener.shared),
                accuracy(&size.corrected),
                accuracy(&size.alone),
                ceiling
            ));
        }
    }
    report = report.line("all listeners, at the largest number of pairs");
    report = table(report, &done.curves);
    for note in &done.notes {
        report = report.line(format!("note: {note}"));
    }
    report
}
