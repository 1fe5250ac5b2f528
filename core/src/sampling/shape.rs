//! One row of logits as the distribution that is sampled: [`Shaped`].

use alloc::{format, vec::Vec};

use super::SamplingConfig;
use crate::{Error, Result, policy::PADDED};

/// The distribution over one slot's entries. Keeps its memory from row to row.
#[derive(Debug, Clone, Default)]
pub struct Shaped {
    /// Tempered logits of all entries.
    tempered: Vec<f64>,
    /// Whether each entry stays.
    kept: Vec<bool>,
    /// Probability of each entry, summing to 1; 0 where it does not stay.
    probabilities: Vec<f64>,
    order: Vec<usize>,
    /// Logarithm of the sum of `exp` of the tempered logits that stay.
    log_sum: f64,
}

impl Shaped {
    /// Shapes a row of logits, with the row without a condition for guidance.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN, plus infinity, or a row without any finite logit; [`Error::Shape`] when the rows
    /// differ in length, or guidance lacks its row.
    pub fn shape(&mut self, config: &SamplingConfig, logits: &[f32], null: Option<&[f32]>) -> Result<()> {
        self.temper(config, logits, null)?;
        self.kept.clear();
        self.kept.resize(logits.len(), true);
        self.normalise();
        if let Some(k) = config.top_k {
            self.keep_top_k(k);
        }
        if let Some(p) = config.top_p {
            self.keep_top_p(p);
        }
        Ok(())
    }

    /// Probability of each entry.
    #[must_use]
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// Which entries stay.
    #[must_use]
    pub fn kept(&self) -> &[bool] {
        &self.kept
    }

    /// Log-probability of an entry; minus infinity where it does not stay or does not exist.
    #[must_use]
    pub fn log_probability(&self, id: usize) -> f64 {
        match (self.kept.get(id), self.tempered.get(id)) {
            (Some(true), Some(tempered)) => tempered - self.log_sum,
            _ => f64::NEG_INFINITY,
        }
    }

    /// Entropy in nats.
    #[must_use]
    pub fn entropy(&self) -> f64 {
        let positive = self.probabilities.iter().zip(&self.tempered).filter(|(probability, _)| **probability > 0.0);
        positive.map(|(probability, tempered)| probability * (self.log_sum - tempered)).sum()
    }

    /// The entry at which the distribution function passes `uniform`, in [0, 1): never one of probability 0.
    #[must_use]
    pub fn draw(&self, uniform: f64) -> usize {
        let mut sum = 0.0;
        let mut last = 0;
        for (id, probability) in self.probabilities.iter().enumerate() {
            if *probability > 0.0 {
                sum += probability;
                last = id;
                if uniform < sum {
                    return id;
                }
            }
        }
        // Rounding may leave the sum a little below 1.
        last
    }

    fn temper(&mut self, config: &SamplingConfig, logits: &[f32], null: Option<&[f32]>) -> Result<()> {
        let null = match (config.is_guided(), null) {
            (false, _) => None,
            (true, Some(null)) if null.len() == logits.len() => Some(null),
            (true, other) => {
                return Err(Error::Shape {
                    what: "logits without a condition",
                    expected: format!("[{}]", logits.len()),
                    got: other.map_or("none".into(), |null| format!("[{}]", null.len())),
                });
            }
        };
        self.tempered.clear();
        for (id, logit) in logits.iter().enumerate() {
            let guided = match null {
                None => f64::from(*logit),
                Some(null) => {
                    // Masked entries may be minus infinity: the difference of two would be NaN.
                    let (with, without) = (f64::from(logit.max(PADDED)), f64::from(null[id].max(PADDED)));
                    if logit.is_nan() || null[id].is_nan() {
                        f64::NAN
                    } else {
                        without + (with - without) * config.guidance
                    }
                }
            };
            if guided.is_nan() || guided == f64::INFINITY {
                return Err(Error::NonFinite { what: "a logit", at: format!("entry {id}") });
            }
            self.tempered.push(guided / config.temperature);
        }
        if self.tempered.iter().any(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(Error::NonFinite { what: "every logit", at: format!("a row of {}", logits.len()) })
        }
    }

    /// Softmax over what stays.
    fn normalise(&mut self) {
        let kept = || self.tempered.iter().zip(&self.kept);
        let largest = kept().filter(|(_, kept)| **kept).fold(f64::NEG_INFINITY, |most, (value, _)| most.max(*value));
        self.probabilities.clear();
        self.probabilities.extend(kept().map(|(value, kept)| if *kept { libm::exp(value - largest) } else { 0.0 }));
        let sum: f64 = self.probabilities.iter().sum();
        self.probabilities.iter_mut().for_each(|probability| *probability /= sum);
        self.log_sum = largest + libm::log(sum);
    }

    /// Entries from the largest down; equal ones by index.
    fn sort(&mut self) {
        self.order.clear();
        self.order.extend(0..self.tempered.len());
        let tempered = &self.tempered;
        self.order.sort_unstable_by(|a, b| tempered[*b].total_cmp(&tempered[*a]).then(a.cmp(b)));
    }

    fn keep_top_k(&mut self, k: usize) {
        if k >= self.tempered.len() {
            return;
        }
        self.sort();
        let threshold = self.tempered[self.order[k.saturating_sub(1)]];
        self.keep_from(threshold);
    }

    fn keep_top_p(&mut self, p: f64) {
        self.sort();
        let mut sum = 0.0;
        let mut threshold = f64::NEG_INFINITY;
        for id in &self.order {
            sum += self.probabilities[*id];
            if sum >= p {
                threshold = self.tempered[*id];
                break;
            }
        }
        self.keep_from(threshold);
    }

    fn keep_from(&mut self, threshold: f64) {
        for (kept, value) in self.kept.iter_mut().zip(&self.tempered) {
            *kept = *kept && *value >= threshold;
        }
        self.normalise();
    }
}
