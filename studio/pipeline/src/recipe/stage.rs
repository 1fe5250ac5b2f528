//! One stage of an alignment.

use serde::{Deserialize, Serialize};

use super::{
    choice::{CheckpointConfig, Choose, EvaluationConfig},
    kl::KlConfig,
    optimiser,
    rewards::RewardConfig,
    sampling::SamplingConfig,
};
use crate::{
    Error, Result,
    align::judges::TRUE_UTILITY,
    guards::{AtLimit, GuardsConfig},
    optim::AdamWConfig,
};

/// What the KL term pulls towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The recipe's base.
    #[default]
    Base,
    /// The policy as it was when the stage began.
    StageStart,
}

/// What is taken from the return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// A value network.
    #[default]
    Learned,
    /// Least squares on the reference's vectors.
    Linear,
    /// The mean of the other clips of the same caption.
    LeaveOneOut,
    /// The mean of the batch.
    BatchMean,
}

/// Low-rank adapters (Hu et al., "LoRA", ICLR 2022) on the matrices of attention and feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of an update, 1 to 1024.
    pub rank: usize,
    /// Updates are multiplied by `alpha / rank`; twice the rank where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
}

impl LoraConfig {
    pub(crate) fn validate(&self, prefix: &str) -> Result<()> {
        if !(1..=1024).contains(&self.rank) {
            return Err(Error::config(format!("{prefix}.lora.rank"), "1 to 1024", self.rank));
        }
        match self.alpha {
            Some(alpha) if !(alpha.is_finite() && alpha > 0.0) => {
                Err(Error::config(format!("{prefix}.lora.alpha"), "above 0", alpha))
            }
            _ => Ok(()),
        }
    }

    /// What updates are multiplied by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha.unwrap_or(2.0 * self.rank as f64) / self.rank as f64
    }
}

/// The trunk of a learned baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueTrunk {
    /// A copy that learns, as the policy does.
    #[default]
    Own,
    /// The base's, as it is: only the head learns.
    Shared,
}

/// For keys that are written where they say something.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One stage: rewards, strength of the pull towards the reference, and how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Name in logs and files: lower-case letters, digits, `-`.
    pub name: String,
    /// Steps, each on a new batch.
    pub steps: u64,
    /// Clips a step.
    pub batch: usize,
    /// Clips of the same caption in a batch; divides `batch`.
    #[serde(default = "one")]
    pub clips_per_caption: usize,
    /// Clips of a batch that the policy learns from, those with the largest advantages on either side; all of them where
    /// it is left out. Clips cost less to play than to learn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learn_clips: Option<usize>,
    /// Length of the clips; the base's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_seconds: Option<f64>,
    /// What the KL term pulls towards.
    #[serde(default)]
    pub reference: Reference,
    /// What is taken from the return.
    #[serde(default)]
    pub baseline: Baseline,
    /// First steps in which only a learned baseline learns: advantages from values that know nothing are noise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub baseline_first: u64,
    /// Of generalised advantages, for a baseline that is learned: what counts of a change of value one action later.
    /// 1: all of what comes after an action, without bias.
    #[serde(default = "one_whole", skip_serializing_if = "is_one")]
    pub lambda: f64,
    /// Whether advantages are brought to mean 0 and variance 1 within the batch.
    #[serde(default)]
    pub whiten: bool,
    /// Strength of the KL term.
    pub kl: KlConfig,
    /// How clips are sampled.
    #[serde(default)]
    pub sampling: SamplingConfig,
    /// The policy's parameters that learn, by the beginnings of their names; all of them where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trainable: Vec<String>,
    /// Low-rank adapters that learn in the place of the weights; for imported checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Whether the learned baseline has a trunk of its own; for imported checkpoints.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value_trunk: ValueTrunk,
    /// Whether the backward pass computes the networks again, one block at a time, instead of keeping what all blocks
    /// computed: the same result to rounding, less memory, more time; for imported checkpoints.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkpointing: bool,
    /// Judges of weight 0 score the clips of every so many steps, and of no step with 0. Evaluations always ask them.
    #[serde(default = "one_step", skip_serializing_if = "is_one_step")]
    pub watch_every: u64,
    /// The policy's optimiser.
    #[serde(default = "optimiser::policy", deserialize_with = "optimiser::read_policy")]
    pub policy_optimiser: AdamWConfig,
    /// The value network's optimiser; only for the learned baseline.
    #[serde(default, deserialize_with = "optimiser::read_value", skip_serializing_if = "Option::is_none")]
    pub value_optimiser: Option<AdamWConfig>,
    /// Measuring on held-out captions.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// Writing, keeping and choosing checkpoints.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// What stops the stage.
    #[serde(default)]
    pub guards: GuardsConfig,
    /// The judges.
    pub rewards: Vec<RewardConfig>,
}

fn one() -> usize {
    1
}

fn one_step() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one_step(value: &u64) -> bool {
    *value == 1
}

