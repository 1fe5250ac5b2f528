//! Clips of a corpus and of a policy, each as it is and made worse in known ways, with simulated ratings.

use musicrl_codec::{neural::NeuralCodec, resample::resample};
use musicrl_core::random::{Key, Purpose};
use musicrl_rewards::quality::RatingsOrigin;
use serde::{Deserialize, Serialize};

use super::{Degradation, Kind, RatedSound, RatedSounds, RatersConfig, source::no_such_sound};
use crate::{
    Error, Result,
    corpus::{Corpus, Split},
};

/// Settings of the simulated set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatedConfig {
    /// Clips of the corpus's training part, spread over it.
    pub clips: usize,
    /// Clips of its held-out part.
    pub held_out_clips: usize,
    /// Clips that the bundle's policy generates for captions of the training part, where it has one.
    pub generated: usize,
    /// The same for captions of the held-out part alone.
    pub held_out_generated: usize,
    /// Versions of each clip: one as it is, the others made worse.
    pub versions: usize,
    /// The panel.
    pub raters: RatersConfig,
}

impl Default for SimulatedConfig {
    fn default() -> Self {
        Self {
            clips: 768,
            held_out_clips: 64,
            generated: 192,
            held_out_generated: 24,
            versions: 6,
            raters: RatersConfig::default(),
        }
    }
}

impl SimulatedConfig {
    /// Checks every field; `prefix` is where the settings stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let rules = [
            ("clips", self.clips, 1, 1 << 24),
            ("held_out_clips", self.held_out_clips, 0, 1 << 20),
            ("generated", self.generated, 0, 1 << 20),
            ("held_out_generated", self.held_out_generated, 0, 1 << 20),
            ("versions", self.versions, 1, 64),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::config(format!("{prefix}.{field}"), format!("from {low} to {high}"), got));
            }
        }
        self.raters.validate(&format!("{prefix}.raters"))
    }
}

/// A clip that a policy generated.
#[derive(Debug, Clone)]
pub struct GeneratedClip {
    /// A name for people.
    pub name: String,
    /// That of the caption's clip.
    pub split: Split,
    /// Mono samples.
    pub samples: Vec<f32>,
    /// Their rate.
    pub sample_rate_hz: u32,
}

/// Where a clip's samples are.
#[derive(Debug)]
enum Place {
    Corpus(usize),
    Memory(Vec<f32>),
}

/// A clip before anything was done to it.
#[derive(Debug)]
struct Source {
    name: String,
    split: Split,
    place: Place,
}

impl Source {
    fn is_generated(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }
}

/// The set: every version of every clip is a rated sound. Degraded audio is computed when it is asked for.
#[derive(Debug)]
pub struct DegradedSounds {
    corpus: Corpus,
    sources: Vec<Source>,
    sounds: Vec<RatedSound>,
    /// Of each sound, its source and what is done to it.
    versions: Vec<(usize, Degradation)>,
    codec: Option<NeuralCodec>,
    seed: u64,
}

