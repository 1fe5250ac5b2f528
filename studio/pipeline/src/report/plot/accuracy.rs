//! Accuracy of reward models against epochs, or against the pairs that they learned from.

use super::{
    drawn::{Drawn, HEIGHT, LEFT, RIGHT, Table, WIDTH, flow},
    number::{number, percent},
};
use crate::{
    figure::{Area, Axis, Legend, Look, Panel, Series, Svg},
    report::read::{AccuracyCurve, Against},
};

/// What one who guesses gets.
const CHANCE: f64 = 0.5;

/// All curves in one figure; `None` when there is no point.
pub(in crate::report) fn accuracy_figure(curves: &[AccuracyCurve], against: Against) -> Option<Drawn> {
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return None;
    }
    let (name, title, axis, column) = match against {
        Against::Epochs => ("accuracy", "Accuracy of reward models", "epochs", "#epoch"),
        Against::Pairs => ("personal", "Reward models for one listener", "pairs of the listener", "#pairs"),
    };
    let mut sources: Vec<String> = Vec::new();
    for source in curves.iter().map(|curve| curve.raters.to_string()) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let said: Vec<String> = sources.iter().map(|source| format!("choices of {source}")).collect();
    let (lines, sources) = (flow(&said, WIDTH - 16.0), sources.join("; "));
    let legend = curves.iter().enumerate().map(|(at, curve)| (Look::of(at), curve.name.clone()));
    let legend = Legend::new(legend, WIDTH - 16.0);
    let below = 19.0 + 15.0 * lines.len() as f64;
    let top = below + 16.0 + legend.height();
    let description =
        format!("Accuracy on held-out pairs against {axis} of {} curves; choices of {sources}.", curves.len());
    let mut svg = Svg::new(WIDTH, top + HEIGHT + 44.0, title, &description);
    svg.text((8.0, 18.0), "heading", title);
    for (at, line) in lines.iter().enumerate() {
        svg.text((8.0, 34.0 + 15.0 * at as f64), "small", line);
    }
    legend.draw(&mut svg, (8.0, below + 6.0));
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let ceilings = ceilings(curves);
    let percents = points().flat_map(|point| [Some(point.accuracy), point.low, point.high]).flatten();
    let percents = percents.chain(ceilings.iter().copied());
    let last = points().map(|point| point.at).fold(0.0, f64::max);
    let panel = Panel {
        area: Area { x: LEFT, y: top, width: WIDTH - LEFT - RIGHT, height: HEIGHT },
        x: Axis::from_zero(axis, [last], 5),
        y: Axis::around("accuracy (%)", percents.chain([CHANCE]).map(|share| 100.0 * share), 5),
    };
    panel.frame(&mut svg);
    panel.level(&mut svg, 100.0 * CHANCE);
    ceilings.iter().for_each(|ceiling| panel.level(&mut svg, 100.0 * ceiling));
    let mut table = Table::new(&["model", column, "#accuracy", "interval"]);
    for (at, curve) in curves.iter().enumerate() {
        svg.group(&[("class", Look::of(at).class().as_str().into())], |svg| {
            let series = Series::new(curve.points.iter().map(|point| (point.at, 100.0 * point.accuracy)));
            panel.trace(svg, &series);
            for point in &curve.points {
                if let (Some(low), Some(high)) = (point.low, point.high) {
                    panel.upright(svg, point.at, (100.0 * low, 100.0 * high));
                }
            }
            panel.circles(svg, &series);
        });
        for point in &curve.points {
            let interval = point.low.zip(point.high);
            table.row([
                curve.name.clone(),
                number(Some(point.at)),
                percent(Some(point.accuracy)),
                interval.map_or_else(String::new, |(low, high)| {
                    format!("[{}, {}]", percent(Some(low)), percent(Some(high)))
                }),
            ]);
        }
    }
    let caption = format!(
        "Share of decided held-out pairs whose preferred clip has the higher score; choices of {sources}. Dashed: chance{}. \
         Upright lines: intervals, where the data have them.",
        if ceilings.is_empty() { "" } else { ", and above it what one with the listeners' shared taste can expect" }
    );
    Some(Drawn { name: name.into(), svg: svg.finish(), caption, table })
}

/// The ceilings of all curves, each once.
fn ceilings(curves: &[AccuracyCurve]) -> Vec<f64> {
    let mut all: Vec<f64> = curves
        .iter()
        .filter_map(|curve| curve.figures.as_ref()?.ceiling)
        .filter(|ceiling| ceiling.is_finite())
        .collect();
    all.sort_by(f64::total_cmp);
    all.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::read::{AccuracyPoint, Raters};

    #[test]
    fn points_and_chance_stand_where_they_belong() {
        let point = |epoch, accuracy| AccuracyPoint { at: epoch, accuracy, low: None, high: None };
        let curve = AccuracyCurve {
            name: "all".into(),
            points: vec![point(0.0, 0.5), point(2.0, 0.6)],
            raters: Raters::Simulated("town".into()),
            figures: None,
        };
        let drawn = accuracy_figure(std::slice::from_ref(&curve), Against::Epochs).unwrap();
        // The legend takes one row; the axis goes from 49.5 to 60.5 and from 0 to 2.1.
        let (top, width) = (66.0, WIDTH - LEFT - RIGHT);
        let y = |percent: f64| top + HEIGHT * (1.0 - (percent - 49.5) / 11.0);
        let round = |value: f64| ((value * 100.0).round() / 100.0).to_string();
        let line = format!("M{} {}L{} {}", LEFT, round(y(50.0)), round(LEFT + width * 2.0 / 2.1), round(y(60.0)));
        assert!(drawn.svg.contains(&line), "{line}: {}", drawn.svg);
        assert!(drawn.svg.contains(&format!("y1=\"{}\"", round(y(50.0)))));
        assert!(drawn.svg.contains("SIMULATED"));
        assert!(accuracy_figure(&[], Against::Epochs).is_none());
        // A ceiling is a line of its own, and the axis reaches it.
        let levels = |svg: &str| svg.matches("class=\"rule\"").count();
        let figures = crate::study::Figures { ceiling: Some(0.77), ..crate::study::Figures::none() };
        let with = AccuracyCurve { figures: Some(figures), ..curve };
        let ceiling = accuracy_figure(&[with.clone(), with], Against::Pairs).unwrap();
        assert_eq!(levels(&ceiling.svg), levels(&drawn.svg) + 1);
        assert!(ceiling.svg.contains("pairs of the listener") && ceiling.caption.contains("shared taste"));
    }
}
