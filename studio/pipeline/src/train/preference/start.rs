//! Where the models of a training begin, and what their trunks make of the clips before anything is learned.

use std::{collections::BTreeSet, sync::Arc};

use burn::{
    module::Module as _,
    tensor::{Device, Tensor, TensorData},
};
use musicrl_core::{
    params::ParamTable,
    policy::{HierarchicalPolicyConfig, PreferenceModel},
    preference::Judgement,
    random::{Key, Purpose},
};

use super::settings::{Head, Init, Learn, PreferenceTrainingConfig, Ties};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
    imported::preference::{
        PreferenceHead,
        calibration::Calibration,
        head::{Choice, FitSettings},
        train::{choice, choose_ridge},
    },
    music::load_policy,
    preference::{DescriptorScale, Pair, PreferenceClip, PreferenceEnsemble, clips::Excerpt, ensemble::pooled_of},
};

/// Pooled vectors of clips under a trunk as it begins.
#[derive(Debug)]
pub struct Features {
    /// One row a clip, `[clips][2 * slots * local width]`; empty for clips that nobody asked for.
    rows: Vec<Vec<f32>>,
    /// Mean squared distance of a row from the mean row.
    pub(super) variance: f64,
}

impl Features {
    /// Those of the clips `which`; a training step's crops are anywhere, these are from the middle.
    fn of(
        config: &PreferenceTrainingConfig,
        model: &PreferenceModel,
        clips: &[PreferenceClip],
        which: &BTreeSet<usize>,
    ) -> Result<Self> {
        let middle = |clip: &usize| Excerpt::of_share(&clips[*clip], config.crop, 0.5);
        let excerpts: Vec<Excerpt<'_>> = which.iter().map(middle).collect();
        let pooled = pooled_of(&model.valid(), &excerpts, config.text)?;
        let variance = variance(&pooled);
        let mut rows = vec![Vec::new(); clips.len()];
        which.iter().zip(pooled).for_each(|(clip, row)| rows[*clip] = row);
        Ok(Self { rows, variance })
    }

    /// `[clips, 2 * slots * local width]` of some clips.
    pub(super) fn select(&self, clips: &[usize], device: &Device) -> Tensor<2> {
        let width = clips.first().map_or(0, |clip| self.rows[*clip].len());
        let values: Vec<f32> = clips.iter().flat_map(|clip| self.rows[*clip].iter().copied()).collect();
        Tensor::from_data(TensorData::new(values, [clips.len(), width]), device)
    }
}

fn variance(rows: &[Vec<f32>]) -> f64 {
    let count = rows.len().max(1) as f64;
    let width = rows.first().map_or(0, Vec::len);
    let mean: Vec<f64> = (0..width).map(|at| rows.iter().map(|row| f64::from(row[at])).sum::<f64>() / count).collect();
    let distance = |row: &Vec<f32>| row.iter().zip(&mean).map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    rows.iter().map(distance).sum::<f64>() / count
}

/// A model before its first step.
pub(super) struct Start {
    /// On the autodiff device.
    pub(super) model: PreferenceModel,
    /// Davidson's nu.
    pub(super) tie_strength: f64,
    /// What its trunk makes of the clips, where that was computed.
    pub(super) features: Option<Arc<Features>>,
}

/// The scale of descriptors: the shared model's, or that of the clips that are learned from; none for models on tokens
/// alone.
pub(super) fn scale(
    config: &PreferenceTrainingConfig,
    bundle: &Bundle,
    (clips, learning): (&[PreferenceClip], &[(Pair, Judgement)]),
    device: &Device,
) -> Result<Option<DescriptorScale>> {
    if config.sound && clips.iter().any(|clip| clip.descriptors.is_none()) {
        return Err(Error::config("sound", "false for clips whose sound was not described", true));
    }
    if config.init == Init::Shared {
        let scale = PreferenceEnsemble::load(bundle, device)?.scale().cloned();
        if scale.is_some() != config.sound {
            return Err(Error::config("sound", format!("{}, as in the shared model", scale.is_some()), config.sound));
        }
        return Ok(scale);
    }
    let used: BTreeSet<usize> = learning.iter().flat_map(|(pair, _)| [pair.a, pair.b]).collect();
    let described: Vec<&[f64]> = used.iter().filter_map(|clip| clips[*clip].descriptors.as_deref()).collect();
    Ok(config.sound.then(|| DescriptorScale::of(&described)))
}

