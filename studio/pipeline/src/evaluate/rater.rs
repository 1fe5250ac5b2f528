//! Who rates clips: the contract, and a panel of several of one kind.

use musicrl_core::{random::Key, reward::AudioView};
use musicrl_feedback::Source;
use sha2::{Digest, Sha256};

use super::{keys, ratings::RATING_RANGE};
use crate::{Error, Result};

/// What a rater knows of a clip. Which system made it is no part of it.
#[derive(Debug, Clone, Copy)]
pub struct RatedClip<'a> {
    /// The text that it was made for.
    pub caption: &'a str,
    /// Its sound.
    pub audio: AudioView<'a>,
}

impl RatedClip<'_> {
    /// 64 bits of the SHA-256 of caption, rate and samples: the same for the same sound, whoever made it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update((self.caption.len() as u64).to_le_bytes());
        hash.update(self.caption.as_bytes());
        hash.update(self.audio.sample_rate_hz.to_le_bytes());
        self.audio.samples.iter().for_each(|sample| hash.update(sample.to_le_bytes()));
        hash.finalize().iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
    }
}

/// Somebody who gives a clip an opinion score.
pub trait Rater: Send + Sync {
    /// Its name, unique in its panel.
    fn name(&self) -> &str;

    /// From 1 (bad) to 5 (excellent). All chance comes from `key`.
    ///
    /// # Errors
    /// When the rater cannot rate at all; a clip that is merely bad has a 1.
    fn rate(&self, clip: &RatedClip<'_>, key: Key) -> Result<f64>;
}

/// Raters of one kind: all rate every clip, or they take turns over the prompts.
pub struct Panel {
    source: Source,
    raters: Vec<Box<dyn Rater>>,
    /// How many of them hear a prompt.
    each: usize,
}

impl std::fmt::Debug for Panel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.debug_struct("Panel").field("source", &self.source).field("raters", &names).finish()
    }
}

impl Panel {
    /// A panel whose raters all rate every clip; `source` says whether they are people.
    ///
    /// # Errors
    /// [`Error::Config`] without a rater, or with two of one name.
    pub fn new(source: Source, raters: Vec<Box<dyn Rater>>) -> Result<Self> {
        let each = raters.len();
        let panel = Self { source, raters, each };
        let names: std::collections::BTreeSet<&str> = panel.names().collect();
        if names.is_empty() || names.len() < panel.raters.len() {
            return Err(Error::config("raters", "at least one, each with a name of its own", format!("{panel:?}")));
        }
        Ok(panel)
    }

    /// The same raters taking turns: each prompt is heard, from all systems, by `each` of them. A comparison of systems then
    /// speaks of whom they were drawn from and not of a few individuals.
    ///
    /// # Errors
    /// [`Error::Config`] for 0, or more than there are.
    pub fn in_turns(self, each: usize) -> Result<Self> {
        if !(1..=self.raters.len()).contains(&each) {
            return Err(Error::config("raters", format!("from 1 to the {} listeners", self.raters.len()), each));
        }
        Ok(Self { each, ..self })
    }

    /// Who hears a prompt, by place: the next `each` around the table, from a seat that `seed` draws.
    fn turn(&self, prompt: usize, seed: u64) -> impl Iterator<Item = usize> {
        let seats = self.raters.len();
        let first = if self.each == seats { 0 } else { keys::seat(seed).stream().below(seats) };
        (0..self.each).map(move |n| (first + prompt * self.each + n) % seats)
    }

