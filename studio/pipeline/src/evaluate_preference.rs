//! How well scores foretell what listeners said: accuracy, log-loss, calibration, with intervals over captions.
//!
//! [`measure`] takes differences of any scores, so that other judges ("the higher text adherence wins") are measured in
//! the same way; [`evaluate`] asks a preference ensemble; [`evaluate_set`] takes a bundle and a preference set.

use burn::tensor::Device;
use musicrl_core::{
    preference::{Judgement, Outcome, agreement, reference},
    random::{Key, Purpose},
    reward::Windows,
    stats::{BootstrapConfig, Interval, brier, calibration_error, cluster_bootstrap, mean},
};
use musicrl_feedback::PreferenceSet;
use serde::Serialize;

use crate::{
    Error, Result,
    bundle::Bundle,
    preference::{DataConfig, Pair, PreferenceData, PreferenceEnsemble, Reads, clips::Excerpt},
    training::Metrics,
};

/// Bins of the calibration error.
const BINS: usize = 10;

/// What was measured on some pairs. All judgements weigh the same here, whatever their confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreferenceReport {
    /// Pairs that were measured.
    pub pairs: usize,
    /// Those of which one clip was preferred.
    pub decided: usize,
    /// Clusters of captions; the intervals draw them whole.
    pub clusters: usize,
    /// Share of decided pairs whose preferred clip has the higher score; equal scores count one half. Absent where
    /// nothing was decided.
    pub accuracy: Option<Interval>,
    /// Mean of - log P(what was said), in nats (Davidson's model at the tie strength given).
    pub log_loss: Interval,
    /// The log-loss of one who knows the share of ties alone.
    pub chance_log_loss: f64,
    /// Brier score of P(a preferred), of decided pairs.
    pub brier: Option<f64>,
    /// Expected calibration error of P(a preferred), of decided pairs, in ten bins.
    pub calibration_error: Option<Interval>,
    /// Mean over pairs of the deviation over members of the difference; 0 of a single model.
    pub spread: f64,
    /// Davidson's nu that the log-loss was taken at.
    pub tie_strength: f64,
}

impl PreferenceReport {
    /// The figures by name: `accuracy`, `log_loss` and `calibration_error`, each with `_low` and `_high`,
    /// `chance_log_loss`, `brier`, `spread`, `tie_strength`, `pairs`, `decided`.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let intervals = [
            ("accuracy", self.accuracy),
            ("log_loss", Some(self.log_loss)),
            ("calibration_error", self.calibration_error),
        ];
        for (name, interval) in intervals {
            if let Some(interval) = interval {
                metrics.push(name, interval.estimate);
                metrics.push(format!("{name}_low"), interval.low);
                metrics.push(format!("{name}_high"), interval.high);
            }
        }
        metrics.push("chance_log_loss", self.chance_log_loss);
        if let Some(brier) = self.brier {
            metrics.push("brier", brier);
        }
        metrics.push("spread", self.spread);
        metrics.push("tie_strength", self.tie_strength);
        metrics.push("pairs", self.pairs as f64);
        metrics.push("decided", self.decided as f64);
        metrics
    }
}

/// Measures differences of scores (a minus b), one a pair, with the spread of each where there are several models.
///
/// # Errors
/// [`Error::Core`] for no pairs, other numbers of differences than pairs, a difference that is not
/// finite, or a bad tie strength.
pub fn measure(
    pairs: &[Pair],
    differences: &[f64],
    spread: &[f64],
    tie_strength: f64,
    bootstrap: &BootstrapConfig,
    seed: u64,
) -> Result<PreferenceReport> {
    measure_pooled(pairs, differences, spread, &vec![tie_strength; pairs.len()], bootstrap, seed)
}

