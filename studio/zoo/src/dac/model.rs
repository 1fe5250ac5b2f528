//! The codec: [`Dac`].

use burn::tensor::{DType, Device, Int, Tensor};

use super::{
    config::Config,
    network::{Decoder, Encoder},
    quantiser::{Quantised, Quantiser},
};
use crate::{Error, Result, checkpoint::Weights};

/// The codec. Sound is `[clips, 1, samples]` in -1 to 1, codes are `[clips, levels, frames]`.
#[derive(Debug)]
pub struct Dac {
    config: Config,
    encoder: Encoder,
    decoder: Decoder,
    quantiser: Quantiser,
    device: Device,
}

impl Dac {
    /// Takes its tensors from `weights`, which may lie under a prefix.
    ///
    /// # Errors
    /// [`Error::Tensor`], [`Error::Config`].
    pub fn load(config: Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            encoder: Encoder::load(&config, &weights.child("encoder"), device)?,
            decoder: Decoder::load(&config, &weights.child("decoder"), device)?,
            quantiser: Quantiser::load(&config, &weights.child("quantizer"), device)?,
            config,
            device: device.clone(),
        })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its tensors are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// What the quantiser gets.
    ///
    /// # Shapes
    /// - waveform: `[clips, 1, samples]`
    /// - output: `[clips, width, frames]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape, or a sound too short for a frame.
    pub fn latents(&self, waveform: Tensor<3>) -> Result<Tensor<3>> {
        let [clips, channels, samples] = waveform.dims();
        if channels != 1 {
            return Err(Error::input("waveform", "[clips, 1, samples]", format!("{:?}", waveform.dims())));
        }
        self.config.frames(clips, samples)?;
        Ok(self.encoder.forward(waveform))
    }

    /// The first `levels` levels of latents.
    ///
    /// # Shapes
    /// - latents: `[clips, width, frames]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape, or for more levels than there are.
    pub fn quantise(&self, latents: Tensor<3>, levels: usize) -> Result<Quantised> {
        self.check_levels(levels)?;
        self.check_latents(&latents)?;
        Ok(self.quantiser.encode(latents, levels))
    }

    /// Codes of a sound: the first `levels` levels.
    ///
    /// # Shapes
    /// - waveform: `[clips, 1, samples]`
    /// - output: `[clips, levels, frames]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape, a sound too short for a frame, or more levels than there are.
    pub fn encode(&self, waveform: Tensor<3>, levels: usize) -> Result<Tensor<3, Int>> {
        self.check_levels(levels)?;
        Ok(self.quantise(self.latents(waveform)?, levels)?.codes)
    }

    /// The sound of codes. With an odd stride it is shorter than frames * hop.
    ///
    /// # Shapes
    /// - codes: `[clips, levels, frames]`, from 1 to all levels
    /// - output: `[clips, 1, samples]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape or a code out of range.
    pub fn decode(&self, codes: Tensor<3, Int>) -> Result<Tensor<3>> {
        let [clips, levels, frames] = codes.dims();
        self.check_levels(levels)?;
        self.config.samples(clips, frames)?;
        let size = self.config.codebook_size;
        if let Some(code) =
            host_codes(codes.clone())?.iter().find(|code| usize::try_from(**code).map_or(true, |code| code >= size))
        {
            return Err(Error::input("codes", format!("0 to {}", size - 1), code));
        }
        let quantised = self.quantiser.decode(codes);
        let quantised = quantised.ok_or_else(|| Error::input("codes", "a level at least", "none"))?;
        self.decode_quantised(quantised)
    }

    /// The sound of quantised latents.
    ///
    /// # Shapes
    /// - quantised: `[clips, width, frames]`
    /// - output: `[clips, 1, samples]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape.
    pub fn decode_quantised(&self, quantised: Tensor<3>) -> Result<Tensor<3>> {
        self.check_latents(&quantised)?;
        let [clips, _, frames] = quantised.dims();
        self.config.samples(clips, frames)?;
        Ok(self.decoder.forward(quantised))
    }

    fn check_latents(&self, latents: &Tensor<3>) -> Result<()> {
        let [clips, width, frames] = latents.dims();
        if clips > 0 && width == self.config.width() && frames > 0 {
            return Ok(());
        }
        let rule = format!("[clips, {}, frames] with a clip and a frame at least", self.config.width());
        Err(Error::input("latents", rule, format!("{:?}", latents.dims())))
    }

    fn check_levels(&self, levels: usize) -> Result<()> {
        if (1..=self.config.n_codebooks).contains(&levels) {
            return Ok(());
        }
        Err(Error::input("levels", format!("1 to {}", self.config.n_codebooks), levels))
    }
}

/// Codes of a device on the host.
pub(super) fn host_codes(codes: Tensor<3, Int>) -> Result<Vec<i64>> {
    let unreadable = |error: String| Error::input("codes", "values readable from the device", error);
    let data = codes.try_into_data_dtype(DType::I64).map_err(|error| unreadable(format!("{error:?}")))?;
    data.try_to_vec::<i64>().map_err(|error| unreadable(format!("{error:?}")))
}
