//! How much of a policy gradient is signal: which parameters a recipe can teach with batches of its size.
//!
//! Gradients of n batches, all at the stage's start, are g_i = G + e_i with independent noise e_i. The mean of g_i . g_j
//! over pairs estimates |G|^2 without bias, the mean of |g_i|^2 is |G|^2 plus the noise's power. Their ratio is the share
//! of a batch's squared gradient that is signal (the inverse of the noise scale of McCandlish et al., "An empirical model
//! of large-batch training", arXiv 1812.06162, for this batch). Groups of parameters are measured apart.

use std::{collections::BTreeMap, fmt, ops::Range};

use musicrl_core::params::{Entry, ParamTable};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, align::stage::Stage};

/// One group of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientRow {
    /// The beginning of its parameters' names.
    pub group: String,
    /// How many numbers.
    pub parameters: usize,
    /// Estimate of the squared length of the true gradient; below 0 where noise hides it.
    pub signal: f64,
    /// Its standard error.
    pub signal_error: f64,
    /// Mean squared length of a batch's gradient.
    pub power: f64,
}

impl GradientRow {
    /// The share of a batch's squared gradient that is signal; 0 where there is no gradient.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.power > 0.0 { self.signal / self.power } else { 0.0 }
    }
}

/// Signal and noise of a stage's gradient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientReport {
    /// Batches.
    pub batches: usize,
    /// Clips a batch.
    pub clips: usize,
    /// Mean reward of all clips that could be scored.
    pub reward: f64,
    /// All parameters first, then the groups by share.
    pub rows: Vec<GradientRow>,
}

impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} batches of {} clips, mean reward {:.4}", self.batches, self.clips, self.reward)?;
        writeln!(f, "{:<32}{:>11}{:>14}{:>14}   signal's share of it", "group", "parameters", "signal", "a batch's")?;
        for row in &self.rows {
            let error = if row.power > 0.0 { row.signal_error / row.power } else { 0.0 };
            writeln!(
                f,
                "{:<32}{:>11}{:>14.6}{:>14.6}   {:.4} +- {error:.4}",
                row.group,
                row.parameters,
                row.signal,
                row.power,
                row.share()
            )?;
        }
        Ok(())
    }
}

/// Sums over batches for one group: all that the estimates need, without keeping the gradients.
#[derive(Debug, Default)]
struct Sums {
    ranges: Vec<Range<usize>>,
    /// g_i . (g_1 + ... + g_{i-1}) for each i from 2 on: expectation (i - 1) |G|^2, uncorrelated noise.
    products: Vec<f64>,
    power: f64,
}

impl Sums {
    fn add(&mut self, gradient: &[f32], before: &[f64]) {
        let pairs = || self.ranges.iter().flat_map(|range| gradient[range.clone()].iter().zip(&before[range.clone()]));
        let product = pairs().map(|(g, sum)| f64::from(*g) * sum).sum();
        let power: f64 = pairs().map(|(g, _)| f64::from(*g) * f64::from(*g)).sum();
        self.products.push(product);
        self.power += power;
    }

    fn row(&self, group: &str) -> GradientRow {
        let batches = self.products.len();
        let pairs = (batches * batches.saturating_sub(1) / 2).max(1) as f64;
        let signal = self.products.iter().sum::<f64>() / pairs;
        let rest = self.products.iter().enumerate().map(|(before, product)| product - before as f64 * signal);
        GradientRow {
            group: group.into(),
            parameters: self.ranges.iter().map(Range::len).sum(),
            signal,
            signal_error: rest.map(|rest| rest * rest).sum::<f64>().sqrt() / pairs,
            power: self.power / batches.max(1) as f64,
        }
    }
}

/// The group of a parameter: its name up to the first number, and for blocks the layer's part behind it.
fn group(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let Some(number) = parts.iter().position(|part| part.parse::<usize>().is_ok()) else {
        return parts[..parts.len().min(2)].join(".");
    };
    let part = parts.get(number + 1).filter(|part| !matches!(**part, "weight" | "bias"));
    let mut group = parts[..number].join(".");
    if let Some(part) = part {
        group += ".*.";
        group += part;
    }
    group
}

