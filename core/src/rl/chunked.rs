//! The policy's loss a few frames at a time, with its gradient in closed form.
//!
//! Composed from [`log_probabilities`](super::log_probabilities) and its friends, the loss leaves half a dozen tensors
//! of the size of the logits on the autodiff tape. Here the gradient with respect to the logits is written down
//! instead,
//!
//! dLoss/dl_v = (1/N) \[(1 - alpha) A (pi_v - 1\[v = a\]) + alpha pi_v (log pi_v - log pi_ref_v - KL)\],
//!
//! and only it stays, once, as `[clips, frames, slots, codebook]`. Everything else of that size lives for one chunk.

use core::ops::Range;

use alloc::{format, string::ToString, vec::Vec};
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor};

use super::{
    Objective,
    distribution::{sanitise, shifted},
    shape::{BEYOND, check_actions, check_each, counted, not_empty, read_mask, same},
};
use crate::{Error, Result};

/// What was done, and which of it counts.
#[derive(Debug, Clone)]
pub struct Actions {
    /// The chosen tokens: `[clips, frames, slots]`.
    pub ids: Tensor<3, Int>,
    /// True where an action counts: `[clips, frames, slots]`.
    pub mask: Tensor<3, Bool>,
}

/// The logits of some frames of every clip.
#[derive(Debug, Clone)]
pub struct ChunkLogits {
    /// The policy's, with gradient: `[clips, chunk frames, slots, codebook]`.
    pub policy: Tensor<4>,
    /// The reference's, in the same shape; its gradient is not taken. `None` where no KL is wanted: it reads 0.
    pub reference: Option<Tensor<4>>,
}

/// Per-action terms, without gradient; each `[clips, frames * slots]`, 0 under the mask.
#[derive(Debug, Clone)]
pub struct TokenTerms {
    /// log pi(a_t).
    pub log_prob: Tensor<2>,
    /// H_t in nats.
    pub entropy: Tensor<2>,
    /// KL_t in nats, exact over the codebook.
    pub kl: Tensor<2>,
}

/// A loss with the terms that it was made of.
#[derive(Debug, Clone)]
pub struct PolicyLoss {
    /// The loss, `[1]`: `backward` on it gives the policy's gradient.
    pub loss: Tensor<1>,
    /// The per-action terms, for metrics.
    pub terms: TokenTerms,
}

/// [`reinforce_loss`](super::reinforce_loss), `chunk_frames` frames at a time.
///
/// `logits` is called with consecutive ranges of frames that cover all frames once, in order. Value and gradient are
/// those of the composed functions, for any chunk size.
///
/// # Shapes
/// - advantages: `[clips, frames * slots]`
///
/// # Errors
/// Those of [`reinforce_loss`](super::reinforce_loss) and of the distribution functions; [`Error::Config`] for
/// `chunk_frames` 0, or for alpha above 0 without a reference; whatever `logits` returns.
pub fn reinforce_loss_chunked(
    actions: &Actions,
    advantages: &Tensor<2>,
    objective: &Objective,
    chunk_frames: usize,
    mut logits: impl FnMut(Range<usize>) -> Result<ChunkLogits>,
) -> Result<PolicyLoss> {
    objective.validate()?;
    let dims @ [clips, frames, slots] = actions.ids.dims();
    not_empty("actions", dims)?;
    same("mask", dims, actions.mask.dims())?;
    same("advantages", [clips, frames * slots], advantages.dims())?;
    let mask = actions.mask.clone().reshape([clips, frames * slots]);
    let advantages = counted(advantages.clone().inner(), &mask);
    check_each("advantage", &advantages, f64::is_finite)?;
    let divisor = objective.normalisation.divisor(&read_mask(&mask), frames * slots);
    let (reward_weight, kl_weight) = ((1.0 - objective.alpha) / divisor, objective.alpha / divisor);

    let mut losses: Option<Tensor<1>> = None;
    let mut parts = Vec::new();
    for range in chunks(frames, chunk_frames)? {
        let chunk = logits(range.clone())?;
        if chunk.reference.is_none() && objective.alpha > 0.0 {
            let expected = "0 where there is no reference".to_string();
            return Err(Error::Config { field: "alpha", expected, got: format!("{}", objective.alpha) });
        }
        let part = Part::new(actions, range.clone(), chunk)?;
        let advantages = advantages.clone().slice([0..clips, range.start * slots..range.end * slots]);
        let loss = part.loss(&advantages.cast(part.terms.log_prob.dtype()), reward_weight, kl_weight);
        losses = Some(match losses {
            Some(sum) => sum + loss,
            None => loss,
        });
        parts.push(part.terms);
    }
    let no_frames = || Error::Shape { what: "actions", expected: "frames".to_string(), got: "none".to_string() };
    Ok(PolicyLoss { loss: losses.ok_or_else(no_frames)?, terms: join(parts) })
}

