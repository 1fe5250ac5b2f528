//! Direct preference optimisation: learning from pairs without a reward model, as a control.

use alloc::{format, string::ToString};
use burn::tensor::{Tensor, activation::log_sigmoid};

use crate::{
    Error, Result,
    rl::shape::{check_each, not_empty, same, widen},
};

/// Log-probabilities of whole sequences: the sum of a clip's counted token log-probabilities.
#[derive(Debug, Clone)]
pub struct SequenceLogProbs {
    /// Of the preferred clips: `[pairs]`.
    pub chosen: Tensor<1>,
    /// Of the others: `[pairs]`.
    pub rejected: Tensor<1>,
}

/// DPO (Rafailov et al., "Direct Preference Optimization", 2023, arXiv 2305.18290, equation 7):
///
/// loss = mean of -log sigmoid(beta * [(log pi(w) - log pi_ref(w)) - (log pi(l) - log pi_ref(l))])
///
/// The reference is constant: no gradient flows into it.
///
/// # Shapes
/// - policy, reference: `[pairs]` each
/// - result: `[1]`
///
/// # Errors
/// [`Error::Config`] for a beta that is not positive and finite; [`Error::Shape`]; [`Error::NonFinite`].
pub fn dpo_loss(policy: &SequenceLogProbs, reference: &SequenceLogProbs, beta: f64) -> Result<Tensor<1>> {
    if !(beta.is_finite() && beta > 0.0) {
        let expected = "positive and finite".to_string();
        return Err(Error::Config { field: "beta", expected, got: format!("{beta}") });
    }
    let pairs @ [count] = policy.chosen.dims();
    not_empty("pairs", pairs)?;
    same("rejected log-probabilities", pairs, policy.rejected.dims())?;
    same("reference log-probabilities of the chosen", pairs, reference.chosen.dims())?;
    same("reference log-probabilities of the rejected", pairs, reference.rejected.dims())?;
    let policy_chosen = widen(policy.chosen.clone());
    let dtype = policy_chosen.dtype();
    let chosen = policy_chosen - reference.chosen.clone().inner().cast(dtype);
    let rejected = policy.rejected.clone().cast(dtype) - reference.rejected.clone().inner().cast(dtype);
    let margin = (chosen - rejected) * beta;
    check_each("difference of log-probabilities", &margin.clone().reshape([count, 1]), f64::is_finite)?;
    Ok(log_sigmoid(margin).mean().neg())
}
