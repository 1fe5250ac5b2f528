//! Marks of figures that hold several curves: thin lines, circles, and the signs of a beginning and of a choice.

use musicrl_core::stats::Interval;

use super::{
    panel::{Panel, thinned},
    series::Series,
    svg::{PathData, Svg},
};

/// Radius of a circle, in pixels.
const RADIUS: f64 = 3.2;

impl Panel {
    /// A thin line from point to point in their order, broken where one lies outside.
    pub fn trace(&self, svg: &mut Svg, series: &Series) {
        let mut path = PathData::default();
        let mut drawing = false;
        for point in thinned(series.points()) {
            let place = self.place(*point);
            match place {
                Some(place) if drawing => path.line_to(place),
                Some(place) => path.move_to(place),
                None => {}
            }
            drawing = place.is_some();
        }
        svg.path("trace", &path);
    }

    /// A filled circle at every point.
    pub fn circles(&self, svg: &mut Svg, series: &Series) {
        for (x, y) in thinned(series.points()).filter_map(|point| self.place(*point)) {
            svg.element("circle", &[("class", "dot".into()), ("cx", x.into()), ("cy", y.into()), ("r", RADIUS.into())]);
        }
    }

    /// A ring around a point: what was chosen.
    pub fn ring(&self, svg: &mut Svg, point: (f64, f64)) {
        if let Some((x, y)) = self.place(point) {
            svg.element("circle", &[("class", "ring".into()), ("cx", x.into()), ("cy", y.into()), ("r", 6.5.into())]);
        }
    }

    /// A hollow triangle that points to the right: where a curve begins.
    pub fn start(&self, svg: &mut Svg, point: (f64, f64)) {
        if let Some((x, y)) = self.place(point) {
            let mut path = PathData::default();
            path.move_to((x - 4.0, y - 5.0));
            path.line_to((x + 5.0, y));
            path.line_to((x - 4.0, y + 5.0));
            path.close();
            svg.path("start", &path);
        }
    }

    /// An interval in the direction of y, without a mark at its estimate.
    pub fn upright(&self, svg: &mut Svg, x: f64, (low, high): (f64, f64)) {
        if let (Some(low), Some(high)) = (self.place((x, low)), self.place((x, high))) {
            let mut path = PathData::default();
            path.move_to(low);
            path.line_to(high);
            svg.path("whisker", &path);
        }
    }

    /// An interval in the direction of x at the height `y`, with a dot at its estimate; what is missing is left out.
    pub fn whisker_across(&self, svg: &mut Svg, y: f64, interval: &Interval) {
        let ends = (self.place((interval.low, y)), self.place((interval.high, y)));
        if let (Some(low), Some(high)) = ends {
            let mut path = PathData::default();
            path.move_to(low);
            path.line_to(high);
            for (x, y) in [low, high] {
                path.move_to((x, y - 4.0));
                path.line_to((x, y + 4.0));
            }
            svg.path("whisker", &path);
        }
        self.circles(svg, &Series::new([(interval.estimate, y)]));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Area, Axis},
        *,
    };

    #[test]
    fn simple_numbers_to_marks() {
        let panel = Panel {
            area: Area { x: 100.0, y: 10.0, width: 200.0, height: 50.0 },
            x: Axis::spanning("", 0.0, 4.0, 4),
            y: Axis::spanning("", 0.0, 1.0, 2),
        };
        let mut svg = Svg::new(400.0, 100.0, "t", "d");
        panel.trace(&mut svg, &Series::new([(0.0, 0.0), (2.0, 1.0), (5.0, 0.5), (3.0, 0.5), (4.0, 0.5)]));
        panel.ring(&mut svg, (2.0, 0.5));
        panel.ring(&mut svg, (9.0, 0.5));
        panel.start(&mut svg, (0.0, 0.0));
        panel.upright(&mut svg, 2.0, (0.0, 1.0));
        panel.whisker_across(&mut svg, 0.5, &Interval { estimate: 2.0, low: 1.0, high: 3.0, standard_error: 0.5 });
        let text = svg.finish();
        for expected in [
            r#"<path class="trace" d="M100 60L200 10M250 35L300 35"/>"#,
            r#"<circle class="ring" cx="200" cy="35" r="6.5"/>"#,
            r#"<path class="start" d="M96 55L105 60L96 65Z"/>"#,
            r#"<path class="whisker" d="M200 60L200 10"/>"#,
            r#"<path class="whisker" d="M150 35L250 35M150 31L150 39M250 31L250 39"/>"#,
            r#"<circle class="dot" cx="200" cy="35" r="3.2"/>"#,
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert_eq!(text.matches("class=\"ring\"").count(), 1);
    }
}
