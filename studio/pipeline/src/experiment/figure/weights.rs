//! Settings of reward weights: each pair of rewards, and the true utility.

use musicrl_core::stats::Interval;

use super::{SIMULATED, ends, upright_label};
use crate::{
    experiment::weights::{REWARDS, WeightsFindings, WeightsRow},
    figure::{Area, Axis, Look, Panel, Svg},
};

const SIDE: f64 = 190.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 96.0;
const STEP: f64 = SIDE + 86.0;

/// Which rewards stand on the axes of the panels.
const PANELS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

/// Three panels of two rewards each, points of the Pareto front ringed, and one of the true utility.
pub(in crate::experiment) fn weights_figure(found: &WeightsFindings) -> String {
    let title = "The trade-off between rewards";
    let about = "Mean rewards on held-out captions of one alignment a setting of the weights; points on the Pareto front of all \
                 three rewards are ringed; simulated listeners.";
    let mut svg = Svg::new(LEFT + 2.0 * STEP, TOP + 2.0 * STEP - 20.0, title, about);
    svg.text((8.0, 20.0), "heading", title);
    let small = format!("ringed: on the Pareto front of all three; letters as in the last panel; {SIMULATED}");
    svg.text((8.0, 37.0), "small", &small);
    for (place, (x, y)) in PANELS.into_iter().enumerate() {
        let area = area(place);
        let means = |axis: usize| -> Vec<f64> { found.rows.iter().filter_map(|row| mean(row, axis)).collect() };
        let panel = Panel {
            area,
            x: Axis::around(REWARDS[x].replace('_', " "), padded(means(x)), 3),
            y: Axis::around("", padded(means(y)), 3),
        };
        panel.frame(&mut svg);
        upright_label(&mut svg, &panel, &REWARDS[y].replace('_', " "));
        for (at, row) in found.rows.iter().enumerate() {
            let (Some(x), Some(y)) = (mean(row, x), mean(row, y)) else { continue };
            point(&mut svg, &panel, (x, y), at, row.on_front);
        }
    }
    utilities(&mut svg, found);
    svg.finish()
}

fn area(place: usize) -> Area {
    let (column, row) = ((place % 2) as f64, (place / 2) as f64);
    Area { x: LEFT + STEP * column, y: TOP + STEP * row, width: SIDE, height: SIDE }
}

fn mean(row: &WeightsRow, reward: usize) -> Option<f64> {
    row.rewards.get(reward)?.as_ref().map(|interval| interval.estimate)
}

/// Room for rings and letters at the edges.
fn padded(values: Vec<f64>) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = 0.08 * (high - low);
    values.into_iter().chain([low - margin, high + margin]).collect()
}

/// "base", then A, B, C in the order of the recipe.
fn letter(at: usize) -> String {
    match at.checked_sub(1) {
        None => "base".into(),
        Some(setting @ 0..26) => char::from(b'A' + setting as u8).to_string(),
        Some(setting) => format!("{}", setting + 1),
    }
}

fn point(svg: &mut Svg, panel: &Panel, at: (f64, f64), row: usize, on_front: bool) {
    let look = if row == 0 { Look::plain() } else { Look::of(0) };
    svg.group(&[("class", look.class().as_str().into())], |svg| {
        panel.circles(svg, &crate::figure::Series::new([at]));
        if on_front {
            panel.ring(svg, at);
        }
    });
    if let Some((x, y)) = panel.place(at) {
        svg.text((x + 8.0, y - 6.0), "small halo", &letter(row));
    }
}

/// The true utility of the first population with intervals, and what the letters stand for.
fn utilities(svg: &mut Svg, found: &WeightsFindings) {
    let of = |row: &WeightsRow| row.utilities.first().and_then(|(_, mean)| *mean);
    let means: Vec<Option<Interval>> = found.rows.iter().map(of).collect();
    let population = found.rows.first().and_then(|row| row.utilities.first()).map_or("", |(name, _)| name.as_str());
    let letters: Vec<String> = (0..found.rows.len()).map(letter).collect();
    let names: Vec<&str> = letters.iter().map(String::as_str).collect();
    let panel = Panel {
        area: area(3),
        x: Axis::of_names("setting", &names),
        y: Axis::around("", ends(means.iter().flatten()), 3).signed(),
    };
    panel.frame(svg);
    upright_label(svg, &panel, &format!("true utility, {population}"));
    for (at, mean) in means.iter().enumerate() {
        let look = if at == 0 { Look::plain() } else { Look::of(0) };
        svg.group(&[("class", look.class().as_str().into())], |svg| {
            if let Some(mean) = mean {
                panel.whisker(svg, at as f64, mean);
            }
        });
    }
    let words =
        |(at, row): (usize, &WeightsRow)| row.weights.map(|[a, b, c]| format!("{} {a:.2}/{b:.2}/{c:.2}", letter(at)));
    let words: Vec<String> = found.rows.iter().enumerate().filter_map(words).collect();
    for (line, words) in words.chunks(4).enumerate() {
        let text = format!("{}{}", if line == 0 { "weights: " } else { "" }, words.join("  "));
        svg.text((8.0, 51.0 + 13.0 * line as f64), "small", &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::xml::{assert_finite, parse};

    #[test]
    fn the_front_is_ringed_in_every_panel() {
        let interval = |estimate: f64| Some(Interval { estimate, low: estimate, high: estimate, standard_error: 0.0 });
        let row = |at: usize, rewards: [f64; 3], on_front: bool| WeightsRow {
            system: format!("s{at}"),
            weights: (at > 0).then_some([1.0, 0.0, 0.0]),
            rewards: rewards.map(interval),
            utilities: vec![("village".into(), interval(0.1 * at as f64))],
            on_front,
            front_share: 1.0,
        };
        let rows = vec![row(0, [0.0; 3], false), row(1, [1.0, 0.0, 0.0], true), row(2, [0.0, 1.0, 1.0], true)];
        let svg = weights_figure(&WeightsFindings { scales: Vec::new(), rows });
        assert_finite(&parse(&svg).unwrap());
        assert_eq!(svg.matches("class=\"ring\"").count(), 2 * PANELS.len());
        for expected in ["text adherence", "A 1.00/0.00/0.00", "true utility, village", SIMULATED] {
            assert!(svg.contains(expected), "{expected}");
        }
        let empty = WeightsFindings { scales: Vec::new(), rows: Vec::new() };
        assert_finite(&parse(&weights_figure(&empty)).unwrap());
    }
}
