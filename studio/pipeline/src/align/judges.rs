//! The rewards of a stage: made from a recipe, scored with raw, scaled and total values.

use std::path::Path;

use burn::tensor::Device;
use musicrl_core::{
    reward::{AudioView, Clip, Part, RangeMap, Reward, Scale, Score, SumReport, TokensView, WeightedSum, Windowed},
    tokens::Tokens,
};
use musicrl_rewards::{
    AcousticQuality, TextAdherence, TrueUtility,
    external::{HttpJudge, OnnxJudge, ProcessJudge},
    listeners::catalogue::population,
};
use musicrl_zoo::{Model, clap::ClapAdherence, open};

use super::diversity::TokenDiversity;
use crate::{
    Error, Result,
    bundle::Bundle,
    embedded,
    imported::{
        checkpoint_identity, is_checkpoint,
        preference::{ImportedPreference, is_preference_head, preference_head_identity},
    },
    music::{load_quality, load_text_audio},
    preference::UserPreference,
    recipe::{EMBEDDED, RewardConfig},
};

/// The rewards that a recipe may name. The true utilities of simulated populations can be watched, not learned from:
/// [`RewardConfig::validate`] sees to it.
pub const REWARDS: [&str; 10] = [
    "text_adherence",
    ClapAdherence::NAME,
    AcousticQuality::NAME,
    UserPreference::NAME,
    TokenDiversity::NAME,
    "true_utility_village",
    "true_utility_town",
    "true_utility_club",
    "true_utility_chapel",
    "true_utility_salon",
];

/// How the names of true utilities begin.
pub const TRUE_UTILITY: &str = "true_utility_";

/// Which judges of a sum are asked. The totals are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All of them.
    All,
    /// Those whose weight is not 0.
    Counted,
}

/// The judges of a stage; without any, clips are played and not scored.
pub struct Judges(Option<WeightedSum>);

impl std::fmt::Debug for Judges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Judges").field(&self.0.as_ref().map(|sum| sum.name())).finish()
    }
}

impl Judges {
    /// The judges that a stage asks for, with the models of `bundle` where a reward names no other.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is no reward; when a bundle cannot be read or lacks a judge's model, or a judge of
    /// the user's own cannot be started.
    pub fn of_recipe(rewards: &[RewardConfig], bundle: &Bundle, device: &Device) -> Result<Self> {
        let device = device.clone().inner();
        let part = |config: &RewardConfig| -> Result<Part> {
            let own = config.bundle.as_deref().filter(|path| !is_checkpoint(path) && !is_preference_head(path));
            let other = own.map(judge_bundle).transpose()?;
            let bundle = other.as_ref().unwrap_or(bundle);
            let reward: Box<dyn Reward> = match config.kind() {
                _ if config.is_external() => external(config)?,
                "text_adherence" => Box::new(TextAdherence::new(load_text_audio(bundle, &device)?)),
                ClapAdherence::NAME => clap(config, &device)?,
                AcousticQuality::NAME => Box::new(AcousticQuality::new(load_quality(bundle, &device)?)),
                UserPreference::NAME if config.bundle.as_deref().is_some_and(is_preference_head) => {
                    let dir = config.bundle.as_deref().unwrap_or(Path::new(""));
                    Box::new(ImportedPreference::open(dir, &device)?)
                }
                TokenDiversity::NAME => Box::new(TokenDiversity),
                UserPreference::NAME => Box::new(UserPreference::load(bundle, &device)?),
                name if name.starts_with(TRUE_UTILITY) => {
                    Box::new(TrueUtility::new(population(&name[TRUE_UTILITY.len()..])?))
                }
                other => return Err(Error::config("rewards.name", format!("one of {}", REWARDS.join(", ")), other)),
            };
            let reward = match config.judge {
                Some(_) => Box::new(Named { name: config.name.clone(), reward }),
                None => reward,
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
        asked: Asked,
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
        Ok(match asked {
            Asked::All => sum.report(&clips)?,
            Asked::Counted => sum.report_counted(&clips)?,
        })
    }
}

/// A judge under another name than its own.
struct Named {
    name: String,
    reward: Box<dyn Reward>,
}

impl Reward for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        self.reward.hears_audio()
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        self.reward.score(clips)
    }
}

/// Text adherence by an imported CLAP checkpoint.
fn clap(config: &RewardConfig, device: &Device) -> Result<Box<dyn Reward>> {
    let Some(dir) = config.bundle.as_deref().filter(|path| is_checkpoint(path)) else {
        let expected = format!("with `bundle`, the folder of a CLAP checkpoint, for `{}`", config.name);
        return Err(Error::config("rewards", expected, format!("{:?}", config.bundle)));
    };
    let Model::Clap(model) = open(dir, device)? else {
        let (expected, path) = ("a checkpoint of CLAP".into(), dir.join("config.json"));
        return Err(Error::File { path, expected, got: "another architecture".into() });
    };
    Ok(Box::new(ClapAdherence::new(*model)?))
}

