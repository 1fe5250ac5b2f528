//! What an experiment does, and how much of it: recipes of `musicrl experiment`.

use std::{fmt, path::Path};

use musicrl_rewards::listeners::catalogue::population;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    Error, Result,
    recipe::{BaseConfig, parse, settings},
};

/// Seeds of the parts of an experiment are so far apart.
pub const SEED_STRIDE: u64 = 1_000;

/// The largest seed of an experiment: those of its parts must be seeds of recipes too.
const SEED_MAX: u64 = 1_000_000_000;

/// The kinds of experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On-policy rounds.
    Rounds,
    /// Training on one population, judging by another.
    Matrix,
    /// A sweep of reward weights.
    Weights,
    /// Reward over-optimisation, and the choice of the checkpoint.
    OverOptimisation,
}

impl Kind {
    /// Its name in recipes and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rounds => "rounds",
            Self::Matrix => "matrix",
            Self::Weights => "weights",
            Self::OverOptimisation => "over-optimisation",
        }
    }

    /// The recipe that ships.
    #[must_use]
    pub fn recipe(self) -> &'static str {
        match self {
            Self::Rounds => include_str!("../../../../recipes/experiments/rounds.toml"),
            Self::Matrix => include_str!("../../../../recipes/experiments/matrix.toml"),
            Self::Weights => include_str!("../../../../recipes/experiments/weights.toml"),
            Self::OverOptimisation => include_str!("../../../../recipes/experiments/over-optimisation.toml"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The stage recipe that an experiment's alignments derive from: `recipes/stages/NAME.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageRecipe {
    /// Text adherence and acoustic quality.
    R,
    /// User preference.
    #[default]
    U,
    /// User preference, from the result of R.
    Ru,
    /// All three at once.
    Joint,
}

impl StageRecipe {
    /// Its text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::R => include_str!("../../../../recipes/stages/r.toml"),
            Self::U => include_str!("../../../../recipes/stages/u.toml"),
            Self::Ru => include_str!("../../../../recipes/stages/ru.toml"),
            Self::Joint => include_str!("../../../../recipes/stages/joint.toml"),
        }
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Plan {
    /// Collect on the current model, fit the preference model again, align on; against one round of the same size.
    Rounds {
        /// Who chooses.
        population: String,
        /// Pairs of each round.
        pairs: usize,
        /// How many rounds.
        rounds: usize,
    },
    /// Each population chooses for a system of its own, and all judge all systems.
    Matrix {
        /// The populations.
        populations: Vec<String>,
        /// Pairs that each of them judges.
        pairs: usize,
    },
    /// One alignment a setting, all of the same number of steps.
    Weights {
        /// Who chooses.
        population: String,
        /// Pairs that they judge.
        pairs: usize,
        /// Weights of text adherence, acoustic quality and user preference, in standard deviations of the base's clips.
        weights: Vec<[f64; 3]>,
    },
    /// One alignment a seed, far beyond what the reward model is right about.
    OverOptimisation {
        /// Who chooses.
        population: String,
        /// Pairs that the reward model learns from.
        pairs: usize,
        /// Other pairs, that the validating model learns from.
        validation_pairs: usize,
        /// How many seeds.
        seeds: usize,
    },
}

impl Plan {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Rounds { .. } => Kind::Rounds,
            Self::Matrix { .. } => Kind::Matrix,
            Self::Weights { .. } => Kind::Weights,
            Self::OverOptimisation { .. } => Kind::OverOptimisation,
        }
    }

    /// The populations that choose, and in a matrix judge.
    #[must_use]
    pub fn populations(&self) -> Vec<String> {
        match self {
            Self::Matrix { populations, .. } => populations.clone(),
            Self::Rounds { population, .. }
            | Self::Weights { population, .. }
            | Self::OverOptimisation { population, .. } => vec![population.clone()],
        }
    }
}

/// Held-out captions and who judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationPlan {
    /// The first so many of the program's own prompts, which no training has; up to 101.
    pub prompts: usize,
    /// Clips of each.
    pub takes: usize,
    /// Simulated listeners that rate each clip.
    pub raters: usize,
    /// Populations whose true utility is measured (a matrix measures that of all its populations).
    pub populations: Vec<String>,
}

