//! Adapters on the policy's trunk, learned together with the head: [`FinetuneTraining`].
//!
//! What the head alone cannot hear, because the mean of the policy's vectors does not hold it, adapters can bring into
//! that mean. They begin as nothing and the head where its own fit left it, so the first score of every clip is the
//! head's. Then both learn by
//!
//! sum_i w_i (-log P(outcome_i)) / sum_i w_i + ridge / 2 |weights|^2
//!
//! over the pairs of a step, P as in Davidson's model with margins, the ridge that of the head's fit. Every clip's trunk is
//! computed again block by block for its gradient.

use std::collections::BTreeMap;

use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use musicrl_core::{
    params::{ParamTable, Storage, learn_where},
    policy::frames_from_tokens,
    preference::{Judgement, TieStrength, agreement, smoothed_bradley_terry_loss},
    random::{Key, Purpose},
    tokens::Tokens,
};
use musicrl_zoo::musicgen::{MusicGen, MusicGenPolicy, PartGradients, TextPrompt};

use super::{
    PreferenceHead,
    train::{HeadReport, ImportedClips, fit_head, pooled_of, with_numbers},
};
use crate::{
    Error, Result,
    evaluate_preference::{PreferenceReport, differences, measure},
    imported::family::{ADAPTER, Pass, with_lora},
    optim::{AdamW, Update},
    parallel::sum_gradients_on,
    preference::Pair,
    recipe::LoraConfig,
    train::preference::{Divided, PreferenceTrainingConfig, Select, Selection, Ties},
    training::{Files, Metrics, Training},
};

/// Which of the keys of [`Purpose::Init`] the adapters take.
const ADAPTERS: u64 = 3;
const HEAD: &str = "head";
const TIES: &str = "log_tie_strength";
const WEIGHTS: &str = "finetune.safetensors";
const AVERAGE: &str = "finetune-average.safetensors";
const BEST: &str = "finetune-best.safetensors";
const OPTIMISER: &str = "finetune-optimiser.bin";

/// What the optimiser moves, on an autodiff device.
#[derive(Module, Debug)]
struct Finetuned {
    policy: MusicGenPolicy,
    /// One weight a standardised number of the pooled vector and its descriptors, `[width + descriptors]`.
    head: Param<Tensor<1>>,
    /// log of Davidson's nu, `[1]`.
    log_tie_strength: Param<Tensor<1>>,
}

/// A clip as the learner takes it.
#[derive(Debug, Clone)]
struct Given {
    prompt: TextPrompt,
    tokens: Tokens,
    /// The numbers of its descriptors; empty where the sound is left out.
    numbers: Vec<f32>,
}

/// Trains adapters and head on pairs of an imported policy's clips.
#[derive(Debug)]
pub struct FinetuneTraining {
    config: PreferenceTrainingConfig,
    clips: Vec<Given>,
    pairs: Vec<Pair>,
    divided: Divided,
    /// The head alone: where learning starts, and what standardises the vectors.
    head: PreferenceHead,
    alone: HeadReport,
    learner: Finetuned,
    optimiser: AdamW,
    /// Weights averaged over steps; where there is no averaging, none.
    average: Option<Vec<f32>>,
    best: Option<Vec<f32>>,
    selection: Selection,
    seed: u64,
}

/// What a pair gave: its share of the loss, whether it was right (0, one half, 1), and whether it was decided.
type PairTerms = [f64; 3];

impl FinetuneTraining {
    /// Fits the head of `config.lora`'s adapters on `clips` and puts the adapters on. `progress` is called with the clips
    /// whose vectors are done and their number.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that adapters do not have, or when no pair is left to learn from; as
    /// [`fit_head`].
    pub fn new(
        model: &MusicGen,
        clips: &ImportedClips,
        config: PreferenceTrainingConfig,
        seed: u64,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        config.validate()?;
        let Some(lora) = config.lora else {
            return Err(Error::config("lora", "settings of adapters", "none"));
        };
        config.check_adapters()?;
        let (head, alone) = fit_head(model, clips, &config, seed, progress)?;
        let divided = Divided::new(&config, &clips.data)?;
        let mut prompts = BTreeMap::<&str, TextPrompt>::new();
        for caption in &clips.captions {
            if !prompts.contains_key(caption.as_str()) {
                prompts.insert(caption, model.prompt(&[caption])?);
            }
        }
        let learner = learner(&model.policy, &lora, &head, alone.learning, seed)?;
        let table = ParamTable::collect_trainable(&learner);
        Ok(Self {
            clips: clips
                .captions
                .iter()
                .zip(clips.data.clips())
                .map(|(caption, clip)| Given {
                    prompt: prompts[caption.as_str()].clone(),
                    tokens: clip.tokens.clone(),
                    numbers: with_numbers(Vec::new(), head.scale(), clip.descriptors.as_deref()),
                })
                .collect(),
            pairs: clips.data.pairs().to_vec(),
            divided,
            head,
            alone,
            optimiser: AdamW::new(config.optimiser.clone(), table.values().len()),
            average: (config.average_decay > 0.0).then(|| table.values().to_vec()),
            best: None,
            selection: Selection::default(),
            learner,
            config,
            seed,
        })
    }

