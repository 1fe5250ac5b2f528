//! The Wilcoxon signed-rank test for paired ratings.

use alloc::{vec, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{
    check_finite,
    ranks::{midranks, tie_sizes},
};
use crate::Result;

/// What is done with differences of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zeros {
    /// They are dropped before ranking (Wilcoxon, 1945).
    #[default]
    Wilcox,
    /// They are ranked with the rest and dropped afterwards, so that they push the others' ranks up (Pratt, 1959).
    Pratt,
}

/// Which differences speak against the null hypothesis that they are symmetric about 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alternative {
    /// Those of either sign: twice the smaller tail.
    #[default]
    TwoSided,
    /// Positive ones.
    Greater,
    /// Negative ones.
    Less,
}

/// Where the p-value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// All 2^n assignments of signs to the ranks at hand, ties included.
    Exact,
    /// The normal approximation with the variance corrected for ties and zeros, without continuity correction.
    Normal,
}

/// Result of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wilcoxon {
    /// Sum of the ranks of positive differences.
    pub w_plus: f64,
    /// Sum of the ranks of negative differences.
    pub w_minus: f64,
    /// Number of differences other than 0.
    pub n: usize,
    /// Probability of a result at least as extreme under the null hypothesis.
    pub p_value: f64,
    /// Standardised W+; 0 when its variance is.
    pub z: f64,
    /// Where the p-value comes from.
    pub distribution: Distribution,
}

/// Up to so many non-zero differences the p-value is exact.
const EXACT_MAX: usize = 50;

/// Tests whether paired `differences` are symmetric about 0 (Wilcoxon, Biometrics Bulletin 1, 1945).
///
/// For at most 50 non-zero differences the p-value is exact, conditional on the ranks that are there: with ties it is
/// the permutation distribution of the midranks. Above, it is normal with variance
/// n(n+1)(2n+1)/24 - sum (t^3 - t)/48 over groups of t equal magnitudes, and Pratt's terms for zeros. Without any
/// non-zero difference the p-value is 1.
///
/// # Errors
/// [`Error::NonFinite`](crate::Error::NonFinite) for a difference that is not finite.
pub fn wilcoxon_signed_rank(differences: &[f64], zeros: Zeros, alternative: Alternative) -> Result<Wilcoxon> {
    check_finite("difference", differences)?;
    let kept: Vec<f64> = match zeros {
        Zeros::Wilcox => differences.iter().copied().filter(|d| *d != 0.0).collect(),
        Zeros::Pratt => differences.to_vec(),
    };
    let magnitudes: Vec<f64> = kept.iter().map(|d| d.abs()).collect();
    let ranked: Vec<(f64, f64)> = kept.iter().copied().zip(midranks(&magnitudes)).filter(|(d, _)| *d != 0.0).collect();
    let sum = |positive: bool| -> f64 { ranked.iter().filter(|(d, _)| (*d > 0.0) == positive).map(|(_, r)| r).sum() };
    let (w_plus, w_minus) = (sum(true), sum(false));
    let n = ranked.len();

    let moving: Vec<f64> = magnitudes.iter().copied().filter(|m| *m != 0.0).collect();
    let z = standardise(w_plus, kept.len(), kept.len() - n, &tie_sizes(&moving));
    let ranks: Vec<f64> = ranked.iter().map(|(_, r)| *r).collect();
    let (distribution, at_most, at_least) = match exact_tails(&ranks, w_plus) {
        Some((at_most, at_least)) => (Distribution::Exact, at_most, at_least),
        None => (Distribution::Normal, normal_at_most(z), normal_at_most(-z)),
    };
    let p_value = match alternative {
        Alternative::TwoSided => 2.0 * at_most.min(at_least),
        Alternative::Greater => at_least,
        Alternative::Less => at_most,
    };
    Ok(Wilcoxon { w_plus, w_minus, n, p_value: p_value.min(1.0), z, distribution })
}

/// (W+ - mean) / standard deviation, for `all` ranks of which the first `zeros` belong to zeros.
fn standardise(w_plus: f64, all: usize, zeros: usize, ties: &[usize]) -> f64 {
    let (all, zeros) = (all as f64, zeros as f64);
    let mean = all * (all + 1.0) / 4.0 - zeros * (zeros + 1.0) / 4.0;
    let cubes: f64 = ties.iter().map(|&t| t as f64).map(|t| t * t * t - t).sum();
    let squares = |n: f64| n * (n + 1.0) * (2.0 * n + 1.0) / 24.0;
    let variance = squares(all) - squares(zeros) - cubes / 48.0;
    if variance > 0.0 { (w_plus - mean) / libm::sqrt(variance) } else { 0.0 }
}

