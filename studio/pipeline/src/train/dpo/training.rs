//! The training loop: [`DpoTraining`].

use std::collections::BTreeSet;

use burn::{
    module::Module as _,
    tensor::{Device, Tensor},
};
use musicrl_core::{
    params::{self, ParamTable, freeze_except},
    policy::{ConditionPrompt, HierarchicalPolicy, Policy as _, frames_from_tokens},
    preference::{SequenceLogProbs, dpo_loss},
    random::{Key, Purpose},
    sampling::{GenerationRequest, SamplingConfig, generate},
    tokens::Tokens,
};

use super::{super::policy, DpoConfig, DpoPair};
use crate::{
    Error, Result,
    align::measure::{EVALUATION_STEP, divergence},
    optim::AdamW,
    parallel::sum_gradients,
    training::{Files, Metrics, Training},
};

/// Pairs that go through the networks together, on one thread.
pub(crate) const PART_PAIRS: usize = 2;
/// Clips that are played together to measure the divergence. Fixed, though a clip depends on its number alone.
const KL_CLIPS: usize = 8;

/// DPO with AdamW.
#[derive(Debug)]
pub struct DpoTraining {
    config: DpoConfig,
    policy: HierarchicalPolicy,
    reference: HierarchicalPolicy,
    optimiser: AdamW,
    learning: Vec<DpoPair>,
    held_out: Vec<DpoPair>,
    sampling: SamplingConfig,
    seed: u64,
    device: Device,
}

/// Sums over pairs.
#[derive(Debug, Clone, Default)]
struct Sums {
    loss: f64,
    right: f64,
    /// Of the implicit rewards: beta (log pi - log pi_ref), chosen less rejected.
    margin: f64,
    /// That difference for each pair.
    margins: Vec<f64>,
}

impl DpoTraining {
    /// Begins at `start`, which is the reference too.
    ///
    /// # Errors
    /// For bad settings, no pairs to learn from, or clips that do not fit the policy.
    pub fn new(
        config: DpoConfig,
        (learning, held_out): (Vec<DpoPair>, Vec<DpoPair>),
        start: &HierarchicalPolicy,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        if learning.is_empty() {
            return Err(Error::config("pairs", "at least one in which a clip was preferred", "none"));
        }
        for (index, pair) in learning.iter().chain(&held_out).enumerate() {
            let lengths = [pair.chosen.ids.len(), pair.rejected.ids.len()];
            if lengths[0] != lengths[1] {
                let got = format!("{lengths:?} tokens in pair {index}");
                return Err(Error::config("pairs", "clips of one length", got));
            }
            for tokens in [&pair.chosen, &pair.rejected] {
                start.layout().check_clip(index, tokens)?;
            }
        }
        let sampling = SamplingConfig { temperature: config.temperature, ..SamplingConfig::default() };
        sampling.validate()?;
        let device = device.clone().autodiff();
        let reference = start.clone().to_device(&device.clone().inner());
        // Through the table: a mere clone would share nodes of the autodiff graph with the start.
        let policy = ParamTable::collect(start).apply(start.clone().to_device(&device).train())?;
        let policy = freeze_except(policy, &config.trainable);
        let table = ParamTable::collect(&policy);
        if !table.entries().iter().any(|entry| entry.trainable) {
            let expected = "the beginning of some parameter's name (see the policy's safetensors file)";
            return Err(Error::config("trainable", expected, format!("{:?}", config.trainable)));
        }
        let optimiser = AdamW::new(config.optimiser.clone(), table.values().len());
        Ok(Self { config, policy, reference, optimiser, learning, held_out, sampling, seed, device })
    }

    /// The policy as it is now, on a plain device.
    #[must_use]
    pub fn policy(&self) -> HierarchicalPolicy {
        self.policy.valid()
    }

