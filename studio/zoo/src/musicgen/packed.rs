//! The decoder step by step, in plain Rust: [`PackedMusicGen`].
//!
//! Weights are packed once, adapters merged into them; keys and values are kept in memory that is taken at once. A clip's
//! numbers depend neither on the clips beside it nor on the number of threads.

use std::sync::Arc;

use musicrl_core::policy::Prompt as _;
use rayon::prelude::*;

use super::{MusicGenDecoder, TextPrompt, block::Attention, positions::positions};
use crate::{
    Error, Result,
    named::host,
    nn::{Activation, LayerNorm, Linear, Packed},
};

/// The decoder's weights, packed.
#[derive(Debug, Clone)]
pub struct PackedMusicGen(Arc<Weights>);

#[derive(Debug)]
struct Weights {
    embeddings: Vec<Vec<f32>>,
    blocks: Vec<PackedBlock>,
    norm: Norm,
    /// All heads side by side.
    heads: Packed,
    width: usize,
    attention_heads: usize,
    vocab: usize,
    activation: Activation,
}

#[derive(Debug)]
struct PackedBlock {
    own_norm: Norm,
    own_query: Packed,
    own_key: Packed,
    own_value: Packed,
    own_output: Packed,
    cross_norm: Norm,
    cross_query: Packed,
    cross_key: Packed,
    cross_value: Packed,
    cross_output: Packed,
    feed_forward_norm: Norm,
    inner: Packed,
    outer: Packed,
}

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

impl Norm {
    fn new(norm: &LayerNorm) -> Result<Self> {
        Ok(Self { weight: host(norm.weight.val())?, bias: host(norm.bias.val())?, epsilon: norm.epsilon })
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let width = self.weight.len().max(1);
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(width) {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            let affine = self.weight.iter().zip(&self.bias);
            out.extend(row.iter().zip(affine).map(|(x, (w, b))| ((f64::from(*x) - mean) * scale) as f32 * w + b));
        }
        out
    }
}

fn pack(linear: &Linear, scale: f32) -> Result<Packed> {
    let merged = linear.merged();
    let [rows, columns] = merged.dims();
    Ok(Packed::new(&host(merged)?, rows, columns, scale))
}

impl PackedMusicGen {
    /// Packs the weights of `decoder`.
    ///
    /// # Errors
    /// [`Error::Input`] when they cannot be read from the device.
    pub fn new(decoder: &MusicGenDecoder) -> Result<Self> {
        let config = decoder.config();
        let (width, vocab) = (config.hidden_size, config.vocab_size);
        let query_scale = (config.head_width() as f32).powf(-0.5);
        let attention = |attention: &Attention| -> Result<[Packed; 4]> {
            Ok([
                pack(&attention.query, query_scale)?,
                pack(&attention.key, 1.0)?,
                pack(&attention.value, 1.0)?,
                pack(&attention.output, 1.0)?,
            ])
        };
        let mut blocks = Vec::with_capacity(decoder.blocks.len());
        for block in &decoder.blocks {
            let [own_query, own_key, own_value, own_output] = attention(&block.own)?;
            let [cross_query, cross_key, cross_value, cross_output] = attention(&block.cross)?;
            blocks.push(PackedBlock {
                own_norm: Norm::new(&block.own_norm)?,
                own_query,
                own_key,
                own_value,
                own_output,
                cross_norm: Norm::new(&block.cross_norm)?,
                cross_query,
                cross_key,
                cross_value,
                cross_output,
                feed_forward_norm: Norm::new(&block.feed_forward_norm)?,
                inner: pack(&block.inner, 1.0)?,
                outer: pack(&block.outer, 1.0)?,
            });
        }
        let embeddings = decoder.embeddings.iter().map(|table| host(table.val())).collect::<Result<_>>()?;
        let heads = decoder.heads.iter().map(|head| host(head.merged())).collect::<Result<Vec<_>>>()?;
        let rows = (0..width).flat_map(|row| heads.iter().flat_map(move |head| &head[row * vocab..(row + 1) * vocab]));
        let heads = Packed::new(&rows.copied().collect::<Vec<_>>(), width, heads.len() * vocab, 1.0);
        Ok(Self(Arc::new(Weights {
            embeddings,
            blocks,
            norm: Norm::new(&decoder.norm)?,
            heads,
            width,
            attention_heads: config.num_attention_heads,
            vocab,
            activation: config.activation()?,
        })))
    }

    /// Begins decoding for `prompt`, with memory for `steps_max` steps. `decoder` projects the text; it is the one that
    /// was packed.
    ///
    /// # Errors
    /// [`Error::Input`] when the text cannot be read from the device.
    pub fn session(&self, decoder: &MusicGenDecoder, prompt: &TextPrompt, steps_max: usize) -> Result<Session> {
        let weights = Arc::clone(&self.0);
        let text = host(decoder.text(prompt))?;
        let of = |block: &PackedBlock| LayerCache {
            key: Vec::with_capacity(steps_max * prompt.clips() * weights.width),
            value: Vec::with_capacity(steps_max * prompt.clips() * weights.width),
            cross_key: block.cross_key.product(&text),
            cross_value: block.cross_value.product(&text),
        };
        let layers = weights.blocks.iter().map(of).collect();
        Ok(Session {
            layers,
            clips: prompt.clips(),
            mask: prompt.mask(),
            tokens: prompt.tokens(),
            steps: 0,
            steps_max,
            logits: Vec::new(),
            weights,
        })
    }
}

