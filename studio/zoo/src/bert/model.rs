//! The model: [`Bert`].

use burn::tensor::{Bool, Device, Tensor, TensorData};
use tokenizers::Tokenizer;

use super::{Config, texts::tokeniser};
use crate::{
    Error, NamedTensors, Result,
    checkpoint::Weights,
    named::{device_floats, device_ids},
    nn::{LayerNorm, Linear, TextLayer},
};

/// Elements of the largest tensor of one pass, at most: 4 GiB of 32-bit floats.
const ELEMENTS_MAX: usize = 1 << 30;

/// The encoder.
#[derive(Debug)]
pub struct Bert {
    config: Config,
    /// `[vocab_size, hidden_size]`.
    words: Tensor<2>,
    /// `[max_position_embeddings, hidden_size]`, the first kind of sentences added.
    positions: Tensor<2>,
    norm: LayerNorm,
    layers: Vec<TextLayer>,
    pooler: Option<Linear>,
    tokeniser: Option<Tokenizer>,
    device: Device,
}

impl Bert {
    /// Takes its tensors from `weights`, with or without the prefix `bert.`, and the tokeniser from the checkpoint's
    /// folder. Heads of the pre-training (`cls.`) are passed over.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`]; [`Error::File`] for a broken `tokenizer.json`.
    pub fn load(config: Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let prefixed = weights.child("bert");
        let root = if prefixed.is_present() { &prefixed } else { weights };
        let width = config.hidden_size;
        let embeddings = root.child("embeddings");
        let words = embeddings.tensor("word_embeddings.weight", [config.vocab_size, width], device)?;
        let longest = config.max_position_embeddings;
        let positions: Tensor<2> = embeddings.tensor("position_embeddings.weight", [longest, width], device)?;
        let kinds: Tensor<2> =
            embeddings.tensor("token_type_embeddings.weight", [config.type_vocab_size, width], device)?;
        let sizes = config.layer()?;
        let embedding_norm = LayerNorm::load_either(&embeddings.child("LayerNorm"), width, sizes.epsilon, device)?;
        let layers = root.child("encoder").child("layer");
        let layers = (0..config.num_hidden_layers).map(|i| TextLayer::load(&layers.child(i), sizes, device));
        let layers = layers.collect::<Result<_>>()?;
        let pooler = root.child("pooler");
        let pooler = if pooler.is_present() {
            Some(Linear::load_biased(&pooler.child("dense"), width, width, device)?)
        } else {
            None
        };
        // Counts that older files hold, and what the pre-training predicted.
        let counts = [embeddings.name("position_ids"), embeddings.name("token_type_ids")];
        let heads = [weights.name("cls.predictions."), weights.name("cls.seq_relationship.")];
        let known = |name: &str| counts.iter().any(|n| n == name) || heads.iter().any(|head| name.starts_with(head));
        weights.checkpoint().pass_over(known);
        let tokeniser = tokeniser(weights.checkpoint().dir(), &config)?;
        let positions = positions + kinds.narrow(0, 0, 1);
        Ok(Self { config, words, positions, norm: embedding_norm, layers, pooler, tokeniser, device: device.clone() })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Width of an embedding.
    #[must_use]
    pub fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// Texts as ids and masks, `[texts, tokens]`, cut to what the model takes and padded to the longest.
    ///
    /// # Errors
    /// [`Error::Input`] when the checkpoint's folder has no `tokenizer.json`, or its ids are not the model's.
    pub fn tokenise(&self, texts: &[&str]) -> Result<(Vec<u32>, Vec<bool>, [usize; 2])> {
        let tokeniser = self.tokeniser.as_ref().ok_or_else(|| {
            Error::input("a text", "a `tokenizer.json` in the checkpoint's folder", "none: only ids can be used")
        })?;
        let encoded = crate::text::encode(tokeniser, texts, self.config.pad_token_id.unwrap_or(0))?;
        self.check_ids("a text", &encoded.0)?;
        Ok(encoded)
    }

    /// Embeddings of texts.
    ///
    /// # Shapes
    /// - output: `[texts, hidden_size]`, each row of length 1
    ///
    /// # Errors
    /// As [`tokenise`](Self::tokenise) and [`sentence_embeddings`](Self::sentence_embeddings).
    pub fn embed(&self, texts: &[&str]) -> Result<Tensor<2>> {
        let (ids, mask, dims) = self.tokenise(texts)?;
        self.sentence_embeddings(&ids, &mask, dims)
    }

    /// Embeddings of sentences: the mean of the hidden states over the tokens whose mask is true, of length 1.
    ///
    /// # Shapes
    /// - ids, mask: `dims` = `[texts, tokens]`, row-major
    /// - output: `[texts, hidden_size]`
    ///
    /// # Errors
    /// As [`hidden`](Self::hidden).
    pub fn sentence_embeddings(&self, ids: &[u32], mask: &[bool], dims: [usize; 2]) -> Result<Tensor<2>> {
        Ok(self.mean(self.hidden(ids, mask, dims)?, mask))
    }

    /// Hidden states of all tokens; those of padding are computed too, and mean nothing.
    ///
    /// # Shapes
    /// - ids, mask: `dims` = `[texts, tokens]`, row-major
    /// - output: `[texts, tokens, hidden_size]`
    ///
    /// # Errors
    /// [`Error::Input`] for other extents, no tokens, a text longer than the positions, an id that the vocabulary does
    /// not have, or a text that is padding alone.
    pub fn hidden(&self, ids: &[u32], mask: &[bool], dims: [usize; 2]) -> Result<Tensor<3>> {
        let [texts, tokens] = self.check(ids, mask, dims)?;
        let words = self.words.clone().select(0, device_ids(ids, [ids.len()], &self.device));
        let positions = self.positions.clone().narrow(0, 0, tokens).unsqueeze::<3>();
        let x = self.norm.forward(words.reshape([texts, tokens, self.config.hidden_size]) + positions);
        let padding: Vec<bool> = mask.iter().map(|seen| !seen).collect();
        let padding = TensorData::new(padding, [texts, 1, 1, tokens]);
        let padding = Tensor::<4, Bool>::from_data(padding, &self.device);
        Ok(self.layers.iter().fold(x, |x, layer| layer.forward(x, &padding)))
    }

    /// What the pooler makes of the first token's hidden state; `None` where the checkpoint has no pooler.
    ///
    /// # Shapes
    /// - hidden: `[texts, tokens, hidden_size]`
    /// - output: `[texts, hidden_size]`
    #[must_use]
    pub fn pooled(&self, hidden: Tensor<3>) -> Option<Tensor<2>> {
        let first = hidden.narrow(1, 0, 1).squeeze_dim::<2>(1);
        self.pooler.as_ref().map(|pooler| pooler.forward(first).tanh())
    }

    /// Computes every output whose inputs are there: `in.input_ids`, and `in.attention_mask`, by default all ones.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of another shape, type or range.
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        let mut out = NamedTensors::new();
        let Some((dims, ids)) = inputs.ids::<2>("in.input_ids", self.config.vocab_size)? else { return Ok(out) };
        let mask = match inputs.ids::<2>("in.attention_mask", 2)? {
            Some((shape, mask)) if shape == dims => mask.iter().map(|seen| *seen == 1).collect(),
            Some((shape, _)) => {
                return Err(Error::input("in.attention_mask", format!("{dims:?}"), format!("{shape:?}")));
            }
            None => vec![true; ids.len()],
        };
        let hidden = self.hidden(&ids, &mask, dims)?;
        out.put("out.hidden", hidden.clone())?;
        out.put("out.sentence_embedding", self.mean(hidden.clone(), &mask))?;
        if let Some(pooled) = self.pooled(hidden) {
            out.put("out.pooler", pooled)?;
        }
        Ok(out)
    }

