//! A panel: two axes around an area of the page, and the marks that are drawn in it.

use musicrl_core::stats::Interval;

use super::{
    axis::Axis,
    series::{Series, Trend, TrendPoint},
    svg::{PathData, Svg},
};

/// Points of a series that are drawn at most: more would only make the file large.
const POINTS: usize = 2_000;

/// A rectangle of the page, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// From the left to the right edge.
    pub width: f64,
    /// From the upper to the lower edge.
    pub height: f64,
}

impl Area {
    /// The right edge.
    #[must_use]
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// The lower edge.
    #[must_use]
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// What a key explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A dot.
    Dot,
    /// A line inside its band.
    Line,
}

/// Two axes around an area. What lies outside their ranges is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Where the data are drawn; labels stand outside, to the left and below.
    pub area: Area,
    /// From left to right.
    pub x: Axis,
    /// From below upwards.
    pub y: Axis,
}

impl Panel {
    /// Where a point lies on the page.
    #[must_use]
    pub fn place(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let Area { x: left, y: top, .. } = self.area;
        Some((self.x.place(x, left, self.area.right())?, self.y.place(y, self.area.bottom(), top)?))
    }

    /// Grid, axes, ticks and labels.
    pub fn frame(&self, svg: &mut Svg) {
        let area = &self.area;
        let (left, right, top, bottom) = (area.x, area.right(), area.y, area.bottom());
        for tick in self.y.ticks() {
            let Some(y) = self.y.place(tick.value, bottom, top) else { continue };
            svg.line("grid", (left, y), (right, y));
            write(svg, (left - 6.0, y + 4.0), "tick end", &tick.label);
        }
        for tick in self.x.ticks() {
            let Some(x) = self.x.place(tick.value, left, right) else { continue };
            svg.line("axis", (x, bottom), (x, bottom + 4.0));
            write(svg, (x, bottom + 16.0), "tick middle", &tick.label);
        }
        let mut corner = PathData::default();
        corner.move_to((left, top));
        corner.line_to((left, bottom));
        corner.line_to((right, bottom));
        svg.path("axis", &corner);
        write(svg, (left + area.width / 2.0, bottom + 32.0), "middle", self.x.label());
        if !self.y.label().is_empty() {
            svg.text_upwards((left - 40.0, top + area.height / 2.0), "middle", self.y.label());
        }
    }

    /// A second scale on the right edge, over the same height.
    pub fn right_axis(&self, svg: &mut Svg, axis: &Axis) {
        let (right, top, bottom) = (self.area.right(), self.area.y, self.area.bottom());
        svg.line("axis", (right, top), (right, bottom));
        for tick in axis.ticks() {
            let Some(y) = axis.place(tick.value, bottom, top) else { continue };
            svg.line("axis", (right, y), (right + 4.0, y));
            write(svg, (right + 7.0, y + 4.0), "tick", &tick.label);
        }
    }

    /// A dot for every point.
    pub fn dots(&self, svg: &mut Svg, series: &Series) {
        let mut path = PathData::default();
        for point in thinned(series.points()).filter_map(|point| self.place(*point)) {
            path.dot(point);
        }
        svg.path("dots", &path);
    }

    /// A line through the means, broken where one lies outside.
    pub fn line(&self, svg: &mut Svg, trend: &Trend) {
        let mut path = PathData::default();
        let mut drawing = false;
        for point in thinned(&trend.points) {
            match self.place((point.x, point.mean)) {
                Some(place) if drawing => path.line_to(place),
                Some(place) => path.move_to(place),
                None => {}
            }
            drawing = self.place((point.x, point.mean)).is_some();
        }
        svg.path("line", &path);
    }

    /// One standard error to both sides of the means.
    pub fn band(&self, svg: &mut Svg, trend: &Trend) {
        let points: Vec<TrendPoint> = thinned(&trend.points).copied().collect();
        let ends = |point: &TrendPoint| {
            let error = point.standard_error?;
            Some((self.place((point.x, point.mean + error))?, self.place((point.x, point.mean - error))?))
        };
        let ends: Vec<Option<_>> = points.iter().map(ends).collect();
        let mut path = PathData::default();
        for run in ends.split(Option::is_none).filter(|run| run.len() > 1) {
            let (upper, lower): (Vec<_>, Vec<_>) = run.iter().flatten().copied().unzip();
            for (index, place) in upper.into_iter().chain(lower.into_iter().rev()).enumerate() {
                if index == 0 { path.move_to(place) } else { path.line_to(place) }
            }
            path.close();
        }
        svg.path("band", &path);
    }

    /// A dot at the estimate and a whisker from end to end of the interval; what is missing of them is left out.
    pub fn whisker(&self, svg: &mut Svg, x: f64, interval: &Interval) {
        let ends = (self.place((x, interval.low)), self.place((x, interval.high)));
        if let (Some(low), Some(high)) = ends {
            let mut path = PathData::default();
            path.move_to(low);
            path.line_to(high);
            for (x, y) in [low, high] {
                path.move_to((x - 4.0, y));
                path.line_to((x + 4.0, y));
            }
            svg.path("whisker", &path);
        }
        if let Some((x, y)) = self.place((x, interval.estimate)) {
            svg.element("circle", &[("class", "dot".into()), ("cx", x.into()), ("cy", y.into()), ("r", 4.0.into())]);
        }
    }

