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
    /// Its name in recipes.
    pub const NAME: &str = "clap_adherence";

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
        Self::NAME
    }

    fn hears_audio(&self) -> bool {
        true
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        clips.iter().map(|clip| self.judge(clip)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use burn::tensor::Device;
    use musicrl_core::{
        random::{Key, Purpose},
        reward::TokensView,
    };

    use super::*;
    use crate::Checkpoint;

    /// Words of the fixtures' vocabulary, between the tokens that begin and end a text.
    const TOKENIZER: &str = r#"{
        "version": "1.0",
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab":
            {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "calm": 4, "piano": 5, "fast": 6, "drums": 7}},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
            "add_prefix_space": false},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
            "pad_type_id": 0, "pad_token": "<pad>"},
        "truncation": null, "normalizer": null, "decoder": null, "added_tokens": []
    }"#;

    fn model(fixture: &str, tokenizer: Option<&str>) -> Result<Clap> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        if let Some(text) = tokenizer {
            fs::write(dir.path().join("tokenizer.json"), text).unwrap();
        }
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let model = Clap::load(&checkpoint, &Device::flex())?;
        checkpoint.finish()?;
        Ok(model)
    }

    fn judge(fixture: &str) -> ClapAdherence {
        ClapAdherence::new(model(fixture, Some(TOKENIZER)).unwrap()).unwrap()
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
    fn scores_depend_on_their_own_clip_alone() {
        for fixture in ["clap_unfused", "clap_fused"] {
            // Longer and shorter than the window of a second, and at another rate.
            let audio: Vec<Vec<f32>> = [9_000, 20_000, 1_000, 8_000].map(|samples| noise(1, samples, 0.1)).to_vec();
            let captions = ["calm piano", "fast drums", "", "calm piano"];
            let rates = [8_000, 8_000, 8_000, 22_050];
            let clips: Vec<Clip<'_>> =
                captions.iter().zip(&audio).zip(rates).map(|((caption, audio), hz)| clip(caption, audio, hz)).collect();
            let together = judge(fixture).score(&clips).unwrap();
            let other = judge(fixture);
            for (clip, score) in clips.iter().zip(&together).rev() {
                let value = score.value().unwrap();
                assert!((-1.0..=1.0).contains(&value));
                assert_eq!(other.score(std::slice::from_ref(clip)).unwrap(), [Score::Value(value)]);
            }
            assert_ne!(together[0], together[3]);
            let windows = other.window_scores("calm piano", clips[1].audio.unwrap()).unwrap();
            assert_eq!(windows.len(), if fixture == "clap_fused" { 1 } else { 3 });
            assert!(other.score(&[]).unwrap().is_empty());
            assert!(other.hears_audio() && other.name() == "clap_adherence");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_said_and_does_not_stop_the_others() {
        let good = noise(1, 8_000, 0.1);
        let mut broken = good.clone();
        broken[777] = f32::INFINITY;
        let (short, silent) = (noise(1, 799, 0.1), vec![0.0; 8_000]);
        let mute = Clip { audio: None, ..clip("x", &good, 8_000) };
        let clips = [
            clip("x", &broken, 8_000),
            clip("x", &short, 8_000),
            clip("x", &[], 8_000),
            clip("x", &silent, 8_000),
            clip("x", &good, 0),
            mute,
            clip("x", &good, 8_000),
        ];
        let scores = judge("clap_unfused").score(&clips).unwrap();
        let reasons = ["sample 777", "0.1 s", "0.1 s", "silence", " 0", "no audio"];
        for (score, reason) in scores.iter().zip(reasons) {
            assert!(matches!(score, Score::Unscorable(why) if why.contains(reason)), "{score:?} without {reason:?}");
        }
        assert!(scores[6].value().is_some());
    }

    #[test]
    fn captions_need_a_tokeniser_and_are_cut_to_what_the_tower_reads() {
        let error = ClapAdherence::new(model("clap_unfused", None).unwrap()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        let error = model("clap_unfused", Some("{\"version\": 3}")).unwrap_err();
        assert!(matches!(&error, Error::File { path, .. } if path.ends_with("tokenizer.json")), "{error}");
        let judge = judge("clap_unfused");
        // The file's own padding does not count.
        let (ids, mask, dims) = judge.model().tokenize(&["calm piano", "drums"]).unwrap();
        assert_eq!((ids, dims), (vec![0, 4, 5, 2, 0, 7, 2, 1], [2, 4]));
        assert_eq!(mask, [true, true, true, true, true, true, true, false]);
        let long = "calm ".repeat(100);
        let (ids, mask, dims) = judge.model().tokenize(&[&long, "drums"]).unwrap();
        let most = judge.model().text.config().tokens_max();
        assert_eq!(dims, [2, most]);
        assert_eq!((ids[0], ids[most - 2], ids[most - 1]), (0, 4, 2));
        assert_eq!(ids[most..most + 4], [0, 7, 2, 1]);
        assert_eq!(mask.iter().filter(|counts| **counts).count(), most + 3);
        assert!(judge.caption_embedding(&long).is_ok());
        assert!(judge.model().caption_embeds(&[]).is_err());
        // Many texts are embedded in parts, to the same end.
        let captions: Vec<&str> = (0..37).map(|i| if i % 3 == 0 { "calm piano" } else { "fast drums" }).collect();
        let all = host(judge.model().caption_embeds(&captions).unwrap()).unwrap();
        let one = host(judge.model().caption_embeds(&["fast drums"]).unwrap()).unwrap();
        assert_eq!(all.len(), 37 * judge.model().width());
        let last: &[f32] = &all[35 * judge.model().width()..36 * judge.model().width()];
        assert!(last.iter().zip(&one).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn windows_cover_a_clip() {
        assert_eq!(window_starts(10, 10), [0]);
        assert_eq!(window_starts(3, 10), [0]);
        assert_eq!(window_starts(11, 10), [0, 1]);
        assert_eq!(window_starts(25, 10), [0, 7, 15]);
        assert_eq!(window_starts(30, 10), [0, 10, 20]);
    }

    #[test]
    fn the_cache_is_bounded() {
        let judge = judge("clap_unfused");
        let mut cache = judge.cache();
        for index in 0..CAPTIONS_MAX {
            cache.embeddings.insert(index.to_string(), vec![0.0; 20]);
            cache.order.push_back(index.to_string());
        }
        drop(cache);
        let new = judge.caption_embedding("drums").unwrap();
        assert_eq!(new, judge.caption_embedding("drums").unwrap());
        let cache = judge.cache();
        assert!(cache.order.len() == CAPTIONS_MAX && cache.embeddings.len() == CAPTIONS_MAX);
        assert!(!cache.embeddings.contains_key("0") && cache.embeddings.contains_key("drums"));
    }
}
