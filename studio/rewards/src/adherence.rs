//! Text adherence: how well the sound fits its caption.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::DType;
use musicrl_core::reward::{AudioView, Clip, Reward, Score};
use rayon::prelude::*;

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

    fn caption_embedding(&self, caption: &str) -> Result<Vec<f32>> {
        if let Some(embedding) = self.cache().embeddings.get(caption) {
            return Ok(embedding.clone());
        }
        let embedding = floats(self.model.embed_text(&[caption])?);
        let mut cache = self.cache();
        if cache.order.len() >= CAPTIONS_MAX
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.embeddings.remove(&oldest);
        }
        if cache.embeddings.insert(caption.to_string(), embedding.clone()).is_none() {
            cache.order.push_back(caption.to_string());
        }
        Ok(embedding)
    }

    /// The cosine of each window of the clip, in time order.
    ///
    /// # Errors
    /// [`Error::Audio`] for audio that cannot be judged; [`Error::Sentence`] for a caption that the encoder refuses.
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
        let text = self.caption_embedding(caption)?;
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
        // Each clip is judged by itself, so that threads do not change a score.
        clips.par_iter().map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_core::{
        random::{Key, Purpose},
        reward::TokensView,
    };

    use super::*;
    use crate::TextAudioConfig;

    const RATE_HZ: u32 = 16_000;

    fn judge() -> TextAdherence {
        TextAdherence::new(TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap())
    }

    fn noise(seed: u64, samples: usize, level: f64) -> Vec<f32> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        (0..samples).map(|_| (level * stream.normal()) as f32).collect()
    }

    fn clip<'a>(caption: &'a str, samples: &'a [f32], sample_rate_hz: u32) -> Clip<'a> {
        let audio = Some(AudioView { samples, sample_rate_hz });
        Clip { caption, tokens: TokensView { ids: &[], slots: 5 }, audio }
    }

    #[test]
    fn scores_are_in_order_finite_and_the_same_in_any_batch() {
        let audio: Vec<Vec<f32>> = (0..5).map(|seed| noise(seed, 102_400, 0.05 * (seed + 1) as f64)).collect();
        let captions = ["a calm piano", "fast drums", "", "a calm piano", "\u{0}"];
        let clips: Vec<Clip<'_>> = captions.iter().zip(&audio).map(|(c, a)| clip(c, a, RATE_HZ)).collect();
        let together = judge().score(&clips).unwrap();
        assert_eq!(together.len(), 5);
        let other = judge();
        for (clip, score) in clips.iter().zip(&together).rev() {
            let value = score.value().unwrap();
            assert!((-1.0..=1.0).contains(&value));
            // To the last bit, and whatever is in the cache.
            assert_eq!(other.score(std::slice::from_ref(clip)).unwrap(), [Score::Value(value)]);
        }
        assert_ne!(together[0], together[3]);
        assert!(judge().score(&[]).unwrap().is_empty());
        assert!(other.hears_audio() && other.name() == "text_adherence");
    }

    #[test]
    fn the_score_is_the_mean_over_three_windows() {
        let judge = judge();
        let samples = noise(3, 102_400, 0.1);
        let audio = AudioView { samples: &samples, sample_rate_hz: RATE_HZ };
        let windows = judge.window_scores("a flute", audio).unwrap();
        assert_eq!(windows.len(), 3);
        let score = judge.score(&[clip("a flute", &samples, RATE_HZ)]).unwrap()[0].value().unwrap();
        assert!((score - windows.iter().sum::<f64>() / 3.0).abs() < 1e-12);
        // Only the window whose sound is replaced changes much: the others share no more than an edge frame with it.
        let mut changed = samples.clone();
        changed[70_000..].copy_from_slice(&noise(9, 32_400, 0.001));
        let audio = AudioView { samples: &changed, sample_rate_hz: RATE_HZ };
        let after = judge.window_scores("a flute", audio).unwrap();
        assert_eq!(windows[..2], after[..2]);
        assert_ne!(windows[2], after[2]);
    }

    #[test]
    fn what_cannot_be_judged_is_said_and_does_not_stop_the_others() {
        let good = noise(1, 102_400, 0.1);
        let mut broken = good.clone();
        broken[777] = f32::INFINITY;
        let (short, silent) = (noise(1, 8_000, 0.1), vec![0.0; 102_400]);
        let mute = Clip { audio: None, ..clip("x", &good, RATE_HZ) };
        let clips = [
            clip("x", &broken, RATE_HZ),
            clip("x", &short, RATE_HZ),
            clip("x", &[], RATE_HZ),
            clip("x", &silent, RATE_HZ),
            clip("x", &good, 0),
            mute,
            clip("x", &good, RATE_HZ),
        ];
        let scores = judge().score(&clips).unwrap();
        let reasons = ["sample 777", "0.5", "window", "silence", "0 Hz", "no audio"];
        for (score, reason) in scores.iter().zip(reasons) {
            assert!(matches!(score, Score::Unscorable(why) if why.contains(reason)), "{score:?} without {reason:?}");
        }
        assert!(scores[6].value().is_some());
    }

    #[test]
    fn broken_weights_are_an_error_of_the_judge() {
        use musicrl_core::params::ParamTable;
        let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
        let mut table = ParamTable::collect(&model);
        table.values_mut().fill(f32::NAN);
        let judge = TextAdherence::new(table.apply(model).unwrap());
        let good = noise(1, 102_400, 0.1);
        let error = judge.score(&[clip("x", &good, RATE_HZ)]).unwrap_err();
        assert!(error.to_string().contains("text_adherence"), "{error}");
    }

    #[test]
    fn the_cache_is_bounded() {
        let judge = judge();
        for index in 0..CAPTIONS_MAX + 10 {
            let mut cache = judge.cache();
            cache.embeddings.insert(index.to_string(), vec![0.0; 64]);
            cache.order.push_back(index.to_string());
            drop(cache);
            if index >= CAPTIONS_MAX {
                let before = judge.caption_embedding("new").unwrap();
                assert_eq!(before, judge.caption_embedding("new").unwrap());
                break;
            }
        }
        let cache = judge.cache();
        assert!(cache.order.len() <= CAPTIONS_MAX + 1 && cache.embeddings.len() == cache.order.len());
        assert!(!cache.embeddings.contains_key("0") && cache.embeddings.contains_key("new"));
    }
}
