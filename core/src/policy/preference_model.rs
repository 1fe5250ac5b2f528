//! What listeners like, as one number a clip: [`PreferenceModel`].

use alloc::{format, vec::Vec};
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, TensorData},
};

use super::{ConditionPrompt, HierarchicalPolicy, HierarchicalPolicyConfig, HierarchicalTrunk};
use crate::{
    Error, Result,
    params::{ParamTable, reinitialise},
    random::Key,
};

/// A scalar model on caption and tokens: the policy's trunk, statistics of its vectors over a clip's frames, and a linear
/// head. Its scores are the utilities of the Bradley-Terry model, so differences of two clips' are logits, and a
/// constant on all of them means nothing; [`set_offset`](Self::set_offset) picks that constant.
///
/// The vectors are pooled by their *mean and standard deviation over frames, slot by slot* (statistics pooling, Snyder et
/// al., "X-vectors", ICASSP 2018), not taken from the last position. The trunk's vector at a position was trained to foretell
/// one token; that of the last position foretells the last acoustic code and need not hold anything of the beginning.
/// Statistics hear every part of a clip alike, have the same scale for clips and windows of any length, and give every
/// position a gradient; the deviation hears how much a clip moves, and slots foretell different things. The trunk is causal:
/// no vector has seen the clip's very last token. That is one of several hundred.
///
/// Statistics over frames forget when things happen, and with that the beat. What a caller has measured of a clip's sound
/// can stand beside them as [`descriptors`](Self::with_descriptors), each with a weight of its own.
#[derive(Module, Debug)]
pub struct PreferenceModel {
    /// The two transformers.
    pub trunk: HierarchicalTrunk,
    /// From pooled vectors to scores, `[2 * slots * local width, 1]`. There is no bias: the offset stands in for it.
    pub head: Param<Tensor<2>>,
    /// From descriptors that are given beside the tokens to scores, `[descriptors, 1]`; none where the model reads caption
    /// and tokens alone, as the published one does.
    pub descriptors: Option<Param<Tensor<2>>>,
    #[module(skip)]
    offset: f64,
}

/// First weights of the head against [`reinitialise`]'s: scores begin near 0, so that the first loss is that of a fair
/// coin, and still differ from model to model of an ensemble.
const HEAD_SCALE: f32 = 0.1;

/// What is added to a variance before its root is taken.
const DEVIATION_FLOOR: f64 = 1e-6;

impl PreferenceModel {
    /// On a copy of `policy`'s trunk, as the paper's is initialised from the base checkpoint; the head is drawn from
    /// `key` (of [`Purpose::Init`](crate::random::Purpose::Init)). The two share no state afterwards.
    ///
    /// # Errors
    /// None that a policy of this crate can cause; the copy goes through the checked parameter table.
    pub fn from_policy(policy: &HierarchicalPolicy, key: Key) -> Result<Self> {
        // A mere clone would share the nodes of the autodiff graph: gradients of one would reach the other.
        let trunk = ParamTable::collect(&policy.trunk).apply(policy.trunk.clone())?;
        let fresh = Self::init(trunk.config(), key, &trunk.device())?;
        Ok(Self { trunk, ..fresh })
    }

    /// From scratch, as a control: the published one stayed near chance so.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that break a rule.
    pub fn init(config: &HierarchicalPolicyConfig, key: Key, device: &burn::tensor::Device) -> Result<Self> {
        config.validate()?;
        let pooled = 2 * config.layout.slots_per_frame() * config.local.width;
        let head = Param::from_tensor(Tensor::zeros([pooled, 1], device));
        let model = Self { trunk: HierarchicalTrunk::new(config, device), head, descriptors: None, offset: 0.0 };
        let model = reinitialise(model, key);
        // Through the table: what is computed from a parameter on an autodiff device is no parameter.
        let mut table = ParamTable::collect(&model);
        let head = table.entries().iter().find(|entry| entry.name == "head").map(|entry| entry.range());
        if let Some(head) = head {
            table.values_mut()[head].iter_mut().for_each(|weight| *weight *= HEAD_SCALE);
        }
        table.apply(model)
    }

