//! Advantages: returns less a baseline. All results are constants, without gradient, and 0 under the mask.

use alloc::{format, vec, vec::Vec};
use burn::tensor::{Bool, Tensor, TensorData};

use super::shape::{counted, not_empty, read_mask, same, weights};
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

/// Generalised advantage estimation (Schulman et al., arXiv 1506.02438), undiscounted:
///
/// A_t = sum_{k >= 0} lambda^k delta_{t+k},   delta_t = r_t + V_{t+1} - V_t,
///
/// over the counted actions of a clip, with r_t = G_t - G_{t+1} and V = 0 behind the last. lambda = 1 is
/// [`value_advantages`]: unbiased, with the noise of everything that comes after an action. A smaller one asks the values
/// what an action has changed: less noise, and a bias where the values are wrong.
///
/// # Shapes
/// - returns, values, mask, result: `[clips, actions]`, actions in the order in which they were chosen
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for a lambda outside [0, 1].
pub fn generalised_advantages(
    returns: &Tensor<2>,
    values: &Tensor<2>,
    mask: &Tensor<2, Bool>,
    lambda: f64,
) -> Result<Tensor<2>> {
    let dims @ [_, actions] = returns.dims();
    same("values", dims, values.dims())?;
    same("mask", dims, mask.dims())?;
    if !(0.0..=1.0).contains(&lambda) {
        return Err(Error::Config { field: "lambda", expected: "0 to 1".into(), got: format!("{lambda}") });
    }
    let read = |x: &Tensor<2>| x.clone().inner().into_data().iter::<f64>().collect::<Vec<_>>();
    let (returns_read, values_read, counts) = (read(returns), read(values), read_mask(mask));
    let mut advantages = vec![0.0_f64; returns_read.len()];
    for clip in (0..advantages.len()).step_by(actions.max(1)) {
        // Return, value and advantage of the next counted action.
        let mut next = (0.0, 0.0, 0.0);
        for at in (clip..clip + actions).rev().filter(|at| counts[*at]) {
            let (g, v) = (returns_read[at], values_read[at]);
            let advantage = (g - next.0) + next.1 - v + lambda * next.2;
            advantages[at] = advantage;
            next = (g, v, advantage);
        }
    }
    let device = returns.clone().inner().device();
    Ok(Tensor::from_data(TensorData::new(advantages, dims), (&device, returns.dtype())))
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
