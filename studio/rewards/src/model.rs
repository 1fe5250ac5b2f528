//! The joint embedding: captions and audio as unit vectors of one space.

use std::sync::Arc;

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
    sentence::{SentenceEncoder, SentenceTower},
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
            text: self.sentence.is_none().then(|| TextTower::new(tokeniser.buckets(), &self.text, self.dim, device)),
            sentence: self.sentence.as_ref().map(|config| SentenceTower::new(config, self.dim, device)),
            audio: AudioTower::new(bands, self.stack_frames, &self.audio, self.dim, device),
            log_inverse_temperature: Param::from_tensor(Tensor::from_data([-self.temperature.ln() as f32], device)),
            quantiser: self.quantiser.init(self.dim, device)?,
            sentences: None,
            tokeniser,
            quantiser_config: self.quantiser.clone(),
            front_end: self.front_end.init()?,
            window_frames: self.window_frames(),
            log_inverse_temperature_max: -self.temperature_min.ln(),
        })
    }
}

/// A caption as the text tower reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Caption {
    /// Hashed words; at least one.
    Words(Vec<Word>),
    /// The frozen encoder's vector.
    Sentence(Vec<f32>),
}

/// Two towers, a temperature, and the quantiser that makes tokens of the embedding.
#[derive(Module, Debug)]
pub struct TextAudioModel {
    /// Either this or `sentence` is there.
    text: Option<TextTower>,
    sentence: Option<SentenceTower>,
    audio: AudioTower,
    log_inverse_temperature: Param<Tensor<1>>,
    quantiser: EmbeddingQuantiser,
    #[module(skip)]
    sentences: Option<Arc<dyn SentenceEncoder>>,
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

    /// The same model with the encoder whose vectors its text tower reads.
    ///
    /// # Errors
    /// [`Error::Config`] when the tower reads words, or vectors of another width.
    pub fn with_sentences(self, sentences: Arc<dyn SentenceEncoder>) -> Result<Self> {
        let width = sentences.width();
        match &self.sentence {
            Some(tower) if tower.width() == width => Ok(Self { sentences: Some(sentences), ..self }),
            Some(tower) => {
                let expected = format!("the encoder's width, {width}");
                Err(Error::Config { field: "sentence.width", expected, got: tower.width().to_string() })
            }
            None => {
                let expected = "a tower over sentence vectors".to_string();
                Err(Error::Config { field: "sentence", expected, got: "a text tower over words".into() })
            }
        }
    }

    /// The same model with the mean of the sentence vectors among `captions` taken away from every vector that is read; see
    /// [`SentenceTower`]. A model that reads words stays as it is.
    #[must_use]
    pub fn centred_on(self, captions: &[Caption]) -> Self {
        let vectors: Vec<&[f32]> = captions
            .iter()
            .filter_map(|caption| match caption {
                Caption::Sentence(vector) => Some(vector.as_slice()),
                Caption::Words(_) => None,
            })
            .collect();
        let sentence = self.sentence.map(|tower| tower.centred_on(&vectors));
        Self { sentence, ..self }
    }

    /// Whether captions are read by a sentence encoder, and not word by word.
    #[must_use]
    pub fn reads_sentences(&self) -> bool {
        self.sentence.is_some()
    }

    /// A caption as the text tower reads it.
    ///
    /// # Errors
    /// [`Error::Config`] when the model reads sentences and has no encoder; whatever the encoder says.
    pub fn read_caption(&self, caption: &str) -> Result<Caption> {
        match (&self.sentence, &self.sentences) {
            (None, _) => Ok(Caption::Words(self.tokeniser.tokenise(caption))),
            (Some(_), Some(sentences)) => Ok(Caption::Sentence(sentences.encode(caption)?)),
            (Some(_), None) => {
                let expected = "the sentence encoder that the text tower reads".to_string();
                Err(Error::Config { field: "sentence", expected, got: "none".into() })
            }
        }
    }

    /// Captions as unit vectors. Any text has one, the empty one too.
    ///
    /// # Shapes
    /// - returns: [captions, dim]
    ///
    /// # Errors
    /// As [`TextAudioModel::read_caption`]; of a model that reads words, none.
    pub fn embed_text(&self, captions: &[&str]) -> Result<Tensor<2>> {
        let captions: Vec<Caption> =
            captions.iter().map(|caption| self.read_caption(caption)).collect::<Result<_>>()?;
        self.embed_captions(&captions)
    }

    /// Captions that were read as unit vectors.
    ///
    /// # Shapes
    /// - returns: [captions, dim]
    ///
    /// # Errors
    /// [`Error::Shape`] when one is not what the text tower reads.
    pub fn embed_captions(&self, captions: &[Caption]) -> Result<Tensor<2>> {
        let other = |at: usize, expected: &str, got: &str| Error::Shape {
            what: "captions for the text tower",
            expected: expected.into(),
            got: format!("{got} as caption {at}"),
        };
        if captions.is_empty() {
            return Ok(Tensor::zeros([0, self.dim()], &self.log_inverse_temperature.val().device()));
        }
        match (&self.text, &self.sentence) {
            (Some(tower), _) => {
                let words = captions.iter().enumerate().map(|(at, caption)| match caption {
                    Caption::Words(words) => Ok(words.as_slice()),
                    Caption::Sentence(_) => Err(other(at, "words", "a sentence vector")),
                });
                Ok(tower.forward(&words.collect::<Result<Vec<_>>>()?))
            }
            (None, Some(tower)) => {
                let vectors = captions.iter().enumerate().map(|(at, caption)| match caption {
                    Caption::Sentence(vector) => Ok(vector.as_slice()),
                    Caption::Words(_) => Err(other(at, "sentence vectors", "words")),
                });
                tower.forward(&vectors.collect::<Result<Vec<_>>>()?)
            }
            (None, None) => Err(other(0, "a text tower", "no tower")),
        }
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
    /// [`Error::Shape`] for no caption at all; as [`TextAudioModel::read_caption`].
    pub fn text_tokens(&self, captions: &[&str]) -> Result<Tensor<2, Int>> {
        if captions.is_empty() {
            return Err(Error::Shape { what: "captions", expected: "1 or more".into(), got: "0".into() });
        }
        let rows = captions.iter().map(|caption| self.embed_text(&[caption])).collect::<Result<Vec<_>>>()?;
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
        captions: &[Caption],
        positives: &Positives,
    ) -> Result<(Tensor<1>, Tensor<2>, Tensor<2>)> {
        let audio = self.embed_windows(features)?;
        let text = self.embed_captions(captions)?;
        let loss = info_nce(audio.clone(), text.clone(), self.inverse_temperature(), positives)?;
        Ok((loss, audio, text))
    }
}

#[cfg(test)]
mod tests;