    /// The same model with weights of 0 for `count` descriptors of a clip; scores are what they were until these learn.
    #[must_use]
    pub fn with_descriptors(self, count: usize) -> Self {
        let weights = Param::from_tensor(Tensor::zeros([count, 1], &self.trunk.device()));
        Self { descriptors: Some(weights), ..self }
    }

    /// Descriptors that every clip needs.
    #[must_use]
    pub fn descriptor_count(&self) -> usize {
        self.descriptors.as_ref().map_or(0, |weights| weights.dims()[0])
    }

    /// The settings of the trunk.
    #[must_use]
    pub fn config(&self) -> &HierarchicalPolicyConfig {
        self.trunk.config()
    }

    /// What is subtracted from every score.
    #[must_use]
    pub fn offset(&self) -> f64 {
        self.offset
    }

    /// Subtracts `offset` from every score from now on. With the mean uncentred score of a reference's clips, the
    /// reference scores 0 and a positive score says "liked better than the reference".
    ///
    /// # Errors
    /// [`Error::NonFinite`].
    pub fn set_offset(&mut self, offset: f64) -> Result<()> {
        if !offset.is_finite() {
            return Err(Error::NonFinite { what: "offset of a preference model", at: format!("{offset}") });
        }
        self.offset = offset;
        Ok(())
    }

    /// Scores of clips of one length by a model without descriptors.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips]`
    ///
    /// # Errors
    /// [`Error::Shape`] when prompt, frames and layout disagree, or the model needs descriptors.
    pub fn scores(&self, prompt: &ConditionPrompt, frames: Tensor<3, Int>) -> Result<Tensor<1>> {
        let [clips, time, _] = frames.dims();
        self.scores_padded(prompt, frames, &alloc::vec![time; clips], None)
    }

    /// Scores of clips of different length, each padded at its end with frames of any ids. The trunk is causal, so a
    /// clip scores to rounding what it scores alone.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - lengths: frames of each clip that are its own, 1 to `frames`
    /// - descriptors: `[clips, descriptors]`, for a model that has weights for them and for no other
    /// - output: `[clips]`
    ///
    /// # Errors
    /// [`Error::Shape`] when prompt, frames, lengths, descriptors and layout disagree.
    pub fn scores_padded(
        &self,
        prompt: &ConditionPrompt,
        frames: Tensor<3, Int>,
        lengths: &[usize],
        descriptors: Option<Tensor<2>>,
    ) -> Result<Tensor<1>> {
        self.head_scores(self.pooled(prompt, frames, lengths)?, descriptors)
    }

    /// Scores from pooled vectors and descriptors: the rest of [`scores_padded`](Self::scores_padded).
    ///
    /// # Shapes
    /// - pooled: `[clips, 2 * slots * local width]`
    /// - descriptors: `[clips, descriptors]`
    /// - output: `[clips]`
    ///
    /// # Errors
    /// [`Error::Shape`] for descriptors that the model has no weights for, or that are missing.
    pub fn head_scores(&self, pooled: Tensor<2>, descriptors: Option<Tensor<2>>) -> Result<Tensor<1>> {
        let [clips, _] = pooled.dims();
        let of_tokens = pooled.matmul(self.head.val());
        let scores = match (&self.descriptors, descriptors) {
            (None, None) => of_tokens,
            (Some(weights), Some(descriptors)) if descriptors.dims() == [clips, weights.dims()[0]] => {
                of_tokens + descriptors.matmul(weights.val())
            }
            (_, descriptors) => {
                let expected = match self.descriptor_count() {
                    0 => "none".into(),
                    count => format!("[{clips}, {count}]"),
                };
                let got = descriptors.map_or("none".into(), |given| format!("{:?}", given.dims()));
                return Err(Error::Shape { what: "descriptors of clips", expected, got });
            }
        };
        Ok(scores.reshape([clips]).sub_scalar(self.offset))
    }

