//! Products with a few rows in plain Rust: [`Packed`].

use musicrl_core::policy::PackedMatrix;
use rayon::prelude::*;

/// Columns that one task computes. A task's sums do not depend on the others, so neither do results on the threads.
const TASK_COLUMNS: usize = 128;

/// A matrix `[rows, columns]` packed once, whose columns are computed on all threads.
#[derive(Debug, Clone)]
pub struct Packed {
    tasks: Vec<PackedMatrix>,
    rows: usize,
    columns: usize,
}

impl Packed {
    /// Packs row-major values times `scale`. Values that do not fill the extents are left out.
    #[must_use]
    pub fn new(values: &[f32], rows: usize, columns: usize, scale: f32) -> Self {
        let gain = vec![scale; rows];
        let starts: Vec<usize> = (0..columns).step_by(TASK_COLUMNS).collect();
        let task = |start: &usize| {
            let range = *start..(start + TASK_COLUMNS).min(columns);
            let part: Vec<f32> = values.chunks_exact(columns).flat_map(|row| &row[range.clone()]).copied().collect();
            PackedMatrix::new(&[&part], &gain)
        };
        Self { tasks: starts.par_iter().map(task).collect(), rows, columns }
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `x W`, row by row.
    ///
    /// # Shapes
    /// - x: `[clips, rows]`
    /// - output: `[clips, columns]`
    #[must_use]
    pub fn product(&self, x: &[f32]) -> Vec<f32> {
        let clips = x.len().checked_div(self.rows).unwrap_or(0);
        let part = |task: &PackedMatrix| {
            let mut out = vec![0.0; clips * task.columns()];
            task.product(x, &mut out);
            out
        };
        let parts: Vec<Vec<f32>> = self.tasks.par_iter().map(part).collect();
        let mut out = Vec::with_capacity(clips * self.columns);
        for clip in 0..clips {
            for (task, part) in self.tasks.iter().zip(&parts) {
                out.extend_from_slice(&part[clip * task.columns()..(clip + 1) * task.columns()]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_the_definition() {
        for (clips, rows, columns) in [(1, 3, 5), (3, 7, 300), (2, 1, 128)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| (i % 11) as f32 - 5.0).collect();
            let x: Vec<f32> = (0..clips * rows).map(|i| (i % 7) as f32 - 3.0).collect();
            let out = Packed::new(&values, rows, columns, 2.0).product(&x);
            for clip in 0..clips {
                for column in 0..columns {
                    let want: f32 = (0..rows).map(|r| 2.0 * x[clip * rows + r] * values[r * columns + column]).sum();
                    assert_eq!(out[clip * columns + column], want);
                }
            }
        }
    }
}
