//! A matrix laid out for products with a few rows: [`Matrix`].

use alloc::{vec, vec::Vec};

use crate::nn::math::multiply_add;

/// Columns computed side by side.
const TILE: usize = 16;

/// `[rows, columns]` as tiles of 16 columns, row after row inside a tile.
#[derive(Debug, Clone)]
pub struct Matrix {
    tiles: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// Packs row-major values, row `i` times `gain[i]`. Columns are those of several matrices side by side.
    #[must_use]
    pub fn new(parts: &[&[f32]], gain: &[f32]) -> Self {
        let rows = gain.len();
        let widths: Vec<usize> = parts.iter().map(|part| part.len().checked_div(rows).unwrap_or(0)).collect();
        let columns = widths.iter().sum();
        let tile_floats = rows * TILE;
        let mut tiles = vec![0.0; usize::div_ceil(columns, TILE) * tile_floats];
        let mut first = 0;
        for (part, width) in parts.iter().zip(widths) {
            for ((row, values), gain) in part.chunks_exact(width.max(1)).enumerate().zip(gain) {
                for (column, value) in values.iter().enumerate() {
                    let column = first + column;
                    tiles[column / TILE * tile_floats + row * TILE + column % TILE] = value * gain;
                }
            }
            first += width;
        }
        Self { tiles, rows, columns }
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `out = x W`, row by row of `x: [clips, rows]`, into `out: [clips, columns]`.
    pub fn product(&self, x: &[f32], out: &mut [f32]) {
        self.run(x, out, |out, sum| *out = sum);
    }

    /// `out += x W`.
    pub fn add_product(&self, x: &[f32], out: &mut [f32]) {
        self.run(x, out, |out, sum| *out += sum);
    }

    #[inline(always)]
    fn run(&self, x: &[f32], out: &mut [f32], put: impl Fn(&mut f32, f32)) {
        for (at, tile) in self.tiles.chunks_exact((self.rows * TILE).max(1)).enumerate() {
            let first = at * TILE;
            let last = self.columns.min(first + TILE);
            let mut rest = (x, &mut *out);
            loop {
                let (x, out) = rest;
                rest = if x.len() >= 4 * self.rows {
                    let (now, later) = (x.split_at(4 * self.rows), out.split_at_mut(4 * self.columns));
                    self.put_group::<4>(now.0, later.0, tile, first..last, &put);
                    (now.1, later.1)
                } else if x.len() >= self.rows && !x.is_empty() {
                    let (now, later) = (x.split_at(self.rows), out.split_at_mut(self.columns));
                    self.put_group::<1>(now.0, later.0, tile, first..last, &put);
                    (now.1, later.1)
                } else {
                    break;
                };
            }
        }
    }

    #[inline(always)]
    fn put_group<const N: usize>(
        &self,
        x: &[f32],
        out: &mut [f32],
        tile: &[f32],
        columns: core::ops::Range<usize>,
        put: &impl Fn(&mut f32, f32),
    ) {
        let mut rows = x.chunks_exact(self.rows);
        let rows: [&[f32]; N] = core::array::from_fn(|_| rows.next().unwrap_or_default());
        let sums = sums(rows, tile);
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(self.columns)) {
            for (out, sum) in out[columns.clone()].iter_mut().zip(sums) {
                put(out, *sum);
            }
        }
    }
}

/// A tile's columns for N rows. Each sum adds its products from the first to the last, whatever N is.
#[inline(always)]
fn sums<const N: usize>(rows: [&[f32]; N], tile: &[f32]) -> [[f32; TILE]; N] {
    let weights = tile.as_chunks::<TILE>().0;
    let rows = rows.map(|row| &row[..weights.len()]);
    let mut sums = [[0.0; TILE]; N];
    for (i, weights) in weights.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let x = row[i];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = multiply_add(x, *weight, *sum);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Key, Purpose};

    #[test]
    fn products_agree_with_the_definition_and_do_not_depend_on_the_batch() {
        let mut stream = Key::new(1, Purpose::Test).stream();
        let mut random = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
        for (clips, rows, left, right) in [(1, 3, 2, 0), (4, 8, 16, 1), (7, 5, 30, 9), (11, 24, 7, 33)] {
            let (x, gain) = (random(clips * rows), random(rows));
            let (a, b) = (random(rows * left), random(rows * right));
            let matrix = Matrix::new(&[&a, &b], &gain);
            let columns = left + right;
            assert_eq!(matrix.columns(), columns);
            let mut out = vec![0.0; clips * columns];
            matrix.product(&x, &mut out);
            for clip in 0..clips {
                let mut alone = vec![1.0; columns];
                matrix.product(&x[clip * rows..][..rows], &mut alone);
                assert_eq!(alone, out[clip * columns..][..columns]);
                matrix.add_product(&x[clip * rows..][..rows], &mut alone);
                for column in 0..columns {
                    let weight = |i: usize| match column.checked_sub(left) {
                        Some(column) => b[i * right + column],
                        None => a[i * left + column],
                    };
                    let want: f32 = (0..rows).map(|i| x[clip * rows + i] * gain[i] * weight(i)).sum();
                    assert!((out[clip * columns + column] - want).abs() < 1e-4);
                    assert!((alone[column] - 2.0 * want).abs() < 2e-4);
                }
            }
        }
    }
}
