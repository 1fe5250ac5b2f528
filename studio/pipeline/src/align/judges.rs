//! The rewards of a stage: made from a recipe, scored with raw, scaled and total values.

use burn::tensor::Device;
use musicrl_core::{
    reward::{AudioView, Clip, Part, RangeMap, Reward, Scale, Score, SumReport, TokensView, WeightedSum, Windowed},
    tokens::Tokens,
};
use musicrl_rewards::TextAdherence;

use crate::{Error, Result, bundle::Bundle, music::load_text_audio, preference::UserPreference, recipe::RewardConfig};

/// The rewards that a recipe may name.
pub const REWARDS: [&str; 2] = ["text_adherence", UserPreference::NAME];

/// The judges of a stage; without any, clips are played and not scored.
pub struct Judges(Option<WeightedSum>);

impl std::fmt::Debug for Judges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Judges").field(&self.0.as_ref().map(|sum| sum.name())).finish()
    }
}

impl Judges {
    /// The judges that a stage asks for, with the models of `bundle`.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is no reward; when the bundle lacks a judge's model.
    pub fn of_recipe(rewards: &[RewardConfig], bundle: &Bundle, device: &Device) -> Result<Self> {
        let device = device.clone().inner();
        let part = |config: &RewardConfig| -> Result<Part> {
            let reward: Box<dyn Reward> = match config.name.as_str() {
                "text_adherence" => Box::new(TextAdherence::new(load_text_audio(bundle, &device)?)),
                UserPreference::NAME => Box::new(UserPreference::load(bundle, &device)?),
                other => return Err(Error::config("rewards.name", format!("one of {}", REWARDS.join(", ")), other)),
            };
            let scale = Scale { map: config.range.map(|from| RangeMap { from, to: [0.0, 1.0] }), clip: None };
            Ok(Part { reward: Box::new(Windowed::new(reward, config.windows)?), scale, weight: config.weight })
        };
        let parts = rewards.iter().map(part).collect::<Result<Vec<_>>>()?;
        Ok(Self(Some(WeightedSum::new("reward", parts)?)))
    }

    /// No judges.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// A sum of one's own making.
    #[must_use]
    pub fn of(sum: WeightedSum) -> Self {
        Self(Some(sum))
    }

    /// Whether any judge needs the sound.
    #[must_use]
    pub fn hear_audio(&self) -> bool {
        self.0.as_ref().is_some_and(WeightedSum::hears_audio)
    }

    /// Scores a batch; `audio` may be empty when no judge hears.
    ///
    /// # Errors
    /// When a judge failed as a whole or broke its contract.
    pub fn score(
        &self,
        captions: &[&str],
        tokens: &[Tokens],
        audio: &[Vec<f32>],
        sample_rate_hz: u32,
    ) -> Result<SumReport> {
        let Some(sum) = &self.0 else {
            let total = vec![Score::Unscorable("no judge".into()); captions.len()];
            return Ok(SumReport { parts: Vec::new(), total });
        };
        let clips: Vec<Clip<'_>> = captions
            .iter()
            .zip(tokens)
            .enumerate()
            .map(|(clip, (caption, tokens))| Clip {
                caption,
                tokens: TokensView { ids: &tokens.ids, slots: tokens.slots },
                audio: audio.get(clip).map(|samples| AudioView { samples, sample_rate_hz }),
            })
            .collect();
        Ok(sum.report(&clips)?)
    }
}

/// Mean of the scores that there are; `None` of none.
#[must_use]
pub fn mean(scores: &[Score]) -> Option<f64> {
    let values: Vec<f64> = scores.iter().filter_map(Score::value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscorable_clips_do_not_count_in_means() {
        let scores = [Score::Value(1.0), Score::Unscorable("silence".into()), Score::Value(2.0)];
        assert_eq!(mean(&scores), Some(1.5));
        assert_eq!(mean(&scores[1..2]), None);
    }

    #[test]
    fn without_judges_nothing_has_a_score() {
        let judges = Judges::none();
        let tokens = [Tokens { ids: vec![0], frames: 1, slots: 1 }];
        assert!(!judges.hear_audio());
        assert_eq!(mean(&judges.score(&["a"], &tokens, &[], 16_000).unwrap().total), None);
    }
}
