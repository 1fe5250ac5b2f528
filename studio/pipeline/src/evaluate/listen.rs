//! Playing every prompt on every system, and everything that is done with a clip while it is at hand: rating, scoring,
//! embedding, measuring, exporting. Sounds are not kept: memory does not grow with the number of prompts.

use burn::tensor::Device;
use musicrl_core::{
    policy::Policy as _,
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
        judges::Judges,
        measure::EVALUATION_STEP,
        play::{PlaySettings, play},
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
pub(super) struct Heard {
    /// Each clip.
    pub clips: Vec<ClipReport>,
    /// The panel's ratings.
    pub ratings: Vec<Rating>,
    /// The clips' embeddings, grouped by prompt.
    pub embedded: Embedded,
    /// The clips' tokens.
    pub tokens: Vec<Tokens>,
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
    let policy = load_policy(&system.bundle, device)?;
    let music = Music::load(&system.bundle, device)?;
    let rate = music.sample_rate_hz();
    let batch = settings.batch.max(1);
    let play_settings = PlaySettings {
        sampling: settings.play.sampling.clone(),
        frames: policy.layout().frames_in(settings.play.clip_seconds).max(1),
        seed: settings.play.seed,
        batch,
        given: None,
    };
    let captions: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let mut heard = Heard { clips: Vec::new(), ratings: Vec::new(), embedded: Embedded::default(), tokens: Vec::new() };
    for take in 0..settings.play.takes {
        for (part, captions) in captions.chunks(batch).enumerate() {
            let first = part * batch;
            let clip = keys::clip_number(first, take);
            let played = play(&policy, &music, captions, &play_settings, (EVALUATION_STEP, clip), true)?;
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
                    let report = judges.score(captions, &played.tokens, &played.audio, rate)?;
                    report.parts.into_iter().map(|part| part.raw).collect()
                }
                None => Vec::new(),
            };
            let samples: Vec<&[f32]> = clips.iter().map(|clip| clip.audio.samples).collect();
            let rows = embed(ears.embedding, &samples, rate)?;
            let ratings: Vec<Vec<f64>> = match ears.panel {
                Some(panel) => {
                    let rated: Vec<Result<_>> =
                        clips.par_iter().map(|clip| panel.rate(clip, settings.play.seed)).collect();
                    rated.into_iter().collect::<Result<_>>()?
                }
                None => vec![Vec::new(); clips.len()],
            };
            for (offset, ((clip, row), ratings)) in clips.iter().zip(rows).zip(ratings).enumerate() {
                let prompt = first + offset;
                if let Some(export) = ears.export {
                    export.write((at, prompt, take), clip.audio.samples, rate)?;
                }
                let names = ears.panel.into_iter().flat_map(Panel::names);
                heard.ratings.extend(names.zip(ratings).map(|(rater, rating)| Rating {
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
                    clip: keys::clip_number(prompt, take),
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