/// Plays and judges the batches of the first `batches` steps with the policy as the stage begins, and compares their
/// gradients, of the reward alone; a linear baseline learns from as many batches before. `progress` is told the batches done and their number.
///
/// # Errors
/// [`Error::Config`] for fewer than two batches; when a model or a judge fails; whatever `progress` says.
pub fn evaluate_gradient(
    stage: &mut Stage<'_>,
    batches: usize,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<GradientReport> {
    if batches < 2 {
        return Err(Error::config("batches", "at least 2", batches));
    }
    let table = ParamTable::collect(&stage.policy());
    let mut sums = BTreeMap::<String, Sums>::new();
    let mut all = Sums { ranges: table.entries().iter().map(Entry::range).collect(), ..Sums::default() };
    for entry in table.entries() {
        sums.entry(group(&entry.name)).or_default().ranges.push(entry.range());
    }
    let mut before = vec![0.0_f64; table.values().len()];
    let (mut rewards, mut clips) = (Vec::new(), 0);
    // A linear baseline has learned before its gradients are compared: from as many other batches.
    for batch in 0..batches {
        stage.learn_baseline((batches + batch) as u64)?;
    }
    for batch in 0..batches {
        progress(batch, batches)?;
        let (gradient, totals) = stage.reward_gradient(batch as u64)?;
        clips = totals.len();
        rewards.extend(totals.into_iter().flatten());
        sums.values_mut().chain([&mut all]).for_each(|sums| sums.add(&gradient, &before));
        before.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += f64::from(*g));
    }
    progress(batches, batches)?;
    let mut rows: Vec<GradientRow> = sums.iter().map(|(group, sums)| sums.row(group)).collect();
    rows.sort_by(|a, b| b.share().total_cmp(&a.share()).then(a.group.cmp(&b.group)));
    rows.insert(0, all.row("all"));
    let reward = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
    Ok(GradientReport { batches, clips, reward, rows })
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    #[test]
    fn parameters_are_grouped_by_what_they_do() {
        for (name, expected) in [
            ("trunk.start_embedding", "trunk.start_embedding"),
            ("trunk.condition_projection.weight", "trunk.condition_projection"),
            ("trunk.global.blocks.3.attention.query.weight", "trunk.global.blocks.*.attention"),
            ("trunk.global.norm.gain", "trunk.global"),
            ("heads.2.weight", "heads"),
        ] {
            assert_eq!(group(name), expected, "{name}");
        }
    }

    #[test]
    fn signal_is_found_in_noise_and_none_where_there_is_none() {
        let mut random = Key::new(3, Purpose::Test).stream();
        let mut sums = [0..50, 50..90].map(|range| Sums { ranges: Vec::from([range]), ..Sums::default() });
        let mut before = vec![0.0; 90];
        for _ in 0..400 {
            // The first 50 have a true gradient of 0.1 each, |G|^2 = 0.5, in noise of power 50.
            let g: Vec<f32> = (0..90).map(|at| random.normal() as f32 + if at < 50 { 0.1 } else { 0.0 }).collect();
            sums.iter_mut().for_each(|sums| sums.add(&g, &before));
            before.iter_mut().zip(&g).for_each(|(sum, g)| *sum += f64::from(*g));
        }
        let [signal, noise] = sums.map(|sums| sums.row("x"));
        assert!((signal.signal - 0.5).abs() < 3.0 * signal.signal_error, "{signal:?}");
        assert!(signal.signal > 8.0 * signal.signal_error, "{signal:?}");
        assert!(noise.signal.abs() < 3.0 * noise.signal_error, "{noise:?}");
        assert!((signal.power - 50.5).abs() < 1.5 && (noise.power - 40.0).abs() < 1.5);
        assert_eq!((signal.parameters, noise.parameters), (50, 40));
    }
}
