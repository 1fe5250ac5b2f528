//! Settings of the decoder: [`DecoderConfig`].

use musicrl_core::tokens::DelayPattern;
use serde::Deserialize;

use crate::{Error, Result, bounds::within, encodec, nn::Activation, t5};

/// `config.json` of a MusicGen checkpoint.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// The decoder.
    pub decoder: DecoderConfig,
    /// The text encoder.
    pub text_encoder: t5::Config,
    /// The codec.
    pub audio_encoder: encodec::Config,
}

/// The decoder's part of `config.json`, with the defaults of the reference library.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct DecoderConfig {
    /// Entries of a codebook (V). Embedding tables have one row more, the pad's; heads do not.
    pub vocab_size: usize,
    /// Steps for which the reference has positions ready; more are computed.
    pub max_position_embeddings: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Width inside the feed-forward layers.
    pub ffn_dim: usize,
    /// Heads of a block.
    pub num_attention_heads: usize,
    /// Activation of the feed-forward layers.
    pub activation_function: String,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Codebooks (K), of both channels together.
    pub num_codebooks: usize,
    /// 1 mono, 2 stereo.
    pub audio_channels: usize,
    /// The id that stands where no frame is.
    pub pad_token_id: Option<u32>,
    /// Where given, the text states have this width already and no projection is in the file.
    pub cross_attention_hidden_size: Option<usize>,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            vocab_size: 2048,
            max_position_embeddings: 2048,
            num_hidden_layers: 24,
            ffn_dim: 4096,
            num_attention_heads: 16,
            activation_function: "gelu".into(),
            hidden_size: 1024,
            num_codebooks: 4,
            audio_channels: 1,
            pad_token_id: Some(2048),
            cross_attention_hidden_size: None,
        }
    }
}

impl DecoderConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be.
    pub fn validate(&self) -> Result<()> {
        within("decoder.vocab_size", self.vocab_size, 1, 1 << 24)?;
        within("decoder.num_hidden_layers", self.num_hidden_layers, 1, 1024)?;
        within("decoder.ffn_dim", self.ffn_dim, 1, 1 << 20)?;
        within("decoder.num_attention_heads", self.num_attention_heads, 1, 1024)?;
        // Two frequencies at least: the positions divide by one less than their number.
        within("decoder.hidden_size", self.hidden_size, 4, 1 << 20)?;
        within("decoder.audio_channels", self.audio_channels, 1, 2)?;
        within("decoder.num_codebooks", self.num_codebooks, self.audio_channels, 1024)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a multiple of {} heads", self.num_attention_heads);
            return Err(Error::config("decoder.hidden_size", expected, self.hidden_size));
        }
        if !self.num_codebooks.is_multiple_of(self.audio_channels) {
            return Err(Error::config("decoder.num_codebooks", "even for stereo", self.num_codebooks));
        }
        // The delay pattern tells padding from tokens by the id. One past the tables' last row can never be read.
        if let Some(id) = self.pad_token_id.filter(|id| (*id as usize) < self.vocab_size) {
            return Err(Error::config("decoder.pad_token_id", format!("{}, past the codebook", self.vocab_size), id));
        }
        self.activation().map(|_| ())
    }

    /// The activation of the feed-forward layers.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn activation(&self) -> Result<Activation> {
        Activation::named("decoder.activation_function", &self.activation_function)
    }

    /// The delay of each codebook in steps: k for mono; left and right share one in stereo, where they are interleaved.
    #[must_use]
    pub fn delays(&self) -> Vec<usize> {
        (0..self.num_codebooks).map(|k| k / self.audio_channels.max(1)).collect()
    }

    /// The same as a pattern.
    ///
    /// # Errors
    /// [`Error::Core`] for a number of codebooks that has none.
    pub fn pattern(&self) -> Result<DelayPattern> {
        Ok(DelayPattern::new(self.delays(), self.pad())?)
    }

    /// The pad's id: the embedding row past the codebook.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.vocab_size as u32
    }

    /// Width of a head.
    #[must_use]
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }
}
