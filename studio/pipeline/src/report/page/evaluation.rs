//! What was measured without listeners: rewards as measures, distances of embeddings, rates of the sound.

use super::{frame::Page, ratings::look_of};
use crate::report::{
    plot::{IntervalRow, Table, intervals_figure, number, p_value, percent},
    read::{Evaluation, Gathered, MeasureScore},
};

/// Measures of all evaluations; nothing where nothing was played.
pub(in crate::report) fn evaluation_section(page: &mut Page, gathered: &Gathered) {
    if gathered.evaluations.is_empty() {
        return;
    }
    page.section("measures", "Measures and sound", |page| {
        for (path, evaluation) in &gathered.evaluations {
            page.html.leaf("p", &[("class", "soft")], &about(path, evaluation));
            measures(page, gathered, evaluation);
            distribution(page, evaluation);
            sound(page, evaluation);
            page.notes(&evaluation.notes);
        }
    });
}

/// Which file, how many prompts, what made it.
fn about(path: &std::path::Path, evaluation: &Evaluation) -> String {
    let mut parts = vec![path.display().to_string()];
    if let Some(prompts) = &evaluation.prompts {
        parts.push(format!("{} prompts ({})", prompts.captions.len(), prompts.source));
    }
    if let Some(seed) = evaluation.seed {
        parts.push(format!("seed {seed}"));
    }
    if let Some(made) = &evaluation.made_by {
        let backend = if made.backend.is_empty() { String::new() } else { format!(", backend {}", made.backend) };
        parts.push(format!("musicrl {}, Burn {}{backend}", made.musicrl, made.burn));
    }
    if let Some(listening) = &evaluation.listening {
        parts.push(format!("judged by the models of {}", listening.judge));
    }
    let systems: Vec<String> = evaluation
        .systems
        .iter()
        .map(|system| match &system.sha256 {
            Some(sha256) => format!("{} {}", system.name, sha256.chars().take(12).collect::<String>()),
            None => system.name.clone(),
        })
        .collect();
    if !systems.is_empty() {
        parts.push(format!("systems: {}", systems.join(", ")));
    }
    parts.join("; ")
}

fn measures(page: &mut Page, gathered: &Gathered, evaluation: &Evaluation) {
    let Some(listening) = &evaluation.listening else { return };
    let mut figures = Vec::new();
    let mut agreements = Table::new(&["measure", "raters", "#agreement", "#comparisons"]);
    for measure in &listening.measures {
        let plain = measure.name.replace('_', " ");
        let row = |score: &MeasureScore| {
            let unscorable =
                if score.unscorable > 0 { format!(" ({} without a score)", score.unscorable) } else { String::new() };
            Some(IntervalRow {
                name: format!("{}{unscorable}", score.system),
                span: score.mean?,
                look: look_of(gathered, &score.system),
            })
        };
        let rows: Vec<IntervalRow> = measure.systems.iter().filter_map(row).collect();
        figures.extend(intervals_figure(
            &format!("measure-{}", measure.name),
            (&format!("Measure: {plain}"), "an automatic measure, not a rating"),
            (&format!("mean {plain}"), &format!("#{plain}")),
            &rows,
            None,
            format!(
                "Mean {plain} over clips with its interval over prompts. A measure is no rating; a system that was aligned \
                 with it was made to please it."
            ),
        ));
        for agreement in &measure.agreement {
            agreements.row([
                plain.clone(),
                agreement.panel.clone(),
                percent(agreement.agreement),
                agreement.comparisons.to_string(),
            ]);
        }
    }
    page.figures(figures);
    if !agreements.rows.is_empty() {
        page.html.leaf("h3", &[], "How often the higher score is the higher rating");
        page.table(&agreements);
    }
}

fn distribution(page: &mut Page, evaluation: &Evaluation) {
    let Some(listening) = &evaluation.listening else { return };
    let distribution = &listening.distribution;
    if distribution.systems.is_empty() {
        return;
    }
    page.html.leaf("h3", &[], "Distribution of the embeddings");
    let mut table = Table::new(&[
        "clips of",
        "#clips",
        "#Frechet distance",
        "#MMD²",
        "#± (jackknife)",
        "#p (permutation)",
        "#diversity within prompts",
        "#between prompts",
    ]);
    for set in distribution.systems.iter().chain(&distribution.floor) {
        let mmd = set.mmd.unwrap_or_default();
        table.row([
            set.name.clone(),
            set.clips.to_string(),
            number(set.frechet),
            number(mmd.squared),
            number(mmd.standard_error),
            p_value(mmd.p_value),
            number(set.diversity.within),
            number(set.diversity.between),
        ]);
    }
    if let Some(reference) = &distribution.reference {
        let words: Vec<String> = reference
            .source
            .values()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_string))
            .collect();
        table.row([
            format!("the reference: {}", words.join(", ")),
            reference.clips.to_string(),
            "–".into(),
            "–".into(),
            "–".into(),
            "–".into(),
            number(reference.diversity.within),
            number(reference.diversity.between),
        ]);
    }
    page.table(&table);
    page.html.p(
        "Distances to the reference; smaller is nearer. Other clips of the reference's source show what a perfect system \
         would have. Diversity: mean cosine distance.",
    );
}

fn sound(page: &mut Page, evaluation: &Evaluation) {
    let Some(listening) = &evaluation.listening else { return };
    if listening.sound.is_empty() {
        return;
    }
    page.html.leaf("h3", &[], "Level, silence, clipping, copies");
    let mut table = Table::new(&[
        "system",
        "#clips",
        "#mean level (dB)",
        "#silent clips",
        "#silent time",
        "#clips that clip",
        "#distinct clips",
    ]);
    for sound in &listening.sound {
        table.row([
            sound.system.clone(),
            sound.clips.to_string(),
            number(sound.mean_rms_db),
            percent(sound.silent_clips),
            percent(sound.silent_time),
            percent(sound.clipped_clips),
            percent(sound.distinct_share),
        ]);
    }
    page.table(&table);
}
