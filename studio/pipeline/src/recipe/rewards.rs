//! A stage's rewards as a recipe writes them.

use std::path::{Path, PathBuf};

use musicrl_core::reward::Windows;
use musicrl_rewards::external::{HttpConfig, OnnxConfig, ProcessConfig};
use serde::{Deserialize, Serialize};

use super::{align::EMBEDDED, nearest::nearest};
use crate::{Error, Result, align::judges::TRUE_UTILITY};

/// One judge and what its scores count for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardConfig {
    /// The reward's name, e.g. "text_adherence"; one of the user's own choice with `process`, `http` or `onnx`.
    pub name: String,
    /// Its weight in the sum. With 0 the judge is watched and not learned from.
    pub weight: f64,
    /// The built-in reward that judges, where `name` is one of the user's own choice: two models of one kind, each with its
    /// `bundle`, can stand beside each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// The raw scores that become 0 and 1; the sum has raw scores where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Which parts are judged.
    #[serde(default)]
    pub windows: Windows,
    /// The bundle whose model judges, relative to the recipe, or "embedded"; the base's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
    /// That bundle's [`identity`](crate::bundle::Bundle::identity). A run writes it into its own recipe; where a recipe
    /// has it, no other bundle will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_sha256: Option<String>,
    /// A program of the user's that judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessConfig>,
    /// A service of the user's that judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpConfig>,
    /// A network of the user's that judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnx: Option<OnnxConfig>,
}

/// Longest name of a reward of the user's own.
const NAME_MAX: usize = 64;

impl RewardConfig {
    /// A built-in reward with everything else left out.
    #[must_use]
    pub fn named(name: impl Into<String>, weight: f64) -> Self {
        Self {
            name: name.into(),
            weight,
            judge: None,
            range: None,
            windows: Windows::default(),
            bundle: None,
            bundle_sha256: None,
            process: None,
            http: None,
            onnx: None,
        }
    }

