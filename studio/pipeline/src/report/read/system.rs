//! A run of `musicrl align` as one system of a report.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{recipe::RecipeView, stage::Stage};
use crate::{Error, Result, recipe::parse, run::Versions};

/// One aligned system.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct System {
    /// Its name in everything that is shown; no two have one.
    pub name: String,
    /// Its run.
    pub dir: PathBuf,
    /// The recipe that it was resolved to.
    pub recipe: RecipeView,
    /// The same, word for word.
    pub recipe_text: String,
    /// What it was made with, where the run says so.
    pub versions: Option<Versions>,
    /// The stages of the recipe.
    pub stages: Vec<Stage>,
    /// Whether the aligned bundle is there.
    pub has_bundle: bool,
    /// The system that it starts from; `None` for a base that is no system here.
    pub parent: Option<usize>,
}

impl System {
    /// Whether `dir` looks like a run of `musicrl align`.
    pub fn is_run(dir: &Path) -> bool {
        dir.join("recipe.toml").is_file() && dir.join("stages").is_dir()
    }

    /// Reads the run in `dir`.
    ///
    /// # Errors
    /// [`Error::Parse`] for a recipe that is none, [`Error::File`] for one without stages or for metrics that are none.
    pub fn read(name: String, dir: &Path, notes: &mut Vec<String>) -> Result<Self> {
        let path = dir.join("recipe.toml");
        let recipe_text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let recipe: RecipeView = parse(&recipe_text, &path)?;
        if recipe.stage.is_empty() {
            let expected = "the recipe of an alignment, with at least one `[[stage]]`".into();
            return Err(Error::File { path: dir.into(), expected, got: "a recipe without stages".into() });
        }
        let mut stages = Vec::with_capacity(recipe.stage.len());
        for plan in &recipe.stage {
            let dir = dir.join("stages").join(&plan.name);
            stages.push(Stage::read(plan.clone(), &dir, notes)?);
        }
        let has_bundle = dir.join("bundle").join("bundle.json").is_file();
        let versions = read_versions(&dir.join("versions.json"), notes)?;
        Ok(Self { name, dir: dir.into(), recipe, recipe_text, versions, stages, has_bundle, parent: None })
    }

    /// Learning steps between the first base and the system, along the checkpoints that were chosen.
    pub fn steps_from_base(&self) -> u64 {
        self.stages.last().map_or(0, |stage| stage.start + stage.result_step())
    }

    /// The base in words: the path that the recipe has.
    pub fn base_name(&self) -> String {
        let path = &self.recipe.base.path;
        if path.as_os_str().is_empty() {
            "a base that the recipe does not name".into()
        } else {
            path.display().to_string()
        }
    }
}

/// `versions.json`, if it is there; one that cannot be read is a note, not the end of the report.
///
/// # Errors
/// [`Error::Io`] when a file that is there cannot be read.
pub(super) fn read_versions(path: &Path, notes: &mut Vec<String>) -> Result<Option<Versions>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    match serde_json::from_str(&text) {
        Ok(versions) => Ok(Some(versions)),
        Err(error) => {
            notes.push(format!("{}: no versions of a run ({error})", path.display()));
            Ok(None)
        }
    }
}
