//! Advantages: returns less a baseline. All results are constants, without gradient, and 0 under the mask.

use alloc::format;
use burn::tensor::{Bool, Tensor};

use super::shape::{counted, not_empty, same, weights};
use crate::{Error, Result};

/// A_t = G_t - V_t: the learned baseline.
///
/// # Shapes
/// - returns, values, mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`].
pub fn value_advantages(returns: &Tensor<2>, values: &Tensor<2>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    same("values", returns.dims(), values.dims())?;
    same("mask", returns.dims(), mask.dims())?;
    Ok(counted(returns.clone().inner() - values.clone().inner().cast(returns.dtype()), mask))
}

/// A_i = G_i less the mean return of the *other* counted clips of its group at the same action (Kool et al., "Buy 4
/// REINFORCE Samples, Get a Baseline for Free!", 2019; Ahmadian et al., 2024, arXiv 2402.14740).
///
/// A group is `group_clips` clips side by side: the clips of one prompt, or the whole batch. Where a clip counts alone
/// there is no baseline and nothing to learn: 0. The advantages of a group sum to 0 at every action.
///
/// # Shapes
/// - returns, mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] unless `group_clips` divides the number of clips.
pub fn leave_one_out_advantages(returns: &Tensor<2>, mask: &Tensor<2, Bool>, group_clips: usize) -> Result<Tensor<2>> {
    let dims @ [clips, actions] = returns.dims();
    same("mask", dims, mask.dims())?;
    if group_clips == 0 || clips % group_clips != 0 {
        let expected = format!("a divisor of the {clips} clips");
        return Err(Error::Config { field: "group_clips", expected, got: format!("{group_clips}") });
    }
    let groups = [clips / group_clips, group_clips, actions];
    let returns = counted(returns.clone().inner(), mask);
    let counts = weights(mask, &returns).reshape(groups);
    let returns = returns.reshape(groups);
    let (sum, count) = (returns.clone().sum_dim(1), counts.clone().sum_dim(1));
    // G_i - (sum - G_i) / (n - 1). With n = 1 the sum is G_i itself; the second product makes it 0.
    let others = (sum - returns.clone()) / (count.clone() - 1.0).clamp_min(1.0);
    let alone = count.lower_elem(1.5).expand(groups);
    let advantages = (returns - others).mask_fill(alone, 0.0) * counts;
    Ok(advantages.reshape(dims))
}

/// A = G less the mean of all counted returns.
///
/// # Shapes
/// - returns, mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`].
pub fn batch_mean_advantages(returns: &Tensor<2>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    let (centred, _) = centre(returns, mask)?;
    Ok(centred)
}

/// (A - mean) / standard deviation over the counted entries (the population's, without Bessel's correction).
///
/// All 0 when the standard deviation is at most a millionth of the largest magnitude, which is rounding, not signal.
/// Whitening twice is whitening once.
///
/// # Shapes
/// - advantages, mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`].
pub fn whiten(advantages: &Tensor<2>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    let (centred, count) = centre(advantages, mask)?;
    let dims = centred.dims();
    let deviation = (centred.clone().square().sum() / count).sqrt();
    let largest = counted(advantages.clone().inner(), mask).abs().max();
    let flat = deviation.clone().lower_equal(largest * 1e-6);
    // 1 in place of a deviation that is none: never divide by 0.
    let scale = deviation.mask_fill(flat.clone(), 1.0).reshape([1, 1]);
    let flat = flat.reshape([1, 1]).expand(dims);
    Ok((centred / scale).mask_fill(flat, 0.0))
}

/// Values less their counted mean (0 under the mask), and the number of counted entries (at least 1).
fn centre(values: &Tensor<2>, mask: &Tensor<2, Bool>) -> Result<(Tensor<2>, Tensor<1>)> {
    let dims = values.dims();
    not_empty("advantages", dims)?;
    same("mask", dims, mask.dims())?;
    let values = counted(values.clone().inner(), mask);
    let count = weights(mask, &values).sum().clamp_min(1.0);
    let mean = (values.clone().sum() / count.clone()).reshape([1, 1]);
    Ok((counted(values - mean, mask), count))
}
