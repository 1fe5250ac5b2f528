//! From rewards to advantages. A matrix `[clips, actions]` is flat; `actions` is its row length.

use alloc::{vec, vec::Vec};

/// Puts each clip's reward at its last counted action: `[clips] -> [clips, actions]`.
#[must_use]
pub fn rewards_at_end(rewards: &[f64], mask: &[bool], actions: usize) -> Vec<f64> {
    let mut placed = vec![0.0; mask.len()];
    for (clip, (row, mask)) in placed.chunks_mut(actions.max(1)).zip(mask.chunks(actions.max(1))).enumerate() {
        if let (Some(last), Some(&reward)) = (mask.iter().rposition(|&counts| counts), rewards.get(clip)) {
            row[last] = reward;
        }
    }
    placed
}

/// G_t = r_t + G_{t+1} along each clip; masked rewards are 0.
#[must_use]
pub fn returns_to_go(rewards: &[f64], mask: &[bool], actions: usize) -> Vec<f64> {
    let mut returns = vec![0.0; rewards.len()];
    for (start, row) in returns.chunks_mut(actions.max(1)).enumerate().map(|(i, row)| (i * actions.max(1), row)) {
        let mut sum = 0.0;
        for t in (0..row.len()).rev() {
            sum += if mask[start + t] { rewards[start + t] } else { 0.0 };
            row[t] = sum;
        }
    }
    returns
}

/// A_t = G_t - V_t where the mask counts, else 0.
#[must_use]
pub fn value_advantages(returns: &[f64], values: &[f64], mask: &[bool]) -> Vec<f64> {
    returns.iter().zip(values).zip(mask).map(|((g, v), &counts)| if counts { g - v } else { 0.0 }).collect()
}

/// [`generalised_advantages`](super::super::generalised_advantages), as the double sum that defines it.
#[must_use]
pub fn generalised_advantages(returns: &[f64], values: &[f64], mask: &[bool], actions: usize, lambda: f64) -> Vec<f64> {
    let mut advantages = vec![0.0; returns.len()];
    for clip in (0..returns.len()).step_by(actions.max(1)) {
        let counted: Vec<usize> = (clip..clip + actions).filter(|at| mask[*at]).collect();
        let after = |of: &[f64], place: usize| counted.get(place + 1).map_or(0.0, |at| of[*at]);
        let delta = |place: usize| {
            let at = counted[place];
            returns[at] - after(returns, place) + after(values, place) - values[at]
        };
        for (place, at) in counted.iter().enumerate() {
            advantages[*at] = (place..counted.len()).map(|k| libm::pow(lambda, (k - place) as f64) * delta(k)).sum();
        }
    }
    advantages
}

/// A_i = G_i less the mean of the other counted clips of its group at the same action; 0 where there is no other.
#[must_use]
pub fn leave_one_out_advantages(returns: &[f64], mask: &[bool], actions: usize, group_clips: usize) -> Vec<f64> {
    let clips = returns.len().checked_div(actions).unwrap_or(0);
    let mut advantages = vec![0.0; returns.len()];
    for i in 0..clips {
        let group = i / group_clips.max(1) * group_clips.max(1);
        for t in (0..actions).filter(|&t| mask[i * actions + t]) {
            let others: Vec<f64> = (group..(group + group_clips).min(clips))
                .filter(|&j| j != i && mask[j * actions + t])
                .map(|j| returns[j * actions + t])
                .collect();
            if !others.is_empty() {
                advantages[i * actions + t] =
                    returns[i * actions + t] - others.iter().sum::<f64>() / others.len() as f64;
            }
        }
    }
    advantages
}

/// Counted values and their mean; `None` when nothing counts.
fn counted_mean(values: &[f64], mask: &[bool]) -> Option<(Vec<f64>, f64)> {
    let counted: Vec<f64> = values.iter().zip(mask).filter(|(_, counts)| **counts).map(|(v, _)| *v).collect();
    let mean = counted.iter().sum::<f64>() / counted.len() as f64;
    if counted.is_empty() { None } else { Some((counted, mean)) }
}

/// A = G less the mean of all counted returns; 0 where the mask does not count.
#[must_use]
pub fn batch_mean_advantages(returns: &[f64], mask: &[bool]) -> Vec<f64> {
    let mean = counted_mean(returns, mask).map_or(0.0, |(_, mean)| mean);
    value_advantages(returns, &vec![mean; returns.len()], mask)
}

/// (A - mean) / standard deviation over the counted entries (the population's, without Bessel's correction); all 0 when
/// the standard deviation is at most a millionth of the largest magnitude, which is rounding, not signal.
#[must_use]
pub fn whiten(advantages: &[f64], mask: &[bool]) -> Vec<f64> {
    let Some((counted, mean)) = counted_mean(advantages, mask) else { return vec![0.0; advantages.len()] };
    let variance = counted.iter().map(|a| (a - mean) * (a - mean)).sum::<f64>() / counted.len() as f64;
    let deviation = libm::sqrt(variance);
    let largest = counted.iter().fold(0.0_f64, |max, a| max.max(a.abs()));
    let scale = if deviation > 1e-6 * largest { 1.0 / deviation } else { 0.0 };
    advantages.iter().zip(mask).map(|(a, &counts)| if counts { (a - mean) * scale } else { 0.0 }).collect()
}
