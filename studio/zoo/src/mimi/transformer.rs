//! The transformer of either way: [`Transformer`].

use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::Config;
use crate::{
    Result,
    checkpoint::Weights,
    named::device_floats,
    nn::{Activation, LayerNorm, Linear, attend, split_heads},
};

/// Queries that are scored at a time. With a sliding window, a block sees little more than the window, so that memory
/// grows with the length and not with its square.
const QUERIES: usize = 256;

/// Layers with norms before their parts, and a learned scale on what each part adds.
#[derive(Debug)]
pub(super) struct Transformer {
    layers: Vec<Layer>,
    rotary_base: f64,
    head_width: usize,
}

#[derive(Debug)]
struct Layer {
    attention_norm: LayerNorm,
    attention: Attention,
    attention_scale: Tensor<1>,
    feed_forward_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    feed_forward_scale: Tensor<1>,
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
    key_heads: usize,
    window: usize,
}

/// Cosines and sines, `[1, 1, time, head_width]`.
struct Rotation {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Transformer {
    /// Reads `layers.{i}`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let layers = weights.child("layers");
        let layers = (0..config.num_hidden_layers).map(|i| Layer::load(&layers.child(i), config, device));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { layers, rotary_base: config.rotary_base(), head_width: config.head_width() })
    }

    /// # Shapes
    /// - x, output: `[clips, time, hidden_size]`
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let rotation = Rotation::new(x.dims()[1], self.head_width, self.rotary_base, &x.device());
        self.layers.iter().fold(x, |x, layer| layer.forward(x, &rotation))
    }
}

impl Layer {
    fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name: &str| LayerNorm::load(&weights.child(name), width, config.norm_eps, device);
        let mlp = weights.child("mlp");
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention::load(&weights.child("self_attn"), config, device)?,
            attention_scale: weights.tensor("self_attn_layer_scale.scale", [width], device)?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            inner: Linear::load(&mlp.child("fc1"), width, inner, device)?,
            outer: Linear::load(&mlp.child("fc2"), inner, width, device)?,
            feed_forward_scale: weights.tensor("mlp_layer_scale.scale", [width], device)?,
            activation: config.activation()?,
        })
    }

    fn forward(&self, x: Tensor<3>, rotation: &Rotation) -> Tensor<3> {
        let added = self.attention.forward(self.attention_norm.forward(x.clone()), rotation);
        let x = x + added * self.attention_scale.clone().unsqueeze::<3>();
        let inner = self.activation.apply(self.inner.forward(self.feed_forward_norm.forward(x.clone())));
        x + self.outer.forward(inner) * self.feed_forward_scale.clone().unsqueeze::<3>()
    }
}

impl Attention {
    fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let (heads, key_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let (width, head_width) = (config.hidden_size, config.head_width());
        let linear = |name: &str, width_in, width_out| {
            let weights = weights.child(name);
            if config.attention_bias {
                Linear::load_biased(&weights, width_in, width_out, device)
            } else {
                Linear::load(&weights, width_in, width_out, device)
            }
        };
        Ok(Self {
            query: linear("q_proj", width, heads * head_width)?,
            key: linear("k_proj", width, key_heads * head_width)?,
            value: linear("v_proj", width, key_heads * head_width)?,
            output: linear("o_proj", heads * head_width, width)?,
            heads,
            key_heads,
            window: config.sliding_window,
        })
    }

    fn forward(&self, x: Tensor<3>, rotation: &Rotation) -> Tensor<3> {
        let query = rotation.apply(split_heads(self.query.forward(x.clone()), self.heads));
        let head_width = query.dims()[3];
        let query = query.mul_scalar((head_width as f32).sqrt().recip());
        let key = self.shared(rotation.apply(split_heads(self.key.forward(x.clone()), self.key_heads)));
        let value = self.shared(split_heads(self.value.forward(x), self.key_heads));
        self.output.forward(windowed(&query, &key, &value, self.window, QUERIES))
    }

    /// Repeats heads of keys or values: head h of the queries uses head h / (heads / key_heads).
    fn shared(&self, x: Tensor<4>) -> Tensor<4> {
        let times = self.heads / self.key_heads;
        if times == 1 {
            return x;
        }
        let [clips, key_heads, time, head_width] = x.dims();
        let x = x.reshape([clips, key_heads, 1, time, head_width]).repeat_dim(2, times);
        x.reshape([clips, key_heads * times, time, head_width])
    }
}

