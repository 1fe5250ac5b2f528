//! Playing: clips from captions, as tokens, sound and scores.

use musicrl_core::{
    policy::{ConditionPrompt, Prompt as _},
    random::{Key, Purpose},
    reward::SumReport,
    sampling::{GenerationRequest, SamplingConfig, continue_from, generate},
    tokens::Tokens,
};

use super::{
    family::{Player, PromptOf},
    judges::{Asked, Judges},
};
use crate::Result;

/// How clips are played.
#[derive(Debug, Clone)]
pub struct PlaySettings {
    /// Tempering, truncation, guidance.
    pub sampling: SamplingConfig,
    /// Frames a clip.
    pub frames: usize,
    /// The run's seed.
    pub seed: u64,
    /// Clips that are generated at once; the result does not depend on it.
    pub batch: usize,
    /// The first frames of every clip, where they go on from something.
    pub given: Option<Tokens>,
}

/// Clips, what they were made for, and their sound where it was wanted.
#[derive(Debug)]
pub struct Played<Q = ConditionPrompt> {
    /// The captions as conditions.
    pub prompt: Q,
    /// The clips' tokens.
    pub tokens: Vec<Tokens>,
    /// Log-probability of each clip's actions, summed.
    pub log_probabilities: Vec<f64>,
    /// Their sound; empty when none was wanted.
    pub audio: Vec<Vec<f32>>,
}

impl<Q> Played<Q> {
    /// Lets the judges score the clips.
    ///
    /// # Errors
    /// When a judge failed.
    pub fn judge(&self, judges: &Judges, asked: Asked, captions: &[&str], music: &impl Player) -> Result<SumReport> {
        judges.score(asked, captions, &self.tokens, &self.audio, music.sample_rate_hz())
    }
}

/// Plays one clip for each caption. Clip `i` draws the random numbers of (seed, `step`, `first_clip + i`).
///
/// # Errors
/// When a model refuses its input or gives logits that are not finite.
pub fn play<M: Player>(
    policy: &M::Policy,
    music: &M,
    captions: &[&str],
    settings: &PlaySettings,
    (step, first_clip): (u64, u64),
    with_sound: bool,
) -> Result<Played<PromptOf<M>>> {
    let clips: Vec<u64> = (0..captions.len() as u64).map(|clip| first_clip.wrapping_add(clip)).collect();
    play_clips(policy, music, captions, settings, (step, &clips), with_sound)
}

/// As [`play`], with a number for each clip: clip `i` draws the random numbers of (seed, `step`, `numbers[i]`).
///
/// # Errors
/// As [`play`]; other numbers of clips than captions.
pub fn play_clips<M: Player>(
    policy: &M::Policy,
    music: &M,
    captions: &[&str],
    settings: &PlaySettings,
    (step, numbers): (u64, &[u64]),
    with_sound: bool,
) -> Result<Played<PromptOf<M>>> {
    if numbers.len() != captions.len() {
        let (expected, got) = (format!("[{}]", captions.len()), format!("[{}]", numbers.len()));
        return Err(musicrl_core::Error::Shape { what: "clip numbers, one a caption", expected, got }.into());
    }
    let prompt = music.prompt(captions)?;
    let indices: Vec<usize> = (0..captions.len()).collect();
    let mut played =
        Played { prompt: prompt.clone(), tokens: Vec::new(), log_probabilities: Vec::new(), audio: Vec::new() };
    for clips in indices.chunks(settings.batch.max(1)) {
        let request = GenerationRequest {
            sampling: settings.sampling.clone(),
            frames: settings.frames,
            seed: settings.seed,
            step,
            clips: clips.iter().map(|clip| numbers[*clip]).collect(),
        };
        let prompt = prompt.select(clips)?;
        let samples = match &settings.given {
            None => generate(policy, &prompt, &request, &mut |_| {})?,
            Some(given) => continue_from(policy, &prompt, &vec![given.clone(); clips.len()], &request, &mut |_| {})?,
        };
        for sample in samples {
            played.log_probabilities.push(sample.log_probabilities.iter().map(|value| f64::from(*value)).sum());
            played.tokens.push(sample.tokens);
        }
        if with_sound {
            let keys: Vec<Key> = request.clips.iter().map(|clip| sound_key(settings.seed, step, *clip)).collect();
            played.audio.extend(music.sound(&played.tokens[clips[0]..], &keys)?);
        }
    }
    Ok(played)
}

/// The random numbers of a clip's fine stage.
pub(crate) fn sound_key(seed: u64, step: u64, clip: u64) -> Key {
    Key::new(seed, Purpose::Mask).step(step).clip(clip)
}
