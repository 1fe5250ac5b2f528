//! Colour and dash of a curve, the same in every figure of a page, and the lines that say whose they are.

use super::{
    svg::{PathData, Svg},
    words::{fitted, width},
};

/// Colours in the order in which they are given away: neighbours differ the most.
const COLOURS: [&str; 6] = ["blue", "orange", "green", "purple", "gold", "ink"];
/// Dashes, for those who cannot tell the colours apart. Six colours and four dashes repeat after twelve.
const DASHES: [&str; 4] = ["dash0", "dash1", "dash2", "dash3"];

const SIZE: f64 = 11.0;
const ROW: f64 = 16.0;
/// The line before an entry's text, and the room after it.
const SAMPLE: f64 = 26.0;
const GAP: f64 = 14.0;

/// How one curve looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look(&'static str, &'static str);

impl Look {
    /// That of curve `index`.
    #[must_use]
    pub fn of(index: usize) -> Self {
        Self(COLOURS[index % COLOURS.len()], DASHES[index % DASHES.len()])
    }

    /// Of what has no curve of its own.
    #[must_use]
    pub fn plain() -> Self {
        Self("grey", DASHES[0])
    }

    /// The classes of a group that holds the curve.
    #[must_use]
    pub fn class(self) -> String {
        format!("{} {}", self.0, self.1)
    }
}

/// Entries that flow from line to line.
#[derive(Debug, Clone, PartialEq)]
pub struct Legend {
    entries: Vec<(Look, String, f64, f64)>,
    rows: usize,
}

impl Legend {
    /// Lays entries out in `room` pixels of width; a longer text is cut.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (Look, String)>, room: f64) -> Self {
        let (mut placed, mut x, mut row) = (Vec::new(), 0.0, 0_usize);
        for (look, text) in entries {
            let text = fitted(&text, room - SAMPLE, SIZE);
            let need = SAMPLE + width(&text, SIZE);
            if x > 0.0 && x + need > room {
                (x, row) = (0.0, row + 1);
            }
            placed.push((look, text, x, row as f64 * ROW));
            x += need + GAP;
        }
        let rows = if placed.is_empty() { 0 } else { row + 1 };
        Self { entries: placed, rows }
    }

    /// Its height in pixels.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    /// Draws it with its upper left corner at a point.
    pub fn draw(&self, svg: &mut Svg, (left, top): (f64, f64)) {
        for (look, text, x, y) in &self.entries {
            let (x, y) = (left + x, top + y + 12.0);
            svg.group(&[("class", look.class().as_str().into())], |svg| {
                let mut path = PathData::default();
                path.move_to((x, y - 4.0));
                path.line_to((x + 20.0, y - 4.0));
                svg.path("trace", &path);
                let dot = [("cx", (x + 10.0).into()), ("cy", (y - 4.0).into()), ("r", 3.0.into())];
                svg.element("circle", &[&[("class", "dot".into())], &dot[..]].concat());
            });
            svg.text((x + SAMPLE, y), "small", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_differ_for_a_dozen_systems() {
        let looks: std::collections::BTreeSet<String> = (0..12).map(|at| Look::of(at).class()).collect();
        assert_eq!(looks.len(), 12);
        assert_eq!(Look::of(12), Look::of(0));
    }

    #[test]
    fn entries_flow_and_fit() {
        let entries = (0..5).map(|at| (Look::of(at), format!("system {at}")));
        let legend = Legend::new(entries, 200.0);
        assert_eq!(legend.height(), 3.0 * ROW);
        assert!(legend.entries.iter().all(|(_, text, x, _)| x + SAMPLE + width(text, SIZE) <= 200.0));
        let long = Legend::new([(Look::plain(), "very ".repeat(50))], 200.0);
        assert!(long.entries[0].1.ends_with('…'));
        assert_eq!(Legend::new([], 200.0).height(), 0.0);
    }
}