    /// Means of the trunk's vectors over each clip's own frames, slot by slot, then their standard deviations.
    ///
    /// # Shapes
    /// - frames, lengths: as in [`scores_padded`](Self::scores_padded)
    /// - output: `[clips, 2 * slots * local width]`
    ///
    /// # Errors
    /// As [`scores_padded`](Self::scores_padded).
    pub fn pooled(&self, prompt: &ConditionPrompt, frames: Tensor<3, Int>, lengths: &[usize]) -> Result<Tensor<2>> {
        let [clips, time, slots] = frames.dims();
        if lengths.len() != clips || lengths.iter().any(|length| !(1..=time).contains(length)) {
            let expected = format!("[{clips}] numbers of 1 to {time}");
            return Err(Error::Shape { what: "lengths of clips", expected, got: format!("{lengths:?}") });
        }
        let hidden = self.trunk.forward(prompt, frames)?;
        let shares: Vec<f32> = lengths
            .iter()
            .flat_map(|length| {
                let share = 1.0 / *length as f32;
                (0..time).map(move |frame| if frame < *length { share } else { 0.0 })
            })
            .collect();
        let columns = slots * self.config().local.width;
        let shares = Tensor::<1>::from_data(TensorData::new(shares, [clips * time]), &hidden.device());
        let shares = shares.reshape([clips, time, 1]);
        let hidden = hidden.reshape([clips, time, columns]);
        let mean = (hidden.clone() * shares.clone()).sum_dim(1);
        let variance = ((hidden - mean.clone()).square() * shares).sum_dim(1);
        // The root's slope at 0 is infinite.
        let deviation = (variance + DEVIATION_FLOOR).sqrt();
        Ok(Tensor::cat(alloc::vec![mean, deviation], 2).reshape([clips, 2 * columns]))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        nn::FeedForward,
        params::gradients,
        policy::{StackConfig, frames_from_tokens},
        random::Purpose,
        tokens::{Slot, StreamKind, TokenLayout, Tokens},
    };

    fn config() -> HierarchicalPolicyConfig {
        let stack = |width| StackConfig { width, layers: 1, heads: 2, ff_width: 10, feed_forward: FeedForward::SwiGlu };
        let slot = |codebook| Slot { stream: StreamKind::Acoustic, codebook };
        HierarchicalPolicyConfig {
            layout: TokenLayout { slots: alloc::vec![slot(3), slot(5)], frame_rate_hz: 12.5 },
            global: stack(8),
            local: stack(12),
            condition_slots: 2,
            condition_codebook: 4,
        }
    }

    fn key() -> Key {
        Key::new(4, Purpose::Init)
    }

    fn clips(count: usize, frames: usize) -> Vec<Tokens> {
        let clip = |clip: usize| {
            let mut random = Key::new(9, Purpose::Test).clip(clip as u64).stream();
            let ids = (0..frames).flat_map(|_| [random.below(3) as u32, random.below(5) as u32]).collect();
            Tokens { ids, frames, slots: 2 }
        };
        (0..count).map(clip).collect()
    }

    fn prompt(clips: usize) -> ConditionPrompt {
        ConditionPrompt::new((0..clips as u32).map(|clip| Some(alloc::vec![clip % 4, (clip + 1) % 4])).collect())
    }

    fn read<const D: usize>(x: Tensor<D>) -> Vec<f64> {
        x.into_data().iter::<f64>().collect()
    }

    #[test]
    fn it_begins_with_the_policys_trunk_and_shares_nothing() -> Result<()> {
        let policy = config().init(key(), &Device::flex())?;
        let model = PreferenceModel::from_policy(&policy, key().step(1))?;
        let (trunk, copy) = (ParamTable::collect(&policy.trunk), ParamTable::collect(&model.trunk));
        assert_eq!(trunk, copy);
        let frames = frames_from_tokens(&config().layout, &clips(3, 4), &Device::flex())?;
        let scores = read(model.scores(&prompt(3), frames.clone())?);
        assert!(scores.iter().all(|score| score.abs() < 0.5 && *score != 0.0), "{scores:?}");
        let other = PreferenceModel::from_policy(&policy, key().step(2))?;
        assert_ne!(read(other.scores(&prompt(3), frames)?), scores);
        Ok(())
    }

