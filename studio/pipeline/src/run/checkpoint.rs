//! Checkpoints: folders written aside, synced, then renamed, with the SHA-256 of every file.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::disk::Disk;
use crate::{Error, Result, training::Files};

const MANIFEST: &str = "manifest.json";
const FORMAT: &str = "musicrl-checkpoint";
const VERSION: u32 = 1;
const ASIDE: &str = ".writing-";
/// A manifest lists some ten files; anything far larger is none.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// The manifest's form on disk. Its bytes are a function of its values, so a reader can demand exactly those bytes:
/// a flipped bit anywhere, also in white space, is then found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    version: u32,
    step: u64,
    /// Numbers as text, shortest exact form: JSON readers differ in the last bit of a float.
    evaluation: BTreeMap<String, String>,
    files: BTreeMap<String, FileEntry>,
    /// SHA-256 of this manifest with this field empty.
    sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    fn of(step: u64, files: &Files, evaluation: &BTreeMap<String, f64>) -> serde_json::Result<Vec<u8>> {
        let entry = |bytes: &Vec<u8>| FileEntry { bytes: bytes.len() as u64, sha256: hex_sha256(bytes) };
        let mut manifest = Self {
            format: FORMAT.into(),
            version: VERSION,
            step,
            evaluation: evaluation.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
            files: files.iter().map(|(name, bytes)| (name.clone(), entry(bytes))).collect(),
            sha256: String::new(),
        };
        manifest.sha256 = hex_sha256(&manifest.to_bytes()?);
        manifest.to_bytes()
    }

    fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn evaluation(&self) -> BTreeMap<String, f64> {
        let number = |(name, text): (&String, &String)| Some((name.clone(), text.parse().ok()?));
        self.evaluation.iter().filter_map(number).collect()
    }

    /// Why these bytes are no sound manifest of `step`, or the manifest.
    fn parse(bytes: &[u8], step: u64) -> std::result::Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let unsigned = Self { sha256: String::new(), ..manifest.clone() };
        let sum = unsigned.to_bytes().map(|bytes| hex_sha256(&bytes)).map_err(|error| error.to_string())?;
        if sum != manifest.sha256 || manifest.to_bytes().ok().as_deref() != Some(bytes) {
            return Err("a manifest whose checksum does not fit".into());
        }
        if manifest.format != FORMAT || manifest.version != VERSION {
            return Err(format!("`{}` version {}", manifest.format, manifest.version));
        }
        if manifest.step != step {
            return Err(format!("the manifest of step {}", manifest.step));
        }
        if let Some(text) = manifest.evaluation.values().find(|text| text.parse::<f64>().is_err()) {
            return Err(format!("the evaluation {text:?}"));
        }
        match manifest.files.keys().find(|name| !is_plain_name(name)) {
            Some(name) => Err(format!("the file name {name:?}")),
            None => Ok(manifest),
        }
    }
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Letters, digits, `.`, `_`, `-`; not hidden and not the manifest: such a name stays inside its folder.
fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name != MANIFEST && name.chars().all(plain)
}

/// A checkpoint that was read and found whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Steps done.
    pub step: u64,
    /// The training's state.
    pub files: Files,
    /// What the evaluation at this step measured; empty when there was none.
    pub evaluation: BTreeMap<String, f64>,
}

/// The newest sound checkpoint, and what was refused on the way to it.
#[derive(Debug, Default)]
pub struct Latest {
    /// The newest checkpoint whose every file is what its manifest says.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are not: step and reason, naming the file.
    pub refused: Vec<(u64, Error)>,
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Larger is better (rewards).
    Higher,
    /// Smaller is better (losses).
    Lower,
}

/// The evaluation metric by which one checkpoint is better than another.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Name of the metric.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
}

/// Which checkpoints stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// The newest so many (at least one always stays).
    pub last: usize,
    /// And the best by this metric.
    pub best: Option<Best>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 2, best: None }
    }
}

