//! One run's folder: made or taken up by one writer at a time.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Versions,
    checkpoint::Checkpoints,
    disk::{Disk, SystemDisk, replace},
};
use crate::{Error, Result};

const RECIPE: &str = "recipe.toml";
const VERSIONS: &str = "versions.json";
const FOLDERS: [&str; 3] = ["checkpoints", "samples", "tensorboard"];

/// A run directory that this process may write to. The lock is given up when it is dropped, or when the process dies.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// What differs between the start of the run and now.
    differences: Vec<String>,
    /// Whether the run began with this call.
    is_new: bool,
    _lock: File,
}

impl RunDir {
    /// Makes a run directory at `path`, or takes up the one that is there if it was made from the same resolved
    /// `recipe` (TOML, nothing left to a default).
    ///
    /// # Errors
    /// [`Error::Busy`] while another process writes there; [`Error::File`] when the folder holds something else or a
    /// run of another recipe, naming the first line that differs; [`Error::Io`].
    pub fn create_or_open(path: impl Into<PathBuf>, recipe: &str, versions: &Versions) -> Result<Self> {
        Self::create_or_open_on(Arc::new(SystemDisk), path, recipe, versions)
    }

    /// As [`RunDir::create_or_open`], on another [`Disk`].
    ///
    /// # Errors
    /// As [`RunDir::create_or_open`].
    pub fn create_or_open_on(
        disk: Arc<dyn Disk>,
        path: impl Into<PathBuf>,
        recipe: &str,
        versions: &Versions,
    ) -> Result<Self> {
        let path = path.into();
        refuse_foreign(&path)?;
        fs::create_dir_all(&path).map_err(Error::io("create run directory", &path))?;
        let lock = lock(&path)?;
        for folder in FOLDERS {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io("create", folder))?;
        }
        let mut dir = Self { path, disk, differences: Vec::new(), is_new: false, _lock: lock };
        let there = read_if_there(&dir.recipe_path())?;
        // The recipe is written last: a folder that has one has everything.
        match there {
            Some(other) if other == recipe => dir.differences = versions.differences(&dir.versions()?),
            Some(other) => return Err(other_recipe(dir.recipe_path(), &other, recipe)),
            None => {
                let json = serde_json::to_string_pretty(versions).map_err(|error| Error::Io {
                    doing: "encode",
                    path: dir.path.join(VERSIONS),
                    source: error.into(),
                })?;
                dir.replace_file(VERSIONS, (json + "\n").as_bytes())?;
                dir.replace_file(RECIPE, recipe.as_bytes())?;
                dir.is_new = true;
            }
        }
        dir.checkpoints().sweep()?;
        Ok(dir)
    }

    /// Forgets the recipe of a run that this call began and that could not start: its folder then takes a corrected one.
    /// A run that was there before stays as it is.
    pub fn withdraw(self) {
        if self.is_new {
            // What cannot be removed only costs the user another folder's name; the error that led here matters more.
            let _ = fs::remove_file(self.recipe_path());
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `recipe.toml`.
    #[must_use]
    pub fn recipe_path(&self) -> PathBuf {
        self.path.join(RECIPE)
    }

    /// `metrics.jsonl`.
    #[must_use]
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `timings.jsonl`.
    #[must_use]
    pub fn timings_path(&self) -> PathBuf {
        self.path.join("timings.jsonl")
    }

    /// The event file. One a run: it is cut back on resume, not continued in a second file.
    #[must_use]
    pub fn events_path(&self) -> PathBuf {
        self.path.join("tensorboard").join("events.out.tfevents.0000000001.musicrl")
    }

    /// The folder for audio at fixed captions and seeds.
    #[must_use]
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// The run's checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"), Arc::clone(&self.disk))
    }

    /// What the run began with.
    ///
    /// # Errors
    /// [`Error::File`] when `versions.json` is missing or damaged.
    pub fn versions(&self) -> Result<Versions> {
        let path = self.path.join(VERSIONS);
        let refuse = |got: String| Error::File { path: path.clone(), expected: "a run's versions".into(), got };
        let text = read_if_there(&path)?.ok_or_else(|| refuse("no such file".into()))?;
        serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
    }

    /// What differs between the start of the run and now, one sentence each. Empty for a new run. Where it is not, the
    /// promise of equal bytes does not hold.
    #[must_use]
    pub fn differences(&self) -> &[String] {
        &self.differences
    }

    /// Writes a file of the run (a report, a table) in one piece, replacing the one of that name.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file; an old one then stays as it was.
    pub fn replace_file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        replace(self.disk.as_ref(), &path, bytes).map_err(Error::io("write", &path))?;
        Ok(path)
    }
}

