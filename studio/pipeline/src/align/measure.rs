//! Measuring a policy on captions that learning never sees.

use burn::tensor::{Bool, Tensor};
use musicrl_core::{
    policy::{ConditionPrompt, Prompt as _, frames_from_tokens},
    reward::SumReport,
    rl::{Actions, ChunkLogits, token_terms_chunked},
    sampling::SamplingConfig,
    tokens::Tokens,
};

use super::{
    diversity::{distinct_share, token_diversity},
    family::{Learnable, Player, PromptOf, map_parts},
    hidden::Hidden,
    judges::{Asked, Judges, mean},
    play::{PlaySettings, Played, play},
};
use crate::{Result, training::Metrics};

/// The step whose random numbers evaluations use: no training step reaches it, and it is the same before and after.
pub const EVALUATION_STEP: u64 = u64::MAX;

/// Clips whose logits are computed at once.
const CLIPS: usize = 8;

/// What was heard on a list of captions.
#[derive(Debug)]
pub struct Measurement<Q = ConditionPrompt> {
    /// The clips.
    pub played: Played<Q>,
    /// What the judges said.
    pub verdicts: SumReport,
    /// Exact KL to the reference summed over each clip, in nats.
    pub sequence_kl: Vec<f64>,
    /// Mean entropy in nats a token of each clip.
    pub entropy: Vec<f64>,
}

impl<Q> Measurement<Q> {
    /// The means: `reward`, `reward_NAME` (raw), `kl`, `entropy`, `distinct`, `diversity`, `unscorable`.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut metrics = Metrics::default();
        if let Some(reward) = mean(&self.verdicts.total) {
            metrics.push("reward", reward);
        }
        for part in &self.verdicts.parts {
            if let Some(raw) = mean(&part.raw) {
                metrics.push(format!("reward_{}", part.name), raw);
            }
        }
        metrics.push("kl", average(&self.sequence_kl));
        metrics.push("entropy", average(&self.entropy));
        metrics.push("distinct", distinct_share(&self.played.tokens));
        if let Some(diversity) = token_diversity(&self.played.tokens) {
            metrics.push("diversity", diversity);
        }
        metrics.push("unscorable", self.verdicts.total.iter().filter(|total| total.value().is_none()).count() as f64);
        metrics
    }
}

/// Plays one clip for each caption with the random numbers of `EVALUATION_STEP`, lets the judges score it, and measures
/// the policy's entropy and its exact KL to `reference` at the states that it visited.
///
/// # Errors
/// When a model or a judge fails.
pub fn measure<M: Player>(
    policy: &M::Policy,
    reference: &M::Policy,
    music: &M,
    judges: &Judges,
    captions: &[&str],
    settings: &PlaySettings,
) -> Result<Measurement<PromptOf<M>>> {
    measure_from(policy, reference, music, judges, captions, settings, 0)
}

/// As [`measure`], with clips numbered on from `first_clip`: another number, other random numbers.
///
/// # Errors
/// As [`measure`].
pub fn measure_from<M: Player>(
    policy: &M::Policy,
    reference: &M::Policy,
    music: &M,
    judges: &Judges,
    captions: &[&str],
    settings: &PlaySettings,
    first_clip: u64,
) -> Result<Measurement<PromptOf<M>>> {
    let played = play(policy, music, captions, settings, (EVALUATION_STEP, first_clip), judges.hear_audio())?;
    let verdicts = played.judge(judges, Asked::All, captions, music)?;
    let (sequence_kl, entropy) = divergence(policy, reference, &played.prompt, &played.tokens, &settings.sampling)?;
    Ok(Measurement { played, verdicts, sequence_kl, entropy })
}

/// Of each clip that `policy` played: its exact KL to `reference` summed over the clip, and its mean entropy a token, both
/// in nats, at the states that it visited. Clips are of one length.
///
/// # Errors
/// When a model refuses its input.
pub(crate) fn divergence<P: Learnable>(
    policy: &P,
    reference: &P,
    prompt: &P::Prompt,
    clips: &[Tokens],
    sampling: &SamplingConfig,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let indices: Vec<usize> = (0..clips.len()).collect();
    let device = policy.device();
    let of = |part: &[usize]| -> Result<(Vec<f64>, Vec<f64>)> {
        let prompt = prompt.select(part)?;
        let tokens: Vec<_> = part.iter().map(|clip| clips[*clip].clone()).collect();
        let frames = frames_from_tokens(policy.layout(), &tokens, &device)?;
        let dims @ [_, time, slots] = frames.dims();
        let hidden = Hidden::of(policy, &prompt, frames.clone(), sampling)?;
        let other = Hidden::of(reference, &prompt, frames.clone(), sampling)?;
        let mask = Tensor::<3, Bool>::full(dims, true, &device);
        let actions = Actions { ids: frames.clone(), mask };
        let terms = token_terms_chunked(&actions, time.max(1), |range| {
            Ok(ChunkLogits {
                policy: hidden.shaped(policy, range.clone(), sampling, &frames)?,
                reference: Some(other.tempered(reference, range, sampling)?),
            })
        })?;
        let rows = |x: &Tensor<2>| -> Vec<f64> {
            let values: Vec<f64> = x.clone().into_data().iter::<f64>().collect();
            values.chunks(time * slots).map(|row| row.iter().sum()).collect()
        };
        let entropy = rows(&terms.entropy).into_iter().map(|sum| sum / (time * slots).max(1) as f64);
        Ok((rows(&terms.kl), entropy.collect()))
    };
    let parts: Vec<&[usize]> = indices.chunks(P::clips_at_once().min(CLIPS)).collect();
    let (mut sequence_kl, mut entropy) = (Vec::new(), Vec::new());
    for part in map_parts::<P, _, _>(&parts, |part| of(part)) {
        let (kl, nats) = part?;
        sequence_kl.extend(kl);
        entropy.extend(nats);
    }
    Ok((sequence_kl, entropy))
}
