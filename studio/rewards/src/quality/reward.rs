//! Acoustic quality as a reward.

use musicrl_core::reward::{Clip, Reward, Score};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::QualityModel;
use crate::Error;

/// What the model says of one clip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// Predicted mean opinion score, in [1, 5].
    pub mean: f64,
    /// Predicted standard deviation of single ratings, in [0.1, 2].
    pub spread: f64,
}

/// The predicted mean opinion score of a clip's sound, in [1, 5]; the caption and the tokens do not count.
///
/// Which parts of a clip are heard is for [`Windowed`](musicrl_core::reward::Windowed) to say (the first and the last
/// two thirds in the paper), and the range for [`Scaled`](musicrl_core::reward::Scaled) (1 to 5 becomes 0 to 1).
#[derive(Debug)]
pub struct AcousticQuality {
    model: QualityModel,
}

impl AcousticQuality {
    /// The reward's name.
    pub const NAME: &'static str = "acoustic_quality";

    /// A judge with the given model, which must not be on an autodiff device (`model.valid()`).
    #[must_use]
    pub fn new(model: QualityModel) -> Self {
        Self { model }
    }

    /// The model that it judges with.
    #[must_use]
    pub fn model(&self) -> &QualityModel {
        &self.model
    }
}

impl Reward for AcousticQuality {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn hears_audio(&self) -> bool {
        true
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let failed = |reason: String| musicrl_core::Error::Reward { name: Self::NAME.into(), reason };
        let judge = |clip: &Clip<'_>| {
            let Some(audio) = clip.audio else {
                return Ok(Score::Unscorable("no audio".into()));
            };
            match self.model.judge(audio) {
                Ok(opinion) if opinion.mean.is_finite() => Ok(Score::Value(opinion.mean)),
                Ok(_) => Err(failed("the model gave no finite opinion".into())),
                Err(error @ (Error::Audio { .. } | Error::Codec(_))) => Ok(Score::Unscorable(error.to_string())),
                Err(error) => Err(failed(error.to_string())),
            }
        };
        // Each clip is judged by itself, so that threads do not change a score.
        clips.par_iter().map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_core::{
        params::ParamTable,
        random::{Key, Purpose},
        reward::{AudioView, RangeMap, Scale, Scaled, TokensView, Windowed, Windows},
    };

    use super::*;
    use crate::quality::QualityConfig;

    const RATE_HZ: u32 = 16_000;

    fn judge() -> AcousticQuality {
        AcousticQuality::new(QualityConfig::base().init_seeded(1, &Device::flex()).unwrap())
    }

    fn noise(seed: u64, samples: usize) -> Vec<f32> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        (0..samples).map(|_| (0.1 * stream.normal()) as f32).collect()
    }

    fn clip(samples: &[f32]) -> Clip<'_> {
        let audio = Some(AudioView { samples, sample_rate_hz: RATE_HZ });
        Clip { caption: "", tokens: TokensView { ids: &[0; 30], slots: 5 }, audio }
    }

    #[test]
    fn a_score_does_not_depend_on_the_batch() {
        let sounds: Vec<Vec<f32>> = [9_000, 20_000, 16_000].map(|n| noise(n as u64, n)).to_vec();
        let clips: Vec<Clip<'_>> = sounds.iter().map(|sound| clip(sound)).collect();
        let together = judge().score(&clips).unwrap();
        for (clip, score) in clips.iter().zip(&together) {
            assert_eq!(judge().score(std::slice::from_ref(clip)).unwrap(), std::slice::from_ref(score));
            assert!((1.0..=5.0).contains(&score.value().unwrap()));
        }
        assert!(judge().hears_audio() && judge().name() == "acoustic_quality");
        assert!(judge().score(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_judged_is_said_and_does_not_stop_the_others() {
        let (good, short, silent) = (noise(1, 16_000), noise(1, 4_000), vec![0.0; 16_000]);
        let mut broken = good.clone();
        broken[5] = f32::INFINITY;
        let mute = Clip { audio: None, ..clip(&good) };
        let scores = judge().score(&[clip(&short), clip(&silent), clip(&broken), mute, clip(&good)]).unwrap();
        for (score, reason) in scores.iter().zip(["0.250 s", "silence", "sample 5", "no audio"]) {
            assert!(matches!(score, Score::Unscorable(why) if why.contains(reason)), "{score:?} without {reason}");
        }
        assert!(scores[4].value().is_some());
    }

    #[test]
    fn the_ends_of_a_clip_are_averaged_and_brought_to_the_unit_interval() {
        let sound = [noise(1, 16_000), noise(2, 8_000).iter().map(|x| x.signum() * 0.1).collect()].concat();
        let score = |range: std::ops::Range<usize>| judge().score(&[clip(&sound[range])]).unwrap()[0].value().unwrap();
        let expected = ((score(0..16_000) + score(8_000..24_000)) / 2.0 - 1.0) / 4.0;
        let windowed = Windowed::new(judge(), Windows::Ends { fraction: 2.0 / 3.0 }).unwrap();
        let map = Some(RangeMap { from: [1.0, 5.0], to: [0.0, 1.0] });
        let scaled = Scaled::new(windowed, Scale { map, clip: None }).unwrap();
        let got = scaled.score(&[clip(&sound)]).unwrap()[0].value().unwrap();
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }

    #[test]
    fn broken_weights_are_an_error_of_the_judge() {
        let model = QualityConfig::base().init_seeded(1, &Device::flex()).unwrap();
        let mut table = ParamTable::collect(&model);
        table.values_mut().fill(f32::NAN);
        let judge = AcousticQuality::new(table.apply(model).unwrap());
        let error = judge.score(&[clip(&noise(1, 16_000))]).unwrap_err().to_string();
        assert!(error.contains("acoustic_quality") && error.contains("finite"), "{error}");
    }
}
