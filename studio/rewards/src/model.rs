//! The joint embedding: captions and audio as unit vectors of one space.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use musicrl_core::{
    params::reinitialise,
    random::{Key, Purpose},
    reward::AudioView,
};

use crate::{
    Error, Result, TextAudioConfig,
    contrastive::{Positives, info_nce},
    front_end::{Features, FrontEnd},
    quantiser::{EmbeddingQuantiser, EmbeddingQuantiserConfig},
    text::{TextTokeniser, Word},
    towers::{AudioTower, TextTower, normalise},
    windows::window_starts,
};

impl TextAudioConfig {
    /// The model with first values by seed, to be trained; its quantiser is zero until it is fitted.
    ///
    /// # Errors
    /// As [`TextAudioConfig::validate`].
    pub fn init_seeded(&self, seed: u64, device: &Device) -> Result<TextAudioModel> {
        let model = reinitialise(self.init(device)?, Key::new(seed, Purpose::Init));
        Ok(TextAudioModel { quantiser: self.quantiser.init(self.dim, device)?, ..model })
    }

    /// The model with zero weights: a place to load a file into.
    ///
    /// # Errors
    /// As [`TextAudioConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<TextAudioModel> {
        self.validate()?;
        let tokeniser = self.tokeniser.init()?;
        let bands = self.front_end.bands;
        Ok(TextAudioModel {
            text: TextTower::new(tokeniser.buckets(), &self.text, self.dim, device),
            audio: AudioTower::new(bands, self.stack_frames, &self.audio, self.dim, device),
            log_inverse_temperature: Param::from_tensor(Tensor::from_data([-self.temperature.ln() as f32], device)),
            quantiser: self.quantiser.init(self.dim, device)?,
            tokeniser,
            quantiser_config: self.quantiser.clone(),
            front_end: self.front_end.init()?,
            window_frames: self.window_frames(),
            log_inverse_temperature_max: -self.temperature_min.ln(),
        })
    }
}

/// Two towers, a temperature, and the quantiser that makes tokens of the embedding.
#[derive(Module, Debug)]
pub struct TextAudioModel {
    text: TextTower,
    audio: AudioTower,
    log_inverse_temperature: Param<Tensor<1>>,
    quantiser: EmbeddingQuantiser,
    #[module(skip)]
    tokeniser: TextTokeniser,
    #[module(skip)]
    quantiser_config: EmbeddingQuantiserConfig,
    #[module(skip)]
    front_end: FrontEnd,
    window_frames: usize,
    log_inverse_temperature_max: f64,
}

impl TextAudioModel {
    /// How captions are split and hashed.
    #[must_use]
    pub fn tokeniser(&self) -> &TextTokeniser {
        &self.tokeniser
    }

    /// How audio becomes features.
    #[must_use]
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// Frames of one window.
    #[must_use]
    pub fn window_frames(&self) -> usize {
        self.window_frames
    }

