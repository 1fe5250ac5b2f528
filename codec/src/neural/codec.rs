//! The whole codec.

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor},
};
use musicrl_core::{Error, Result, params::reinitialise, random::Key};

use super::{
    config::CodecConfig,
    decoder::Decoder,
    encoder::Encoder,
    quantiser::{LevelUse, Quantised, ResidualQuantiser},
};

/// Encoder, residual vector quantiser and decoder.
#[derive(Module, Debug)]
pub struct NeuralCodec {
    encoder: Encoder,
    quantiser: ResidualQuantiser,
    decoder: Decoder,
    #[module(skip)]
    config: CodecConfig,
}

impl CodecConfig {
    /// A codec with first weights from `init`.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting breaks a rule.
    pub fn init(&self, device: &Device, init: Key) -> Result<NeuralCodec> {
        self.validate()?;
        let codec = NeuralCodec {
            encoder: Encoder::new(self, device),
            quantiser: ResidualQuantiser::new(self.latent_width, &self.quantiser, device),
            decoder: Decoder::new(self, device),
            config: self.clone(),
        };
        Ok(reinitialise(codec, init))
    }
}

impl NeuralCodec {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &CodecConfig {
        &self.config
    }

    /// Samples a frame.
    #[must_use]
    pub fn hop(&self) -> usize {
        self.config.hop()
    }

