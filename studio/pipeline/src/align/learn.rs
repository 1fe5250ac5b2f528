//! One learning step: from clips with their totals to new weights of the policy and of the value network.

use burn::{
    module::Module,
    tensor::{Bool, Device, Tensor, TensorData},
};
use musicrl_core::{
    params::ParamTable,
    policy::{ConditionPrompt, HierarchicalPolicy, Prompt, frames_from_tokens},
    rl::{self, Actions, ChunkLogits, Normalisation, Objective, TokenTerms},
    sampling::SamplingConfig,
    tokens::Tokens,
};

use super::{
    advantages::{AdvantageRule, Part, advantages, explained_variance, spread},
    family::{Baseliner as _, Learnable, map_parts},
    hidden::Hidden,
    linear_value::{LinearValue, Valued, Vectors},
};
use crate::{
    Error, Result,
    optim::{AdamW, Update},
    parallel::sum_gradients_on,
    training::Metrics,
};

/// Frames whose logits exist at once.
const CHUNK_FRAMES: usize = 32;

/// A batch that was played and judged.
#[derive(Debug)]
pub struct Judged<'a, Q = ConditionPrompt> {
    /// What the clips were made for.
    pub prompt: &'a Q,
    /// The clips.
    pub tokens: &'a [Tokens],
    /// The total reward of each; `None` where a judge could not score it: the clip is left out.
    pub totals: &'a [Option<f64>],
}

/// The networks that learn, the one that does not, and the optimisers.
#[derive(Debug)]
pub struct Learner<P: Learnable = HierarchicalPolicy> {
    /// The policy, on an autodiff device.
    pub policy: P,
    /// The baseline, on an autodiff device; only for [`Baseline::Learned`](crate::recipe::Baseline).
    pub value: Option<P::Value>,
    /// The baseline on the reference's vectors; only for [`Baseline::Linear`](crate::recipe::Baseline).
    pub linear: Option<LinearValue>,
    /// What the KL pulls towards, on a plain device.
    pub reference: P,
    /// Whether the networks are computed a second time in the backward pass, part by part, for less memory.
    pub recomputes: bool,
    /// The policy's optimiser.
    pub policy_optimiser: AdamW,
    /// The value network's optimiser.
    pub value_optimiser: Option<AdamW>,
}

/// Threads on which parts of a batch may run.
fn threads<P: Learnable>() -> usize {
    if P::runs_parts_in_parallel() { rayon::current_num_threads() } else { 1 }
}

/// The clips of a batch that the policy learns from.
struct Chosen<Q> {
    /// Of the whole batch; the others have none.
    totals: Vec<Option<f64>>,
    parts: Vec<Part<Q>>,
    advantages: Vec<Tensor<2>>,
    reference: Option<Vec<Tensor<4>>>,
}

impl<P: Learnable> Learner<P> {
    /// One gradient step of the policy and, with a learned baseline, one of the value network. Metrics:
    ///
    /// `kl` (mean over clips of the exact KL summed over the clip, nats), `entropy` (mean nats a token), `log_prob`
    /// (mean nats a token), `loss`, `advantage_std`, `grad_norm`, `learning_rate`, and of the value network
    /// `value_loss`, `explained_variance` (of the returns) and `value_grad_norm`; all before the update. With
    /// [`AdvantageRule::learn_clips`] the first four are those of the clips that were learned from.
    ///
    /// # Errors
    /// Shapes that disagree, logits that are not finite.
    pub fn step(
        &mut self,
        batch: &Judged<'_, P::Prompt>,
        rule: AdvantageRule,
        alpha: f64,
        sampling: &SamplingConfig,
    ) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        let counted = batch.totals.iter().flatten().count();
        if counted == 0 {
            return Ok(metrics);
        }
        let parts = self.parts(batch, rule)?;
        let Valuation { values, valued, reference } = self.baseline(&parts, batch)?;
        let advantages = advantages(&parts, values.as_deref(), rule)?;
        let spread = spread(batch, &advantages);

        let objective = Objective { alpha, normalisation: Normalisation::Clips };
        let mut table = P::table(&self.policy);
        let chosen = match rule.learn_clips {
            None => Chosen { totals: batch.totals.to_vec(), parts: parts.clone(), advantages, reference },
            Some(clips) => self.chosen(batch, &parts, &advantages, reference.as_deref(), clips)?,
        };
        let totals = &chosen.totals;
        let (gradient, terms) = self.policy_gradients(&table, &chosen, &objective, sampling)?;
        let learned = totals.iter().flatten().count();
        let mut sums = TermSums::default();
        let mut loss = 0.0;
        for (part_loss, terms) in terms {
            loss += part_loss;
            sums.add(&terms);
        }
        let actions = learned * batch.tokens.first().map_or(0, |tokens| tokens.ids.len());
        metrics.push("kl", sums.kl / learned as f64);
        metrics.push("entropy", sums.entropy / actions.max(1) as f64);
        metrics.push("log_prob", sums.log_prob / actions.max(1) as f64);
        metrics.push("loss", loss);
        metrics.push("advantage_std", spread);
        let update = self.policy_optimiser.update(&mut table, &gradient)?;
        push_update(&mut metrics, "", &update);
        self.policy = table.apply(self.policy.clone())?;

