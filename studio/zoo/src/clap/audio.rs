//! The audio tower: [`AudioTower`].

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};

use super::{
    AudioConfig, Features,
    patches::{Patches, RunningNorm},
    resize::Stretch,
    swin::{NORM_EPSILON, Stage},
};
use crate::{Error, Result, checkpoint::Weights, named::device_floats, nn::LayerNorm};

/// Clips that go through the tower side by side: more take memory and no less time.
const CLIPS_MAX: usize = 4;

/// HTSAT (Chen et al., "HTS-AT: a hierarchical token-semantic audio transformer for sound classification and detection",
/// ICASSP 2022), frozen.
#[derive(Debug)]
pub struct AudioTower {
    /// Over mel bands.
    bands: RunningNorm,
    patches: Patches,
    stages: Vec<Stage>,
    norm: LayerNorm,
    /// From `frames` as they come to those that fill the image: the front end's are always the same.
    stretch: OnceLock<(usize, Stretch)>,
    config: AudioConfig,
    device: Device,
}

impl AudioTower {
    /// Takes its tensors from `weights`, those of `audio_model.audio_encoder`.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`].
    pub fn load(config: AudioConfig, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let stages = (0..config.depths.len())
            .map(|stage| Stage::load(&config, stage, &weights.child("layers").child(stage), device))
            .collect::<Result<_>>()?;
        Ok(Self {
            bands: RunningNorm::load(&weights.child("batch_norm"), config.num_mel_bins, device)?,
            patches: Patches::load(&config, &weights.child("patch_embed"), device)?,
            stages,
            norm: LayerNorm::load(&weights.child("norm"), config.hidden_size, NORM_EPSILON, device)?,
            stretch: OnceLock::new(),
            config,
            device: device.clone(),
        })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &AudioConfig {
        &self.config
    }

    /// The mean over all patches of the last stage.
    ///
    /// # Shapes
    /// - clips: features of 1 channel, or 4 with fusion; all of `num_mel_bins` bands and of one length
    /// - output: `[clips, hidden_size]`
    ///
    /// # Errors
    /// [`Error::Input`] for no clips, or features of another shape.
    pub fn forward(&self, clips: &[&Features]) -> Result<Tensor<2>> {
        let Some(first) = clips.first() else {
            return Err(Error::input("features", "at least one clip", "none"));
        };
        for clip in clips {
            self.check(clip, first.frames())?;
        }
        let pooled = clips.chunks(CLIPS_MAX).map(|part| self.pooled(part, first.frames())).collect();
        Ok(Tensor::cat(pooled, 0))
    }

    fn check(&self, clip: &Features, frames: usize) -> Result<()> {
        let channels = if self.config.enable_fusion { 4 } else { 1 };
        let (bands, most) = (self.config.num_mel_bins, self.config.frames());
        let fits = clip.channels() == channels && clip.bands() == bands && clip.frames() == frames;
        if fits && (1..=most).contains(&frames) {
            return Ok(());
        }
        let expected = format!("[{channels}, {}, {bands}]", if frames <= most { frames } else { most });
        let got = format!("[{}, {}, {}]", clip.channels(), clip.frames(), clip.bands());
        Err(Error::input("features", expected, got))
    }

    fn pooled(&self, clips: &[&Features], frames: usize) -> Tensor<2> {
        let (images, longer) = (clips.iter().map(|clip| clip.channel(0)), longer(clips));
        let images = self.images(&images.collect::<Vec<_>>(), frames);
        // A clip that is not longer is heard as a whole only: its parts would be copies.
        let parts: Vec<&[f32]> = match self.config.enable_fusion {
            true => longer.iter().flat_map(|clip| (1..4).map(|channel| clips[*clip].channel(channel))).collect(),
            false => Vec::new(),
        };
        let parts = (!parts.is_empty()).then(|| self.images(&parts, frames));
        let x = self.patches.forward(images, &longer, parts);
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(x));
        let [clips, _, width] = x.dims();
        self.norm.forward(x).mean_dim(1).reshape([clips, width])
    }

    /// Spectrograms as images: normalised by band, stretched to fill the image, and slices of time stacked along
    /// frequency.
    ///
    /// # Shapes
    /// - rows: spectrograms of `frames * bands`
    /// - output: `[rows, spec_size, spec_size]`
    fn images(&self, rows: &[&[f32]], frames: usize) -> Tensor<3> {
        let (count, bands, to) = (rows.len(), self.config.num_mel_bins, self.config.frames());
        let x = device_floats(&rows.concat(), [count, frames, bands], &self.device);
        let x = self.bands.forward(x);
        let x = if frames == to { x } else { self.stretched(&x, frames, to) };
        let (ratio, side) = (self.config.freq_ratio(), self.config.spec_size);
        // [slices, frames, bands] to [slices, bands, frames]: a slice's bands are rows of the image.
        x.reshape([count, ratio, side, bands]).swap_dims(2, 3).reshape([count, side, side])
    }

    fn stretched(&self, x: &Tensor<3>, frames: usize, to: usize) -> Tensor<3> {
        let new = || Stretch::new(frames, to, &self.device);
        let (from, stretch) = self.stretch.get_or_init(|| (frames, new()));
        if *from == frames { stretch.forward(x) } else { new().forward(x) }
    }
}

fn longer(clips: &[&Features]) -> Vec<usize> {
    (0..clips.len()).filter(|clip| clips[*clip].is_longer()).collect()
}