/// Keys and values of one layer: `[steps, clips, width]` and `[clips, tokens, width]`.
#[derive(Debug)]
struct LayerCache {
    key: Vec<f32>,
    value: Vec<f32>,
    cross_key: Vec<f32>,
    cross_value: Vec<f32>,
}

/// Decoding under way.
#[derive(Debug)]
pub struct Session {
    weights: Arc<Weights>,
    layers: Vec<LayerCache>,
    clips: usize,
    mask: Vec<bool>,
    tokens: usize,
    steps: usize,
    steps_max: usize,
    logits: Vec<f32>,
}

impl Session {
    /// Clips that are decoded together.
    #[must_use]
    pub fn clips(&self) -> usize {
        self.clips
    }

    /// Entries of a codebook.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.weights.vocab
    }

    /// The logits of the last step, `[clips, codebooks, vocab_size]`; empty before the first.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Takes the next column and gives the logits of the one after it.
    ///
    /// # Shapes
    /// - column: `[clips, codebooks]`, ids up to the pad
    /// - output: `[clips, codebooks, vocab_size]`
    ///
    /// # Errors
    /// [`Error::Input`] for another number of ids, an id outside, or a step past the memory.
    pub fn step(&mut self, column: &[u32]) -> Result<&[f32]> {
        let weights = Arc::clone(&self.weights);
        let (width, codebooks) = (weights.width, weights.embeddings.len());
        if self.steps >= self.steps_max {
            return Err(Error::input("a step", format!("at most {}", self.steps_max), self.steps + 1));
        }
        if column.len() != self.clips * codebooks || column.iter().any(|id| *id as usize > weights.vocab) {
            let expected = format!("{} ids up to {}", self.clips * codebooks, weights.vocab);
            return Err(Error::input("a column", expected, format!("{} ids", column.len())));
        }
        let position = positions(self.steps, 1, width);
        let mut x = Vec::with_capacity(self.clips * width);
        for ids in column.chunks_exact(codebooks) {
            let mut row = vec![0.0; width];
            for (table, id) in weights.embeddings.iter().zip(ids) {
                add(&mut row, &table[*id as usize * width..][..width]);
            }
            add(&mut row, &position);
            x.extend(row);
        }
        self.steps += 1;
        for (block, cache) in weights.blocks.iter().zip(&mut self.layers) {
            let normed = block.own_norm.forward(&x);
            let query = block.own_query.product(&normed);
            cache.key.extend(block.own_key.product(&normed));
            cache.value.extend(block.own_value.product(&normed));
            let own = Seen { key: &cache.key, value: &cache.value, stride: self.clips * width, between: width };
            let all = |_: usize, _: usize| true;
            let mixed = attend(&query, &own, self.steps, weights.attention_heads, width, all);
            add(&mut x, &block.own_output.product(&mixed));

            let query = block.cross_query.product(&block.cross_norm.forward(&x));
            let (tokens, mask) = (self.tokens, &self.mask);
            let text =
                Seen { key: &cache.cross_key, value: &cache.cross_value, stride: width, between: tokens * width };
            let counts = |clip: usize, token: usize| mask[clip * tokens + token];
            let mixed = attend(&query, &text, tokens, weights.attention_heads, width, counts);
            add(&mut x, &block.cross_output.product(&mixed));

            let mut inner = block.inner.product(&block.feed_forward_norm.forward(&x));
            inner.iter_mut().for_each(|value| *value = weights.activation.of(*value));
            add(&mut x, &block.outer.product(&inner));
        }
        self.logits = weights.heads.product(&weights.norm.forward(&x));
        Ok(&self.logits)
    }
}

/// Keys and values: position `p` of clip `c` lies at `p * stride + c * between`.
struct Seen<'a> {
    key: &'a [f32],
    value: &'a [f32],
    stride: usize,
    between: usize,
}

/// One query a clip; queries are scaled already. A clip for which no position counts gets zeros.
fn attend(
    query: &[f32],
    seen: &Seen<'_>,
    count: usize,
    heads: usize,
    width: usize,
    counts: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<f32> {
    let head_width = width / heads;
    let mut out = vec![0.0; query.len()];
    out.par_chunks_mut(head_width).enumerate().for_each(|(at, out)| {
        let (clip, head) = (at / heads, at % heads);
        let query = &query[at * head_width..][..head_width];
        let base = clip * seen.between + head * head_width;
        let visible: Vec<usize> = (0..count).filter(|position| counts(clip, *position)).collect();
        let score = |position: &usize| dot(query, &seen.key[base + position * seen.stride..][..head_width]);
        let mut scores: Vec<f32> = visible.iter().map(score).collect();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.iter_mut().for_each(|score| *score = libm::expf(*score - largest));
        let sum: f32 = scores.iter().sum();
        for (position, score) in visible.iter().zip(scores) {
            let value = &seen.value[base + position * seen.stride..][..head_width];
            let weight = score / sum;
            out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
        }
    });
    out
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a_whole, a_rest) = a.as_chunks::<8>();
    let (b_whole, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
