//! Text adherence: [`ClapAdherence`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use musicrl_core::reward::{AudioView, Clip, Reward, Score};

use super::{Clap, Parts, Truncation};
use crate::{Error, Result, named::host};

/// Captions whose embeddings are kept.
const CAPTIONS_MAX: usize = 4096;
/// Root mean square below which a clip counts as silence: -80 dB of full scale.
const SILENCE_RMS: f64 = 1e-4;
/// Shortest clip that is judged: the model hears shorter ones repeated, and that is another sound.
const SECONDS_MIN: f64 = 0.1;
/// Windows whose features are held at a time.
const WINDOWS_MAX: usize = 4;

/// Cosine of a caption's embedding with its clip's, in [-1, 1].
///
/// A clip longer than the model's window is heard in as few windows as cover it, evenly spaced, and the cosines are
/// averaged; a fused model hears it once, as a whole and in the middle of each third. Nothing is drawn: a score depends
/// on its own caption and audio alone.
#[derive(Debug)]
pub struct ClapAdherence {
    model: Clap,
    captions: Mutex<CaptionCache>,
}

/// The embeddings of the latest captions; the one that came first leaves first.
#[derive(Debug, Default)]
struct CaptionCache {
    embeddings: BTreeMap<String, Vec<f32>>,
    order: VecDeque<String>,
}

impl ClapAdherence {
    /// A judge with the given model, whose folder must have a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Input`] without one.
    pub fn new(model: Clap) -> Result<Self> {
        model.tokenize(&[""])?;
        Ok(Self { model, captions: Mutex::default() })
    }

    /// The model that it judges with.
    #[must_use]
    pub fn model(&self) -> &Clap {
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
        let embedding = host(self.model.caption_embeds(&[caption])?)?;
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
    /// [`Error::Input`], [`Error::Codec`].
    pub fn window_scores(&self, caption: &str, audio: AudioView<'_>) -> Result<Vec<f64>> {
        hearable(audio)?;
        let samples = self.model.resampled(audio.samples, audio.sample_rate_hz)?;
        let window = self.model.front_end().config().window_samples();
        let starts = match self.model.front_end().truncation() {
            Truncation::RandTrunc => window_starts(samples.len(), window),
            Truncation::Fusion => vec![0],
        };
        let text = self.caption_embedding(caption)?;
        let cosine = |row: &[f32]| row.iter().zip(&text).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let mut scores = Vec::with_capacity(starts.len());
        for starts in starts.chunks(WINDOWS_MAX) {
            let features = starts.iter().map(|start| match self.model.front_end().truncation() {
                Truncation::RandTrunc => {
                    let end = samples.len().min(start + window);
                    self.model.front_end().features(&samples[*start..end], Parts::Middle)
                }
                // What the reference says of a lone clip.
                Truncation::Fusion => Ok(self.model.front_end().features(&samples, Parts::Middle)?.with_longer(true)),
            });
            let features = features.collect::<Result<Vec<_>>>()?;
            let rows = host(self.model.audio_embeds(&features.iter().collect::<Vec<_>>())?)?;
            scores.extend(rows.chunks(self.model.width()).map(|row| cosine(row).clamp(-1.0, 1.0)));
        }
        Ok(scores)
    }

    fn judge(&self, clip: &Clip<'_>) -> musicrl_core::Result<Score> {
        let Some(audio) = clip.audio else {
            return Ok(Score::Unscorable("no audio".into()));
        };
        let failed = |reason: String| musicrl_core::Error::Reward { name: self.name().into(), reason };
        // What is wrong with the caption or the model is not the clip's fault.
        self.caption_embedding(clip.caption).map_err(|error| failed(error.to_string()))?;
        match self.window_scores(clip.caption, audio) {
            Ok(scores) => {
                let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
                if mean.is_finite() && !scores.is_empty() {
                    Ok(Score::Value(mean))
                } else {
                    Err(failed("the model gave no finite embedding".into()))
                }
            }
            Err(error @ (Error::Input { .. } | Error::Codec(_))) => Ok(Score::Unscorable(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Refuses what is no sound: too short, silent, or not finite.
fn hearable(audio: AudioView<'_>) -> Result<()> {
    let AudioView { samples, sample_rate_hz } = audio;
    musicrl_codec::audio::check_sample_rate("a clip", sample_rate_hz)?;
    let seconds = samples.len() as f64 / f64::from(sample_rate_hz);
    if seconds < SECONDS_MIN {
        return Err(Error::input("a clip", format!("at least {SECONDS_MIN} s"), format!("{seconds:.3} s")));
    }
    if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
        return Err(Error::input("a clip", "finite samples", format!("{} at sample {at}", samples[at])));
    }
    let energy = samples.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum::<f64>();
    let rms = (energy / samples.len() as f64).sqrt();
    if rms < SILENCE_RMS {
        let expected = format!("sound (root mean square of at least {SILENCE_RMS})");
        return Err(Error::input("a clip", expected, format!("silence ({rms:.1e})")));
    }
    Ok(())
}

/// Starts of as few windows as cover `samples`, evenly spaced from the first sample to the last.
fn window_starts(samples: usize, window: usize) -> Vec<usize> {
    let count = samples.div_ceil(window.max(1)).max(1);
    let room = samples.saturating_sub(window) as u128;
    (0..count).map(|index| (room * index as u128 / (count - 1).max(1) as u128) as usize).collect()
}

impl Reward for ClapAdherence {
    fn name(&self) -> &str {
        "clap_adherence"
    }

    fn hears_audio(&self) -> bool {
        true
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        clips.iter().map(|clip| self.judge(clip)).collect()
    }
}
