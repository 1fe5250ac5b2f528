//! Heat maps: rows chose, columns judge.

use super::SIMULATED;
use crate::{
    experiment::matrix::{Cell, MatrixFindings},
    figure::Svg,
};

const CELL: (f64, f64) = (86.0, 44.0);
const LEFT: f64 = 84.0;
const TOP: f64 = 96.0;
const GAP: f64 = 112.0;

/// What a cell shows: its number, its words, and how far it is from the middle of the colours, -1 to 1.
type Shown = (Option<f64>, String, String);

/// Win rates and gains of true utility.
pub(in crate::experiment) fn matrix_figure(found: &MatrixFindings) -> String {
    let (width, height) = (found.populations.len() as f64 * CELL.0, found.populations.len() as f64 * CELL.1);
    let title = "Who chose, and who judges";
    let about = "Each system was trained on the choices of the population of its row and is judged against the base by that of \
                 its column; simulated listeners.";
    let mut svg = Svg::new(LEFT + width + GAP + width + 16.0, TOP + height + 20.0, title, about);
    svg.text((8.0, 20.0), "heading", title);
    svg.text((8.0, 37.0), "small", &format!("rows: whose choices were learned from; columns: who judges; {SIMULATED}"));
    let largest = found.cells.iter().flatten().filter_map(|cell| Some(cell.utility_gain.as_ref()?.estimate.abs()));
    let largest = largest.fold(0.0, f64::max);
    let rate = |cell: &Cell| -> Shown {
        let Some(rate) = &cell.win_rate else { return (None, "ties".into(), String::new()) };
        let span = format!("{:.0}–{:.0}", 100.0 * rate.low, 100.0 * rate.high);
        (Some(2.0 * rate.estimate - 1.0), format!("{:.0}", 100.0 * rate.estimate), span)
    };
    let gain = |cell: &Cell| -> Shown {
        let Some(gain) = &cell.utility_gain else { return (None, "–".into(), String::new()) };
        let share = if largest > 0.0 { gain.estimate / largest } else { 0.0 };
        (Some(share), format!("{:+.2}", gain.estimate), format!("{:+.2}, {:+.2}", gain.low, gain.high))
    };
    map(&mut svg, LEFT, "win rate against the base, %", found, &rate);
    map(&mut svg, LEFT + width + GAP, "gain of true utility over the base", found, &gain);
    svg.finish()
}

fn map(svg: &mut Svg, left: f64, title: &str, found: &MatrixFindings, shown: &dyn Fn(&Cell) -> Shown) {
    svg.text((left, TOP - 34.0), "heading", title);
    for (at, name) in found.populations.iter().enumerate() {
        svg.text((left + CELL.0 * (at as f64 + 0.5), TOP - 8.0), "small middle", name);
        svg.text((left - 8.0, TOP + CELL.1 * (at as f64 + 0.5) + 4.0), "small end", name);
    }
    for (row, cells) in found.cells.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let (x, y) = (left + CELL.0 * column as f64, TOP + CELL.1 * row as f64);
            let (value, words, span) = shown(cell);
            let value = value.filter(|value| value.is_finite()).unwrap_or(0.0).clamp(-1.0, 1.0);
            // Blue above the middle, orange below; text stays legible on both.
            let colour = if value >= 0.0 { "blue" } else { "orange" };
            svg.group(&[("class", colour.into())], |svg| {
                svg.element(
                    "rect",
                    &[
                        ("class", "dot".into()),
                        ("fill-opacity", (0.6 * value.abs()).into()),
                        ("x", (x + 1.0).into()),
                        ("y", (y + 1.0).into()),
                        ("width", (CELL.0 - 2.0).into()),
                        ("height", (CELL.1 - 2.0).into()),
                    ],
                );
            });
            svg.text((x + CELL.0 / 2.0, y + 19.0), "middle heading", &words);
            svg.text((x + CELL.0 / 2.0, y + 34.0), "middle small", &span);
        }
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::stats::Interval;

    use super::*;
    use crate::figure::xml::{assert_finite, parse};

    #[test]
    fn every_cell_is_drawn_and_what_is_missing_is_said() {
        let interval =
            |estimate| Interval { estimate, low: estimate - 0.1, high: estimate + 0.1, standard_error: 0.05 };
        let cell = |rate: Option<f64>| Cell {
            win_rate: rate.map(interval),
            ties: 1,
            comparisons: 9,
            utility_gain: rate.map(|rate| interval(rate - 0.5)),
        };
        let found = MatrixFindings {
            populations: vec!["village".into(), "<town>".into()],
            cells: vec![vec![cell(Some(0.875)), cell(Some(0.25))], vec![cell(None), cell(Some(0.5))]],
            own: Some(0.1),
            others: None,
        };
        let svg = matrix_figure(&found);
        assert_finite(&parse(&svg).unwrap());
        assert_eq!(svg.matches("<rect class=\"dot\"").count(), 8);
        for expected in [">88</text>", ">ties</text>", ">+0.38</text>", "&lt;town&gt;", SIMULATED] {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
        // A win rate of 1/4 is as far below the middle as 3/4 is above.
        assert!(svg.contains("fill-opacity=\"0.3\""), "{svg}");
    }
}
