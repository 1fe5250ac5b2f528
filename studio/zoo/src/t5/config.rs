//! Settings of the text encoder: [`Config`].

use serde::Deserialize;

use crate::{Error, Result, bounds::within, nn::Activation};

/// T5's part of `config.json`, with the defaults of the reference library.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Words.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width inside the feed-forward layers.
    pub d_ff: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads of a block.
    pub num_heads: usize,
    /// Buckets of relative positions, both directions together.
    pub relative_attention_num_buckets: usize,
    /// Distance from which on all positions share a bucket.
    pub relative_attention_max_distance: usize,
    /// Added to the mean square in norms.
    pub layer_norm_epsilon: f64,
    /// `relu`, or `gated-` and a function.
    pub feed_forward_proj: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".into(),
        }
    }
}

/// Largest extent of a layer that is accepted.
const EXTENT_MAX: usize = 1 << 20;

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("d_model", self.d_model, EXTENT_MAX),
            ("d_kv", self.d_kv, EXTENT_MAX),
            ("d_ff", self.d_ff, EXTENT_MAX),
            ("num_layers", self.num_layers, 1024),
            ("num_heads", self.num_heads, 1024),
        ] {
            within(field, value, 1, most)?;
        }
        within("relative_attention_num_buckets", self.relative_attention_num_buckets, 4, 4096)?;
        let exact = self.relative_attention_num_buckets / 4;
        within("relative_attention_max_distance", self.relative_attention_max_distance, exact + 1, 1 << 20)?;
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            return Err(Error::config("layer_norm_epsilon", "between 0 and 1", self.layer_norm_epsilon));
        }
        self.feed_forward().map(|_| ())
    }

    /// The function inside the feed-forward layers, and whether a second matrix gates it.
    ///
    /// # Errors
    /// [`Error::Config`] for another name.
    pub fn feed_forward(&self) -> Result<(Activation, bool)> {
        let field = "feed_forward_proj";
        match self.feed_forward_proj.split_once('-') {
            // The reference library's own exception.
            Some(("gated", "gelu")) => Ok((Activation::GeluTanh, true)),
            Some(("gated", name)) => Ok((Activation::named(field, name)?, true)),
            Some(_) => Err(Error::config(field, "a function, or `gated-` and a function", &self.feed_forward_proj)),
            None => Ok((Activation::named(field, &self.feed_forward_proj)?, false)),
        }
    }
}
