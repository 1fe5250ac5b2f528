//! Text adherence: how well the sound fits its caption.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::DType;
use musicrl_core::reward::{AudioView, Clip, Reward, Score};

use crate::{Error, Result, model::TextAudioModel};

/// Captions whose embeddings are kept.
const CAPTIONS_MAX: usize = 4096;
/// Root mean square below which a clip counts as silence: -80 dB of full scale.
const SILENCE_RMS: f64 = 1e-4;

/// Cosine of a caption's embedding with each window of its clip, averaged over the windows (three of a third each on
/// clips of the length that the model was made for). In [-1, 1].
///
/// Every clip and every caption is embedded by itself: a score depends on its own caption and audio alone.
#[derive(Debug)]
pub struct TextAdherence {
    name: String,
    model: TextAudioModel,
    captions: Mutex<CaptionCache>,
}

/// The embeddings of the latest captions; the one that came first leaves first.
#[derive(Debug, Default)]
struct CaptionCache {
    embeddings: BTreeMap<String, Vec<f32>>,
    order: VecDeque<String>,
}

impl TextAdherence {
    /// A judge with the given model, which must not be on an autodiff device (`model.valid()`).
    #[must_use]
    pub fn new(model: TextAudioModel) -> Self {
        Self { name: "text_adherence".into(), model, captions: Mutex::default() }
    }

    /// The model that it judges with.
    #[must_use]
    pub fn model(&self) -> &TextAudioModel {
        &self.model
    }

    fn cache(&self) -> MutexGuard<'_, CaptionCache> {
        // A panic elsewhere cannot leave the cache wrong: it is changed by whole entries.
        self.captions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caption_embedding(&self, caption: &str) -> Vec<f32> {
        if let Some(embedding) = self.cache().embeddings.get(caption) {
            return embedding.clone();
        }
        let embedding = floats(self.model.embed_text(&[caption]));
        let mut cache = self.cache();
        if cache.order.len() >= CAPTIONS_MAX
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.embeddings.remove(&oldest);
        }
        if cache.embeddings.insert(caption.to_string(), embedding.clone()).is_none() {
            cache.order.push_back(caption.to_string());
        }
        embedding
    }

    /// The cosine of each window of the clip, in time order.
    ///
    /// # Errors
    /// [`Error::Audio`] for audio that cannot be judged.
    pub fn window_scores(&self, caption: &str, audio: AudioView<'_>) -> Result<Vec<f64>> {
        let features = self.model.front_end().features(audio)?;
        let energy = audio.samples.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum::<f64>();
        let rms = (energy / audio.samples.len().max(1) as f64).sqrt();
        // Length comes first: of an empty clip nothing else can be said.
        let windows = floats(self.model.embed_features(&features)?);
        if rms < SILENCE_RMS {
            let expected = format!("sound (root mean square of at least {SILENCE_RMS})");
            return Err(Error::Audio { expected, got: format!("silence ({rms:.1e})") });
        }
        let text = self.caption_embedding(caption);
        let cosine = |window: &[f32]| window.iter().zip(&text).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        Ok(windows.chunks(self.model.dim()).map(|window| cosine(window).clamp(-1.0, 1.0)).collect())
    }
}

fn floats(tensor: burn::tensor::Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).try_to_vec::<f32>().unwrap_or_default()
}

impl Reward for TextAdherence {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        true
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let judge = |clip: &Clip<'_>| {
            let Some(audio) = clip.audio else {
                return Ok(Score::Unscorable("no audio".into()));
            };
            match self.window_scores(clip.caption, audio) {
                Ok(scores) => {
                    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
                    if mean.is_finite() && !scores.is_empty() {
                        Ok(Score::Value(mean))
                    } else {
                        let name = self.name.clone();
                        Err(musicrl_core::Error::Reward { name, reason: "the model gave no finite embedding".into() })
                    }
                }
                Err(error @ (Error::Audio { .. } | Error::Codec(_))) => Ok(Score::Unscorable(error.to_string())),
                Err(error) => Err(musicrl_core::Error::Reward { name: self.name.clone(), reason: error.to_string() }),
            }
        };
        clips.iter().map(judge).collect()
    }
}
