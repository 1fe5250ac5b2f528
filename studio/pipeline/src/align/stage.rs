//! A stage of an alignment as a [`Training`]: play, judge, learn, watch.

use std::{collections::BTreeMap, path::PathBuf};

use burn::{module::Module as _, tensor::Device};
use musicrl_codec::{audio::Audio, write::write_wav};
use musicrl_core::{
    params::{Storage, learn_where},
    policy::Policy as _,
    random::{Key, Purpose},
    reward::{Score, SumReport},
    rl::KlController,
};
use serde::{Deserialize, Serialize};

use super::{
    advantages::AdvantageRule,
    diversity::distinct_share,
    family::{Learnable as _, Player, PromptOf},
    judges::{Asked, Judges, mean},
    learn::{Judged, Learner},
    linear_value::linear_value,
    measure::{Measurement, measure},
    play::{PlaySettings, Played, play},
    watch::Watch,
};
use crate::{
    Error, Result,
    guards::{AtLimit, EntropyFloor, KlBudget, SkippedSteps, Unscorable, Verdict},
    music::Music,
    optim::AdamW,
    recipe::{Baseline, StageConfig},
    training::{Files, Metrics, Training},
};

/// Everything that a stage needs beside its settings.
pub struct StageParts<'a, M: Player = Music> {
    /// Prompts and sound.
    pub music: &'a M,
    /// The judges.
    pub judges: Judges,
    /// Captions to learn from.
    pub captions: Vec<String>,
    /// Captions that are only measured on.
    pub held_out: Vec<String>,
    /// The policy as the stage begins.
    pub start: M::Policy,
    /// What the KL pulls towards.
    pub reference: M::Policy,
    /// The recipe's seed.
    pub seed: u64,
    /// Where evaluations write their clips.
    pub samples: Option<PathBuf>,
}

/// A stage under way.
pub struct Stage<'a, M: Player = Music> {
    config: StageConfig,
    parts: StageParts<'a, M>,
    settings: PlaySettings,
    learner: Learner<M::Policy>,
    progress: Progress,
    /// What the guards want the user to know, once each.
    warnings: Vec<String>,
}

/// What a checkpoint carries beside weights and moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    controller: KlController,
    skipped: SkippedSteps,
    unscorable: Unscorable,
    kl_budget: Option<KlBudget>,
    entropy_floor: Option<EntropyFloor>,
    /// The reference's mean token entropy on the held-out captions; the floor is a share of it.
    base_entropy: f64,
    /// The reference's diversity of tokens on them.
    #[serde(default)]
    base_diversity: f64,
    watch: Watch,
    /// The guard that ended the stage before its last step, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

const POLICY: &str = "policy.safetensors";
const VALUE: &str = "value.safetensors";
const LINEAR_VALUE: &str = "linear-value.bin";
const POLICY_OPTIMISER: &str = "policy-optimiser.bin";
const VALUE_OPTIMISER: &str = "value-optimiser.bin";
const PROGRESS: &str = "progress.toml";

