//! The losses, and the policy loss's gradient with respect to the logits.

use alloc::{vec, vec::Vec};

use super::distribution::{exact_kl, log_probabilities, token_log_prob};
use crate::{
    Error, Result,
    rl::{Normalisation, Objective},
};

/// One learning batch, flat: the logits are `[clips, actions, codebook]`, the rest `[clips, actions]`.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// The policy's logits.
    pub policy: &'a [f64],
    /// The reference's logits.
    pub reference: &'a [f64],
    /// The chosen tokens.
    pub actions: &'a [usize],
    /// The advantages.
    pub advantages: &'a [f64],
    /// Which actions count.
    pub mask: &'a [bool],
    /// Row length: actions of a clip.
    pub actions_per_clip: usize,
    /// Codebook entries.
    pub codebook: usize,
}

/// Loss = -(1/N) sum over counted t of [(1 - alpha) A_t log pi(a_t) - alpha KL_t].
#[must_use]
pub fn reinforce_loss(
    log_prob: &[f64],
    kl: &[f64],
    advantages: &[f64],
    mask: &[bool],
    actions_per_clip: usize,
    objective: &Objective,
) -> f64 {
    let alpha = objective.alpha;
    let mut sum = 0.0;
    for t in (0..mask.len()).filter(|&t| mask[t]) {
        sum += (1.0 - alpha) * advantages[t] * log_prob[t] - alpha * kl[t];
    }
    -sum / objective.normalisation.divisor(mask, actions_per_clip)
}

/// [`reinforce_loss`] from logits.
///
/// # Errors
/// As the distribution functions, and [`Error::NonFinite`] for a NaN logit anywhere.
pub fn reinforce_loss_from_logits(batch: &Batch<'_>, objective: &Objective) -> Result<f64> {
    check_nan(batch)?;
    let (mut log_prob, mut kl) = (vec![0.0; batch.mask.len()], vec![0.0; batch.mask.len()]);
    for t in (0..batch.mask.len()).filter(|&t| batch.mask[t]) {
        let row = t * batch.codebook..(t + 1) * batch.codebook;
        log_prob[t] = token_log_prob(&batch.policy[row.clone()], batch.actions[t])?;
        kl[t] = finite_kl(&batch.policy[row.clone()], &batch.reference[row])?;
    }
    Ok(reinforce_loss(&log_prob, &kl, batch.advantages, batch.mask, batch.actions_per_clip, objective))
}

/// The gradient of [`reinforce_loss_from_logits`] with respect to the policy's logits, in closed form:
///
/// dLoss/dl_v = (1/N) [(1 - alpha) A (pi_v - 1\[v = a\]) + alpha pi_v (log pi_v - log pi_ref_v - KL)]
///
/// # Errors
/// As [`reinforce_loss_from_logits`].
pub fn reinforce_gradient(batch: &Batch<'_>, objective: &Objective) -> Result<Vec<f64>> {
    check_nan(batch)?;
    let divisor = objective.normalisation.divisor(batch.mask, batch.actions_per_clip);
    let mut gradient = vec![0.0; batch.policy.len()];
    for t in (0..batch.mask.len()).filter(|&t| batch.mask[t]) {
        let row = t * batch.codebook..(t + 1) * batch.codebook;
        let (policy, reference) = (&batch.policy[row.clone()], &batch.reference[row.clone()]);
        token_log_prob(policy, batch.actions[t])?;
        let kl = finite_kl(policy, reference)?;
        let (p, q) = (log_probabilities(policy)?, log_probabilities(reference)?);
        for (v, slot) in gradient[row].iter_mut().enumerate() {
            let probability = libm::exp(p[v]);
            let chosen = if v == batch.actions[t] { 1.0 } else { 0.0 };
            let pull = if p[v].is_finite() { probability * (p[v] - q[v] - kl) } else { 0.0 };
            *slot = ((1.0 - objective.alpha) * batch.advantages[t] * (probability - chosen) + objective.alpha * pull)
                / divisor;
        }
    }
    Ok(gradient)
}

/// Least squares: (1/N) sum over counted t of (G_t - V_t)^2.
#[must_use]
pub fn value_loss(
    values: &[f64],
    returns: &[f64],
    mask: &[bool],
    actions_per_clip: usize,
    normalisation: Normalisation,
) -> f64 {
    let squares = values.iter().zip(returns).zip(mask).filter(|(_, counts)| **counts);
    squares.map(|((v, g), _)| (g - v) * (g - v)).sum::<f64>() / normalisation.divisor(mask, actions_per_clip)
}

fn check_nan(batch: &Batch<'_>) -> Result<()> {
    match batch.policy.iter().chain(batch.reference).any(|l| l.is_nan()) {
        true => Err(Error::NonFinite { what: "logits", at: "a NaN".into() }),
        false => Ok(()),
    }
}

/// The KL, which an objective needs to be finite.
fn finite_kl(policy: &[f64], reference: &[f64]) -> Result<f64> {
    let kl = exact_kl(policy, reference)?;
    if kl.is_finite() { Ok(kl) } else { Err(Error::NonFinite { what: "KL", at: "an action".into() }) }
}