    /// The mean over the tokens whose mask is true, divided by its length.
    fn mean(&self, hidden: Tensor<3>, mask: &[bool]) -> Tensor<2> {
        let [texts, tokens, width] = hidden.dims();
        let mask: Vec<f32> = mask.iter().map(|seen| f32::from(u8::from(*seen))).collect();
        let mask = device_floats(&mask, [texts, tokens, 1], &self.device);
        let sum = (hidden * mask.clone()).sum_dim(1);
        let mean = (sum / mask.sum_dim(1)).reshape([texts, width]);
        let length = (mean.clone() * mean.clone()).sum_dim(1).sqrt().clamp_min(1e-12);
        mean / length
    }

    fn check(&self, ids: &[u32], mask: &[bool], dims: [usize; 2]) -> Result<[usize; 2]> {
        let [texts, tokens] = dims;
        if ids.is_empty() || texts.checked_mul(tokens) != Some(ids.len()) || mask.len() != ids.len() {
            let got = format!("{} ids and {} of the mask", ids.len(), mask.len());
            return Err(Error::input("ids", format!("as many as fill {dims:?}, not empty"), got));
        }
        if tokens > self.config.max_position_embeddings {
            return Err(Error::input("ids", format!("at most {} tokens", self.config.max_position_embeddings), tokens));
        }
        self.check_ids("ids", ids)?;
        if let Some(row) = mask.chunks_exact(tokens).position(|row| !row.contains(&true)) {
            return Err(Error::input("mask", "a token in every text", format!("padding alone in text {row}")));
        }
        let widest = [
            self.config.num_attention_heads.checked_mul(tokens),
            Some(self.config.hidden_size),
            Some(self.config.intermediate_size),
        ];
        let widest = widest.into_iter().max().flatten();
        if widest.and_then(|width| width.checked_mul(ids.len())).is_none_or(|elements| elements > ELEMENTS_MAX) {
            return Err(Error::input(
                "ids",
                format!("no layer of more than {ELEMENTS_MAX} elements"),
                format!("{dims:?}"),
            ));
        }
        Ok(dims)
    }

    fn check_ids(&self, what: &str, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| **id as usize >= self.config.vocab_size) {
            Some(id) => Err(Error::input(what, format!("ids below {}", self.config.vocab_size), id)),
            None => Ok(()),
        }
    }
}