    /// Checks every key against the rules and the name against the rewards that there are.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, prefix: &str, known: &[&str]) -> Result<()> {
        let field = |name: &str| format!("{prefix}.{name}");
        if self.is_external() {
            self.validate_external(prefix, known)?;
        } else if let Some(judge) = &self.judge {
            self.validate_renamed(judge, prefix, known)?;
        } else if !known.contains(&self.name.as_str()) {
            let expected = match nearest(&self.name, known.iter().copied()) {
                Some(name) => format!("a known reward (did you mean `{name}`?)"),
                None => format!("one of {}, or have `process`, `http` or `onnx`", known.join(", ")),
            };
            return Err(Error::config(field("name"), expected, &self.name));
        }
        if !(self.weight.is_finite() && self.weight >= 0.0) {
            return Err(Error::config(field("weight"), "at least 0", self.weight));
        }
        if self.name.starts_with(TRUE_UTILITY) && self.weight > 0.0 {
            let expected = "0: what simulated listeners like is watched, never learned from";
            return Err(Error::config(field("weight"), expected, self.weight));
        }
        if let Some([low, high]) = self.range.filter(|[low, high]| !(low.is_finite() && high.is_finite() && low < high))
        {
            return Err(Error::config(field("range"), "[low, high] with low below high", format!("[{low}, {high}]")));
        }
        if let Some(path) = self.bundle.as_deref().filter(|path| *path != Path::new(EMBEDDED) && !path.is_dir()) {
            let got = format!("{}, which is no folder", path.display());
            return Err(Error::config(field("bundle"), format!("\"{EMBEDDED}\" or a bundle's folder"), got));
        }
        if let (None, Some(sha256)) = (&self.bundle, &self.bundle_sha256) {
            return Err(Error::config(field("bundle_sha256"), "left out where there is no `bundle`", sha256));
        }
        self.windows.validate().map_err(|error| match error {
            musicrl_core::Error::Config { field: name, expected, got } => {
                Error::config(field(&format!("windows.{name}")), expected, got)
            }
            other => other.into(),
        })
    }

    /// Whether the judge is the user's own.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.process.is_some() || self.http.is_some() || self.onnx.is_some()
    }

    /// The built-in reward that judges; of a judge of the user's own, its name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.judge.as_deref().unwrap_or(&self.name)
    }

    /// Whether the judge is the user's own and asks for tokens.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.tokens)
            || self.http.as_ref().is_some_and(|http| http.tokens)
    }

    /// Whether `name` can be a reward's own.
    fn validate_own_name(&self, prefix: &str, known: &[&str]) -> Result<()> {
        let field = |name: &str| format!("{prefix}.{name}");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.chars().all(plain) {
            let expected = format!("1 to {NAME_MAX} lower-case letters, digits, `_` and `-`");
            return Err(Error::config(field("name"), expected, format!("{:?}", self.name)));
        }
        if known.contains(&self.name.as_str()) {
            return Err(Error::config(field("name"), "none of the built-in rewards' names", &self.name));
        }
        // What bears the name of a simulation's truth is taken for it everywhere.
        if self.name.starts_with(TRUE_UTILITY) {
            let expected = format!("a name that does not begin with `{TRUE_UTILITY}`");
            return Err(Error::config(field("name"), expected, &self.name));
        }
        Ok(())
    }

    fn validate_renamed(&self, judge: &str, prefix: &str, known: &[&str]) -> Result<()> {
        self.validate_own_name(prefix, known)?;
        let field = format!("{prefix}.judge");
        // Under another name it would no longer be known for what it is, and might be learned from.
        if judge.starts_with(TRUE_UTILITY) {
            return Err(Error::config(field, "another reward than a true utility, which keeps its name", judge));
        }
        if known.contains(&judge) {
            return Ok(());
        }
        let expected = match nearest(judge, known.iter().copied()) {
            Some(name) => format!("a known reward (did you mean `{name}`?)"),
            None => format!("one of {}", known.join(", ")),
        };
        Err(Error::config(field, expected, judge))
    }

    fn validate_external(&self, prefix: &str, known: &[&str]) -> Result<()> {
        self.validate_own_name(prefix, known)?;
        let field = |name: &str| format!("{prefix}.{name}");
        if let Some(judge) = &self.judge {
            let expected = "left out of a reward with `process`, `http` or `onnx`, which is a judge itself";
            return Err(Error::config(field("judge"), expected, judge));
        }
        if let Some(path) = &self.bundle {
            let expected = "left out of a reward with `process`, `http` or `onnx`, which has no use for it";
            return Err(Error::config(field("bundle"), expected, path.display()));
        }
        let judged = match (&self.process, &self.http, &self.onnx) {
            (Some(process), None, None) => process.validate(),
            (None, Some(http), None) => http.validate(),
            (None, None, Some(onnx)) => onnx.validate(),
            _ => {
                let got = format!("more than one in `{}`", self.name);
                return Err(Error::config(prefix, "with exactly one of `process`, `http` and `onnx`", got));
            }
        };
        judged.map_err(|error| match error.into() {
            Error::Config { field: name, expected, got } => Error::config(field(&name), expected, got),
            other => other,
        })
    }

    /// Makes the paths of an external judge relative to the recipe's folder.
    pub(super) fn seen_from(&mut self, folder: &Path) {
        if let Some(bundle) = self.bundle.as_mut().filter(|bundle| bundle.as_path() != Path::new(EMBEDDED)) {
            *bundle = folder.join(&*bundle);
        }
        if let Some(process) = &mut self.process {
            process.seen_from(folder);
        }
        if let Some(onnx) = &mut self.onnx {
            onnx.seen_from(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["text_adherence", "quality"];

    fn read(text: &str) -> Result<RewardConfig> {
        let config: RewardConfig = crate::recipe::parse(text, Path::new("r.toml"))?;
        config.validate("rewards[0]", &KNOWN)?;
        Ok(config)
    }

    fn check(text: &str, expected: &str) {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn rewards_of_ones_own_have_names_of_their_own() {
        let process = "weight = 1.0\nprocess = { command = [\"python3\", \"judge.py\"], timeout_seconds = 5 }\n";
        let own = |name: &str| format!("name = \"{name}\"\n{process}");
        let config = read(&own("my-judge_2")).unwrap();
        assert!(config.is_external());
        assert_eq!(config.process.unwrap().timeout_seconds, 5.0);
        check(&own("quality"), "`rewards[0].name` must be none of the built-in");
        for name in ["", "My", "a b", "../x", &"x".repeat(65)] {
            check(&own(name), "rewards[0].name");
        }
        let truth = "name = \"true_utility_town\"\nweight = ";
        let known = ["true_utility_town"];
        let parsed = |text: &str| crate::recipe::parse::<RewardConfig>(text, Path::new("r.toml")).unwrap();
        assert!(parsed(&format!("{truth}0.0\n")).validate("rewards[0]", &known).is_ok());
        let error = parsed(&format!("{truth}0.1\n")).validate("rewards[0]", &known).unwrap_err().to_string();
        assert!(error.contains("rewards[0].weight") && error.contains("never learned from"), "{error}");
        check("name = \"mine\"\nweight = 1.0\n", "have `process`, `http` or `onnx`");
        check(&(own("mine") + "bundle = \"embedded\"\n"), "`rewards[0].bundle` must be left out");
        check(&(own("mine") + "http = { url = \"http://localhost:1\" }\n"), "exactly one of");
    }

    #[test]
    fn two_models_of_one_kind_have_two_names() {
        let with = |name: &str, judge: &str| format!("name = \"{name}\"\nweight = 0.0\njudge = \"{judge}\"\n");
        let config = read(&with("quality-2", "quality")).unwrap();
        assert_eq!((config.kind(), config.is_external()), ("quality", false));
        assert_eq!(RewardConfig::named("quality", 1.0).kind(), "quality");
        check(&with("quality", "quality"), "`rewards[0].name` must be none of the built-in");
        check(&with("quality-2", "qualty"), "`rewards[0].judge` must be a known reward (did you mean `quality`?)");
        check(&with("truth", "true_utility_town"), "`rewards[0].judge` must be another reward than a true utility");
        check(&with("true_utility_mine", "quality"), "`rewards[0].name` must be a name that does not begin with");
        check(&(with("mine", "quality") + "process = { command = [\"x\"] }\n"), "`rewards[0].judge` must be left out");
    }

    #[test]
    fn settings_of_external_judges_are_checked_by_name() {
        let with = |judge: &str| format!("name = \"mine\"\nweight = 1.0\n{judge}\n");
        assert!(read(&with("http = { url = \"http://localhost:8000/judge\", audio = \"path\" }")).is_ok());
        assert!(read(&with("onnx = { path = \"judge.onnx\", input = \"log_mel\", mel = { bands = 64 } }")).is_ok());
        check(&with("process = { command = [] }"), "`rewards[0].process.command` must be");
        check(&with("process = { command = \"judge.py\" }"), "r.toml:3:");
        check(&with("process = { comand = [\"x\"] }"), "did you mean `command`?");
        check(&with("process = { command = [\"x\"], timeout_seconds = 0 }"), "rewards[0].process.timeout_seconds");
        check(&with("http = { url = \"https://h/\" }"), "`rewards[0].http.url`");
        check(&with("http = { url = \"http://h/\", audio = \"flac\" }"), "unknown value `flac`");
        check(&with("onnx = { path = \"x\", sample_rate_hz = 10 }"), "rewards[0].onnx.sample_rate_hz");
        check(&with("onnx = { path = \"x\", mel = { bands = 64 } }"), "rewards[0].onnx.mel");
    }
}
