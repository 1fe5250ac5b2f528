//! The reward models: accuracy by epoch, and what their trainings measured last.

use super::frame::Page;
use crate::report::{
    plot::{Table, accuracy_figure, number},
    read::{Gathered, Raters},
};

/// Accuracy curves and the trainings beside the systems; nothing where there are none.
pub(in crate::report) fn models_section(page: &mut Page, gathered: &Gathered) {
    let figure = accuracy_figure(&gathered.accuracy);
    if figure.is_none() && gathered.sides.is_empty() {
        return;
    }
    page.section("models", "Reward models", |page| {
        let mut badges: Vec<Raters> = Vec::new();
        let curves = gathered.accuracy.iter().map(|curve| &curve.raters);
        for raters in curves.chain(gathered.sides.iter().map(|side| &side.raters)) {
            if !badges.contains(raters) {
                badges.push(raters.clone());
            }
        }
        badges.iter().for_each(|raters| page.badge(raters));
        page.figures(figure.into_iter().collect());
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