impl<'a, M: Player> Stage<'a, M> {
    /// Sets a stage up on `device` (autodiff is added here). `clip_seconds` is the base's clip length.
    ///
    /// # Errors
    /// When there are no captions, or the models do not fit each other.
    pub fn new(config: StageConfig, parts: StageParts<'a, M>, clip_seconds: f64, device: &Device) -> Result<Self> {
        for (field, captions) in [("captions", &parts.captions), ("captions (held out)", &parts.held_out)] {
            if captions.is_empty() {
                return Err(Error::config(field, "at least one caption", "none"));
            }
        }
        let seconds = config.clip_seconds.unwrap_or(clip_seconds);
        let frames = parts.start.layout().frames_in(seconds);
        if frames == 0 {
            return Err(Error::config("clip_seconds", "at least one frame of the policy", seconds));
        }
        let settings = PlaySettings {
            sampling: config.sampling.core(),
            frames,
            seed: parts.seed,
            batch: config.batch,
            given: None,
        };
        let device = device.clone().autodiff();
        let policy = M::Policy::prepare(&parts.start, &config, parts.seed, &device)?;
        let value = match config.baseline {
            Baseline::Learned => Some(policy.value(&config, parts.seed)?),
            Baseline::Linear | Baseline::LeaveOneOut | Baseline::BatchMean => None,
        };
        let value_optimiser = match (&value, &config.value_optimiser) {
            (Some(value), Some(optimiser)) => {
                Some(AdamW::new(optimiser.clone(), M::Policy::table(value).values().len()))
            }
            _ => None,
        };
        let table = M::Policy::table(&policy);
        if !table.entries().iter().any(|entry| entry.trainable) {
            let expected = "the beginning of some parameter's name (see the policy's safetensors file)";
            return Err(Error::config("trainable", expected, format!("{:?}", config.trainable)));
        }
        let parameters = table.values().len();
        let in_order = parts.start.order(frames).iter().enumerate().all(|(at, action)| at == *action);
        if !in_order && (config.baseline == Baseline::Linear || config.lambda < 1.0) {
            let expected = "another baseline and lambda = 1: this policy does not choose frame after frame";
            return Err(Error::config("baseline", expected, "linear, or lambda below 1"));
        }
        let linear = match config.baseline {
            Baseline::Linear => Some(linear_value(&parts, &settings)?),
            _ => None,
        };
        let learner = Learner {
            linear,
            policy_optimiser: AdamW::new(config.policy_optimiser.clone(), parameters),
            policy,
            value,
            reference: parts.reference.clone(),
            recomputes: config.checkpointing,
            value_optimiser,
        };
        let guards = config.guards;
        let progress = Progress {
            controller: config.kl.control()?.init()?,
            skipped: SkippedSteps::new(guards.max_skipped),
            unscorable: Unscorable::new(guards.patience),
            kl_budget: guards.kl_budget.map(|budget| KlBudget::new(budget, guards.patience)),
            entropy_floor: None,
            base_entropy: 0.0,
            base_diversity: 0.0,
            watch: Watch::default(),
            ended: None,
        };
        let mut stage = Self { config, parts, settings, learner, progress, warnings: Vec::new() };
        stage.measure_reference()?;
        Ok(stage)
    }

    /// The policy as it is now, on a plain device.
    #[must_use]
    pub fn policy(&self) -> M::Policy {
        self.learner.policy.valid()
    }

    /// Plays and judges one clip for each caption with fixed random numbers: the same before and after.
    ///
    /// # Errors
    /// When a model or a judge fails.
    pub fn measure(&self, captions: &[&str]) -> Result<Measurement<PromptOf<M>>> {
        let (music, judges) = (self.parts.music, &self.parts.judges);
        measure(&self.policy(), &self.learner.reference, music, judges, captions, &self.settings)
    }

    /// The clips of a step as the policy plays them now, and what the judges say, those of weight 0 where it is their turn.
    fn play(&self, step: u64) -> Result<(Played<PromptOf<M>>, SumReport)> {
        let owned = self.captions(step);
        let captions: Vec<&str> = owned.iter().map(String::as_str).collect();
        let (music, judges) = (self.parts.music, &self.parts.judges);
        let first_clip = step * self.config.batch as u64;
        let played = play(&self.policy(), music, &captions, &self.settings, (step, first_clip), judges.hear_audio())?;
        let asked = if self.config.watches(step) { Asked::All } else { Asked::Counted };
        let verdicts = played.judge(judges, asked, &captions, music)?;
        Ok((played, verdicts))
    }

    fn advantage_rule(&self) -> AdvantageRule {
        AdvantageRule {
            baseline: self.config.baseline,
            clips_per_caption: self.config.clips_per_caption,
            whiten: self.config.whiten,
            learn_clips: self.config.learn_clips,
            lambda: self.config.lambda,
        }
    }

    /// Lets a linear baseline learn from a step's clips. Nothing else is learned.
    ///
    /// # Errors
    /// When a model or a judge fails.
    pub fn learn_baseline(&mut self, step: u64) -> Result<()> {
        if self.learner.linear.is_none() {
            return Ok(());
        }
        let (played, verdicts) = self.play(step)?;
        let totals: Vec<Option<f64>> = verdicts.total.iter().map(Score::value).collect();
        let batch = Judged { prompt: &played.prompt, tokens: &played.tokens, totals: &totals };
        let rule = self.advantage_rule();
        self.learner.learn_baseline(&batch, rule)?;
        Ok(())
    }