        self.baseline_step(&parts, (values, valued), batch, &mut metrics)?;
        Ok(metrics)
    }

    /// Lets a learned baseline learn from a batch; the policy stays as it is. Metrics: those of the baseline.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn learn_baseline(&mut self, batch: &Judged<'_, P::Prompt>, rule: AdvantageRule) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        if batch.totals.iter().flatten().count() > 0 {
            let parts = self.parts(batch, rule)?;
            let Valuation { values, valued, .. } = self.baseline(&parts, batch)?;
            self.baseline_step(&parts, (values, valued), batch, &mut metrics)?;
        }
        Ok(metrics)
    }

    /// One step of a learned baseline, whose values were computed before.
    fn baseline_step(
        &mut self,
        parts: &[Part<P::Prompt>],
        (values, valued): (Values, Option<Valued>),
        batch: &Judged<'_, P::Prompt>,
        metrics: &mut Metrics,
    ) -> Result<()> {
        let Some(values) = values else { return Ok(()) };
        match (&mut self.linear, valued) {
            (Some(linear), Some(valued)) => {
                metrics.push("explained_variance", explained_variance(parts, &values));
                linear.learn(&valued, batch.totals);
                Ok(())
            }
            _ => self.value_step(parts, &values, batch, metrics),
        }
    }

    /// The gradient of the policy's loss by the rewards alone (alpha = 0), in [`ParamTable`] order; nothing is learned.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn reward_gradient(
        &self,
        batch: &Judged<'_, P::Prompt>,
        rule: AdvantageRule,
        sampling: &SamplingConfig,
    ) -> Result<Vec<f32>> {
        let parts = self.parts(batch, rule)?;
        let Valuation { values, reference, .. } = self.baseline(&parts, batch)?;
        let advantages = advantages(&parts, values.as_deref(), rule)?;
        let objective = Objective { alpha: 0.0, normalisation: Normalisation::Clips };
        let chosen = match rule.learn_clips {
            None => Chosen { totals: batch.totals.to_vec(), parts, advantages, reference },
            Some(clips) => self.chosen(batch, &parts, &advantages, reference.as_deref(), clips)?,
        };
        Ok(self.policy_gradients(&P::table(&self.policy), &chosen, &objective, sampling)?.0)
    }

    /// The clips with the largest squared advantages (summed over their actions; of equals the first), in their order:
    /// totals with the others left out, parts and their advantages. (Max-variance down-sampling of rollouts, Xu et al.,
    /// arXiv 2504.13818: the gradient's noise falls nearly as if all clips were learned from, for a share of the work.)
    fn chosen(
        &self,
        batch: &Judged<'_, P::Prompt>,
        parts: &[Part<P::Prompt>],
        advantages: &[Tensor<2>],
        reference: Option<&[Tensor<4>]>,
        clips: usize,
    ) -> Result<Chosen<P::Prompt>> {
        let squares =
            |advantages: &Tensor<2>| advantages.clone().square().sum_dim(1).into_data().iter::<f64>().collect();
        let squares: Vec<f64> = advantages.iter().flat_map(|part| -> Vec<f64> { squares(part) }).collect();
        let mut order: Vec<usize> = (0..squares.len()).filter(|clip| batch.totals[*clip].is_some()).collect();
        order.sort_by(|a, b| squares[*b].total_cmp(&squares[*a]).then(a.cmp(b)));
        order.truncate(clips);
        order.sort_unstable();
        let keep = |clip: usize| batch.totals[clip].filter(|_| order.binary_search(&clip).is_ok());
        let totals: Vec<Option<f64>> = (0..batch.totals.len()).map(keep).collect();
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            rows.extend((0..part.clips.len()).map(|row| (at, row)));
        }
        let learned: Vec<_> = order.chunks(P::clips_at_once().max(1)).collect();
        let parts = learned.iter().map(|clips| self.part(batch, clips)).collect::<Result<_>>()?;
        let reference = reference.map(|all| joined(&learned, &rows, all));
        Ok(Chosen { totals, parts, advantages: joined(&learned, &rows, advantages), reference })
    }

    fn device(&self) -> Device {
        self.policy.device()
    }

    fn parts(&self, batch: &Judged<'_, P::Prompt>, rule: AdvantageRule) -> Result<Vec<Part<P::Prompt>>> {
        // Clips of one caption stay together: the leave-one-out baseline looks at all of them.
        let group = rule.clips_per_caption.max(1);
        let size = (P::clips_at_once() / group).max(1) * group;
        let all: Vec<usize> = (0..batch.tokens.len()).collect();
        all.chunks(size).map(|clips| self.part(batch, clips)).collect()
    }

    fn part(&self, batch: &Judged<'_, P::Prompt>, clips: &[usize]) -> Result<Part<P::Prompt>> {
        let device = self.device();
        let tokens: Vec<Tokens> = clips.iter().map(|clip| batch.tokens[*clip].clone()).collect();
        let frames = frames_from_tokens(self.policy.layout(), &tokens, &device)?;
        let actions = tokens.first().map_or(0, |tokens| tokens.ids.len());
        let counts: Vec<bool> =
            clips.iter().flat_map(|clip| std::iter::repeat_n(batch.totals[*clip].is_some(), actions)).collect();
        let totals: Vec<f32> = clips.iter().map(|clip| batch.totals[*clip].unwrap_or(0.0) as f32).collect();
        let inner = device.inner();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(counts, [clips.len(), actions]), &inner);
        let totals = Tensor::<1>::from_data(TensorData::new(totals, [clips.len()]), &inner);
        let returns = rl::returns_to_go(&rl::rewards_at_end(&totals, &mask)?, &mask)?;
        Ok(Part { prompt: batch.prompt.select(clips)?, frames, mask, returns, clips: clips.to_vec() })
    }

    /// The baseline at every action of the parts.
    fn baseline(&self, parts: &[Part<P::Prompt>], batch: &Judged<'_, P::Prompt>) -> Result<Valuation> {
        if let Some(value) = &self.value {
            let value = value.valid();
            let of = |part: &Part<P::Prompt>| value.values(&part.prompt, part.frames.clone().inner());
            let values = Some(parts.iter().map(of).collect::<Result<Vec<_>>>()?);
            return Ok(Valuation { values, ..Valuation::default() });
        }
        let Some(linear) = &self.linear else { return Ok(Valuation::default()) };
        let (vectors, reference) = vectors(&self.reference, parts)?;
        let totals: Vec<f64> = batch.totals.iter().flatten().copied().collect();
        let valued = linear.values(&vectors, totals.iter().sum::<f64>() / totals.len().max(1) as f64);
        let mut values = valued.values.iter();
        let of = |part: &Part<P::Prompt>| {
            let [clips, frames, slots] = part.frames.dims();
            let own = values.by_ref().take(clips).flatten();
            let own: Vec<f32> = own.flat_map(|value| std::iter::repeat_n(*value, slots)).collect();
            Tensor::from_data(TensorData::new(own, [clips, frames * slots]), &part.returns.device())
        };
        let values = parts.iter().map(of).collect();
        Ok(Valuation { values: Some(values), valued: Some(valued), reference: Some(reference) })
    }

    /// The objective's gradient over the whole batch, and each part's share of the loss and its terms.
    fn policy_gradients(
        &self,
        table: &ParamTable,
        Chosen { totals, parts, advantages, reference: known }: &Chosen<P::Prompt>,
        objective: &Objective,
        sampling: &SamplingConfig,
    ) -> Result<(Vec<f32>, Vec<PartTerms>)> {
        let counted = totals.iter().flatten().count();
        sum_gradients_on(threads::<P>(), &self.policy, table, parts, |policy, index, part| {
            let share = part.counted(totals) as f64 / counted.max(1) as f64;
            if share == 0.0 {
                return Ok((vec![0.0; table.values().len()], (0.0, TermSums::default())));
            }
            let [clips, frames, slots] = part.frames.dims();
            let reference = match known.as_ref().filter(|_| !sampling.is_guided()) {
                Some(known) => Hidden { conditioned: known[index].clone(), unconditioned: None },
                None => Hidden::of(&self.reference, &part.prompt, part.frames.clone().inner(), sampling)?,
            };
            let mask = part.mask.clone().reshape([clips, frames, slots]);
            let actions = Actions { ids: part.frames.clone().inner(), mask };
            let loss = |hidden: &Hidden| {
                let loss =
                    rl::reinforce_loss_chunked(&actions, &advantages[index], objective, CHUNK_FRAMES, |range| {
                        Ok(ChunkLogits {
                            policy: hidden.shaped(policy, range.clone(), sampling, &actions.ids)?,
                            reference: Some(reference.tempered(&self.reference, range, sampling)?),
                        })
                    })?;
                Ok((loss.loss, TermSums::of(&loss.terms)))
            };
            let (prompt, frames) = (&part.prompt, part.frames.clone());
            let mut done = match self.recomputes {
                true => policy.gradient_recomputed(table, prompt, frames, sampling, loss)?,
                false => policy.gradient(table, prompt, frames, sampling, loss)?,
            };
            done.gradient.iter_mut().for_each(|value| *value *= share as f32);
            Ok((done.gradient, (share * done.loss, done.other)))
        })
    }

    fn value_step(
        &mut self,
        parts: &[Part<P::Prompt>],
        before: &[Tensor<2>],
        batch: &Judged<'_, P::Prompt>,
        metrics: &mut Metrics,
    ) -> Result<()> {
        let counted = batch.totals.iter().flatten().count();
        let (Some(value), Some(optimiser)) = (&self.value, &mut self.value_optimiser) else { return Ok(()) };
        let recomputes = self.recomputes;
        let mut table = P::table(value);
        let (gradient, losses) = sum_gradients_on(threads::<P>(), value, &table, parts, |value, _, part| {
            let share = part.counted(batch.totals) as f64 / counted as f64;
            if share == 0.0 {
                return Ok((vec![0.0; table.values().len()], 0.0));
            }
            let loss = |values: &Tensor<2>| {
                Ok((rl::value_loss(values, &part.returns, &part.mask, Normalisation::Actions)?, ()))
            };
            let (prompt, frames) = (&part.prompt, part.frames.clone());
            let mut done = match recomputes {
                true => value.gradient_recomputed(&table, prompt, frames, loss)?,
                false => value.gradient(&table, prompt, frames, loss)?,
            };
            done.gradient.iter_mut().for_each(|value| *value *= share as f32);
            Ok((done.gradient, share * done.loss))
        })?;
        let total: f64 = losses.iter().sum();
        metrics.push("value_loss", total);
        metrics.push("explained_variance", explained_variance(parts, before));
        let update = optimiser.update(&mut table, &gradient)?;
        push_update(metrics, "value_", &update);
        self.value = Some(table.apply(value.clone())?);
        Ok(())
    }
}

