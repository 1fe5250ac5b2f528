//! What one codebook distribution says.

use alloc::{format, vec::Vec};

use crate::{Error, Result};

/// log softmax: `l_v - log sum_u exp(l_u)`; -inf stays -inf.
///
/// # Errors
/// [`Error::NonFinite`] for NaN, +inf, or no allowed token.
pub fn log_probabilities(logits: &[f64]) -> Result<Vec<f64>> {
    if let Some(at) = logits.iter().position(|l| l.is_nan() || *l == f64::INFINITY) {
        return Err(Error::NonFinite { what: "logits", at: format!("entry {at}") });
    }
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return Err(Error::NonFinite { what: "logits", at: "a row without an allowed token".into() });
    }
    let log_sum = libm::log(logits.iter().map(|l| libm::exp(l - max)).sum::<f64>());
    Ok(logits.iter().map(|l| l - max - log_sum).collect())
}

/// log pi(a): the log-probability of one token.
///
/// # Errors
/// As [`log_probabilities`]; [`Error::Token`] for an action outside the codebook; [`Error::NonFinite`] for a forbidden
/// one.
pub fn token_log_prob(logits: &[f64], action: usize) -> Result<f64> {
    let log_probs = log_probabilities(logits)?;
    let Some(&log_prob) = log_probs.get(action) else {
        return Err(Error::Token { at: (0, 0, 0), codebook: logits.len(), got: action as i64 });
    };
    if log_prob == f64::NEG_INFINITY {
        return Err(Error::NonFinite {
            what: "log-probability of the action",
            at: format!("forbidden token {action}"),
        });
    }
    Ok(log_prob)
}

/// H(pi) = -sum_v pi_v log pi_v in nats; forbidden tokens contribute 0.
///
/// # Errors
/// As [`log_probabilities`].
pub fn entropy(logits: &[f64]) -> Result<f64> {
    let log_probs = log_probabilities(logits)?;
    Ok(log_probs.iter().filter(|l| l.is_finite()).map(|l| -libm::exp(*l) * l).sum())
}

/// KL(pi || pi_ref) = sum_v pi_v (log pi_v - log pi_ref_v) in nats, over the whole codebook. Tokens that the policy
/// forbids contribute 0; +inf when the policy allows one that the reference forbids.
///
/// # Errors
/// As [`log_probabilities`], for either; [`Error::Shape`] when the codebooks differ.
pub fn exact_kl(policy: &[f64], reference: &[f64]) -> Result<f64> {
    if policy.len() != reference.len() {
        return Err(Error::Shape {
            what: "reference logits",
            expected: format!("[{}]", policy.len()),
            got: format!("[{}]", reference.len()),
        });
    }
    let (p, q) = (log_probabilities(policy)?, log_probabilities(reference)?);
    Ok(p.iter().zip(&q).filter(|(p, _)| p.is_finite()).map(|(p, q)| libm::exp(*p) * (p - q)).sum())
}

/// k1 = log pi(a) - log pi_ref(a): unbiased for the KL when a is drawn from pi.
#[must_use]
pub fn k1(log_prob: f64, reference_log_prob: f64) -> f64 {
    log_prob - reference_log_prob
}

/// k2 = k1^2 / 2: biased, low variance.
#[must_use]
pub fn k2(log_prob: f64, reference_log_prob: f64) -> f64 {
    let ratio = log_prob - reference_log_prob;
    0.5 * ratio * ratio
}

/// k3 = exp(-k1) - 1 + k1: unbiased and never negative.
#[must_use]
pub fn k3(log_prob: f64, reference_log_prob: f64) -> f64 {
    let ratio = log_prob - reference_log_prob;
    libm::expm1(-ratio) + ratio
}
