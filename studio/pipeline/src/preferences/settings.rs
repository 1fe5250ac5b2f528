//! What is collected, and the file that says so.

use std::fs;

use musicrl_core::sampling::SamplingConfig;
use musicrl_feedback::PreferenceSet;
use musicrl_rewards::listeners::Population;
use serde::Serialize;

use crate::{
    Error, Result,
    bundle::{Bundle, sha256_hex},
    generate::SECONDS_MAX,
};

/// The file in a set's folder that says how it was collected.
pub const COLLECTION: &str = "collection.toml";

/// Who plays.
#[derive(Debug, Clone)]
pub struct System {
    /// Its name in the records.
    pub name: String,
    /// Its models.
    pub bundle: Bundle,
}

/// What is collected.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectSettings {
    /// The listeners.
    pub population: Population,
    /// Pairs of clips.
    pub pairs: usize,
    /// The captions.
    pub captions: Vec<String>,
    /// Seed of clips and choices.
    pub seed: u64,
    /// How many listeners take part.
    pub listeners: usize,
    /// Every so many pairs one is judged by a second listener too; 0 for never.
    pub repeat_every: usize,
    /// Listeners that rate each clip from 1 to 5; 0 for none.
    pub raters: usize,
    /// Whether listeners say how sure they are, and the deviation of the error in what they feel, in logits
    /// ([`Listener::confidence`](musicrl_rewards::Listener::confidence)); without it all judgements weigh 1.
    pub confidence_noise: Option<f64>,
    /// Length of a clip; the bundle's where it is left out.
    pub clip_seconds: Option<f64>,
    /// Tempering, truncation, guidance.
    pub sampling: SamplingConfig,
    /// Clips that are played, judged and written at once; the result does not depend on it.
    pub batch: usize,
    /// Whether the sounds are kept as WAV files.
    pub audio: bool,
}

/// What `collection.toml` says: everything that pairs depend on, so that a set is only continued as it was begun.
#[derive(Serialize)]
struct Collection<'a> {
    population: &'a str,
    /// Of the population's definition: tastes are hidden from whoever reads the set.
    population_sha256: String,
    captions_sha256: String,
    seed: String,
    listeners: usize,
    repeat_every: usize,
    raters: usize,
    audio: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence_noise: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clip_seconds: Option<f64>,
    sampling: &'a SamplingConfig,
    systems: Vec<SystemIdentity<'a>>,
}

#[derive(Serialize)]
struct SystemIdentity<'a> {
    name: &'a str,
    sha256: String,
}

impl CollectSettings {
    /// Checks everything that can be without playing.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn check(&self, systems: &[System]) -> Result<()> {
        self.population.validate()?;
        self.sampling.validate()?;
        if systems.is_empty() {
            return Err(Error::config("systems", "at least one bundle", "none"));
        }
        for (index, system) in systems.iter().enumerate() {
            if systems[..index].iter().any(|other| other.name == system.name) {
                return Err(Error::config("systems", "systems of different names", format!("{:?} twice", system.name)));
            }
        }
        if self.captions.is_empty() {
            return Err(Error::config("captions", "at least one caption", "none"));
        }
        for (field, value, most) in
            [("pairs", self.pairs, 10_000_000), ("listeners", self.listeners, 100_000), ("batch", self.batch, 4096)]
        {
            if !(1..=most).contains(&value) {
                return Err(Error::config(field, format!("between 1 and {most}"), value));
            }
        }
        if self.raters > self.listeners {
            return Err(Error::config("ratings", format!("at most the {} listeners", self.listeners), self.raters));
        }
        if let Some(noise) = self.confidence_noise.filter(|noise| !(0.0..=100.0).contains(noise)) {
            return Err(Error::config("confidence", "noise between 0 and 100", noise));
        }
        if self.clip_seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= SECONDS_MAX)) {
            let got = self.clip_seconds.unwrap_or_default();
            return Err(Error::config("seconds", format!("above 0 and at most {SECONDS_MAX}"), got));
        }
        Ok(())
    }
}

/// The text of `collection.toml`.
pub(super) fn collection_of(systems: &[System], settings: &CollectSettings) -> Result<String> {
    let unwritable = |error: toml::ser::Error| Error::config("population", "numbers that TOML can hold", error);
    let population = toml::to_string(&settings.population).map_err(unwritable)?;
    let collection = Collection {
        population: &settings.population.name,
        population_sha256: sha256_hex(population.as_bytes()),
        captions_sha256: sha256_hex(settings.captions.join("\n").as_bytes()),
        // TOML's integers are signed.
        seed: settings.seed.to_string(),
        listeners: settings.listeners,
        repeat_every: settings.repeat_every,
        raters: settings.raters,
        audio: settings.audio,
        confidence_noise: settings.confidence_noise,
        clip_seconds: settings.clip_seconds,
        sampling: &settings.sampling,
        systems: systems.iter().map(|s| SystemIdentity { name: &s.name, sha256: s.bundle.identity() }).collect(),
    };
    toml::to_string(&collection).map_err(unwritable)
}

/// Writes `collection.toml` into a set that holds nothing, or compares.
pub(super) fn same_collection(set: &PreferenceSet, collection: &str) -> Result<()> {
    let path = set.path().join(COLLECTION);
    let there = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if set.clips().is_empty() {
                return Ok(musicrl_codec::write::write_atomic(&path, collection.as_bytes())?);
            }
            let expected = "a set that was collected here (it goes on where it was cut off), or a new folder";
            return Err(Error::File { path, expected: expected.into(), got: "a set of another kind".into() });
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    if there == collection {
        return Ok(());
    }
    let differing = collection.lines().find(|line| !there.lines().any(|other| other == *line));
    let got = "a set that was collected with other settings (or another folder is meant)".into();
    let expected = differing.unwrap_or("the settings of this command").to_string();
    Err(Error::File { path, expected, got })
}
