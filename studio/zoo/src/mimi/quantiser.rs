//! From latents to codes and back: [`SplitQuantiser`].

use burn::tensor::{Device, Int, Tensor};

use super::Config;
use crate::{
    Error, Result,
    checkpoint::Weights,
    named::{device_floats, device_ids},
};

/// The least usage that an entry is divided by.
const USAGE_MIN: f32 = 1e-5;

/// Scores that are computed at a time, at most.
const SCORES: usize = 1 << 24;

/// Two residual quantisers beside each other: the semantic one and the acoustic one see the same latents, each through a
/// projection of its own, and what they give is added.
#[derive(Debug)]
pub(super) struct SplitQuantiser {
    semantic: ResidualQuantiser,
    acoustic: ResidualQuantiser,
}

/// Each level quantises what the ones before it left over (Zeghidour et al., "SoundStream", 2021).
#[derive(Debug)]
struct ResidualQuantiser {
    /// `[hidden_size, codebook_dim]`; none where the widths are equal.
    input: Option<Tensor<2>>,
    /// `[codebook_dim, hidden_size]`.
    output: Option<Tensor<2>>,
    levels: Vec<Codebook>,
}

#[derive(Debug)]
struct Codebook {
    /// `[size, dim]`.
    entries: Tensor<2>,
    /// `[1, size]`: half of the entries' squared lengths.
    half_squares: Tensor<2>,
}

impl SplitQuantiser {
    /// Reads `semantic_residual_vector_quantizer` and `acoustic_residual_vector_quantizer`.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub(super) fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let part = |name: &str, levels: usize| {
            ResidualQuantiser::load(&weights.child(format!("{name}_residual_vector_quantizer")), config, levels, device)
        };
        let semantic = config.num_semantic_quantizers;
        Ok(Self {
            semantic: part("semantic", semantic)?,
            acoustic: part("acoustic", config.num_quantizers - semantic)?,
        })
    }

    /// Ids, level after level.
    ///
    /// # Shapes
    /// - latents: `[rows, hidden_size]`
    /// - output: `levels` tensors `[rows]`, the semantic ones first
    pub(super) fn encode(&self, latents: Tensor<2>, levels: usize) -> Vec<Tensor<1, Int>> {
        let mut ids = self.semantic.encode(latents.clone(), self.semantic.levels.len());
        let acoustic = levels.saturating_sub(ids.len());
        if acoustic > 0 {
            ids.extend(self.acoustic.encode(latents, acoustic));
        }
        ids
    }

    /// What the ids stand for.
    ///
    /// # Shapes
    /// - ids: of each level `[rows]`, below the codebook's size; at least the semantic ones
    /// - output: `[rows, hidden_size]`
    pub(super) fn decode(&self, ids: &[Vec<u32>], device: &Device) -> Option<Tensor<2>> {
        let (semantic, acoustic) = ids.split_at_checked(self.semantic.levels.len())?;
        let semantic = self.semantic.decode(semantic, device)?;
        Some(match self.acoustic.decode(acoustic, device) {
            Some(acoustic) => semantic + acoustic,
            None => semantic,
        })
    }
}

impl ResidualQuantiser {
    fn load(weights: &Weights<'_>, config: &Config, levels: usize, device: &Device) -> Result<Self> {
        let (wide, narrow) = (config.hidden_size, config.codebook_dim);
        let projection = |name: &str, width_in, width_out| -> Result<_> {
            if wide == narrow {
                return Ok(None);
            }
            // Stored as a convolution of kernel 1.
            let stored = weights.tensor(name, [width_out, width_in, 1], device)?;
            Ok(Some(stored.reshape([width_out, width_in]).transpose()))
        };
        let load = |level| Codebook::load(&weights.child("layers").child(level).child("codebook"), config, device);
        Ok(Self {
            input: projection("input_proj.weight", wide, narrow)?,
            output: projection("output_proj.weight", narrow, wide)?,
            levels: (0..levels).map(load).collect::<Result<_>>()?,
        })
    }

    fn encode(&self, latents: Tensor<2>, levels: usize) -> Vec<Tensor<1, Int>> {
        let mut rest = match &self.input {
            Some(input) => latents.matmul(input.clone()),
            None => latents,
        };
        let mut all = Vec::with_capacity(levels);
        for codebook in self.levels.iter().take(levels) {
            let ids = codebook.nearest(rest.clone());
            rest = rest - codebook.entries.clone().select(0, ids.clone());
            all.push(ids);
        }
        all
    }

    fn decode(&self, ids: &[Vec<u32>], device: &Device) -> Option<Tensor<2>> {
        let entries = |(codebook, ids): (&Codebook, &Vec<u32>)| {
            codebook.entries.clone().select(0, device_ids(ids, [ids.len()], device))
        };
        let sum = self.levels.iter().zip(ids).map(entries).reduce(|sum, entries| sum + entries)?;
        Some(match &self.output {
            Some(output) => sum.matmul(output.clone()),
            None => sum,
        })
    }
}

impl Codebook {
    /// Reads `embed_sum` and `cluster_usage`, running sums of the training; an entry is their quotient.
    fn load(weights: &Weights<'_>, config: &Config, device: &Device) -> Result<Self> {
        let (size, dim) = (config.codebook_size, config.codebook_dim);
        let mut entries = weights.floats("embed_sum", &[size, dim])?;
        let usage = weights.floats("cluster_usage", &[size])?;
        // Whether the codebook has been initialised: a state of training.
        let state = weights.name("initialized");
        weights.checkpoint().pass_over(|name| name == state);
        for (entry, usage) in entries.chunks_mut(dim).zip(usage) {
            entry.iter_mut().for_each(|value| *value /= usage.max(USAGE_MIN));
        }
        let square = |entry: &[f32]| entry.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        let half_squares: Vec<f32> = entries.chunks(dim).map(|entry| (0.5 * square(entry)) as f32).collect();
        if !half_squares.iter().all(|square| square.is_finite()) {
            return Err(Error::tensor(weights.name("embed_sum"), "entries of finite length", "an infinite one"));
        }
        Ok(Self {
            entries: device_floats(&entries, [size, dim], device),
            half_squares: device_floats(&half_squares, [1, size], device),
        })
    }

    /// The nearest entries: |x - e|^2 is least where |e|^2 / 2 - x e is. The first of equals.
    ///
    /// # Shapes
    /// - x: `[rows, dim]`
    /// - output: `[rows]`
    fn nearest(&self, x: Tensor<2>) -> Tensor<1, Int> {
        let rows = x.dims()[0];
        let entries = self.entries.clone().transpose();
        let step = (SCORES / entries.dims()[1].max(1)).max(1);
        let mut parts = Vec::with_capacity(rows.div_ceil(step));
        for first in (0..rows).step_by(step) {
            let part = x.clone().narrow(0, first, step.min(rows - first));
            let scores = self.half_squares.clone() - part.matmul(entries.clone());
            parts.push(scores.argmin(1).squeeze_dim::<1>(1));
        }
        Tensor::cat(parts, 0)
    }
}
