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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        Checkpoint,
        named::{device_floats, device_ids},
    };

    fn checkpoint() -> Checkpoint {
        Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dac_odd")).unwrap()
    }

    fn wave(dims: [usize; 3]) -> Tensor<3> {
        device_floats(&vec![0.1; dims.iter().product()], dims, &Device::flex())
    }

    #[test]
    fn every_length_is_coded_or_refused_as_the_config_says() {
        let checkpoint = checkpoint();
        let model = Dac::load(checkpoint.config().unwrap(), &checkpoint.weights(), &Device::flex()).unwrap();
        for samples in 0..130 {
            let frames = model.config().frames(1, samples);
            match model.encode(wave([1, 1, samples]), 2) {
                Ok(codes) => {
                    assert_eq!(codes.dims(), [1, 2, frames.unwrap()]);
                    let [_, _, frames] = codes.dims();
                    let sound = model.decode(codes).unwrap();
                    assert_eq!(sound.dims(), [1, 1, model.config().samples(1, frames).unwrap()]);
                }
                Err(error) => assert!(frames.is_err() && samples < 40, "{samples}: {error}"),
            }
        }
    }

    #[test]
    fn inputs_that_cannot_be_are_errors() {
        let checkpoint = checkpoint();
        let model = Dac::load(checkpoint.config().unwrap(), &checkpoint.weights(), &Device::flex()).unwrap();
        let check = |result: Result<()>, part: &str| {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Input { .. }) && error.to_string().contains(part), "{error}");
        };
        check(model.encode(wave([1, 2, 80]), 2).map(drop), "[clips, 1, samples]");
        check(model.encode(wave([0, 1, 80]), 2).map(drop), "a clip");
        check(model.encode(wave([1, 1, 80]), 0).map(drop), "1 to 6");
        check(model.encode(wave([1, 1, 80]), 7).map(drop), "1 to 6");
        let decode = |codes: &[u32], dims| model.decode(device_ids(codes, dims, &Device::flex())).map(drop);
        check(decode(&[16], [1, 1, 1]), "0 to 15");
        check(decode(&[0; 7], [1, 7, 1]), "1 to 6");
        check(decode(&[], [1, 2, 0]), "a sample at least");
        check(decode(&[], [0, 2, 3]), "a clip");
        check(model.decode_quantised(wave([1, 3, 4])).map(drop), "[clips, 32, frames]");
        check(model.quantise(wave([1, 32, 0]), 1).map(drop), "a frame at least");
    }

    #[test]
    fn sounds_beyond_all_measure_have_codes_too() {
        let checkpoint = checkpoint();
        let model = Dac::load(checkpoint.config().unwrap(), &checkpoint.weights(), &Device::flex()).unwrap();
        for sample in [f32::NAN, f32::INFINITY, f32::MAX] {
            let codes = model.encode(device_floats(&[sample; 80], [1, 1, 80], &Device::flex()), 2).unwrap();
            model.decode(codes).unwrap();
        }
    }

    #[test]
    fn any_number_in_a_config_is_refused_or_harmless() {
        let checkpoint = checkpoint();
        let settings = checkpoint.config_json().as_object().unwrap().clone();
        for (key, value) in &settings {
            let numbers =
                ["0", "1", "2", "3", "1000000000", "18446744073709551615", "-1", "1e300", "null", "[]", "[1]"];
            for number in numbers.iter().filter(|_| value.is_number() || value.is_array()) {
                let mut changed = settings.clone();
                changed.insert(key.clone(), serde_json::from_str(number).unwrap());
                let Ok(config) = serde_json::from_value::<Config>(changed.into()) else { continue };
                let Ok(model) = Dac::load(config, &checkpoint.weights(), &Device::flex()) else { continue };
                if let Ok(codes) = model.encode(wave([1, 1, 120]), 1) {
                    model.decode(codes).unwrap();
                }
            }
        }
    }
}
