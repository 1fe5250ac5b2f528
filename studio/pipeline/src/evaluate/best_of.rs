//! Best of n as a system: a bundle that plays n clips for each one, of which judges choose.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::system::System;
use crate::{
    Error, Result,
    align::{
        best_of::best_of_kl,
        judges::{REWARDS, TRUE_UTILITY, judge_bundle, judge_identity},
    },
    bundle::{Bundle, sha256_hex},
    imported::is_imported,
    recipe::{AlignRecipe, RewardConfig},
};

/// Most candidates of a clip: their numbers must stay apart from all others.
const CANDIDATES_MAX: usize = 4_096;

/// Best of n as the user asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestOfArgument {
    /// The system whose clips are chosen from.
    pub name: String,
    /// Clips that are played for each one.
    pub candidates: usize,
    /// Who chooses: a recipe, perhaps with `#STAGE`, or names of rewards with `+` between them.
    pub by: String,
}

impl BestOfArgument {
    /// Reads `NAME=N:RECIPE`, `NAME=N:RECIPE#STAGE` or `NAME=N:REWARD+REWARD`.
    ///
    /// # Errors
    /// [`Error::Config`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            let expected = format!(
                "NAME=N:RECIPE or NAME=N:REWARD with N from 1 to {CANDIDATES_MAX}, e.g. best=8:recipes/r.toml or \
                 best=8:text_adherence"
            );
            Error::config("best_of", expected, format!("{text:?}"))
        };
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (candidates, by) = rest.split_once(':').ok_or_else(wrong)?;
        let candidates: usize = candidates.parse().map_err(|_| wrong())?;
        if name.is_empty() || by.is_empty() || !(1..=CANDIDATES_MAX).contains(&candidates) {
            return Err(wrong());
        }
        Ok(Self { name: name.into(), candidates, by: by.into() })
    }

    /// Reads all arguments; each must name another one of `systems`.
    ///
    /// # Errors
    /// As [`BestOfArgument::parse`].
    pub fn parse_all(texts: &[String], systems: &[&str]) -> Result<Vec<Self>> {
        let all = texts.iter().map(|text| Self::parse(text)).collect::<Result<Vec<_>>>()?;
        for (at, one) in all.iter().enumerate() {
            if !systems.contains(&one.name.as_str()) {
                return Err(Error::config("best_of", format!("one of the systems {}", systems.join(", ")), &one.name));
            }
            if all[..at].iter().any(|other| other.name == one.name) {
                return Err(Error::config("best_of", "each system once", format!("`{}` twice", one.name)));
            }
        }
        Ok(all)
    }
}

/// Who chooses among how many.
#[derive(Debug, Clone)]
pub struct BestOf {
    /// Clips that are played for each one that is heard.
    pub candidates: usize,
    /// The rewards that choose: those that count, as a stage weighs them.
    pub rewards: Vec<RewardConfig>,
    /// Where the models of rewards are that name no bundle.
    pub judges: Bundle,
    /// As the user wrote it.
    pub by: String,
}

/// What a report says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestOfInfo {
    /// Clips that are played for each one that is heard (n).
    pub candidates: usize,
    /// Who chose, as the user wrote it.
    pub by: String,
    /// The names of the rewards that were added up.
    pub rewards: Vec<String>,
    /// Clips that were played in all.
    pub clips_played: usize,
    /// Upper bound of its sequence KL to the bundle that plays, in nats: log n - (n - 1) / n.
    pub kl_bound: f64,
}

impl BestOf {
    /// Who chooses for the system with `own` bundle: the rewards of a recipe's stage with the models of the recipe's base,
    /// or rewards by name with the models of `own`. Rewards of weight 0 are watched and do not choose.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown reward or stage, or when nothing counts; those of the recipe.
    pub fn open(argument: &BestOfArgument, own: &Bundle) -> Result<Self> {
        let by = argument.by.clone();
        let names: Vec<&str> = by.split('+').map(str::trim).collect();
        let (rewards, judges) = if names.iter().all(|name| REWARDS.contains(name)) {
            let rewards: Vec<RewardConfig> = names.iter().map(|name| RewardConfig::named(*name, 1.0)).collect();
            (rewards, own.clone())
        } else {
            of_recipe(&by)?
        };
        rewards.iter().try_for_each(|reward| reward.validate("best_of", &REWARDS))?;
        let counts = |reward: &RewardConfig| reward.weight > 0.0 && !reward.name.starts_with(TRUE_UTILITY);
        let rewards: Vec<RewardConfig> = rewards.into_iter().filter(counts).collect();
        if rewards.is_empty() {
            return Err(Error::config("best_of", "a reward that counts (weight above 0)", &by));
        }
        Ok(Self { candidates: argument.candidates, rewards, judges, by })
    }