/// Log-probability, entropy and exact KL, `chunk_frames` frames at a time, without gradient: what metrics and
/// evaluation need.
///
/// # Errors
/// As [`reinforce_loss_chunked`].
pub fn token_terms_chunked(
    actions: &Actions,
    chunk_frames: usize,
    mut logits: impl FnMut(Range<usize>) -> Result<ChunkLogits>,
) -> Result<TokenTerms> {
    let dims @ [_, frames, _] = actions.ids.dims();
    not_empty("actions", dims)?;
    same("mask", dims, actions.mask.dims())?;
    let mut parts = Vec::new();
    for range in chunks(frames, chunk_frames)? {
        let chunk = logits(range.clone())?;
        parts.push(Part::new(actions, range, chunk)?.terms);
    }
    Ok(join(parts))
}

/// Consecutive ranges of at most `chunk_frames` frames.
fn chunks(frames: usize, chunk_frames: usize) -> Result<impl Iterator<Item = Range<usize>>> {
    if chunk_frames == 0 {
        let expected = "at least 1".to_string();
        return Err(Error::Config { field: "chunk_frames", expected, got: "0".to_string() });
    }
    Ok((0..frames).step_by(chunk_frames).map(move |start| start..start.saturating_add(chunk_frames).min(frames)))
}

fn join(parts: Vec<TokenTerms>) -> TokenTerms {
    let cat = |pick: fn(&TokenTerms) -> &Tensor<2>| Tensor::cat(parts.iter().map(|p| pick(p).clone()).collect(), 1);
    TokenTerms { log_prob: cat(|p| &p.log_prob), entropy: cat(|p| &p.entropy), kl: cat(|p| &p.kl) }
}

/// One chunk: constants but for `logits`.
struct Part {
    /// Sanitised, with gradient.
    logits: Tensor<3>,
    probs: Tensor<3>,
    /// log pi - log pi_ref, where there is a reference.
    ratio: Option<Tensor<3>>,
    actions: Tensor<3, Int>,
    terms: TokenTerms,
}

impl Part {
    fn new(all: &Actions, range: Range<usize>, chunk: ChunkLogits) -> Result<Self> {
        let [clips, _, slots] = all.ids.dims();
        let frames = range.len();
        let dims @ [_, _, _, codebook] = chunk.policy.dims();
        same("policy logits", [clips, frames, slots, codebook], dims)?;
        let (rows, flat) = ([clips, frames * slots], [clips, frames * slots, codebook]);
        let pick = [0..clips, range, 0..slots];
        let mask = all.mask.clone().slice(pick.clone()).reshape(rows);
        let actions = check_actions(&all.ids.clone().slice(pick).reshape(rows), &mask, codebook)?;
        let actions = actions.reshape([clips, frames * slots, 1]);

        let logits = sanitise(chunk.policy.reshape(flat), &mask)?;
        let (shift, log_sum) = shifted(logits.clone().inner())?;
        let log_probs = shift - log_sum;
        let probs = log_probs.clone().exp();
        let log_prob = counted(log_probs.clone().gather(2, actions.clone()).reshape(rows), &mask);
        check_each("log-probability of the action (a forbidden token)", &log_prob, |l| l > -BEYOND)?;
        let entropy = (probs.clone() * log_probs.clone()).sum_dim(2).neg().reshape(rows);
        let (ratio, kl) = match chunk.reference {
            Some(reference) => {
                same("reference logits", dims, reference.dims())?;
                let reference = sanitise(reference.inner().reshape(flat), &mask)?.cast(log_probs.dtype());
                let (shift, log_sum) = shifted(reference)?;
                let ratio = log_probs - (shift - log_sum);
                let kl = counted((probs.clone() * ratio.clone()).sum_dim(2).reshape(rows), &mask);
                check_each("KL (a token that only the reference forbids)", &kl, |kl| kl < BEYOND)?;
                (Some(ratio), kl)
            }
            None => (None, log_prob.zeros_like()),
        };
        let terms = TokenTerms { log_prob, entropy: counted(entropy, &mask), kl };
        Ok(Self { logits, probs, ratio, actions, terms })
    }

    /// The chunk's share of the loss, with the closed-form gradient attached to the logits. `advantages` is 0 under
    /// the mask, and so is every row of the gradient: masked rows of `logits` are constants.
    fn loss(&self, advantages: &Tensor<2>, reward_weight: f64, kl_weight: f64) -> Tensor<1> {
        let [clips, actions] = advantages.dims();
        let pull = advantages.clone() * reward_weight;
        let value = (self.terms.kl.clone() * kl_weight - pull.clone() * self.terms.log_prob.clone()).sum();
        let pull = pull.reshape([clips, actions, 1]);
        let weight = match &self.ratio {
            Some(ratio) => {
                let kl = self.terms.kl.clone().reshape([clips, actions, 1]);
                ratio.clone() * kl_weight + (pull.clone() - kl * kl_weight)
            }
            None => pull.clone().expand(self.probs.dims()),
        };
        let gradient =
            (self.probs.clone() * weight).scatter(2, self.actions.clone(), pull.neg(), IndexingUpdateOp::Add);
        let surrogate = (self.logits.clone() * gradient).sum();
        // Subtracting its own value leaves 0 and the gradient.
        surrogate.clone() - surrogate.inner() + value
    }
}
