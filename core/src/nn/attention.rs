//! Multi-head attention of a sequence to itself: [`SelfAttention`].

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation::softmax},
};

#[cfg(feature = "flex")]
use super::mixing::mix;
use super::{Linear, Rotary, TransformerConfig, transformer::causal_bias};

/// Added to the score of a position that must not be seen: `exp` of it is exactly 0, and a row in which everything is
/// hidden stays finite.
pub(super) const HIDDEN: f32 = -1e9;

/// Which positions a position looks at.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one a forward pass, lent to all layers")]
pub enum Visible {
    /// All of them.
    All,
    /// Itself and those before it.
    Earlier,
    /// As this says, which is added to the scores: broadcast to `[clips, heads, time, time]`.
    Biased(Tensor<4>),
}

/// Queries, keys and values by four matrices; rotary positions.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[width, width]`.
    pub query: Linear,
    /// `[width, width]`.
    pub key: Linear,
    /// `[width, width]`.
    pub value: Linear,
    /// `[width, width]`.
    pub output: Linear,
    heads: usize,
}

/// One layer's past: keys (turned to their positions) and values, `[clips, heads, time_max, head_width]` each.
///
/// The tensors are taken out while they are written, so that they have one owner and are changed in place.
#[derive(Debug, Clone, Default)]
pub struct KeyValue {
    key: Option<Tensor<4>>,
    value: Option<Tensor<4>>,
}

impl KeyValue {
    pub(super) fn new(dims: [usize; 4], device: &Device) -> Self {
        Self { key: Some(Tensor::zeros(dims, device)), value: Some(Tensor::zeros(dims, device)) }
    }
}

/// Writes `new` at `start` along time and gives the filled part.
fn write(slot: &mut Option<Tensor<4>>, new: Tensor<4>, start: usize) -> Tensor<4> {
    let [clips, heads, time, head_width] = new.dims();
    let all = match slot.take() {
        Some(all) => all.slice_assign([0..clips, 0..heads, start..start + time, 0..head_width], new),
        None => new,
    };
    slot.insert(all).clone().narrow(2, 0, start + time)
}

impl SelfAttention {
    pub(super) fn new(config: &TransformerConfig, device: &Device) -> Self {
        let square = || Linear::zeros(config.width, config.width, device);
        Self { query: square(), key: square(), value: square(), output: square(), heads: config.heads }
    }

    /// # Shapes
    /// - x, output: `[clips, time, width]`
    pub fn forward(&self, x: Tensor<3>, rotary: &Rotary, visible: &Visible) -> Tensor<3> {
        let query = rotary.query(self.query.forward(x.clone()));
        let key = rotary.key(self.key.forward(x.clone()));
        let value = self.value.forward(x);
        #[cfg(feature = "flex")]
        if !matches!(visible, Visible::Biased(_))
            && let Some(mixed) = mix(&query, &key, &value, self.heads, matches!(visible, Visible::Earlier))
        {
            return self.output.forward(mixed);
        }
        let bias = match visible {
            Visible::All => None,
            Visible::Earlier => Some(causal_bias(0, query.dims()[1], &query.device())),
            Visible::Biased(bias) => Some(bias.clone()),
        };
        self.attend(self.split(query), self.split(key), self.split(value), bias)
    }

    /// The same for positions that follow those in `past`, which grows by them.
    ///
    /// # Shapes
    /// - x, output: `[clips, time, width]`
    /// - bias: added to the scores, broadcast to `[clips, heads, time, start + time]`
    pub fn step(
        &self,
        x: Tensor<3>,
        rotary: &Rotary,
        bias: Option<Tensor<4>>,
        past: &mut KeyValue,
        start: usize,
    ) -> Tensor<3> {
        let query = self.split(rotary.query(self.query.forward(x.clone())));
        let key = write(&mut past.key, self.split(rotary.key(self.key.forward(x.clone()))), start);
        let value = write(&mut past.value, self.split(self.value.forward(x)), start);
        self.attend(query, key, value, bias)
    }

    /// `[clips, time, width]` to `[clips, heads, time, head_width]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [clips, time, width] = x.dims();
        x.reshape([clips, time, self.heads, width / self.heads]).swap_dims(1, 2)
    }

    fn attend(&self, query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<3> {
        let [clips, heads, time, head_width] = query.dims();
        let scores = query.matmul(key.swap_dims(2, 3));
        let scores = match bias {
            Some(bias) => scores + bias,
            None => scores,
        };
        let mixed = softmax(scores, 3).matmul(value);
        self.output.forward(mixed.swap_dims(1, 2).reshape([clips, time, heads * head_width]))
    }
}