    /// The pairs of a step: epochs in a new order each.
    fn batch(&self, step: u64) -> Vec<&DpoPair> {
        let count = self.learning.len();
        let first = step as usize * self.config.batch_pairs;
        let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
        (first..first + self.config.batch_pairs)
            .map(|position| {
                let epoch = position / count;
                if order.0 != epoch {
                    let mut indices: Vec<usize> = (0..count).collect();
                    Key::new(self.seed, Purpose::Batch).step(epoch as u64).stream().shuffle(&mut indices);
                    order = (epoch, indices);
                }
                &self.learning[order.1[position % count]]
            })
            .collect()
    }

    /// Log-probabilities of whole clips.
    fn log_probs(&self, policy: &HierarchicalPolicy, pairs: &[&DpoPair], device: &Device) -> Result<SequenceLogProbs> {
        let of = |pick: fn(&DpoPair) -> &Tokens| -> Result<Tensor<1>> {
            let tokens: Vec<Tokens> = pairs.iter().map(|pair| pick(pair).clone()).collect();
            let frames = frames_from_tokens(policy.layout(), &tokens, device)?;
            let prompt = ConditionPrompt::new(pairs.iter().map(|pair| pair.condition.clone()).collect());
            let log_probs = self.sampling.log_probabilities(policy, &prompt, frames)?;
            Ok(log_probs.sum_dim(1).reshape([pairs.len()]))
        };
        Ok(SequenceLogProbs { chosen: of(|pair| &pair.chosen)?, rejected: of(|pair| &pair.rejected)? })
    }

    /// Mean loss of some pairs, with gradient on an autodiff `device`, and the sums of what is reported.
    fn loss(&self, policy: &HierarchicalPolicy, pairs: &[&DpoPair], device: &Device) -> Result<(Tensor<1>, Sums)> {
        let inner = device.clone().inner();
        let (ours, theirs) = (self.log_probs(policy, pairs, device)?, self.log_probs(&self.reference, pairs, &inner)?);
        let loss = dpo_loss(&ours, &theirs, self.config.beta)?;
        let read = |x: &Tensor<1>| x.clone().inner().into_data().iter::<f64>().collect::<Vec<_>>();
        let rewards = |ours: &Tensor<1>, theirs: &Tensor<1>| -> Vec<f64> {
            read(ours).iter().zip(theirs.clone().into_data().iter::<f64>()).map(|(a, b)| a - b).collect()
        };
        let (chosen, rejected) = (rewards(&ours.chosen, &theirs.chosen), rewards(&ours.rejected, &theirs.rejected));
        let margins: Vec<f64> = chosen.iter().zip(&rejected).map(|(c, r)| self.config.beta * (c - r)).collect();
        let right = |margin: &f64| match margin.total_cmp(&0.0) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        let value = f64::from(loss.clone().inner().into_scalar::<f32>());
        let sums = Sums {
            loss: value * pairs.len() as f64,
            right: margins.iter().map(right).sum(),
            margin: margins.iter().sum(),
            margins,
        };
        Ok((loss, sums))
    }

    /// For each held-out pair the implicit reward of the preferred clip less that of the other,
    /// beta (log pi - log pi_ref) each, in nats.
    ///
    /// # Errors
    /// When a model refuses its input.
    pub fn held_out_margins(&self) -> Result<Vec<f64>> {
        Ok(self.held_out_sums()?.into_iter().flat_map(|sums| sums.margins).collect())
    }

    fn held_out_sums(&self) -> Result<Vec<Sums>> {
        let (policy, device) = (self.policy(), self.device.clone().inner());
        let pairs: Vec<&DpoPair> = self.held_out.iter().collect();
        parts(&pairs).into_iter().map(|part| Ok(self.loss(&policy, part, &device)?.1)).collect()
    }

