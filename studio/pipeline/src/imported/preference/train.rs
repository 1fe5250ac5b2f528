//! From a preference set to a head: [`ImportedClips`], [`fit_head`].

use std::{collections::BTreeMap, path::Path};

use musicrl_codec::{decode::decode_file, resample::resample};
use musicrl_core::{
    policy::{Policy as _, frames_from_tokens},
    preference::{Judgement, Outcome},
    random::{Key, Purpose},
    tokens::Tokens,
};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet};
use musicrl_rewards::descriptors::describe;
use musicrl_zoo::{
    musicgen::{MusicGen, MusicGenPolicy, TextPrompt},
    named::host,
};
use rayon::prelude::*;

use super::{
    calibration::Calibration,
    head::{Choice, FitSettings, PreferenceHead},
};
use crate::{
    Error, Result,
    align::family::Player,
    bundle::sha256_hex,
    evaluate_preference::{PreferenceReport, differences, measure},
    preference::{
        DescriptorScale, Division, Pair, PreferenceClip, PreferenceData, data::DataConfig, encode::sound_file,
    },
    train::preference::PreferenceTrainingConfig,
};

/// Ridges that are tried, on a part of the pairs to learn from.
const RIDGES: [f64; 6] = [3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
/// Share of the learning pairs that the ridge is chosen on.
const CHOOSING_SHARE: f64 = 0.25;

/// What came of a training.
#[derive(Debug, Clone)]
pub struct HeadReport {
    /// Pairs that were learned from.
    pub learning: usize,
    /// Pairs that were held out.
    pub held_out: usize,
    /// The ridge that was chosen.
    pub ridge: f64,
    /// On the held-out pairs, which chose nothing.
    pub report: Option<PreferenceReport>,
    /// Hash of what was learned from.
    pub data_identity: String,
}

/// Clips of a set as an imported policy takes them, and what was said of pairs.
#[derive(Debug, Clone)]
pub struct ImportedClips {
    /// Tokens and pairs.
    pub data: PreferenceData,
    /// What the policy is given, one a clip; empty where the settings leave captions out.
    pub captions: Vec<String>,
    /// Names in the set, one a clip.
    ids: Vec<String>,
}

impl ImportedClips {
    /// Reads the judgements of `set` that `config.data` takes and their clips, sound by the codec where there are no tokens
    /// of the policy. `progress` is called with the clips done and their number.
    ///
    /// # Errors
    /// [`Error::Config`] when no judgement counts, or a clip has no caption, neither tokens nor sound, or tokens that do not
    /// fit the policy, naming the clip; [`Error::Interrupted`] from `progress`.
    pub fn read(
        model: &MusicGen,
        set: &PreferenceSet,
        config: &PreferenceTrainingConfig,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        config.validate()?;
        let (records, judgements) = taken(set, &config.data)?;
        let (mut clips, mut captions) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for (done, record) in records.iter().enumerate() {
            progress(done, records.len())?;
            let caption = if config.text { record.caption.trim() } else { "" };
            if config.text && caption.is_empty() {
                let expected = "a caption for every clip, or settings with text = false";
                return Err(Error::config("preferences", expected, format!("clip `{}` without one", record.id)));
            }
            let tokens = tokens(model, set.path(), record, &config.data).map_err(|error| named(&record.id, error))?;
            let descriptors = match config.sound {
                true => Some(described(model, set.path(), record, &tokens, &config.data)?),
                false => None,
            };
            clips.push((record.caption.clone(), PreferenceClip { condition: None, tokens, descriptors }));
            captions.push(caption.to_string());
        }
        progress(records.len(), records.len())?;
        let data = PreferenceData::new(model.policy.layout(), clips, &judgements)?;
        Ok(Self { data, captions, ids: records.iter().map(|record| record.id.clone()).collect() })
    }

    /// The scale of the clips' descriptors; none where the settings leave the sound out.
    pub(super) fn scale(&self, config: &PreferenceTrainingConfig) -> Option<DescriptorScale> {
        let described: Vec<&[f64]> = self.data.clips().iter().filter_map(|clip| clip.descriptors.as_deref()).collect();
        config.sound.then(|| DescriptorScale::of(&described))
    }

    /// The hash of all that is learned from.
    #[must_use]
    pub fn identity(&self) -> String {
        sha256_hex(format!("{}\n{:?}\n", self.data.identity(), self.captions).as_bytes())
    }
}

fn named(clip: &str, error: Error) -> Error {
    match error {
        Error::Interrupted => Error::Interrupted,
        other => Error::Codec(format!("clip `{clip}`: {other}")),
    }
}

/// The descriptors of a clip's own sound, or of its tokens as the model's codec decodes them.
fn described(
    model: &MusicGen,
    set: &Path,
    record: &ClipRecord,
    tokens: &Tokens,
    config: &DataConfig,
) -> Result<Vec<f64>> {
    let (samples, rate_hz) = match &record.audio {
        Some(audio) => sound_file(&set.join(audio), &config.encode).map_err(|error| named(&record.id, error))?,
        None => (Player::sound(model, std::slice::from_ref(tokens), &[])?.concat(), Player::sample_rate_hz(model)),
    };
    Ok(describe(&samples, rate_hz).to_vec())
}

/// Learns a head on `model`'s vectors. Of the settings of `train preference` it follows `text`, `sound`, `members`,
/// `held_out_share`, `split_seed` and `bootstrap`. `progress` is called with the clips done and their number.
///
/// # Errors
/// [`Error::Config`] when no judgement is left to learn from; [`Error::Interrupted`] from `progress`.
pub fn fit_head(
    model: &MusicGen,
    clips: &ImportedClips,
    config: &PreferenceTrainingConfig,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<(PreferenceHead, HeadReport)> {
    let data = &clips.data;
    let scale = clips.scale(config);
    let mut vectors = Vec::with_capacity(clips.captions.len());
    for (done, (caption, clip)) in clips.captions.iter().zip(data.clips()).enumerate() {
        progress(done, clips.captions.len())?;
        let pooled = pooled(model, caption, &clip.tokens).map_err(|error| named(&clips.ids[done], error))?;
        vectors.push(with_numbers(pooled, scale.as_ref(), clip.descriptors.as_deref()));
    }
    progress(clips.captions.len(), clips.captions.len())?;
    let Division { learning, held_out } = data.split(config.held_out_share, config.split_seed)?;
    let choices =
        |pairs: &[usize]| -> Vec<Choice> { pairs.iter().filter_map(|at| choice(&data.pairs()[*at])).collect() };
    let all = choices(&learning);
    let ties = all.iter().filter(|choice| choice.share == 0.5).count() as f64 / all.len().max(1) as f64;
    // At equal utilities Davidson's model gives ties nu / (2 + nu).
    let start = (2.0 * ties / (1.0 - ties).max(1e-3)).min(100.0);
    let key = Key::new(seed, Purpose::Init);
    let fit = |choices: &[Choice], ridge: f64, members: usize| {
        let beside = scale.as_ref().map_or(0, |_| DescriptorScale::NUMBERS);
        let settings = FitSettings { members, ridge, tie_strength: start, text: config.text, beside };
        PreferenceHead::fit(&vectors, choices, settings, key)
    };
    let ridge = choose_ridge(&all, &vectors, config.split_seed, &|choices, ridge| fit(choices, ridge, 1))?;
    let left_out = |choices: &[Choice]| fit(choices, ridge, 1);
    let calibration = Calibration::of(&all, &vectors, config.split_seed, (start, start == 0.0), &left_out)?;
    let Calibration { slope, tie_strength } = calibration;
    let head = fit(&all, ridge, config.members)?.scaled(slope, tie_strength).with_scale(scale.clone());
    let pairs: Vec<Pair> = held_out.iter().map(|at| data.pairs()[*at]).collect();
    let report = if pairs.is_empty() {
        None
    } else {
        let scores: Vec<Vec<f64>> = vectors.iter().map(|row| head.member_scores(row)).collect();
        let by_member: Vec<Vec<f64>> =
            (0..config.members).map(|member| scores.iter().map(|scores| scores[member]).collect()).collect();
        let (differences, spread) = differences(&pairs, &by_member);
        Some(measure(&pairs, &differences, &spread, tie_strength, &config.bootstrap, config.split_seed)?)
    };
    let data_identity = clips.identity();
    Ok((head, HeadReport { learning: all.len(), held_out: pairs.len(), ridge, report, data_identity }))
}

/// The mean of the policy's vectors over all actions of a clip; an empty caption is no condition.
///
/// # Errors
/// When the caption cannot be encoded or the tokens do not fit.
pub fn pooled(model: &MusicGen, caption: &str, tokens: &Tokens) -> Result<Vec<f32>> {
    pooled_of(&model.policy, &model.prompt(&[caption])?, tokens)
}

/// As [`pooled`], for a caption that is encoded.
pub(super) fn pooled_of(policy: &MusicGenPolicy, prompt: &TextPrompt, tokens: &Tokens) -> Result<Vec<f32>> {
    let device = policy.decoder.device();
    let frames = frames_from_tokens(policy.layout(), std::slice::from_ref(tokens), &device)?;
    let hidden = policy.hidden(prompt, frames)?;
    let [_, time, slots, width] = hidden.dims();
    Ok(host(hidden.reshape([time * slots, width]).mean_dim(0))?)
}

/// A pooled vector with the numbers of a clip's descriptors behind it, where there is a scale for them.
pub(super) fn with_numbers(
    mut pooled: Vec<f32>,
    scale: Option<&DescriptorScale>,
    descriptors: Option<&[f64]>,
) -> Vec<f32> {
    if let (Some(scale), Some(descriptors)) = (scale, descriptors) {
        pooled.extend(scale.numbers(descriptors));
    }
    pooled
}

type Taken<'a> = (Vec<&'a ClipRecord>, Vec<(usize, usize, Judgement)>);

/// The clips and judgements that count.
fn taken<'a>(set: &'a PreferenceSet, config: &DataConfig) -> Result<Taken<'a>> {
    config.validate()?;
    let taken: Vec<&JudgementRecord> = set.judgements().iter().filter(|judgement| config.takes(judgement)).collect();
    if taken.is_empty() {
        let got = format!("none of {}", set.judgements().len());
        return Err(Error::config("preferences", "at least one judgement that counts and that `data` takes", got));
    }
    let used = |clip: &&ClipRecord| taken.iter().any(|judgement| judgement.a == clip.id || judgement.b == clip.id);
    let records: Vec<&ClipRecord> = set.clips().iter().filter(used).collect();
    let places: BTreeMap<&str, usize> =
        records.iter().enumerate().map(|(place, clip)| (clip.id.as_str(), place)).collect();
    let judgement = |taken: &&JudgementRecord| {
        Some((*places.get(taken.a.as_str())?, *places.get(taken.b.as_str())?, taken.judgement()))
    };
    let judgements = taken.iter().filter_map(judgement).collect();
    Ok((records, judgements))
}

