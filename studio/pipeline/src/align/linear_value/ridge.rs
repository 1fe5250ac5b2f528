//! Ridge regression that is kept up: [`Ridge`].

use rayon::prelude::*;

/// What the rows of a step count for in the next.
const DECAY: f64 = 0.99;

/// Ridge regression from running sums.
#[derive(Debug, Clone)]
pub(super) struct Ridge {
    pub(super) size: usize,
    /// What is added to the diagonal.
    ridge: f64,
    /// Sum of x x^T, lower triangle of rows.
    products: Vec<f64>,
    /// Sum of x y, then sum of x.
    moments: Vec<f64>,
    /// Rows, sum of y.
    totals: [f64; 2],
    weights: Vec<f64>,
}

impl Ridge {
    pub(super) fn new(size: usize, ridge: f64) -> Self {
        Self {
            size,
            ridge,
            products: vec![0.0; size * (size + 1) / 2],
            moments: vec![0.0; 2 * size],
            totals: [0.0; 2],
            weights: vec![0.0; size],
        }
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> {
        self.totals.iter().chain(&self.moments).chain(&self.products).copied()
    }

    pub(super) fn put(&mut self, numbers: &[f64]) {
        let (totals, rest) = numbers.split_at(2);
        let (moments, products) = rest.split_at(2 * self.size);
        self.totals.copy_from_slice(totals);
        self.moments.copy_from_slice(moments);
        self.products.copy_from_slice(products);
    }

    fn mean(&self) -> Option<f64> {
        (self.totals[0] > 0.0).then(|| self.totals[1] / self.totals[0])
    }

    pub(super) fn value(&self, state: &[f32], mean: f64) -> f32 {
        let Some(own) = self.mean() else { return mean as f32 };
        (own + state.iter().zip(&self.weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>()) as f32
    }

    /// Rows of clips, and each clip's return.
    pub(super) fn add(&mut self, clips: &[(&[f32], f64)]) {
        if clips.is_empty() {
            return;
        }
        let size = self.size;
        let rows: Vec<(&[f32], f64)> =
            clips.iter().flat_map(|(rows, y)| rows.chunks_exact(size).map(|row| (row, *y))).collect();
        for sum in self.totals.iter_mut().chain(&mut self.moments) {
            *sum *= DECAY;
        }
        for (row, y) in &rows {
            self.totals[0] += 1.0;
            self.totals[1] += y;
            let (of_y, plain) = self.moments.split_at_mut(size);
            for ((of_y, plain), x) in of_y.iter_mut().zip(plain).zip(*row) {
                *of_y += f64::from(*x) * y;
                *plain += f64::from(*x);
            }
        }
        let mut triangle: Vec<&mut [f64]> = Vec::with_capacity(size);
        let mut rest = self.products.as_mut_slice();
        for length in 1..=size {
            let (row, later) = rest.split_at_mut(length);
            triangle.push(row);
            rest = later;
        }
        // Rows are summed in their order whatever thread does it.
        triangle.par_iter_mut().enumerate().for_each(|(at, sums)| {
            sums.iter_mut().for_each(|sum| *sum *= DECAY);
            for (row, _) in &rows {
                let x = f64::from(row[at]);
                for (sum, other) in sums.iter_mut().zip(*row) {
                    *sum += x * f64::from(*other);
                }
            }
        });
    }

    /// (X^T X + ridge) w = X^T (y - mean), by Cholesky's factors.
    pub(super) fn solve(&mut self) {
        let Some(mean) = self.mean() else { return };
        let (size, ridge) = (self.size, self.ridge);
        let start = |row: usize| row * (row + 1) / 2;
        let mut factor = self.products.clone();
        let mut solution: Vec<f64> = (0..size).map(|at| self.moments[at] - mean * self.moments[size + at]).collect();
        for row in 0..size {
            let (done, own) = factor.split_at_mut(start(row));
            for column in 0..=row {
                let other = if column < row { &done[start(column)..start(column) + column] } else { &[][..] };
                if column < row {
                    own[column] = (own[column] - dot(&own[..column], other)) / done[start(column) + column];
                } else {
                    let square = dot(&own[..row], &own[..row]);
                    // The ridge keeps it above 0; rounding must not make a root of less.
                    own[row] = (own[row] + ridge - square).max(ridge * 1e-6).sqrt();
                }
            }
            solution[row] = (solution[row] - dot(&own[..row], &solution[..row])) / own[row];
        }
        for row in (0..size).rev() {
            solution[row] /= factor[start(row) + row];
            let value = solution[row];
            for (at, factor) in factor[start(row)..start(row) + row].iter().enumerate() {
                solution[at] -= factor * value;
            }
        }
        self.weights = solution;
    }
}

/// In eight sums side by side: one alone waits for every addition.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    #[test]
    fn weights_solve_the_normal_equations() {
        let mut draws = Key::new(5, Purpose::Test).stream();
        let rows: Vec<Vec<f32>> = (0..30).map(|_| (0..8).map(|_| draws.normal() as f32).collect()).collect();
        let returns: Vec<f64> = (0..30).map(|_| draws.normal()).collect();
        let mut fit = Ridge::new(4, 7.5);
        fit.add(&rows.iter().zip(&returns).map(|(rows, y)| (rows.as_slice(), *y)).collect::<Vec<_>>());
        fit.solve();
        let mean = returns.iter().sum::<f64>() / 30.0;
        for at in 0..4 {
            let mut left = 7.5 * fit.weights[at];
            let mut right = 0.0;
            for (clip, y) in rows.iter().zip(&returns) {
                for row in clip.chunks(4) {
                    let dot: f64 = row.iter().zip(&fit.weights).map(|(x, w)| f64::from(*x) * w).sum();
                    left += f64::from(row[at]) * dot;
                    right += f64::from(row[at]) * (y - mean);
                }
            }
            assert!((left - right).abs() < 1e-8 * (1.0 + right.abs()), "{left} {right}");
        }
    }
}
