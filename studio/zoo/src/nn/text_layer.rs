//! A layer of BERT and RoBERTa: [`TextLayer`].

use burn::tensor::{Bool, Device, Tensor};

use super::{Activation, LayerNorm, Linear, attend, split_heads};
use crate::{Result, checkpoint::Weights};

/// Extents of a layer.
#[derive(Debug, Clone, Copy)]
pub struct TextLayerSizes {
    /// Width of the hidden states.
    pub width: usize,
    /// Width inside the feed-forward part.
    pub inner: usize,
    /// Heads; divides the width.
    pub heads: usize,
    /// Added to the variance in norms.
    pub epsilon: f64,
    /// Activation of the feed-forward part.
    pub activation: Activation,
}

/// Attention and a feed-forward part, each added to its input and then normalised (Devlin et al., "BERT", 2019).
#[derive(Debug)]
pub struct TextLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    norm: LayerNorm,
    sizes: TextLayerSizes,
}

impl TextLayer {
    /// Reads the tensors of `encoder.layer.{i}`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load(weights: &Weights<'_>, sizes: TextLayerSizes, device: &Device) -> Result<Self> {
        let TextLayerSizes { width, inner, epsilon, .. } = sizes;
        let attention = weights.child("attention");
        let square = |name: &str| Linear::load_biased(&attention.child(name), width, width, device);
        let norm = |weights: &Weights<'_>| LayerNorm::load_either(&weights.child("LayerNorm"), width, epsilon, device);
        Ok(Self {
            query: square("self.query")?,
            key: square("self.key")?,
            value: square("self.value")?,
            output: square("output.dense")?,
            attention_norm: norm(&attention.child("output"))?,
            inner: Linear::load_biased(&weights.child("intermediate.dense"), width, inner, device)?,
            outer: Linear::load_biased(&weights.child("output.dense"), inner, width, device)?,
            norm: norm(&weights.child("output"))?,
            sizes,
        })
    }

    /// # Shapes
    /// - x, output: `[texts, tokens, width]`
    /// - padding: `[texts, 1, 1, tokens]`, true where a token must not be seen
    #[must_use]
    pub fn forward(&self, x: Tensor<3>, padding: &Tensor<4, Bool>) -> Tensor<3> {
        let heads = |linear: &Linear| split_heads(linear.forward(x.clone()), self.sizes.heads);
        let query = heads(&self.query);
        let scale = (query.dims()[3] as f64).powf(-0.5);
        let seen = attend(query.mul_scalar(scale), heads(&self.key), heads(&self.value), None, Some(padding));
        let x = self.attention_norm.forward(self.output.forward(seen) + x);
        let inner = self.sizes.activation.apply(self.inner.forward(x.clone()));
        self.norm.forward(self.outer.forward(inner) + x)
    }
}
