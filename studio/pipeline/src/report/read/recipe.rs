//! A resolved recipe as the page needs it.

use std::path::PathBuf;

use serde::Deserialize;

/// What is read of a `recipe.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct RecipeView {
    /// Seed of all random numbers.
    pub seed: Option<u64>,
    /// What the run began from.
    pub base: BaseView,
    /// The captions, as they stand there.
    pub captions: Option<toml::Value>,
    /// The stages, in order.
    pub stage: Vec<StageView>,
}

/// What a run began from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct BaseView {
    /// `embedded`, or a bundle's folder.
    pub path: PathBuf,
    /// The bundle's identity.
    pub sha256: Option<String>,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct StageView {
    /// Its name.
    pub name: String,
    /// Steps that it is to take.
    pub steps: u64,
    /// Clips a step.
    pub batch: Option<u64>,
    /// What the KL pulls towards.
    pub reference: String,
    /// What is taken from the return.
    pub baseline: String,
    /// Strength of the KL.
    pub kl: KlView,
    /// The judges.
    pub rewards: Vec<RewardView>,
    /// Which checkpoint is the result.
    pub checkpoint: CheckpointView,
}

/// Strength of the KL.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct KlView {
    /// Its weight.
    pub alpha: Option<f64>,
    /// How that moves.
    pub rule: String,
    /// The KL to hold.
    pub target: Option<f64>,
    /// The KL not to exceed.
    pub budget: Option<f64>,
}

impl KlView {
    /// In words.
    pub fn in_words(&self) -> String {
        let alpha = self.alpha.map_or_else(|| "?".into(), |alpha| alpha.to_string());
        let aim = self.target.map(|target| format!(", target {target}"));
        let aim = aim.or_else(|| self.budget.map(|budget| format!(", budget {budget}"))).unwrap_or_default();
        match self.rule.as_str() {
            "" | "fixed" => format!("α {alpha}"),
            // The aim of this rule has its name.
            "budget" => format!("α {alpha}{aim}"),
            rule => format!("α {alpha}, {rule}{aim}"),
        }
    }
}

/// A judge.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct RewardView {
    /// Its name.
    pub name: String,
    /// Its weight; with 0 it is watched.
    pub weight: f64,
}

/// How the result is chosen.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::report) struct CheckpointView {
    /// `last`, `best` or `guarded`.
    pub choose: String,
    /// The metric of `best`.
    pub metric: String,
    /// `higher` or `lower`.
    pub direction: String,
}

impl StageView {
    /// Names and weights of the rewards that it learns from.
    pub fn learned(&self) -> impl Iterator<Item = (&str, f64)> {
        self.rewards.iter().filter(|reward| reward.weight > 0.0).map(|reward| (reward.name.as_str(), reward.weight))
    }

    /// Names of the rewards that it only watches.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.rewards.iter().filter(|reward| reward.weight <= 0.0).map(|reward| reward.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_missing_ones_do_no_harm() {
        let text = "seed = 3\nnew = 1\n[base]\npath = \"embedded\"\n[[stage]]\nname = \"a\"\nsteps = 4\nkl = { alpha = 0.1, rule = \
                    \"budget\", budget = 60.0, odd = 2 }\nrewards = [{ name = \"x\", weight = 1.0 }, { name = \"y\" }]\n";
        let recipe: RecipeView = toml::from_str(text).unwrap();
        let stage = &recipe.stage[0];
        assert_eq!((recipe.seed, stage.steps, stage.checkpoint.choose.as_str()), (Some(3), 4, ""));
        assert_eq!(stage.kl.in_words(), "α 0.1, budget 60");
        assert_eq!(stage.learned().collect::<Vec<_>>(), [("x", 1.0)]);
        assert_eq!(stage.watched().collect::<Vec<_>>(), ["y"]);
    }
}