    /// Plays clips for conditions of held-out pairs (of the others where there are none), as long as the longest clip,
    /// with the random numbers of evaluations: mean over clips of the exact KL to the reference summed over the clip,
    /// and of the entropy of a token, both in nats. `None` where the settings want no clips.
    ///
    /// # Errors
    /// When a model refuses its input.
    pub fn divergence(&self) -> Result<Option<(f64, f64)>> {
        let pairs = if self.held_out.is_empty() { &self.learning } else { &self.held_out };
        let conditions: BTreeSet<&Option<Vec<u32>>> = pairs.iter().map(|pair| &pair.condition).collect();
        let conditions: Vec<Option<Vec<u32>>> =
            conditions.iter().copied().cycle().take(self.config.kl_clips).cloned().collect();
        if conditions.is_empty() {
            return Ok(None);
        }
        let policy = self.policy();
        let frames = pairs.iter().map(|pair| pair.chosen.frames).max().unwrap_or(0);
        let (mut kl, mut entropy) = (Vec::new(), Vec::new());
        for (part, conditions) in conditions.chunks(KL_CLIPS).enumerate() {
            let prompt = ConditionPrompt::new(conditions.to_vec());
            let first = (part * KL_CLIPS) as u64;
            let place = (self.seed, EVALUATION_STEP);
            let sampling = self.sampling.clone();
            let request = GenerationRequest::consecutive(sampling, frames, place, first, conditions.len());
            let played = generate(&policy, &prompt, &request, &mut |_| {})?;
            let tokens: Vec<Tokens> = played.into_iter().map(|sample| sample.tokens).collect();
            let (of_clips, tokens) = divergence(&policy, &self.reference, &prompt, &tokens, &self.sampling)?;
            kl.extend(of_clips);
            entropy.extend(tokens);
        }
        Ok(Some((mean(&kl), mean(&entropy))))
    }
}

/// Pairs that go through the networks together: neighbours of one length.
fn parts<'a, 'b>(pairs: &'b [&'a DpoPair]) -> Vec<&'b [&'a DpoPair]> {
    let mut parts = Vec::new();
    let mut rest = pairs;
    while let Some(first) = rest.first() {
        let same = rest.iter().take(PART_PAIRS).take_while(|pair| pair.chosen.frames == first.chosen.frames).count();
        let (part, after) = rest.split_at(same.max(1));
        parts.push(part);
        rest = after;
    }
    parts
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn push(metrics: &mut Metrics, sums: &[Sums], pairs: usize) {
    let mean = |pick: fn(&Sums) -> f64| sums.iter().map(pick).sum::<f64>() / pairs.max(1) as f64;
    metrics.push("loss", mean(|sums| sums.loss));
    metrics.push("accuracy", mean(|sums| sums.right));
    metrics.push("margin", mean(|sums| sums.margin));
}

impl Training for DpoTraining {
    /// Metrics: `loss`, `accuracy` (share of pairs whose preferred clip has the higher implicit reward), `margin` (mean
    /// difference of implicit rewards), `grad_norm`, `learning_rate`, `skipped`; all before the update.
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let pairs = self.batch(step);
        let parts = parts(&pairs);
        let mut table = ParamTable::collect(&self.policy);
        let (gradient, sums) = sum_gradients(&self.policy, &table, &parts, |policy, _, part| {
            let (loss, sums) = self.loss(policy, part, &self.device)?;
            let gradients = loss.mul_scalar(part.len() as f64 / pairs.len() as f64).backward();
            Ok((params::gradients(policy, &gradients), sums))
        })?;
        let mut metrics = Metrics::default();
        push(&mut metrics, &sums, pairs.len());
        let update = self.optimiser.update(&mut table, &gradient)?;
        self.policy = table.apply(self.policy.clone())?;
        metrics.push("grad_norm", update.grad_norm);
        metrics.push("learning_rate", update.learning_rate);
        metrics.push("skipped", self.optimiser.skipped() as f64);
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        policy::state_of(&self.policy, &self.optimiser)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        policy::restore(&mut self.policy, &mut self.optimiser, files)
    }

    /// `loss`, `accuracy` and `margin` on held-out pairs; `kl` to the base and `entropy` of a token on clips that the policy
    /// plays.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        if !self.held_out.is_empty() {
            push(&mut metrics, &self.held_out_sums()?, self.held_out.len());
        }
        if let Some((kl, entropy)) = self.divergence()? {
            metrics.push("kl", kl);
            metrics.push("entropy", entropy);
        }
        Ok(metrics)
    }
}
