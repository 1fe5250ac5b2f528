//! The training loop: [`PreferenceTraining`].

use std::{collections::BTreeSet, sync::Arc};

use burn::tensor::{Device, Tensor};
use musicrl_core::{
    params::{self, ParamTable},
    preference::{Judgement, TieStrength, agreement, smoothed_bradley_terry_loss},
    random::{Key, Purpose},
};

use super::{
    Divided, PART_PAIRS, Selection,
    member::{Learner, Member},
    settings::{PreferenceTrainingConfig, Select, Ties},
    start::{Features, scale, starts},
};
use crate::{
    Error, Result,
    bundle::Bundle,
    evaluate_preference::{PreferenceReport, differences, measure},
    parallel::sum_gradients,
    preference::{
        DescriptorScale, Division, Pair, PreferenceData, PreferenceEnsemble,
        clips::{Batch, Excerpt, descriptor_tensor},
    },
    training::{Files, Metrics, Training},
};

/// Trains an ensemble of preference models on pairs. Steps take all members, evaluations keep the best weights, and
/// where these do not get better any more the training [is done](Training::is_done).
#[derive(Debug)]
pub struct PreferenceTraining {
    config: PreferenceTrainingConfig,
    data: PreferenceData,
    divided: Divided,
    /// Of the clips' descriptors; none where models read tokens alone.
    scale: Option<DescriptorScale>,
    members: Vec<Member>,
    selection: Selection,
    seed: u64,
    device: Device,
}

/// What the models of a training say of pairs that it does not learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// The pairs, by index in the training's data.
    pub pairs: Vec<usize>,
    /// Score of a minus score of b, mean over members, one a pair.
    pub differences: Vec<f64>,
    /// Standard deviation over members of the same.
    pub spread: Vec<f64>,
    /// Davidson's nu, mean over members.
    pub tie_strength: f64,
}

/// A pair of a batch: its clips, what is learned of it, and where in the clips.
struct Sample {
    pair: Pair,
    judgement: Judgement,
    place: f64,
}

impl PreferenceTraining {
    /// Models from `bundle`, as `config.init` says, and their data, whose clips must fit the bundle's policy. Held out is
    /// what [`PreferenceData::split`] says.
    ///
    /// # Errors
    /// [`Error::Config`] for bad settings, when no pair is left to learn from, or when a shared model does not fit the
    /// settings; when a part of the bundle is missing.
    pub fn new(
        config: PreferenceTrainingConfig,
        bundle: &Bundle,
        data: PreferenceData,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let division = data.split(config.held_out_share, config.split_seed)?;
        Self::divided(config, bundle, (data, division), None, seed, device)
    }

    /// As [`new`](Self::new) with another division of the pairs. With `learn = "head"`, `features` may be those of
    /// another training on the same clips with the same trunk ([`features`](Self::features)), which saves their
    /// computation.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Config`] for features of another number of clips.
    pub fn divided(
        config: PreferenceTrainingConfig,
        bundle: &Bundle,
        (data, division): (PreferenceData, Division),
        features: Option<Arc<Features>>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        config.check_no_adapters()?;
        let device = device.clone().autodiff();
        if config.text && data.clips().iter().any(|clip| clip.condition.is_none()) {
            return Err(Error::config("text", "false for clips without condition tokens", true));
        }
        let divided = Divided::of(&config, &data, division)?;
        let of = (data.clips(), divided.learning.as_slice());
        let scale = scale(&config, bundle, of, &device)?;
        let starts = starts(&config, bundle, of, scale.as_ref(), features, seed, &device)?;
        let members = starts.into_iter().map(|start| Member::new(&config, start)).collect();
        let selection = Selection::default();
        Ok(Self { config, data, divided, scale, members, selection, seed, device })
    }

    /// The clips' vectors under a trunk that stays as it is, to hand to another training; none where the trunk learns.
    #[must_use]
    pub fn features(&self) -> Option<Arc<Features>> {
        self.members.first().and_then(|member| member.features.clone())
    }

    /// Pairs to learn from, and held-out ones.
    #[must_use]
    pub fn pairs(&self) -> (usize, usize) {
        (self.divided.learning.len(), self.divided.held_out.len())
    }

    /// The step of the best weights so far; none where nothing is held out.
    #[must_use]
    pub fn best_step(&self) -> Option<u64> {
        self.selection.best().map(|(step, _)| step)
    }

    /// The models that the training ends with, on a plain device, not centred.
    ///
    /// # Errors
    /// None that this training can cause; weights go through the checked parameter table.
    pub fn finish(&self) -> Result<PreferenceEnsemble> {
        let learner = |member: &Member| match self.config.select {
            Select::Best => member.best(),
            Select::Last => member.current(),
        };
        let learners = self.members.iter().map(learner).collect::<Result<Vec<_>>>()?;
        let ties = learners.iter().map(|learner| learner.tie_strength(&self.config)).collect();
        let models = learners.into_iter().map(|learner| learner.model).collect();
        PreferenceEnsemble::new(models, ties, self.config.text, self.scale.clone())
    }

