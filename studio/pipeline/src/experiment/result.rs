//! What an experiment ends with: `experiment.json` and a figure, described in `spec/experiments.md`.

use std::{fmt, path::Path};

use musicrl_codec::write::write_atomic;
use serde::{Deserialize, Serialize};

use super::{
    figure::{matrix_figure, over_optimisation_figure, rounds_figure, weights_figure},
    matrix::MatrixFindings,
    over_optimisation::OverOptimisationFindings,
    recipe::ExperimentRecipe,
    rounds::RoundsFindings,
    weights::WeightsFindings,
};
use crate::{Error, Result, evaluate::report::MadeBy};

/// The format that this code writes.
const FORMAT_VERSION: u32 = 1;

/// The file's name in the experiment's folder.
pub const EXPERIMENT_FILE: &str = "experiment.json";

/// What is said with every result.
const SIMULATED: &str = "all listeners are simulated; no number here is about people";

/// What a kind of experiment found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "findings", rename_all = "kebab-case")]
pub enum Findings {
    /// On-policy rounds.
    Rounds(RoundsFindings),
    /// Populations against populations.
    Matrix(MatrixFindings),
    /// The sweep of weights.
    Weights(WeightsFindings),
    /// Over-optimisation.
    OverOptimisation(OverOptimisationFindings),
}

impl Findings {
    /// File name and SVG document of the figure.
    #[must_use]
    pub fn figure(&self) -> (String, String) {
        let (name, svg) = match self {
            Self::Rounds(found) => ("rounds", rounds_figure(found)),
            Self::Matrix(found) => ("matrix", matrix_figure(found)),
            Self::Weights(found) => ("weights", weights_figure(found)),
            Self::OverOptimisation(found) => ("over-optimisation", over_optimisation_figure(found)),
        };
        (format!("{name}.svg"), svg)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds(found) => found.fmt(f),
            Self::Matrix(found) => found.fmt(f),
            Self::Weights(found) => found.fmt(f),
            Self::OverOptimisation(found) => found.fmt(f),
        }
    }
}

/// All of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Layout of the file.
    pub format_version: u32,
    /// What made it.
    pub made_by: MadeBy,
    /// The recipe, nothing left to a default; the seed is in it.
    pub recipe: ExperimentRecipe,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What was found.
    pub result: Findings,
}

/// Writes `experiment.json` and the figure into `dir`; the result and the figure's file name.
///
/// # Errors
/// Those of the files.
pub fn write(dir: &Path, recipe: ExperimentRecipe, made_by: MadeBy, result: Findings) -> Result<(Experiment, String)> {
    let experiment =
        Experiment { format_version: FORMAT_VERSION, made_by, recipe, notes: vec![SIMULATED.into()], result };
    let mut json = serde_json::to_vec_pretty(&experiment)
        .map_err(|error| Error::config(EXPERIMENT_FILE, "numbers that JSON can hold", error))?;
    json.push(b'\n');
    let (name, svg) = experiment.result.figure();
    write_atomic(&dir.join(&name), svg.as_bytes())?;
    write_atomic(&dir.join(EXPERIMENT_FILE), &json)?;
    Ok((experiment, name))
}
