//! Agreement of two measures.

use super::{
    check_finite, check_lengths,
    ranks::{midranks, tie_sizes},
    undefined,
};
use crate::Result;

/// Pearson's r: covariance over the product of the standard deviations.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::NonFinite`](crate::Error::NonFinite);
/// [`Error::Undefined`](crate::Error::Undefined) for fewer than two values or a constant measure.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64> {
    check("Pearson's correlation", x, y)?;
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    let r = xy / (libm::sqrt(xx) * libm::sqrt(yy));
    if r.is_finite() { Ok(r.clamp(-1.0, 1.0)) } else { Err(undefined("Pearson's correlation", "values out of range")) }
}

/// Spearman's rho: Pearson's r of the midranks.
///
/// # Errors
/// As [`pearson`].
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64> {
    check("Spearman's correlation", x, y)?;
    pearson(&midranks(x), &midranks(y))
}

/// Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs untied in x and in y
/// (Kendall, 1945). Takes n^2 / 2 comparisons.
///
/// # Errors
/// As [`pearson`].
pub fn kendall(x: &[f64], y: &[f64]) -> Result<f64> {
    check("Kendall's correlation", x, y)?;
    let sign = |a: f64, b: f64| f64::from(i8::from(a > b) - i8::from(a < b));
    let mut balance = 0.0;
    for i in 0..x.len() {
        for j in 0..i {
            balance += sign(x[i], x[j]) * sign(y[i], y[j]);
        }
    }
    let pairs = |n: usize| n as f64 * (n as f64 - 1.0) / 2.0;
    let untied = |values: &[f64]| pairs(values.len()) - tie_sizes(values).into_iter().map(pairs).sum::<f64>();
    Ok((balance / libm::sqrt(untied(x) * untied(y))).clamp(-1.0, 1.0))
}

fn check(what: &'static str, x: &[f64], y: &[f64]) -> Result<()> {
    check_lengths("second measure", x.len(), y.len())?;
    check_finite("first measure", x)?;
    check_finite("second measure", y)?;
    let constant = |values: &[f64]| values.iter().all(|v| *v == values[0]);
    if x.len() < 2 {
        return Err(undefined(what, "fewer than two values"));
    }
    if constant(x) || constant(y) {
        return Err(undefined(what, "one of the measures is constant"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn against_scipy() -> Result<()> {
        // scipy 1.17.1: pearsonr, spearmanr, kendalltau (its default is tau-b), `.statistic` of each.
        let x = [1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0, 9.0];
        let y = [2.5, 1.0, 4.0, 4.0, 4.0, 9.0, 7.0, 11.0];
        assert!((pearson(&x, &y)? - 0.9179067420053121).abs() < 1e-14);
        assert!((spearman(&x, &y)? - 0.9136498769008705).abs() < 1e-14);
        assert!((kendall(&x, &y)? - 0.8236877675803729).abs() < 1e-14);
        let falling: [f64; 8] = x.map(|x| -x);
        assert_eq!((spearman(&x, &falling)?, kendall(&x, &falling)?), (-1.0, -1.0));
        Ok(())
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        for f in [pearson, spearman, kendall] {
            assert!(matches!(f(&[1.0], &[1.0]), Err(Error::Undefined { .. })));
            assert!(matches!(f(&[], &[]), Err(Error::Undefined { .. })));
            assert!(matches!(f(&[1.0, 1.0], &[1.0, 2.0]), Err(Error::Undefined { .. })));
            assert!(matches!(f(&[1.0, 2.0], &[1.0]), Err(Error::Shape { .. })));
            assert!(matches!(f(&[1.0, f64::NAN], &[1.0, 2.0]), Err(Error::NonFinite { .. })));
        }
        assert!(matches!(pearson(&[0.0, 1e-300], &[0.0, 1.0]), Err(Error::Undefined { .. })));
    }
}