    #[test]
    fn the_score_is_the_head_on_means_and_deviations_of_each_slot() -> Result<()> {
        let mut model = PreferenceModel::init(&config(), key(), &Device::flex())?;
        let frames = frames_from_tokens(&config().layout, &clips(2, 3), &Device::flex())?;
        let hidden = read(model.trunk.forward(&prompt(2), frames.clone())?);
        let head = read(model.head.val());
        let (time, columns) = (3, 2 * 12);
        assert_eq!(head.len(), 2 * columns);
        let by_hand = |clip: usize| -> f64 {
            let rows: Vec<&[f64]> = hidden.chunks(columns).skip(clip * time).take(time).collect();
            let statistics = |at: usize| {
                let mean = rows.iter().map(|row| row[at]).sum::<f64>() / time as f64;
                let variance = rows.iter().map(|row| (row[at] - mean) * (row[at] - mean)).sum::<f64>() / time as f64;
                head[at] * mean + head[columns + at] * libm::sqrt(variance + DEVIATION_FLOOR)
            };
            (0..columns).map(statistics).sum()
        };
        let scores = read(model.scores(&prompt(2), frames.clone())?);
        for (clip, score) in scores.iter().enumerate() {
            assert!((score - by_hand(clip)).abs() < 1e-5, "{score} {}", by_hand(clip));
        }
        model.set_offset(scores[0])?;
        let centred = read(model.scores(&prompt(2), frames)?);
        assert!(centred[0].abs() < 1e-5 && (centred[1] - scores[1] + scores[0]).abs() < 1e-5);
        assert!(matches!(model.set_offset(f64::NAN), Err(Error::NonFinite { .. })));
        Ok(())
    }

    #[test]
    fn a_padded_clip_scores_what_it_scores_alone() -> Result<()> {
        let (model, device) = (PreferenceModel::init(&config(), key(), &Device::flex())?, Device::flex());
        let long = clips(2, 6);
        let short: Vec<Tokens> =
            long.iter().map(|clip| Tokens { ids: clip.ids[..8].to_vec(), frames: 4, slots: 2 }).collect();
        let frames = frames_from_tokens(&config().layout, &long, &device)?;
        let together = read(model.scores_padded(&prompt(2), frames.clone(), &[4, 6], None)?);
        let alone = read(model.scores(&prompt(2), frames_from_tokens(&config().layout, &short, &device)?)?);
        let whole = read(model.scores(&prompt(2), frames.clone())?);
        assert!((together[0] - alone[0]).abs() < 1e-6 && (together[1] - whole[1]).abs() < 1e-6);
        assert!((together[0] - whole[0]).abs() > 1e-5);
        for lengths in [&[4][..], &[0, 6], &[7, 6]] {
            assert!(matches!(
                model.scores_padded(&prompt(2), frames.clone(), lengths, None),
                Err(Error::Shape { what: "lengths of clips", .. })
            ));
        }
        assert!(matches!(model.scores(&prompt(1), frames), Err(Error::Shape { what: "frames", .. })));
        Ok(())
    }

