//! Bootstrap intervals for values that come in clusters.

use alloc::{collections::BTreeMap, format, string::ToString, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{check_finite, check_lengths, undefined};
use crate::{Error, Result, random::Key};

/// How often is resampled, and how wide the interval is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Number of resamples, at least 2.
    pub resamples: usize,
    /// Share of the resamples that the interval covers, inside (0, 1).
    pub confidence: f64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { resamples: 2_000, confidence: 0.95 }
    }
}

impl BootstrapConfig {
    /// Checks both fields.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.resamples < 2 {
            let expected = "at least 2".to_string();
            return Err(Error::Config { field: "resamples", expected, got: format!("{}", self.resamples) });
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            let expected = "above 0 and below 1".to_string();
            return Err(Error::Config { field: "confidence", expected, got: format!("{}", self.confidence) });
        }
        Ok(())
    }
}

/// An estimate with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The statistic of the data as they are.
    pub estimate: f64,
    /// Lower end of the percentile interval.
    pub low: f64,
    /// Upper end of the percentile interval.
    pub high: f64,
    /// Standard deviation of the statistic over the resamples.
    pub standard_error: f64,
}

/// Percentile bootstrap that draws whole clusters (Davison and Hinkley, "Bootstrap Methods", 1997, section 3.8): clips
/// of one prompt are alike, so prompts are what is resampled.
///
/// As many clusters as there are, are drawn with replacement, their values pooled, and `statistic` taken of the pool.
/// Resample `i` uses clip `i` of `key`: the result is the same for the same key, and for any order of the work.
/// `clusters[i]` names the cluster of `values[i]`.
///
/// # Errors
/// [`Error::Config`] for bad settings; [`Error::Shape`]; [`Error::NonFinite`] for a value, or a statistic of a resample,
/// that is not finite; [`Error::Undefined`] of nothing.
pub fn cluster_bootstrap(
    values: &[f64],
    clusters: &[usize],
    config: &BootstrapConfig,
    key: Key,
    statistic: impl Fn(&[f64]) -> f64,
) -> Result<Interval> {
    check_lengths("clusters", values.len(), clusters.len())?;
    check_finite("value", values)?;
    let resamples = ClusterResamples::new(clusters, config, key)?;
    let mut replicates = Vec::with_capacity(config.resamples);
    let mut pool = Vec::with_capacity(values.len());
    for resample in 0..config.resamples {
        pool.clear();
        resamples.draw(resample, |at| pool.push(values[at]));
        replicates.push(statistic(&pool));
    }
    percentile_interval(statistic(values), replicates, config)
}

/// Resamples of whole clusters, for statistics of more than one number; [`cluster_bootstrap`] is made of it.
#[derive(Debug, Clone)]
pub struct ClusterResamples {
    groups: Vec<Vec<usize>>,
    key: Key,
}

impl ClusterResamples {
    /// Groups the positions of `clusters` by cluster.
    ///
    /// # Errors
    /// [`Error::Config`] for bad settings; [`Error::Undefined`] of nothing.
    pub fn new(clusters: &[usize], config: &BootstrapConfig, key: Key) -> Result<Self> {
        config.validate()?;
        let mut groups = BTreeMap::<usize, Vec<usize>>::new();
        for (at, cluster) in clusters.iter().enumerate() {
            groups.entry(*cluster).or_default().push(at);
        }
        if groups.is_empty() {
            return Err(undefined("bootstrap interval", "there are no values"));
        }
        Ok(Self { groups: groups.into_values().collect(), key })
    }

    /// Tells `take` every position of resample `resample`: as many clusters as there are, drawn with replacement.
    pub fn draw(&self, resample: usize, mut take: impl FnMut(usize)) {
        let mut stream = self.key.clip(resample as u64).stream();
        for _ in 0..self.groups.len() {
            stream.pick(&self.groups).into_iter().flatten().for_each(|at| take(*at));
        }
    }
}

