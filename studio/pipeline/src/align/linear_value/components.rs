//! Principal components: [`Components`].

use musicrl_core::{policy::PackedMatrix, random::Key};
use rayon::prelude::*;

/// Rounds of orthogonal iteration.
const ROUNDS: usize = 10;

/// Standardised principal components of some rows.
#[derive(Debug, Clone)]
pub(super) struct Components {
    mean: Vec<f32>,
    /// 1 / standard deviation; 0 for a column that does not vary.
    scale: Vec<f32>,
    axes: PackedMatrix,
    pub(super) count: usize,
}

impl Components {
    /// The `count` leading ones of `rows`, `columns` numbers each, by orthogonal iteration from axes that `key` draws.
    pub(super) fn of(rows: &[f32], columns: usize, count: usize, key: Key) -> Self {
        let n = rows.len() / columns.max(1);
        let count = count.min(columns).min(n / 4).max(1);
        let column = |at: usize| rows.iter().skip(at).step_by(columns).map(|x| f64::from(*x));
        let mean: Vec<f64> = (0..columns).map(|at| column(at).sum::<f64>() / n.max(1) as f64).collect();
        let spread = |at: usize| (column(at).map(|x| (x - mean[at]).powi(2)).sum::<f64>() / n.max(1) as f64).sqrt();
        let scale: Vec<f32> = (0..columns).map(spread).map(|s| if s > 1e-6 { (1.0 / s) as f32 } else { 0.0 }).collect();
        let mean: Vec<f32> = mean.into_iter().map(|x| x as f32).collect();
        let z = standardised(rows, &mean, &scale);
        let transposed: Vec<f32> =
            (0..columns).flat_map(|at| z.iter().skip(at).step_by(columns).copied().collect::<Vec<_>>()).collect();
        let mut draws = key.stream();
        let mut axes: Vec<f32> = (0..columns * count).map(|_| draws.normal() as f32).collect();
        for _ in 0..ROUNDS {
            orthonormalise(&mut axes, count);
            let projected = product(&z, columns, &axes, count);
            axes = product(&transposed, n, &projected, count);
        }
        orthonormalise(&mut axes, count);
        let projected = product(&z, columns, &axes, count);
        let power = |at: usize| projected.iter().skip(at).step_by(count).map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let deviations: Vec<f64> = (0..count).map(|at| (power(at) / n.max(1) as f64).sqrt()).collect();
        let least = 1e-3 * deviations.iter().copied().fold(0.0, f64::max);
        for row in axes.chunks_exact_mut(count) {
            for (axis, deviation) in row.iter_mut().zip(&deviations) {
                *axis = if *deviation > least { (f64::from(*axis) / deviation) as f32 } else { 0.0 };
            }
        }
        Self { mean, scale, axes: PackedMatrix::new(&[&axes], &vec![1.0; columns]), count }
    }

    /// `[rows, count]`
    pub(super) fn project(&self, rows: &[f32]) -> Vec<f32> {
        let z = standardised(rows, &self.mean, &self.scale);
        let mut out = vec![0.0; z.len() / self.mean.len().max(1) * self.count];
        self.axes.product(&z, &mut out);
        out
    }
}

fn standardised(rows: &[f32], mean: &[f32], scale: &[f32]) -> Vec<f32> {
    rows.chunks_exact(mean.len().max(1))
        .flat_map(|row| row.iter().zip(mean).zip(scale).map(|((x, mean), scale)| (x - mean) * scale))
        .collect()
}

/// `[rows, inner] x [inner, columns]`, rows on all threads.
fn product(rows: &[f32], inner: usize, matrix: &[f32], columns: usize) -> Vec<f32> {
    let packed = PackedMatrix::new(&[matrix], &vec![1.0; inner]);
    let mut out = vec![0.0; rows.len() / inner.max(1) * columns];
    out.par_chunks_mut(16 * columns)
        .zip(rows.par_chunks(16 * inner.max(1)))
        .for_each(|(out, rows)| packed.product(rows, out));
    out
}

/// Gram-Schmidt on the columns of a row-major matrix; a column that others span becomes 0.
fn orthonormalise(matrix: &mut [f32], columns: usize) {
    for at in 0..columns {
        for before in 0..at {
            let dot: f64 = matrix.chunks_exact(columns).map(|row| f64::from(row[at]) * f64::from(row[before])).sum();
            matrix.chunks_exact_mut(columns).for_each(|row| row[at] -= dot as f32 * row[before]);
        }
        let norm = matrix.chunks_exact(columns).map(|row| f64::from(row[at]).powi(2)).sum::<f64>().sqrt();
        let scale = if norm > 1e-20 { 1.0 / norm } else { 0.0 };
        matrix.chunks_exact_mut(columns).for_each(|row| row[at] = (f64::from(row[at]) * scale) as f32);
    }
}