    /// What the head alone came to.
    #[must_use]
    pub fn head_alone(&self) -> &HeadReport {
        &self.alone
    }

    /// The step of the best weights so far; none where nothing is held out.
    #[must_use]
    pub fn best_step(&self) -> Option<u64> {
        self.selection.best().map(|(step, _)| step)
    }

    /// Head and adapted policy that the training ends with, on a plain device; the mean score of the clips is 0.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn finish(&self) -> Result<(PreferenceHead, MusicGenPolicy)> {
        let (mut head, policy) = self.chosen()?;
        let all: Vec<usize> = (0..self.clips.len()).collect();
        head.centre_on(&self.vectors(&policy, &all)?);
        Ok((head, policy))
    }

    /// The training's result on all held-out pairs; none where nothing is held out. Where the best weights were chosen on
    /// these pairs the figures are slightly better than they would be on others.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn report(&self) -> Result<Option<PreferenceReport>> {
        let (head, policy) = self.chosen()?;
        self.measure(&head, &policy, &self.divided.held_out)
    }

    fn chosen(&self) -> Result<(PreferenceHead, MusicGenPolicy)> {
        self.with(match self.config.select {
            Select::Best => self.best.as_ref().or(self.average.as_ref()),
            Select::Last => self.average.as_ref(),
        })
    }

    /// Head and policy at some values, or at the current ones.
    fn with(&self, values: Option<&Vec<f32>>) -> Result<(PreferenceHead, MusicGenPolicy)> {
        let mut table = ParamTable::collect_trainable(&self.learner);
        if let Some(values) = values {
            table = table.with_values(values.clone())?;
        }
        let of = |name: &str| table.get(name).unwrap_or_default().iter().map(|value| f64::from(*value)).collect();
        let (weights, log_ties): (Vec<f64>, Vec<f64>) = (of(HEAD), of(TIES));
        let ties = match self.config.ties {
            Ties::Fixed => self.config.tie_strength,
            Ties::Learned => log_ties.first().map_or(0.0, |log| log.exp()),
        };
        let learner = table.apply(self.learner.clone())?;
        Ok((self.head.with_weights(weights, ties), learner.policy.valid()))
    }

    fn vectors(&self, policy: &MusicGenPolicy, clips: &[usize]) -> Result<Vec<Vec<f32>>> {
        let of = |clip: &usize| {
            let Given { prompt, tokens, numbers } = &self.clips[*clip];
            let mut vector = pooled_of(policy, prompt, tokens)?;
            vector.extend(numbers);
            Ok(vector)
        };
        clips.iter().map(of).collect()
    }

    fn measure(
        &self,
        head: &PreferenceHead,
        policy: &MusicGenPolicy,
        pairs: &[usize],
    ) -> Result<Option<PreferenceReport>> {
        if pairs.is_empty() {
            return Ok(None);
        }
        let pairs: Vec<Pair> = pairs.iter().map(|pair| self.pairs[*pair]).collect();
        let mut used: Vec<usize> = pairs.iter().flat_map(|pair| [pair.a, pair.b]).collect();
        used.sort_unstable();
        used.dedup();
        let mut scores = vec![0.0; self.clips.len()];
        for (clip, vector) in used.iter().zip(self.vectors(policy, &used)?) {
            scores[*clip] = head.score(&vector);
        }
        let (differences, spread) = differences(&pairs, &[scores]);
        let bootstrap = &self.config.bootstrap;
        measure(&pairs, &differences, &spread, head.tie_strength(), bootstrap, self.config.split_seed).map(Some)
    }

    /// The gradient of a pair's share of the loss.
    fn pair_gradient(
        &self,
        learner: &Finetuned,
        table: &ParamTable,
        (pair, judgement): &(Pair, Judgement),
        share: f64,
    ) -> Result<(Vec<f32>, PairTerms)> {
        let device = learner.policy.decoder.device();
        let pass = |clip: usize| -> Result<Pass> {
            let Given { prompt, tokens, .. } = &self.clips[clip];
            let layout = musicrl_core::policy::Policy::layout(&learner.policy);
            let frames = frames_from_tokens(layout, std::slice::from_ref(tokens), &device)?;
            Pass::new(&learner.policy, prompt, frames)
        };
        let passes = [pass(pair.a)?, pass(pair.b)?];
        let score = |pass: &Pass, clip: usize| self.score(learner, pass.hidden.clone(), &self.clips[clip].numbers);
        let (a, b) = (score(&passes[0], pair.a), score(&passes[1], pair.b));
        let log_ties = learner.log_tie_strength.val();
        let ties = match self.config.ties {
            Ties::Learned => TieStrength::Learned(&log_ties),
            Ties::Fixed => TieStrength::Fixed(self.config.tie_strength),
        };
        let smoothing = self.config.label_smoothing;
        let loss = smoothed_bradley_terry_loss(&a, &b, &[*judgement], ties, smoothing)?.mul_scalar(share);
        let mut grads = loss.backward();
        let mut gradient = table.gradients(learner, &grads);
        for pass in passes {
            let into = PartGradients { table, prefix: "policy.", sum: &mut gradient };
            pass.add_gradients(&learner.policy, &mut grads, into)?;
        }
        let read = |x: Tensor<1>| x.inner().into_data().iter::<f64>().next().unwrap_or(f64::NAN);
        let right = agreement(&[read(a)], &[read(b)], &[judgement.outcome]);
        Ok((gradient, [read(loss), right.unwrap_or(0.0), f64::from(u8::from(right.is_some()))]))
    }

    /// The score of a clip, up to an offset, `[1]`.
    ///
    /// # Shapes
    /// - hidden: `[1, frames, codebooks, width]`
    /// - numbers: `[descriptors]`, none where the sound is left out
    fn score(&self, learner: &Finetuned, hidden: Tensor<4>, numbers: &[f32]) -> Tensor<1> {
        let [_, time, slots, width] = hidden.dims();
        let mut pooled = hidden.reshape([time * slots, width]).mean_dim(0);
        let device = pooled.device().inner();
        if !numbers.is_empty() {
            let numbers = TensorData::new(numbers.to_vec(), [1, numbers.len()]);
            pooled = Tensor::cat(vec![pooled, Tensor::from_data(numbers, &device)], 1);
        }
        let [_, width] = pooled.dims();
        let row = |values: &[f64]| -> Tensor<2> {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, width]), &device)
        };
        let (mean, deviation) = self.head.moments();
        let standard = (pooled - row(mean)) / row(deviation);
        (standard * learner.head.val().reshape([1, width])).sum_dim(1).reshape([1])
    }

    fn update(&mut self, gradient: &[f32], step: u64) -> Result<Update> {
        let config = &self.config;
        let rate = |name: &str| match name {
            HEAD => 1.0,
            TIES => f64::from(u8::from(config.ties == Ties::Learned)),
            _ => config.trunk_rate,
        };
        let mut table = ParamTable::collect_trainable(&self.learner);
        let update = self.optimiser.update_at(&mut table, gradient, |entry| rate(&entry.name))?;
        if let Some(average) = &mut self.average {
            let decay = config.average_decay.min((1 + step) as f64 / (10 + step) as f64) as f32;
            for (average, now) in average.iter_mut().zip(table.values()) {
                *average += (1.0 - decay) * (now - *average);
            }
        }
        self.learner = table.apply(self.learner.clone())?;
        Ok(update)
    }
}

