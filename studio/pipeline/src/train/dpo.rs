//! Direct preference optimisation: the control that learns from the same pairs without a reward model and without
//! playing (Rafailov et al., "Direct Preference Optimization", 2023, arXiv 2305.18290).

use burn::{
    module::Module as _,
    tensor::{Device, Tensor},
};
use musicrl_core::{
    params::{self, ParamTable, Storage, freeze_except},
    policy::{ConditionPrompt, HierarchicalPolicy, Policy as _, frames_from_tokens},
    preference::{SequenceLogProbs, dpo_loss},
    random::{Key, Purpose},
    sampling::SamplingConfig,
    tokens::Tokens,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    optim::{AdamW, AdamWConfig},
    parallel::sum_gradients,
    training::{Files, Metrics, Training},
};

/// Settings of [`DpoTraining`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Strength of the pull towards the reference: larger stays nearer.
    pub beta: f64,
    /// Pairs a step.
    pub batch_pairs: usize,
    /// The policy's parameters that learn, by the beginnings of their names; all of them where it is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trainable: Vec<String>,
    /// Temperature of the distribution whose log-probabilities are compared: the one that is sampled.
    pub temperature: f64,
    /// The optimiser.
    pub optimiser: AdamWConfig,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.1,
            batch_pairs: 16,
            trainable: Vec::new(),
            temperature: 0.99,
            optimiser: AdamWConfig { learning_rate: 1e-4, weight_decay: 0.0, ..AdamWConfig::default() },
        }
    }
}

impl DpoConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.optimiser.validate("optimiser")?;
        for (field, value) in [("beta", self.beta), ("temperature", self.temperature)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::config(field, "above 0", value));
            }
        }
        if self.batch_pairs == 0 {
            return Err(Error::config("batch_pairs", "at least 1", 0));
        }
        Ok(())
    }
}

/// Two clips of one caption of which one was preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpoPair {
    /// The caption's condition tokens; `None`: no condition.
    pub condition: Option<Vec<u32>>,
    /// The preferred clip.
    pub chosen: Tokens,
    /// The other one, of the same length.
    pub rejected: Tokens,
}

/// Pairs that go through the networks together, on one thread.
const PART_PAIRS: usize = 2;

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
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    loss: f64,
    right: f64,
    /// Of the implicit rewards: beta (log pi - log pi_ref), chosen less rejected.
    margin: f64,
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
        };
        Ok((loss, sums))
    }
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
        let parts: Vec<_> = pairs.chunks(PART_PAIRS).collect();
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
        let mut files = Files::new();
        files.insert("policy.safetensors".into(), ParamTable::collect(&self.policy).to_safetensors(Storage::F32)?);
        self.optimiser.save("policy-optimiser.bin", &mut files);
        Ok(files)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        let bytes = files.get("policy.safetensors").map_or(&[][..], Vec::as_slice);
        let table = ParamTable::collect(&self.policy).read_safetensors(bytes)?;
        self.policy = table.apply(self.policy.clone())?;
        self.optimiser.load("policy-optimiser.bin", files)
    }

    /// `loss`, `accuracy` and `margin` on held-out pairs.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        if self.held_out.is_empty() {
            return Ok(metrics);
        }
        let (policy, device) = (self.policy(), self.device.clone().inner());
        let pairs: Vec<&DpoPair> = self.held_out.iter().collect();
        let sums = pairs
            .chunks(PART_PAIRS)
            .map(|part| Ok(self.loss(&policy, part, &device)?.1))
            .collect::<Result<Vec<_>>>()?;
        push(&mut metrics, &sums, pairs.len());
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::{
        nn::FeedForward,
        policy::{HierarchicalPolicyConfig, StackConfig},
        tokens::Interleave,
    };

    use super::*;

    fn policy() -> HierarchicalPolicy {
        let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 32, feed_forward: FeedForward::Gelu };
        HierarchicalPolicyConfig {
            layout: Interleave { coarse_levels: 1 }.layout(6, 6, 12.5).unwrap(),
            global: stack.clone(),
            local: stack,
            condition_slots: 1,
            condition_codebook: 4,
        }
        .init(Key::new(1, Purpose::Init), &Device::flex())
        .unwrap()
    }

    /// Clips of four frames; those with more zeros are preferred.
    fn pairs(seed: u64, count: usize) -> Vec<DpoPair> {
        let mut random = Key::new(seed, Purpose::Test).stream();
        let mut clip = |zeros: f64| {
            let ids = (0..12).map(|_| if random.chance(zeros) { 0 } else { random.below(6) as u32 }).collect();
            Tokens::new(ids, 3).unwrap()
        };
        (0..count).map(|_| DpoPair { condition: Some(vec![1]), chosen: clip(0.6), rejected: clip(0.0) }).collect()
    }

    fn training() -> DpoTraining {
        let config = DpoConfig {
            batch_pairs: 4,
            optimiser: AdamWConfig { learning_rate: 5e-3, weight_decay: 0.0, ..AdamWConfig::default() },
            ..DpoConfig::default()
        };
        DpoTraining::new(config, (pairs(1, 16), pairs(2, 16)), &policy(), 1, &Device::flex()).unwrap()
    }

    #[test]
    fn it_begins_at_chance_and_learns_what_was_preferred() {
        let mut training = training();
        let first = training.evaluate(0).unwrap();
        assert!((first.get("loss").unwrap() - std::f64::consts::LN_2).abs() < 1e-5, "{first:?}");
        assert!(first.get("margin").unwrap().abs() < 1e-5);
        for step in 0..12 {
            training.step(step).unwrap();
        }
        let last = training.evaluate(12).unwrap();
        assert!(last.get("accuracy").unwrap() > 0.85 && last.get("loss").unwrap() < 0.5, "{last:?}");
    }

    #[test]
    fn a_resumed_training_goes_on_to_the_same_bytes() {
        let mut straight = training();
        let mut stopped = training();
        for step in 0..4 {
            straight.step(step).unwrap();
            if step < 2 {
                stopped.step(step).unwrap();
            }
        }
        let mut resumed = training();
        resumed.restore(&stopped.state().unwrap()).unwrap();
        for step in 2..4 {
            resumed.step(step).unwrap();
        }
        assert_eq!(resumed.state().unwrap(), straight.state().unwrap());
    }

    #[test]
    fn bad_settings_and_pairs_are_refused() {
        let make = |config: DpoConfig, pairs: Vec<DpoPair>| {
            DpoTraining::new(config, (pairs, Vec::new()), &policy(), 1, &Device::flex()).unwrap_err().to_string()
        };
        let check = |config: DpoConfig, expected: &str| {
            let error = make(config, pairs(1, 1));
            assert!(error.contains(expected), "{error}");
        };
        check(DpoConfig { beta: 0.0, ..DpoConfig::default() }, "beta");
        check(DpoConfig { temperature: f64::NAN, ..DpoConfig::default() }, "temperature");
        check(DpoConfig { batch_pairs: 0, ..DpoConfig::default() }, "batch_pairs");
        check(DpoConfig { trainable: vec!["nothing".into()], ..DpoConfig::default() }, "trainable");
        assert!(make(DpoConfig::default(), Vec::new()).contains("pairs"));
        let mut short = pairs(1, 1);
        short[0].rejected = Tokens::new(vec![0; 9], 3).unwrap();
        assert!(make(DpoConfig::default(), short).contains("one length"));
        let mut wrong = pairs(1, 1);
        wrong[0].rejected = Tokens::new(vec![6; 12], 3).unwrap();
        assert!(make(DpoConfig::default(), wrong).contains('6'));
    }
}
