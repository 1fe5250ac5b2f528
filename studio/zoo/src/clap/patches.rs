//! From an image to patches, and the fusion of two scales: [`Patches`].

use burn::{
    module::Param,
    tensor::{
        Device, Int, Tensor,
        activation::{relu, sigmoid},
        module::conv2d,
        ops::ConvOptions,
    },
};

use super::{AudioConfig, swin::NORM_EPSILON};
use crate::{
    Error, Result,
    checkpoint::Weights,
    named::{device_floats, device_ids},
    nn::{LayerNorm, Linear, transposed},
};

/// The patches of one image, and of three more for clips that are heard at two scales.
#[derive(Debug)]
pub struct Patches {
    projection: Kernel,
    fusion: Option<Fusion>,
    norm: Option<LayerNorm>,
    grid: [usize; 2],
}

/// A convolution over rows and columns.
#[derive(Debug)]
struct Kernel {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: [usize; 2],
    padding: [usize; 2],
}

#[derive(Debug)]
struct Fusion {
    /// Patches three times as wide: three parts of a clip side by side are as wide as the whole.
    parts: Kernel,
    local: Gate,
    global: Gate,
}

/// Linear, norm, ReLU, linear, norm.
#[derive(Debug)]
struct Gate {
    inner: Linear,
    inner_norm: RunningNorm,
    outer: Linear,
    outer_norm: RunningNorm,
}

/// Batch normalisation with the statistics of training: `y = x scale + offset` for each channel.
#[derive(Debug)]
pub struct RunningNorm {
    /// `weight / sqrt(variance + 1e-5)`, `[channels]`.
    scale: Tensor<1>,
    /// `bias - mean scale`, `[channels]`.
    offset: Tensor<1>,
}

impl RunningNorm {
    /// Reads weight, bias and running statistics.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub fn load(weights: &Weights<'_>, channels: usize, device: &Device) -> Result<Self> {
        let read = |name| weights.floats(name, &[channels]);
        let (weight, bias) = (read("weight")?, read("bias")?);
        let (mean, variance) = (read("running_mean")?, read("running_var")?);
        let mut scales = Vec::with_capacity(channels);
        let mut offsets = Vec::with_capacity(channels);
        for channel in 0..channels {
            if variance[channel] < 0.0 {
                return Err(Error::tensor(weights.name("running_var"), "no value below 0", variance[channel]));
            }
            let scale = f64::from(weight[channel]) / (f64::from(variance[channel]) + NORM_EPSILON).sqrt();
            scales.push(scale as f32);
            offsets.push((f64::from(bias[channel]) - f64::from(mean[channel]) * scale) as f32);
        }
        let tensor = |values: &[f32]| device_floats(values, [channels], device);
        Ok(Self { scale: tensor(&scales), offset: tensor(&offsets) })
    }

    /// Normalises the last extent.
    ///
    /// # Shapes
    /// - x, output: `[rows, steps, channels]`
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        x * self.scale.clone().unsqueeze::<3>() + self.offset.clone().unsqueeze::<3>()
    }
}

impl Kernel {
    /// A patch's kernel, `times` as wide.
    fn load(config: &AudioConfig, times: usize, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let (size, stride, width) = (config.patch_size, config.patch_stride, config.patch_embeds_hidden_size);
        Ok(Self {
            weight: weights.tensor("weight", [width, 1, size[0], size[1] * times], device)?,
            bias: weights.tensor("bias", [width], device)?,
            stride: [stride[0], stride[1] * times],
            padding: config.padding(),
        })
    }

    /// `[images, rows, columns]` to `[images, width, rows of patches, columns of patches]`.
    fn forward(&self, images: Tensor<3>) -> Tensor<4> {
        let options = ConvOptions::new(self.stride, self.padding, [1, 1], 1);
        conv2d(images.unsqueeze_dim(1), self.weight.clone(), Some(self.bias.clone()), options)
    }
}

/// A kernel of one row and one column as a matrix.
fn pointwise(weights: &Weights<'_>, from: usize, to: usize, device: &Device) -> Result<Linear> {
    let stored = weights.floats("weight", &[to, from, 1, 1])?;
    let weight = device_floats(&transposed(&stored, to, from), [from, to], device);
    let bias = weights.param("bias", [to], device)?;
    Ok(Linear { weight: Param::from_tensor(weight), bias: Some(bias), adapter: None })
}

