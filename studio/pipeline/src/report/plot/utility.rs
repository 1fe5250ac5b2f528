//! What a reward stands for against the reward: over-optimisation as it happens.

use super::{
    curve::{Evaluated, Segment, segments},
    drawn::{Drawn, HEIGHT, LEFT, RIGHT, Table, WIDTH, flow},
    number::number,
};
use crate::{
    figure::{Area, Axis, Legend, Look, Panel, Series, Svg, words::fitted},
    report::read::{Stage, System},
};

/// How rewards begin that say the taste that simulated listeners choose by.
pub(in crate::report) const TRUE_UTILITY: &str = "true_utility_";

/// One figure and what it shows in numbers.
pub(in crate::report) struct Utility {
    /// The population whose taste it is.
    pub population: String,
    /// The figure.
    pub figure: Drawn,
    /// Where the true utility was best, and what was chosen.
    pub summary: Table,
}

/// What a stage learns from: the metric that holds it, and its name.
fn proxy(stage: &Stage) -> Option<(String, String)> {
    let learned: Vec<&str> = stage.plan.learned().map(|(name, _)| name).collect();
    match learned.as_slice() {
        [] => None,
        [one] => Some((format!("reward_{one}"), one.replace('_', " "))),
        several => Some(("reward".into(), format!("sum of {}", several.join(", ").replace('_', " ")))),
    }
}

/// A figure for each true utility and each kind of trained reward: rewards of two kinds have no common scale.
pub(in crate::report) fn utilities(systems: &[System]) -> Vec<Utility> {
    let mut found = Vec::new();
    for name in super::reward_names(systems).iter().filter(|name| name.starts_with(TRUE_UTILITY)) {
        let segments = segments(systems, &format!("reward_{name}"), Some(name));
        let mut kinds: Vec<(String, String)> = Vec::new();
        for kind in segments.iter().filter_map(|segment| proxy(segment.stage)) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        for (metric, label) in kinds {
            let of_kind = segments.iter().filter(|segment| proxy(segment.stage).is_some_and(|kind| kind.1 == label));
            let paths: Vec<Path<'_, '_>> = of_kind.filter_map(|segment| Path::of(segment, &metric)).collect();
            if !paths.is_empty() {
                found.push(draw(&paths, name, &label));
            }
        }
    }
    found
}

/// One stage: the trained reward and the true utility at each evaluation, in the order of the steps.
struct Path<'a, 'b> {
    segment: &'a Segment<'b>,
    points: Vec<(f64, Evaluated)>,
}

impl<'a, 'b> Path<'a, 'b> {
    fn of(segment: &'a Segment<'b>, metric: &str) -> Option<Self> {
        let proxy = |step: u64| {
            let mut records = segment.stage.evaluations().filter(|record| record.step == step);
            records.find_map(|record| record.metrics.get(metric)).filter(|value| value.is_finite())
        };
        let points: Vec<(f64, Evaluated)> =
            segment.evaluated.iter().filter_map(|point| Some((proxy(point.step)?, *point))).collect();
        (!points.is_empty()).then_some(Self { segment, points })
    }
}

fn draw(paths: &[Path<'_, '_>], name: &str, label: &str) -> Utility {
    let population = name.trim_start_matches(TRUE_UTILITY).to_string();
    let title = format!("True utility of {population} against what was trained");
    let mut entries: Vec<(Look, String)> = Vec::new();
    for Path { segment, .. } in paths {
        let entry = (Look::of(segment.system), segment.system_name.clone());
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    let legend = Legend::new(entries, WIDTH - 16.0);
    let top = 34.0 + legend.height();
    let description = format!(
        "The true utility of the simulated population {population} against {label}, at each evaluation on held-out \
         captions; the chosen checkpoints are marked."
    );
    let signs = ["triangles: start", "dots: evaluations in order", "rings: chosen checkpoints"].map(String::from);
    let lines = flow(&signs, WIDTH - 16.0);
    let mut svg = Svg::new(WIDTH, top + HEIGHT + 44.0 + 15.0 * lines.len() as f64, &title, &description);
    svg.text((8.0, 18.0), "heading", &fitted(&title, WIDTH - 16.0, 12.0));
    legend.draw(&mut svg, (8.0, 24.0));
    let points = || paths.iter().flat_map(|path| &path.points);
    let y_values = points().flat_map(|(_, point)| {
        let (low, high) = point.interval.unwrap_or((point.value, point.value));
        [point.value, low, high]
    });
    let panel = Panel {
        area: Area { x: LEFT, y: top, width: WIDTH - LEFT - RIGHT, height: HEIGHT },
        x: Axis::around(fitted(&format!("{label} (trained)"), WIDTH - LEFT, 12.0), points().map(|(x, _)| *x), 5),
        y: Axis::around("true utility (SIMULATED)", y_values, 5),
    };
    panel.frame(&mut svg);
    for Path { segment, points } in paths {
        svg.group(&[("class", Look::of(segment.system).class().as_str().into())], |svg| {
            let series = Series::new(points.iter().map(|(x, point)| (*x, point.value)));
            panel.trace(svg, &series);
            for (x, point) in points {
                if let Some(interval) = point.interval {
                    panel.upright(svg, *x, interval);
                }
            }
            panel.circles(svg, &series);
            if let Some((x, first)) = points.first() {
                panel.start(svg, (*x, first.value));
            }
            if let Some((x, point)) = points.iter().find(|(_, point)| Some(point.step) == segment.stage.chosen()) {
                panel.ring(svg, (*x, point.value));
                if let Some((x, y)) = panel.place((*x, point.value)) {
                    let class = if x > panel.area.x + panel.area.width / 2.0 { "value end" } else { "value" };
                    let x = if class == "value" { x + 10.0 } else { x - 10.0 };
                    svg.text((x, y - 8.0), class, &format!("chosen: step {}", point.step));
                }
            }
        });
    }
    for (at, line) in lines.iter().enumerate() {
        svg.text((8.0, top + HEIGHT + 54.0 + 15.0 * at as f64), "small", line);
    }
    let (mut numbers, mut summary) = (
        Table::new(&["system", "#step", "#trained reward", "#true utility", "checkpoint"]),
        Table::new(&["system", "at", "#step", "#trained reward", "#true utility"]),
    );
    for Path { segment, points } in paths {
        let chosen = segment.stage.chosen();
        for (x, point) in points {
            numbers.row([
                segment.name.clone(),
                point.step.to_string(),
                number(Some(*x)),
                number(Some(point.value)),
                if chosen == Some(point.step) { "chosen".into() } else { String::new() },
            ]);
        }
        let best = points.iter().max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value).then(b.step.cmp(&a.step)));
        let places = [
            ("start", points.first()),
            ("best true utility", best),
            ("chosen checkpoint", points.iter().find(|(_, point)| Some(point.step) == chosen)),
            ("last evaluation", points.last()),
        ];
        for (what, point) in places.into_iter().filter_map(|(what, point)| Some((what, point?))) {
            let (x, point) = point;
            summary.row([
                segment.name.clone(),
                what.into(),
                point.step.to_string(),
                number(Some(*x)),
                number(Some(point.value)),
            ]);
        }
    }
    let caption = format!(
        "The taste that the simulated population {population} chooses by, which no model was shown, against {label}, \
         which was learned from; held-out captions. Where a path goes on to the right and falls, the reward is \
         over-optimised."
    );
    let figure = Drawn { name: format!("{name}-against-{label}"), svg: svg.finish(), caption, table: numbers };
    Utility { population, figure, summary }
}
