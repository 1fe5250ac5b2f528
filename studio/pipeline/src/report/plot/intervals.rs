//! Estimates with their intervals, one below the other: win rates, opinion scores, strengths, measures.

use musicrl_core::stats::Interval;

use super::{
    drawn::{Drawn, Table, WIDTH},
    number::span,
};
use crate::{
    figure::{Area, Axis, Look, Panel, Svg, words::fitted},
    report::read::Span,
};

const ROW: f64 = 38.0;
const EDGE: f64 = 14.0;
const TOP: f64 = 66.0;

/// One estimate.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct IntervalRow {
    /// What it is of.
    pub name: String,
    /// The estimate.
    pub span: Span,
    /// The colour.
    pub look: Look,
}

/// A figure `name` of `rows`. `note` stands below its title (who rated), `label` names what is on the axis, `zero` is
/// marked. `None` where no row has an estimate.
pub(in crate::report) fn intervals_figure(
    name: &str,
    (title, note): (&str, &str),
    (label, unit_of_table): (&str, &str),
    rows: &[IntervalRow],
    zero: Option<f64>,
    caption: String,
) -> Option<Drawn> {
    let values = rows.iter().flat_map(|row| [row.span.estimate, row.span.low, row.span.high]).flatten().chain(zero);
    if rows.iter().all(|row| row.span.estimate.is_none()) {
        return None;
    }
    let height = ROW * rows.len() as f64;
    let mut svg = Svg::new(WIDTH, TOP + height + 44.0, title, &caption);
    svg.text((8.0, 18.0), "heading", &fitted(title, WIDTH - 16.0, 12.0));
    svg.text((8.0, 34.0), "small", &fitted(note, WIDTH - 16.0, 11.0));
    let panel = Panel {
        area: Area { x: EDGE, y: TOP - 20.0, width: WIDTH - 2.0 * EDGE, height: height + 20.0 },
        x: Axis::around(fitted(label, WIDTH - 2.0 * EDGE, 12.0), values, 5),
        // Rows from the top down: the first at the largest number.
        y: Axis::spanning("", -0.5, rows.len() as f64 - 0.5 + 20.0 / ROW, 0).bare(),
    };
    panel.frame(&mut svg);
    if let Some(zero) = zero {
        panel.moment(&mut svg, zero);
    }
    let mut table = Table::new(&["", unit_of_table]);
    for (at, row) in rows.iter().enumerate() {
        let y = (rows.len() - 1 - at) as f64;
        table.row([row.name.clone(), span(Some(row.span))]);
        let words = format!("{}  {}", row.name, span(Some(row.span)));
        let baseline = TOP + ROW * at as f64 + 6.0;
        svg.text((EDGE + 4.0, baseline), "halo", &fitted(&words, WIDTH - 2.0 * EDGE - 8.0, 12.0));
        let missing = f64::NAN;
        let interval = Interval {
            estimate: row.span.estimate.unwrap_or(missing),
            low: row.span.low.unwrap_or(missing),
            high: row.span.high.unwrap_or(missing),
            standard_error: 0.0,
        };
        svg.group(&[("class", row.look.class().as_str().into())], |svg| panel.whisker_across(svg, y, &interval));
    }
    Some(Drawn { name: name.into(), svg: svg.finish(), caption, table })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_below_their_words_in_their_order() {
        let row = |name: &str, estimate: f64| IntervalRow {
            name: name.into(),
            span: Span { estimate: Some(estimate), low: Some(estimate - 0.1), high: Some(estimate + 0.1) },
            look: Look::of(0),
        };
        let rows = [row("first", 0.2), row("second", 0.8)];
        let drawn =
            intervals_figure("n", ("t", "rated by SIMULATED"), ("x", "#x"), &rows, Some(0.5), "c".into()).unwrap();
        // The first row's dot is above the second's, each under its own words.
        let heights: Vec<f64> = drawn
            .svg
            .split("<circle class=\"dot\"")
            .skip(1)
            .map(|rest| rest.split("cy=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(heights, [TOP + 0.5 * ROW, TOP + 1.5 * ROW]);
        assert!(drawn.svg.contains("first 0.200 [0.100, 0.300]"), "{}", drawn.svg);
        assert!(drawn.svg.contains(">rated by SIMULATED</text>"), "{}", drawn.svg);
        assert_eq!(drawn.svg.matches("class=\"rule\"").count(), 1);
        let empty = IntervalRow { span: Span::default(), ..row("none", 0.0) };
        assert!(intervals_figure("n", ("t", ""), ("x", "#x"), &[empty], None, String::new()).is_none());
    }
}