impl Gate {
    /// `first` is the place of the first layer in the sequence of layers.
    fn load(config: &AudioConfig, first: usize, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let width = config.patch_embeds_hidden_size;
        let inner = width / config.aff_block_r;
        let linear = |index: usize, from: usize, to: usize| pointwise(&weights.child(index), from, to, device);
        Ok(Self {
            inner: linear(first, width, inner)?,
            inner_norm: RunningNorm::load(&weights.child(first + 1), inner, device)?,
            outer: linear(first + 3, inner, width)?,
            outer_norm: RunningNorm::load(&weights.child(first + 4), width, device)?,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = relu(self.inner_norm.forward(self.inner.forward(x)));
        self.outer_norm.forward(self.outer.forward(x))
    }
}

impl Fusion {
    fn load(config: &AudioConfig, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let model = weights.child("fusion_model");
        Ok(Self {
            parts: Kernel::load(config, 3, &weights.child("mel_conv2d"), device)?,
            local: Gate::load(config, 0, &model.child("local_att"), device)?,
            // The mean over all patches stands first in that sequence.
            global: Gate::load(config, 1, &model.child("global_att"), device)?,
        })
    }

    /// x f + y (1 - f), twice, f = sigmoid(local(x + y) + global(mean(x + y))) (Dai et al., "Attentional feature fusion",
    /// WACV 2021).
    ///
    /// # Shapes
    /// - whole: `[clips, patches, width]`
    /// - parts: `[clips * 3, rows, columns]`
    fn forward(&self, whole: Tensor<3>, parts: Tensor<3>, [rows, columns]: [usize; 2]) -> Tensor<3> {
        let [clips, patches, width] = whole.dims();
        let parts = self.parts.forward(parts);
        let narrow = parts.dims()[3];
        // The parts side by side; what they leave free on the right is zeros.
        let parts = parts.reshape([clips, 3, width, rows, narrow]).permute([0, 3, 1, 4, 2]);
        let parts = parts.reshape([clips, rows, 3 * narrow, width]);
        let free = columns.saturating_sub(3 * narrow);
        let parts = if free > 0 {
            let device = parts.device();
            Tensor::cat(vec![parts, Tensor::zeros([clips, rows, free, width], &device)], 2)
        } else {
            parts
        };
        let parts = parts.reshape([clips, patches, width]);
        let both = whole.clone() + parts.clone();
        let mean = both.clone().mean_dim(1);
        let share = sigmoid(self.local.forward(both) + self.global.forward(mean));
        let rest = share.clone().neg().add_scalar(1.0);
        (whole * share + parts * rest).mul_scalar(2.0)
    }
}

impl Patches {
    /// Takes its tensors from `weights`, those of `patch_embed`.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub fn load(config: &AudioConfig, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let norm = || LayerNorm::load(&weights.child("norm"), config.patch_embeds_hidden_size, NORM_EPSILON, device);
        Ok(Self {
            projection: Kernel::load(config, 1, &weights.child("proj"), device)?,
            fusion: if config.enable_fusion { Some(Fusion::load(config, weights, device)?) } else { None },
            norm: if config.enable_patch_layer_norm { Some(norm()?) } else { None },
            grid: config.grid(),
        })
    }

    /// Patches of the images, those of the `longer` clips fused with their parts'.
    ///
    /// # Shapes
    /// - images: `[clips, rows, columns]`
    /// - longer: clips that have parts, ascending
    /// - parts: `[longer * 3, rows, columns]`; there if `longer` names a clip
    /// - output: `[clips, patches, width]`
    #[must_use]
    pub fn forward(&self, images: Tensor<3>, longer: &[usize], parts: Option<Tensor<3>>) -> Tensor<3> {
        let projected = self.projection.forward(images);
        let [clips, width, rows, columns] = projected.dims();
        let mut x = projected.reshape([clips, width, rows * columns]).swap_dims(1, 2);
        if let (Some(fusion), Some(parts)) = (&self.fusion, parts) {
            let device = x.device();
            let ids = |ids: Vec<usize>| -> Tensor<1, Int> {
                let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
                device_ids(&ids, [ids.len()], &device)
            };
            let whole = x.clone().select(0, ids(longer.to_vec()));
            let fused = fusion.forward(whole, parts, self.grid);
            // Each clip's row: the fused ones lie behind all others.
            let row = |clip: usize| longer.iter().position(|at| *at == clip).map_or(clip, |at| clips + at);
            x = Tensor::cat(vec![x, fused], 0).select(0, ids((0..clips).map(row).collect()));
        }
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}
