//! What carried over: text adherence on captions that were never learned from, before, after, and the difference.

use musicrl_core::stats::Interval;

use super::{input::DemoFigure, page::heading};
use crate::figure::{
    Area, Axis, Panel, Svg, is_drawable,
    words::{decimal, difference},
};

/// Dots with whiskers. The difference has the same scale, with its zero at the base's mean.
pub(super) fn draw(svg: &mut Svg, figure: &DemoFigure<'_>, area: Area) {
    let report = figure.report;
    let (before, after, change) = (&report.before.reward, &report.after.reward, &report.difference);
    heading(svg, &area, "c", "On held-out captions");
    svg.text((area.x - 32.0, 43.0), "small", "means with 95 % intervals over captions");
    if is_drawable(report.standard_errors) {
        let text = format!("difference = {} standard errors", difference(report.standard_errors, 1));
        svg.text((area.x - 32.0, 60.0), "small", &text);
    }

    let zero = before.estimate;
    let shifted = Interval {
        estimate: zero + change.estimate,
        low: zero + change.low,
        high: zero + change.high,
        standard_error: change.standard_error,
    };
    let shown = [before, after, &shifted];
    let values = shown.into_iter().flat_map(|interval| [interval.estimate, interval.low, interval.high]);
    let (low, high) = Axis::around("", values, 1).range();
    // Room above the highest whisker for its number.
    let y = Axis::spanning("text adherence (cosine)", low, high + 0.08 * (high - low), 4);
    let panel = Panel { area, x: Axis::of_names("", &["before", "after", "difference"]), y };
    panel.frame(svg);
    panel.level(svg, zero);
    if is_drawable(zero) {
        let (low, high) = panel.y.range();
        panel.right_axis(svg, &Axis::spanning("", low - zero, high - zero, 4).signed());
    }
    let numbers = [decimal(before.estimate, 3), decimal(after.estimate, 3), difference(change.estimate, 3)];
    for (at, ((interval, colour), number)) in shown.into_iter().zip(["grey", "blue", "blue"]).zip(&numbers).enumerate()
    {
        let x = at as f64;
        svg.group(&[("class", colour.into())], |svg| {
            panel.whisker(svg, x, interval);
            if let Some((x, y)) = panel.place((x, interval.high)) {
                svg.text((x, y - 6.0), "value middle", number);
            }
        });
    }
}
