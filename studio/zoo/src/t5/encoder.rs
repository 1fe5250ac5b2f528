//! The encoder: [`T5Encoder`].

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::{Config, bucket};
use crate::{
    Error, Result,
    checkpoint::Weights,
    named::{device_floats, device_ids},
    nn::{Activation, Linear, attend, split_heads},
};

/// Longest text in tokens: scores take the square of it.
const TOKENS_MAX: usize = 4096;

/// The encoder, frozen.
#[derive(Debug)]
pub struct T5Encoder {
    /// `[vocab_size, d_model]`.
    embedding: Tensor<2>,
    /// `buckets * heads` values, bucket after bucket.
    bias: Vec<f32>,
    blocks: Vec<Block>,
    norm: RmsNorm,
    config: Config,
}

#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    feed_forward_norm: RmsNorm,
    inner: Linear,
    gate: Option<Linear>,
    outer: Linear,
    activation: Activation,
}

/// `y = x / sqrt(mean(x^2) + epsilon) * gain`: no mean is taken away, no bias added.
#[derive(Debug)]
struct RmsNorm {
    gain: Tensor<1>,
    epsilon: f64,
}

impl RmsNorm {
    fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        Ok(Self { gain: weights.tensor("weight", [config.d_model], device)?, epsilon: config.layer_norm_epsilon })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let scale = (x.clone() * x.clone()).mean_dim(2).add_scalar(self.epsilon).sqrt().recip();
        x * scale * self.gain.clone().unsqueeze::<3>()
    }
}

impl T5Encoder {
    /// Takes its tensors from `weights`, those of the text encoder (`shared.weight`, `encoder.block...`).
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`].
    pub fn load(config: Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let encoder = weights.child("encoder");
        // Tied: a file may hold either name, or both.
        let (source, tied) = (weights.child("shared"), encoder.child("embed_tokens"));
        let dims = [config.vocab_size, config.d_model];
        let embedding = if source.has("weight") || !tied.has("weight") { &source } else { &tied };
        let embedding = embedding.tensor("weight", dims, device)?;
        let same = tied.name("weight");
        weights.checkpoint().pass_over(|name| name == same);

        let first = encoder.child("block.0.layer.0.SelfAttention.relative_attention_bias");
        let bias = first.floats("weight", &[config.relative_attention_num_buckets, config.num_heads])?;
        let blocks = (0..config.num_layers)
            .map(|index| Block::load(&config, &encoder.child("block").child(index), device))
            .collect::<Result<_>>()?;
        let norm = RmsNorm::load(&encoder.child("final_layer_norm"), &config, device)?;
        Ok(Self { embedding, bias, blocks, norm, config })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The hidden states. Positions under the mask have states too, of no meaning.
    ///
    /// # Shapes
    /// - ids: `texts * tokens`, text after text
    /// - mask: the same, 1 where a token counts
    /// - output: `[texts, tokens, d_model]`
    ///
    /// # Errors
    /// [`Error::Input`] for ids outside the vocabulary, or lengths that disagree.
    pub fn forward(&self, ids: &[u32], mask: &[bool], [texts, tokens]: [usize; 2]) -> Result<Tensor<3>> {
        let count = texts.checked_mul(tokens).filter(|count| *count > 0 && tokens <= TOKENS_MAX);
        if count != Some(ids.len()) || mask.len() != ids.len() {
            let got = format!("{} ids and {} mask values for [{texts}, {tokens}]", ids.len(), mask.len());
            return Err(Error::input("a text", format!("1 to {TOKENS_MAX} tokens with a mask"), got));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.config.vocab_size) {
            return Err(Error::input("a text", format!("ids below {}", self.config.vocab_size), id));
        }
        let device = self.embedding.device();
        let rows: Tensor<1, Int> = device_ids(ids, [texts * tokens], &device);
        let mut x = self.embedding.clone().select(0, rows).reshape([texts, tokens, self.config.d_model]);
        let bias = self.bias(tokens, &device);
        let hidden: Vec<bool> = mask.iter().map(|counts| !counts).collect();
        let hidden = Tensor::<4, Bool>::from_data(TensorData::new(hidden, [texts, 1, 1, tokens]), &device);
        for block in &self.blocks {
            x = block.forward(x, self.config.num_heads, &bias, &hidden);
        }
        Ok(self.norm.forward(x))
    }

    /// `[1, heads, tokens, tokens]`.
    fn bias(&self, tokens: usize, device: &Device) -> Tensor<4> {
        let heads = self.config.num_heads;
        let (buckets, most) = (self.config.relative_attention_num_buckets, self.config.relative_attention_max_distance);
        let mut values = Vec::with_capacity(heads * tokens * tokens);
        for head in 0..heads {
            for query in 0..tokens {
                values.extend((0..tokens).map(|key| {
                    let relative = key as i64 - query as i64;
                    self.bias[bucket(relative, buckets, most) * heads + head]
                }));
            }
        }
        device_floats(&values, [1, heads, tokens, tokens], device)
    }
}

impl Block {
    fn load(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let inner_width = config.num_heads.saturating_mul(config.d_kv);
        let attention = weights.child("layer.0.SelfAttention");
        let feed_forward = weights.child("layer.1.DenseReluDense");
        let (activation, gated) = config.feed_forward()?;
        let to_heads = |name| Linear::load(&attention.child(name), config.d_model, inner_width, device);
        let to_inner = |name| Linear::load(&feed_forward.child(name), config.d_model, config.d_ff, device);
        Ok(Self {
            attention_norm: RmsNorm::load(&weights.child("layer.0.layer_norm"), config, device)?,
            query: to_heads("q")?,
            key: to_heads("k")?,
            value: to_heads("v")?,
            output: Linear::load(&attention.child("o"), inner_width, config.d_model, device)?,
            feed_forward_norm: RmsNorm::load(&weights.child("layer.1.layer_norm"), config, device)?,
            // The activation is on `wi_0`; `wi_1` multiplies.
            inner: to_inner(if gated { "wi_0" } else { "wi" })?,
            gate: if gated { Some(to_inner("wi_1")?) } else { None },
            outer: Linear::load(&feed_forward.child("wo"), config.d_ff, config.d_model, device)?,
            activation,
        })
    }

    fn forward(&self, x: Tensor<3>, heads: usize, bias: &Tensor<4>, hidden: &Tensor<4, Bool>) -> Tensor<3> {
        let normed = self.attention_norm.forward(x.clone());
        let split = |linear: &Linear| split_heads(linear.forward(normed.clone()), heads);
        let mixed = attend(split(&self.query), split(&self.key), split(&self.value), Some(bias), Some(hidden));
        let x = x + self.output.forward(mixed);
        let normed = self.feed_forward_norm.forward(x.clone());
        let inner = self.activation.apply(self.inner.forward(normed.clone()));
        let inner = match &self.gate {
            Some(gate) => inner * gate.forward(normed),
            None => inner,
        };
        x + self.outer.forward(inner)
    }
}
