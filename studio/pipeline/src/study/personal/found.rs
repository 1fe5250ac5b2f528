//! What a study of personal reward models found: of each listener, and of all together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::listeners::Judge;
use crate::{
    Result,
    study::{
        figures::{Figures, Held, Said},
        file::{Curve, CurvePoint},
    },
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Personal {
    /// The shared model, its corrections and models of a listener's own pairs; pooled over listeners.
    pub curves: Vec<Curve>,
    /// Each listener's figures at each number of pairs.
    pub listeners: Vec<OfListener>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One listener's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfListener {
    /// The listener.
    pub listener: String,
    /// The shared model as it is.
    pub shared: Figures,
    /// By number of pairs: the shared model corrected, and a head from these pairs alone; differences are to `shared`.
    pub sizes: Vec<OfSize>,
}

/// Figures at one number of pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfSize {
    /// Judgements that were learned from.
    pub pairs: usize,
    /// The shared model with a corrected head.
    pub corrected: Figures,
    /// A head on the policy's vectors from these judgements alone.
    pub alone: Figures,
}

/// What a listener's file holds: differences of scores on the listener's held-out pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) shared: Differences,
    /// Number of pairs, corrected, alone.
    pub(super) sizes: Vec<(usize, Differences, Differences)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Differences {
    pub(super) differences: Vec<f64>,
    pub(super) tie_strength: f64,
}

impl Differences {
    pub(super) fn said(&self) -> Said {
        let count = self.differences.len();
        Said {
            differences: self.differences.clone(),
            spread: vec![0.0; count],
            tie_strengths: Some(vec![self.tie_strength; count]),
        }
    }
}

pub(super) fn of_listener(judge: &Judge, stored: &Stored, held: &Held) -> Result<OfListener> {
    let shared = stored.shared.said();
    let size = |(pairs, corrected, alone): &(usize, Differences, Differences)| -> Result<OfSize> {
        Ok(OfSize {
            pairs: *pairs,
            corrected: held.figures(&corrected.said(), Some(&shared))?,
            alone: held.figures(&alone.said(), Some(&shared))?,
        })
    };
    Ok(OfListener {
        listener: judge.name.clone(),
        shared: held.figures(&shared, None)?,
        sizes: stored.sizes.iter().map(size).collect::<Result<_>>()?,
    })
}

/// Pooled over listeners: the same captions for all of them, drawn whole.
pub(super) fn curves(
    pooled: &BTreeMap<usize, [Vec<(Differences, Held)>; 3]>,
    listeners: &[OfListener],
    source: Option<musicrl_feedback::Source>,
) -> Result<Vec<Curve>> {
    let names = [
        ("the shared model as it is", "shared"),
        ("corrected by the listener's pairs", "corrected"),
        ("the listener's pairs alone", "alone"),
    ];
    let mut curves = Vec::new();
    for (at, (name, variant)) in names.into_iter().enumerate() {
        let (mut points, mut last) = (Vec::new(), None);
        for (place, lists) in pooled.values().enumerate() {
            let (held, said) = together(&lists[at]);
            let (_, first) = together(&lists[0]);
            let figures = held.figures(&said, (at > 0).then_some(&first))?;
            // What was really there, not what was asked for: the mean over listeners.
            let pairs: f64 = listeners.iter().map(|it| it.sizes[place].pairs as f64).sum();
            if let Some(accuracy) = figures.accuracy {
                points.push(CurvePoint {
                    epoch: None,
                    pairs: Some(pairs / listeners.len().max(1) as f64),
                    accuracy: accuracy.estimate,
                    low: Some(accuracy.low),
                    high: Some(accuracy.high),
                });
            }
            last = Some(figures);
        }
        let (name, variant) = (name.to_string(), Some(variant.to_string()));
        curves.push(Curve { name, variant, points, source: source.clone(), figures: last });
    }
    Ok(curves)
}

fn together(lists: &[(Differences, Held)]) -> (Held, Said) {
    let mut held = lists[0].1.clone();
    let mut said = lists[0].0.said();
    for (differences, of) in &lists[1..] {
        held.pairs.extend(&of.pairs);
        held.exact = held.exact.zip(of.exact.clone()).map(|(mut all, more)| {
            all.extend(more);
            all
        });
        let more = differences.said();
        said.differences.extend(more.differences);
        said.spread.extend(more.spread);
        said.tie_strengths = said.tie_strengths.zip(more.tie_strengths).map(|(mut all, more)| {
            all.extend(more);
            all
        });
    }
    (held, said)
}
