//! Best of n: what judges can bring without any learning, as a control. Each caption is played n times and the clip that
//! the judges score highest is kept.

use musicrl_core::{
    policy::{ConditionPrompt, Prompt as _},
    reward::SumReport,
};

use super::{
    family::{Player, PromptOf},
    judges::{Asked, Judges},
    play::{PlaySettings, Played, play_clips},
};
use crate::{Error, Result};

/// An upper bound of the sequence KL of best-of-n to the policy that it plays, in nats: log n - (n - 1) / n (Beirami et
/// al., "Theoretical guarantees on the best-of-n alignment policy", 2024). 0 for n = 0 and n = 1.
#[must_use]
pub fn best_of_kl(n: usize) -> f64 {
    if n < 2 { 0.0 } else { (n as f64).ln() - (n as f64 - 1.0) / n as f64 }
}

/// The best clips, and how they were chosen.
#[derive(Debug)]
pub struct BestOf<Q = ConditionPrompt> {
    /// One clip a caption.
    pub played: Played<Q>,
    /// Which of its n candidates each clip is, from 0.
    pub chosen: Vec<usize>,
    /// What the judges said about the clips that were kept.
    pub verdicts: SumReport,
}

/// Plays `n` clips for each caption and keeps the best. Candidate `j` of caption `i` draws the random numbers of
/// (seed, `step`, `first_clip + i n + j`). A clip without a score loses against any other; of equals the first stays.
///
/// # Errors
/// [`Error::Config`] for n = 0; when a model or a judge fails.
pub fn play_best_of<M: Player>(
    policy: &M::Policy,
    music: &M,
    judges: &Judges,
    captions: &[&str],
    settings: &PlaySettings,
    (step, first_clip): (u64, u64),
    n: usize,
) -> Result<BestOf<PromptOf<M>>> {
    let numbers: Vec<u64> = (0..(captions.len() * n) as u64).map(|clip| first_clip.wrapping_add(clip)).collect();
    play_best_of_clips(policy, music, judges, captions, settings, (step, &numbers), n)
}

/// As [`play_best_of`], with a number for each candidate: candidate `j` of caption `i` draws the random numbers of
/// (seed, `step`, `numbers[i n + j]`).
///
/// # Errors
/// As [`play_best_of`]; other numbers of candidates than n a caption.
pub fn play_best_of_clips<M: Player>(
    policy: &M::Policy,
    music: &M,
    judges: &Judges,
    captions: &[&str],
    settings: &PlaySettings,
    (step, numbers): (u64, &[u64]),
    n: usize,
) -> Result<BestOf<PromptOf<M>>> {
    if n == 0 {
        return Err(Error::config("best_of", "at least 1", 0));
    }
    let wanted: Vec<&str> = captions.iter().flat_map(|caption| std::iter::repeat_n(*caption, n)).collect();
    let played = play_clips(policy, music, &wanted, settings, (step, numbers), true)?;
    let verdicts = played.judge(judges, Asked::All, &wanted, music)?;
    let totals: Vec<f64> = verdicts.total.iter().map(|score| score.value().unwrap_or(f64::NEG_INFINITY)).collect();
    let chosen: Vec<usize> = totals.chunks(n).map(first_highest).collect();
    let kept: Vec<usize> = chosen.iter().enumerate().map(|(caption, candidate)| caption * n + candidate).collect();
    let mut report = verdicts;
    report.total = pick(&report.total, &kept);
    for part in &mut report.parts {
        part.raw = pick(&part.raw, &kept);
        part.scaled = pick(&part.scaled, &kept);
    }
    let played = Played {
        prompt: played.prompt.select(&kept)?,
        tokens: pick(&played.tokens, &kept),
        log_probabilities: pick(&played.log_probabilities, &kept),
        audio: pick(&played.audio, &kept),
    };
    Ok(BestOf { played, chosen, verdicts: report })
}

/// Place of the highest value, the first of equals; 0 of none.
fn first_highest(values: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

fn pick<T: Clone>(all: &[T], kept: &[usize]) -> Vec<T> {
    kept.iter().filter_map(|at| all.get(*at).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_highest_is_kept() {
        assert_eq!(first_highest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(first_highest(&[f64::NEG_INFINITY, -1e9]), 1);
        assert_eq!(first_highest(&[f64::NEG_INFINITY; 3]), 0);
        assert_eq!(first_highest(&[]), 0);
    }

    #[test]
    fn the_bound_of_its_divergence() {
        assert_eq!((best_of_kl(0), best_of_kl(1)), (0.0, 0.0));
        assert!((best_of_kl(2) - (std::f64::consts::LN_2 - 0.5)).abs() < 1e-12);
        assert!((best_of_kl(16) - 1.835_088_722_239_781).abs() < 1e-12);
    }
}