/// One model a member. Vectors of trunks that are the same are computed once.
#[allow(clippy::too_many_arguments, reason = "what to learn from, where to begin, and where")]
pub(super) fn starts(
    config: &PreferenceTrainingConfig,
    bundle: &Bundle,
    (clips, learning): (&[PreferenceClip], &[(Pair, Judgement)]),
    scale: Option<&DescriptorScale>,
    features: Option<Arc<Features>>,
    seed: u64,
    device: &Device,
) -> Result<Vec<Start>> {
    if let Some(features) = features.as_ref().filter(|features| features.rows.len() != clips.len()) {
        let expected = format!("of the {} clips that are learned from", clips.len());
        return Err(Error::config("features", expected, features.rows.len()));
    }
    let models = models(config, bundle, seed, device)?;
    if let Some((first, _)) = models.first() {
        for (index, clip) in clips.iter().enumerate() {
            first.config().layout.check_clip(index, &clip.tokens)?;
        }
    }
    let fits = config.head == Head::Fitted && config.init != Init::Shared;
    let all = config.learn == Learn::Head;
    let learned = learning.iter().flat_map(|(pair, _)| [pair.a, pair.b]);
    let which: BTreeSet<usize> = if all { (0..clips.len()).collect() } else { learned.collect() };
    let mut shared = features.filter(|_| all);
    // All members have the policy's trunk, and its vectors' heads; others have one each.
    let alike = config.init == Init::Policy;
    let mut head: Option<PreferenceHead> = None;
    let mut starts = Vec::with_capacity(config.members);
    for (member, (mut model, mut tie_strength)) in models.into_iter().enumerate() {
        let mut features = None;
        if fits || all {
            let known = shared.take();
            let of = match known {
                Some(known) => known,
                None => Arc::new(Features::of(config, &model, clips, &which)?),
            };
            shared = alike.then(|| Arc::clone(&of));
            features = Some(of);
        }
        if let Some(features) = features.as_ref().filter(|_| fits) {
            let given = Given { rows: &features.rows, clips, scale };
            let fitted = match head.take() {
                Some(fitted) => fitted,
                None => {
                    let members = if alike { config.members } else { member + 1 };
                    fitted_head(config, tie_strength, given, learning, (seed, members))?
                }
            };
            (model, tie_strength) = (with_head(model, &fitted, member, given.beside())?, fitted.tie_strength());
            head = alike.then_some(fitted);
        }
        starts.push(Start { model, tie_strength, features });
    }
    Ok(starts)
}

/// What a head is fitted to: a pooled vector a clip, and its descriptors under `scale`.
#[derive(Clone, Copy)]
struct Given<'a> {
    rows: &'a [Vec<f32>],
    clips: &'a [PreferenceClip],
    scale: Option<&'a DescriptorScale>,
}

impl Given<'_> {
    fn vector(&self, clip: usize) -> Vec<f32> {
        let mut vector = self.rows[clip].clone();
        if let (Some(scale), Some(descriptors)) = (self.scale, &self.clips[clip].descriptors) {
            vector.extend(scale.numbers(descriptors));
        }
        vector
    }

    /// How many numbers at the end of a vector are descriptors.
    fn beside(&self) -> usize {
        self.scale.map_or(0, |_| DescriptorScale::NUMBERS)
    }
}

