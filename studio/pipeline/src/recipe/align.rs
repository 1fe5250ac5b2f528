//! The recipe of `musicrl align`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{captions::CaptionsConfig, parse::parse, settings::to_toml, stage::StageConfig};
use crate::{Error, Result};

/// The `base.path` that means the base inside the program.
pub const EMBEDDED: &str = "embedded";

/// What an alignment starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseConfig {
    /// A bundle's folder, relative to the recipe, or "embedded".
    pub path: PathBuf,
    /// The bundle's [`identity`](crate::bundle::Bundle::identity). A run writes it into its own recipe; where a recipe
    /// has it, no other bundle will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl BaseConfig {
    /// Makes the path relative to the recipe's folder.
    pub(crate) fn seen_from(&mut self, folder: &Path) {
        if self.path != Path::new(EMBEDDED) {
            self.path = folder.join(&self.path);
        }
    }
}

/// A recipe: the base, the captions, and stages that follow one another.
///
/// ```toml
/// seed = 1
///
/// [base]
/// path = "embedded"
///
/// [captions]
/// source = "etudes"
///
/// [[stage]]
/// name = "adherence"
/// steps = 200
/// batch = 16
/// kl = { alpha = 0.1 }
/// rewards = [{ name = "text_adherence", weight = 1.0, range = [-1.0, 1.0] }]
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlignRecipe {
    /// Seed of all keyed random numbers.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// What it starts from.
    pub base: BaseConfig,
    /// The bundle whose policy a stage's `reference = "base"` means, where that is not the base: a run that goes on from an
    /// aligned policy is held to the one before all alignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<BaseConfig>,
    /// The captions.
    #[serde(default)]
    pub captions: CaptionsConfig,
    /// The stages, in order.
    pub stage: Vec<StageConfig>,
}

fn first_seed() -> u64 {
    1
}

impl AlignRecipe {
    /// Reads a recipe's text, which came from `path`, checks it and fills in what was left out.
    /// `known_rewards` are the names that a stage may use. Paths become relative to the folder of `path`.
    ///
    /// # Errors
    /// [`Error::Parse`] with the line; [`Error::Config`] naming the key whose value breaks a rule.
    pub fn parse(text: &str, path: &Path, known_rewards: &[&str]) -> Result<Self> {
        let mut recipe: Self = parse(text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        std::iter::once(&mut recipe.base).chain(&mut recipe.reference).for_each(|bundle| bundle.seen_from(folder));
        recipe.captions.path = recipe.captions.path.map(|path| folder.join(path));
        recipe.stage.iter_mut().flat_map(|stage| &mut stage.rewards).for_each(|reward| reward.seen_from(folder));
        recipe.resolve(known_rewards)
    }

    /// As [`AlignRecipe::parse`], from a file.
    ///
    /// # Errors
    /// As [`AlignRecipe::parse`]; [`Error::Io`] when it cannot be read.
    pub fn load(path: &Path, known_rewards: &[&str]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read recipe", path))?;
        Self::parse(&text, path, known_rewards)
    }

    /// Checks every key and fills in what was left out.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn resolve(mut self, known_rewards: &[&str]) -> Result<Self> {
        for (field, bundle) in [("base.path", Some(&self.base)), ("reference.path", self.reference.as_ref())] {
            if let Some(path) = bundle.map(|bundle| &bundle.path).filter(|path| **path != Path::new(EMBEDDED))
                && !path.is_dir()
            {
                let got = format!("{}, which is no folder", path.display());
                return Err(Error::config(field, format!("\"{EMBEDDED}\" or a bundle's folder"), got));
            }
        }
        // TOML's integers are signed.
        if i64::try_from(self.seed).is_err() {
            return Err(Error::config("seed", format!("at most {}", i64::MAX), self.seed));
        }
        self.captions.validate()?;
        if self.stage.is_empty() {
            return Err(Error::config("stage", "at least one `[[stage]]`", "none"));
        }
        let stages = std::mem::take(&mut self.stage);
        for (i, stage) in stages.into_iter().enumerate() {
            let stage = stage.resolve(&format!("stage[{i}]"), known_rewards)?;
            if self.stage.iter().any(|other| other.name == stage.name) {
                return Err(Error::config(
                    format!("stage[{i}].name"),
                    "another name than the stages before",
                    stage.name,
                ));
            }
            self.stage.push(stage);
        }
        Ok(self)
    }

