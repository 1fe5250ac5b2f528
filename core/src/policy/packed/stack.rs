//! A causal transformer, one position at a time: [`Stack`], and the past of some clips: [`Past`].

use alloc::{vec, vec::Vec};

use super::matrix::Matrix;
use crate::{
    Result,
    nn::{
        Block, Transformer,
        math::{gelu, normalise, silu},
        mixing::{BLOCK, Seen},
        turn,
    },
    policy::{StackConfig, packed::decoder::values},
};

/// One block's weights, norm gains folded in.
#[derive(Debug, Clone)]
struct Layer {
    /// Query (scaled), key and value side by side.
    query_key_value: Matrix,
    output: Matrix,
    /// SwiGLU: gate and up side by side.
    up: Matrix,
    down: Matrix,
}

/// A transformer's weights.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    layers: Vec<Layer>,
    /// The last norm's gain: whoever reads the output folds it in.
    pub(super) gain: Vec<f32>,
    /// `(cos, sin)` of every pair at every position, `[time_max, head_width / 2]`.
    turns: Vec<(f32, f32)>,
    width: usize,
    heads: usize,
    ff_width: usize,
    gated: bool,
    time_max: usize,
    /// `time_max` in whole blocks.
    row: usize,
}

/// What the positions so far left behind, for some clips; with room for a step.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// Keys of each layer, `[clips, width, row]`: a head's channels are rows over time, of whole blocks.
    keys: Vec<Vec<f32>>,
    /// Values of each layer, `[clips, time_max, width]`.
    values: Vec<Vec<f32>>,
    time: usize,
    normed: Vec<f32>,
    query_key_value: Vec<f32>,
    mixed: Vec<f32>,
    inside: Vec<f32>,
    scores: Vec<f32>,
}

impl Past {
    pub(super) fn clear(&mut self) {
        // What lies behind `time` is never read.
        self.time = 0;
    }
}

impl Layer {
    fn new(block: &Block, head_width: usize) -> Result<Self> {
        let (attention, feed_forward) = (&block.attention, &block.feed_forward);
        let gain = values(&block.attention_norm.gain)?;
        let scale = 1.0 / libm::sqrtf(head_width as f32);
        let query: Vec<f32> = values(&attention.query.weight)?.iter().map(|weight| weight * scale).collect();
        let (key, value) = (values(&attention.key.weight)?, values(&attention.value.weight)?);
        let gate = match &feed_forward.gate {
            Some(gate) => values(&gate.weight)?,
            None => Vec::new(),
        };
        let (up, down) = (values(&feed_forward.up.weight)?, values(&feed_forward.down.weight)?);
        let ones = |matrix: &[f32]| vec![1.0; matrix.len() / gain.len()];
        Ok(Self {
            query_key_value: Matrix::new(&[&query, &key, &value], &gain),
            output: Matrix::new(&[&values(&attention.output.weight)?], &vec![1.0; gain.len()]),
            up: Matrix::new(&[&gate, &up], &values(&block.feed_forward_norm.gain)?),
            down: Matrix::new(&[&down], &ones(&down)),
        })
    }
}

impl Stack {
    pub(super) fn new(transformer: &Transformer, config: &StackConfig, time_max: usize) -> Result<Self> {
        let head_width = config.transformer().head_width();
        let turn = |t: usize, pair: usize| {
            let (cos, sin) = turn(t, pair, head_width);
            (cos as f32, sin as f32)
        };
        Ok(Self {
            layers: transformer.blocks.iter().map(|block| Layer::new(block, head_width)).collect::<Result<_>>()?,
            gain: values(&transformer.norm.gain)?,
            turns: (0..time_max).flat_map(|t| (0..head_width / 2).map(move |pair| turn(t, pair))).collect(),
            width: config.width,
            heads: config.heads,
            ff_width: config.ff_width,
            gated: transformer.blocks.iter().any(|block| block.feed_forward.gate.is_some()),
            time_max,
            row: time_max.next_multiple_of(BLOCK),
        })
    }

    pub(super) fn past(&self, clips: usize) -> Past {
        let layer = |time: usize| vec![0.0; clips * self.width * time];
        let row = |width: usize| vec![0.0; clips * width];
        Past {
            keys: self.layers.iter().map(|_| layer(self.row)).collect(),
            values: self.layers.iter().map(|_| layer(self.time_max)).collect(),
            time: 0,
            normed: row(self.width),
            query_key_value: row(3 * self.width),
            mixed: row(self.width),
            inside: row(if self.gated { 2 * self.ff_width } else { self.ff_width }),
            scores: vec![0.0; self.row],
        }
    }

    /// The next position, in place: `x` is `[clips, width]`, the input, then the normalised output without its gain.
    ///
    /// Does nothing when `past` is full: the decoder's cursor has refused that step before.
    pub(super) fn step(&self, x: &mut [f32], past: &mut Past) {
        if past.time >= self.time_max {
            return;
        }
        for (layer, weights) in self.layers.iter().enumerate() {
            normalise(x, &mut past.normed, self.width);
            weights.query_key_value.product(&past.normed, &mut past.query_key_value);
            self.attend(layer, past);
            weights.output.add_product(&past.mixed, x);

            normalise(x, &mut past.normed, self.width);
            weights.up.product(&past.normed, &mut past.inside);
            if self.gated {
                // Halves of each row; the products move to the front, row by row.
                let ff_width = self.ff_width;
                for clip in 0..x.len() / self.width {
                    let row = 2 * clip * ff_width;
                    for i in 0..ff_width {
                        past.inside[clip * ff_width + i] = silu(past.inside[row + i]) * past.inside[row + ff_width + i];
                    }
                }
            } else {
                past.inside.iter_mut().for_each(|value| *value = gelu(*value));
            }
            let filled = x.len() / self.width * self.ff_width;
            weights.down.add_product(&past.inside[..filled], x);
        }
        past.time += 1;
        normalise(x, &mut past.normed, self.width);
        x.copy_from_slice(&past.normed);
    }

    /// Turns query and key, keeps key and value, mixes values by the softmax of the products.
    fn attend(&self, layer: usize, past: &mut Past) {
        let (width, time_max, row, time) = (self.width, self.time_max, self.row, past.time);
        let head_width = width / self.heads;
        let half = head_width / 2;
        let turns = &self.turns[time * half..(time + 1) * half];
        let clips = past.query_key_value.chunks_exact_mut(3 * width).zip(past.mixed.chunks_exact_mut(width));
        let memory =
            past.keys[layer].chunks_exact_mut(width * row).zip(past.values[layer].chunks_exact_mut(width * time_max));
        for ((own, mixed), (keys, values)) in clips.zip(memory) {
            let (turned, value) = own.split_at_mut(2 * width);
            for head in turned.chunks_exact_mut(head_width) {
                let (low, high) = head.split_at_mut(half);
                for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(turns) {
                    (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
                }
            }
            let (query, key) = turned.split_at(width);
            for (channel, key) in keys.chunks_exact_mut(row).zip(key) {
                channel[time] = *key;
            }
            values[time * width..(time + 1) * width].copy_from_slice(value);
            for (head, mixed) in mixed.chunks_exact_mut(head_width).enumerate() {
                let first = head * head_width;
                let query = &query[first..first + head_width];
                let seen =
                    Seen { keys: &keys[first * row..], row, values: &values[first..], width, positions: time + 1 };
                seen.mix(query, &mut past.scores, mixed);
            }
        }
    }
}