    /// The gradient that a step's clips give the policy's loss by their rewards alone, in the order of
    /// [`ParamTable`](musicrl_core::params::ParamTable), and the clips' totals. Nothing is learned.
    ///
    /// # Errors
    /// When a model or a judge fails.
    pub fn reward_gradient(&self, step: u64) -> Result<(Vec<f32>, Vec<Option<f64>>)> {
        let (played, verdicts) = self.play(step)?;
        let totals: Vec<Option<f64>> = verdicts.total.iter().map(Score::value).collect();
        let batch = Judged { prompt: &played.prompt, tokens: &played.tokens, totals: &totals };
        let gradient = self.learner.reward_gradient(&batch, self.advantage_rule(), &self.settings.sampling)?;
        Ok((gradient, totals))
    }

    /// What guards and judges had to say since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The floors are shares of the reference's entropy at the states that it visits itself, and of the diversity of its clips.
    fn measure_reference(&mut self) -> Result<()> {
        let share = self.config.guards.entropy_floor_fraction;
        if share == 0.0 && self.config.guards.diversity_floor_fraction == 0.0 {
            return Ok(());
        }
        let captions: Vec<&str> = self.evaluation_captions();
        let (reference, silent) = (&self.learner.reference, Judges::none());
        let measured = measure(reference, reference, self.parts.music, &silent, &captions, &self.settings)?;
        let metrics = measured.metrics();
        self.progress.base_entropy = metrics.get("entropy").unwrap_or(0.0);
        self.progress.base_diversity = metrics.get("diversity").unwrap_or(0.0);
        self.progress.entropy_floor =
            (share > 0.0).then(|| EntropyFloor::new(self.progress.base_entropy, share, self.config.guards.patience));
        Ok(())
    }

    fn evaluation_captions(&self) -> Vec<&str> {
        let count = self.config.evaluation.clips.max(1).min(self.parts.held_out.len());
        self.parts.held_out[..count].iter().map(String::as_str).collect()
    }

    /// The captions of a step: epochs in a new order each; `clips_per_caption` clips of each side by side.
    fn captions(&self, step: u64) -> Vec<String> {
        let each = self.config.clips_per_caption.max(1);
        let (count, wanted) = (self.parts.captions.len(), self.config.batch / each);
        let first = step as usize * wanted;
        let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
        (first..first + wanted)
            .flat_map(|position| {
                let epoch = position / count;
                if order.0 != epoch {
                    let mut indices: Vec<usize> = (0..count).collect();
                    Key::new(self.parts.seed, Purpose::Batch).step(epoch as u64).stream().shuffle(&mut indices);
                    order = (epoch, indices);
                }
                std::iter::repeat_n(self.parts.captions[order.1[position % count]].clone(), each)
            })
            .collect()
    }

    /// Writes the first clips of an evaluation, named by the caption's place in the list.
    fn write_samples(&self, step: u64, measured: &Measurement<PromptOf<M>>) -> Result<()> {
        let (Some(folder), count) = (&self.parts.samples, self.config.evaluation.samples) else { return Ok(()) };
        let folder = folder.join(format!("step-{step:06}"));
        for (index, samples) in measured.played.audio.iter().take(count).enumerate() {
            std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            let audio = Audio { channels: vec![samples.clone()], sample_rate_hz: self.parts.music.sample_rate_hz() };
            write_wav(&folder.join(format!("{index:02}.wav")), &audio)?;
        }
        Ok(())
    }

