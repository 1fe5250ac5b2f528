//! The rewards of a stage: every part's raw and scaled scores, and the total that learning sees.

use musicrl_core::reward::{AudioView, Clip, Reward, TokensView};
use musicrl_core::tokens::Tokens;

use crate::{Result, recipe::RewardConfig};

/// One judge with what its scores count for.
pub struct Judge {
    /// The judge, windows included.
    pub reward: Box<dyn Reward>,
    /// Weight and range.
    pub config: RewardConfig,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("reward", &self.reward.name()).field("config", &self.config).finish()
    }
}

/// The judges of a stage.
#[derive(Debug)]
pub struct Judges(pub Vec<Judge>);

/// What the judges said of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdicts {
    /// For each judge: its name and each clip's raw score.
    pub raw: Vec<(String, Vec<Option<f64>>)>,
    /// For each judge: each clip's score within its range, 0 to 1 (the raw score where the recipe gives no range).
    pub scaled: Vec<Vec<Option<f64>>>,
    /// Weighted sum of the scaled scores; `None` where a judge could not score the clip.
    pub totals: Vec<Option<f64>>,
    /// Why clips could not be scored: clip, judge, reason.
    pub unscorable: Vec<(usize, String, String)>,
}

impl Judges {
    /// Whether any judge needs the sound.
    #[must_use]
    pub fn hear_audio(&self) -> bool {
        self.0.iter().any(|judge| judge.reward.hears_audio())
    }

    /// Scores a batch; `audio` is empty when no judge hears.
    ///
    /// # Errors
    /// When a judge as a whole failed, or answered with another number of scores or one that is not finite.
    pub fn score(
        &self,
        captions: &[&str],
        tokens: &[Tokens],
        audio: &[Vec<f32>],
        sample_rate_hz: u32,
    ) -> Result<Verdicts> {
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
        let mut verdicts = Verdicts {
            raw: Vec::new(),
            scaled: Vec::new(),
            totals: vec![Some(0.0); clips.len()],
            unscorable: Vec::new(),
        };
        for judge in &self.0 {
            let name = judge.reward.name().to_string();
            let scores = judge.reward.score(&clips)?;
            let wrong = |reason: String| musicrl_core::Error::Reward { name: name.clone(), reason };
            if scores.len() != clips.len() {
                return Err(wrong(format!("{} scores for {} clips", scores.len(), clips.len())).into());
            }
            let mut raw = Vec::with_capacity(clips.len());
            let mut scaled = Vec::with_capacity(clips.len());
            for (clip, score) in scores.into_iter().enumerate() {
                let value = match score {
                    musicrl_core::reward::Score::Value(value) if value.is_finite() => Some(value),
                    musicrl_core::reward::Score::Value(value) => {
                        return Err(wrong(format!("score {value} for clip {clip}")).into());
                    }
                    musicrl_core::reward::Score::Unscorable(reason) => {
                        verdicts.unscorable.push((clip, name.clone(), reason));
                        None
                    }
                };
                let part = value.map(|value| match judge.config.range {
                    Some([low, high]) => ((value - low) / (high - low)).clamp(0.0, 1.0),
                    None => value,
                });
                let total = &mut verdicts.totals[clip];
                *total = match (*total, part) {
                    (Some(total), Some(part)) => Some(total + judge.config.weight * part),
                    _ => None,
                };
                raw.push(value);
                scaled.push(part);
            }
            verdicts.raw.push((name, raw));
            verdicts.scaled.push(scaled);
        }
        Ok(verdicts)
    }
}

/// Mean of the scores that there are; `None` of none.
#[must_use]
pub fn mean(scores: &[Option<f64>]) -> Option<f64> {
    let values: Vec<f64> = scores.iter().flatten().copied().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use musicrl_core::reward::Score;

    use super::*;
    use crate::recipe::Windows;

    struct Fixed(Vec<Score>);

    impl Reward for Fixed {
        fn name(&self) -> &str {
            "fixed"
        }
        fn hears_audio(&self) -> bool {
            false
        }
        fn score(&self, _clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
            Ok(self.0.clone())
        }
    }

    fn judge(scores: Vec<Score>, weight: f64, range: Option<[f64; 2]>) -> Judge {
        let config =
            RewardConfig { name: "fixed".into(), weight, range, windows: Windows::Whole, window_seconds: None };
        Judge { reward: Box::new(Fixed(scores)), config }
    }

    fn score(judges: Vec<Judge>, clips: usize) -> Result<Verdicts> {
        let tokens = vec![Tokens { ids: vec![0], frames: 1, slots: 1 }; clips];
        Judges(judges).score(&vec!["a caption"; clips], &tokens, &[], 16_000)
    }

    #[test]
    fn totals_are_weighted_sums_of_scaled_scores() {
        let first = judge(vec![Score::Value(3.0), Score::Value(9.0)], 2.0, Some([1.0, 5.0]));
        let second = judge(vec![Score::Value(-0.5), Score::Value(0.25)], 1.0, None);
        let verdicts = score(vec![first, second], 2).unwrap();
        assert_eq!(verdicts.raw[0].1, [Some(3.0), Some(9.0)]);
        assert_eq!(verdicts.scaled[0], [Some(0.5), Some(1.0)]);
        assert_eq!(verdicts.totals, [Some(0.5), Some(2.25)]);
    }

    #[test]
    fn what_one_judge_cannot_score_has_no_total() {
        let first = judge(vec![Score::Unscorable("silence".into()), Score::Value(1.0)], 1.0, None);
        let second = judge(vec![Score::Value(1.0), Score::Value(1.0)], 1.0, None);
        let verdicts = score(vec![first, second], 2).unwrap();
        assert_eq!(verdicts.totals, [None, Some(2.0)]);
        assert_eq!(verdicts.unscorable, [(0, "fixed".to_string(), "silence".to_string())]);
    }

    #[test]
    fn a_lying_judge_is_an_error() {
        let message = |scores| score(vec![judge(scores, 1.0, None)], 2).unwrap_err().to_string();
        assert!(message(vec![Score::Value(1.0)]).contains("1 scores for 2 clips"));
        assert!(message(vec![Score::Value(1.0), Score::Value(f64::NAN)]).contains("NaN"));
    }
}
