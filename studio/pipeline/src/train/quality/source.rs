//! Where the training gets rated sounds.

use musicrl_rewards::quality::{RatingsOrigin, loss::Rated};

use super::Rating;
use crate::{Error, Result, corpus::Split};

/// A sound and what raters said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RatedSound {
    /// A name for people: the file, or the clip and what was done to it.
    pub name: String,
    /// Whether it is learned from or measured on. Sounds of one recording are never in two splits.
    pub split: Split,
    /// Groups that the measures are told apart by, such as the kind of a degradation.
    pub groups: Vec<String>,
    /// What raters without bias and noise would say; known of simulated ones only.
    pub opinion: Option<f64>,
    /// The ratings.
    pub ratings: Vec<Rating>,
    /// The same, in sum.
    pub rated: Rated,
}

impl RatedSound {
    /// A sound with its ratings.
    ///
    /// # Errors
    /// [`Error::Config`] for no rating, or one outside 1 to 5.
    pub fn new(name: String, split: Split, ratings: Vec<Rating>) -> Result<Self> {
        let values: Vec<f64> = ratings.iter().map(|rating| rating.rating).collect();
        let rated = Rated::of(&values).ok_or_else(|| {
            Error::config(format!("ratings of {name}"), "at least one, from 1 to 5", format!("{values:?}"))
        })?;
        Ok(Self { name, split, groups: Vec::new(), opinion: None, ratings, rated })
    }
}

/// Rated sounds, by index.
pub trait RatedSounds: Send + Sync {
    /// Whose ratings these are.
    fn origin(&self) -> RatingsOrigin;

    /// Samples a second, of every sound.
    fn sample_rate_hz(&self) -> u32;

    /// The sounds and their ratings.
    fn sounds(&self) -> &[RatedSound];

    /// A sound's samples; the same at every call.
    ///
    /// # Errors
    /// When it cannot be read, or there is none of that index.
    fn audio(&self, index: usize) -> Result<Vec<f32>>;
}

/// Rated sounds in memory.
#[derive(Debug, Clone)]
pub struct MemorySounds {
    origin: RatingsOrigin,
    sample_rate_hz: u32,
    sounds: Vec<RatedSound>,
    audio: Vec<Vec<f32>>,
}

impl MemorySounds {
    /// Sounds with their samples.
    #[must_use]
    pub fn new(origin: RatingsOrigin, sample_rate_hz: u32, sounds: Vec<(RatedSound, Vec<f32>)>) -> Self {
        let (sounds, audio) = sounds.into_iter().unzip();
        Self { origin, sample_rate_hz, sounds, audio }
    }
}

impl RatedSounds for MemorySounds {
    fn origin(&self) -> RatingsOrigin {
        self.origin
    }

    fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    fn sounds(&self) -> &[RatedSound] {
        &self.sounds
    }

    fn audio(&self, index: usize) -> Result<Vec<f32>> {
        self.audio.get(index).cloned().ok_or_else(|| no_such_sound(index, self.audio.len()))
    }
}

pub(super) fn no_such_sound(index: usize, len: usize) -> Error {
    Error::config("sound", format!("an index below {len}"), index)
}
