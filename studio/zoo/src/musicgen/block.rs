//! A block of the decoder: [`Block`].

use burn::{
    module::Module,
    tensor::{Bool, Device, Tensor},
};

use super::DecoderConfig;
use crate::{
    Result,
    checkpoint::Weights,
    nn::{Activation, LayerNorm, Linear, attend, split_heads},
};

/// Epsilon of all norms.
const EPSILON: f64 = 1e-5;

/// Four matrices without bias.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[width, width]`
    pub query: Linear,
    /// `[width, width]`
    pub key: Linear,
    /// `[width, width]`
    pub value: Linear,
    /// `[width, width]`
    pub output: Linear,
}

/// Self-attention, cross-attention to the text, feed-forward; a norm before each.
#[derive(Module, Debug)]
pub struct Block {
    /// Before self-attention.
    pub own_norm: LayerNorm,
    /// To the steps so far.
    pub own: Attention,
    /// Before cross-attention.
    pub cross_norm: LayerNorm,
    /// To the text.
    pub cross: Attention,
    /// Before the feed-forward layers.
    pub feed_forward_norm: LayerNorm,
    /// `[width, ffn_dim]`
    pub inner: Linear,
    /// `[ffn_dim, width]`
    pub outer: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    activation: Activation,
}

impl Attention {
    fn load(weights: &Weights<'_>, width: usize, device: &Device) -> Result<Self> {
        let square = |name: &str| Linear::load(&weights.child(name), width, width, device);
        Ok(Self {
            query: square("q_proj")?,
            key: square("k_proj")?,
            value: square("v_proj")?,
            output: square("out_proj")?,
        })
    }

    /// # Shapes
    /// - x: `[clips, steps, width]`
    /// - seen: `[clips, positions, width]`
    /// - hidden: true where a position must not be seen, broadcast to `[clips, heads, steps, positions]`
    fn forward(&self, x: Tensor<3>, seen: Tensor<3>, heads: usize, hidden: &Tensor<4, Bool>) -> Tensor<3> {
        let head_width = x.dims()[2] / heads;
        let query = self.query.forward(x).mul_scalar((head_width as f64).powf(-0.5));
        let key = split_heads(self.key.forward(seen.clone()), heads);
        let value = split_heads(self.value.forward(seen), heads);
        self.output.forward(attend(split_heads(query, heads), key, value, None, Some(hidden)))
    }

    /// All matrices, with the names that checkpoints give them.
    pub fn linears(&self) -> [(&'static str, &Linear); 4] {
        [("q_proj", &self.query), ("k_proj", &self.key), ("v_proj", &self.value), ("out_proj", &self.output)]
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.query, &mut self.key, &mut self.value, &mut self.output]
    }
}

impl Block {
    pub(super) fn load(config: &DecoderConfig, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let width = config.hidden_size;
        let norm = |name: &str| LayerNorm::load(&weights.child(name), width, EPSILON, device);
        Ok(Self {
            own_norm: norm("self_attn_layer_norm")?,
            own: Attention::load(&weights.child("self_attn"), width, device)?,
            cross_norm: norm("encoder_attn_layer_norm")?,
            cross: Attention::load(&weights.child("encoder_attn"), width, device)?,
            feed_forward_norm: norm("final_layer_norm")?,
            inner: Linear::load(&weights.child("fc1"), width, config.ffn_dim, device)?,
            outer: Linear::load(&weights.child("fc2"), config.ffn_dim, width, device)?,
            heads: config.num_attention_heads,
            activation: config.activation()?,
        })
    }

    /// # Shapes
    /// - x, output: `[clips, steps, width]`
    /// - text: `[clips, tokens, width]`
    /// - future: true where a step lies ahead, `[1, 1, steps, steps]`
    /// - padding: true where a token does not count, `[clips, 1, 1, tokens]`
    #[must_use]
    pub fn forward(
        &self,
        x: Tensor<3>,
        text: &Tensor<3>,
        future: &Tensor<4, Bool>,
        padding: &Tensor<4, Bool>,
    ) -> Tensor<3> {
        let normed = self.own_norm.forward(x.clone());
        let x = x + self.own.forward(normed.clone(), normed, self.heads, future);
        let normed = self.cross_norm.forward(x.clone());
        let x = x + self.cross.forward(normed, text.clone(), self.heads, padding);
        let inner = self.activation.apply(self.inner.forward(self.feed_forward_norm.forward(x.clone())));
        x + self.outer.forward(inner)
    }

    /// Heads of its attentions.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Activation of its feed-forward layers.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// All matrices, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.own.linears_mut().into_iter().chain(self.cross.linears_mut()).chain([&mut self.inner, &mut self.outer])
    }
}

pub(super) fn final_norm(config: &DecoderConfig, weights: &Weights<'_>, device: &Device) -> Result<LayerNorm> {
    LayerNorm::load(weights, config.hidden_size, EPSILON, device)
}
