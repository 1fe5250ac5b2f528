//! Settings of BERT: [`Config`].

use serde::Deserialize;

use crate::{
    Error, Result,
    bounds::within,
    nn::{Activation, TextLayerSizes},
};

/// Settings of `config.json`, under their published names. A key that is not there has the reference library's default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Word pieces.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward parts.
    pub intermediate_size: usize,
    /// Activation of the feed-forward parts.
    pub hidden_act: String,
    /// Longest text, in tokens.
    pub max_position_embeddings: usize,
    /// Kinds of sentences; only the first is used.
    pub type_vocab_size: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// The token that fills up shorter texts.
    pub pad_token_id: Option<u32>,
    /// Must be false: this is an encoder.
    pub is_decoder: bool,
    /// Must be false.
    pub add_cross_attention: bool,
    /// Must be `absolute`, where files have it.
    pub position_embedding_type: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            is_decoder: false,
            add_cross_attention: false,
            position_embedding_type: None,
        }
    }
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 16),
            ("type_vocab_size", self.type_vocab_size, 1 << 16),
        ] {
            within(field, value, 1, most)?;
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a divisor of hidden_size, {}", self.hidden_size);
            return Err(Error::config("num_attention_heads", expected, self.num_attention_heads));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(Error::config("layer_norm_eps", "between 0 and 1", self.layer_norm_eps));
        }
        if let Some(pad) = self.pad_token_id.filter(|pad| *pad as usize >= self.vocab_size) {
            return Err(Error::config("pad_token_id", format!("below vocab_size, {}", self.vocab_size), pad));
        }
        for (field, value) in [("is_decoder", self.is_decoder), ("add_cross_attention", self.add_cross_attention)] {
            if value {
                return Err(Error::config(field, "false: this is an encoder", value));
            }
        }
        let kind = self.position_embedding_type.as_deref().unwrap_or("absolute");
        if kind != "absolute" {
            return Err(Error::config("position_embedding_type", "`absolute`", kind));
        }
        self.layer().map(|_| ())
    }

    /// Extents of a layer.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown activation.
    pub(super) fn layer(&self) -> Result<TextLayerSizes> {
        Ok(TextLayerSizes {
            width: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            epsilon: self.layer_norm_eps,
            activation: Activation::named("hidden_act", &self.hidden_act)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let read = |json: &str| -> std::result::Result<(), String> {
            let config: Config = serde_json::from_str(json).map_err(|error| error.to_string())?;
            config.validate().map_err(|error| error.to_string())
        };
        read("{}").unwrap();
        read("{\"position_embedding_type\": \"absolute\", \"pad_token_id\": null}").unwrap();
        for (json, part) in [
            ("{\"num_hidden_layers\": 1000000000}", "num_hidden_layers"),
            ("{\"num_attention_heads\": 0}", "num_attention_heads"),
            ("{\"num_attention_heads\": 7}", "hidden_size"),
            ("{\"hidden_size\": -768}", "-768"),
            ("{\"layer_norm_eps\": 0}", "layer_norm_eps"),
            ("{\"pad_token_id\": 30522}", "pad_token_id"),
            ("{\"is_decoder\": true}", "is_decoder"),
            ("{\"position_embedding_type\": \"relative_key\"}", "relative_key"),
            ("{\"hidden_act\": \"mish\"}", "hidden_act"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
