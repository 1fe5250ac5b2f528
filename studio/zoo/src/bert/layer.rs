//! One layer: [`Layer`].

use burn::{
    module::Param,
    tensor::{Bool, Device, Tensor},
};

use super::Config;
use crate::{
    Result,
    checkpoint::Weights,
    nn::{Activation, LayerNorm, Linear, attend, split_heads},
};

/// Attention and a feed-forward part, each added to its input and then normalised.
#[derive(Debug)]
pub(super) struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    norm: LayerNorm,
    activation: Activation,
    heads: usize,
}

impl Layer {
    /// Reads the tensors of `encoder.layer.{i}`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub(super) fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let attention = weights.child("attention");
        let linear = |weights: &Weights<'_>, name: &str, width_in, width_out| {
            Linear::load_biased(&weights.child(name), width_in, width_out, device)
        };
        let (seen, after) = (attention.child("self"), attention.child("output"));
        Ok(Self {
            query: linear(&seen, "query", width, width)?,
            key: linear(&seen, "key", width, width)?,
            value: linear(&seen, "value", width, width)?,
            output: linear(&after, "dense", width, width)?,
            attention_norm: norm(&after, config, device)?,
            inner: linear(&weights.child("intermediate"), "dense", width, inner)?,
            outer: linear(&weights.child("output"), "dense", inner, width)?,
            norm: norm(&weights.child("output"), config, device)?,
            activation: config.activation()?,
            heads: config.num_attention_heads,
        })
    }

    /// # Shapes
    /// - x, output: `[texts, tokens, hidden_size]`
    /// - padding: `[texts, 1, 1, tokens]`, true where a token must not be seen
    pub(super) fn forward(&self, x: Tensor<3>, padding: &Tensor<4, Bool>) -> Tensor<3> {
        let heads = |linear: &Linear| split_heads(linear.forward(x.clone()), self.heads);
        let query = heads(&self.query);
        let scale = (query.dims()[3] as f32).sqrt().recip();
        let seen = attend(query.mul_scalar(scale), heads(&self.key), heads(&self.value), None, Some(padding));
        let x = self.attention_norm.forward(self.output.forward(seen) + x);
        let inner = self.activation.apply(self.inner.forward(x.clone()));
        self.norm.forward(self.outer.forward(inner) + x)
    }
}

/// Reads `LayerNorm.weight` and `.bias`, or `.gamma` and `.beta` as the oldest checkpoints call them.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor).
pub(super) fn norm(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<LayerNorm> {
    let (here, width, epsilon) = (weights.child("LayerNorm"), config.hidden_size, config.layer_norm_eps);
    if !here.has("gamma") {
        return LayerNorm::load(&here, width, epsilon, device);
    }
    let param = |name: &str| -> Result<Param<Tensor<1>>> { here.param(name, [width], device) };
    Ok(LayerNorm { weight: param("gamma")?, bias: param("beta")?, epsilon })
}