/// A judge of the user's own.
fn external(config: &RewardConfig) -> Result<Box<dyn Reward>> {
    let name = config.name.as_str();
    Ok(match (&config.process, &config.http, &config.onnx) {
        (Some(process), None, None) => Box::new(ProcessJudge::new(name, process.clone())?),
        (None, Some(http), None) => Box::new(HttpJudge::new(name, http.clone())?),
        (None, None, Some(onnx)) => Box::new(OnnxJudge::new(name, onnx.clone())?),
        _ => return Err(Error::config("rewards", "with exactly one of `process`, `http` and `onnx`", name)),
    })
}

/// The bundle that a reward names: a folder, or the base inside the program.
///
/// # Errors
/// As [`Bundle::open`].
pub fn judge_bundle(path: &Path) -> Result<Bundle> {
    if path == Path::new(EMBEDDED) { embedded::base() } else { Bundle::open(path) }
}

/// The identity of what a reward names: of a bundle, or of an imported checkpoint.
///
/// # Errors
/// As [`judge_bundle`] and [`checkpoint_identity`].
pub fn judge_identity(path: &Path) -> Result<String> {
    if is_preference_head(path) {
        preference_head_identity(path)
    } else if is_checkpoint(path) {
        checkpoint_identity(path)
    } else {
        Ok(judge_bundle(path)?.identity())
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
    use musicrl_core::params::Storage;
    use musicrl_rewards::QualityConfig;

    use super::*;
    use crate::bundle::part;

    #[test]
    fn unscorable_clips_do_not_count_in_means() {
        let scores = [Score::Value(1.0), Score::Unscorable("silence".into()), Score::Value(2.0)];
        assert_eq!(mean(&scores), Some(1.5));
        assert_eq!(mean(&scores[1..2]), None);
    }

    #[test]
    fn a_reward_may_come_from_another_bundle_than_the_base() {
        let (device, temp) = (Device::flex(), tempfile::tempdir().unwrap());
        let mut judge = Bundle::new();
        let config = QualityConfig::base();
        judge.set(part::QUALITY, &config, &config.init_seeded(1, &device).unwrap(), Storage::F32).unwrap();
        judge.save(temp.path()).unwrap();
        let reward = |text: &str| toml::from_str::<RewardConfig>(text).unwrap();
        let plain = "name = 'acoustic_quality'\nweight = 2.0\nrange = [1.0, 5.0]\n";
        let other = format!("{plain}bundle = '{}'\n", temp.path().display());
        let ends = format!("{other}windows = {{ kind = 'ends', fraction = 0.6667 }}\n");
        let missing = Judges::of_recipe(&[reward(plain)], &Bundle::new(), &device).unwrap_err().to_string();
        assert!(missing.contains("musicrl train quality"), "{missing}");

        let judges = Judges::of_recipe(&[reward(&ends)], &Bundle::new(), &device).unwrap();
        assert!(judges.hear_audio());
        let sound: Vec<f32> = (0..24_000).map(|n| (n as f32 * 0.1).sin() * (n % 900) as f32 / 900.0).collect();
        let tokens = [Tokens { ids: vec![0; 12], frames: 12, slots: 1 }];
        let report = judges.score(Asked::All, &["a"], &tokens, std::slice::from_ref(&sound), 16_000).unwrap();
        let (raw, scaled) = (report.parts[0].raw[0].value().unwrap(), report.parts[0].scaled[0].value().unwrap());
        assert!((1.0..=5.0).contains(&raw) && (scaled - (raw - 1.0) / 4.0).abs() < 1e-12);
        assert!((report.total[0].value().unwrap() - 2.0 * scaled).abs() < 1e-12);
        // A second model of the kind, under its own name.
        let two = [reward(&other), reward(&other.replacen("acoustic_quality", "quality-2", 1))];
        let two = two.map(|mut config| {
            config.judge = (config.name == "quality-2").then(|| "acoustic_quality".into());
            config
        });
        let judges = Judges::of_recipe(&two, &Bundle::new(), &device).unwrap();
        let report = judges.score(Asked::All, &["a"], &tokens, std::slice::from_ref(&sound), 16_000).unwrap();
        assert_eq!((report.parts[0].name.as_str(), report.parts[1].name.as_str()), ("acoustic_quality", "quality-2"));
        assert_eq!(report.parts[0].raw, report.parts[1].raw);
        let gone = format!("{plain}bundle = '/nowhere/judge'\n");
        let gone = Judges::of_recipe(&[reward(&gone)], &Bundle::new(), &device).unwrap_err().to_string();
        assert!(gone.contains("/nowhere/judge"), "{gone}");
    }

    #[test]
    fn without_judges_nothing_has_a_score() {
        let judges = Judges::none();
        let tokens = [Tokens { ids: vec![0], frames: 1, slots: 1 }];
        assert!(!judges.hear_audio());
        assert_eq!(mean(&judges.score(Asked::All, &["a"], &tokens, &[], 16_000).unwrap().total), None);
    }
}
