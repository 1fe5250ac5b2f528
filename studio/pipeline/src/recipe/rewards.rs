//! A stage's rewards as a recipe writes them.

use std::path::{Path, PathBuf};

use musicrl_core::reward::Windows;
use serde::{Deserialize, Serialize};

use super::{align::EMBEDDED, nearest::nearest};
use crate::{Error, Result};

/// One judge and what its scores count for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardConfig {
    /// The reward's name, e.g. "text_adherence".
    pub name: String,
    /// Its weight in the sum; above 0.
    pub weight: f64,
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
}

impl RewardConfig {
    /// Checks every key against the rules and the name against the rewards that there are.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, prefix: &str, known: &[&str]) -> Result<()> {
        let field = |name: &str| format!("{prefix}.{name}");
        if !known.contains(&self.name.as_str()) {
            let expected = match nearest(&self.name, known.iter().copied()) {
                Some(name) => format!("a known reward (did you mean `{name}`?)"),
                None => format!("one of {}", known.join(", ")),
            };
            return Err(Error::config(field("name"), expected, &self.name));
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(Error::config(field("weight"), "above 0", self.weight));
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

    /// Makes the judge's paths relative to the recipe's folder.
    pub(super) fn seen_from(&mut self, folder: &Path) {
        if let Some(bundle) = self.bundle.as_mut().filter(|bundle| bundle.as_path() != Path::new(EMBEDDED)) {
            *bundle = folder.join(&*bundle);
        }
    }
}