    /// A hash of what decides which clips are heard, beside the bundle that plays.
    ///
    /// # Errors
    /// When a bundle that a reward names cannot be read.
    pub fn identity(&self) -> Result<String> {
        let mut text = format!("best of {} by\n{}\n", self.candidates, self.judges.identity());
        for reward in &self.rewards {
            let mut reward = reward.clone();
            // Where it lies is not what it is.
            if let Some(path) = reward.bundle.take() {
                reward.bundle_sha256 = Some(judge_identity(&path)?);
            }
            text += &serde_json::to_string(&reward).map_err(|error| Error::config("best_of", "JSON", error))?;
            text.push('\n');
        }
        Ok(sha256_hex(text.as_bytes()))
    }

    /// What a report says when `heard` clips are.
    #[must_use]
    pub fn info(&self, heard: usize) -> BestOfInfo {
        BestOfInfo {
            candidates: self.candidates,
            by: self.by.clone(),
            rewards: self.rewards.iter().map(|reward| reward.name.clone()).collect(),
            clips_played: heard * self.candidates,
            kl_bound: best_of_kl(self.candidates),
        }
    }
}

/// The rewards of a recipe's stage (the first, or the one after `#`) and the bundle of its base.
fn of_recipe(by: &str) -> Result<(Vec<RewardConfig>, Bundle)> {
    let (path, stage) = match by.rsplit_once('#') {
        Some((path, stage)) if !Path::new(by).exists() => (PathBuf::from(path), Some(stage)),
        _ => (PathBuf::from(by), None),
    };
    if !path.is_file() {
        let expected = format!("a recipe, or rewards with `+` between them ({})", REWARDS.join(", "));
        return Err(Error::config("best_of", expected, by));
    }
    let recipe = AlignRecipe::load(&path, &REWARDS)?;
    let found = match stage {
        None => recipe.stage.first(),
        Some(name) => recipe.stage.iter().find(|stage| stage.name == name),
    };
    let Some(found) = found else {
        let names: Vec<&str> = recipe.stage.iter().map(|stage| stage.name.as_str()).collect();
        return Err(Error::config("best_of", format!("a stage of the recipe ({})", names.join(", ")), by));
    };
    // An imported base has no judges: its rewards name theirs.
    let base = if is_imported(&recipe.base.path) { Bundle::new() } else { judge_bundle(&recipe.base.path)? };
    Ok((found.rewards.clone(), base))
}

/// Sentences on what best-of-n costs and how far it can be from the bundle that plays.
#[must_use]
pub fn best_of_notes(systems: &[System], heard: usize) -> Vec<String> {
    let of = |system: &System| {
        let info = system.best_of.as_ref()?.info(heard);
        Some(format!("{}: {}", system.name, info.sentence()))
    };
    systems.iter().filter_map(of).collect()
}

impl BestOfInfo {
    /// What it costs and its bound, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let n = self.candidates;
        format!(
            "best of {n} by {} ({}), {} clips played for {} heard, sequence KL to the bundle that plays at most {:.3} nats \
             (log n - (n - 1) / n)",
            self.by,
            self.rewards.join(" + "),
            self.clips_played,
            self.clips_played / n.max(1),
            self.kl_bound
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_a_system_a_number_and_who_chooses() {
        let read = |text: &str| BestOfArgument::parse(text).map(|best| (best.name, best.candidates, best.by));
        assert_eq!(read("b=8:r.toml#ru").unwrap(), ("b".into(), 8, "r.toml#ru".into()));
        assert_eq!(read("b=1:c:\\r.toml").unwrap().2, "c:\\r.toml");
        for bad in ["", "b", "b=8", "b=:r", "b=0:r", "b=x:r", "b=8:", "=8:r", "b=4097:r", "b=-1:r"] {
            assert!(matches!(read(bad), Err(Error::Config { .. })), "{bad}");
        }
        let all = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            BestOfArgument::parse_all(&texts, &["a", "b"]).map_err(|error| error.to_string())
        };
        assert_eq!(all(&["a=2:x", "b=2:x"]).unwrap().len(), 2);
        assert!(all(&["c=2:x"]).unwrap_err().contains("a, b"));
        assert!(all(&["a=2:x", "a=3:x"]).unwrap_err().contains("`a` twice"));
    }

    #[test]
    fn names_of_rewards_choose_with_the_systems_own_models_and_truth_never() {
        let open = |by: &str| {
            let argument = BestOfArgument { name: "b".into(), candidates: 4, by: by.into() };
            BestOf::open(&argument, &Bundle::new()).map_err(|error| error.to_string())
        };
        let best = open("text_adherence+acoustic_quality").unwrap();
        assert_eq!(best.info(10).rewards, ["text_adherence", "acoustic_quality"]);
        assert_eq!((best.info(10).clips_played, best.info(10).kl_bound), (40, best_of_kl(4)));
        assert!(open("true_utility_town").unwrap_err().contains("never learned from"));
        assert!(open("gone.toml").unwrap_err().contains("a recipe"));
        // What chooses and among how many is part of what the system is.
        let fewer = BestOf { candidates: 2, ..best.clone() };
        let other = open("text_adherence").unwrap();
        let identities = [best, fewer, other].map(|best| best.identity().unwrap());
        assert!(identities[0] != identities[1] && identities[0] != identities[2]);
    }
}
