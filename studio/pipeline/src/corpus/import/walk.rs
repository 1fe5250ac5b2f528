//! Which files of a folder are recordings.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{SetAside, captions::CaptionTable};
use crate::{Error, Result};

/// Endings of audio files. A file with another ending is imported if the captions file names it.
const AUDIO_ENDINGS: [&str; 18] = [
    "wav", "wave", "flac", "mp3", "mp2", "mp1", "ogg", "oga", "opus", "m4a", "m4b", "mp4", "aac", "aif", "aiff", "caf",
    "mka", "webm",
];

/// A file that may be a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// Relative to the folder, with `/` between its parts.
    pub(super) name: String,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Sorted by name.
    pub(super) candidates: Vec<Candidate>,
    pub(super) set_aside: Vec<SetAside>,
    pub(super) ignored: usize,
}

fn relative(path: &Path, folder: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with('.')
}

/// Lists a folder and its folders, but not hidden ones, links to folders, or the corpus that is being written.
pub(super) fn walk(folder: &Path, table: &CaptionTable, target: &Path) -> Result<Walk> {
    if !folder.is_dir() {
        let got = if folder.exists() { "a file" } else { "nothing" };
        return Err(Error::File { path: folder.into(), expected: "a folder of recordings".into(), got: got.into() });
    }
    let mut walk = Walk::default();
    let target = target.canonicalize().ok();
    let entries = WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter().filter_entry(|entry| {
        let is_target = entry.file_type().is_dir() && target.is_some() && entry.path().canonicalize().ok() == target;
        !is_hidden(entry.file_name()) && !is_target
    });
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().map_or(String::new(), |path| relative(path, folder));
                walk.set_aside.push(SetAside { path, reason: error.to_string() });
                continue;
            }
        };
        // A link counts as what it leads to, unless that is a folder: folders could lead back.
        if entry.file_type().is_dir() || entry.path().is_dir() {
            continue;
        }
        let name = relative(entry.path(), folder);
        let ending = entry.path().extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let by_name = ending.is_some_and(|ending| AUDIO_ENDINGS.contains(&ending.as_str()));
        if by_name || table.row(&name).is_some() {
            walk.candidates.push(Candidate { path: entry.into_path(), name });
        } else {
            walk.ignored += 1;
        }
    }
    walk.candidates.sort_by(|a, b| a.name.cmp(&b.name));
    for missing in table.names().filter(|name| walk.candidates.binary_search_by(|c| c.name.as_str().cmp(name)).is_err())
    {
        let reason = "named by the captions file, but not there".into();
        walk.set_aside.push(SetAside { path: missing.into(), reason });
    }
    Ok(walk)
}
