//! Blocks of attention and feed-forward on a residual stream: [`Transformer`].

use alloc::{vec, vec::Vec};
use burn::{
    module::Module,
    tensor::{Bool, Device, Tensor, TensorData},
};

use super::{
    Attention, FeedForwardLayer, KeyValue, RmsNorm, Rotary, SelfAttention, TransformerConfig, Visible,
    attention::HIDDEN, mixing::has_kernel,
};

/// One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub attention_norm: RmsNorm,
    /// Mixes positions.
    pub attention: SelfAttention,
    /// Before the feed-forward layer.
    pub feed_forward_norm: RmsNorm,
    /// Mixes channels.
    pub feed_forward: FeedForwardLayer,
}

/// Pre-norm transformer with rotary positions, no biases, and a last norm.
///
/// Weights are zero after [`TransformerConfig::init`]; [`reinitialise`](crate::params::reinitialise) gives them first
/// values.
#[derive(Module, Debug)]
pub struct Transformer {
    /// The layers in order.
    pub blocks: Vec<Block>,
    /// After the last layer.
    pub norm: RmsNorm,
    heads: usize,
    width: usize,
    causal: bool,
}

/// What the positions so far left behind, for [`Transformer::step`]. Preallocated and written in place.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<KeyValue>,
    rotary: Rotary,
    time: usize,
    time_max: usize,
}

impl Cache {
    /// Number of positions so far.
    #[must_use]
    pub fn time(&self) -> usize {
        self.time
    }

    /// Number of positions that fit.
    #[must_use]
    pub fn time_max(&self) -> usize {
        self.time_max
    }

    /// Forgets all positions and keeps the memory.
    pub fn clear(&mut self) {
        // What lies behind `time` is never read.
        self.time = 0;
    }
}

impl TransformerConfig {
    /// Makes the transformer, with zero weights, for settings that [`validate`](Self::validate) accepts.
    ///
    /// # Panics
    /// For zero heads.
    #[must_use]
    pub fn init(&self, device: &Device) -> Transformer {
        let block = || Block {
            attention_norm: RmsNorm::new(self.width, device),
            attention: SelfAttention::new(self, device),
            feed_forward_norm: RmsNorm::new(self.width, device),
            feed_forward: FeedForwardLayer::new(self, device),
        };
        Transformer {
            blocks: (0..self.layers).map(|_| block()).collect(),
            norm: RmsNorm::new(self.width, device),
            heads: self.heads,
            width: self.width,
            causal: self.attention == Attention::Causal,
        }
    }
}

impl Transformer {
    /// All positions at once.
    ///
    /// # Shapes
    /// - x, output: `[clips, time, width]`
    /// - key_mask: `[clips, time]`, true where a position may be looked at; all may be without one
    pub fn forward(&self, x: Tensor<3>, key_mask: Option<Tensor<2, Bool>>) -> Tensor<3> {
        let [clips, time, _] = x.dims();
        let device = x.device();
        let rotary = Rotary::new(time, self.heads, self.width / self.heads, &device);
        let visible = match (key_mask, self.causal) {
            (Some(mask), causal) => {
                let hidden = mask.bool_not().float().mul_scalar(HIDDEN).reshape([clips, 1, 1, time]);
                Visible::Biased(if causal { causal_bias(0, time, &device) + hidden } else { hidden })
            }
            // Elsewhere a mask is made once for all layers.
            (None, true) if !has_kernel(&device) => Visible::Biased(causal_bias(0, time, &device)),
            (None, true) => Visible::Earlier,
            (None, false) => Visible::All,
        };
        let run = |x: Tensor<3>, block: &Block| {
            let x = x.clone() + block.attention.forward(block.attention_norm.forward(x), &rotary, &visible);
            x.clone() + block.feed_forward.forward(block.feed_forward_norm.forward(x))
        };
        self.norm.forward(self.blocks.iter().fold(x, run))
    }

    /// Memory for `time_max` positions of `clips` sequences.
    #[must_use]
    pub fn cache(&self, clips: usize, time_max: usize, device: &Device) -> Cache {
        let head_width = self.width / self.heads;
        let layer = || KeyValue::new([clips, self.heads, time_max, head_width], device);
        Cache {
            layers: self.blocks.iter().map(|_| layer()).collect(),
            rotary: Rotary::new(time_max, self.heads, head_width, device),
            time: 0,
            time_max,
        }
    }