/// Adapters as nothing, the head where its fit left it.
fn learner(
    policy: &MusicGenPolicy,
    lora: &LoraConfig,
    head: &PreferenceHead,
    pairs: usize,
    seed: u64,
) -> Result<Finetuned> {
    let device = policy.decoder.device().autodiff();
    let policy = with_lora(policy, lora, Key::new(seed, Purpose::Init).step(ADAPTERS))?;
    let weights: Vec<f32> = head.weights().iter().map(|weight| *weight as f32).collect();
    // Without ties in the data their estimate is 0, which has no logarithm: then that of half a tie among the pairs.
    let ties = if head.tie_strength() > 0.0 { head.tie_strength() } else { 1.0 / pairs.max(1) as f64 };
    let learner = Finetuned {
        policy: policy.to_device(&device),
        head: Param::from_tensor(Tensor::from_floats(weights.as_slice(), &device)),
        log_tie_strength: Param::from_tensor(Tensor::from_floats([ties.ln() as f32], &device)),
    };
    Ok(learn_where(learner.train(), &|name| !name.starts_with("policy.") || name.contains(ADAPTER)))
}

impl Training for FinetuneTraining {
    /// `loss`, `accuracy` of the batch's decided pairs, `grad_norm`, `learning_rate`, `tie_strength`, `epoch`, `skipped`.
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let pairs = self.config.batch_pairs;
        let batch = self.divided.batch(pairs, self.seed, step, 0);
        let total: f64 = batch.iter().map(|(_, judgement)| judgement.weight).sum();
        let table = ParamTable::collect_trainable(&self.learner);
        // One after the other: the frozen weights are one copy, and its graph has one lock.
        let (mut gradient, terms) = sum_gradients_on(1, &self.learner, &table, &batch, |learner, _, sample| {
            self.pair_gradient(learner, &table, sample, sample.1.weight / total)
        })?;
        for entry in table.entries().iter().filter(|entry| entry.name == HEAD) {
            let weights = &table.values()[entry.range()];
            let ridge = self.alone.ridge as f32;
            gradient[entry.range()].iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient += ridge * weight);
        }
        let update = self.update(&gradient, step)?;
        let sum = |at: usize| terms.iter().map(|terms| terms[at]).sum::<f64>();
        let mut metrics = Metrics::default();
        metrics.push("loss", sum(0));
        if sum(2) > 0.0 {
            metrics.push("accuracy", sum(1) / sum(2));
        }
        metrics.push("grad_norm", update.grad_norm);
        metrics.push("learning_rate", update.learning_rate);
        metrics.push("tie_strength", self.with(None)?.0.tie_strength());
        metrics.push("epoch", self.divided.epoch(pairs, step + 1));
        metrics.push("skipped", self.optimiser.skipped() as f64);
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        let mut files = Files::new();
        let table = ParamTable::collect_trainable(&self.learner);
        let all =
            [(WEIGHTS, Some(table.values().to_vec())), (AVERAGE, self.average.clone()), (BEST, self.best.clone())];
        for (name, values) in all {
            if let Some(values) = values {
                files.insert(name.into(), table.with_values(values)?.to_safetensors(Storage::F32)?);
            }
        }
        self.optimiser.save(OPTIMISER, &mut files);
        self.selection.save(&mut files)?;
        Ok(files)
    }

    /// Everything is read before anything is changed.
    fn restore(&mut self, files: &Files) -> Result<()> {
        let table = ParamTable::collect_trainable(&self.learner);
        let get = |name: &str| -> Result<ParamTable> {
            let wrong = || Error::File { path: name.into(), expected: "weights".into(), got: "no such file".into() };
            Ok(table.read_safetensors(files.get(name).ok_or_else(wrong)?)?)
        };
        let values = |name: &str| get(name).map(|table| table.values().to_vec());
        let selection = Selection::load(files)?;
        let weights = get(WEIGHTS)?;
        let average = self.average.as_ref().map(|_| values(AVERAGE)).transpose()?;
        let best = selection.best().map(|_| values(BEST)).transpose()?;
        let mut optimiser = self.optimiser.clone();
        optimiser.load(OPTIMISER, files)?;
        self.learner = weights.apply(self.learner.clone())?;
        (self.average, self.best, self.optimiser, self.selection) = (average, best, optimiser, selection);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.config.patience > 0 && self.selection.since() >= self.config.patience
    }

    /// [`PreferenceReport::metrics`] on held-out pairs, `epoch`, `best_step` and `best_log_loss`. The best weights are kept.
    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        let (head, policy) = self.with(self.average.as_ref())?;
        let Some(report) = self.measure(&head, &policy, &self.divided.evaluated)? else {
            return Ok(Metrics::default());
        };
        if self.selection.observe(step, report.log_loss.estimate) {
            let now = || ParamTable::collect_trainable(&self.learner).values().to_vec();
            self.best = Some(self.average.clone().unwrap_or_else(now));
        }
        let mut metrics = report.metrics();
        metrics.push("epoch", self.divided.epoch(self.config.batch_pairs, step));
        if let Some((step, loss)) = self.selection.best() {
            metrics.push("best_step", step as f64);
            metrics.push("best_log_loss", loss);
        }
        Ok(metrics)
    }
}
