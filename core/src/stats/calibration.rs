//! Whether predicted probabilities hold.

use alloc::{format, string::ToString, vec, vec::Vec};

use super::{check_lengths, undefined};
use crate::{Error, Result};

/// Predictions of about the same probability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Number of predictions.
    pub count: usize,
    /// Their mean; 0 of none.
    pub predicted: f64,
    /// The share of them that happened; 0 of none.
    pub happened: f64,
}

/// Brier score: the mean of (p - o)^2, o being 1 for what happened and 0 for what did not (Brier, 1950).
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for a prediction outside [0, 1]; [`Error::Undefined`] of nothing.
pub fn brier(predicted: &[f64], happened: &[bool]) -> Result<f64> {
    check(predicted, happened)?;
    let square = |(p, &o): (&f64, &bool)| (p - f64::from(u8::from(o))) * (p - f64::from(u8::from(o)));
    Ok(predicted.iter().zip(happened).map(square).sum::<f64>() / predicted.len() as f64)
}

/// The reliability diagram: `bins` of equal width over [0, 1], each closed below and open above but the last.
///
/// # Errors
/// As [`brier`], and [`Error::Config`] for no bins.
pub fn reliability(predicted: &[f64], happened: &[bool], bins: usize) -> Result<Vec<Bin>> {
    check(predicted, happened)?;
    if bins == 0 {
        return Err(Error::Config { field: "bins", expected: "at least 1".to_string(), got: "0".to_string() });
    }
    let mut diagram = vec![Bin::default(); bins];
    for (p, &o) in predicted.iter().zip(happened) {
        let bin = &mut diagram[((p * bins as f64) as usize).min(bins - 1)];
        bin.count += 1;
        bin.predicted += p;
        bin.happened += f64::from(u8::from(o));
    }
    for bin in diagram.iter_mut().filter(|bin| bin.count > 0) {
        bin.predicted /= bin.count as f64;
        bin.happened /= bin.count as f64;
    }
    Ok(diagram)
}

/// Expected calibration error: the mean over predictions of |happened - predicted| of their bin (Naeini et al., AAAI
/// 2015), bins as in [`reliability`].
///
/// # Errors
/// As [`reliability`].
pub fn calibration_error(predicted: &[f64], happened: &[bool], bins: usize) -> Result<f64> {
    let gap = |bin: &Bin| bin.count as f64 * (bin.happened - bin.predicted).abs();
    Ok(reliability(predicted, happened, bins)?.iter().map(gap).sum::<f64>() / predicted.len() as f64)
}

fn check(predicted: &[f64], happened: &[bool]) -> Result<()> {
    check_lengths("outcomes", predicted.len(), happened.len())?;
    if let Some(bad) = predicted.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        let expected = "between 0 and 1".to_string();
        return Err(Error::Config { field: "predicted", expected, got: format!("{bad}") });
    }
    if predicted.is_empty() {
        return Err(undefined("calibration", "there are no predictions"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() -> Result<()> {
        let predicted = [0.1, 0.2, 0.5, 0.9, 1.0];
        let happened = [false, true, true, true, false];
        // (0.01 + 0.64 + 0.25 + 0.01 + 1) / 5.
        assert!((brier(&predicted, &happened)? - 0.382).abs() < 1e-15);
        // Two bins: [0.1, 0.2] mean 0.15, happened 1/2; [0.5, 0.9, 1] mean 0.8, happened 2/3.
        let expected = (2.0 * 0.35 + 3.0 * (0.8 - 2.0 / 3.0)) / 5.0;
        assert!((calibration_error(&predicted, &happened, 2)? - expected).abs() < 1e-15);
        let counts: Vec<usize> = reliability(&predicted, &happened, 2)?.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 3]);
        // A prediction that always holds is calibrated.
        assert_eq!(calibration_error(&[1.0, 0.0, 1.0], &[true, false, true], 10)?, 0.0);
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(matches!(brier(&[1.1], &[true]), Err(Error::Config { field: "predicted", .. })));
        assert!(matches!(brier(&[f64::NAN], &[true]), Err(Error::Config { .. })));
        assert!(matches!(brier(&[], &[]), Err(Error::Undefined { .. })));
        assert!(matches!(brier(&[0.5], &[]), Err(Error::Shape { .. })));
        assert!(matches!(calibration_error(&[0.5], &[true], 0), Err(Error::Config { field: "bins", .. })));
    }
}