/// Attention in which a query sees the `window` keys up to its own time, `block` queries at a time.
///
/// # Shapes
/// - query, key, value: `[clips, heads, time, head_width]`
/// - output: `[clips, time, heads * head_width]`
fn windowed(query: &Tensor<4>, key: &Tensor<4>, value: &Tensor<4>, window: usize, block: usize) -> Tensor<3> {
    let time = query.dims()[2];
    let blocks = (0..time).step_by(block).map(|first| {
        let last = (first + block).min(time);
        let seen_first = (first + 1).saturating_sub(window);
        let seen = |x: &Tensor<4>| x.clone().narrow(2, seen_first, last - seen_first);
        let hidden = hidden([first, last], seen_first, window, &query.device());
        attend(query.clone().narrow(2, first, last - first), seen(key), seen(value), None, Some(&hidden))
    });
    Tensor::cat(blocks.collect(), 1)
}

/// What queries `first..last` must not see of the keys `seen_first..last`: a query sees `window` keys, the last of them
/// at its own time.
///
/// # Shapes
/// - output: `[1, 1, last - first, last - seen_first]`
fn hidden([first, last]: [usize; 2], seen_first: usize, window: usize, device: &Device) -> Tensor<4, Bool> {
    let row = |query: usize| (seen_first..last).map(move |key| key > query || query - key >= window);
    let values: Vec<bool> = (first..last).flat_map(row).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, last - first, last - seen_first]), device)
}

impl Rotation {
    /// Angles p / base^(2i / head_width) of position p and pair i, in 32-bit floats like the reference: at position
    /// 8000, wider floats would differ by a thousandth.
    fn new(time: usize, head_width: usize, base: f64, device: &Device) -> Self {
        let pairs = head_width / 2;
        let exponent = |pair: usize| (2 * pair) as f32 / head_width as f32;
        let rate = |pair: usize| 1.0 / (base.powf(f64::from(exponent(pair))) as f32);
        let rates: Vec<f32> = (0..pairs).map(rate).collect();
        // Both halves of a head have the same angles.
        let angles = (0..time).flat_map(|p| rates.iter().chain(&rates).map(move |rate| p as f32 * rate));
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for angle in angles {
            let (s, c) = f64::from(angle).sin_cos();
            cos.push(c as f32);
            sin.push(s as f32);
        }
        let table = |values: &[f32]| device_floats(values, [1, 1, time, 2 * pairs], device);
        Self { cos: table(&cos), sin: table(&sin) }
    }

    /// Turns pair (i, i + head_width / 2), not (2i, 2i + 1) (Su et al., "RoFormer", 2021, in the order of later models).
    ///
    /// # Shapes
    /// - x, output: `[clips, heads, time, head_width]`
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let turned = Tensor::cat(vec![x.clone().narrow(3, half, half).neg(), x.clone().narrow(3, 0, half)], 3);
        x * self.cos.clone() + turned * self.sin.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named::host;

    #[test]
    fn blocks_of_queries_change_nothing() {
        let tensor = |seed: usize| {
            let values: Vec<f32> =
                (0..2 * 3 * 17 * 4).map(|i| ((i * 37 + seed * 11) % 29) as f32 / 7.0 - 2.0).collect();
            device_floats(&values, [2, 3, 17, 4], &Device::flex())
        };
        let [query, key, value] = [tensor(1), tensor(2), tensor(3)];
        for window in [1, 4, 5, 17, 1 << 30] {
            let whole = host(windowed(&query, &key, &value, window, 17)).unwrap();
            for block in [1, 4, 6, 100] {
                let parts = host(windowed(&query, &key, &value, window, block)).unwrap();
                let largest = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(largest < 1e-5, "window {window}, block {block}: {largest}");
            }
        }
    }

    #[test]
    fn a_window_holds_the_position_itself() {
        let seen = |first, last, seen_first, window| -> Vec<u8> {
            let data = hidden([first, last], seen_first, window, &Device::flex()).into_data();
            data.iter::<bool>().map(|hidden| u8::from(!hidden)).collect()
        };
        assert_eq!(seen(0, 3, 0, 2), [1, 0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(seen(0, 3, 0, 1), [1, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(seen(0, 2, 0, usize::MAX), [1, 0, 1, 1]);
        assert_eq!(seen(2, 4, 1, 2), [1, 1, 0, 0, 1, 1]);
    }
}