    /// Whether its raters are people, or of which population.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The names of all raters, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.raters.iter().map(|rater| rater.name())
    }

    /// The ratings of a clip by those who hear its prompt, with their names. A rater draws the numbers of (`seed`, its place,
    /// the sound): the same sound has the same rating from the same rater, other sounds independent ones.
    ///
    /// # Errors
    /// A rater's own; [`musicrl_core::Error::Reward`] naming one whose rating is not from 1 to 5.
    pub fn rate(&self, clip: &RatedClip<'_>, prompt: usize, seed: u64) -> Result<Vec<(&str, f64)>> {
        let sound = clip.fingerprint();
        let mut ratings = Vec::with_capacity(self.each);
        for at in self.turn(prompt, seed) {
            let rater = &self.raters[at];
            let rating = rater.rate(clip, keys::rating(seed, at, sound))?;
            if !RATING_RANGE.contains(&rating) {
                let reason = format!("it gave {rating}, not a rating from 1 to 5");
                return Err(musicrl_core::Error::Reward { name: rater.name().into(), reason }.into());
            }
            ratings.push((rater.name(), rating));
        }
        Ok(ratings)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    /// Gives what it draws, or what it was told.
    struct Fake(&'static str, Option<f64>);

    impl Rater for Fake {
        fn name(&self) -> &str {
            self.0
        }

        fn rate(&self, _: &RatedClip<'_>, key: Key) -> Result<f64> {
            Ok(self.1.unwrap_or(1.0 + 4.0 * key.uniform(0)))
        }
    }

    fn clip(samples: &[f32]) -> RatedClip<'_> {
        RatedClip { caption: "a waltz", audio: AudioView { samples, sample_rate_hz: 16_000 } }
    }

    fn panel(raters: Vec<Fake>) -> Result<Panel> {
        let raters = raters.into_iter().map(|rater| Box::new(rater) as Box<dyn Rater>).collect();
        Panel::new(Source::Simulated { population: "test".into() }, raters)
    }

    #[test]
    fn the_same_sound_has_the_same_rating_and_another_an_independent_one() {
        let panel = panel(vec![Fake("a", None), Fake("b", None)]).unwrap();
        let ratings = panel.rate(&clip(&[0.1, 0.2]), 0, 1).unwrap();
        assert_eq!(panel.rate(&clip(&[0.1, 0.2]), 0, 1).unwrap(), ratings);
        assert_ne!(ratings[0].1, ratings[1].1);
        assert_ne!(panel.rate(&clip(&[0.1, 0.3]), 0, 1).unwrap(), ratings);
        assert_ne!(panel.rate(&clip(&[0.1, 0.2]), 0, 2).unwrap(), ratings);
        let other = RatedClip { caption: "a march", ..clip(&[0.1, 0.2]) };
        assert_ne!(panel.rate(&other, 0, 1).unwrap(), ratings);
        assert_ne!(ratings[0].1, 1.0 + 4.0 * Key::new(1, Purpose::Listener).uniform(0));
    }

    #[test]
    fn raters_take_turns_and_the_clips_of_a_prompt_have_the_same_ones() {
        let names = ["a", "b", "c", "d", "e"];
        let all = || panel(names.map(|name| Fake(name, Some(3.0))).into()).unwrap();
        let heard = |panel: &Panel, prompt, sample, seed| {
            let ratings = panel.rate(&clip(&[sample]), prompt, seed).unwrap();
            ratings.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        let turns = all().in_turns(2).unwrap();
        let mut ratings = std::collections::BTreeMap::<String, usize>::new();
        for prompt in 0..25 {
            let who = heard(&turns, prompt, 0.1, 7);
            assert_eq!(who, heard(&turns, prompt, 0.2, 7));
            assert!(who.len() == 2 && who[0] != who[1]);
            who.into_iter().for_each(|name| *ratings.entry(name).or_default() += 1);
        }
        // 50 ratings by five raters.
        assert!(ratings.len() == 5 && ratings.values().all(|count| *count == 10), "{ratings:?}");
        assert!((8..40).any(|seed| heard(&turns, 0, 0.1, seed) != heard(&turns, 0, 0.1, 7)));
        assert_eq!(heard(&all(), 3, 0.1, 7), names);
        assert!(all().in_turns(0).is_err() && all().in_turns(6).is_err());
    }

    #[test]
    fn bad_raters_are_named() {
        for rating in [0.9, 5.1, f64::NAN] {
            let panel = panel(vec![Fake("a", None), Fake("bad", Some(rating))]).unwrap();
            let error = panel.rate(&clip(&[]), 0, 1);
            assert!(error.unwrap_err().to_string().contains("`bad`"));
        }
        assert!(panel(Vec::new()).is_err());
        assert!(panel(vec![Fake("a", None), Fake("a", None)]).is_err());
    }
}
