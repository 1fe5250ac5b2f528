//! A finished figure: the picture, what stands below it, and the numbers behind it.

use crate::figure::words::{fitted, width};

/// A table's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Column {
    /// Its heading.
    pub name: String,
    /// Whether it holds numbers, which stand to the right.
    pub numeric: bool,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::report) struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// The cells, row by row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows; a heading that begins with `#` is that of numbers.
    pub fn new(headings: &[&str]) -> Self {
        let column = |heading: &&str| match heading.strip_prefix('#') {
            Some(name) => Column { name: name.into(), numeric: true },
            None => Column { name: (*heading).into(), numeric: false },
        };
        Self { columns: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Drawn {
    /// Name of its file, as far as its words go; the page makes it safe and its own.
    pub name: String,
    /// The document.
    pub svg: String,
    /// What stands below it.
    pub caption: String,
    /// Its numbers.
    pub table: Table,
}

/// Width of every figure, in pixels: two stand side by side on a wide screen, one on a phone stays legible.
pub(super) const WIDTH: f64 = 400.0;
/// Room at the left of a panel for its numbers and its label.
pub(super) const LEFT: f64 = 58.0;
/// Room at the right.
pub(super) const RIGHT: f64 = 14.0;
/// Height of a panel.
pub(super) const HEIGHT: f64 = 220.0;

/// Parts of a sentence, joined with semicolons, in lines that fit into `room` at the size of small text.
pub(super) fn flow(parts: &[String], room: f64) -> Vec<String> {
    const SIZE: f64 = 11.0;
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if width(line, SIZE) + width("; ", SIZE) + width(part, SIZE) <= room => {
                line.push_str("; ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines.iter().map(|line| fitted(line, room, SIZE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_flow_into_lines_that_fit() {
        let parts = ["dots: held out", "rings: chosen", "lines: means"].map(String::from);
        assert_eq!(flow(&parts, 180.0), ["dots: held out; rings: chosen", "lines: means"]);
        assert!(flow(&["word ".repeat(40)], 180.0)[0].ends_with('…'));
        assert!(flow(&[], 180.0).is_empty());
    }
}