fn one_whole() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl StageConfig {
    /// Whether judges of weight 0 score the clips of a training step.
    #[must_use]
    pub fn watches(&self, step: u64) -> bool {
        self.watch_every > 0 && step.is_multiple_of(self.watch_every)
    }

    /// Checks every key and fills in what was left out. `prefix` is where they stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn resolve(mut self, prefix: &str, known_rewards: &[&str]) -> Result<Self> {
        let field = |name: &str| format!("{prefix}.{name}");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(Error::config(field("name"), "lower-case letters, digits and `-`", format!("{:?}", self.name)));
        }
        for (name, value) in [("steps", self.steps), ("batch", self.batch as u64)] {
            if value == 0 {
                return Err(Error::config(field(name), "at least 1", 0));
            }
        }
        if let Some(lora) = &self.lora {
            lora.validate(prefix)?;
        }
        if self.clips_per_caption == 0 || !self.batch.is_multiple_of(self.clips_per_caption) {
            let expected = format!("a divisor of the batch ({})", self.batch);
            return Err(Error::config(field("clips_per_caption"), expected, self.clips_per_caption));
        }
        match self.baseline {
            Baseline::LeaveOneOut if self.clips_per_caption < 2 => {
                let expected = "at least 2 for the leave_one_out baseline";
                return Err(Error::config(field("clips_per_caption"), expected, self.clips_per_caption));
            }
            Baseline::BatchMean if self.batch < 2 => {
                return Err(Error::config(field("batch"), "at least 2 for the batch_mean baseline", self.batch));
            }
            _ => {}
        }
        if let Some(seconds) = self.clip_seconds.filter(|seconds| !(seconds.is_finite() && *seconds > 0.0)) {
            return Err(Error::config(field("clip_seconds"), "above 0", seconds));
        }
        self.kl = self.kl.resolve(&field("kl"))?;
        self.sampling.validate(&field("sampling"))?;
        self.policy_optimiser.validate(&field("policy_optimiser"))?;
        let learned = matches!(self.baseline, Baseline::Learned | Baseline::Linear);
        if !(0.0..=1.0).contains(&self.lambda) || (self.lambda < 1.0 && !learned) {
            let expected = "0 to 1, and 1 unless the baseline is `learned` or `linear`";
            return Err(Error::config(field("lambda"), expected, self.lambda));
        }
        if self.baseline_first >= self.steps.max(1) || (self.baseline_first > 0 && !learned) {
            let expected = "below `steps`, and 0 unless the baseline is `learned` or `linear`";
            return Err(Error::config(field("baseline_first"), expected, self.baseline_first));
        }
        if let Some(clips) = self.learn_clips.filter(|clips| !(1..=self.batch).contains(clips)) {
            let expected = format!("1 to the batch ({})", self.batch);
            return Err(Error::config(field("learn_clips"), expected, clips));
        }
        match (self.baseline, &self.value_optimiser) {
            (Baseline::Learned, None) => self.value_optimiser = Some(optimiser::value()),
            (Baseline::Learned, Some(config)) => config.validate(&field("value_optimiser"))?,
            (_, Some(_)) => {
                let expected = "left out, or baseline = \"learned\" chosen";
                return Err(Error::config(field("value_optimiser"), expected, "settings that nothing would read"));
            }
            (_, None) => {}
        }
        if self.evaluation.every > 0 && self.evaluation.clips == 0 {
            return Err(Error::config(field("evaluation.clips"), "at least 1", 0));
        }
        self.checkpoint.validate(prefix, &self.evaluation)?;
        self.guards.validate(&field("guards"))?;
        for (i, reward) in self.rewards.iter().enumerate() {
            reward.validate(&field(&format!("rewards[{i}]")), known_rewards)?;
            if self.rewards[..i].iter().any(|other| other.name == reward.name) {
                return Err(Error::config(field(&format!("rewards[{i}].name")), "named once", &reward.name));
            }
        }
        if !self.rewards.iter().any(|reward| reward.weight > 0.0) {
            let got = if self.rewards.is_empty() { "none" } else { "only ones of weight 0, which are watched" };
            return Err(Error::config(field("rewards"), "at least one of a weight above 0", got));
        }
        let watches = |reward: &RewardConfig| reward.weight == 0.0 && !reward.name.starts_with(TRUE_UTILITY);
        if self.checkpoint.choose == Choose::Guarded && !self.rewards.iter().any(watches) {
            let expected = "another choice, or a reward of weight 0 to watch";
            return Err(Error::config(field("checkpoint.choose"), expected, "guarded"));
        }
        if self.guards.at_limit == AtLimit::EndStage && self.checkpoint.choose != Choose::Guarded {
            let expected = "`fail`, or checkpoint.choose = \"guarded\", which takes no checkpoint beyond the limits";
            return Err(Error::config(field("guards.at_limit"), expected, "end_stage"));
        }
        if self.guards.diversity_floor_fraction > 0.0 && self.checkpoint.choose != Choose::Guarded {
            let expected = "0, or checkpoint.choose = \"guarded\", which alone heeds it";
            let got = self.guards.diversity_floor_fraction;
            return Err(Error::config(field("guards.diversity_floor_fraction"), expected, got));
        }
        let watched = || self.rewards.iter().filter(|reward| watches(reward)).map(|reward| reward.name.as_str());
        if let Some(name) = self.checkpoint.validation.iter().find(|name| !watched().any(|other| other == *name)) {
            let watched: Vec<&str> = watched().collect();
            let expected = format!("rewards of weight 0 that are no true utility ({})", watched.join(", "));
            return Err(Error::config(field("checkpoint.validation"), expected, name));
        }
        Ok(self)
    }
}
