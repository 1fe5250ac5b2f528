//! What the training reported, step by step.

use super::{input::DemoFigure, page::heading};
use crate::figure::{Area, Axis, Mark, Panel, Series, Svg, Trend, panel::key};

/// The reward of each step and its moving mean.
pub(super) fn reward(svg: &mut Svg, figure: &DemoFigure<'_>, area: Area) {
    let series = figure.series("reward");
    let window = Trend::window(series.points().len());
    let trend = series.trend(window);
    heading(svg, &area, "a", "Reward in training");
    svg.group(&[("class", "blue".into())], |svg| {
        key(svg, (area.x - 32.0, 43.0), Mark::Dot, "one step (mean of its clips)");
        key(svg, (area.x - 32.0, 60.0), Mark::Line, &format!("mean of {window} steps ± 1 standard error"));
    });
    let y = Axis::around("text adherence (cosine)", series.ys().chain(trend.ys()), 4);
    let panel = Panel { area, x: steps(figure), y };
    draw(svg, figure, &panel, "blue", &series, &trend);
}

/// What it cost: the distance from the base, and the variety that is left.
pub(super) fn price(svg: &mut Svg, figure: &DemoFigure<'_>, area: Area) {
    heading(svg, &area, "b", "What it cost");
    svg.text((area.x - 32.0, 43.0), "small", "above: KL of a clip to the base, nats");
    svg.text((area.x - 32.0, 60.0), "small", "below: entropy, as a share of the base's");
    let half = Area { height: (area.height - 24.0) / 2.0, ..area };
    let steps = steps(figure);

    let kl = figure.series("kl");
    let trend = kl.trend(Trend::window(kl.points().len()));
    let y = Axis::from_zero("KL (nats)", kl.ys().chain(trend.ys()), 3);
    draw(svg, figure, &Panel { area: half, x: steps.unlabelled(), y }, "orange", &kl, &trend);

    let entropy = figure.series("entropy").percent_of(figure.report.before.entropy);
    let trend = entropy.trend(Trend::window(entropy.points().len()));
    let y = Axis::around("entropy (%)", entropy.ys().chain(trend.ys()).chain([100.0]), 3);
    let panel = Panel { area: Area { y: area.bottom() - half.height, ..half }, x: steps, y };
    panel.level(svg, 100.0);
    draw(svg, figure, &panel, "green", &entropy, &trend);
}

fn draw(svg: &mut Svg, figure: &DemoFigure<'_>, panel: &Panel, colour: &str, series: &Series, trend: &Trend) {
    panel.frame(svg);
    for (offset, stage) in figure.timeline() {
        if offset > 0.0 {
            panel.moment(svg, offset);
        }
        if stage.chosen_step < stage.last_step() {
            panel.moment(svg, offset + stage.chosen_step as f64);
        }
    }
    svg.group(&[("class", colour.into())], |svg| {
        panel.dots(svg, series);
        panel.band(svg, trend);
        panel.line(svg, trend);
    });
}

fn steps(figure: &DemoFigure<'_>) -> Axis {
    let last: u64 = figure.stages.iter().map(super::StageCurve::last_step).sum();
    Axis::spanning("step", 0.0, last.max(1) as f64, 4)
}
