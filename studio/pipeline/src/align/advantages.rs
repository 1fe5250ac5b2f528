//! From a batch's returns to advantages: [`AdvantageRule`], and what is reported of them.

use burn::tensor::{Bool, Int, Tensor};
use musicrl_core::rl;

use super::learn::Judged;
use crate::{Result, recipe::Baseline};

/// How advantages are made.
#[derive(Debug, Clone, Copy)]
pub struct AdvantageRule {
    /// What is taken from the return.
    pub baseline: Baseline,
    /// Clips of the same caption, side by side in the batch.
    pub clips_per_caption: usize,
    /// Whether advantages are brought to mean 0 and variance 1.
    pub whiten: bool,
    /// Clips of a batch that the policy's gradient is taken of, those with the largest advantages on either side; all of
    /// them where it is `None`.
    pub learn_clips: Option<usize>,
    /// Of generalised advantages, for a learned baseline.
    pub lambda: f64,
}

/// Device tensors of some clips of a batch.
#[derive(Clone)]
pub(super) struct Part<Q> {
    pub(super) prompt: Q,
    pub(super) frames: Tensor<3, Int>,
    pub(super) mask: Tensor<2, Bool>,
    pub(super) returns: Tensor<2>,
    pub(super) clips: Vec<usize>,
}

impl<Q> Part<Q> {
    /// Clips that have a total.
    pub(super) fn counted(&self, totals: &[Option<f64>]) -> usize {
        self.clips.iter().filter(|clip| totals[**clip].is_some()).count()
    }
}

/// The advantages of each part's actions.
pub(super) fn advantages<Q>(
    parts: &[Part<Q>],
    values: Option<&[Tensor<2>]>,
    rule: AdvantageRule,
) -> Result<Vec<Tensor<2>>> {
    // Means over the batch need the batch: the parts are joined for them and taken apart again.
    let join = |pick: &dyn Fn(&Part<Q>) -> Tensor<2>| Tensor::cat(parts.iter().map(pick).collect(), 0);
    let returns = join(&|part| part.returns.clone());
    let mask = Tensor::cat(parts.iter().map(|part| part.mask.clone()).collect(), 0);
    let mut all = match (rule.baseline, values) {
        (Baseline::Learned | Baseline::Linear, Some(values)) => {
            rl::generalised_advantages(&returns, &Tensor::cat(values.to_vec(), 0), &mask, rule.lambda)?
        }
        (Baseline::LeaveOneOut, _) => rl::leave_one_out_advantages(&returns, &mask, rule.clips_per_caption)?,
        _ => rl::batch_mean_advantages(&returns, &mask)?,
    };
    if rule.whiten {
        all = rl::whiten(&all, &mask)?;
    }
    let mut start = 0;
    Ok(parts
        .iter()
        .map(|part| {
            let range = start..start + part.clips.len();
            start = range.end;
            all.clone().slice_dim(0, range)
        })
        .collect())
}

/// Standard deviation of the counted advantages.
pub(super) fn spread<Q>(batch: &Judged<'_, Q>, advantages: &[Tensor<2>]) -> f64 {
    let actions = batch.tokens.first().map_or(1, |tokens| tokens.ids.len());
    let values: Vec<f64> = advantages
        .iter()
        .flat_map(|part| part.clone().into_data().iter::<f64>().collect::<Vec<_>>())
        .enumerate()
        .filter(|(at, _)| batch.totals.get(at / actions).is_some_and(Option::is_some))
        .map(|(_, value)| value)
        .collect();
    variance(&values).sqrt()
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count
}

/// 1 - Var(G - V) / Var(G) over the counted actions; 0 where the returns do not vary.
pub(super) fn explained_variance<Q>(parts: &[Part<Q>], values: &[Tensor<2>]) -> f64 {
    let (mut returns, mut errors) = (Vec::new(), Vec::new());
    for (part, values) in parts.iter().zip(values) {
        let read = |x: &Tensor<2>| x.clone().into_data().iter::<f64>().collect::<Vec<_>>();
        let mask: Vec<bool> = part.mask.clone().into_data().iter::<bool>().collect();
        for ((g, v), counts) in read(&part.returns).into_iter().zip(read(values)).zip(mask) {
            if counts {
                returns.push(g);
                errors.push(g - v);
            }
        }
    }
    let total = variance(&returns);
    if total > 0.0 { 1.0 - variance(&errors) / total } else { 0.0 }
}