/// The `checkpoints` folder of a run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Checkpoints {
    /// The checkpoints in `folder`, which exists.
    #[must_use]
    pub fn new(folder: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { folder, disk }
    }

    /// The folder of the checkpoint of `step`.
    #[must_use]
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:06}"))
    }

    /// Steps of which there is a checkpoint, sound or not, in ascending order.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let list = || -> io::Result<Vec<u64>> {
            let mut steps = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                let name = entry?.file_name();
                let step = name.to_str().and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok());
                // "step-5" or "step-+00005" is not ours: `path` would not lead back to it.
                steps.extend(step.filter(|step| self.path(*step).file_name() == Some(name.as_os_str())));
            }
            steps.sort_unstable();
            Ok(steps)
        };
        list().map_err(Error::io("list checkpoints in", &self.folder))
    }

    /// Writes the checkpoint of `step`. When this returns an error, no checkpoint of that step has appeared and the
    /// others are untouched.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file that could not be written; [`Error::Config`] for a file name that is not plain.
    pub fn write(&self, step: u64, files: &Files, evaluation: &BTreeMap<String, f64>) -> Result<PathBuf> {
        if let Some(name) = files.keys().find(|name| !is_plain_name(name)) {
            return Err(Error::config("checkpoint file", "a plain file name", name));
        }
        let target = self.path(step);
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = self.folder.join(format!("{ASIDE}{name}"));
        let written = self.write_aside(&aside, step, files, evaluation).and_then(|()| {
            fs::rename(&aside, &target).map_err(Error::io("put in place checkpoint", &target))?;
            self.disk.sync_folder(&self.folder).map_err(Error::io("sync", &self.folder))
        });
        if written.is_err() {
            // Best effort: frees the space that the half checkpoint took.
            let _ = fs::remove_dir_all(&aside);
        }
        written.map(|()| target)
    }

    fn write_aside(&self, aside: &Path, step: u64, files: &Files, evaluation: &BTreeMap<String, f64>) -> Result<()> {
        remove_folder(aside)?;
        fs::create_dir(aside).map_err(Error::io("create", aside))?;
        for (name, bytes) in files {
            let path = aside.join(name);
            self.disk.write_new(&path, bytes).map_err(Error::io("write checkpoint file", path))?;
        }
        let path = aside.join(MANIFEST);
        let manifest = Manifest::of(step, files, evaluation).map_err(|error| Error::Io {
            doing: "encode",
            path: path.clone(),
            source: error.into(),
        })?;
        self.disk.write_new(&path, &manifest).map_err(Error::io("write checkpoint file", path))?;
        self.disk.sync_folder(aside).map_err(Error::io("sync", aside))
    }

    /// Reads the checkpoint of `step` and checks every file.
    ///
    /// # Errors
    /// [`Error::File`] naming the file that is missing, cut, changed or unexpected; [`Error::Io`] when the system
    /// cannot read one.
    pub fn load(&self, step: u64) -> Result<Checkpoint> {
        let folder = self.path(step);
        let manifest = self.manifest(step)?;
        let mut files = Files::new();
        for (name, entry) in &manifest.files {
            let path = folder.join(name);
            let expected = || format!("{} bytes as listed in {MANIFEST}", entry.bytes);
            let refuse = |got: String| Error::File { path: path.clone(), expected: expected(), got };
            let bytes = read_listed(&path, expected(), |length| length == entry.bytes)?;
            if hex_sha256(&bytes) != entry.sha256 {
                return Err(refuse("a file with another SHA-256: it was changed or damaged".into()));
            }
            files.insert(name.clone(), bytes);
        }
        Ok(Checkpoint { step, files, evaluation: manifest.evaluation() })
    }

    fn manifest(&self, step: u64) -> Result<Manifest> {
        let path = self.path(step).join(MANIFEST);
        let expected = format!("the manifest of the checkpoint of step {step}");
        let bytes = read_listed(&path, expected.clone(), |length| length <= MANIFEST_BYTES_MAX)?;
        Manifest::parse(&bytes, step).map_err(|got| Error::File { path, expected, got })
    }

    /// The newest sound checkpoint. Damaged ones are passed over and reported.
    ///
    /// # Errors
    /// The newest one's when there are checkpoints and none is sound; [`Error::Io`] when the system cannot read.
    pub fn latest(&self) -> Result<Latest> {
        let mut latest = Latest::default();
        for step in self.steps()?.into_iter().rev() {
            match self.load(step) {
                Ok(checkpoint) => {
                    latest.checkpoint = Some(checkpoint);
                    return Ok(latest);
                }
                Err(error @ Error::File { .. }) => latest.refused.push((step, error)),
                Err(error) => return Err(error),
            }
        }
        // Starting anew over damaged checkpoints would throw the user's work away without a word.
        if latest.refused.is_empty() { Ok(latest) } else { Err(latest.refused.swap_remove(0).1) }
    }

    /// Step and metric of the best checkpoint by its evaluation; the newest of equals. `None` when none was evaluated so.
    ///
    /// # Errors
    /// As [`Checkpoints::load`], for manifests.
    pub fn best(&self, best: &Best) -> Result<Option<(u64, f64)>> {
        let mut found: Option<(u64, f64)> = None;
        for step in self.steps()? {
            let evaluation = self.manifest(step)?.evaluation();
            let Some(&value) = evaluation.get(&best.metric).filter(|value| value.is_finite()) else { continue };
            let better = found.is_none_or(|(_, leader)| match best.direction {
                Direction::Higher => value >= leader,
                Direction::Lower => value <= leader,
            });
            if better {
                found = Some((step, value));
            }
        }
        Ok(found)
    }

    /// Removes what `keep` does not name.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be removed.
    pub fn prune(&self, keep: &Keep) -> Result<()> {
        let steps = self.steps()?;
        let best = keep.best.as_ref().map_or(Ok(None), |best| self.best(best))?.map(|(step, _)| step);
        let old = steps.len().saturating_sub(keep.last.max(1));
        for step in steps.into_iter().take(old).filter(|step| Some(*step) != best) {
            // The name goes first, so that a kill in between leaves no half checkpoint under it.
            let aside = self.folder.join(format!("{ASIDE}removed-{step}"));
            remove_folder(&aside)?;
            fs::rename(self.path(step), &aside).map_err(Error::io("remove old checkpoint", self.path(step)))?;
            remove_folder(&aside)?;
        }
        Ok(())
    }

    /// Renames a damaged checkpoint to `step-NNNNNN.refused`, so that its step can be written again.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be renamed.
    pub fn set_aside(&self, step: u64) -> Result<PathBuf> {
        let from = self.path(step);
        let to = self.folder.join(format!("step-{step:06}.refused"));
        remove_folder(&to)?;
        fs::rename(&from, &to).map_err(Error::io("set aside damaged checkpoint", from))?;
        Ok(to)
    }

    /// Removes what a process that was killed had written aside. Only the holder of the run's lock may.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be listed or removed.
    pub fn sweep(&self) -> Result<()> {
        let leftovers = || -> io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(&self.folder)?.collect::<io::Result<Vec<_>>>()?;
            let aside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(ASIDE);
            Ok(entries.into_iter().filter(aside).map(|entry| entry.path()).collect())
        };
        for path in leftovers().map_err(Error::io("list", &self.folder))? {
            remove_folder(&path)?;
        }
        Ok(())
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Reads a file whose length `fits`; a missing file or another length is [`Error::File`], before any byte is read.
fn read_listed(path: &Path, expected: String, fits: impl Fn(u64) -> bool) -> Result<Vec<u8>> {
    let refuse = |got: String| Error::File { path: path.into(), expected: expected.clone(), got };
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    let length = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(refuse("no ordinary file".into())),
        Err(error) if gone.contains(&error.kind()) => return Err(refuse("no such file".into())),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    if !fits(length) {
        return Err(refuse(format!("{length} bytes")));
    }
    fs::read(path).map_err(Error::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{SystemDisk, disk::Disk};
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn files() -> Files {
        [("a.bin".to_string(), vec![1, 2, 3]), ("b.bin".to_string(), (0..=255).collect())].into()
    }

    fn fresh() -> (tempfile::TempDir, Checkpoints) {
        let temp = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(temp.path().into(), Arc::new(SystemDisk));
        (temp, checkpoints)
    }

    fn evaluated(value: f64) -> BTreeMap<String, f64> {
        [("reward".to_string(), value)].into()
    }

    #[test]
    fn what_is_written_is_read() {
        let (_temp, checkpoints) = fresh();
        assert!(checkpoints.latest().unwrap().checkpoint.is_none());
        checkpoints.write(9, &files(), &evaluated(0.1)).unwrap();
        checkpoints.write(1_234_567, &files(), &BTreeMap::new()).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [9, 1_234_567]);
        let expected = Checkpoint { step: 9, files: files(), evaluation: evaluated(0.1) };
        assert_eq!(checkpoints.load(9).unwrap(), expected);
        assert_eq!(checkpoints.latest().unwrap().checkpoint.unwrap().step, 1_234_567);
    }

    #[test]
    fn keeps_the_newest_and_the_best() {
        let (_temp, checkpoints) = fresh();
        for (step, value) in [(1, 0.5), (2, 0.9), (3, 0.2), (4, 0.1)] {
            checkpoints.write(step, &files(), &evaluated(value)).unwrap();
        }
        let best = |direction| Best { metric: "reward".into(), direction };
        assert_eq!(checkpoints.best(&best(Direction::Lower)).unwrap().unwrap().0, 4);
        checkpoints.prune(&Keep { last: 1, best: Some(best(Direction::Higher)) }).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [2, 4]);
        checkpoints.prune(&Keep { last: 0, best: None }).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [4], "one always stays");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_flipped_bit_or_a_cut_anywhere_is_refused_by_name(which in 0..3usize, at in 0..10_000usize, cut: bool) {
            let (_temp, checkpoints) = fresh();
            checkpoints.write(1, &files(), &evaluated(0.25)).unwrap();
            checkpoints.write(2, &files(), &evaluated(0.25)).unwrap();
            let name = ["a.bin", "b.bin", MANIFEST][which];
            let path = checkpoints.path(2).join(name);
            let mut bytes = fs::read(&path).unwrap();
            if cut {
                bytes.truncate(at % bytes.len());
            } else {
                let bit = at % (8 * bytes.len());
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            fs::write(&path, bytes).unwrap();
            let error = checkpoints.load(2).unwrap_err();
            prop_assert!(error.to_string().contains(name), "{}", error);
            let latest = checkpoints.latest().unwrap();
            prop_assert_eq!(latest.checkpoint.unwrap().step, 1);
            prop_assert_eq!(latest.refused.len(), 1);
        }
    }

    #[test]
    fn with_no_sound_checkpoint_nothing_is_started_over() {
        let (_temp, checkpoints) = fresh();
        checkpoints.write(2, &files(), &BTreeMap::new()).unwrap();
        fs::remove_file(checkpoints.path(2).join("b.bin")).unwrap();
        assert!(checkpoints.latest().unwrap_err().to_string().contains("b.bin"));
        let aside = checkpoints.set_aside(2).unwrap();
        assert!(aside.ends_with("step-000002.refused"));
        checkpoints.write(2, &files(), &BTreeMap::new()).unwrap();
        assert_eq!(checkpoints.latest().unwrap().checkpoint.unwrap().step, 2);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let (_temp, checkpoints) = fresh();
        for name in ["../x", "a/b", "", ".hidden", MANIFEST, "a\0"] {
            let files = [(name.to_string(), vec![0])].into();
            assert!(checkpoints.write(1, &files, &BTreeMap::new()).is_err(), "{name:?}");
        }
        assert!(checkpoints.steps().unwrap().is_empty());
    }

    /// Fails with "no space left" at its n-th operation.
    #[derive(Debug)]
    struct FullAt(AtomicUsize);

    impl Disk for FullAt {
        fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
                SystemDisk.write_new(path, &bytes[..bytes.len() / 2])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            SystemDisk.write_new(path, bytes)
        }

        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            SystemDisk.sync_folder(path)
        }
    }

    #[test]
    fn a_full_disk_leaves_the_last_good_checkpoint_and_no_rubbish() {
        for operation in 1..=3 {
            let (temp, checkpoints) = fresh();
            checkpoints.write(1, &files(), &BTreeMap::new()).unwrap();
            let full = Checkpoints::new(temp.path().into(), Arc::new(FullAt(AtomicUsize::new(operation))));
            let error = full.write(2, &files(), &BTreeMap::new()).unwrap_err();
            assert!(error.is_disk_full(), "{error}");
            assert_eq!(checkpoints.latest().unwrap().checkpoint.unwrap().step, 1);
            assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "the half checkpoint is gone");
        }
    }

    #[test]
    fn what_a_killed_writer_left_is_swept() {
        let (temp, checkpoints) = fresh();
        fs::create_dir(temp.path().join(".writing-step-000003")).unwrap();
        checkpoints.sweep().unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
