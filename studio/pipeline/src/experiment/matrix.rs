//! Training on one population and judging by another.

use std::fmt;

use musicrl_core::stats::Interval;
use serde::{Deserialize, Serialize};

use super::measured::{difference_of, in_words, percent, win_rate_of};
use crate::{align::judges::TRUE_UTILITY, evaluate::Evaluation};

/// What one population says of the system of one population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Wins over wins and losses against the base; `None` where every comparison tied.
    pub win_rate: Option<Interval>,
    /// Comparisons that tied.
    pub ties: u64,
    /// Comparisons.
    pub comparisons: u64,
    /// Mean true utility less that of the base.
    pub utility_gain: Option<Interval>,
}

/// The matrix: rows are the populations that chose, columns those that judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixFindings {
    /// The populations, in the order of rows and columns.
    pub populations: Vec<String>,
    /// `cells[row][column]`.
    pub cells: Vec<Vec<Cell>>,
    /// Mean gain of true utility where the population that chose judges.
    pub own: Option<f64>,
    /// The same where another judges.
    pub others: Option<f64>,
}

/// The findings. `judged[column]` is the evaluation whose panel is that population; the first has the true utilities.
#[must_use]
pub fn findings(judged: &[Evaluation], populations: &[String]) -> MatrixFindings {
    let cell = |system: &str, at: usize, judge: &str| {
        let (win_rate, ties, comparisons) =
            judged.get(at).and_then(|evaluation| win_rate_of(evaluation, system, "base")).unwrap_or_default();
        let measure = format!("{TRUE_UTILITY}{judge}");
        let utility_gain = judged.first().and_then(|first| difference_of(first, &measure, system, "base"));
        Cell { win_rate, ties, comparisons, utility_gain }
    };
    let row = |system: &String| populations.iter().enumerate().map(|(at, judge)| cell(system, at, judge)).collect();
    let cells: Vec<Vec<Cell>> = populations.iter().map(row).collect();
    let gains = |own: bool| {
        let all = cells.iter().enumerate().flat_map(|(row, cells)| cells.iter().enumerate().map(move |at| (row, at)));
        let of = all.filter(|(row, (column, _))| (row == column) == own).map(|(_, (_, cell))| cell.utility_gain);
        let gains: Option<Vec<f64>> = of.map(|gain| Some(gain?.estimate)).collect();
        gains.filter(|gains| !gains.is_empty()).map(|gains| gains.iter().sum::<f64>() / gains.len() as f64)
    };
    MatrixFindings { populations: populations.to_vec(), own: gains(true), others: gains(false), cells }
}

/// What a table shows of a cell.
type Words = fn(&Cell) -> String;

impl fmt::Display for MatrixFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: [(&str, Words); 2] = [
            ("win rate against the base in %", |cell| percent(cell.win_rate.as_ref())),
            ("gain of true utility over the base", |cell| in_words(cell.utility_gain.as_ref(), 1.0, 2)),
        ];
        for (title, words) in tables {
            write!(f, "{title}\n{:<12}", "chose")?;
            self.populations.iter().try_for_each(|judge| write!(f, "{:<24}", format!("judged by {judge}")))?;
            writeln!(f)?;
            for (chose, cells) in self.populations.iter().zip(&self.cells) {
                write!(f, "{chose:<12}")?;
                cells.iter().try_for_each(|cell| write!(f, "{:<24}", words(cell)))?;
                writeln!(f)?;
            }
        }
        let mean = |gain: Option<f64>| gain.map_or_else(|| "-".into(), |gain| format!("{gain:+.3}"));
        writeln!(f, "mean gain by the population that chose {}, by the others {}", mean(self.own), mean(self.others))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::measured::tests::rated, *};

    #[test]
    fn rows_chose_and_columns_judge() {
        let names = ["village".to_string(), "town".to_string()];
        // Town likes what was made for town; village likes both.
        let judged = [
            rated("village", &[("base", 3.0), ("village", 5.0), ("town", 4.0)]),
            rated("town", &[("base", 3.0), ("village", 2.0), ("town", 5.0)]),
        ];
        let found = findings(&judged, &names);
        let rate = |row: usize, column: usize| found.cells[row][column].win_rate.unwrap().estimate;
        assert_eq!((rate(0, 0), rate(0, 1), rate(1, 0), rate(1, 1)), (0.875, 0.125, 0.875, 0.875));
        assert_eq!((found.cells[0][1].comparisons, found.own), (8, None));
        let text = found.to_string();
        assert!(text.contains("judged by town") && text.contains("88 ["), "{text}");
    }
}
