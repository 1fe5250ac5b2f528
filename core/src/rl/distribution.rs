//! What each action's distribution over the codebook says.

use alloc::string::ToString;
use burn::tensor::{Bool, Int, Tensor};

use super::shape::{BEYOND, FORBIDDEN, check_actions, check_each, counted, not_empty, read_mask, same, widen};
use crate::{Error, Result};

/// log softmax over the codebook: log pi_v = l_v - log sum_u exp(l_u).
///
/// A forbidden token (-inf) comes out as about -1e30 rather than -inf, so that no product with its probability, which
/// is exactly 0, and no gradient becomes NaN. Masked rows come out uniform and carry no gradient. Half precision is
/// widened to 32 bits.
///
/// # Shapes
/// - logits: `[clips, actions, codebook]`
/// - mask: `[clips, actions]`
/// - result: `[clips, actions, codebook]`
///
/// # Errors
/// [`Error::Shape`]; [`Error::NonFinite`] for a NaN anywhere, and where the mask counts for +inf or a row without an
/// allowed token.
pub fn log_probabilities(logits: Tensor<3>, mask: &Tensor<2, Bool>) -> Result<Tensor<3>> {
    let (shifted, log_sum) = shifted(sanitise(logits, mask)?)?;
    Ok(shifted - log_sum)
}

/// Logits without -inf and without what stands under the mask; NaN is refused.
pub(crate) fn sanitise(logits: Tensor<3>, mask: &Tensor<2, Bool>) -> Result<Tensor<3>> {
    let dims @ [clips, actions, codebook] = logits.dims();
    not_empty("logits", dims)?;
    same("mask", [clips, actions], mask.dims())?;
    let logits = widen(logits);
    let constant = logits.clone().inner();
    let forbidden = constant.clone().lower_elem(FORBIDDEN);
    if read_mask(mask).into_iter().all(|counts| counts) {
        // The common case, without two passes over the codebook: NaN shows in the rows' sums, which are checked.
        return Ok(logits.mask_fill(forbidden, FORBIDDEN));
    }
    if constant.contains_nan().into_data().iter::<bool>().any(|nan| nan) {
        return Err(Error::NonFinite { what: "logits", at: "some action: NaN, from a broken model".to_string() });
    }
    let uncounted = mask.clone().bool_not().reshape([clips, actions, 1]).expand([clips, actions, codebook]);
    Ok(logits.mask_fill(forbidden, FORBIDDEN).mask_fill(uncounted, 0.0))
}

/// Sanitised logits less their row's maximum, and the logarithm of the sum of their exponentials `[clips, actions, 1]`.
pub(crate) fn shifted(logits: Tensor<3>) -> Result<(Tensor<3>, Tensor<3>)> {
    let [clips, actions, _] = logits.dims();
    // The maximum is a constant: the shift cancels in value and gradient.
    let max = logits.clone().inner().max_dim(2);
    let shifted = logits - max.clone();
    let log_sum = shifted.clone().exp().sum_dim(2).log();
    // max + log_sum: NaN if a logit is, or if one is +inf; about -1e30 if all are forbidden.
    let rows = (max + log_sum.clone().inner()).reshape([clips, actions]);
    let sound = |sum: f64| sum > FORBIDDEN / 2.0 && sum < f64::INFINITY;
    check_each("log-sum of logits (a NaN, a +inf, or no allowed token)", &rows, sound)?;
    Ok((shifted, log_sum))
}

/// log pi(a_t): the chosen token's log-probability; 0 under the mask.
///
/// # Shapes
/// - log_probs: `[clips, actions, codebook]`, from [`log_probabilities`]
/// - actions, mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`]; [`Error::Token`] (clip, action) for an id outside the codebook; [`Error::NonFinite`] for a
/// forbidden token.
pub fn token_log_prob(log_probs: &Tensor<3>, actions: &Tensor<2, Int>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    let [clips, per_clip, codebook] = log_probs.dims();
    same("actions", [clips, per_clip], actions.dims())?;
    same("mask", [clips, per_clip], mask.dims())?;
    let actions = check_actions(actions, mask, codebook)?;
    let chosen = log_probs.clone().gather(2, actions.reshape([clips, per_clip, 1])).reshape([clips, per_clip]);
    let chosen = counted(chosen, mask);
    check_each("log-probability of the action (a forbidden token)", &chosen, |l| l > -BEYOND)?;
    Ok(chosen)
}

/// H_t = -sum_v pi_v log pi_v in nats; forbidden tokens contribute 0; 0 under the mask.
///
/// # Shapes
/// - log_probs: `[clips, actions, codebook]`, from [`log_probabilities`]
/// - mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`].
pub fn entropy(log_probs: &Tensor<3>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    let [clips, actions, _] = log_probs.dims();
    same("mask", [clips, actions], mask.dims())?;
    let sum = (log_probs.clone().exp() * log_probs.clone()).sum_dim(2).neg();
    Ok(counted(sum.reshape([clips, actions]), mask))
}

/// KL_t = sum_v pi_v (log pi_v - log pi_ref_v) in nats, over the whole codebook; 0 under the mask.
///
/// A token that the policy forbids contributes 0, whatever the reference says. A token that only the reference forbids
/// makes the KL infinite: an error. (Policy mass below about 1e-24 on such a token counts as none.)
///
/// # Shapes
/// - policy, reference: `[clips, actions, codebook]`, from [`log_probabilities`] with the same mask
/// - mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`]; [`Error::NonFinite`] for an infinite KL.
pub fn exact_kl(policy: &Tensor<3>, reference: &Tensor<3>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    let dims @ [clips, actions, _] = policy.dims();
    same("reference log-probabilities", dims, reference.dims())?;
    same("mask", [clips, actions], mask.dims())?;
    let ratio = policy.clone() - reference.clone().cast(policy.dtype());
    let kl = counted((policy.clone().exp() * ratio).sum_dim(2).reshape([clips, actions]), mask);
    check_each("KL (a token that only the reference forbids)", &kl, |kl| kl < BEYOND)?;
    Ok(kl)
}