    /// Whether an evaluation keeps to the limits of KL, entropy and diversity, and to nine tenths of distinct clips.
    fn within_limits(&self, metrics: &Metrics) -> bool {
        let guards = &self.config.guards;
        let at_most = |name: &str, limit: f64| metrics.get(name).is_none_or(|value| value <= limit);
        let at_least = |name: &str, limit: f64| metrics.get(name).is_none_or(|value| value >= limit);
        // Of clips that have one distribution it is 0 and, by chance, below.
        let diversity_floor = guards.diversity_floor_fraction;
        at_most("kl", guards.kl_budget.unwrap_or(f64::INFINITY))
            && at_least("entropy", guards.entropy_floor_fraction * self.progress.base_entropy)
            && (diversity_floor == 0.0
                || at_least("diversity", diversity_floor * self.progress.base_diversity.max(0.0)))
            && at_least("distinct", 0.9)
    }

    /// `scored` clips have a total; `unscorable` says why the others have none.
    fn watch(&mut self, metrics: &Metrics, scored: usize, unscorable: &[&str]) -> Result<()> {
        let skipped = metrics.get("skipped").unwrap_or(0.0) > 0.0;
        let verdicts = [
            ("unscorable", self.progress.unscorable.observe(scored, unscorable.first().copied())),
            ("max_skipped", self.progress.skipped.observe(skipped)),
        ];
        for (name, verdict) in verdicts {
            self.heed(name, verdict, AtLimit::Fail)?;
        }
        let at_limit = self.config.guards.at_limit;
        if let (Some(guard), Some(kl)) = (&mut self.progress.kl_budget, metrics.get("kl")) {
            let verdict = guard.observe(kl);
            self.heed("kl_budget", verdict, at_limit)?;
        }
        if let (Some(guard), Some(entropy)) = (&mut self.progress.entropy_floor, metrics.get("entropy")) {
            let verdict = guard.observe(entropy);
            self.heed("entropy_floor_fraction", verdict, at_limit)?;
        }
        Ok(())
    }

    /// Does what a guard says.
    fn heed(&mut self, guard: &'static str, verdict: Verdict, at_limit: AtLimit) -> Result<()> {
        match (verdict, at_limit) {
            (Verdict::Stop(reason), AtLimit::EndStage) => {
                self.progress.ended.get_or_insert_with(|| format!("guard `{guard}`: {reason}"));
            }
            (verdict, _) => {
                if let Verdict::Warn(reason) = verdict.or_stop(guard)? {
                    self.warnings.push(reason);
                }
            }
        }
        Ok(())
    }

    /// The guard that ended the stage before its last step, and why; none for one that went on to its end.
    #[must_use]
    pub fn ended(&self) -> Option<&str> {
        self.progress.ended.as_deref()
    }
}