    /// Number of quantiser levels.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.quantiser.levels()
    }

    /// The quantiser.
    #[must_use]
    pub fn quantiser(&self) -> &ResidualQuantiser {
        &self.quantiser
    }

    /// The quantiser, to be trained.
    pub fn quantiser_mut(&mut self) -> &mut ResidualQuantiser {
        &mut self.quantiser
    }

    /// Sound to tokens.
    ///
    /// # Shapes
    /// - audio: [clips, 1, frames * hop]
    /// - result: [clips, frames, levels]
    ///
    /// # Errors
    /// [`Error::Shape`] when the audio is not mono or not a whole number of frames, at least one.
    pub fn encode(&self, audio: Tensor<3>) -> Result<Tensor<3, Int>> {
        Ok(self.quantiser.encode(self.latent(audio)?))
    }

    /// Tokens of the first `q` levels to sound.
    ///
    /// # Shapes
    /// - codes: [clips, frames, q], `q` at most [`NeuralCodec::levels`]
    /// - result: [clips, 1, frames * hop]
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of levels, [`Error::Token`] for an id outside its codebook.
    pub fn decode(&self, codes: Tensor<3, Int>) -> Result<Tensor<3>> {
        Ok(self.synthesise(self.quantiser.decode(codes)?))
    }

    /// The samples of [`NeuralCodec::decode`], to rounding, clip by clip: to hear and to judge, where no gradient is wanted.
    /// Fourier kernels speak by fast transforms here.
    ///
    /// # Shapes
    /// - codes: as [`NeuralCodec::decode`]
    /// - result: [clips][frames * hop]
    ///
    /// # Errors
    /// As [`NeuralCodec::decode`].
    pub fn sound(&self, codes: Tensor<3, Int>) -> Result<Vec<Vec<f32>>> {
        Ok(self.decoder.samples(self.quantiser.decode(codes)?))
    }

    /// What the encoder gives the quantiser.
    ///
    /// # Shapes
    /// - audio: [clips, 1, frames * hop]
    /// - result: [clips, frames, latent width]
    ///
    /// # Errors
    /// As [`NeuralCodec::encode`].
    pub fn latent(&self, audio: Tensor<3>) -> Result<Tensor<3>> {
        let [clips, channels, samples] = audio.dims();
        if clips == 0 || channels != 1 || samples == 0 || samples % self.hop() != 0 {
            let expected = format!("[clips, 1, frames * {}]", self.hop());
            return Err(Error::Shape { what: "audio", expected, got: format!("{:?}", audio.dims()) });
        }
        Ok(self.encoder.forward(audio.reshape([clips, samples, 1])))
    }

    /// Quantises with a straight-through gradient: see [`ResidualQuantiser::quantise`].
    ///
    /// # Shapes
    /// - latent: [clips, frames, latent width]
    #[must_use]
    pub fn quantise(&self, latent: Tensor<3>, active: Option<&[usize]>) -> Quantised {
        self.quantiser.quantise(latent, active)
    }

    /// What the decoder makes of a latent.
    ///
    /// # Shapes
    /// - latent: [clips, frames, latent width]
    /// - result: [clips, 1, frames * hop]
    #[must_use]
    pub fn synthesise(&self, latent: Tensor<3>) -> Tensor<3> {
        let audio = self.decoder.forward(latent);
        let [clips, samples, _] = audio.dims();
        audio.reshape([clips, 1, samples])
    }

    /// How evenly each level's entries are used in `codes` ([clips, frames, levels]).
    #[must_use]
    pub fn level_use(&self, codes: Tensor<3, Int>) -> Vec<LevelUse> {
        self.quantiser.level_use(codes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::tensor::TensorData;
    use musicrl_core::{
        params::{ParamTable, Storage},
        random::Purpose,
    };

    use super::*;
    use crate::neural::{
        config::{QuantiserConfig, WaveKernels},
        quantiser::{floats, integers},
    };

    /// A codec of a few thousand weights.
    pub(crate) fn tiny_config(causal: bool) -> CodecConfig {
        CodecConfig {
            strides: vec![8, 2],
            base_channels: 8,
            latent_width: 6,
            shortcut_bands: 4,
            causal,
            quantiser: QuantiserConfig { levels: 3, entries: 16, ..CodecConfig::base().quantiser },
            ..CodecConfig::base()
        }
    }

    pub(crate) fn tiny(causal: bool) -> NeuralCodec {
        tiny_config(causal).init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap()
    }

    pub(crate) fn noise(shape: [usize; 3]) -> Tensor<3> {
        let mut stream = Key::new(3, Purpose::Test).stream();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| 0.3 * stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    #[test]
    fn shapes_of_every_kind_of_codec() {
        for causal in [false, true] {
            for wave_kernels in [WaveKernels::Learned, WaveKernels::Fourier] {
                for strides in [vec![8, 2], vec![10], vec![2, 3, 2]] {
                    let config = CodecConfig { wave_kernels, strides, ..tiny_config(causal) };
                    let codec = config.init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
                    let codes = codec.encode(noise([2, 1, 5 * config.hop()])).unwrap();
                    assert_eq!(codes.dims(), [2, 5, 3]);
                    for levels in 1..=3 {
                        let sound = codec.decode(codes.clone().narrow(2, 0, levels)).unwrap();
                        assert_eq!(sound.dims(), [2, 1, 5 * config.hop()]);
                        let (heard, sound) = (codec.sound(codes.clone().narrow(2, 0, levels)).unwrap(), floats(sound));
                        assert!(sound.iter().all(|sample| sample.is_finite()));
                        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5 * b.abs().max(1.0);
                        assert!(heard.concat().iter().zip(&sound).all(near) && heard.concat().len() == sound.len());
                    }
                }
            }
        }
    }

    #[test]
    fn the_published_sizes_hold() {
        let codec = CodecConfig::published().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        let codes = codec.encode(noise([1, 1, 2 * 480])).unwrap();
        assert_eq!(codes.dims(), [1, 2, 12]);
        assert_eq!(codec.decode(codes).unwrap().dims(), [1, 1, 960]);
    }

    #[test]
    fn the_shipped_base_is_small() {
        let codec = CodecConfig::base().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        let weights = ParamTable::collect(&codec).values().len();
        assert!(weights < 1_100_000, "{weights}");
    }

    #[test]
    fn audio_must_be_mono_and_whole_frames() {
        let codec = tiny(false);
        for shape in [[1, 1, 17], [1, 2, 16], [1, 1, 0], [0, 1, 16]] {
            let refused = codec.encode(Tensor::zeros(shape, &Device::flex()));
            assert!(matches!(refused, Err(Error::Shape { what: "audio", .. })), "{shape:?}");
        }
    }

    #[test]
    fn a_causal_codec_does_not_see_the_future() {
        let codec = tiny(true);
        let (hop, frames) = (codec.hop(), 12);
        let audio = noise([1, 1, frames * hop]);
        let latent = codec.latent(audio.clone()).unwrap();
        for frame in [0, 5, 10] {
            let cut = (frame + 1) * hop;
            let later = audio.clone().narrow(2, cut, frames * hop - cut) * -2.0;
            let other = Tensor::cat(vec![audio.clone().narrow(2, 0, cut), later], 2);
            let change = (codec.latent(other).unwrap() - latent.clone()).abs();
            assert_eq!(change.clone().narrow(1, 0, frame + 1).max().into_scalar::<f32>(), 0.0);
            assert!(change.max().into_scalar::<f32>() > 1e-3);
            let other = Tensor::cat(
                vec![
                    latent.clone().narrow(1, 0, frame + 1),
                    latent.clone().narrow(1, frame + 1, frames - frame - 1) * -2.0,
                ],
                1,
            );
            let change = (codec.synthesise(other) - codec.synthesise(latent.clone())).abs();
            assert_eq!(change.clone().narrow(2, 0, cut).max().into_scalar::<f32>(), 0.0);
            assert!(change.max().into_scalar::<f32>() > 1e-4);
        }
    }

    #[test]
    fn a_codec_that_is_not_causal_does_see_the_future() {
        let codec = tiny(false);
        let audio = noise([1, 1, 12 * codec.hop()]);
        let cut = 6 * codec.hop();
        let other = Tensor::cat(vec![audio.clone().narrow(2, 0, cut), audio.clone().narrow(2, cut, cut) * -2.0], 2);
        let change = (codec.latent(other).unwrap() - codec.latent(audio).unwrap()).abs();
        assert!(change.narrow(1, 0, 6).max().into_scalar::<f32>() > 1e-3);
    }

    #[test]
    fn weights_and_codebooks_survive_a_file_and_codebooks_take_no_gradient() {
        let device = Device::flex().autodiff();
        let mut codec = tiny_config(false).init(&device, Key::new(1, Purpose::Init)).unwrap();
        let audio = Tensor::from_inner(noise([2, 1, 40 * codec.hop()]));
        let latent = codec.latent(audio).unwrap();
        codec.quantiser_mut().start(latent, 2, Key::new(1, Purpose::Quantiser));
        let table = ParamTable::collect(&codec);
        for entry in table.entries() {
            let name = entry.name.rsplit('.').next().unwrap();
            let codebook = ["entries", "usage", "centre", "spread"].contains(&name);
            assert_eq!(entry.trainable, !codebook, "{}", entry.name);
        }
        let bytes = table.to_safetensors(Storage::F32).unwrap();
        let other = tiny_config(false).init(&Device::flex(), Key::new(2, Purpose::Init)).unwrap();
        let other = ParamTable::collect(&other).read_safetensors(&bytes).unwrap().apply(other).unwrap();
        let audio = noise([1, 1, 10 * codec.hop()]);
        assert_eq!(integers(other.encode(audio.clone()).unwrap()), integers(codec.valid().encode(audio).unwrap()));
    }
}
