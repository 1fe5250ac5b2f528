//! The reward models: accuracy by epoch, and what their trainings measured last.

use super::frame::Page;
use crate::report::{
    plot::{Table, accuracy_figure, number, percent},
    read::{AccuracyCurve, Against, Gathered, Raters},
};

/// Accuracy curves and the trainings beside the systems; nothing where there are none.
pub(in crate::report) fn models_section(page: &mut Page, gathered: &Gathered) {
    let figures =
        [accuracy_figure(&gathered.accuracy, Against::Epochs), accuracy_figure(&gathered.personal, Against::Pairs)];
    if figures.iter().all(Option::is_none) && gathered.sides.is_empty() {
        return;
    }
    page.section("models", "Reward models", |page| {
        let mut badges: Vec<Raters> = Vec::new();
        let curves = gathered.accuracy.iter().chain(&gathered.personal).map(|curve| &curve.raters);
        for raters in curves.chain(gathered.sides.iter().map(|side| &side.raters)) {
            if !badges.contains(raters) {
                badges.push(raters.clone());
            }
        }
        badges.iter().for_each(|raters| page.badge(raters));
        page.figures(figures.into_iter().flatten().collect());
        let measured = measured(gathered.accuracy.iter().chain(&gathered.personal));
        if !measured.rows.is_empty() {
            page.folded("Held-out figures of the studies", &measured);
        }
        let mut table = Table::new(&["training", "learned from", "#step", "measure", "#last evaluation"]);
        for side in &gathered.sides {
            let Some(last) = side.last_evaluation() else {
                table.row([side.name.clone(), side.raters.to_string(), "–".into(), "no evaluation".into(), "–".into()]);
                continue;
            };
            for (at, (name, value)) in last.metrics.0.iter().enumerate() {
                let first = |text: String| if at == 0 { text } else { String::new() };
                table.row([
                    first(side.name.clone()),
                    first(side.raters.to_string()),
                    first(last.step.to_string()),
                    name.replace('_', " "),
                    number(Some(*value)),
                ]);
            }
        }
        if !table.rows.is_empty() {
            page.folded("Last evaluations of the trainings", &table);
        }
    });
}

/// What studies measured at the last points of their curves.
fn measured<'a>(curves: impl Iterator<Item = &'a AccuracyCurve>) -> Table {
    let mut table = Table::new(&[
        "model",
        "#held-out pairs",
        "#accuracy",
        "#less the first's",
        "#log-loss",
        "#calibration error",
        "#ceiling",
        "#share of the way to it",
    ]);
    for curve in curves {
        let Some(figures) = &curve.figures else { continue };
        let in_points = |x: f64| number(Some(100.0 * x));
        table.row([
            curve.name.clone(),
            figures.pairs.to_string(),
            percent(figures.accuracy.map(|it| it.estimate)),
            figures.difference.map_or_else(
                || "–".into(),
                |it| format!("{} [{}, {}]", in_points(it.estimate), in_points(it.low), in_points(it.high)),
            ),
            number(figures.log_loss.map(|it| it.estimate)),
            number(figures.calibration_error.map(|it| it.estimate)),
            percent(figures.ceiling),
            percent(figures.share_of_ceiling.map(|share| share.estimate)),
        ]);
    }
    table
}
