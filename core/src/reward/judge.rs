//! The contract of a judge, and what it sees.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{Error, Result};

/// Mono audio with its rate.
#[derive(Debug, Clone, Copy)]
pub struct AudioView<'a> {
    /// Samples, nominally in [-1, 1].
    pub samples: &'a [f32],
    /// Samples a second.
    pub sample_rate_hz: u32,
}

/// A clip's tokens, frame after frame.
#[derive(Debug, Clone, Copy)]
pub struct TokensView<'a> {
    /// `frames * slots` ids, the slots of a frame side by side.
    pub ids: &'a [u32],
    /// Tokens inside a frame (K).
    pub slots: usize,
}

impl TokensView<'_> {
    /// Number of frames (T).
    #[must_use]
    pub fn frames(&self) -> usize {
        self.ids.len().checked_div(self.slots).unwrap_or(0)
    }
}

/// One clip as a judge sees it.
#[derive(Debug, Clone, Copy)]
pub struct Clip<'a> {
    /// The text that the clip was made for.
    pub caption: &'a str,
    /// The policy's tokens.
    pub tokens: TokensView<'a>,
    /// The sound; present when [`Reward::hears_audio`] says that the judge needs it.
    pub audio: Option<AudioView<'a>>,
}

/// A judge's answer for one clip.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    /// A finite number.
    Value(f64),
    /// The clip cannot be scored, and why. It is counted and left out of the objective; it never becomes a number.
    Unscorable(String),
}

impl Score {
    /// The number, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Unscorable(_) => None,
        }
    }
}

/// A judge of clips. Rewards are raw here; scaling, windows, clipping and sums are combinators.
pub trait Reward {
    /// The name under which the reward is logged and named in recipes.
    fn name(&self) -> &str;

    /// Whether [`Clip::audio`] must be present.
    fn hears_audio(&self) -> bool;

    /// Scores a batch: one [`Score`] a clip, in order, every value finite.
    ///
    /// # Errors
    /// When the judge as a whole failed (a broken model, a dead process). A clip that it cannot judge is
    /// [`Score::Unscorable`], not an error.
    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>>;
}

impl<R: Reward + ?Sized> Reward for &R {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn hears_audio(&self) -> bool {
        (**self).hears_audio()
    }

    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
        (**self).score(clips)
    }
}

impl<R: Reward + ?Sized> Reward for Box<R> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn hears_audio(&self) -> bool {
        (**self).hears_audio()
    }

    fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
        (**self).score(clips)
    }
}

/// Scores `clips` and holds the judge to its contract: one score a clip, every value finite. Whoever calls a judge that
/// others wrote goes through here.
///
/// # Errors
/// The judge's own, and [`Error::Reward`] when it breaks the contract.
pub fn score_checked(reward: &(impl Reward + ?Sized), clips: &[Clip<'_>]) -> Result<Vec<Score>> {
    let scores = reward.score(clips)?;
    let broken = |reason| Err(Error::Reward { name: reward.name().to_string(), reason });
    if scores.len() != clips.len() {
        return broken(format!("it gave {} scores for {} clips", scores.len(), clips.len()));
    }
    match scores.iter().position(|score| score.value().is_some_and(|value| !value.is_finite())) {
        Some(clip) => broken(format!("its score of clip {clip} is not finite")),
        None => Ok(scores),
    }
}
