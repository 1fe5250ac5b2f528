//! Gaussians of point sets and the Frechet distance between them.

use alloc::{format, vec, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{
    super::{check_lengths, undefined},
    jacobi::{nuclear_norm, square_root},
    points::{Points, dot, squared_distance},
};
use crate::{Error, Result};

/// How a covariance is drawn towards a multiple of the identity: S <- (1 - share) S + share tr(S)/d I. The trace stays.
/// Few points see too much spread in some directions and none in others; this evens it out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shrinkage {
    /// The sample covariance.
    None,
    /// The share that minimises the expected squared error, estimated from the points (Ledoit and Wolf, "A
    /// well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88,
    /// 2004).
    #[default]
    LedoitWolf,
    /// A share of one's own, from 0 to 1.
    Fixed(f64),
}

/// Mean and covariance of a set of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    covariance: Vec<f64>,
    shrinkage: f64,
}

impl Gaussian {
    /// From its parameters.
    ///
    /// # Shapes
    /// - mean: \[dim\]
    /// - covariance: [dim, dim], symmetric and positive semidefinite (not checked beyond finiteness)
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::NonFinite`].
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self> {
        check_lengths("covariance", mean.len() * mean.len(), covariance.len())?;
        super::super::check_finite("mean", &mean)?;
        super::super::check_finite("covariance", &covariance)?;
        Ok(Self { mean, covariance, shrinkage: 0.0 })
    }

    /// The Gaussian of `points`, with n - 1 below the covariance.
    ///
    /// # Errors
    /// [`Error::Undefined`] for fewer than two points; [`Error::Config`] for a share outside [0, 1].
    pub fn fit(points: &Points, shrinkage: Shrinkage) -> Result<Self> {
        let (n, d) = (points.len(), points.dim());
        if n < 2 {
            return Err(undefined("covariance", &format!("it needs two points or more, there are {n}")));
        }
        let mean = points.mean();
        let centred: Vec<Vec<f64>> =
            points.rows().map(|row| row.iter().zip(&mean).map(|(x, m)| x - m).collect()).collect();
        let mut scatter = vec![0.0; d * d];
        for row in &centred {
            for i in 0..d {
                for j in i..d {
                    scatter[i * d + j] += row[i] * row[j];
                }
            }
        }
        for i in 0..d {
            for j in 0..i {
                scatter[i * d + j] = scatter[j * d + i];
            }
        }
        let share = match shrinkage {
            Shrinkage::None => 0.0,
            Shrinkage::LedoitWolf => ledoit_wolf(&centred, &scatter, d),
            Shrinkage::Fixed(share) if (0.0..=1.0).contains(&share) => share,
            Shrinkage::Fixed(share) => {
                let expected = "between 0 and 1".into();
                return Err(Error::Config { field: "shrinkage", expected, got: format!("{share}") });
            }
        };
        let mut covariance: Vec<f64> = scatter.iter().map(|x| (1.0 - share) * x / (n - 1) as f64).collect();
        let level = (0..d).map(|i| scatter[i * d + i]).sum::<f64>() / (n - 1) as f64 / d as f64;
        (0..d).for_each(|i| covariance[i * d + i] += share * level);
        Ok(Self { mean, covariance, shrinkage: share })
    }

    /// Number of coordinates.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The share of the identity in the covariance.
    #[must_use]
    pub fn shrinkage(&self) -> f64 {
        self.shrinkage
    }

    fn trace(&self) -> f64 {
        self.covariance.iter().step_by(self.dim() + 1).sum()
    }
}

/// b^2 / d^2 of Ledoit and Wolf, with their n below the covariance.
fn ledoit_wolf(centred: &[Vec<f64>], scatter: &[f64], d: usize) -> f64 {
    let n = centred.len() as f64;
    let s: Vec<f64> = scatter.iter().map(|x| x / n).collect();
    let norm = dot(&s, &s);
    let level = s.iter().step_by(d + 1).sum::<f64>() / d as f64;
    let from_identity = norm - level * level * d as f64;
    // |x x^T - S|^2 = |x|^4 - 2 x^T S x + |S|^2, and the middle terms sum to -2 n |S|^2.
    let fourth: f64 = centred.iter().map(|row| dot(row, row)).map(|x| x * x).sum();
    let noise = (fourth / n - norm) / n;
    if from_identity > 0.0 { (noise / from_identity).clamp(0.0, 1.0) } else { 1.0 }
}

/// The squared Frechet (2-Wasserstein) distance of two Gaussians (Dowson and Landau, Journal of Multivariate Analysis
/// 12, 1982; on embeddings: Heusel et al., arXiv 1706.08500, and Kilgour et al., arXiv 1812.08466 for audio),
///
/// d^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a^1/2 S_b S_a^1/2)^1/2.
///
/// The last trace is the sum of the singular values of S_a^1/2 S_b^1/2. Of Gaussians that were fitted to points the
/// distance is too large on average, the more so the fewer the points: compare sets of one size, and with the distance
/// of two sets from one source.
///
/// # Errors
/// [`Error::Shape`] for other dimensions; [`Error::NonFinite`] when the numbers overflow.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64> {
    let d = a.dim();
    check_lengths("mean", d, b.dim())?;
    let (root_a, root_b) = (square_root(&a.covariance, d)?, square_root(&b.covariance, d)?);
    // Both roots are symmetric: rows are columns.
    let product = (0..d * d).map(|at| dot(&root_a[at / d * d..][..d], &root_b[at % d * d..][..d])).collect();
    let spread = a.trace() + b.trace() - 2.0 * nuclear_norm(product, d)?;
    let distance = squared_distance(&a.mean, &b.mean) + spread.max(0.0);
    super::super::check_finite("Frechet distance", &[distance])?;
    Ok(distance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Key, Purpose};

    fn cloud(seed: u64, n: usize, scale: &[f64], shift: f64) -> Points {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        let values = (0..n).flat_map(|_| scale.to_vec()).map(|s| shift + s * stream.normal()).collect();
        Points::new(values, scale.len()).unwrap()
    }

    fn diagonal(mean: &[f64], deviations: &[f64]) -> Gaussian {
        let d = mean.len();
        let mut covariance = vec![0.0; d * d];
        deviations.iter().enumerate().for_each(|(i, s)| covariance[i * d + i] = s * s);
        Gaussian::new(mean.to_vec(), covariance).unwrap()
    }

    /// `gaussian` turned by `angle` in the plane of its first two coordinates.
    fn turned(gaussian: &Gaussian, angle: f64) -> Gaussian {
        let d = gaussian.dim();
        let mut turn = vec![0.0; d * d];
        (0..d).for_each(|i| turn[i * d + i] = 1.0);
        (turn[0], turn[1], turn[d], turn[d + 1]) = (angle.cos(), -angle.sin(), angle.sin(), angle.cos());
        let at = |i: usize, j: usize| -> f64 {
            let cell = |k: usize, l: usize| turn[i * d + k] * gaussian.covariance[k * d + l] * turn[j * d + l];
            (0..d).flat_map(|k| (0..d).map(move |l| (k, l))).map(|(k, l)| cell(k, l)).sum()
        };
        let mean = (0..d).map(|i| dot(&turn[i * d..][..d], &gaussian.mean)).collect();
        Gaussian::new(mean, (0..d * d).map(|x| at(x / d, x % d)).collect()).unwrap()
    }

    proptest! {
        #[test]
        fn the_laws_of_a_distance(
            seed in 0_u64..1_000, n in 2_usize..30,
            scale in prop::collection::vec(0.0_f64..3.0, 1..8), shift in -2.0_f64..2.0,
        ) {
            let ones = vec![1.0; scale.len()];
            let (a, b) = (cloud(seed, n, &scale, 0.0), cloud(seed + 1, n + 3, &ones, shift));
            for shrinkage in [Shrinkage::None, Shrinkage::LedoitWolf, Shrinkage::Fixed(0.3)] {
                let (a, b) = (Gaussian::fit(&a, shrinkage).unwrap(), Gaussian::fit(&b, shrinkage).unwrap());
                let size = 1.0 + a.trace() + b.trace();
                prop_assert!(frechet_distance(&a, &a).unwrap() < 1e-9 * size);
                let (there, back) = (frechet_distance(&a, &b).unwrap(), frechet_distance(&b, &a).unwrap());
                prop_assert!(there >= 0.0 && (there - back).abs() < 1e-9 * size, "{there} {back}");
            }
        }

        #[test]
        fn commuting_gaussians_have_a_closed_form(
            rows in prop::collection::vec((-2.0_f64..2.0, -2.0_f64..2.0, 0.0_f64..3.0, 0.0_f64..3.0), 2..7),
            angle in 0.0_f64..6.3,
        ) {
            let of = |pick: fn(&(f64, f64, f64, f64)) -> f64| rows.iter().map(pick).collect::<Vec<f64>>();
            let (a, b) = (diagonal(&of(|r| r.0), &of(|r| r.2)), diagonal(&of(|r| r.1), &of(|r| r.3)));
            let expected: f64 = rows.iter().map(|(m, k, s, t)| (m - k).powi(2) + (s - t).powi(2)).sum();
            prop_assert!((frechet_distance(&a, &b).unwrap() - expected).abs() < 1e-9);
            // A turn of both moves nothing.
            let distance = frechet_distance(&turned(&a, angle), &turned(&b, angle)).unwrap();
            prop_assert!((distance - expected).abs() < 1e-8, "{distance} {expected}");
        }
    }

    #[test]
    fn two_dimensions_by_hand() {
        // S_a = [[2, 1], [1, 2]], S_b = I: tr S_a^1/2 = 1 + sqrt 3.
        let a = Gaussian::new(vec![1.0, 0.0], vec![2.0, 1.0, 1.0, 2.0]).unwrap();
        let b = diagonal(&[0.0, 0.0], &[1.0, 1.0]);
        let expected = 1.0 + 4.0 + 2.0 - 2.0 * (1.0 + 3.0_f64.sqrt());
        assert!((frechet_distance(&a, &b).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn shrinkage_vanishes_with_points_and_helps_where_there_are_few() {
        let scale: Vec<f64> = (0..16).map(|i| 0.2 + 0.1 * f64::from(i)).collect();
        let truth = diagonal(&[0.0; 16], &scale);
        let share = |n: usize| Gaussian::fit(&cloud(5, n, &scale, 0.0), Shrinkage::LedoitWolf).unwrap().shrinkage();
        assert!(share(10) > share(100) && share(100) > share(4_000) && share(4_000) < 0.02, "{}", share(4_000));
        let error = |shrinkage| {
            frechet_distance(&Gaussian::fit(&cloud(5, 12, &scale, 0.0), shrinkage).unwrap(), &truth).unwrap()
        };
        assert!(error(Shrinkage::LedoitWolf) < error(Shrinkage::None));
        // Points without any spread: nothing to shrink towards.
        let still = Gaussian::fit(&Points::new(vec![1.0; 6], 2).unwrap(), Shrinkage::LedoitWolf).unwrap();
        assert_eq!((still.shrinkage(), still.trace()), (1.0, 0.0));
    }

    #[test]
    fn bad_input_is_refused() {
        let one = Points::new(vec![1.0, 2.0], 2).unwrap();
        assert!(matches!(Gaussian::fit(&one, Shrinkage::None), Err(Error::Undefined { .. })));
        let points = cloud(1, 4, &[1.0, 1.0], 0.0);
        assert!(matches!(Gaussian::fit(&points, Shrinkage::Fixed(1.5)), Err(Error::Config { .. })));
        let (flat, solid) = (diagonal(&[0.0; 2], &[1.0; 2]), diagonal(&[0.0; 3], &[1.0; 3]));
        assert!(matches!(frechet_distance(&flat, &solid), Err(Error::Shape { .. })));
        assert!(Gaussian::new(vec![0.0; 2], vec![0.0; 3]).is_err());
    }
}
