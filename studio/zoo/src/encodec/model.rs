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
        self.check_shape(&waveform)?;
        let [clips, _, samples] = waveform.dims();
        self.config.check_size(clips, samples)?;
        self.encoder.forward(waveform)
    }

    /// Codes of latents.
    ///
    /// # Shapes
    /// - latents: `[clips, width, frames]`
    /// - output: `[clips, quantisers, frames]`
    ///
    /// # Errors
    /// [`Error::Input`] for another shape or for more quantisers than there are.
    pub fn quantise(&self, latents: Tensor<3>, quantisers: usize) -> Result<Tensor<3, Int>> {
        self.check_quantisers(quantisers)?;
        let [clips, width, frames] = latents.dims();
        if clips == 0 || width != self.config.hidden_size || frames == 0 {
            let rule = format!("[clips, {}, frames] with a clip and a frame at least", self.config.hidden_size);
            return Err(Error::input("latents", rule, format!("{:?}", latents.dims())));
        }
        Ok(self.quantiser.encode(latents, quantisers))
    }

    /// Frames a second, exactly: sample rate / hop, where [`Config::frame_rate_hz`] is rounded up.
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
        let narrow = |code: i64| u32::try_from(code).map_err(|_| Error::input("codes", "0 to 2^32 - 1", code));
        Ok((dims, host_codes(codes)?.into_iter().map(narrow).collect::<Result<_>>()?))
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
        // Before they reach the device: its integers may be too narrow for them.
        self.check_codes(codes.iter().map(|code| i64::from(*code)))?;
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
        self.check_quantisers(quantisers)?;
        self.quantise(self.latents(waveform)?, quantisers)
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
        self.check_codes(host_codes(codes.clone())?.into_iter())?;
        Ok(self.quantiser.decode(codes))
    }

    fn check_codes(&self, mut codes: impl Iterator<Item = i64>) -> Result<()> {
        let size = self.config.codebook_size;
        match codes.find(|code| usize::try_from(*code).map_or(true, |code| code >= size)) {
            Some(code) => Err(Error::input("codes", format!("0 to {}", size - 1), code)),
            None => Ok(()),
        }
    }

    /// Refuses a sound that is none, or of another number of channels.
    pub(super) fn check_shape(&self, waveform: &Tensor<3>) -> Result<()> {
        let [clips, channels, samples] = waveform.dims();
        if clips > 0 && channels == self.config.audio_channels && samples > 0 {
            return Ok(());
        }
        let rule = format!("[clips, {}, samples] with a clip and a sample at least", self.config.audio_channels);
        Err(Error::input("waveform", rule, format!("{:?}", waveform.dims())))
    }

    /// Refuses no quantisers, and more than there are.
    pub(super) fn check_quantisers(&self, quantisers: usize) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Checkpoint;

    fn checkpoint(name: &str) -> Checkpoint {
        Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
    }

    fn open(name: &str) -> Encodec {
        let checkpoint = checkpoint(name);
        let config = checkpoint.config().unwrap();
        let model = Encodec::load(config, &checkpoint.weights(), &Device::flex()).unwrap();
        checkpoint.finish().unwrap();
        model
    }

    #[test]
    fn every_length_has_its_frames_and_comes_back() {
        let model = open("encodec_32khz");
        let wave: Vec<f32> = (0..130).map(|index: u16| (f32::from(index) * 0.3).sin()).collect();
        for samples in 1..wave.len() {
            let (dims, codes) = model.encode(&wave[..samples], [1, 1, samples], 3).unwrap();
            assert_eq!(dims, [1, 3, samples.div_ceil(40)]);
            assert_eq!(model.decode(&codes, dims).unwrap().dims(), [1, 1, dims[2] * 40]);
        }
    }

    #[test]
    fn a_clip_does_not_hear_its_neighbour() {
        let model = open("encodec_24khz");
        let wave: Vec<f32> = (0..1400).map(|index: u16| (f32::from(index) * 0.17).sin()).collect();
        let (dims, both) = model.encode(&wave, [2, 1, 700], 4).unwrap();
        let (_, first) = model.encode(&wave[..700], [1, 1, 700], 4).unwrap();
        let (_, second) = model.encode(&wave[700..], [1, 1, 700], 4).unwrap();
        assert_eq!(both, [first, second].concat());
        let sound = model.decode(&both, dims).unwrap().into_data().try_to_vec::<f32>().unwrap();
        let alone = model.decode(&both[..both.len() / 2], [1, dims[1], dims[2]]).unwrap();
        let alone = alone.into_data().try_to_vec::<f32>().unwrap();
        let differ = alone.iter().zip(&sound).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(differ < 1e-6, "{differ}");
    }

    #[test]
    fn sounds_beyond_all_measure_have_codes_too() {
        for (name, channels) in [("encodec_24khz", 1), ("encodec_48khz", 2)] {
            let model = open(name);
            for sample in [f32::NAN, f32::INFINITY, f32::MAX] {
                let wave = device_floats(&[sample; 80], [1, channels, 80 / channels], &Device::flex());
                let chunks = model.encode_chunks(wave, None, 2).unwrap();
                model.decode_chunks(&chunks).unwrap();
            }
        }
    }

    #[test]
    fn chunks_of_every_length_cover_the_sound() {
        let model = open("encodec_48khz");
        let wave: Vec<f32> = (0..2000).map(|index: u16| (f32::from(index) * 0.3).sin()).collect();
        for samples in (1..1000).step_by(37).chain([359, 360, 361, 365, 384, 385, 400, 401, 719, 720, 721, 760, 761]) {
            let wave = device_floats(&wave[..2 * samples], [1, 2, samples], &Device::flex());
            let chunks = model.encode_chunks(wave, None, 2).unwrap();
            assert_eq!(chunks.codes.dims()[0], samples.div_ceil(360));
            let [_, _, decoded] = model.decode_chunks(&chunks).unwrap().dims();
            assert!((samples..samples + 400).contains(&decoded), "{samples}: {decoded}");
        }
    }

    #[test]
    fn inputs_that_cannot_be_are_errors() {
        let model = open("encodec_24khz");
        let check = |result: Result<()>, part: &str| {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Input { .. } | Error::Config { .. }), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        let encode = |wave: &[f32], dims, levels| model.encode(wave, dims, levels).map(drop);
        check(encode(&[], [1, 1, 0], 1), "a sample at least");
        check(encode(&[], [0, 1, 7], 1), "a clip");
        check(encode(&[0.0; 8], [1, 2, 4], 1), "[clips, 1, samples]");
        check(encode(&[0.0; 8], [1, 1, 7], 1), "as many values");
        check(encode(&[0.0; 8], [usize::MAX, 2, usize::MAX], 1), "as many values");
        check(encode(&[f32::NAN; 8], [1, 1, 8], 1), "finite");
        check(encode(&[0.0; 8], [1, 1, 8], 0), "1 to 10");
        check(encode(&[0.0; 8], [1, 1, 8], 11), "1 to 10");
        let decode = |codes: &[u32], dims| model.decode(codes, dims).map(drop);
        check(decode(&[16, 0], [1, 2, 1]), "0 to 15");
        check(decode(&[u32::MAX], [1, 1, 1]), "0 to 15");
        check(decode(&[], [1, 2, 0]), "one frame");
        check(decode(&[], [0, 2, 3]), "one clip");
        check(decode(&[0; 11], [1, 11, 1]), "1 to 10");
        check(decode(&[], [1, 0, 4]), "1 to 10");
        check(open("encodec_48khz").encode(&[0.0; 8], [1, 2, 4], 1).map(drop), "encode_chunks");
        check(model.config().check_size(1, 1 << 30), "split it");
        check(model.config().check_size(usize::MAX, usize::MAX), "split it");
    }

    #[test]
    fn any_number_in_a_config_is_refused_or_harmless() {
        for name in ["encodec_32khz", "encodec_48khz"] {
            let checkpoint = checkpoint(name);
            let settings = checkpoint.config_json().as_object().unwrap().clone();
            for (key, value) in &settings {
                let numbers = ["0", "1", "2", "3", "1000000000", "18446744073709551615", "-1", "1e300", "null", "[]"];
                for number in numbers.iter().filter(|_| value.is_number() || value.is_array()) {
                    let mut changed = settings.clone();
                    changed.insert(key.clone(), serde_json::from_str(number).unwrap());
                    let Ok(config) = serde_json::from_value::<Config>(changed.into()) else { continue };
                    let Ok(model) = Encodec::load(config, &checkpoint.weights(), &Device::flex()) else { continue };
                    let channels = model.config().channels();
                    let wave = device_floats(&vec![0.1; 50 * channels], [1, channels, 50], &Device::flex());
                    let chunks = model.encode_chunks(wave, None, 1).unwrap();
                    model.decode_chunks(&chunks).unwrap();
                }
            }
        }
    }
}
