//! Between frames and delayed steps, as tensors.
//!
//! Column 0 of the delayed matrix D is all pad; codebook k of frame t stands in column `1 + t + delay(k)`. The model reads
//! all columns but the last; what it says at step s is about column s + 1, so the vector of an action (t, k) lies at
//! step `t + delay(k)`.

use burn::tensor::{Int, Tensor};

/// The columns that the model reads: for each codebook `[clips, frames + delay_max]`.
///
/// # Shapes
/// - frames: `[clips, frames, codebooks]`
pub(super) fn columns(frames: &Tensor<3, Int>, delays: &[usize], pad: u32) -> Vec<Tensor<2, Int>> {
    let [clips, time, _] = frames.dims();
    let most = delays.iter().copied().max().unwrap_or(0);
    let padding = |steps: usize| Tensor::<2, Int>::full([clips, steps], i64::from(pad), &frames.device());
    let column = |(k, delay): (usize, &usize)| {
        let ids = frames.clone().narrow(2, k, 1).reshape([clips, time]);
        // The last delayed tokens of the latest codebooks are targets alone: with the pad in front they fall off.
        let all = Tensor::cat(vec![padding(delay + 1), ids, padding(most - delay)], 1);
        all.narrow(1, 0, time + most)
    };
    delays.iter().enumerate().map(column).collect()
}

/// The vectors of all actions.
///
/// # Shapes
/// - hidden: `[clips, frames + delay_max, width]`
/// - output: `[clips, frames, codebooks, width]`
pub(super) fn actions(hidden: &Tensor<3>, delays: &[usize], frames: usize) -> Tensor<4> {
    let parts = delays.iter().map(|delay| hidden.clone().narrow(1, *delay, frames)).collect();
    Tensor::stack(parts, 2)
}