/// The baseline at every action of each part; none for one that is made of the returns.
type Values = Option<Vec<Tensor<2>>>;

/// A baseline before a batch is learned from.
#[derive(Default)]
struct Valuation {
    values: Values,
    /// What a linear one will learn of the batch.
    valued: Option<Valued>,
    /// What stands before the reference's heads, part by part, where a linear one has read it: the KL needs it too.
    reference: Option<Vec<Tensor<4>>>,
}

/// Rows of parts as the parts that are learned from; `rows` says which part and row each clip has.
fn joined<const D: usize>(learned: &[&[usize]], rows: &[(usize, usize)], parts: &[Tensor<D>]) -> Vec<Tensor<D>> {
    let row_of = |clip: &usize| {
        let (part, row) = rows[*clip];
        parts[part].clone().slice_dim(0, row..row + 1)
    };
    learned.iter().map(|clips| Tensor::cat(clips.iter().map(row_of).collect(), 0)).collect()
}

/// What stands before the reference's heads, for all clips of a batch: as features, and part by part as it is.
fn vectors<P: Learnable>(reference: &P, parts: &[Part<P::Prompt>]) -> Result<(Vectors, Vec<Tensor<4>>)> {
    let of = |part: &Part<P::Prompt>| -> Result<(Vectors, Tensor<4>)> {
        let hidden = reference.hidden(&part.prompt, part.frames.clone().inner())?;
        Ok((Vectors::of(&hidden), hidden))
    };
    let (all, hidden): (Vec<Vectors>, Vec<Tensor<4>>) =
        map_parts::<P, _, _>(parts, of).into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let joined = all.into_iter().reduce(Vectors::join);
    Ok((joined.ok_or_else(|| Error::config("batch", "at least one clip", "none"))?, hidden))
}

/// A part's share of the loss, and sums of its terms.
type PartTerms = (f64, TermSums);

#[derive(Default)]
struct TermSums {
    kl: f64,
    entropy: f64,
    log_prob: f64,
}

impl TermSums {
    fn of(terms: &TokenTerms) -> Self {
        Self { kl: sum(&terms.kl), entropy: sum(&terms.entropy), log_prob: sum(&terms.log_prob) }
    }

    fn add(&mut self, other: &Self) {
        self.kl += other.kl;
        self.entropy += other.entropy;
        self.log_prob += other.log_prob;
    }
}

fn sum(x: &Tensor<2>) -> f64 {
    x.clone().inner().into_data().iter::<f64>().sum()
}

fn push_update(metrics: &mut Metrics, prefix: &str, update: &Update) {
    metrics.push(format!("{prefix}grad_norm"), update.grad_norm);
    metrics.push(format!("{prefix}learning_rate"), update.learning_rate);
    metrics.push(format!("{prefix}skipped"), f64::from(u8::from(update.skipped)));
}