/// P(W+ <= w) and P(W+ >= w) over all signs of `ranks`; `None` when there are too many.
fn exact_tails(ranks: &[f64], w: f64) -> Option<(f64, f64)> {
    // Midranks are multiples of one half: doubled, they are whole.
    let doubled: Vec<usize> = ranks.iter().map(|r| libm::round(2.0 * r) as usize).collect();
    let total: usize = doubled.iter().sum();
    // Pratt's ranks grow with the number of zeros; the table shall not.
    if ranks.len() > EXACT_MAX || total > 1 << 20 {
        return None;
    }
    let mut probability = vec![0.0; total + 1];
    probability[0] = 1.0;
    let mut reached = 0;
    for rank in doubled {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if sum >= rank { probability[sum - rank] } else { 0.0 };
            probability[sum] = 0.5 * (probability[sum] + with);
        }
    }
    let at = (libm::round(2.0 * w) as usize).min(total);
    Some((probability[..=at].iter().sum(), probability[at..].iter().sum()))
}

/// The standard normal distribution function.
fn normal_at_most(z: f64) -> f64 {
    0.5 * libm::erfc(-z / core::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(differences: &[f64], zeros: Zeros, w_plus: f64, p: f64, z: f64, distribution: Distribution) {
        for sign in [1.0, -1.0] {
            let signed: Vec<f64> = differences.iter().map(|d| sign * d).collect();
            let test = wilcoxon_signed_rank(&signed, zeros, Alternative::TwoSided).unwrap();
            let w = if sign > 0.0 { test.w_plus } else { test.w_minus };
            assert_eq!((w, test.distribution), (w_plus, distribution));
            assert!((test.p_value - p).abs() < 1e-12, "{test:?}");
            assert!((test.z.abs() - z).abs() < 1e-12, "{test:?}");
        }
    }

    /// Hollander and Wolfe's depression scores, the example of R's `wilcox.test`.
    #[expect(clippy::approx_constant, reason = "3.14 is a measurement")]
    fn depression() -> Vec<f64> {
        let x = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        let y = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
        x.iter().zip(y).map(|(x, y)| x - y).collect()
    }

    #[test]
    fn small_samples_are_exact() {
        // scipy 1.17.1: wilcoxon(x, y, method="exact"); z from method="approx", correction=False.
        check(&depression(), Zeros::Wilcox, 40.0, 0.0390625, 2.073221072156823, Distribution::Exact);
        let tail = |alternative| wilcoxon_signed_rank(&depression(), Zeros::Wilcox, alternative).unwrap().p_value;
        assert_eq!((tail(Alternative::Greater), tail(Alternative::Less)), (0.01953125, 0.986328125));
    }

    #[test]
    fn ties_and_zeros_are_exact_too() {
        // scipy 1.17.1: wilcoxon(d, zero_method=..., method=PermutationMethod(n_resamples=inf)).
        let d = [2.0, -1.0, 0.0, 3.0, 3.0, -2.0, 1.0, 0.0, 4.0, -1.0, 2.0, 5.0, 0.0, -3.0, 1.0];
        check(&d, Zeros::Wilcox, 58.0, 0.15185546875, 1.500909760513392, Distribution::Exact);
        check(&d, Zeros::Pratt, 82.0, 0.169921875, 1.4332591242820383, Distribution::Exact);
    }

    #[test]
    fn large_samples_are_normal_with_corrections() {
        // scipy 1.17.1: wilcoxon(d, zero_method=..., method="approx", correction=False).
        let d: Vec<f64> = (0..80).map(|i| f64::from(i * 37 % 101 - 45) / 4.0).collect();
        let p = [0.14393573321978, 0.14546678420184583];
        let w = |zeros| wilcoxon_signed_rank(&d, zeros, Alternative::TwoSided).unwrap().w_plus;
        check(&d, Zeros::Wilcox, w(Zeros::Wilcox), p[0], 1.461290509612436, Distribution::Normal);
        check(&d, Zeros::Pratt, w(Zeros::Pratt), p[1], 1.4557317683634148, Distribution::Normal);
        let d: Vec<f64> = (0..100).map(|i| f64::from(i * i * 7 % 11 - 4)).collect();
        let test = wilcoxon_signed_rank(&d, Zeros::Wilcox, Alternative::TwoSided).unwrap();
        assert_eq!(test.w_plus.min(test.w_minus), 1018.0);
        assert!((test.p_value / 1.6634542587455848e-7 - 1.0).abs() < 1e-9, "{test:?}");
    }

    #[test]
    fn nothing_and_nonsense() {
        for zeros in [Zeros::Wilcox, Zeros::Pratt] {
            for differences in [&[] as &[f64], &[0.0, 0.0]] {
                let test = wilcoxon_signed_rank(differences, zeros, Alternative::TwoSided).unwrap();
                assert_eq!((test.n, test.p_value, test.z), (0, 1.0, 0.0));
            }
            assert!(wilcoxon_signed_rank(&[1.0, f64::NAN], zeros, Alternative::Less).is_err());
        }
        // So many zeros that Pratt's exact table would be huge.
        let mut many = vec![0.0; 1_000_000];
        many.extend([1.0, 2.0]);
        let test = wilcoxon_signed_rank(&many, Zeros::Pratt, Alternative::Greater).unwrap();
        assert_eq!(test.distribution, Distribution::Normal);
    }
}