    /// The recipe with the identity of the base that it starts from written down.
    ///
    /// # Errors
    /// [`Error::Config`] when it already asks for another one.
    pub fn from_base(mut self, identity: &str) -> Result<Self> {
        if let Some(wanted) = self.base.sha256.as_deref().filter(|wanted| *wanted != identity) {
            let expected = format!("{identity}, the identity of {}", self.base.path.display());
            return Err(Error::config("base.sha256", expected, wanted));
        }
        self.base.sha256 = Some(identity.to_string());
        Ok(self)
    }

    /// The recipe with the identity of the bundle that it names as its reference written down; `identity` reads it.
    ///
    /// # Errors
    /// [`Error::Config`] when it already asks for another one; those of `identity`.
    pub fn from_reference(mut self, identity: impl Fn(&Path) -> Result<String>) -> Result<Self> {
        let Some(reference) = &mut self.reference else { return Ok(self) };
        let identity = identity(&reference.path)?;
        if let Some(wanted) = reference.sha256.as_deref().filter(|wanted| *wanted != identity) {
            let expected = format!("{identity}, the identity of {}", reference.path.display());
            return Err(Error::config("reference.sha256", expected, wanted));
        }
        reference.sha256 = Some(identity);
        Ok(self)
    }

    /// The recipe with the identities of the bundles that its judges come from written down; `identity` reads them.
    ///
    /// # Errors
    /// [`Error::Config`] when a reward already asks for another one; those of `identity`.
    pub fn from_judges(mut self, identity: impl Fn(&Path) -> Result<String>) -> Result<Self> {
        for (i, stage) in self.stage.iter_mut().enumerate() {
            for (j, reward) in stage.rewards.iter_mut().enumerate() {
                let Some(path) = &reward.bundle else { continue };
                let identity = identity(path)?;
                if let Some(wanted) = reward.bundle_sha256.as_deref().filter(|wanted| *wanted != identity) {
                    let expected = format!("{identity}, the identity of {}", path.display());
                    return Err(Error::config(format!("stage[{i}].rewards[{j}].bundle_sha256"), expected, wanted));
                }
                reward.bundle_sha256 = Some(identity);
            }
        }
        Ok(self)
    }

    /// The recipe as TOML, nothing left to a default.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Baseline, KlRule};

    const KNOWN: [&str; 2] = ["text_adherence", "quality"];
    const RECIPE: &str = r#"
[base]
path = "embedded"

[[stage]]
name = "first"
steps = 10
batch = 4
kl = { alpha = 0.1 }
rewards = [{ name = "text_adherence", weight = 1.0, range = [-1.0, 1.0] }]
[stage.policy_optimiser]
beta1 = 0.5
"#;

    fn read(text: &str) -> Result<AlignRecipe> {
        AlignRecipe::parse(text, Path::new("recipes/r.toml"), &KNOWN)
    }

