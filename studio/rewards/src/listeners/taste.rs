//! What a listener likes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::standard::Property;
use crate::{Error, Result, properties::Properties};

/// What one property adds to the utility.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Standard deviation that the term gives the utility over sounds like the base's. Below 0: less is better.
    pub weight: f64,
    /// The standardised value that is liked best, if there is one; without it more is always better (or worse).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimum: Option<f64>,
}

impl Term {
    /// weight * f(z), with f(z) = z or, around an optimum o, the inverted U
    ///
    /// f(z) = (1 + 2 o z - z^2) / sqrt(2 + 4 o^2).
    ///
    /// Both have mean 0 and variance 1 for standard normal z, so weights of different terms compare. The second is
    /// highest at z = o and tends to the first for o without bound.
    #[must_use]
    pub fn value(&self, z: f64) -> f64 {
        let shape = match self.optimum {
            None => z,
            Some(o) => (1.0 + 2.0 * o * z - z * z) / libm::sqrt(2.0 + 4.0 * o * o),
        };
        self.weight * shape
    }
}

/// A taste: a term for each property that matters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Taste {
    /// The terms.
    pub terms: BTreeMap<Property, Term>,
}

impl Taste {
    /// u = sum over properties of weight * f(z): about mean 0 over sounds like the base's.
    #[must_use]
    pub fn utility(&self, properties: &Properties) -> f64 {
        self.terms.iter().map(|(property, term)| term.value(property.standardised(properties))).sum()
    }

    /// Checks every term.
    ///
    /// # Errors
    /// [`Error::Config`] for a taste without terms, numbers that are not finite or beyond reason, and an optimum with
    /// a negative weight (which would be a pessimum).
    pub fn validate(&self) -> Result<()> {
        let bad = |field, expected: &str, got: String| Err(Error::Config { field, expected: expected.into(), got });
        if self.terms.is_empty() {
            return bad("taste", "at least one property", "none".into());
        }
        for (property, term) in &self.terms {
            let name = property.name();
            if !(term.weight.is_finite() && term.weight.abs() <= 100.0) {
                return bad("weight", "between -100 and 100", format!("{} of {name}", term.weight));
            }
            let Some(optimum) = term.optimum else { continue };
            if !(optimum.is_finite() && optimum.abs() <= 100.0) {
                return bad("optimum", "between -100 and 100", format!("{optimum} of {name}"));
            }
            if term.weight < 0.0 {
                return bad("weight", "at least 0 where there is an optimum", format!("{} of {name}", term.weight));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terms_have_mean_0_and_variance_1_for_standard_normal_properties() {
        let mut stream = Key::new(1, Purpose::Test).stream();
        let z: Vec<f64> = (0..40_000).map(|_| stream.normal()).collect();
        for optimum in [None, Some(0.0), Some(0.5), Some(-1.2), Some(3.0)] {
            let term = Term { weight: 2.0, optimum };
            let values: Vec<f64> = z.iter().map(|z| term.value(*z)).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            // Five standard errors of the mean; the variance's fourth moment is at most 15 times its square.
            assert!(mean.abs() < 5.0 * 2.0 / n.sqrt(), "{optimum:?}: mean {mean}");
            assert!((variance / 4.0 - 1.0).abs() < 5.0 * (14.0 / n).sqrt(), "{optimum:?}: variance {variance}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_liked_better_than_the_optimum(weight in 0.0..3.0_f64, o in -3.0..3.0_f64, z in -4.0..4.0_f64) {
            let term = Term { weight, optimum: Some(o) };
            prop_assert!(term.value(z) <= term.value(o) + 1e-12);
            // As far above as below.
            prop_assert!((term.value(o + z) - term.value(o - z)).abs() < 1e-9);
        }
    }

    #[test]
    fn bad_tastes_are_refused() {
        let of = |weight, optimum| Taste { terms: [(Property::Loudness, Term { weight, optimum })].into() };
        assert!(of(-1.0, None).validate().is_ok() && of(1.0, Some(-2.0)).validate().is_ok());
        for taste in [
            Taste::default(),
            of(f64::NAN, None),
            of(1e9, None),
            of(1.0, Some(f64::INFINITY)),
            of(1.0, Some(1e9)),
            of(-1.0, Some(0.0)),
        ] {
            assert!(matches!(taste.validate(), Err(Error::Config { .. })), "{taste:?}");
        }
    }
}