    /// The next positions, one or several; the same numbers as [`forward`](Self::forward) gives a causal transformer
    /// at those positions.
    ///
    /// # Shapes
    /// - x, output: `[clips, time, width]`
    ///
    /// # Panics
    /// When the cache is full, or was made for another number of clips.
    pub fn step(&self, x: Tensor<3>, cache: &mut Cache) -> Tensor<3> {
        let [_, time, _] = x.dims();
        let start = cache.time;
        assert!(start + time <= cache.time_max, "{start} + {time} positions in a cache of {}", cache.time_max);
        let rotary = cache.rotary.positions(start, time);
        let bias = (time > 1).then(|| causal_bias(start, time, &x.device()));
        let run = |x: Tensor<3>, (block, past): (&Block, &mut KeyValue)| {
            let normed = block.attention_norm.forward(x.clone());
            let x = x + block.attention.step(normed, &rotary, bias.clone(), past, start);
            x.clone() + block.feed_forward.forward(block.feed_forward_norm.forward(x))
        };
        let y = self.blocks.iter().zip(&mut cache.layers).fold(x, run);
        cache.time += time;
        self.norm.forward(y)
    }
}

/// Hides the positions that come later: `[1, 1, time, start + time]`.
pub(super) fn causal_bias(start: usize, time: usize, device: &Device) -> Tensor<4> {
    let keys = start + time;
    let mut values = vec![0.0; time * keys];
    for (t, row) in values.chunks_mut(keys.max(1)).enumerate() {
        row[start + t + 1..].fill(HIDDEN);
    }
    Tensor::from_data(TensorData::new(values, [1, 1, time, keys]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nn::FeedForward,
        params::reinitialise,
        random::{Key, Purpose},
    };

    fn transformer(attention: Attention, feed_forward: FeedForward) -> Transformer {
        let config = TransformerConfig { width: 12, layers: 2, heads: 2, ff_width: 20, feed_forward, attention };
        reinitialise(config.init(&Device::flex()), Key::new(3, Purpose::Init))
    }

    fn input(clips: usize, time: usize, seed: u64) -> Tensor<3> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        let values: Vec<f32> = (0..clips * time * 12).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, [clips, time, 12]), &Device::flex())
    }

    fn difference(a: Tensor<3>, b: Tensor<3>) -> f32 {
        assert_eq!(a.dims(), b.dims());
        (a - b).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn steps_of_any_size_agree_with_all_at_once() {
        for feed_forward in [FeedForward::Gelu, FeedForward::SwiGlu] {
            let transformer = transformer(Attention::Causal, feed_forward);
            let x = input(3, 7, 1);
            let whole = transformer.forward(x.clone(), None);
            let mut cache = transformer.cache(3, 7, &Device::flex());
            for pass in 0..2 {
                for (start, time) in [(0, 3), (3, 1), (4, 2), (6, 1)] {
                    let y = transformer.step(x.clone().narrow(1, start, time), &mut cache);
                    assert!(difference(y, whole.clone().narrow(1, start, time)) < 1e-5, "pass {pass}, start {start}");
                }
                assert_eq!(cache.time(), cache.time_max());
                cache.clear();
            }
        }
    }

    #[test]
    fn a_causal_transformer_does_not_see_the_future_and_a_bidirectional_one_does() {
        let x = input(1, 5, 1);
        let changed = Tensor::cat(vec![x.clone().narrow(1, 0, 4), input(1, 1, 2)], 1);
        let first = |y: Tensor<3>| y.narrow(1, 0, 4);
        for (attention, sees) in [(Attention::Causal, false), (Attention::Bidirectional, true)] {
            let transformer = transformer(attention, FeedForward::Gelu);
            let a = first(transformer.forward(x.clone(), None));
            let b = first(transformer.forward(changed.clone(), None));
            assert_eq!(difference(a, b) > 1e-4, sees, "{attention:?}");
        }
    }

    #[test]
    fn masked_keys_do_not_matter_and_a_row_without_keys_is_finite() {
        let transformer = transformer(Attention::Bidirectional, FeedForward::SwiGlu);
        let x = input(2, 5, 1);
        let changed = Tensor::cat(vec![x.clone().narrow(1, 0, 3), input(2, 2, 2)], 1);
        let mask = |mask: [bool; 10]| {
            Some(Tensor::<2, Bool>::from_data(TensorData::new(mask.to_vec(), [2, 5]), &Device::flex()))
        };
        let three = [true, true, true, false, false, true, true, true, false, false];
        let a = transformer.forward(x.clone(), mask(three)).narrow(1, 0, 3);
        let b = transformer.forward(changed, mask(three)).narrow(1, 0, 3);
        assert!(difference(a, b) < 1e-6);
        let none = transformer.forward(x, mask([false; 10])).abs().max().into_scalar::<f32>();
        assert!(none.is_finite());
    }
}