/// As [`measure`], of pairs that several models were asked about, each with the tie strength of its model; reported is
/// their mean.
///
/// # Errors
/// As [`measure`].
pub fn measure_pooled(
    pairs: &[Pair],
    differences: &[f64],
    spread: &[f64],
    tie_strengths: &[f64],
    bootstrap: &BootstrapConfig,
    seed: u64,
) -> Result<PreferenceReport> {
    for (what, count) in
        [("differences, one a pair", differences.len()), ("tie strengths, one a pair", tie_strengths.len())]
    {
        if count != pairs.len() {
            let (expected, got) = (format!("[{}]", pairs.len()), format!("[{count}]"));
            return Err(musicrl_core::Error::Shape { what, expected, got }.into());
        }
    }
    let same = tie_strengths.windows(2).all(|two| two[0] == two[1]);
    // The mean of equal numbers may differ from them in the last bit.
    let tie_strength = tie_strengths.first().copied().filter(|_| same).unwrap_or_else(|| mean(tie_strengths));
    let key = |step| Key::new(seed, Purpose::Bootstrap).step(step);
    let clusters: Vec<usize> = pairs.iter().map(|pair| pair.cluster).collect();
    let plain = |outcome: Outcome| Judgement::from(outcome);
    let losses = pairs
        .iter()
        .zip(differences)
        .zip(tie_strengths)
        .map(|((pair, d), nu)| reference::bradley_terry_loss(&[*d], &[0.0], &[plain(pair.judgement.outcome)], *nu))
        .collect::<musicrl_core::Result<Vec<f64>>>()?;
    let log_loss = cluster_bootstrap(&losses, &clusters, bootstrap, key(0), mean)?;

    // Of decided pairs: right or wrong, P(a), whether it was a.
    let decided: Vec<(f64, f64, bool, usize)> = pairs
        .iter()
        .zip(differences)
        .filter_map(|(pair, d)| {
            let right = agreement(&[*d], &[0.0], &[pair.judgement.outcome])?;
            let p = reference::log_outcomes(*d, 0.0)[0].exp();
            Some((right, p, pair.judgement.outcome == Outcome::BetterA, pair.cluster))
        })
        .collect();
    let clusters_decided: Vec<usize> = decided.iter().map(|(.., cluster)| *cluster).collect();
    let right: Vec<f64> = decided.iter().map(|(right, ..)| *right).collect();
    let (predicted, happened): (Vec<f64>, Vec<bool>) = decided.iter().map(|(_, p, a, _)| (*p, *a)).unzip();
    let (mut accuracy, mut calibration, mut brier_score) = (None, None, None);
    if !decided.is_empty() {
        accuracy = Some(cluster_bootstrap(&right, &clusters_decided, bootstrap, key(1), mean)?);
        brier_score = Some(brier(&predicted, &happened)?);
        // The bootstrap draws numbers of pairs; what they stand for is looked up.
        let places: Vec<f64> = (0..decided.len()).map(|place| place as f64).collect();
        let of_drawn = |drawn: &[f64]| {
            let (p, a): (Vec<f64>, Vec<bool>) =
                drawn.iter().map(|place| (predicted[*place as usize], happened[*place as usize])).unzip();
            calibration_error(&p, &a, BINS).unwrap_or(0.0)
        };
        calibration = Some(cluster_bootstrap(&places, &clusters_decided, bootstrap, key(2), of_drawn)?);
    }
    let ties = (pairs.len() - decided.len()) as f64 / pairs.len() as f64;
    let mut groups = clusters;
    groups.sort_unstable();
    groups.dedup();
    Ok(PreferenceReport {
        pairs: pairs.len(),
        decided: decided.len(),
        clusters: groups.len(),
        accuracy,
        log_loss,
        chance_log_loss: chance(ties, tie_strength),
        brier: brier_score,
        calibration_error: calibration,
        spread: mean(spread),
        tie_strength,
    })
}

/// The entropy of outcomes of which the share `ties` is known, and of the rest nothing.
fn chance(ties: f64, tie_strength: f64) -> f64 {
    if tie_strength == 0.0 {
        // A model without ties takes one for half a win each.
        return std::f64::consts::LN_2;
    }
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(ties) + 2.0 * term((1.0 - ties) / 2.0)
}

/// Measures an ensemble on pairs of `data`, given by index. A clip's score is the mean over `windows` of it, as
/// [`Windowed`](musicrl_core::reward::Windowed) rewards have it.
///
/// # Errors
/// When a clip is too short for a window, and as [`measure`].
pub fn evaluate(
    ensemble: &PreferenceEnsemble,
    data: &PreferenceData,
    pairs: &[usize],
    windows: Windows,
    bootstrap: &BootstrapConfig,
    seed: u64,
) -> Result<PreferenceReport> {
    windows.validate()?;
    if ensemble.scale().is_some() && windows != Windows::Whole {
        let expected = "whole clips for a model that is given descriptors of the sound, which are of whole clips";
        return Err(Error::config("windows", expected, format!("{windows:?}")));
    }
    let pairs: Vec<Pair> = pairs.iter().map(|pair| data.pairs()[*pair]).collect();
    let mut excerpts = Vec::new();
    let mut counts = vec![0; data.clips().len()];
    let used: std::collections::BTreeSet<usize> = pairs.iter().flat_map(|pair| [pair.a, pair.b]).collect();
    for clip in &used {
        let ranges = windows.ranges(data.clips()[*clip].tokens.frames);
        if ranges.iter().any(std::ops::Range::is_empty) {
            let (expected, got) = ("clips long enough for every window".into(), format!("clip {clip}"));
            return Err(musicrl_core::Error::Shape { what: "windows", expected, got }.into());
        }
        counts[*clip] = ranges.len();
        excerpts.extend(ranges.into_iter().map(|frames| Excerpt { clip: &data.clips()[*clip], frames }));
    }
    let scores = ensemble.scores(&excerpts)?;
    let by_member: Vec<Vec<f64>> = scores
        .by_member
        .iter()
        .map(|scores| {
            let mut scores = scores.iter();
            let of = |count: &usize| scores.by_ref().take(*count).sum::<f64>() / (*count).max(1) as f64;
            counts.iter().map(of).collect()
        })
        .collect();
    let (differences, spread) = differences(&pairs, &by_member);
    measure(&pairs, &differences, &spread, ensemble.tie_strength(), bootstrap, seed)
}

