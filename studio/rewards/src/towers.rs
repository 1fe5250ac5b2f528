//! The two towers: from words and from log-mel frames to unit vectors of one common space.

use std::collections::BTreeMap;

use burn::{
    module::{Module, Param},
    tensor::{Bool, Device, Int, Tensor, TensorData},
};
use musicrl_core::nn::{Linear, Transformer, TransformerConfig};

use crate::text::Word;

/// Rows of unit length; a row of zeros stays one.
///
/// # Shapes
/// - rows, returns: [n, dim]
#[must_use]
pub fn normalise(rows: Tensor<2>) -> Tensor<2> {
    let norm = (rows.clone() * rows.clone()).sum_dim(1).add_scalar(1e-12).sqrt();
    rows / norm
}

/// Words to a unit vector: hashed buckets, a bidirectional transformer, the mean over words, a projection.
#[derive(Module, Debug)]
pub struct TextTower {
    /// One table for words and trigrams, [buckets, width].
    embedding: Param<Tensor<2>>,
    transformer: Transformer,
    projection: Linear,
}

impl TextTower {
    pub(crate) fn new(buckets: usize, config: &TransformerConfig, dim: usize, device: &Device) -> Self {
        Self {
            embedding: Param::from_tensor(Tensor::zeros([buckets, config.width], device)),
            transformer: config.init(device),
            projection: Linear::zeros(config.width, dim, device),
        }
    }

    /// One unit vector a prompt.
    ///
    /// # Shapes
    /// - prompts: n lists of words, none empty
    /// - returns: [n, dim]
    #[must_use]
    pub fn forward(&self, prompts: &[&[Word]]) -> Tensor<2> {
        let device = self.embedding.val().device();
        let [_, width] = self.embedding.val().dims();
        let (n, time) = (prompts.len(), prompts.iter().map(|words| words.len()).max().unwrap_or(0).max(1));
        let (vectors, places) = self.word_vectors(prompts, &device);
        let mut ids = vec![0_i64; n * time];
        let mut present = vec![0.0_f32; n * time];
        for (row, words) in prompts.iter().enumerate() {
            for (column, word) in words.iter().enumerate() {
                ids[row * time + column] = places.get(word).copied().unwrap_or(0);
                present[row * time + column] = 1.0;
            }
        }
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n * time]), &device);
        let mask: Vec<bool> = present.iter().map(|present| *present > 0.0).collect();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [n, time]), &device);
        let x = vectors.select(0, ids).reshape([n, time, width]);
        let y = self.transformer.forward(x, Some(mask));
        // The mean over a prompt's words, as a product with one row of weights a prompt.
        for row in present.chunks_mut(time) {
            let count = row.iter().sum::<f32>().max(1.0);
            row.iter_mut().for_each(|weight| *weight /= count);
        }
        let weights = Tensor::<3>::from_data(TensorData::new(present, [n, 1, time]), &device);
        let pooled = weights.matmul(y).reshape([n, width]);
        normalise(self.projection.forward(pooled))
    }

    /// The vector of every distinct word of the batch, and each word's row. A word is its own bucket's vector plus the
    /// mean of its trigrams': a product of a small matrix of weights with the rows that are used at all.
    ///
    /// # Shapes
    /// - returns: [distinct words, width]
    fn word_vectors<'a>(&self, prompts: &[&'a [Word]], device: &Device) -> (Tensor<2>, BTreeMap<&'a Word, i64>) {
        let mut places = BTreeMap::new();
        let mut used = BTreeMap::new();
        for word in prompts.iter().copied().flatten() {
            let next = places.len() as i64;
            places.entry(word).or_insert(next);
            for bucket in std::iter::once(&word.word).chain(&word.trigrams) {
                let next = used.len();
                used.entry(*bucket).or_insert(next);
            }
        }
        let (rows, columns) = (places.len().max(1), used.len().max(1));
        let mut weights = vec![0.0_f32; rows * columns];
        for (word, row) in &places {
            let row = &mut weights[*row as usize * columns..][..columns];
            row[used[&word.word]] += 1.0;
            for bucket in &word.trigrams {
                row[used[bucket]] += 1.0 / word.trigrams.len() as f32;
            }
        }
        let mut buckets = vec![0_i64; columns];
        for (bucket, column) in used {
            buckets[column] = i64::from(bucket);
        }
        let buckets = Tensor::<1, Int>::from_data(TensorData::new(buckets, [columns]), device);
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, columns]), device);
        (weights.matmul(self.embedding.val().select(0, buckets)), places)
    }
}

/// Log-mel frames to a unit vector: neighbouring frames stacked into one position, a bidirectional transformer, the
/// mean over positions, a projection.
#[derive(Module, Debug)]
pub struct AudioTower {
    stack: Linear,
    transformer: Transformer,
    projection: Linear,
    stack_frames: usize,
}

impl AudioTower {
    pub(crate) fn new(
        bands: usize,
        stack_frames: usize,
        config: &TransformerConfig,
        dim: usize,
        device: &Device,
    ) -> Self {
        Self {
            stack: Linear::zeros(bands * stack_frames, config.width, device),
            transformer: config.init(device),
            projection: Linear::zeros(config.width, dim, device),
            stack_frames,
        }
    }

    /// One unit vector a window; `frames` is a multiple of the stacked frames.
    ///
    /// # Shapes
    /// - features: [windows, frames, bands]
    /// - returns: [windows, dim]
    #[must_use]
    pub fn forward(&self, features: Tensor<3>) -> Tensor<2> {
        let [windows, frames, bands] = features.dims();
        let positions = frames / self.stack_frames;
        let x = features.reshape([windows, positions, self.stack_frames * bands]);
        let y = self.transformer.forward(self.stack.forward(x), None);
        let [_, _, width] = y.dims();
        normalise(self.projection.forward(y.mean_dim(1).reshape([windows, width])))
    }
}
