//! Correction for several tests at once.

use alloc::{format, string::ToString, vec, vec::Vec};

use crate::{Error, Result};

/// Holm's step-down correction: adjusted p-values in the order given (Holm, Scandinavian Journal of Statistics 6, 1979).
///
/// With p(1) <= p(2) <= ... the adjusted p(i) is max over j <= i of min(1, (m - j + 1) p(j)). Comparing them with a
/// level bounds the chance of any false rejection by it, whatever the dependence of the tests.
///
/// # Errors
/// [`Error::Config`] for a p-value outside [0, 1].
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>> {
    if let Some(bad) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        let expected = "between 0 and 1".to_string();
        return Err(Error::Config { field: "p_value", expected, got: format!("{bad}") });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(((p_values.len() - rank) as f64 * p_values[i]).min(1.0));
        adjusted[i] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() -> Result<()> {
        // Sorted 0.005, 0.01, 0.03, 0.04, 0.5 times 5, 4, 3, 2, 1; 0.08 is raised to the 0.09 before it.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005, 0.5])?;
        for (got, expected) in adjusted.iter().zip([0.04, 0.09, 0.09, 0.025, 0.5]) {
            assert!((got - expected).abs() < 1e-15, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8])?, [1.0, 1.0]);
        assert_eq!(holm(&[])?, Vec::<f64>::new());
        Ok(())
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for p in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(holm(&[0.5, p]), Err(Error::Config { field: "p_value", .. })));
        }
    }
}
