//! The preference losses in plain `f64`: the oracle that the tensor functions are compared with.

use alloc::format;

use super::outcome::{Judgement, check_smoothing, check_tie_strength};
use crate::{Error, Result};

/// log P of [a better, b better, tie] at the difference of scores d = s_a - s_b (Davidson, "On Extending the
/// Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments", JASA 65, 1970). With tie strength 0 the
/// last is -inf.
#[must_use]
pub fn log_outcomes(difference: f64, tie_strength: f64) -> [f64; 3] {
    let logits = [difference / 2.0, -difference / 2.0, libm::log(tie_strength)];
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max + libm::log(logits.iter().map(|l| libm::exp(l - max)).sum::<f64>());
    logits.map(|l| l - log_sum)
}

/// Loss = sum_i w_i * (-log P(outcome_i)) / sum_i w_i, with margins; 0 when nothing counts.
///
/// # Errors
/// [`Error::Config`] for a bad judgement or tie strength; [`Error::Shape`] for slices of different lengths;
/// [`Error::NonFinite`] for a counted score that is not finite.
pub fn bradley_terry_loss(
    scores_a: &[f64],
    scores_b: &[f64],
    judgements: &[Judgement],
    tie_strength: f64,
) -> Result<f64> {
    smoothed_bradley_terry_loss(scores_a, scores_b, judgements, tie_strength, 0.0)
}

/// [`bradley_terry_loss`] with smoothed targets ([`Judgement::smoothed_target`]).
///
/// # Errors
/// As [`bradley_terry_loss`], and [`Error::Config`] for a smoothing outside [0, 0.5).
pub fn smoothed_bradley_terry_loss(
    scores_a: &[f64],
    scores_b: &[f64],
    judgements: &[Judgement],
    tie_strength: f64,
    smoothing: f64,
) -> Result<f64> {
    check_tie_strength(tie_strength)?;
    check_smoothing(smoothing)?;
    if scores_a.len() != judgements.len() || scores_b.len() != judgements.len() {
        return Err(Error::Shape {
            what: "scores",
            expected: format!("[{}] each", judgements.len()),
            got: format!("[{}] and [{}]", scores_a.len(), scores_b.len()),
        });
    }
    let (mut loss, mut weights) = (0.0, 0.0);
    for (at, judgement) in judgements.iter().enumerate() {
        judgement.validate()?;
        let weight = judgement.counted_weight();
        if weight == 0.0 {
            continue;
        }
        let difference = scores_a[at] - scores_b[at];
        if !difference.is_finite() {
            return Err(Error::NonFinite { what: "difference of scores", at: format!("pair {at}") });
        }
        let log_probs = log_outcomes(difference - judgement.signed_margin(), tie_strength);
        for (target, log_prob) in judgement.smoothed_target(tie_strength, smoothing).iter().zip(log_probs) {
            loss -= if *target > 0.0 { weight * target * log_prob } else { 0.0 };
        }
        weights += weight;
    }
    Ok(if weights > 0.0 { loss / weights } else { 0.0 })
}

/// -log sigmoid(x), stable at any x.
#[must_use]
pub fn negative_log_sigmoid(x: f64) -> f64 {
    f64::max(-x, 0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// Loss = mean over pairs of -log sigmoid(beta * [(log pi(w) - log pi_ref(w)) - (log pi(l) - log pi_ref(l))]); each
/// pair is `[policy chosen, policy rejected, reference chosen, reference rejected]`. 0 for no pairs.
#[must_use]
pub fn dpo_loss(pairs: &[[f64; 4]], beta: f64) -> f64 {
    let loss = |[pw, pl, rw, rl]: &[f64; 4]| negative_log_sigmoid(beta * ((pw - rw) - (pl - rl)));
    pairs.iter().map(loss).sum::<f64>() / pairs.len().max(1) as f64
}