    /// Dimensions of the common space.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.quantiser.dim()
    }

    /// The embedding as tokens.
    #[must_use]
    pub fn quantiser(&self) -> &EmbeddingQuantiser {
        &self.quantiser
    }

    /// How the quantiser is fitted.
    #[must_use]
    pub fn quantiser_config(&self) -> &EmbeddingQuantiserConfig {
        &self.quantiser_config
    }

    /// The same model with a fitted quantiser.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has other levels, entries or dimensions than the settings say.
    pub fn with_quantiser(self, quantiser: EmbeddingQuantiser) -> Result<Self> {
        let size = |q: &EmbeddingQuantiser| [q.levels(), q.entries(), q.dim()];
        let (expected, got) = (size(&self.quantiser), size(&quantiser));
        if expected != got {
            let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
            return Err(Error::Shape { what: "quantiser [levels, entries, dim]", expected, got });
        }
        Ok(Self { quantiser, ..self })
    }

    /// The inverse temperature of the contrastive loss, at most one over the least temperature.
    ///
    /// # Shapes
    /// - returns: \[1\]
    #[must_use]
    pub fn inverse_temperature(&self) -> Tensor<1> {
        self.log_inverse_temperature.val().clamp_max(self.log_inverse_temperature_max).exp()
    }

    /// Captions as unit vectors. Any text has one, the empty one too.
    ///
    /// # Shapes
    /// - returns: [captions, dim]
    #[must_use]
    pub fn embed_text(&self, captions: &[&str]) -> Tensor<2> {
        let words: Vec<Vec<Word>> = captions.iter().map(|caption| self.tokeniser.tokenise(caption)).collect();
        self.embed_words(&words)
    }

    /// Tokenised captions as unit vectors.
    ///
    /// # Shapes
    /// - returns: [captions, dim]
    #[must_use]
    pub fn embed_words(&self, captions: &[Vec<Word>]) -> Tensor<2> {
        if captions.is_empty() {
            return Tensor::zeros([0, self.dim()], &self.log_inverse_temperature.val().device());
        }
        self.text.forward(captions)
    }

    /// Windows of scaled log-mel frames as unit vectors.
    ///
    /// # Shapes
    /// - features: [windows, window frames, bands]
    /// - returns: [windows, dim]
    ///
    /// # Errors
    /// [`Error::Shape`] for windows of another size.
    pub fn embed_windows(&self, features: Tensor<3>) -> Result<Tensor<2>> {
        let [windows, frames, bands] = features.dims();
        if frames != self.window_frames || bands != self.front_end.config().bands || windows == 0 {
            return Err(Error::Shape {
                what: "windows of features",
                expected: format!("[1 or more, {}, {}]", self.window_frames, self.front_end.config().bands),
                got: format!("[{windows}, {frames}, {bands}]"),
            });
        }
        Ok(self.audio.forward(features))
    }

    /// The windows of one clip's features as unit vectors, in time order; see [`window_starts`].
    ///
    /// # Shapes
    /// - returns: [windows, dim]
    ///
    /// # Errors
    /// [`Error::Audio`] when the clip is shorter than one window.
    pub fn embed_features(&self, features: &Features) -> Result<Tensor<2>> {
        let starts = window_starts(features.frames(), self.window_frames);
        if starts.is_empty() {
            let seconds = |frames: usize| {
                let config = self.front_end.config();
                (frames * config.hop_samples) as f64 / f64::from(config.sample_rate_hz)
            };
            return Err(Error::Audio {
                expected: format!("at least one window of {:.3} s", seconds(self.window_frames)),
                got: format!("{:.3} s", seconds(features.frames())),
            });
        }
        let mut values = Vec::with_capacity(starts.len() * self.window_frames * features.bands());
        for start in &starts {
            values.extend_from_slice(features.window(*start, self.window_frames));
        }
        let shape = [starts.len(), self.window_frames, features.bands()];
        let device = self.log_inverse_temperature.val().device();
        self.embed_windows(Tensor::from_data(TensorData::new(values, shape), &device))
    }

    /// Clips as unit vectors: the mean of a clip's window embeddings, brought back to unit length. Each clip is
    /// embedded by itself, so that its vector does not depend on the others, not even by rounding.
    ///
    /// # Shapes
    /// - returns: [clips, dim]
    ///
    /// # Errors
    /// [`Error::Audio`] for a clip that is too short, not finite, or at an unusable rate.
    pub fn embed_clips(&self, clips: &[AudioView<'_>]) -> Result<Tensor<2>> {
        let mut rows = Vec::with_capacity(clips.len());
        for clip in clips {
            rows.push(self.embed_clip_features(&self.front_end.features(*clip)?)?);
        }
        if rows.is_empty() {
            return Ok(Tensor::zeros([0, self.dim()], &self.log_inverse_temperature.val().device()));
        }
        Ok(Tensor::cat(rows, 0))
    }

    /// One clip's features as a unit vector; see [`TextAudioModel::embed_clips`].
    ///
    /// # Shapes
    /// - returns: [1, dim]
    ///
    /// # Errors
    /// As [`TextAudioModel::embed_features`].
    pub fn embed_clip_features(&self, features: &Features) -> Result<Tensor<2>> {
        Ok(normalise(self.embed_features(features)?.mean_dim(0)))
    }

    /// The condition that the policy is pretrained with: tokens of the clips' own embeddings.
    ///
    /// # Shapes
    /// - returns: [clips, levels]
    ///
    /// # Errors
    /// As [`TextAudioModel::embed_clips`].
    pub fn audio_tokens(&self, clips: &[AudioView<'_>]) -> Result<Tensor<2, Int>> {
        self.quantiser.audio_tokens(self.embed_clips(clips)?)
    }

    /// The condition that the policy generates with: tokens of the captions' embeddings. Each caption is embedded by
    /// itself, so that its tokens do not depend on the others.
    ///
    /// # Shapes
    /// - returns: [captions, levels]
    ///
    /// # Errors
    /// [`Error::Shape`] for no caption at all.
    pub fn text_tokens(&self, captions: &[&str]) -> Result<Tensor<2, Int>> {
        if captions.is_empty() {
            return Err(Error::Shape { what: "captions", expected: "1 or more".into(), got: "0".into() });
        }
        let rows = captions.iter().map(|caption| self.embed_text(&[caption])).collect();
        self.quantiser.text_tokens(Tensor::cat(rows, 0))
    }

    /// The contrastive loss of a batch of windows and captions.
    ///
    /// # Shapes
    /// - features: [pairs, window frames, bands]
    /// - returns: the loss \[1\], the audio and the text embeddings [pairs, dim]
    ///
    /// # Errors
    /// [`Error::Shape`] when the numbers of windows, captions and positives differ.
    pub fn loss(
        &self,
        features: Tensor<3>,
        captions: &[Vec<Word>],
        positives: &Positives,
    ) -> Result<(Tensor<1>, Tensor<2>, Tensor<2>)> {
        let audio = self.embed_windows(features)?;
        let text = self.embed_words(captions);
        let loss = info_nce(audio.clone(), text.clone(), self.inverse_temperature(), positives)?;
        Ok((loss, audio, text))
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::params::{ParamTable, Storage};

    use super::*;

    fn floats(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    fn noise(seed: u64, samples: usize) -> Vec<f32> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        (0..samples).map(|_| (0.1 * stream.normal()) as f32).collect()
    }

    #[test]
    fn embeddings_have_unit_length_and_prompts_of_any_kind_have_one() {
        let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
        let long = "word ".repeat(10_000);
        let rows = floats(model.embed_text(&["", "\u{0}\u{7}", "a piano", &long, "静かなピアノ"]));
        for row in rows.chunks(model.dim()) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((norm - 1.0).abs() < 1e-3, "{norm}");
        }
        // Padding by longer captions beside it changes a caption by rounding at most.
        let alone = floats(model.embed_text(&["a piano"]));
        for (a, b) in alone.iter().zip(&rows[2 * model.dim()..]) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert_eq!(model.embed_text(&[]).dims(), [0, 64]);
    }

    #[test]
    fn a_clip_is_the_normalised_mean_of_its_windows() {
        let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
        let samples = noise(1, 102_400);
        let view = AudioView { samples: &samples, sample_rate_hz: 16_000 };
        let windows = model.embed_features(&model.front_end().features(view).unwrap()).unwrap();
        assert_eq!(windows.dims(), [3, 64]);
        let mean: Vec<f32> = floats(windows.mean_dim(0));
        let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        let clip = floats(model.embed_clips(&[view]).unwrap());
        for (a, b) in clip.iter().zip(mean) {
            assert!((a - b / norm).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn a_clip_does_not_depend_on_the_batch() {
        let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
        let samples: Vec<Vec<f32>> = [102_400, 40_000, 150_000].iter().map(|n| noise(*n as u64, *n)).collect();
        let views: Vec<AudioView<'_>> =
            samples.iter().map(|samples| AudioView { samples, sample_rate_hz: 16_000 }).collect();
        let together = floats(model.embed_clips(&views).unwrap());
        for (view, row) in views.iter().zip(together.chunks(64)) {
            assert_eq!(floats(model.embed_clips(&[*view]).unwrap()), row);
        }
    }

    #[test]
    fn the_loss_has_a_gradient_for_every_tower_and_none_for_the_quantiser() {
        let device = Device::flex().autodiff();
        let model = TextAudioConfig::base().init_seeded(1, &device).unwrap();
        let table = ParamTable::collect(&model);
        let frames = model.window_frames();
        let mut stream = Key::new(1, Purpose::Test).stream();
        let values: Vec<f32> = (0..3 * frames * 80).map(|_| stream.normal() as f32).collect();
        let features = Tensor::from_data(TensorData::new(values, [3, frames, 80]), &device);
        let words: Vec<Vec<Word>> =
            ["a calm piano", "loud drums", "two flutes"].iter().map(|c| model.tokeniser().tokenise(c)).collect();
        let (loss, ..) = model.loss(features, &words, &Positives::from_groups(&[0, 1, 2])).unwrap();
        let grads = musicrl_core::params::gradients(&model, &loss.backward());
        for entry in table.entries() {
            let moves = grads[entry.range()].iter().any(|grad| *grad != 0.0);
            assert_eq!(moves, entry.trainable, "{}", entry.name);
            assert_eq!(entry.trainable, !entry.name.starts_with("quantiser"), "{}", entry.name);
            assert!(grads[entry.range()].iter().all(|grad| grad.is_finite()), "{}", entry.name);
        }
    }

    #[test]
    fn weights_survive_a_file_and_tokens_come_of_both_modalities() {
        let device = Device::flex();
        let config = TextAudioConfig::base();
        let model = config.init_seeded(1, &device).unwrap();
        let captions: Vec<String> = (0..80).map(|i| format!("caption number {i}")).collect();
        let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
        let text = model.embed_text(&captions);
        let quantiser = model.quantiser_config().fit(text.clone(), text, 1).unwrap();
        let model = model.with_quantiser(quantiser).unwrap();
        let bytes = ParamTable::collect(&model).to_safetensors(Storage::F32).unwrap();
        let empty = config.init(&device).unwrap();
        let loaded = ParamTable::collect(&empty).read_safetensors(&bytes).unwrap().apply(empty).unwrap();
        let tokens = |model: &TextAudioModel| {
            let tokens = model.text_tokens(&captions[..9]).unwrap();
            assert_eq!(tokens.dims(), [9, 6]);
            tokens.into_data()
        };
        assert_eq!(tokens(&loaded), tokens(&model));
        let samples = noise(1, 102_400);
        let audio = model.audio_tokens(&[AudioView { samples: &samples, sample_rate_hz: 16_000 }]).unwrap();
        assert_eq!(audio.dims(), [1, 6]);
        assert!(model.text_tokens(&[]).is_err());
    }

    #[test]
    fn windows_of_another_size_and_short_clips_are_named() {
        let model = TextAudioConfig::base().init(&Device::flex()).unwrap();
        let error = model.embed_windows(Tensor::zeros([1, 3, 80], &Device::flex())).unwrap_err().to_string();
        assert!(error.contains("104, 80"), "{error}");
        let short = AudioView { samples: &[0.1; 16_000], sample_rate_hz: 16_000 };
        assert!(model.embed_clips(&[short]).unwrap_err().to_string().contains("2.080 s"));
    }
}
