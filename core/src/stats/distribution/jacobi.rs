//! Eigenvalues and singular values by Jacobi's rotations (Golub and Van Loan, "Matrix Computations", 4th ed., sections
//! 8.5 and 8.6). Slow for large matrices and accurate for small ones, which is what embeddings of a clip need.

use alloc::{vec, vec::Vec};

use super::super::undefined;
use crate::Result;

/// Rotations go over all pairs so often at most; ten or so are enough.
const SWEEPS_MAX: usize = 100;

/// Cosine and sine of the rotation that makes the off-diagonal element of [[a, b], [b, c]] zero.
fn rotation(a: f64, b: f64, c: f64) -> (f64, f64) {
    let tau = (c - a) / (2.0 * b);
    // The smaller of the two angles.
    let t = libm::copysign(1.0, tau) / (tau.abs() + libm::sqrt(1.0 + tau * tau));
    let cos = 1.0 / libm::sqrt(1.0 + t * t);
    (cos, t * cos)
}

/// The symmetric square root of a positive semidefinite matrix, row by row; eigenvalues that rounding made negative
/// count as 0.
///
/// # Shapes
/// - matrix, returns: [n, n]
///
/// # Errors
/// When the rotations do not converge, which finite symmetric matrices do not do.
pub(super) fn square_root(matrix: &[f64], n: usize) -> Result<Vec<f64>> {
    let (mut a, mut vectors) = (matrix.to_vec(), vec![0.0; n * n]);
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let scale: f64 = a.iter().map(|x| x * x).sum();
    let off = |a: &[f64]| -> f64 {
        (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|(i, j)| a[i * n + j] * a[i * n + j]).sum()
    };
    let mut sweep = 0;
    while off(&a) > 1e-30 * scale {
        if sweep == SWEEPS_MAX {
            return Err(undefined("matrix square root", "the rotations did not converge"));
        }
        sweep += 1;
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q] == 0.0 {
                    continue;
                }
                let (c, s) = rotation(a[p * n + p], a[p * n + q], a[q * n + q]);
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (vectors[k * n + p], vectors[k * n + q]);
                    (vectors[k * n + p], vectors[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let roots: Vec<f64> = (0..n).map(|i| libm::sqrt(a[i * n + i].max(0.0))).collect();
    let mut root = vec![0.0; n * n];
    for i in 0..n {
        for j in i..n {
            let sum: f64 = (0..n).map(|k| vectors[i * n + k] * roots[k] * vectors[j * n + k]).sum();
            root[i * n + j] = sum;
            root[j * n + i] = sum;
        }
    }
    Ok(root)
}

/// The sum of the singular values: columns are rotated until they are orthogonal, their lengths are the values.
///
/// # Shapes
/// - matrix: [n, n], column by column (or row by row: the sum is the same)
///
/// # Errors
/// As [`square_root`].
pub(super) fn nuclear_norm(mut matrix: Vec<f64>, n: usize) -> Result<f64> {
    let scale: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS_MAX {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (left, right) = matrix.split_at_mut(q * n);
                let (x, y) = (&mut left[p * n..(p + 1) * n], &mut right[..n]);
                let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
                for (x, y) in x.iter().zip(y.iter()) {
                    xx += x * x;
                    yy += y * y;
                    xy += x * y;
                }
                // Columns that are nothing beside the others have no direction that rounding left intact.
                if xy.abs() <= 1e-15 * libm::sqrt(xx * yy) || xx.min(yy) <= 1e-32 * scale {
                    continue;
                }
                rotated = true;
                let (c, s) = rotation(xx, xy, yy);
                for (x, y) in x.iter_mut().zip(y.iter_mut()) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
        if !rotated {
            return Ok(matrix.chunks_exact(n).map(|column| libm::sqrt(column.iter().map(|x| x * x).sum())).sum());
        }
    }
    Err(undefined("nuclear norm", "the rotations did not converge"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Key, Purpose};

    fn noise(clip: u64, n: usize) -> Vec<f64> {
        let mut stream = Key::new(1, Purpose::Test).clip(clip).stream();
        (0..n * n).map(|_| stream.normal()).collect()
    }

    fn times(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        (0..n * n).map(|at| (0..n).map(|k| a[at / n * n + k] * b[k * n + at % n]).sum()).collect()
    }

    #[test]
    fn the_root_times_itself_is_the_matrix() -> Result<()> {
        for n in [1, 2, 5, 24] {
            let a = noise(n as u64, n);
            let transposed: Vec<f64> = (0..n * n).map(|at| a[at % n * n + at / n]).collect();
            let square = times(&a, &transposed, n);
            let root = square_root(&square, n)?;
            for (x, y) in times(&root, &root, n).iter().zip(&square) {
                assert!((x - y).abs() < 1e-10 * n as f64, "{n}: {x} {y}");
            }
            // Singular values of a are eigenvalues of the root: their sum is its trace.
            let trace: f64 = (0..n).map(|i| root[i * n + i]).sum();
            assert!((nuclear_norm(a, n)? - trace).abs() < 1e-9 * trace, "{n}");
        }
        Ok(())
    }

    #[test]
    fn known_values_and_empty_directions() -> Result<()> {
        // Eigenvalues 9 and 1 along (1, 1) and (1, -1).
        let root = square_root(&[5.0, 4.0, 4.0, 5.0], 2)?;
        for (x, y) in root.iter().zip([2.0, 1.0, 1.0, 2.0]) {
            assert!((x - y).abs() < 1e-12, "{root:?}");
        }
        assert_eq!(square_root(&[0.0; 9], 3)?, [0.0; 9]);
        assert_eq!(nuclear_norm(vec![0.0; 9], 3)?, 0.0);
        // Rank one: u v^T has the one singular value |u| |v|.
        let (u, v) = ([1.0, 2.0, 2.0], [3.0, 0.0, 4.0]);
        let outer = (0..9).map(|at| u[at / 3] * v[at % 3]).collect();
        assert!((nuclear_norm(outer, 3)? - 15.0).abs() < 1e-12);
        Ok(())
    }
}