    /// What the weights of now, averaged over steps, say of each held-out pair.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn held_out(&self) -> Result<HeldOut> {
        let learners = self.members.iter().map(Member::current).collect::<Result<Vec<_>>>()?;
        self.compare(&learners, &self.divided.held_out)
    }

    /// The training's models on all held-out pairs; none where nothing is held out. Where the best weights were chosen
    /// on these pairs the figures are slightly better than they would be on others.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn report(&self) -> Result<Option<PreferenceReport>> {
        let learner = |member: &Member| match self.config.select {
            Select::Best => member.best(),
            Select::Last => member.current(),
        };
        let learners = self.members.iter().map(learner).collect::<Result<Vec<_>>>()?;
        self.measure(&learners, &self.divided.held_out)
    }

    /// The pairs of a step, each with its place in the clips.
    fn batch(&self, step: u64, member: usize) -> Vec<Sample> {
        let mut places = Key::new(self.seed, Purpose::Augment).step(step).clip(member as u64).stream();
        let pairs = self.divided.batch(self.config.batch_pairs, self.seed, step, member);
        pairs.into_iter().map(|(pair, judgement)| Sample { pair, judgement, place: places.uniform() }).collect()
    }

    fn epoch(&self, step: u64) -> f64 {
        self.divided.epoch(self.config.batch_pairs, step)
    }

    /// Scores of the clips of a part, those of a and then those of b, and the loss.
    fn loss(&self, member: &Member, learner: &Learner, part: &[Sample]) -> Result<(Tensor<1>, Tensor<1>, Tensor<1>)> {
        let clips: Vec<usize> =
            part.iter().map(|sample| sample.pair.a).chain(part.iter().map(|sample| sample.pair.b)).collect();
        let scores = match &member.features {
            Some(features) => {
                let of = clips.iter().map(|clip| &self.data.clips()[*clip]);
                let scale = self.scale.as_ref();
                let descriptors = scale.map(|scale| descriptor_tensor(of, scale, &self.device)).transpose()?;
                learner.model.head_scores(features.select(&clips, &self.device), descriptors)?
            }
            None => {
                let places = part.iter().chain(part).map(|sample| sample.place);
                let excerpts: Vec<Excerpt<'_>> = clips
                    .iter()
                    .zip(places)
                    .map(|(clip, place)| Excerpt::of_share(&self.data.clips()[*clip], self.config.crop, place))
                    .collect();
                let batch = Batch::of(&excerpts, self.config.text, self.scale.as_ref(), &self.device)?;
                learner.model.scores_padded(&batch.prompt, batch.frames, &batch.lengths, batch.descriptors)?
            }
        };
        let (a, b) = (scores.clone().narrow(0, 0, part.len()), scores.narrow(0, part.len(), part.len()));
        let judgements: Vec<Judgement> = part.iter().map(|sample| sample.judgement).collect();
        let log_tie_strength = learner.log_tie_strength.val();
        let ties = match self.config.ties {
            Ties::Learned => TieStrength::Learned(&log_tie_strength),
            Ties::Fixed => TieStrength::Fixed(self.config.tie_strength),
        };
        let loss = smoothed_bradley_terry_loss(&a, &b, &judgements, ties, self.config.label_smoothing)?;
        Ok((loss, a, b))
    }

    /// One step of one member: loss, right and decided pairs, the norm of the gradient and the step size.
    fn step_member(&mut self, index: usize, step: u64) -> Result<[f64; 5]> {
        let batch = self.batch(step, index);
        let total: f64 = batch.iter().map(|sample| sample.judgement.weight).sum();
        let parts: Vec<&[Sample]> = batch.chunks(PART_PAIRS).collect();
        let member = &self.members[index];
        let table = ParamTable::collect(&member.learner);
        let (mut gradient, parts) = sum_gradients(&member.learner, &table, &parts, |learner, _, part| {
            let (loss, a, b) = self.loss(member, learner, part)?;
            let share = part.iter().map(|sample| sample.judgement.weight).sum::<f64>() / total;
            let loss = loss.mul_scalar(share);
            let gradients = loss.backward();
            let read = |x: Tensor<1>| -> Vec<f64> { x.inner().into_data().iter::<f64>().collect() };
            let outcomes: Vec<_> = part.iter().map(|sample| sample.judgement.outcome).collect();
            let decided = outcomes.iter().filter(|outcome| agreement(&[0.0], &[0.0], &[**outcome]).is_some()).count();
            let right = agreement(&read(a), &read(b), &outcomes).unwrap_or(0.0) * decided as f64;
            Ok((params::gradients(learner, &gradients), [read(loss)[0], right, decided as f64]))
        })?;
        member.add_prior(&self.config, &table, self.divided.learning.len(), &mut gradient);
        let update = self.members[index].update(&self.config, table, &gradient, step)?;
        let sum = |at: usize| parts.iter().map(|part| part[at]).sum::<f64>();
        Ok([sum(0), sum(1), sum(2), update.grad_norm, update.learning_rate])
    }

    /// What `learners`, one a member, say of some pairs.
    fn measure(&self, learners: &[Learner], pairs: &[usize]) -> Result<Option<PreferenceReport>> {
        if pairs.is_empty() {
            return Ok(None);
        }
        let HeldOut { pairs, differences, spread, tie_strength } = self.compare(learners, pairs)?;
        let pairs: Vec<Pair> = pairs.iter().map(|pair| self.data.pairs()[*pair]).collect();
        let bootstrap = &self.config.bootstrap;
        // The same resamples for every seed: reports of two trainings on the same pairs differ by the models alone.
        measure(&pairs, &differences, &spread, tie_strength, bootstrap, self.config.split_seed).map(Some)
    }

    fn compare(&self, learners: &[Learner], which: &[usize]) -> Result<HeldOut> {
        let pairs: Vec<Pair> = which.iter().map(|pair| self.data.pairs()[*pair]).collect();
        let used: BTreeSet<usize> = pairs.iter().flat_map(|pair| [pair.a, pair.b]).collect();
        let used: Vec<usize> = used.into_iter().collect();
        let mut by_member = Vec::with_capacity(learners.len());
        for (member, learner) in self.members.iter().zip(learners) {
            let mut scores = vec![0.0; self.data.clips().len()];
            let of_used = member.scores(learner, self.data.clips(), &used, &self.config, self.scale.as_ref())?;
            used.iter().zip(of_used).for_each(|(clip, score)| scores[*clip] = score);
            by_member.push(scores);
        }
        let (differences, spread) = differences(&pairs, &by_member);
        let ties = learners.iter().map(|learner| learner.tie_strength(&self.config)).sum::<f64>();
        let tie_strength = ties / learners.len().max(1) as f64;
        Ok(HeldOut { pairs: which.to_vec(), differences, spread, tie_strength })
    }
}