impl<M: Player> Training for Stage<'_, M> {
    /// Metrics: `reward` (mean total), `reward_NAME` (mean raw score of each judge), `scaled_NAME`, `unscorable`,
    /// `distinct`, `alpha`, and what [`Learner::step`] reports.
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let (played, verdicts) = self.play(step)?;
        let mut metrics = Metrics::default();
        if let Some(reward) = mean(&verdicts.total) {
            metrics.push("reward", reward);
        }
        for part in &verdicts.parts {
            for (kind, scores) in [("reward", &part.raw), ("scaled", &part.scaled)] {
                if let Some(mean) = mean(scores) {
                    metrics.push(format!("{kind}_{}", part.name), mean);
                }
            }
        }
        let reasons: Vec<&str> = verdicts
            .total
            .iter()
            .filter_map(|score| match score {
                Score::Unscorable(reason) => Some(reason.as_str()),
                Score::Value(_) => None,
            })
            .collect();
        metrics.push("unscorable", reasons.len() as f64);
        // Where none could be, the guard says so.
        let scored = verdicts.total.len() - reasons.len();
        if let Some(reason) = reasons.first().filter(|_| scored > 0) {
            self.warnings.push(format!("{} clips could not be scored, the first by {reason}", reasons.len()));
        }
        metrics.push("distinct", distinct_share(&played.tokens));
        let alpha = self.progress.controller.alpha();
        metrics.push("alpha", alpha);

        let rule = self.advantage_rule();
        let totals: Vec<Option<f64>> = verdicts.total.iter().map(Score::value).collect();
        let batch = Judged { prompt: &played.prompt, tokens: &played.tokens, totals: &totals };
        let learned = match step < self.config.baseline_first {
            true => self.learner.learn_baseline(&batch, rule)?,
            false => self.learner.step(&batch, rule, alpha, &self.settings.sampling)?,
        };
        metrics.0.extend(learned.0);
        if let Some(kl) = metrics.get("kl") {
            self.progress.controller.update(kl)?;
        }
        self.watch(&metrics, scored, &reasons)?;
        Ok(metrics)
    }

    fn is_done(&self) -> bool {
        self.progress.ended.is_some()
    }

    fn state(&self) -> Result<Files> {
        let mut files = Files::new();
        let learner = &self.learner;
        files.insert(POLICY.into(), M::Policy::table(&learner.policy).to_safetensors(Storage::F32)?);
        learner.policy_optimiser.save(POLICY_OPTIMISER, &mut files);
        if let (Some(value), Some(optimiser)) = (&learner.value, &learner.value_optimiser) {
            files.insert(VALUE.into(), M::Policy::table(value).to_safetensors(Storage::F32)?);
            optimiser.save(VALUE_OPTIMISER, &mut files);
        }
        // TOML, whose reader gives back every bit of a float; that of JSON rounds the last one.
        let progress = toml::to_string(&self.progress)
            .map_err(|error| Error::config(PROGRESS, "numbers that TOML can hold", error))?;
        files.insert(PROGRESS.into(), progress.into_bytes());
        if let Some(linear) = &learner.linear {
            files.insert(LINEAR_VALUE.into(), linear.state_bytes());
        }
        Ok(files)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        let bytes = |name: &str| files.get(name).map_or(&[][..], Vec::as_slice);
        let table = M::Policy::table(&self.learner.policy).read_safetensors(bytes(POLICY))?;
        self.learner.policy = table.apply(self.learner.policy.clone())?;
        self.learner.policy_optimiser.load(POLICY_OPTIMISER, files)?;
        if let (Some(value), Some(optimiser)) = (self.learner.value.take(), &mut self.learner.value_optimiser) {
            self.learner.value = Some(M::Policy::table(&value).read_safetensors(bytes(VALUE))?.apply(value)?);
            optimiser.load(VALUE_OPTIMISER, files)?;
        }
        if let Some(linear) = &mut self.learner.linear {
            linear.restore(bytes(LINEAR_VALUE))?;
        }
        let wrong = |got: String| Error::File { path: PROGRESS.into(), expected: "the state of a stage".into(), got };
        let text = std::str::from_utf8(bytes(PROGRESS)).map_err(|error| wrong(error.to_string()))?;
        self.progress = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        Ok(())
    }

    /// On held-out captions, with the same random numbers each time: see [`Measurement::metrics`] and
    /// [`watch`](super::watch). With watchers, `guarded` is the gain of the reward where the guards' limits and the watchers
    /// hold, with a validation the gain of that where the limits hold, and absent elsewhere: what
    /// [`Choose::Guarded`](crate::recipe::Choose) chooses by.
    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        let measured = self.measure(&self.evaluation_captions())?;
        self.write_samples(step, &measured)?;
        let mut metrics = measured.metrics();
        let watched = self.progress.watch.observe(step, &measured.verdicts, &self.config.checkpoint.validation);
        self.warnings.extend(watched.parted);
        metrics.0.extend(watched.metrics.0);
        if let Some(gain) = watched.choice.filter(|_| self.within_limits(&metrics)) {
            metrics.push("guarded", gain);
        }
        Ok(metrics)
    }
}

impl<M: Player> Stage<'_, M> {
    /// The policy of one of the stage's checkpoints, on a plain device.
    ///
    /// # Errors
    /// When the checkpoint has no weights that fit.
    pub fn policy_of_checkpoint(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<M::Policy> {
        let bytes = files.get(POLICY).map_or(&[][..], Vec::as_slice);
        let policy = self.learner.policy.clone();
        let policy = M::Policy::table(&policy).read_safetensors(bytes)?.apply(policy)?.valid();
        // What this stage froze is no matter of the next one.
        Ok(learn_where(policy, &|_| true))
    }
}
