//! Playing every prompt on every system, and everything that is done with a clip while it is at hand: rating, scoring,
//! embedding, measuring, exporting. Sounds are not kept: memory does not grow with the number of prompts.

use burn::tensor::Device;
use musicrl_core::{
    policy::{HierarchicalPolicy, Policy as _},
    reward::{AudioView, Score},
    tokens::Tokens,
};
use musicrl_rewards::TextAudioModel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    distribution::{Embedded, embed},
    form::Export,
    keys,
    rater::{Panel, RatedClip},
    ratings::Rating,
    settings::EvaluateSettings,
    signal::{SignalFacts, signal_facts},
    system::System,
};
use crate::{
    Error, Result,
    align::{
        best_of::play_best_of_clips,
        judges::{Asked, Judges},
        measure::EVALUATION_STEP,
        play::{PlaySettings, Played, play_clips},
    },
    bundle::Bundle,
    music::{Music, load_policy},
    recipe::RewardConfig,
};

/// One clip that was heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipReport {
    /// Index of the system.
    pub system: usize,
    /// Index of the prompt.
    pub prompt: usize,
    /// Which clip of that prompt.
    pub take: usize,
    /// The clip of the key of its random numbers; the seed is the evaluation's, the step that of evaluations.
    pub clip: u64,
    /// 64 bits of the SHA-256 of prompt, rate and samples: equal sounds have equal ones.
    pub sound: String,
    /// Level, silence, clipping.
    pub signal: SignalFacts,
    /// One score a measure, in the order of the measures; `None` where it could not be scored.
    pub scores: Vec<Option<f64>>,
}

/// What everything is judged with, the same for every system.
pub(super) struct Ears<'a> {
    judges: Option<Judges>,
    embedding: &'a TextAudioModel,
    panel: Option<&'a Panel>,
    export: Option<&'a Export>,
}

impl<'a> Ears<'a> {
    /// The judges of `bundle`.
    pub(super) fn new(
        bundle: &Bundle,
        embedding: &'a TextAudioModel,
        measures: &[String],
        panel: Option<&'a Panel>,
        export: Option<&'a Export>,
        device: &Device,
    ) -> Result<Self> {
        let config = |name: &String| RewardConfig::named(name.clone(), 1.0);
        let configs: Vec<RewardConfig> = measures.iter().map(config).collect();
        let judges = if configs.is_empty() { None } else { Some(Judges::of_recipe(&configs, bundle, device)?) };
        Ok(Self { judges, embedding, panel, export })
    }
}

/// What was heard of one system.
#[derive(Default)]
pub(super) struct Heard {
    /// Each clip.
    pub clips: Vec<ClipReport>,
    /// The panel's ratings.
    pub ratings: Vec<Rating>,
    /// The clips' embeddings, grouped by prompt.
    pub embedded: Embedded,
    /// The clips' tokens.
    pub tokens: Vec<Tokens>,
    /// Clips of which no candidate could be scored.
    pub unchosen: usize,
}

/// What plays a system's clips.
struct Stand {
    policy: HierarchicalPolicy,
    music: Music,
    settings: PlaySettings,
    /// Who chooses, among how many.
    choice: Option<(Judges, usize)>,
}

impl Stand {
    fn new(system: &System, settings: &EvaluateSettings, device: &Device) -> Result<Self> {
        let policy = load_policy(&system.bundle, device)?;
        let music = Music::load(&system.bundle, device)?;
        let frames = policy.layout().frames_in(settings.play.clip_seconds).max(1);
        let (sampling, seed) = (settings.play.sampling.clone(), settings.play.seed);
        let play = PlaySettings { sampling, frames, seed, batch: settings.batch.max(1), given: None };
        let choice = match &system.best_of {
            None => None,
            Some(best) => Some((Judges::of_recipe(&best.rewards, &best.judges, device)?, best.candidates)),
        };
        Ok(Self { policy, music, settings: play, choice })
    }

    /// Captions that are played together: memory does not grow with the number of candidates.
    fn together(&self) -> usize {
        let candidates = self.choice.as_ref().map_or(1, |(_, candidates)| *candidates);
        (self.settings.batch / candidates.max(1)).max(1)
    }