impl DegradedSounds {
    /// The versions of clips of `corpus` and of `generated` ones (brought to the corpus's rate), by `seed`. `codec`, at
    /// the corpus's rate, makes the codec's kind; without it there is none.
    ///
    /// # Errors
    /// [`Error::Config`] for settings out of range or a codec at another rate; when a generated clip cannot be resampled.
    pub fn new(
        corpus: Corpus,
        generated: Vec<GeneratedClip>,
        codec: Option<NeuralCodec>,
        config: &SimulatedConfig,
        seed: u64,
    ) -> Result<Self> {
        config.validate("simulated")?;
        let rate = corpus.sample_rate_hz();
        if let Some(codec_rate) = codec.as_ref().map(|codec| codec.config().sample_rate_hz).filter(|hz| *hz != rate) {
            return Err(Error::config("codec", format!("one at the corpus's rate, {rate} Hz"), codec_rate));
        }
        let mut sources = Vec::new();
        for (split, most) in [(Split::Train, config.clips), (Split::HeldOut, config.held_out_clips)] {
            for clip in corpus.spread(split, most) {
                sources.push(Source { name: corpus.clips()[clip].id.clone(), split, place: Place::Corpus(clip) });
            }
        }
        for clip in generated {
            let samples = resample(&clip.samples, clip.sample_rate_hz, rate)?;
            sources.push(Source { name: clip.name, split: clip.split, place: Place::Memory(samples) });
        }
        let levels = codec.as_ref().map_or(0, NeuralCodec::levels);
        let kinds: Vec<Kind> =
            Kind::DEGRADING.into_iter().filter(|kind| *kind != Kind::Codec || codec.is_some()).collect();
        let (mut sounds, mut versions) = (Vec::new(), Vec::new());
        for (at, source) in sources.iter().enumerate() {
            for version in 0..config.versions {
                let degradation = match version {
                    0 => Degradation::CLEAN,
                    // Dealt out in turn, so that every kind is heard as often as any other.
                    _ => {
                        let kind = kinds[(at * (config.versions - 1) + version - 1) % kinds.len()];
                        let key = Key::new(seed, Purpose::Augment).clip(at as u64);
                        Degradation::drawn(kind, key.uniform(version as u64), levels)
                    }
                };
                let raters = &config.raters;
                let quality = if source.is_generated() { raters.generated_quality } else { raters.corpus_quality };
                let opinion = RatersConfig::opinion(quality, degradation.strength);
                let ratings = raters.rate(opinion, seed, sounds.len() as u64);
                let name = format!("{} {} {:.3}", source.name, degradation.kind.name(), degradation.strength);
                // Degradations of generated clips stay out of the kinds: their lower opinions alone would make an order
                // within a kind.
                let groups: &[&str] = match (source.is_generated(), degradation.kind) {
                    (true, Kind::Clean) => &["generated", "generated_clean"],
                    (true, _) => &["generated"],
                    (false, kind) => &["corpus", kind.name()],
                };
                let groups = groups.iter().map(|group| (*group).to_owned()).collect();
                let sound = RatedSound::new(name, source.split, ratings)?;
                sounds.push(RatedSound { groups, opinion: Some(opinion), ..sound });
                versions.push((at, degradation));
            }
        }
        Ok(Self { corpus, sources, sounds, versions, codec, seed })
    }

    /// What was done to a sound.
    #[must_use]
    pub fn degradation(&self, index: usize) -> Option<Degradation> {
        self.versions.get(index).map(|(_, degradation)| *degradation)
    }
}

impl RatedSounds for DegradedSounds {
    fn origin(&self) -> RatingsOrigin {
        RatingsOrigin::Simulated
    }

    fn sample_rate_hz(&self) -> u32 {
        self.corpus.sample_rate_hz()
    }

    fn sounds(&self) -> &[RatedSound] {
        &self.sounds
    }

