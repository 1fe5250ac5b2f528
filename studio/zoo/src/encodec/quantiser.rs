//! Residual vector quantisation: [`Quantiser`].

use burn::tensor::{Device, Int, Tensor};

use super::config::Config;
use crate::{Result, checkpoint::Weights};

/// Rows that are compared with a codebook at once.
const ROWS: usize = 4096;

/// Levels of codebooks; each quantises what the levels before it left over.
#[derive(Debug)]
pub(super) struct Quantiser {
    levels: Vec<Codebook>,
}

#[derive(Debug)]
struct Codebook {
    /// `[entries, width]`.
    entries: Tensor<2>,
    /// 2 e, as `[width, entries]`.
    doubled: Tensor<2>,
    /// |e|^2, as `[1, entries]`.
    squares: Tensor<2>,
}

impl Quantiser {
    /// Reads `layers.{level}.codebook.embed`. What training alone needs is passed over.
    pub fn load(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let level = |index: usize| {
            let weights = weights.child(format!("layers.{index}.codebook"));
            let entries: Tensor<2> = weights.tensor("embed", [config.codebook_size, config.hidden_size], device)?;
            let known = ["cluster_size", "embed_avg", "inited"].map(|name| weights.name(name));
            weights.checkpoint().pass_over(|name| known.iter().any(|known| known == name));
            Ok(Codebook {
                doubled: entries.clone().transpose().mul_scalar(2.0),
                squares: (entries.clone() * entries.clone()).sum_dim(1).transpose(),
                entries,
            })
        };
        Ok(Self { levels: (0..config.quantisers()).map(level).collect::<Result<_>>()? })
    }

    /// Codes of the first `levels` levels: each takes the entry nearest to the residual.
    ///
    /// # Shapes
    /// - latents: `[clips, width, frames]`
    /// - output: `[clips, levels, frames]`
    pub fn encode(&self, latents: Tensor<3>, levels: usize) -> Tensor<3, Int> {
        let [clips, width, frames] = latents.dims();
        let rows = clips * frames;
        let mut residual: Tensor<2> = latents.swap_dims(1, 2).reshape([rows, width]);
        let mut codes = Vec::with_capacity(levels);
        for level in self.levels.iter().take(levels) {
            let nearest = level.nearest(residual.clone());
            residual = residual - level.entries.clone().select(0, nearest.clone());
            codes.push(nearest.reshape([clips, 1, frames]));
        }
        Tensor::cat(codes, 1)
    }

    /// The sum of the entries.
    ///
    /// # Shapes
    /// - codes: `[clips, levels, frames]`, each below the codebook's size, levels from 1 to those there are
    /// - output: `[clips, width, frames]`
    pub fn decode(&self, codes: Tensor<3, Int>) -> Tensor<3> {
        let [clips, levels, frames] = codes.dims();
        let entries = |(index, level): (usize, &Codebook)| {
            let codes = codes.clone().narrow(1, index, 1).reshape([clips * frames]);
            level.entries.clone().select(0, codes)
        };
        let sum = self.levels.iter().take(levels).enumerate().map(entries).reduce(|sum, next| sum + next);
        let width = self.levels.first().map_or(0, |level| level.entries.dims()[1]);
        let sum = sum.unwrap_or_else(|| Tensor::zeros([clips * frames, width], &codes.device()));
        sum.reshape([clips, frames, width]).swap_dims(1, 2)
    }
}

impl Codebook {
    /// argmin |x - e|^2 = argmax 2 x.e - |e|^2, one product for all rows of a block.
    fn nearest(&self, rows: Tensor<2>) -> Tensor<1, Int> {
        let [count, _] = rows.dims();
        let block = |start: usize| {
            let rows = rows.clone().narrow(0, start, ROWS.min(count - start));
            let length = rows.dims()[0];
            (rows.matmul(self.doubled.clone()) - self.squares.clone()).argmax(1).reshape([length])
        };
        Tensor::cat((0..count).step_by(ROWS).map(block).collect(), 0)
    }
}