impl Default for EvaluationPlan {
    fn default() -> Self {
        Self { prompts: 64, takes: 1, raters: 3, populations: Vec::new() }
    }
}

/// The predictor of acoustic quality, where a reward asks for it and the base has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityPlan {
    /// Clips of etudes that it learns from; a quarter as many are held out.
    pub train_clips: usize,
    /// Steps of its training.
    pub steps: u64,
}

impl Default for QualityPlan {
    fn default() -> Self {
        Self { train_clips: 160, steps: 200 }
    }
}

/// A recipe of `musicrl experiment`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentRecipe {
    /// Seed; those of the parts are made of it.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// The recipe that alignments derive from.
    #[serde(default)]
    pub stage_recipe: StageRecipe,
    /// What it starts from; the run writes its hash down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseConfig>,
    /// What is done.
    pub plan: Plan,
    /// Captions of the alignments, in the place of the stage recipe's.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub captions: Table,
    /// Settings of `train preference` over its preset.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub preference: Table,
    /// Settings over those, for the validating model.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub validation: Table,
    /// The predictor of acoustic quality.
    #[serde(default)]
    pub quality: QualityPlan,
    /// Keys over those of the stage recipe: see [`StageDraft`](super::StageDraft).
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub stage: Table,
    /// How systems are compared.
    #[serde(default)]
    pub evaluation: EvaluationPlan,
    /// What is smaller with `--quick`: keys over all of the above.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub quick: Table,
}

fn first_seed() -> u64 {
    1
}

impl ExperimentRecipe {
    /// Reads a recipe's text, which came from `path`, takes the quick sizes where they are asked for, and checks it.
    ///
    /// # Errors
    /// [`Error::Parse`] with the line; [`Error::Config`] naming the key, or for a recipe of another kind.
    pub fn parse(kind: Kind, text: &str, path: &Path, quick: bool) -> Result<Self> {
        let mut recipe: Self = parse(text, path)?;
        if let Some(base) = &mut recipe.base {
            base.seen_from(path.parent().unwrap_or(Path::new("")));
        }
        let sizes = std::mem::take(&mut recipe.quick);
        let recipe = if quick { settings::over(&recipe, sizes, path)? } else { recipe };
        if recipe.plan.kind() != kind {
            return Err(Error::config("plan.kind", format!("\"{kind}\""), recipe.plan.kind()));
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// Checks every key that is not another part's to check.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if self.seed > SEED_MAX {
            return Err(Error::config("seed", format!("at most {SEED_MAX}"), self.seed));
        }
        let positive = |field: &str, value: usize| match value {
            0 => Err(Error::config(field, "at least 1", 0)),
            _ => Ok(()),
        };
        let EvaluationPlan { prompts, takes, raters, populations } = &self.evaluation;
        positive("evaluation.prompts", *prompts)?;
        positive("evaluation.takes", *takes)?;
        positive("evaluation.raters", *raters)?;
        each_once("evaluation.populations", populations)?;
        positive("quality.train_clips", self.quality.train_clips)?;
        match &self.plan {
            Plan::Rounds { population: name, pairs, rounds } => {
                population(name).map_err(Error::from)?;
                positive("plan.pairs", *pairs)?;
                // One is what it is held against.
                at_least_2("plan.rounds", *rounds)?;
                at_least_1_population(populations)
            }
            Plan::Matrix { populations, pairs } => {
                each_once("plan.populations", populations)?;
                at_least_2("plan.populations", populations.len())?;
                positive("plan.pairs", *pairs)
            }
            Plan::Weights { population: name, pairs, weights } => {
                population(name).map_err(Error::from)?;
                positive("plan.pairs", *pairs)?;
                at_least_1_population(populations)?;
                at_least_2("plan.weights", weights.len())?;
                weights.iter().try_for_each(on_simplex)
            }
            Plan::OverOptimisation { population: name, pairs, validation_pairs, seeds } => {
                population(name).map_err(Error::from)?;
                positive("plan.pairs", *pairs)?;
                positive("plan.validation_pairs", *validation_pairs)?;
                positive("plan.seeds", *seeds)
            }
        }
    }

