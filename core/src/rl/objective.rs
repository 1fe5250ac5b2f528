//! The policy's loss and the value network's.

use burn::tensor::{Bool, Tensor};

use super::{
    Normalisation, Objective,
    shape::{check_each, counted, not_empty, read_mask, same},
};
use crate::Result;

/// The loss to minimise of KL-regularised REINFORCE (arXiv 2402.04229):
///
/// loss = -(1/N) sum over counted t of [(1 - alpha) A_t log pi(a_t) - alpha KL_t]
///
/// with N from [`Normalisation`]. The advantages are constants: no gradient flows into them. A batch in which nothing
/// counts has loss 0 and no gradient.
///
/// # Shapes
/// - log_prob: `[clips, actions]`, from [`token_log_prob`](super::token_log_prob)
/// - kl: `[clips, actions]`, from [`exact_kl`](super::exact_kl)
/// - advantages, mask: `[clips, actions]`
/// - result: `[1]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape); [`Error::Config`](crate::Error::Config) for a bad alpha;
/// [`Error::NonFinite`](crate::Error::NonFinite) for a counted advantage that is not finite.
pub fn reinforce_loss(
    log_prob: &Tensor<2>,
    kl: &Tensor<2>,
    advantages: &Tensor<2>,
    mask: &Tensor<2, Bool>,
    objective: &Objective,
) -> Result<Tensor<1>> {
    objective.validate()?;
    let dims @ [_, actions] = log_prob.dims();
    not_empty("log-probabilities", dims)?;
    same("KL", dims, kl.dims())?;
    same("advantages", dims, advantages.dims())?;
    same("mask", dims, mask.dims())?;
    let advantages = counted(advantages.clone().inner().cast(log_prob.dtype()), mask);
    check_each("advantage", &advantages, f64::is_finite)?;
    let divisor = objective.normalisation.divisor(&read_mask(mask), actions);
    let reward = (counted(log_prob.clone(), mask) * advantages).sum();
    let pull = counted(kl.clone().cast(log_prob.dtype()), mask).sum();
    Ok(reward * (-(1.0 - objective.alpha) / divisor) + pull * (objective.alpha / divisor))
}

/// Least squares for the baseline: loss = (1/N) sum over counted t of (G_t - V_t)^2.
///
/// # Shapes
/// - values: `[clips, actions]`, with gradient
/// - returns: `[clips, actions]`, constants
/// - mask: `[clips, actions]`
/// - result: `[1]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape); [`Error::NonFinite`](crate::Error::NonFinite) for a counted value or return
/// that is not finite.
pub fn value_loss(
    values: &Tensor<2>,
    returns: &Tensor<2>,
    mask: &Tensor<2, Bool>,
    normalisation: Normalisation,
) -> Result<Tensor<1>> {
    let dims @ [_, actions] = values.dims();
    not_empty("values", dims)?;
    same("returns", dims, returns.dims())?;
    same("mask", dims, mask.dims())?;
    let error = counted(values.clone(), mask) - counted(returns.clone().inner().cast(values.dtype()), mask);
    check_each("value less return", &error, f64::is_finite)?;
    let divisor = normalisation.divisor(&read_mask(mask), actions);
    Ok(error.square().sum() / divisor)
}
