//! What was run, by which recipe, with which seed, where.

use super::{frame::badge, html::Html};
use crate::{
    report::{
        plot::{TRUE_UTILITY, Table, reward_names},
        read::{Gathered, Raters, Stage, StageEnd, System},
    },
    run::Versions,
};

/// The top of the page.
pub(in crate::report) fn header_section(html: &mut Html, gathered: &Gathered, title: &str) {
    html.leaf("h1", &[], title);
    let raters = all_raters(gathered);
    if !raters.is_empty() {
        html.element("p", &[], |html| {
            html.text("Ratings and choices are of: ");
            raters.iter().for_each(|raters| badge(html, raters));
        });
    }
    if let Some(versions) = common_versions(gathered) {
        html.p(&format!("Made with {}.", in_words(versions)));
    }
    let unfinished: Vec<&str> =
        gathered.systems.iter().filter(|system| !is_finished(system)).map(|system| system.name.as_str()).collect();
    if !unfinished.is_empty() {
        html.element("p", &[], |html| {
            html.leaf("span", &[("class", "badge")], "UNFINISHED");
            html.text(&format!("What is shown of {} is as far as it has come.", unfinished.join(", ")));
        });
    }
}

/// The table of the systems.
pub(super) fn systems_table(systems: &[System]) -> Table {
    let headings = [
        "system",
        "starts from",
        "stage",
        "state",
        "#checkpoint",
        "learns from",
        "watches",
        "KL",
        "against",
        "#clips a step",
        "#seed",
    ];
    let mut table = Table::new(&headings);
    for system in systems {
        let from = system.parent.map_or_else(|| system.base_name(), |parent| systems[parent].name.clone());
        for (at, stage) in system.stages.iter().enumerate() {
            let first = |text: String| if at == 0 { text } else { String::new() };
            let plan = &stage.plan;
            let learned: Vec<String> = plan.learned().map(|(name, weight)| weighted(name, weight)).collect();
            table.row([
                first(system.name.clone()),
                if at == 0 { from.clone() } else { "the stage before".into() },
                plan.name.clone(),
                stage.in_words(),
                stage.chosen().map_or_else(
                    || "–".into(),
                    |step| if step == 0 { "0 (its start)".into() } else { step.to_string() },
                ),
                learned.join(" + "),
                plan.watched().collect::<Vec<_>>().join(", "),
                plan.kl.in_words(),
                reference(stage),
                plan.batch.map_or_else(String::new, |batch| batch.to_string()),
                first(system.recipe.seed.map_or_else(|| "–".into(), |seed| seed.to_string())),
            ]);
        }
    }
    table
}

fn weighted(name: &str, weight: f64) -> String {
    if weight == 1.0 { name.into() } else { format!("{weight} × {name}") }
}

fn reference(stage: &Stage) -> String {
    match stage.plan.reference.as_str() {
        "stage_start" => "its start".into(),
        "" | "base" => "the base of the recipe".into(),
        other => other.into(),
    }
}

/// Whether every stage is done and the result is there.
pub(super) fn is_finished(system: &System) -> bool {
    system.has_bundle && system.stages.iter().all(|stage| stage.end == StageEnd::Finished)
}

/// Versions that all systems and the experiment share.
pub(super) fn common_versions(gathered: &Gathered) -> Option<&Versions> {
    let mut all = gathered.systems.iter().map(|system| system.versions.as_ref());
    let first = all.next().map_or(gathered.versions.as_ref(), |first| first)?;
    // Seeds may differ; the table of systems has them.
    let same =
        |other: Option<&Versions>| other.is_some_and(|other| Versions { seed: first.seed, ..other.clone() } == *first);
    all.all(same).then_some(first)
}

/// Versions in words.
pub(super) fn in_words(versions: &Versions) -> String {
    let machine = &versions.machine;
    let mut parts = vec![
        format!("musicrl {}", or_unknown(&versions.musicrl)),
        format!("Burn {}", or_unknown(&versions.burn)),
        format!("backend {}", or_unknown(&versions.backend)),
    ];
    if !machine.cpu.is_empty() {
        parts.push(format!("{}, {} threads, {}", machine.cpu, machine.threads, machine.system));
    }
    parts.join("; ")
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "(not said)" } else { text }
}

/// Everyone whose ratings or choices are shown, and the simulated taste where one was measured.
fn all_raters(gathered: &Gathered) -> Vec<Raters> {
    let panels = gathered.evaluations.iter().flat_map(|(_, evaluation)| &evaluation.panels);
    let panels = panels.map(|panel| Raters::of(&panel.source));
    let curves = gathered.accuracy.iter().chain(&gathered.personal).map(|curve| curve.raters.clone());
    let names = reward_names(&gathered.systems);
    let tastes =
        names.iter().filter_map(|name| name.strip_prefix(TRUE_UTILITY)).map(|name| Raters::Simulated(name.into()));
    let mut all: Vec<Raters> = Vec::new();
    for raters in panels.chain(curves).chain(tastes) {
        if !all.contains(&raters) {
            all.push(raters);
        }
    }
    all
}