/// A clip's own tokens where they are the policy's, else its sound through the codec.
fn tokens(model: &MusicGen, set: &Path, clip: &ClipRecord, config: &DataConfig) -> Result<Tokens> {
    let layout = model.policy.layout();
    let frames_max = layout.frames_in(config.encode.seconds_max);
    let mut tokens = if !clip.tokens.is_empty() && clip.slots == layout.slots_per_frame() {
        Tokens::new(clip.tokens.clone(), clip.slots)?
    } else {
        let Some(audio) = &clip.audio else {
            return Err(Error::config("preferences", "clips with the policy's tokens or with sound", "neither"));
        };
        let sound = decode_file(&set.join(audio))?.audio;
        let rate_hz = u32::try_from(model.codec.config().sample_rate_hz()).unwrap_or(u32::MAX);
        let most = (config.encode.seconds_max * f64::from(sound.sample_rate_hz)).ceil() as usize;
        let channel =
            |samples: &Vec<f32>| Ok(resample(&samples[..samples.len().min(most)], sound.sample_rate_hz, rate_hz)?);
        model.tokens_of(&sound.channels.iter().map(channel).collect::<Result<Vec<_>>>()?)?
    };
    if tokens.frames > frames_max {
        tokens.ids.truncate(frames_max * tokens.slots);
        tokens.frames = frames_max;
    }
    layout.check(&tokens)?;
    Ok(tokens)
}