    /// Clips of take `take` of prompts from `first` on, the number that each one has, and of how many no candidate could be
    /// scored.
    fn play(&self, captions: &[&str], first: usize, take: usize) -> Result<(Played, Vec<u64>, usize)> {
        let (policy, music, settings) = (&self.policy, &self.music, &self.settings);
        let Some((judges, n)) = &self.choice else {
            let numbers: Vec<u64> = (0..captions.len()).map(|at| keys::clip_number(first + at, take)).collect();
            let played = play_clips(policy, music, captions, settings, (EVALUATION_STEP, &numbers), true)?;
            return Ok((played, numbers, 0));
        };
        let numbers: Vec<u64> =
            (0..captions.len() * n).map(|clip| keys::candidate_number(first + clip / n, take, clip % n)).collect();
        let best = play_best_of_clips(policy, music, judges, captions, settings, (EVALUATION_STEP, &numbers), *n)?;
        let chosen = best.chosen.iter().enumerate().map(|(at, candidate)| numbers[at * n + candidate]).collect();
        let unchosen = best.verdicts.total.iter().filter(|score| score.value().is_none()).count();
        Ok((best.played, chosen, unchosen))
    }
}

/// Plays all prompts on system `at`; `done` is told every so many clips.
pub(super) fn listen(
    (at, system): (usize, &System),
    prompts: &[String],
    settings: &EvaluateSettings,
    ears: &Ears<'_>,
    device: &Device,
    done: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Heard> {
    let stand = Stand::new(system, settings, device)?;
    let rate = stand.music.sample_rate_hz();
    let together = stand.together();
    let captions: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let mut heard = Heard::default();
    for take in 0..settings.play.takes {
        for (part, captions) in captions.chunks(together).enumerate() {
            let first = part * together;
            let (played, numbers, unchosen) = stand.play(captions, first, take)?;
            heard.unchosen += unchosen;
            let clips: Vec<RatedClip<'_>> = captions
                .iter()
                .zip(&played.audio)
                .map(|(caption, samples)| RatedClip { caption, audio: AudioView { samples, sample_rate_hz: rate } })
                .collect();
            if let Some(broken) = clips.iter().position(|clip| clip.audio.samples.iter().any(|x| !x.is_finite())) {
                let (system, prompt) = (&system.name, first + broken);
                return Err(Error::Codec(format!("{system}: the sound of prompt {prompt} is not finite")));
            }
            let scores: Vec<Vec<Score>> = match &ears.judges {
                Some(judges) => {
                    let report = judges.score(Asked::All, captions, &played.tokens, &played.audio, rate)?;
                    report.parts.into_iter().map(|part| part.raw).collect()
                }
                None => Vec::new(),
            };
            let samples: Vec<&[f32]> = clips.iter().map(|clip| clip.audio.samples).collect();
            let rows = embed(ears.embedding, &samples, rate)?;
            let ratings: Vec<Vec<(&str, f64)>> = match ears.panel {
                Some(panel) => {
                    let rate = |(offset, clip)| panel.rate(clip, first + offset, settings.play.seed);
                    let rated: Vec<Result<_>> = clips.par_iter().enumerate().map(rate).collect();
                    rated.into_iter().collect::<Result<_>>()?
                }
                None => vec![Vec::new(); clips.len()],
            };
            for (offset, ((clip, row), ratings)) in clips.iter().zip(rows).zip(ratings).enumerate() {
                let prompt = first + offset;
                if let Some(export) = ears.export {
                    export.write((at, prompt, take), clip.audio.samples, rate)?;
                }
                heard.ratings.extend(ratings.into_iter().map(|(rater, rating)| Rating {
                    system: at,
                    prompt,
                    take,
                    rater: rater.to_string(),
                    rating,
                }));
                heard.embedded.push(row, prompt);
                heard.clips.push(ClipReport {
                    system: at,
                    prompt,
                    take,
                    clip: numbers.get(offset).copied().unwrap_or_default(),
                    sound: format!("{:016x}", clip.fingerprint()),
                    signal: signal_facts(clip.audio),
                    scores: scores.iter().map(|raw| raw.get(offset).and_then(Score::value)).collect(),
                });
            }
            heard.tokens.extend(played.tokens);
            done(captions.len())?;
        }
    }
    Ok(heard)
}
