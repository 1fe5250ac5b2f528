//! An experiment's folder: one writer at a time, one recipe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use musicrl_codec::write::write_atomic;

use super::recipe::ExperimentRecipe;
use crate::{
    Error, Result,
    run::{Versions, lock},
};

/// The file that says what the experiment is.
const RECIPE: &str = "experiment.toml";

/// A folder that this process may write to, until it is dropped or the process dies.
#[derive(Debug)]
pub struct ExperimentDir {
    path: PathBuf,
    _lock: fs::File,
}

impl ExperimentDir {
    /// Makes the folder of a resolved recipe, or takes up the one that is there if it was made of the same.
    ///
    /// # Errors
    /// [`Error::Busy`] while another process writes there; [`Error::File`] when the folder holds something else or an
    /// experiment of another recipe, naming the first line that differs; [`Error::Io`].
    pub fn create_or_open(path: &Path, recipe: &ExperimentRecipe, versions: &Versions) -> Result<Self> {
        let file = path.join(RECIPE);
        if !file.exists() && fs::read_dir(path).is_ok_and(|mut entries| entries.any(|entry| !is_lock(&entry))) {
            let expected = "a new or empty folder, or that of an experiment (experiment.toml)".into();
            return Err(Error::File { path: path.into(), expected, got: "a folder with something else".into() });
        }
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let lock = lock(path)?;
        let text = recipe.to_toml()?;
        if file.exists() {
            let there = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
            if let Some((expected, got)) = first_difference(&there, &text) {
                return Err(Error::File { path: file, expected, got });
            }
        } else {
            let json = serde_json::to_vec_pretty(versions)
                .map_err(|error| Error::config("versions", "text that JSON can hold", error))?;
            write_atomic(&path.join("versions.json"), &json)?;
            // Last: a folder that has it has everything.
            write_atomic(&file, text.as_bytes())?;
        }
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the experiment in one piece, its folder made.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Codec`] naming the file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        write_atomic(&path, bytes)?;
        Ok(path)
    }
}

/// A start that was cut off leaves a lock and perhaps the versions.
fn is_lock(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| ["lock", "versions.json"].iter().any(|name| entry.file_name() == *name))
}

fn first_difference(there: &str, given: &str) -> Option<(String, String)> {
    if there == given {
        return None;
    }
    let mut lines = there.lines().zip(given.lines()).enumerate();
    Some(match lines.find(|(_, (there, given))| there != given) {
        Some((at, (there, given))) => {
            (format!("the recipe of this experiment (line {}: `{there}`)", at + 1), format!("another (`{given}`)"))
        }
        None => ("the recipe of this experiment".into(), "a longer or shorter one".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::recipe::Kind, *};
    use crate::run::Machine;

    #[test]
    fn a_folder_keeps_to_its_recipe() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("e");
        let read = |seed: u64| {
            let kind = Kind::Rounds;
            let recipe = ExperimentRecipe::parse(kind, kind.recipe(), Path::new("e.toml"), true).unwrap();
            ExperimentRecipe { seed, ..recipe }
        };
        let open = |path: &Path, seed| {
            ExperimentDir::create_or_open(path, &read(seed), &Versions::new("flex", seed, Machine::default()))
        };
        let dir = open(&path, 1).unwrap();
        assert!(matches!(open(&path, 1).unwrap_err(), Error::Busy { .. }));
        dir.write("recipes/a.toml", b"x = 1\n").unwrap();
        drop(dir);
        assert!(path.join("recipes/a.toml").is_file() && open(&path, 1).is_ok());
        let error = open(&path, 2).unwrap_err().to_string();
        assert!(error.contains("line 1: `seed = 1`") && error.contains("`seed = 2`"), "{error}");
        let error = open(temp.path(), 1).unwrap_err().to_string();
        assert!(error.contains("new or empty folder"), "{error}");
    }
}
