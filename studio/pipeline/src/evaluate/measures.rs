//! Rewards as measures: automatic numbers beside the ratings, never in their place.

use std::collections::BTreeMap;

use musicrl_core::{
    preference::{Outcome, agreement},
    stats::{BootstrapConfig, Interval, cluster_bootstrap, mean},
};
use serde::{Deserialize, Serialize};

use super::{keys, ratings::PanelRatings};
use crate::Result;

/// One system by a measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureScore {
    /// The system.
    pub system: String,
    /// Mean over clips, with its interval over prompts; `None` when no clip could be scored.
    pub mean: Option<Interval>,
    /// Clips without a score.
    pub unscorable: usize,
}

/// Two systems by a measure, clip by clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasurePair {
    /// First system.
    pub a: String,
    /// Second system.
    pub b: String,
    /// Clips of the same prompt and take that both have a score for.
    pub clips: usize,
    /// Mean of a's score less b's, with its interval over prompts.
    pub difference: Option<Interval>,
    /// Share of those clips on which a's is higher; equal ones count one half.
    pub higher_share: Option<f64>,
}

/// How often the higher score is the higher rating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureAgreement {
    /// The panel, in words.
    pub panel: String,
    /// Share of the panel's decided comparisons whose winner has the higher score; equal scores count one half.
    pub agreement: Option<f64>,
    /// Decided comparisons of which both clips have a score.
    pub comparisons: usize,
}

/// One reward over all systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureReport {
    /// The reward's name, as recipes have it.
    pub name: String,
    /// Each system.
    pub systems: Vec<MeasureScore>,
    /// Each pair.
    pub pairs: Vec<MeasurePair>,
    /// Against each panel that rated these clips.
    pub agreement: Vec<MeasureAgreement>,
}

/// Scores `[system]` by (prompt, take); what could not be scored is `None`.
pub(super) type Scores = Vec<BTreeMap<(usize, usize), Option<f64>>>;

/// The report of one measure; `panels` are those that rated the clips that were scored, each with its label.
pub(super) fn measure_report(
    name: &str,
    systems: &[String],
    scores: &Scores,
    panels: &[(String, &PanelRatings)],
    config: &BootstrapConfig,
    seed: u64,
) -> Result<MeasureReport> {
    let interval = |values: &[(usize, f64)]| -> Result<Option<Interval>> {
        let (clusters, values): (Vec<usize>, Vec<f64>) = values.iter().copied().unzip();
        if values.is_empty() {
            return Ok(None);
        }
        Ok(Some(cluster_bootstrap(&values, &clusters, config, keys::bootstrap(seed), mean)?))
    };
    let mut report = MeasureReport { name: name.into(), systems: Vec::new(), pairs: Vec::new(), agreement: Vec::new() };
    for (system, scores) in systems.iter().zip(scores) {
        let values: Vec<(usize, f64)> =
            scores.iter().filter_map(|((prompt, _), score)| Some((*prompt, (*score)?))).collect();
        let unscorable = scores.len() - values.len();
        report.systems.push(MeasureScore { system: system.clone(), mean: interval(&values)?, unscorable });
    }
    for a in 0..systems.len() {
        for b in a + 1..systems.len() {
            let both = |(place, x): (&(usize, usize), &Option<f64>)| Some((place.0, (*x)? - (*scores[b].get(place)?)?));
            let differences: Vec<(usize, f64)> = scores[a].iter().filter_map(both).collect();
            let higher: Vec<f64> = differences
                .iter()
                .map(|(_, d)| {
                    if *d > 0.0 {
                        1.0
                    } else if *d < 0.0 {
                        0.0
                    } else {
                        0.5
                    }
                })
                .collect();
            report.pairs.push(MeasurePair {
                a: systems[a].clone(),
                b: systems[b].clone(),
                clips: differences.len(),
                difference: interval(&differences)?,
                higher_share: (!higher.is_empty()).then(|| mean(&higher)),
            });
        }
    }
    for (label, panel) in panels {
        report.agreement.push(with_panel(label, panel, scores)?);
    }
    Ok(report)
}

fn with_panel(label: &str, panel: &PanelRatings, scores: &Scores) -> Result<MeasureAgreement> {
    let (mut first, mut second, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for ((prompt, take, _), ratings) in panel.slots(scores.len())? {
        for (a, x) in &ratings {
            for (b, y) in ratings.range(a + 1..) {
                let score = |system: usize| scores[system].get(&(prompt, take)).copied().flatten();
                let (Some(of_a), Some(of_b)) = (score(*a), score(*b)) else { continue };
                let outcome = if x > y {
                    Outcome::BetterA
                } else if x < y {
                    Outcome::BetterB
                } else {
                    continue;
                };
                first.push(of_a);
                second.push(of_b);
                outcomes.push(outcome);
            }
        }
    }
    let agreement = agreement(&first, &second, &outcomes);
    Ok(MeasureAgreement { panel: label.into(), agreement, comparisons: outcomes.len() })
}

#[cfg(test)]
mod tests {
    use musicrl_feedback::Source;

    use super::{super::Rating, *};

    #[test]
    fn means_differences_and_agreement_by_hand() {
        let scores = |values: [Option<f64>; 4]| {
            values.into_iter().enumerate().map(|(prompt, score)| ((prompt, 0), score)).collect()
        };
        let scores: Scores =
            vec![scores([Some(1.0), Some(2.0), None, Some(4.0)]), scores([Some(0.0), Some(3.0), Some(1.0), Some(4.0)])];
        let rating = |system, prompt, rating| Rating { system, prompt, take: 0, rater: "r".into(), rating };
        // Prompt 0: a wins and scores higher. 1: a wins and scores lower. 2: no score. 3: a wins at equal scores.
        let ratings = (0..4).flat_map(|prompt| [rating(0, prompt, 4.0), rating(1, prompt, 3.0)]).collect::<Vec<_>>();
        let panel = PanelRatings { source: Source::Human, ratings };
        let config = BootstrapConfig { resamples: 50, confidence: 0.9 };
        let systems = ["a".to_string(), "b".to_string()];
        let made = measure_report("m", &systems, &scores, &[("one".into(), &panel)], &config, 1).unwrap();
        assert!((made.systems[0].mean.unwrap().estimate - 7.0 / 3.0).abs() < 1e-12);
        assert_eq!((made.systems[0].unscorable, made.systems[1].unscorable), (1, 0));
        let pair = &made.pairs[0];
        assert_eq!((pair.clips, pair.higher_share), (3, Some(0.5)));
        assert!(pair.difference.unwrap().estimate.abs() < 1e-12);
        assert_eq!((made.agreement[0].comparisons, made.agreement[0].agreement), (3, Some(0.5)));
        let silent: Scores = vec![BTreeMap::from([((0, 0), None)]); 2];
        let made = measure_report("m", &systems, &silent, &[], &config, 1).unwrap();
        assert!(made.systems[0].mean.is_none() && made.pairs[0].difference.is_none());
    }
}