impl Training for PreferenceTraining {
    /// `loss`, `accuracy` of the batch's decided pairs, `grad_norm`, `learning_rate`, `tie_strength`, `epoch`, `skipped`:
    /// means over members, `skipped` their sum.
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let mut sums = [0.0; 5];
        for member in 0..self.members.len() {
            let done = self.step_member(member, step)?;
            sums.iter_mut().zip(done).for_each(|(sum, value)| *sum += value);
        }
        let count = self.members.len() as f64;
        let [loss, right, decided, norm, rate] = sums;
        let ties = self.members.iter().map(|member| member.learner.tie_strength(&self.config)).sum::<f64>();
        let mut metrics = Metrics::default();
        metrics.push("loss", loss / count);
        if decided > 0.0 {
            metrics.push("accuracy", right / decided);
        }
        metrics.push("grad_norm", norm / count);
        metrics.push("learning_rate", rate / count);
        metrics.push("tie_strength", ties / count);
        metrics.push("epoch", self.epoch(step + 1));
        metrics.push("skipped", self.members.iter().map(|member| member.skipped() as f64).sum());
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        let mut files = Files::new();
        for (index, member) in self.members.iter().enumerate() {
            member.save(index, &mut files)?;
        }
        self.selection.save(&mut files)?;
        Ok(files)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        let selection = Selection::load(files)?;
        // Everything is read before anything is changed.
        let members = self.members.iter().enumerate();
        let restored = members.map(|(index, member)| member.read(index, selection.best().is_some(), files));
        let restored = restored.collect::<Result<Vec<_>>>()?;
        for (member, restored) in self.members.iter_mut().zip(restored) {
            member.restore(restored)?;
        }
        self.selection = selection;
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.config.patience > 0 && self.selection.since() >= self.config.patience
    }

    /// [`PreferenceReport::metrics`] on held-out pairs, `epoch`, `best_step` and `best_log_loss`. The best weights are
    /// kept.
    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        let learners = self.members.iter().map(Member::current).collect::<Result<Vec<_>>>()?;
        let Some(report) = self.measure(&learners, &self.divided.evaluated)? else { return Ok(Metrics::default()) };
        let loss = report.log_loss.estimate;
        if self.selection.observe(step, loss) {
            self.members.iter_mut().for_each(Member::keep_as_best);
        }
        let mut metrics = report.metrics();
        metrics.push("epoch", self.epoch(step));
        if let Some((step, loss)) = self.selection.best() {
            metrics.push("best_step", step as f64);
            metrics.push("best_log_loss", loss);
        }
        Ok(metrics)
    }
}
