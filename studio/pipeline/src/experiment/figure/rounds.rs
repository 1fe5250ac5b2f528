//! True utility by round, one panel a population.

use super::{SIMULATED, ends, upright_label};
use crate::{
    experiment::rounds::{RoundsFindings, RoundsRow, Utility},
    figure::{Area, Axis, Look, Panel, Svg},
};

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 150.0;
const TOP: f64 = 64.0;
const STEP: f64 = HEIGHT + 70.0;

/// Gain of true utility over the base for every system, with intervals over prompts.
pub(in crate::experiment) fn rounds_figure(found: &RoundsFindings) -> String {
    let populations: Vec<&str> = found
        .rows
        .first()
        .into_iter()
        .flat_map(|row| &row.utilities)
        .map(|utility| utility.population.as_str())
        .collect();
    let title = "On-policy rounds against one round of the same size";
    let about = "Mean true utility less that of the base on held-out captions, 95 % intervals over prompts; simulated.";
    let mut svg = Svg::new(WIDTH, TOP + STEP * populations.len() as f64, title, about);
    svg.text((8.0, 20.0), "heading", title);
    svg.text((8.0, 37.0), "small", &format!("true utility less the base's, {SIMULATED}; bars: 95 % over prompts"));
    let names: Vec<&str> = found.rows.iter().map(|row| row.system.as_str()).collect();
    for (at, population) in populations.iter().enumerate() {
        let gain = |row: &RoundsRow| row.utilities.get(at).and_then(|utility: &Utility| utility.gain);
        let gains: Vec<Option<_>> = found.rows.iter().map(gain).collect();
        let panel = Panel {
            area: Area { x: 70.0, y: TOP + STEP * at as f64, width: WIDTH - 90.0, height: HEIGHT },
            x: Axis::of_names("", &names),
            y: Axis::around("", ends(gains.iter().flatten()).into_iter().chain([0.0]), 4).signed(),
        };
        panel.frame(&mut svg);
        upright_label(&mut svg, &panel, &format!("judged by {population}"));
        panel.level(&mut svg, 0.0);
        let last = gains.len().saturating_sub(1);
        for (place, gain) in gains.iter().enumerate() {
            // The base stands at 0; the control in a colour of its own.
            let look = if place == last { Look::of(1) } else { Look::of(0) };
            svg.group(&[("class", look.class().as_str().into())], |svg| {
                if let Some(gain) = gain {
                    panel.whisker(svg, place as f64, gain);
                }
            });
        }
    }
    svg.finish()
}
