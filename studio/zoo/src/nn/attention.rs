//! Attention over heads.

use burn::tensor::{Bool, Tensor, activation::softmax};

/// The score of a position that must not be seen. Finite, so that a row in which everything is hidden stays a
/// distribution.
pub const HIDDEN: f32 = -1e30;

/// `[clips, time, heads * head_width]` to `[clips, heads, time, head_width]`.
#[must_use]
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [clips, time, width] = x.dims();
    x.reshape([clips, time, heads, width / heads.max(1)]).swap_dims(1, 2)
}

/// softmax(Q K^T + bias, hidden positions left out) V, heads side by side again; scale the queries before.
///
/// # Shapes
/// - query: `[clips, heads, time, head_width]`
/// - key, value: `[clips, heads, seen, head_width]`
/// - bias: added to the scores, broadcast to `[clips, heads, time, seen]`
/// - hidden: true where a position must not be seen, broadcast likewise
/// - output: `[clips, time, heads * head_width]`
#[must_use]
pub fn attend(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<&Tensor<4>>,
    hidden: Option<&Tensor<4, Bool>>,
) -> Tensor<3> {
    let [clips, heads, time, head_width] = query.dims();
    let seen = key.dims()[2];
    let mut scores = query.matmul(key.swap_dims(2, 3));
    if let Some(bias) = bias {
        scores = scores + bias.clone();
    }
    if let Some(hidden) = hidden {
        scores = scores.mask_fill(hidden.clone().expand([clips, heads, time, seen]), HIDDEN);
    }
    softmax(scores, 3).matmul(value).swap_dims(1, 2).reshape([clips, time, heads * head_width])
}
