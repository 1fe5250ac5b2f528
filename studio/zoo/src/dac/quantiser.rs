//! Residual vector quantisation by direction: [`Quantiser`], [`Quantised`].

use burn::tensor::{Device, Int, Tensor};

use super::{config::Config, layers::Conv};
use crate::{Result, checkpoint::Weights};

/// Rows that are compared with a codebook at once.
const ROWS: usize = 4096;

/// What the quantiser made of latents.
#[derive(Debug, Clone)]
pub struct Quantised {
    /// `[clips, levels, frames]`.
    pub codes: Tensor<3, Int>,
    /// The sum of all levels, from which the decoder makes sound, `[clips, width, frames]`.
    pub quantised: Tensor<3>,
    /// Each level's residual in the width of its codebook, `[clips, levels * codebook width, frames]`.
    pub projected: Tensor<3>,
}

/// Levels of narrow codebooks; each quantises what the levels before it left over.
#[derive(Debug)]
pub(super) struct Quantiser {
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    project_in: Conv,
    project_out: Conv,
    /// `[entries, width]`.
    entries: Tensor<2>,
    /// 2 e / |e|, as `[width, entries]`.
    directions: Tensor<2>,
    /// |e / |e||^2, as `[1, entries]`: 1, or 0 for an entry of zeros.
    squares: Tensor<2>,
}

impl Quantiser {
    /// Reads `quantizers.{level}`.
    pub fn load(config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let (width, narrow) = (config.width(), config.codebook_dim);
        let level = |index: usize| {
            let weights = weights.child("quantizers").child(index);
            let entries: Tensor<2> = weights.tensor("codebook.weight", [config.codebook_size, narrow], device)?;
            let directions = directions(entries.clone());
            Ok(Level {
                project_in: Conv::load(&weights, "in_proj", [narrow, width, 1], 1, device)?,
                project_out: Conv::load(&weights, "out_proj", [width, narrow, 1], 1, device)?,
                entries,
                squares: (directions.clone() * directions.clone()).sum_dim(1).transpose(),
                directions: directions.transpose().mul_scalar(2.0),
            })
        };
        Ok(Self { levels: (0..config.n_codebooks).map(level).collect::<Result<_>>()? })
    }

    /// The first `levels` levels, of which there is one at least.
    ///
    /// # Shapes
    /// - latents: `[clips, width, frames]`
    pub fn encode(&self, latents: Tensor<3>, levels: usize) -> Quantised {
        let mut residual = latents.clone();
        let mut sum = latents.zeros_like();
        let (mut codes, mut projected) = (Vec::new(), Vec::new());
        for level in self.levels.iter().take(levels) {
            let narrow = level.project_in.forward(residual.clone());
            let own = level.nearest(narrow.clone());
            let step = level.decode(own.clone());
            residual = residual - step.clone();
            sum = sum + step;
            codes.push(own.unsqueeze_dim::<3>(1));
            projected.push(narrow);
        }
        Quantised { codes: Tensor::cat(codes, 1), quantised: sum, projected: Tensor::cat(projected, 1) }
    }

    /// # Shapes
    /// - codes: `[clips, levels, frames]`, each below the codebook's size, levels from 1 to those there are
    /// - output: `[clips, width, frames]`
    pub fn decode(&self, codes: Tensor<3, Int>) -> Option<Tensor<3>> {
        let [clips, levels, frames] = codes.dims();
        let own = |index| codes.clone().narrow(1, index, 1).reshape([clips, frames]);
        let steps = self.levels.iter().take(levels).enumerate().map(|(index, level)| level.decode(own(index)));
        steps.reduce(|sum, step| sum + step)
    }
}

impl Level {
    /// The entry of the nearest direction: argmax 2 x.e / (|x| |e|) + |e / |e||^2. The reference *adds* the square,
    /// which differs from a distance for an entry of zeros alone.
    ///
    /// # Shapes
    /// - x: `[clips, codebook width, frames]`
    /// - output: `[clips, frames]`
    fn nearest(&self, x: Tensor<3>) -> Tensor<2, Int> {
        let [clips, width, frames] = x.dims();
        let count = clips * frames;
        let rows = directions(x.swap_dims(1, 2).reshape([count, width]));
        let block = |start: usize| {
            let rows = rows.clone().narrow(0, start, ROWS.min(count - start));
            let length = rows.dims()[0];
            (rows.matmul(self.directions.clone()) + self.squares.clone()).argmax(1).reshape([length])
        };
        let all: Tensor<1, Int> = Tensor::cat((0..count).step_by(ROWS).map(block).collect(), 0);
        all.reshape([clips, frames])
    }

    /// The entries as they are, not their directions, projected out.
    ///
    /// # Shapes
    /// - codes: `[clips, frames]`
    /// - output: `[clips, width, frames]`
    fn decode(&self, codes: Tensor<2, Int>) -> Tensor<3> {
        let [clips, frames] = codes.dims();
        let [_, width] = self.entries.dims();
        let rows = self.entries.clone().select(0, codes.reshape([clips * frames]));
        self.project_out.forward(rows.reshape([clips, frames, width]).swap_dims(1, 2))
    }
}

/// Each row divided by its length, which is taken to be 1e-12 at least.
fn directions(rows: Tensor<2>) -> Tensor<2> {
    let length = (rows.clone() * rows.clone()).sum_dim(1).sqrt().clamp_min(1e-12);
    rows / length
}
