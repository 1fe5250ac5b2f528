//! The reference scores zero: playing its clips and moving the offset.

use burn::tensor::Device;
use musicrl_core::sampling::SamplingConfig;

use musicrl_rewards::descriptors::describe;

use super::{clips::PreferenceClip, ensemble::PreferenceEnsemble};
use crate::{
    Error, Result,
    align::play::{PlaySettings, play},
    bundle::Bundle,
    music::{Music, load_policy},
};

/// The step of the random numbers of centring: no training step and no evaluation uses it.
const CENTRING_STEP: u64 = u64::MAX - 1;

/// Clips that are played at once.
const BATCH: usize = 16;

/// Which clips the reference plays.
#[derive(Debug, Clone, PartialEq)]
pub struct Centring<'a> {
    /// What it is asked for; clip i takes caption i, round and round.
    pub captions: &'a [&'a str],
    /// Number of clips.
    pub clips: usize,
    /// Seed of the clips.
    pub seed: u64,
}

/// Lets the policy of `bundle` play clips of the bundle's own length and moves the ensemble's offsets so that their mean
/// score is 0. Returns what the mean was before.
///
/// # Errors
/// [`Error::Config`] for no captions or no clips; when a model is missing or fails.
pub fn centre(
    ensemble: &mut PreferenceEnsemble,
    bundle: &Bundle,
    settings: &Centring<'_>,
    device: &Device,
) -> Result<f64> {
    if settings.captions.is_empty() || settings.clips == 0 {
        let got = format!("{} captions, {} clips", settings.captions.len(), settings.clips);
        return Err(Error::config("centring_clips", "at least one caption and one clip", got));
    }
    let device = device.clone().inner();
    let (policy, music) = (load_policy(bundle, &device)?, Music::load(bundle, &device)?);
    let captions: Vec<&str> = settings.captions.iter().copied().cycle().take(settings.clips).collect();
    let play_settings = PlaySettings {
        sampling: SamplingConfig::default(),
        frames: policy.config().layout.frames_in(bundle.clip_seconds()),
        seed: settings.seed,
        batch: BATCH,
        given: None,
    };
    let played = play(&policy, &music, &captions, &play_settings, (CENTRING_STEP, 0), ensemble.scale().is_some())?;
    let rate_hz = music.sample_rate_hz();
    let described = played.audio.iter().map(|samples| Some(describe(samples, rate_hz).to_vec()));
    let clips: Vec<PreferenceClip> = played
        .tokens
        .into_iter()
        .zip(played.prompt.tokens())
        .zip(described.chain(std::iter::repeat(None)))
        .map(|((tokens, condition), descriptors)| PreferenceClip { condition: condition.clone(), tokens, descriptors })
        .collect();
    ensemble.centre_on(&clips)
}
