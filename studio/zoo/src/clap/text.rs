//! The text tower: [`TextTower`].

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::TextConfig;
use crate::{
    Error, Result,
    checkpoint::Weights,
    named::device_ids,
    nn::{LayerNorm, Linear, TextLayer},
};

/// Tokens of one call whose states are held: 0.8 GB of them at the published width.
const TOKENS_MAX: usize = 1 << 18;
/// Values of one layer's scores or inner states that are held at a time, of several texts.
const VALUES_MAX: usize = 1 << 25;

/// RoBERTa (Liu et al., "RoBERTa: a robustly optimized BERT pretraining approach", 2019), frozen.
#[derive(Debug)]
pub struct TextTower {
    /// `[vocab_size, hidden_size]`.
    words: Tensor<2>,
    /// `[max_position_embeddings, hidden_size]`, with the vector of token type 0 added: there is no other type here.
    positions: Tensor<2>,
    norm: LayerNorm,
    blocks: Vec<TextLayer>,
    pooler: Linear,
    config: TextConfig,
}

impl TextTower {
    /// Takes its tensors from `weights`, those of `text_model`.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`].
    pub fn load(config: TextConfig, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let width = config.hidden_size;
        let embeddings = weights.child("embeddings");
        let table = |name, rows| embeddings.child(name).tensor("weight", [rows, width], device);
        let types = table("token_type_embeddings", config.type_vocab_size)?;
        let positions = table("position_embeddings", config.max_position_embeddings)?;
        let (blocks, sizes) = (weights.child("encoder.layer"), config.layer()?);
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: positions + types.narrow(0, 0, 1),
            norm: LayerNorm::load(&embeddings.child("LayerNorm"), width, config.layer_norm_eps, device)?,
            blocks: (0..config.num_hidden_layers)
                .map(|index| TextLayer::load(&blocks.child(index), sizes, device))
                .collect::<Result<_>>()?,
            pooler: Linear::load_biased(&weights.child("pooler.dense"), width, width, device)?,
            config,
        })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The hidden states. Positions under the mask have states too, of no meaning.
    ///
    /// # Shapes
    /// - ids: `texts * tokens`, text after text
    /// - mask: the same, true where a token counts
    /// - output: `[texts, tokens, hidden_size]`
    ///
    /// # Errors
    /// [`Error::Input`] for ids outside the vocabulary, a text too long, or lengths that disagree.
    pub fn forward(&self, ids: &[u32], mask: &[bool], [texts, tokens]: [usize; 2]) -> Result<Tensor<3>> {
        let most = self.config.tokens_max();
        let count = texts.checked_mul(tokens).filter(|count| (1..=TOKENS_MAX).contains(count) && tokens <= most);
        if count != Some(ids.len()) || mask.len() != ids.len() {
            let got = format!("{} ids and {} mask values for [{texts}, {tokens}]", ids.len(), mask.len());
            return Err(Error::input("a text", format!("1 to {most} tokens with a mask, {TOKENS_MAX} in all"), got));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.config.vocab_size) {
            return Err(Error::input("a text", format!("ids below {}", self.config.vocab_size), id));
        }
        let widest = (self.config.num_attention_heads * tokens).max(self.config.intermediate_size);
        let part = (VALUES_MAX / (widest * tokens)).max(1) * tokens;
        let parts = ids.chunks(part).zip(mask.chunks(part)).map(|(ids, mask)| self.states(ids, mask, tokens));
        Ok(Tensor::cat(parts.collect(), 0))
    }

    fn states(&self, ids: &[u32], mask: &[bool], tokens: usize) -> Tensor<3> {
        let (device, texts) = (self.words.device(), ids.len() / tokens);
        let at = positions(ids, tokens, self.config.pad_token_id);
        let words: Tensor<1, Int> = device_ids(ids, [texts * tokens], &device);
        let at: Tensor<1, Int> = device_ids(&at, [texts * tokens], &device);
        let x = self.words.clone().select(0, words) + self.positions.clone().select(0, at);
        let x = self.norm.forward(x).reshape([texts, tokens, self.config.hidden_size]);
        let hidden: Vec<bool> = mask.iter().map(|counts| !counts).collect();
        let hidden = Tensor::<4, Bool>::from_data(TensorData::new(hidden, [texts, 1, 1, tokens]), &device);
        self.blocks.iter().fold(x, |x, block| block.forward(x, &hidden))
    }

    /// One vector a text: the first token's state through a layer and a hyperbolic tangent.
    ///
    /// # Shapes
    /// - hidden: `[texts, tokens, hidden_size]`
    /// - output: `[texts, hidden_size]`
    pub(super) fn pool(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [texts, _, width] = hidden.dims();
        self.pooler.forward(hidden.narrow(1, 0, 1).reshape([texts, width])).tanh()
    }
}

/// Positions of texts of `tokens` ids each: the n-th token that is no pad, from 1, stands at `pad + n`; pads stand at
/// `pad`. Ids decide, not the mask.
fn positions(ids: &[u32], tokens: usize, pad: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(ids.len());
    for text in ids.chunks(tokens.max(1)) {
        let mut at = pad;
        for id in text {
            at += u32::from(*id != pad);
            out.push(if *id == pad { pad } else { at });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_have_no_position_of_their_own() {
        assert_eq!(positions(&[0, 7, 2, 1, 1, 0, 1, 9, 2, 1], 5, 1), [2, 3, 4, 1, 1, 2, 1, 3, 4, 1]);
        assert_eq!(positions(&[0, 0, 5], 3, 0), [0, 0, 1]);
        assert!(positions(&[], 0, 1).is_empty());
    }
}