/// A judgement as the fit sees it; none where it counts for nothing.
pub(crate) fn choice(pair: &Pair) -> Option<Choice> {
    let weight = pair.judgement.counted_weight();
    let share = match pair.judgement.outcome {
        Outcome::BetterA => 1.0,
        Outcome::BetterB => 0.0,
        Outcome::Skipped => return None,
        _ => 0.5,
    };
    (weight > 0.0).then_some(Choice { a: pair.a, b: pair.b, share, weight, cluster: pair.cluster })
}

/// The ridge with the least log-loss on clusters that it was not fitted to; the middle one where there are too few.
pub(crate) fn choose_ridge(
    choices: &[Choice],
    vectors: &[Vec<f32>],
    seed: u64,
    fit: &(dyn Fn(&[Choice], f64) -> Result<PreferenceHead> + Sync),
) -> Result<f64> {
    let key = Key::new(seed, Purpose::Split).step(2);
    let chooses = |choice: &&Choice| key.clip(choice.cluster as u64).uniform(0) < CHOOSING_SHARE;
    let (choosing, fitting): (Vec<&Choice>, Vec<&Choice>) = choices.iter().partition(chooses);
    if choosing.is_empty() || fitting.is_empty() {
        return Ok(RIDGES[RIDGES.len() / 2]);
    }
    let fitting: Vec<Choice> = fitting.into_iter().copied().collect();
    let loss_with = |ridge: &f64| -> Result<f64> {
        let head = fit(&fitting, *ridge)?;
        let loss = |choice: &&Choice| {
            let d = head.score(&vectors[choice.a]) - head.score(&vectors[choice.b]);
            // log(1 + exp(-d)) without overflow.
            let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
            choice.weight * (choice.share * softplus(-d) + (1.0 - choice.share) * softplus(d))
        };
        Ok(choosing.iter().map(loss).sum())
    };
    let losses: Vec<Result<f64>> = RIDGES.par_iter().map(loss_with).collect();
    let mut best = (f64::INFINITY, RIDGES[0]);
    for (loss, ridge) in losses.into_iter().zip(RIDGES) {
        let loss = loss?;
        if loss < best.0 {
            best = (loss, ridge);
        }
    }
    Ok(best.1)
}
