//! The hidden taste as a reward.

use musicrl_core::reward::{Clip, Reward, Score};
use rayon::prelude::*;

use super::population::Population;
use crate::properties::Properties;

/// The utility of a clip by the taste that a population shares, as a reward named `true_utility_POPULATION`.
///
/// To watch and to judge with, never to learn from: where preferences are simulated, what they are noisy copies of is
/// known, so that over-optimising a learned reward can be drawn against it. Nothing like it is available outside
/// simulation.
#[derive(Debug, Clone)]
pub struct TrueUtility {
    name: String,
    population: Population,
}

impl TrueUtility {
    /// Of a population.
    #[must_use]
    pub fn new(population: Population) -> Self {
        Self { name: format!("true_utility_{}", population.name), population }
    }

    /// The population.
    #[must_use]
    pub fn population(&self) -> &Population {
        &self.population
    }
}

impl Reward for TrueUtility {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        true
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let score = |clip: &Clip<'_>| match clip.audio {
            None => Score::Unscorable("no audio".into()),
            Some(audio) if audio.samples.is_empty() => Score::Unscorable("an empty clip".into()),
            Some(audio) => {
                Score::Value(self.population.taste.utility(&Properties::of(audio.samples, audio.sample_rate_hz)))
            }
        };
        Ok(clips.par_iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::reward::{AudioView, TokensView, score_checked};

    use super::{super::catalogue, *};

    #[test]
    fn it_hears_sound_and_nothing_else() {
        let judge = TrueUtility::new(catalogue::population("town").unwrap());
        assert!(judge.hears_audio() && judge.name() == "true_utility_town");
        let tone: Vec<f32> = (0..48_000).map(|i| (i as f32 * 0.05).sin() * 0.1).collect();
        let clip = |caption, ids, samples| Clip {
            caption,
            tokens: TokensView { ids, slots: 1 },
            audio: Some(AudioView { samples, sample_rate_hz: 16_000 }),
        };
        let silent = vec![0.0; 48_000];
        let scores = score_checked(
            &judge,
            &[
                clip("a waltz", &[1, 2], &tone),
                clip("noise", &[7], &tone),
                clip("a waltz", &[1, 2], &silent),
                clip("a waltz", &[1, 2], &[]),
                Clip { audio: None, ..clip("a waltz", &[1, 2], &tone) },
            ],
        )
        .unwrap();
        assert_eq!(scores[0], scores[1]);
        assert_eq!(scores[0], Score::Value(judge.population().taste.utility(&Properties::of(&tone, 16_000))));
        assert!(scores[0].value() > scores[2].value());
        assert!(scores[3].value().is_none() && scores[4].value().is_none());
    }
}
