//! The KL of policy and reference, estimated from the sampled token alone (Schulman, "Approximating KL Divergence",
//! 2020, joschu.net/blog/kl-approx.html). For monitoring and for comparison; the objective uses the exact KL.

use burn::tensor::Tensor;

use super::shape::same;
use crate::Result;

/// k1 = log pi(a) - log pi_ref(a): unbiased for the KL when a is drawn from pi; may be negative.
///
/// # Shapes
/// - log_prob, reference_log_prob, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when the two differ.
pub fn k1(log_prob: &Tensor<2>, reference_log_prob: &Tensor<2>) -> Result<Tensor<2>> {
    same("reference log-probabilities", log_prob.dims(), reference_log_prob.dims())?;
    Ok(log_prob.clone() - reference_log_prob.clone().cast(log_prob.dtype()))
}

/// k2 = k1^2 / 2: biased, low variance.
///
/// # Shapes
/// - log_prob, reference_log_prob, result: `[clips, actions]`
///
/// # Errors
/// As [`k1`].
pub fn k2(log_prob: &Tensor<2>, reference_log_prob: &Tensor<2>) -> Result<Tensor<2>> {
    Ok(k1(log_prob, reference_log_prob)?.square() * 0.5)
}

/// k3 = exp(-k1) - 1 + k1: unbiased and never negative. The exponential saturates at e^80, short of overflow.
///
/// # Shapes
/// - log_prob, reference_log_prob, result: `[clips, actions]`
///
/// # Errors
/// As [`k1`].
pub fn k3(log_prob: &Tensor<2>, reference_log_prob: &Tensor<2>) -> Result<Tensor<2>> {
    let ratio = k1(log_prob, reference_log_prob)?;
    // Rounding may leave a negative trace of the last bit where k1 is almost 0.
    Ok((ratio.clone().neg().clamp_max(80.0).exp() - 1.0 + ratio).clamp_min(0.0))
}