/// For each pair the difference of its clips' scores, mean and deviation over members.
///
/// # Shapes
/// - by_member: `[members][clips]`
#[must_use]
pub fn differences(pairs: &[Pair], by_member: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let members = by_member.len().max(1) as f64;
    pairs
        .iter()
        .map(|pair| {
            let each = || by_member.iter().map(|scores| scores[pair.a] - scores[pair.b]);
            let centre = each().sum::<f64>() / members;
            (centre, (each().map(|d| (d - centre).powi(2)).sum::<f64>() / members).sqrt())
        })
        .unzip()
}

/// Measures the part `preference` of a bundle on every pair of a set that `config` takes.
///
/// # Errors
/// As [`PreferenceData::of_set`] and [`evaluate`].
#[allow(clippy::too_many_arguments, reason = "what to measure, on what, how, and where")]
pub fn evaluate_set(
    bundle: &Bundle,
    set: &PreferenceSet,
    config: &DataConfig,
    windows: Windows,
    bootstrap: &BootstrapConfig,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<PreferenceReport> {
    let ensemble = PreferenceEnsemble::load(bundle, device)?;
    let reads = Reads { text: ensemble.text(), sound: ensemble.scale().is_some() };
    let data = PreferenceData::of_set(set, config, reads, bundle, device, progress)?;
    let all: Vec<usize> = (0..data.pairs().len()).collect();
    evaluate(&ensemble, &data, &all, windows, bootstrap, seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::preference::fixture;

    fn pair(outcome: Outcome, cluster: usize) -> Pair {
        Pair { a: 0, b: 1, judgement: outcome.into(), cluster }
    }

    fn quick() -> BootstrapConfig {
        BootstrapConfig { resamples: 50, confidence: 0.9 }
    }

    #[test]
    fn worked_by_hand() {
        let pairs = [
            pair(Outcome::BetterA, 0),
            pair(Outcome::BetterB, 0),
            pair(Outcome::BetterA, 1),
            pair(Outcome::BothBad, 1),
        ];
        let differences = [2.0, 1.0, 0.0, 5.0];
        let report = measure(&pairs, &differences, &[0.5, 0.0, 0.0, 0.5], 0.0, &quick(), 1).unwrap();
        assert_eq!((report.pairs, report.decided, report.clusters), (4, 3, 2));
        assert_eq!(report.accuracy.unwrap().estimate, 0.5);
        let sigmoid = |d: f64| 1.0 / (1.0 + (-d).exp());
        let tie = 0.5 * (sigmoid(5.0).ln() + sigmoid(-5.0).ln());
        let loss = -(sigmoid(2.0).ln() + sigmoid(-1.0).ln() + 0.5_f64.ln() + tie) / 4.0;
        assert!((report.log_loss.estimate - loss).abs() < 1e-12);
        let gaps = ((1.0 - sigmoid(2.0)) + sigmoid(1.0) + 0.5) / 3.0;
        assert!((report.calibration_error.unwrap().estimate - gaps).abs() < 1e-12);
        assert_eq!((report.chance_log_loss, report.spread), (std::f64::consts::LN_2, 0.25));
        assert_eq!(report.metrics().get("accuracy"), Some(0.5));
        // With ties: a quarter of them, and the rest a coin.
        let report = measure(&pairs, &differences, &[], 0.7, &quick(), 1).unwrap();
        assert!((report.chance_log_loss - (0.25 * 4.0_f64.ln() + 0.75 * (8.0_f64 / 3.0).ln())).abs() < 1e-12);
    }

    #[test]
    fn nothing_decided_and_bad_input() {
        let ties = [pair(Outcome::Tie, 0), pair(Outcome::Tie, 1)];
        let report = measure(&ties, &[0.0, 0.0], &[], 1.0, &quick(), 1).unwrap();
        assert!(report.accuracy.is_none() && report.metrics().get("accuracy").is_none());
        assert!(measure(&ties, &[0.0], &[], 1.0, &quick(), 1).is_err());
        assert!(measure(&[], &[], &[], 1.0, &quick(), 1).is_err());
        assert!(measure(&ties, &[f64::NAN, 0.0], &[], 1.0, &quick(), 1).is_err());
        assert!(measure(&ties, &[0.0, 0.0], &[], -1.0, &quick(), 1).is_err());
    }

    #[test]
    fn windows_are_averaged() {
        let (ensemble, data) = (fixture::ensemble(2), fixture::data(10, 3));
        let all: Vec<usize> = (0..data.pairs().len()).collect();
        let run = |windows| evaluate(&ensemble, &data, &all, windows, &quick(), 1);
        let whole = run(Windows::Whole).unwrap();
        assert_eq!(whole, run(Windows::Ends { fraction: 1.0 }).unwrap());
        assert_ne!(whole, run(Windows::Ends { fraction: 0.5 }).unwrap());
        assert!(whole.spread > 0.0);
        assert!(run(Windows::Segments { count: 500 }).unwrap_err().to_string().contains("window"));
    }
}