/// A folder with files but without our lock is somebody else's.
fn refuse_foreign(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(Error::io("list", path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("list", path)(error)),
    };
    if entries.is_empty() || entries.iter().any(|entry| entry.file_name() == "lock") {
        return Ok(());
    }
    let expected = "an empty folder or a run directory".to_string();
    Err(Error::File { path: path.into(), expected, got: format!("a folder with {} other entries", entries.len()) })
}

/// Holds `path`, a folder, for this process until the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let lock_path = path.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&lock_path);
    let file = file.map_err(Error::io("open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", lock_path)(error)),
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn other_recipe(path: PathBuf, there: &str, given: &str) -> Error {
    let mut lines = there.lines().zip(given.lines()).enumerate();
    let (expected, got) = match lines.find(|(_, (there, given))| there != given) {
        Some((index, (there, given))) => {
            (format!("the recipe of this run (line {}: `{there}`)", index + 1), format!("another (`{given}`)"))
        }
        None => ("the recipe of this run".into(), "a longer or shorter one".into()),
    };
    Error::File { path, expected, got }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Machine;

    fn versions(seed: u64) -> Versions {
        Versions::new("flex", seed, Machine::default())
    }

    #[test]
    fn one_writer_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run");
        let first = RunDir::create_or_open(&path, "steps = 1\n", &versions(1)).unwrap();
        let second = RunDir::create_or_open(&path, "steps = 1\n", &versions(1));
        assert!(matches!(second, Err(Error::Busy { .. })), "{second:?}");
        drop(first);
        RunDir::create_or_open(&path, "steps = 1\n", &versions(1)).unwrap();
    }

    #[test]
    fn another_recipe_is_refused_with_the_line() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run");
        drop(RunDir::create_or_open(&path, "seed = 1\nsteps = 1\n", &versions(1)).unwrap());
        let error = RunDir::create_or_open(&path, "seed = 1\nsteps = 2\n", &versions(1)).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("`steps = 2`"), "{error}");
    }

    #[test]
    fn a_run_that_could_not_start_takes_another_recipe_and_one_that_did_keeps_its_own() {
        let temp = tempfile::tempdir().unwrap();
        RunDir::create_or_open(temp.path(), "steps = 0\n", &versions(1)).unwrap().withdraw();
        drop(RunDir::create_or_open(temp.path(), "steps = 1\n", &versions(1)).unwrap());
        RunDir::create_or_open(temp.path(), "steps = 1\n", &versions(1)).unwrap().withdraw();
        assert!(RunDir::create_or_open(temp.path(), "steps = 2\n", &versions(1)).is_err());
    }

    #[test]
    fn a_folder_of_other_files_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "x").unwrap();
        assert!(RunDir::create_or_open(temp.path(), "", &versions(1)).is_err());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_machine_is_noticed_and_the_first_one_stays_on_record() {
        let temp = tempfile::tempdir().unwrap();
        assert!(RunDir::create_or_open(temp.path(), "", &versions(1)).unwrap().differences().is_empty());
        let mut now = versions(1);
        now.machine.threads = 64;
        let dir = RunDir::create_or_open(temp.path(), "", &now).unwrap();
        assert_eq!(dir.differences().len(), 1);
        assert_eq!(dir.versions().unwrap(), versions(1));
    }

    #[test]
    fn a_start_that_was_killed_before_the_recipe_is_finished() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("lock"), "").unwrap();
        fs::create_dir(temp.path().join("samples")).unwrap();
        let dir = RunDir::create_or_open(temp.path(), "seed = 3\n", &versions(3)).unwrap();
        assert_eq!(fs::read_to_string(dir.recipe_path()).unwrap(), "seed = 3\n");
    }
}
