//! On-policy rounds: what each round gained, and what one round of the same size did.

use std::fmt;

use musicrl_core::stats::Interval;
use serde::{Deserialize, Serialize};

use super::measured::{difference_of, in_words, mean_of};
use crate::{align::judges::TRUE_UTILITY, evaluate::Evaluation};

/// The system that had all pairs and all steps in one round.
pub const CONTROL: &str = "one-round";

/// The name of round `round`, from 1.
#[must_use]
pub fn round_name(round: usize) -> String {
    format!("round-{round}")
}

/// One system by the taste of one population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Utility {
    /// The population.
    pub population: String,
    /// Mean true utility of its clips.
    pub mean: Option<Interval>,
    /// The same less that of the base, prompt by prompt.
    pub gain: Option<Interval>,
}

/// One system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundsRow {
    /// Its name.
    pub system: String,
    /// Pairs that were judged for it, all rounds together.
    pub pairs: usize,
    /// Learning steps behind it, all rounds together.
    pub steps: u64,
    /// By each population.
    pub utilities: Vec<Utility>,
}

/// What the rounds brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundsFindings {
    /// The base, the rounds in order, the control.
    pub rows: Vec<RoundsRow>,
    /// The last round less the control, by each population: (population, difference of true utility).
    pub last_less_control: Vec<(String, Option<Interval>)>,
}

/// The findings of `rounds` rounds of `pairs` pairs and `steps` steps, from the evaluation of `base`, the rounds and the
/// control.
#[must_use]
pub fn findings(
    evaluation: &Evaluation,
    populations: &[String],
    (rounds, pairs, steps): (usize, usize, u64),
) -> RoundsFindings {
    let measure = |population: &String| format!("{TRUE_UTILITY}{population}");
    let row = |system: &str, share: usize| RoundsRow {
        system: system.into(),
        pairs: share * pairs,
        steps: share as u64 * steps,
        utilities: populations
            .iter()
            .map(|population| Utility {
                population: population.clone(),
                mean: mean_of(evaluation, &measure(population), system),
                gain: difference_of(evaluation, &measure(population), system, "base"),
            })
            .collect(),
    };
    let mut rows = vec![row("base", 0)];
    rows.extend((1..=rounds).map(|round| row(&round_name(round), round)));
    rows.push(row(CONTROL, rounds));
    let last = round_name(rounds);
    let less =
        |population: &String| (population.clone(), difference_of(evaluation, &measure(population), &last, CONTROL));
    RoundsFindings { rows, last_less_control: populations.iter().map(less).collect() }
}

impl fmt::Display for RoundsFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<12}{:>7}{:>7}  true utility, less the base's (simulated)", "system", "pairs", "steps")?;
        for row in &self.rows {
            write!(f, "{:<12}{:>7}{:>7}", row.system, row.pairs, row.steps)?;
            for utility in &row.utilities {
                write!(f, "  {} {:<24}", utility.population, in_words(utility.gain.as_ref(), 1.0, 3))?;
            }
            writeln!(f)?;
        }
        for (population, less) in &self.last_less_control {
            writeln!(f, "last round less {CONTROL}, by {population}: {}", in_words(less.as_ref(), 1.0, 3))?;
        }
        Ok(())
    }
}
