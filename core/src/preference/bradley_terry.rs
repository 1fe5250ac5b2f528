//! The Bradley-Terry loss with ties, over tensors.

use alloc::{vec, vec::Vec};
use burn::tensor::{Bool, Tensor, TensorData, activation::log_softmax};

use super::outcome::{Judgement, check_smoothing, check_tie_strength};
use crate::{
    Result,
    rl::shape::{check_each, not_empty, same, widen},
};

/// Davidson's nu: how ready listeners are to call two clips equally good.
#[derive(Debug, Clone, Copy)]
pub enum TieStrength<'a> {
    /// A number of at least 0; 0 for a model without ties, where a tie is half a win each.
    Fixed(f64),
    /// log nu, a tensor of shape `[1]` that gradients reach: nu is then above 0 whatever it becomes.
    Learned(&'a Tensor<1>),
}

/// The loss that trains a reward model from pairs (Bradley and Terry, Biometrika 39, 1952; ties after Davidson, 1970):
///
/// loss = sum_i w_i * (-log P(outcome_i | d_i - m_i)) / sum_i w_i, d_i = s_a - s_b
///
/// with m_i the margin towards the loser. `tie_strength` is Davidson's nu: 0 for none, where a tie is half a win each;
/// `ties / sqrt(wins * losses)` estimates it for pairs of equal strength. Skipped pairs count nowhere: any score may
/// stand there. A batch in which nothing counts has loss 0 and no gradient.
///
/// # Shapes
/// - scores_a, scores_b: `[pairs]`, as many as judgements
/// - result: `[1]`
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for a bad judgement or tie strength; [`Error::Shape`](crate::Error::Shape);
/// [`Error::NonFinite`](crate::Error::NonFinite) for a counted score that is not finite.
pub fn bradley_terry_loss(
    scores_a: &Tensor<1>,
    scores_b: &Tensor<1>,
    judgements: &[Judgement],
    tie_strength: f64,
) -> Result<Tensor<1>> {
    smoothed_bradley_terry_loss(scores_a, scores_b, judgements, TieStrength::Fixed(tie_strength), 0.0)
}

/// [`bradley_terry_loss`] with smoothed targets ([`Judgement::smoothed_target`]) and a tie strength that may be learned.
///
/// # Shapes
/// As [`bradley_terry_loss`]; a learned tie strength is `[1]`
///
/// # Errors
/// As [`bradley_terry_loss`], and [`Error::Config`](crate::Error::Config) for a smoothing outside [0, 0.5).
pub fn smoothed_bradley_terry_loss(
    scores_a: &Tensor<1>,
    scores_b: &Tensor<1>,
    judgements: &[Judgement],
    ties: TieStrength<'_>,
    smoothing: f64,
) -> Result<Tensor<1>> {
    // Of a learned one only that it is above 0 matters to the targets.
    let tie_strength = match ties {
        TieStrength::Fixed(tie_strength) => tie_strength,
        TieStrength::Learned(log) => {
            same("log tie strength", [1], log.dims())?;
            1.0
        }
    };
    check_tie_strength(tie_strength)?;
    check_smoothing(smoothing)?;
    let pairs = judgements.len();
    not_empty("judgements", [pairs])?;
    same("scores of a", [pairs], scores_a.dims())?;
    same("scores of b", [pairs], scores_b.dims())?;
    for judgement in judgements {
        judgement.validate()?;
    }
    let a = widen(scores_a.clone());
    let (device, dtype) = (a.device(), a.dtype());
    let b = scores_b.clone().cast(dtype);
    let column =
        |values: Vec<f64>| -> Tensor<2> { Tensor::from_data(TensorData::new(values, [pairs, 1]), (&device, dtype)) };

    let skipped: Vec<bool> = judgements.iter().map(|j| j.counted_weight() == 0.0).collect();
    let skipped = Tensor::<2, Bool>::from_data(TensorData::new(skipped, [pairs, 1]), &device);
    let margins = column(judgements.iter().map(Judgement::signed_margin).collect());
    let difference = (a - b).reshape([pairs, 1]).mask_fill(skipped, 0.0) - margins;
    check_each("difference of scores", &difference, f64::is_finite)?;

    let mut logits = vec![difference.clone() * 0.5, difference * -0.5];
    match ties {
        TieStrength::Fixed(nu) if nu > 0.0 => logits.push(column(vec![libm::log(nu); pairs])),
        TieStrength::Fixed(_) => {}
        TieStrength::Learned(log) => logits.push(log.clone().cast(dtype).reshape([1, 1]).expand([pairs, 1])),
    }
    let outcomes = logits.len();
    let log_probs = log_softmax(Tensor::cat(logits, 1), 1);

    let weights: f64 = judgements.iter().map(Judgement::counted_weight).sum();
    let scale = if weights > 0.0 { 1.0 / weights } else { 0.0 };
    let share =
        |j: &Judgement| j.smoothed_target(tie_strength, smoothing).map(|target| -target * j.counted_weight() * scale);
    let targets: Vec<f64> = judgements.iter().flat_map(|j| share(j).into_iter().take(outcomes)).collect();
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [pairs, outcomes]), (&device, dtype));
    Ok((log_probs * targets).sum())
}