    fn audio(&self, index: usize) -> Result<Vec<f32>> {
        let (at, degradation) = self.versions.get(index).ok_or_else(|| no_such_sound(index, self.versions.len()))?;
        // Step 1: step 0 draws the strengths.
        let key = Key::new(self.seed, Purpose::Augment).step(1).clip(index as u64);
        let (rate, codec) = (self.sample_rate_hz(), self.codec.as_ref());
        match &self.sources[*at].place {
            Place::Corpus(clip) => degradation.apply(&self.corpus.audio(*clip)?, rate, codec, key),
            Place::Memory(samples) => degradation.apply(samples, rate, codec, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::corpus::{CorpusInfo, CorpusWriter, NewClip};

    fn corpus(folder: &std::path::Path) -> Corpus {
        let info = CorpusInfo::new("test", 8000, "tones", "none needed");
        let mut writer = CorpusWriter::create(folder.join("corpus"), info).unwrap();
        for index in 0..20 {
            let split = if index % 4 == 0 { Split::HeldOut } else { Split::Train };
            let samples: Vec<f32> = (0..4000).map(|n| (n as f32 * 0.01 * (index + 3) as f32).sin() * 0.3).collect();
            writer.add(NewClip::new(format!("clip{index}"), split, format!("track{index}")), &samples).unwrap();
        }
        writer.finish().unwrap()
    }

    fn generated() -> Vec<GeneratedClip> {
        let clip = |split| GeneratedClip { name: "g".into(), split, samples: vec![0.1; 8000], sample_rate_hz: 16_000 };
        vec![clip(Split::Train), clip(Split::HeldOut)]
    }

    fn config() -> SimulatedConfig {
        SimulatedConfig { clips: 12, held_out_clips: 4, versions: 3, ..SimulatedConfig::default() }
    }

    #[test]
    fn no_version_of_a_held_out_clip_is_learned_from() {
        let temp = tempfile::tempdir().unwrap();
        let set = DegradedSounds::new(corpus(temp.path()), generated(), None, &config(), 1).unwrap();
        assert_eq!(set.sounds().len(), (12 + 4 + 2) * 3);
        let names = |split: Split| -> BTreeSet<String> {
            let sounds = set.sounds().iter().filter(|sound| sound.split == split && sound.groups[0] == "corpus");
            sounds.map(|sound| sound.name.split(' ').next().unwrap().to_owned()).collect()
        };
        let (train, held_out) = (names(Split::Train), names(Split::HeldOut));
        assert_eq!((train.len(), held_out.len()), (12, 4));
        assert!(train.is_disjoint(&held_out));
        for sound in set.sounds() {
            assert_eq!(sound.ratings.len(), 3);
            assert!(sound.ratings.iter().all(|rating| rating.rater.starts_with("simulated-")));
        }
    }

    #[test]
    fn kinds_are_dealt_out_evenly_and_audio_is_what_the_name_says() {
        let temp = tempfile::tempdir().unwrap();
        let corpus = corpus(temp.path());
        let set = DegradedSounds::new(corpus.clone(), generated(), None, &config(), 1).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for index in 0..set.sounds().len() {
            *counts.entry(set.degradation(index).unwrap().kind).or_insert(0) += 1;
        }
        assert_eq!((counts[&Kind::Clean], counts.get(&Kind::Codec)), (18, None));
        assert!(Kind::DEGRADING[..6].iter().all(|kind| counts[kind] == 6), "{counts:?}");
        let first = corpus.spread(Split::Train, 12)[0];
        assert_eq!(set.audio(0).unwrap(), corpus.audio(first).unwrap());
        assert_ne!(set.audio(1).unwrap(), set.audio(0).unwrap());
        assert_eq!(set.audio(1).unwrap(), set.audio(1).unwrap());
        // A generated clip at twice the corpus's rate is half as long there.
        assert!(set.audio(18 * 3 - 3).unwrap().len().abs_diff(4000) <= 1);
        assert!(set.audio(18 * 3).is_err());
    }

    #[test]
    fn the_seed_decides_and_bad_settings_are_named() {
        let temp = tempfile::tempdir().unwrap();
        let corpus = corpus(temp.path());
        let set = |seed| DegradedSounds::new(corpus.clone(), generated(), None, &config(), seed).unwrap();
        assert_eq!(set(1).sounds(), set(1).sounds());
        assert_ne!(set(1).sounds(), set(2).sounds());
        for (config, field) in [
            (SimulatedConfig { clips: 0, ..config() }, "simulated.clips"),
            (SimulatedConfig { versions: 0, ..config() }, "simulated.versions"),
            (
                SimulatedConfig { raters: RatersConfig { raters: 0, ..RatersConfig::default() }, ..config() },
                "simulated.raters.raters",
            ),
        ] {
            let error = DegradedSounds::new(corpus.clone(), Vec::new(), None, &config, 1).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