    /// The recipe as TOML, nothing left to a default.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        settings::to_toml(self)
    }

    /// The seed of part `part` of the experiment.
    #[must_use]
    pub fn seed_of(&self, part: usize) -> u64 {
        self.seed + SEED_STRIDE * part as u64
    }
}

fn at_least_2(field: &str, value: usize) -> Result<()> {
    if value < 2 { Err(Error::config(field, "at least 2", value)) } else { Ok(()) }
}

fn at_least_1_population(populations: &[String]) -> Result<()> {
    match populations {
        [] => Err(Error::config("evaluation.populations", "at least one", "none")),
        _ => Ok(()),
    }
}

fn each_once(field: &str, populations: &[String]) -> Result<()> {
    for (at, name) in populations.iter().enumerate() {
        population(name).map_err(Error::from)?;
        if populations[..at].contains(name) {
            return Err(Error::config(field, "each population once", name));
        }
    }
    Ok(())
}

fn on_simplex(weights: &[f64; 3]) -> Result<()> {
    let sum: f64 = weights.iter().sum();
    if weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && (sum - 1.0).abs() < 1e-6 {
        return Ok(());
    }
    Err(Error::config("plan.weights", "three numbers of at least 0 whose sum is 1", format!("{weights:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Rounds, Kind::Matrix, Kind::Weights, Kind::OverOptimisation];

    fn read(kind: Kind, text: &str, quick: bool) -> Result<ExperimentRecipe> {
        ExperimentRecipe::parse(kind, text, Path::new("e.toml"), quick)
    }

    fn check(kind: Kind, from: &str, to: &str, expected: &str) {
        let text = kind.recipe();
        assert!(text.contains(from), "{from}");
        let error = read(kind, &text.replacen(from, to, 1), false).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn the_recipes_that_ship_are_read_and_written_back() {
        for kind in KINDS {
            for quick in [false, true] {
                let recipe = read(kind, kind.recipe(), quick).unwrap();
                let again = read(kind, &recipe.to_toml().unwrap(), false).unwrap();
                assert_eq!(again, recipe, "{kind}");
            }
            let (whole, quick) = (read(kind, kind.recipe(), false).unwrap(), read(kind, kind.recipe(), true).unwrap());
            assert!(quick.evaluation.prompts < whole.evaluation.prompts, "{kind}");
            assert!(quick.stage["steps"].as_integer() < whole.stage["steps"].as_integer(), "{kind}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        check(Kind::Rounds, "rounds = 3", "rounds = 1", "`plan.rounds` must be at least 2");
        check(Kind::Rounds, "population = \"village\"", "population = \"nowhere\"", "nowhere");
        check(Kind::Rounds, "rounds = 3", "rouds = 3", "rouds");
        check(Kind::Matrix, "\"town\"", "\"village\"", "each population once");
        check(Kind::Weights, "[1.0, 0.0, 0.0]", "[1.0, 0.5, 0.0]", "whose sum is 1");
        check(Kind::OverOptimisation, "seeds = 5", "seeds = 0", "plan.seeds");
        check(Kind::OverOptimisation, "seed = 1", "seed = 9000000000", "`seed` must be at most");
        let other = read(Kind::Matrix, Kind::Rounds.recipe(), false).unwrap_err().to_string();
        assert!(other.contains("`plan.kind` must be \"matrix\", got rounds"), "{other}");
        let text = Kind::Rounds.recipe().replace("[quick", "[quikc");
        assert!(read(Kind::Rounds, &text, false).unwrap_err().to_string().contains("quick"));
    }

    #[test]
    fn seven_settings_lie_on_the_simplex() {
        let Plan::Weights { weights, .. } = read(Kind::Weights, Kind::Weights.recipe(), false).unwrap().plan else {
            panic!("the recipe of weights is one")
        };
        assert_eq!(weights.len(), 7);
    }
}
