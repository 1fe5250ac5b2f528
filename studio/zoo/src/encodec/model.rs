//! The codec: [`Encodec`].

use burn::tensor::{DType, Device, Int, Tensor};

use super::{config::Config, quantiser::Quantiser, seanet::Network};
use crate::{
    Error, Result,
    checkpoint::Weights,
    named::{device_floats, device_ids},
};

/// The codec. Sound is `[clips, channels, samples]` in -1 to 1, codes are `[clips, quantisers, frames]`.
#[derive(Debug)]
pub struct Encodec {
    config: Config,
    encoder: Network,
    decoder: Network,
    quantiser: Quantiser,
    device: Device,
}

impl Encodec {
    /// Takes its tensors from `weights`, which may lie under a prefix.
    ///
    /// # Errors
    /// [`Error::Tensor`], [`Error::Config`].
    pub fn load(config: Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            encoder: Network::load_encoder(&config, &weights.child("encoder"), device)?,
            decoder: Network::load_decoder(&config, &weights.child("decoder"), device)?,
            quantiser: Quantiser::load(&config, &weights.child("quantizer"), device)?,
            config,
            device: device.clone(),
        })
    }

    /// Where its tensors are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// Its settings: rates, channels, codebook.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the quantiser gets of a whole sound, neither cut into chunks nor normalised.
    ///
    /// # Shapes
    /// - waveform: `[clips, channels, samples]`, any length from 1
    /// - output: `[clips, width, ceil(samples / hop)]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape.
    pub fn latents(&self, waveform: Tensor<3>) -> Result<Tensor<3>> {
        self.check_waveform(&waveform)?;
        self.encoder.forward(waveform)
    }

    /// Frames a second, exactly: sample rate / hop.
    #[must_use]
    pub fn frame_rate_hz(&self) -> f64 {
        self.config.sampling_rate as f64 / self.config.hop() as f64
    }

    /// Codes of a whole sound of the host, with their shape: as [`Encodec::encode_tensor`].
    ///
    /// # Shapes
    /// - waveform: `dims` = `[clips, channels, samples]`, row-major
    /// - output: `[clips, quantisers, ceil(samples / hop)]`
    ///
    /// # Errors
    /// As [`Encodec::encode_tensor`]; [`Error::Input`] when `waveform` does not fill `dims` or is not finite.
    pub fn encode(&self, waveform: &[f32], dims: [usize; 3], quantisers: usize) -> Result<([usize; 3], Vec<u32>)> {
        check_filled("waveform", waveform.len(), dims)?;
        if let Some(sample) = waveform.iter().find(|sample| !sample.is_finite()) {
            return Err(Error::input("waveform", "finite samples", sample));
        }
        let codes = self.encode_tensor(device_floats(waveform, dims, &self.device), quantisers)?;
        let dims = codes.dims();
        Ok((dims, host_codes(codes)?.into_iter().map(|code| u32::try_from(code).unwrap_or(0)).collect()))
    }

    /// The sound of codes of the host: as [`Encodec::decode_tensor`].
    ///
    /// # Shapes
    /// - codes: `dims` = `[clips, quantisers, frames]`, row-major
    /// - output: `[clips, channels, frames * hop]`
    ///
    /// # Errors
    /// As [`Encodec::decode_tensor`]; [`Error::Input`] when `codes` does not fill `dims`.
    pub fn decode(&self, codes: &[u32], dims: [usize; 3]) -> Result<Tensor<3>> {
        check_filled("codes", codes.len(), dims)?;
        self.decode_tensor(device_ids(codes, dims, &self.device))
    }

    /// Codes of a whole sound, for models that take it whole: see [`Encodec::encode_chunks`] for the others.
    /// [`Config::quantisers_for`] says how many quantisers a bandwidth pays for.
    ///
    /// # Shapes
    /// - waveform: `[clips, channels, samples]`, any length from 1
    /// - output: `[clips, quantisers, ceil(samples / hop)]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape or for more quantisers than there are; [`Error::Config`] when the model cuts
    /// sound into chunks or normalises it.
    pub fn encode_tensor(&self, waveform: Tensor<3>, quantisers: usize) -> Result<Tensor<3, Int>> {
        if self.config.chunk_length_s.is_some() || self.config.normalize {
            let rule = "a model that takes sound whole and as it is";
            return Err(Error::config("chunk_length_s", rule, "chunks or normalisation: use encode_chunks"));
        }
        self.codes_of(waveform, quantisers)
    }

    /// The sound of codes. It may be longer than the sound that was encoded: cut it to its length.
    ///
    /// # Shapes
    /// - codes: `[clips, quantisers, frames]`, from 1 to all quantisers
    /// - output: `[clips, channels, frames * hop]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape or a code out of range.
    pub fn decode_tensor(&self, codes: Tensor<3, Int>) -> Result<Tensor<3>> {
        self.decoder.forward(self.quantised(codes)?)
    }

    /// The sum of the codebook entries, from which the decoder makes sound.
    ///
    /// # Shapes
    /// - codes: `[clips, quantisers, frames]`, from 1 to all quantisers
    /// - output: `[clips, width, frames]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape or a code out of range.
    pub fn quantised(&self, codes: Tensor<3, Int>) -> Result<Tensor<3>> {
        let [clips, levels, frames] = codes.dims();
        self.check_quantisers(levels)?;
        if clips == 0 || frames == 0 {
            let got = format!("{clips} clips of {frames} frames");
            return Err(Error::input("codes", "at least one clip of at least one frame", got));
        }
        self.config.check_size(clips, frames.saturating_mul(self.config.hop()))?;
        let size = self.config.codebook_size;
        match host_codes(codes.clone())?.iter().find(|code| usize::try_from(**code).map_or(true, |code| code >= size)) {
            Some(code) => Err(Error::input("codes", format!("0 to {}", size - 1), code)),
            None => Ok(self.quantiser.decode(codes)),
        }
    }

    pub(super) fn codes_of(&self, waveform: Tensor<3>, quantisers: usize) -> Result<Tensor<3, Int>> {
        self.check_quantisers(quantisers)?;
        Ok(self.quantiser.encode(self.latents(waveform)?, quantisers))
    }

    pub(super) fn check_waveform(&self, waveform: &Tensor<3>) -> Result<()> {
        let [clips, channels, samples] = waveform.dims();
        if clips == 0 || channels != self.config.audio_channels || samples == 0 {
            let rule = format!("[clips, {}, samples] with a clip and a sample at least", self.config.audio_channels);
            return Err(Error::input("waveform", rule, format!("{:?}", waveform.dims())));
        }
        // A chunk is no longer than the sound, so its activations fit when the sound's do; a chunked sound may be longer.
        let longest = self.config.chunk_samples().map_or(samples, |chunk| chunk.min(samples));
        self.config.check_size(clips, longest)
    }

    fn check_quantisers(&self, quantisers: usize) -> Result<()> {
        let most = self.config.quantisers();
        if (1..=most).contains(&quantisers) {
            return Ok(());
        }
        Err(Error::input("quantisers", format!("1 to {most}"), quantisers))
    }
}

/// Codes of a device on the host.
pub(super) fn host_codes<const D: usize>(codes: Tensor<D, Int>) -> Result<Vec<i64>> {
    let unreadable = |error: String| Error::input("codes", "values readable from the device", error);
    let data = codes.try_into_data_dtype(DType::I64).map_err(|error| unreadable(format!("{error:?}")))?;
    data.try_to_vec::<i64>().map_err(|error| unreadable(format!("{error:?}")))
}

/// Refuses values that do not fill their shape.
fn check_filled(what: &str, values: usize, dims: [usize; 3]) -> Result<()> {
    if dims.iter().try_fold(1, |all: usize, extent| all.checked_mul(*extent)) == Some(values) {
        return Ok(());
    }
    Err(Error::input(what, format!("as many values as {dims:?} has"), values))
}