    /// A dashed line across at `y`.
    pub fn level(&self, svg: &mut Svg, y: f64) {
        if let Some(y) = self.y.place(y, self.area.bottom(), self.area.y) {
            svg.line("rule", (self.area.x, y), (self.area.right(), y));
        }
    }

    /// A dashed line from top to bottom at `x`.
    pub fn moment(&self, svg: &mut Svg, x: f64) {
        if let Some(x) = self.x.place(x, self.area.x, self.area.right()) {
            svg.line("rule", (x, self.area.y), (x, self.area.bottom()));
        }
    }
}

/// A mark and what it stands for, its left end at a point of the text's baseline.
pub(super) fn key(svg: &mut Svg, (x, y): (f64, f64), mark: Mark, text: &str) {
    let middle = y - 4.0;
    match mark {
        Mark::Dot => {
            let mut path = PathData::default();
            path.dot((x + 8.0, middle));
            svg.path("dots", &path);
        }
        Mark::Line => {
            let mut path = PathData::default();
            path.move_to((x, middle - 4.0));
            for corner in [(x + 16.0, middle - 4.0), (x + 16.0, middle + 4.0), (x, middle + 4.0)] {
                path.line_to(corner);
            }
            path.close();
            svg.path("band", &path);
            svg.line("line", (x, middle), (x + 16.0, middle));
        }
    }
    svg.text((x + 22.0, y), "small", text);
}

fn write(svg: &mut Svg, at: (f64, f64), class: &str, text: &str) {
    if !text.is_empty() {
        svg.text(at, class, text);
    }
}

/// At most [`POINTS`] of the points, evenly chosen.
pub(super) fn thinned<T>(points: &[T]) -> impl Iterator<Item = &T> {
    points.iter().step_by(points.len().div_ceil(POINTS).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::xml::{assert_finite, parse},
        *,
    };

    fn panel(x: Axis, y: Axis) -> Panel {
        Panel { area: Area { x: 100.0, y: 10.0, width: 200.0, height: 50.0 }, x, y }
    }

    fn drawn(draw: impl FnOnce(&mut Svg)) -> String {
        let mut svg = Svg::new(400.0, 100.0, "t", "d");
        draw(&mut svg);
        svg.finish()
    }

    #[test]
    fn simple_numbers_to_paths() {
        let panel = panel(Axis::spanning("step", 0.0, 4.0, 4), Axis::spanning("reward", 0.0, 1.0, 2));
        let series = Series::new([(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 0.5)]);
        let text = drawn(|svg| panel.dots(svg, &series));
        assert!(text.contains(r#"<path class="dots" d="M100 60h0M150 10h0M250 35h0"/>"#), "{text}");

        let point = |x, mean, error| TrendPoint { x, mean, standard_error: Some(error) };
        let trend = Trend { points: vec![point(0.0, 0.5, 0.1), point(2.0, 0.5, 0.1), point(4.0, 2.0, 0.1)] };
        let text = drawn(|svg| panel.line(svg, &trend));
        assert!(text.contains(r#"<path class="line" d="M100 35L200 35"/>"#), "{text}");
        let text = drawn(|svg| panel.band(svg, &trend));
        assert!(text.contains(r#"<path class="band" d="M100 30L200 30L200 40L100 40Z"/>"#), "{text}");

        let interval = Interval { estimate: 0.5, low: 0.25, high: 0.75, standard_error: 0.1 };
        let text = drawn(|svg| panel.whisker(svg, 2.0, &interval));
        assert!(text.contains(r#"d="M200 47.5L200 22.5M196 47.5L204 47.5M196 22.5L204 22.5""#), "{text}");
        assert!(text.contains(r#"<circle class="dot" cx="200" cy="35" r="4"/>"#), "{text}");
    }

    #[test]
    fn many_points_stay_a_small_file() {
        let series = Series::new((0..50_000).map(|step| (f64::from(step), 0.5)));
        let panel = panel(Axis::around("", [0.0, 5e4], 4), Axis::spanning("", 0.0, 1.0, 2));
        assert!(drawn(|svg| panel.dots(svg, &series)).len() < 60_000);
    }

    proptest! {
        #[test]
        fn any_numbers_give_well_formed_finite_drawings(
            points in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY), 0..12),
            ends in prop::array::uniform4(prop::num::f64::ANY),
            window in 0_usize..6,
            label in ".*",
        ) {
            let series = Series::new(points.iter().copied());
            let trend = series.trend(window);
            let x = Axis::around(label, points.iter().map(|point| point.0), 4);
            let panel = panel(x, Axis::around("y", series.ys().chain(trend.ys()).chain(ends), 4));
            let [estimate, low, high, standard_error] = ends;
            let text = drawn(|svg| {
                panel.frame(svg);
                panel.dots(svg, &series);
                panel.band(svg, &trend);
                panel.line(svg, &trend);
                panel.whisker(svg, low, &Interval { estimate, low, high, standard_error });
                panel.level(svg, estimate);
                panel.moment(svg, high);
                panel.right_axis(svg, &panel.y.unlabelled());
            });
            assert_finite(&parse(&text).map_err(TestCaseError::fail)?);
        }
    }
}