    #[test]
    fn descriptors_add_what_their_weights_say() -> Result<()> {
        let device = Device::flex();
        let model = PreferenceModel::init(&config(), key(), &device)?;
        let frames = frames_from_tokens(&config().layout, &clips(2, 4), &device)?;
        let alone = read(model.scores(&prompt(2), frames.clone())?);
        let model = model.with_descriptors(3);
        let given = Tensor::<2>::from_floats([[1.0, 2.0, 0.5], [0.0, -1.0, 4.0]], &device);
        let score = |model: &PreferenceModel| {
            model.scores_padded(&prompt(2), frames.clone(), &[4, 4], Some(given.clone())).map(read)
        };
        // Weights of 0 change nothing.
        assert_eq!((model.descriptor_count(), score(&model)?), (3, alone.clone()));
        let mut table = ParamTable::collect(&model);
        let range = table.entries().iter().find(|entry| entry.name == "descriptors").map(|entry| entry.range());
        table.values_mut()[range.unwrap_or_default()].copy_from_slice(&[1.0, 10.0, 100.0]);
        let weighed = score(&table.apply(model.clone())?)?;
        for ((weighed, alone), sum) in weighed.iter().zip(&alone).zip([71.0, 390.0]) {
            assert!((weighed - alone - sum).abs() < 1e-4, "{weighed} {alone}");
        }
        let narrow = Some(given.narrow(1, 0, 2));
        for (model, descriptors) in [(&model, None), (&model, narrow.clone())] {
            let refused = model.scores_padded(&prompt(2), frames.clone(), &[4, 4], descriptors);
            assert!(matches!(refused, Err(Error::Shape { what: "descriptors of clips", .. })));
        }
        let deaf = PreferenceModel::init(&config(), key(), &device)?;
        assert!(deaf.scores_padded(&prompt(2), frames.clone(), &[4, 4], narrow).is_err());
        Ok(())
    }

    #[test]
    fn the_caption_matters_and_its_absence_is_one_too() -> Result<()> {
        let model = PreferenceModel::init(&config(), key(), &Device::flex())?;
        let clip = clips(1, 4);
        let frames = frames_from_tokens(&config().layout, &[clip[0].clone(), clip[0].clone()], &Device::flex())?;
        let scores = read(model.scores(&prompt(2), frames.clone())?);
        assert!((scores[0] - scores[1]).abs() > 1e-6);
        let blind = read(model.scores(&ConditionPrompt::unconditional(2), frames)?);
        assert_eq!(blind[0], blind[1]);
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_finite_differences() -> Result<()> {
        let device = Device::flex().autodiff();
        let model = PreferenceModel::init(&config(), key(), &device)?.with_descriptors(2);
        let given = Tensor::<2>::from_floats([[1.0, -0.5], [0.25, 2.0]], &device);
        let frames = frames_from_tokens(&config().layout, &clips(2, 3), &device)?;
        let difference = |model: &PreferenceModel| -> Result<Tensor<1>> {
            let scores = model.scores_padded(&prompt(2), frames.clone(), &[3, 2], Some(given.clone()))?;
            Ok(scores.clone().narrow(0, 0, 1) - scores.narrow(0, 1, 1))
        };
        let gradient = gradients(&model, &difference(&model)?.backward());
        let table = ParamTable::collect(&model);
        let mut random = Key::new(1, Purpose::Test).stream();
        // Along random directions, one for each parameter: f32 leaves too little of a single element's change.
        for entry in table.entries() {
            let direction: Vec<f32> = (0..entry.len()).map(|_| random.normal() as f32).collect();
            let moved = |step: f32| -> Result<f64> {
                let mut table = table.clone();
                for (value, by) in table.values_mut()[entry.range()].iter_mut().zip(&direction) {
                    *value += step * by;
                }
                Ok(read(difference(&table.apply(model.clone())?)?)[0])
            };
            let slope = |h: f32| -> Result<f64> { Ok((moved(h)? - moved(-h)?) / (2.0 * f64::from(h))) };
            // Embeddings of 0.02 under a norm bend at steps in which others still drown in rounding: one of these must do.
            let slopes = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2].map(slope).into_iter().collect::<Result<Vec<_>>>()?;
            let expected: f64 =
                gradient[entry.range()].iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let near = |slope: &f64| (slope - expected).abs() < 1e-2 * (1.0 + expected.abs());
            assert!(slopes.iter().any(near), "{}: {slopes:?} {expected}", entry.name);
        }
        assert!(gradient.iter().filter(|value| **value != 0.0).count() > gradient.len() / 2);
        Ok(())
    }
}
