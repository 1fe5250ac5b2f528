//! From a clip's reward to a return for each action.

use burn::tensor::{Bool, Tensor};

use super::shape::{counted, same, weights};
use crate::Result;

/// Puts each clip's reward at its last counted action: the reward of a whole sequence arrives at its end.
///
/// # Shapes
/// - rewards: `[clips]`
/// - mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape).
pub fn rewards_at_end(rewards: &Tensor<1>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    let [clips, actions] = mask.dims();
    same("rewards", [clips], rewards.dims())?;
    let rewards = rewards.clone().inner().reshape([clips, 1]).expand([clips, actions]);
    // Counted from the end, the last counted action is the first.
    let counted_here = weights(mask, &rewards);
    let counted_from_here = counted_here.flip([1]).cumsum(1).flip([1]);
    let last = counted_from_here.greater_elem(0.5).bool_and(mask.clone());
    let later = weights(mask, &rewards).flip([1]).cumsum(1).flip([1]).greater_elem(1.5);
    Ok(rewards.mask_fill(last.bool_not().bool_or(later), 0.0))
}

/// G_t = r_t + G_{t+1}: rewards at actions [t, S), undiscounted; masked rewards are 0.
///
/// # Shapes
/// - rewards, mask, result: `[clips, actions]`
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape).
pub fn returns_to_go(rewards: &Tensor<2>, mask: &Tensor<2, Bool>) -> Result<Tensor<2>> {
    same("mask", rewards.dims(), mask.dims())?;
    Ok(counted(rewards.clone().inner(), mask).flip([1]).cumsum(1).flip([1]))
}