/// Heads that are fitted to the pairs, their scores as far apart as pairs that were left out say, with the tie strength there.
/// Of several members all but the first are fitted to resampled clusters.
fn fitted_head(
    config: &PreferenceTrainingConfig,
    tie_strength: f64,
    given: Given<'_>,
    learning: &[(Pair, Judgement)],
    (seed, members): (u64, usize),
) -> Result<PreferenceHead> {
    // The fit sees the clips of the pairs alone.
    let used: BTreeSet<usize> = learning.iter().flat_map(|(pair, _)| [pair.a, pair.b]).collect();
    let used: Vec<usize> = used.into_iter().collect();
    let place = |clip: usize| used.binary_search(&clip).unwrap_or(0);
    let vectors: Vec<Vec<f32>> = used.iter().map(|clip| given.vector(*clip)).collect();
    let choices: Vec<Choice> = learning
        .iter()
        .filter_map(|(pair, judgement)| choice(&Pair { judgement: *judgement, ..*pair }))
        .map(|choice| Choice { a: place(choice.a), b: place(choice.b), ..choice })
        .collect();
    let key = Key::new(seed, Purpose::Init);
    let beside = given.beside();
    let settings = |ridge, members| FitSettings { members, ridge, tie_strength: 0.0, text: config.text, beside };
    let fit = |choices: &[Choice], ridge: f64| PreferenceHead::fit(&vectors, choices, settings(ridge, 1), key);
    let ridge = choose_ridge(&choices, &vectors, config.split_seed, &fit)?;
    let ties = (tie_strength, config.ties == Ties::Fixed);
    let left_out = |choices: &[Choice]| fit(choices, ridge);
    let Calibration { slope, tie_strength } = Calibration::of(&choices, &vectors, config.split_seed, ties, &left_out)?;
    Ok(PreferenceHead::fit(&vectors, &choices, settings(ridge, members), key)?.scaled(slope, tie_strength))
}

/// The model with the weights of one member of a fitted head, the last `beside` of them for descriptors.
fn with_head(model: PreferenceModel, head: &PreferenceHead, member: usize, beside: usize) -> Result<PreferenceModel> {
    let mut table = ParamTable::collect(&model);
    let weights = head.member_weights(member);
    let (of_tokens, of_sound) = weights.split_at(weights.len() - beside);
    for (name, weights) in [("head", of_tokens), ("descriptors", of_sound)] {
        let range = table.entries().iter().find(|entry| entry.name == name).map(|entry| entry.range());
        if let Some(range) = range {
            table.values_mut()[range].iter_mut().zip(weights).for_each(|(value, weight)| *value = *weight as f32);
        }
    }
    Ok(table.apply(model)?)
}

/// One model a member on the autodiff device, each with the tie strength that it starts from.
fn models(
    config: &PreferenceTrainingConfig,
    bundle: &Bundle,
    seed: u64,
    device: &Device,
) -> Result<Vec<(PreferenceModel, f64)>> {
    let key = |member: usize| Key::new(seed, Purpose::Init).step(1 + member as u64);
    let members = 0..config.members;
    let heard = |model: PreferenceModel| match config.sound {
        true => model.with_descriptors(DescriptorScale::NUMBERS),
        false => model,
    };
    match config.init {
        Init::Policy => {
            let policy = load_policy(bundle, device)?;
            let of = |member| Ok((heard(PreferenceModel::from_policy(&policy, key(member))?), config.tie_strength));
            members.map(of).collect()
        }
        Init::Scratch => {
            let policy: HierarchicalPolicyConfig = bundle.config(part::POLICY)?;
            let of = |member| Ok((heard(PreferenceModel::init(&policy, key(member), device)?), config.tie_strength));
            members.map(of).collect()
        }
        Init::Shared => {
            let shared = PreferenceEnsemble::load(bundle, device)?;
            if shared.members().len() != config.members {
                let expected = format!("{}, as the bundle's part `preference` has", shared.members().len());
                return Err(Error::config("members", expected, config.members));
            }
            if shared.text() != config.text {
                return Err(Error::config("text", format!("{}, as in the shared model", shared.text()), config.text));
            }
            let of = |(model, tie_strength): (&PreferenceModel, &f64)| {
                let fresh = heard(PreferenceModel::init(model.config(), key(0), device)?);
                let start = if *tie_strength > 0.0 { *tie_strength } else { config.tie_strength };
                Ok((ParamTable::collect(model).apply(fresh)?, start))
            };
            shared.members().iter().zip(shared.tie_strengths()).map(of).collect()
        }
    }
}