    /// `RECIPE` with one replacement must fail with a message that holds `expected`.
    fn check(from: &str, to: &str, expected: &str) {
        assert!(RECIPE.contains(from), "{from}");
        let error = read(&RECIPE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_written_back() {
        let recipe = read(RECIPE).unwrap();
        let stage = &recipe.stage[0];
        assert_eq!((recipe.seed, stage.kl.rule, stage.baseline), (1, KlRule::Fixed, Baseline::Learned));
        assert_eq!((stage.policy_optimiser.beta1, stage.policy_optimiser.learning_rate), (0.5, 1e-4));
        assert_eq!(stage.value_optimiser.as_ref().unwrap().learning_rate, 3e-4);
        let text = recipe.to_toml().unwrap();
        for key in ["seed = 1", "held_out_fraction", "temperature = 0.99", "[stage.value_optimiser]", "max_skipped"] {
            assert!(text.contains(key), "{key} in {text}");
        }
        assert_eq!(read(&text).unwrap(), recipe);
        assert_eq!(read(&text).unwrap().to_toml().unwrap(), text);
    }

    #[test]
    fn a_recipe_keeps_to_the_base_that_it_names() {
        let recipe = read(RECIPE).unwrap().from_base("0a").unwrap();
        let text = recipe.to_toml().unwrap();
        assert!(text.contains("sha256 = \"0a\""), "{text}");
        let again = read(&text).unwrap();
        assert_eq!(again.clone().from_base("0a").unwrap(), recipe);
        let error = again.from_base("0b").unwrap_err().to_string();
        assert!(error.contains("base.sha256") && error.contains("0a") && error.contains("0b"), "{error}");
    }

    #[test]
    fn a_recipe_keeps_to_the_reference_that_it_names() {
        let text = RECIPE.replace("[[stage]]", "[reference]\npath = \"embedded\"\n[[stage]]");
        let recipe = read(&text).unwrap().from_reference(|_| Ok("0a".into())).unwrap();
        let again = read(&recipe.to_toml().unwrap()).unwrap();
        assert_eq!(again.clone().from_reference(|_| Ok("0a".into())).unwrap(), recipe);
        let error = again.from_reference(|_| Ok("0b".into())).unwrap_err().to_string();
        assert!(error.contains("reference.sha256") && error.contains("0b"), "{error}");
        let gone = read(&text.replace("[reference]\npath = \"embedded\"", "[reference]\npath = \"gone\"")).unwrap_err();
        assert!(gone.to_string().contains("`reference.path` must be"), "{gone}");
    }

    #[test]
    fn a_recipe_keeps_to_the_judges_that_it_names() {
        let text = RECIPE.replace("weight = 1.0", "weight = 1.0, bundle = \"embedded\"");
        let identity = |hash: &'static str| move |path: &Path| Ok(format!("{}-{hash}", path.display()));
        let recipe = read(&text).unwrap().from_judges(identity("0a")).unwrap();
        assert_eq!(recipe.stage[0].rewards[0].bundle_sha256.as_deref(), Some("embedded-0a"));
        let again = read(&recipe.to_toml().unwrap()).unwrap();
        assert_eq!(again.clone().from_judges(identity("0a")).unwrap(), recipe);
        let error = again.from_judges(identity("0b")).unwrap_err().to_string();
        assert!(error.contains("stage[0].rewards[0].bundle_sha256") && error.contains("0b"), "{error}");
        // Without a bundle of its own there is nothing to write down.
        assert_eq!(read(RECIPE).unwrap().from_judges(identity("0a")).unwrap(), read(RECIPE).unwrap());
    }

    #[test]
    fn unknown_keys_are_refused_with_line_and_nearest_key() {
        check("batch = 4", "bacth = 4", "recipes/r.toml:8: unknown key `bacth`; did you mean `batch`?");
        check("weight = 1.0", "wieght = 1.0", "r.toml:10: unknown key `wieght`; did you mean `weight`?");
        check("beta1 = 0.5", "beta4 = 0.5", "r.toml:12: unknown key `beta4`; did you mean `beta1`?");
        check(
            "alpha = 0.1",
            "alpha = 0.1, rule = \"adaptve\"",
            "r.toml:9: unknown value `adaptve`; did you mean `adaptive`?",
        );
        let error = read("[base]\npath = \"embedded\"\n[[stages]]\n").unwrap_err().to_string();
        assert!(error.ends_with("r.toml:3: unknown key `stages`; did you mean `stage`?"), "{error}");
        check("steps = 10\n", "", "missing field `steps`");
    }

    #[test]
    fn values_that_break_a_rule_are_refused_by_name() {
        check("weight = 1.0", "weight = -1.0", "`stage[0].rewards[0].weight` must be at least 0, got -1");
        check("weight = 1.0", "weight = 0.0", "`stage[0].rewards` must be at least one of a weight above 0");
        check("weight = 1.0", "weight = nan", "rewards[0].weight");
        check("batch = 4", "batch = 0", "`stage[0].batch` must be at least 1, got 0");
        check("batch = 4", "batch = -4", "r.toml:8: ");
        check("path = \"embedded\"", "path = \"gone\"", "recipes/gone, which is no folder");
        check("text_adherence", "text_adherense", "did you mean `text_adherence`?");
        check("-1.0, 1.0", "1.0, 1.0", "rewards[0].range");
        check("alpha = 0.1", "alpha = 1.1", "`stage[0].kl.alpha` must be between 0 and 1, got 1.1");
        check("alpha = 0.1", "alpha = 0.1, target = 3.0", "kl.target` must be left out");
        check("alpha = 0.1", "alpha = 0.1, rule = \"adaptive\"", "kl.target` must be given");
        check("alpha = 0.1", "alpha = 0.1, rule = \"budget\", budget = 0.0", "kl.budget` must be above 0");
        check("batch = 4", "batch = 4\nbaseline = \"leave_one_out\"", "clips_per_caption` must be at least 2");
        check("batch = 4", "batch = 4\nclips_per_caption = 3", "a divisor of the batch (4)");
        check("batch = 4", "batch = 4\nclip_seconds = 0.0", "clip_seconds");
        check("weight = 1.0", "weight = 1.0, bundle = \"gone\"", "rewards[0].bundle` must be \"embedded\" or");
        check("weight = 1.0", "weight = 1.0, bundle = \"gone\"", "recipes/gone, which is no folder");
        check("weight = 1.0", "weight = 1.0, bundle = 3", "r.toml:10: ");
        check("weight = 1.0", "weight = 1.0, bundle_sha256 = \"00\"", "bundle_sha256` must be left out");
        check("beta1 = 0.5", "beta1 = 1.5", "policy_optimiser.beta1");
        check("beta1 = 0.5", "[stage.sampling]\ntop_p = 0.0", "sampling.top_p");
        check("beta1 = 0.5", "[stage.checkpoint]\nevery = 0", "checkpoint.every");
        check("beta1 = 0.5", "[stage.checkpoint]\nevery = 7\nchoose = \"best\"", "a divisor of evaluation.every (50)");
        check("beta1 = 0.5", "[stage.checkpoint]\nchoose = \"guarded\"", "a reward of weight 0 to watch");
        let validation = |choose: &str, name: &str| {
            format!("[stage.checkpoint]\nchoose = \"{choose}\"\nevery = 50\nvalidation = [\"{name}\"]")
        };
        check("beta1 = 0.5", &validation("best", "quality"), "validation` must be left out");
        let watched = RECIPE.replace("}]", "}, { name = \"quality\", weight = 0.0 }]");
        let with = |name: &str| read(&watched.replace("beta1 = 0.5", &validation("guarded", name)));
        assert_eq!(with("quality").unwrap().stage[0].checkpoint.validation, ["quality"]);
        let error = with("text_adherence").unwrap_err().to_string();
        assert!(error.contains("checkpoint.validation` must be rewards of weight 0") && error.contains("(quality)"));
        check("beta1 = 0.5", "[stage.guards]\nkl_budget = 0.0", "guards.kl_budget");
        check("name = \"first\"", "name = \"../x\"", "stage[0].name");
        check("[base]", "seed = -1\n[base]", "r.toml:2: ");
        check("[base]", "[captions]\ncount = 1\n[base]", "captions.count");
        check("[base]", "[captions]\nsource = \"file\"\n[base]", "captions.path` must be given");
        check("[base]", "[captions]\nsource = \"corpus\"\npath = \"gone\"\n[base]", "recipes/gone, which is none");
    }

    #[test]
    fn settings_that_nothing_would_read_are_refused() {
        let two = RECIPE.replace("batch = 4", "batch = 4\nclips_per_caption = 2\nbaseline = \"leave_one_out\"");
        assert_eq!(read(&two).unwrap().stage[0].value_optimiser, None);
        let error = read(&(two + "[stage.value_optimiser]\nbeta1 = 0.1\n")).unwrap_err().to_string();
        assert!(error.contains("stage[0].value_optimiser"), "{error}");
    }

    #[test]
    fn stages_have_names_of_their_own() {
        let stage = RECIPE.split_once("[[stage]]").unwrap().1;
        let error = read(&format!("{RECIPE}[[stage]]{stage}")).unwrap_err().to_string();
        assert!(error.contains("stage[1].name"), "{error}");
    }

    #[test]
    fn paths_are_relative_to_the_recipe() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("base")).unwrap();
        std::fs::write(temp.path().join("captions.txt"), "a waltz\n").unwrap();
        let text = RECIPE
            .replace("\"embedded\"", "\"base\"")
            .replace("weight = 1.0", "weight = 1.0, bundle = \"base\"")
            .replace("[[stage]]", "[captions]\nsource = \"file\"\npath = \"captions.txt\"\n[[stage]]");
        let path = temp.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        let own = RECIPE.replace("name = \"text_adherence\"", "name = \"own\", process = { command = [\"judge\"] }");
        let process = read(&own).unwrap().stage.remove(0).rewards.remove(0).process.unwrap();
        assert_eq!(process.folder, Some("recipes".into()));
        let recipe = AlignRecipe::load(&path, &KNOWN).unwrap();
        assert_eq!(recipe.base.path, temp.path().join("base"));
        assert_eq!(recipe.stage[0].rewards[0].bundle, Some(temp.path().join("base")));
        assert_eq!(recipe.captions.path, Some(temp.path().join("captions.txt")));
    }
}
