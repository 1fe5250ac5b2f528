//! The stages of the audio tower: [`Stage`].

use burn::tensor::{Device, Int, Tensor};

use super::{
    AudioConfig,
    windows::{Windows, relative_rows},
};
use crate::{
    Result,
    checkpoint::Weights,
    named::{device_floats, device_ids},
    nn::{Activation, LayerNorm, Linear, attend, split_heads},
};

/// Epsilon of the norms that are not in blocks: no setting.
pub(super) const NORM_EPSILON: f64 = 1e-5;

/// Blocks at one scale, and the step to the next.
#[derive(Debug)]
pub struct Stage {
    blocks: Vec<Block>,
    /// Of even blocks, and of odd ones.
    windows: [Windows; 2],
    merging: Option<Merging>,
}

#[derive(Debug)]
struct Block {
    attention_norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// `[1, heads, cells, cells]`.
    bias: Tensor<4>,
    norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    activation: Activation,
    heads: usize,
}

/// Four neighbouring patches to one of twice the width.
#[derive(Debug)]
struct Merging {
    /// The four patches of each new one, `[patches]`.
    order: Tensor<1, Int>,
    norm: LayerNorm,
    reduction: Linear,
}

impl Stage {
    /// Takes its tensors from `weights`, those of `layers.{stage}`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn load(config: &AudioConfig, stage: usize, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let blocks = (0..config.depths[stage])
            .map(|index| Block::load(config, stage, &weights.child("blocks").child(index), device))
            .collect::<Result<_>>()?;
        let grid = config.grid().map(|side| side >> stage);
        let last = stage + 1 == config.depths.len();
        let merging = weights.child("downsample");
        Ok(Self {
            blocks,
            windows: [0, config.window_size / 2].map(|shift| Windows::new(grid, config.window_size, shift, device)),
            merging: if last { None } else { Some(Merging::load(config.width(stage), grid, &merging, device)?) },
        })
    }

    /// The blocks, then the merging.
    ///
    /// # Shapes
    /// - x: `[clips, patches, width]`
    /// - output: `[clips, patches / 4, 2 * width]`; of the last stage as the input
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.blocks.iter().enumerate().fold(x, |x, (index, block)| block.forward(x, &self.windows[index % 2]));
        match &self.merging {
            Some(merging) => merging.forward(x),
            None => x,
        }
    }
}

impl Block {
    fn load(config: &AudioConfig, stage: usize, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let (width, inner, heads) = (config.width(stage), config.inner_width(stage), config.num_attention_heads[stage]);
        let norm = |name| LayerNorm::load(&weights.child(name), width, config.layer_norm_eps, device);
        let own = weights.child("attention.self");
        let to_heads = |name| match config.qkv_bias {
            true => Linear::load_biased(&own.child(name), width, width, device),
            false => Linear::load(&own.child(name), width, width, device),
        };
        Ok(Self {
            attention_norm: norm("layernorm_before")?,
            query: to_heads("query")?,
            key: to_heads("key")?,
            value: to_heads("value")?,
            output: Linear::load_biased(&weights.child("attention.output.dense"), width, width, device)?,
            bias: relative_bias(&own, config.window_size, heads, device)?,
            norm: norm("layernorm_after")?,
            inner: Linear::load_biased(&weights.child("intermediate.dense"), width, inner, device)?,
            outer: Linear::load_biased(&weights.child("output.dense"), inner, width, device)?,
            activation: config.activation()?,
            heads,
        })
    }

    fn forward(&self, x: Tensor<3>, windows: &Windows) -> Tensor<3> {
        let [clips, _, width] = x.dims();
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let cut = windows.cut(self.attention_norm.forward(x.clone()));
        let split = |linear: &Linear| split_heads(linear.forward(cut.clone()), self.heads);
        let bias = match windows.mask() {
            // The windows of a clip differ in their masks; clips do not.
            Some(mask) => (self.bias.clone() + mask.clone()).repeat_dim(0, clips),
            None => self.bias.clone(),
        };
        let query = split(&self.query).mul_scalar(scale);
        let mixed = attend(query, split(&self.key), split(&self.value), Some(&bias), None);
        let x = x + windows.join(self.output.forward(mixed));
        let inner = self.activation.apply(self.inner.forward(self.norm.forward(x.clone())));
        x + self.outer.forward(inner)
    }
}

/// A bias for every query and key of a window, from a table with a row a relative place: `[1, heads, cells, cells]`.
fn relative_bias(weights: &Weights<'_>, side: usize, heads: usize, device: &Device) -> Result<Tensor<4>> {
    let span = 2 * side - 1;
    let table = weights.floats("relative_position_bias_table", &[span * span, heads])?;
    let (rows, cells) = (relative_rows(side), side * side);
    let values: Vec<f32> = (0..heads)
        .flat_map(|head| rows.iter().map(move |row| (head, *row as usize)))
        .map(|(head, row)| table[row * heads + head])
        .collect();
    Ok(device_floats(&values, [1, heads, cells, cells], device))
}

impl Merging {
    fn load(width: usize, [rows, columns]: [usize; 2], weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let mut order = Vec::with_capacity(rows * columns);
        for row in (0..rows).step_by(2) {
            for column in (0..columns).step_by(2) {
                // Down first, then to the right.
                let places = [(0, 0), (1, 0), (0, 1), (1, 1)];
                order.extend(places.map(|(down, right)| ((row + down) * columns + column + right) as u32));
            }
        }
        Ok(Self {
            order: device_ids(&order, [rows * columns], device),
            norm: LayerNorm::load(&weights.child("norm"), 4 * width, NORM_EPSILON, device)?,
            reduction: Linear::load(&weights.child("reduction"), 4 * width, 2 * width, device)?,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [clips, patches, width] = x.dims();
        let four = x.select(1, self.order.clone()).reshape([clips, patches / 4, 4 * width]);
        self.reduction.forward(self.norm.forward(four))
    }
}