/// The percentile interval of an estimate from its replicates, two or more.
///
/// # Errors
/// [`Error::NonFinite`]; [`Error::Undefined`] for fewer than two replicates; [`Error::Config`] for bad settings.
pub fn percentile_interval(estimate: f64, mut replicates: Vec<f64>, config: &BootstrapConfig) -> Result<Interval> {
    config.validate()?;
    if replicates.len() < 2 {
        return Err(undefined("bootstrap interval", "there are fewer than two resamples"));
    }
    check_finite("statistic", &[estimate])?;
    check_finite("statistic of a resample", &replicates)?;
    replicates.sort_by(f64::total_cmp);
    let tail = (1.0 - config.confidence) / 2.0;
    let centre = mean(&replicates);
    let squares: f64 = replicates.iter().map(|r| (r - centre) * (r - centre)).sum();
    Ok(Interval {
        estimate,
        low: quantile(&replicates, tail),
        high: quantile(&replicates, 1.0 - tail),
        standard_error: libm::sqrt(squares / (replicates.len() - 1) as f64),
    })
}

/// The arithmetic mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let low = place as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (place - low as f64) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn key(seed: u64) -> Key {
        Key::new(seed, Purpose::Bootstrap)
    }

    #[test]
    fn one_value_a_cluster_gives_the_standard_error_of_the_mean() -> Result<()> {
        let mut stream = Key::new(3, Purpose::Test).stream();
        let values: Vec<f64> = (0..200).map(|_| stream.normal()).collect();
        let clusters: Vec<usize> = (0..200).collect();
        let config = BootstrapConfig { resamples: 4_000, confidence: 0.95 };
        let interval = cluster_bootstrap(&values, &clusters, &config, key(1), mean)?;
        let centre = mean(&values);
        // The bootstrap's own variance has n, not n - 1, below it.
        let expected = (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / 200.0 / 200.0).sqrt();
        assert_eq!(interval.estimate, centre);
        assert!((interval.standard_error / expected - 1.0).abs() < 0.06, "{interval:?} {expected}");
        assert!(((interval.high - interval.low) / (2.0 * 1.96 * expected) - 1.0).abs() < 0.1, "{interval:?}");
        assert_eq!(interval, cluster_bootstrap(&values, &clusters, &config, key(1), mean)?);
        assert_ne!(interval, cluster_bootstrap(&values, &clusters, &config, key(2), mean)?);
        Ok(())
    }

    #[test]
    fn equal_values_inside_clusters_widen_the_interval() -> Result<()> {
        // Ten clusters of ten copies: as much is known as from ten values.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i / 10)).collect();
        let apart: Vec<usize> = (0..100).collect();
        let together: Vec<usize> = (0..100).map(|i| i / 10).collect();
        let config = BootstrapConfig::default();
        let narrow = cluster_bootstrap(&values, &apart, &config, key(1), mean)?;
        let wide = cluster_bootstrap(&values, &together, &config, key(1), mean)?;
        assert!((wide.standard_error / narrow.standard_error - 10.0_f64.sqrt()).abs() < 0.3, "{wide:?} {narrow:?}");
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() {
        let config = BootstrapConfig::default();
        let run =
            |values: &[f64], clusters: &[usize], config| cluster_bootstrap(values, clusters, &config, key(1), mean);
        assert!(matches!(run(&[], &[], config), Err(Error::Undefined { .. })));
        assert!(matches!(run(&[1.0], &[], config), Err(Error::Shape { .. })));
        assert!(matches!(run(&[f64::NAN], &[0], config), Err(Error::NonFinite { .. })));
        let few = BootstrapConfig { resamples: 1, ..config };
        assert!(matches!(run(&[1.0], &[0], few), Err(Error::Config { field: "resamples", .. })));
        let sure = BootstrapConfig { confidence: 1.0, ..config };
        assert!(matches!(run(&[1.0], &[0], sure), Err(Error::Config { field: "confidence", .. })));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    }
}
