//! Trainings beside the systems: the preference model, the quality predictor.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    evaluation::{Raters, SourceView},
    log::Log,
    system::read_versions,
};
use crate::{
    Error, Result,
    run::{Kind, Record, Versions},
};

/// A training that is no alignment.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct SideRun {
    /// Its folder's name.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What it reported.
    pub records: Vec<Record>,
    /// Its settings, word for word; empty where there are none.
    pub recipe_text: String,
    /// What it was made with.
    pub versions: Option<Versions>,
    /// Who rated or chose what it learned from.
    pub raters: Raters,
}

impl SideRun {
    /// The trainings in `dir`: itself when it has metrics, or else each of its folders that has.
    ///
    /// # Errors
    /// [`Error::File`] for metrics that are none; [`Error::Io`].
    pub fn read_all(dir: &Path, notes: &mut Vec<String>) -> Result<Vec<Self>> {
        let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut folders = vec![(named(dir), dir.to_path_buf())];
        if !dir.join("metrics.jsonl").is_file() {
            let parent = named(dir);
            folders = subfolders(dir).into_iter().map(|path| (format!("{parent}/{}", named(&path)), path)).collect();
        }
        folders.retain(|(_, path)| path.join("metrics.jsonl").is_file());
        let known = source_near(dir);
        folders
            .into_iter()
            .map(|(name, dir)| {
                let log = Log::read(&dir.join("metrics.jsonl"))?;
                notes.extend(log.note);
                let recipe = dir.join("recipe.toml");
                let recipe_text = if recipe.is_file() {
                    fs::read_to_string(&recipe).map_err(Error::io("read", &recipe))?
                } else {
                    String::new()
                };
                let versions = read_versions(&dir.join("versions.json"), notes)?;
                let raters = raters_of(&log.records).unwrap_or_else(|| known.clone());
                Ok(Self { name, dir, records: log.records, recipe_text, versions, raters })
            })
            .collect()
    }

    /// The last evaluation.
    pub fn last_evaluation(&self) -> Option<&Record> {
        self.records.iter().rev().find(|record| record.kind == Kind::Evaluation)
    }
}

/// Folders in `dir`, in the order of their names.
pub(super) fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// A training may say of itself that what it learned from was simulated.
fn raters_of(records: &[Record]) -> Option<Raters> {
    let said = records.iter().filter_map(|record| record.metrics.get("simulated"));
    said.fold(None, |found, value| match (found, value > 0.0) {
        (_, true) => Some(Raters::Simulated("not named".into())),
        (found, false) => found.or(Some(Raters::Human)),
    })
}

/// Who chose, by a preference set in `dir`, in its folders, or in those beside it: people only where every line says so.
fn source_near(dir: &Path) -> Raters {
    #[derive(serde::Deserialize)]
    struct Line {
        source: SourceView,
    }
    let mut places = vec![dir.to_path_buf()];
    places.extend(subfolders(dir));
    places.extend(dir.parent().map(subfolders).unwrap_or_default());
    let mut populations = BTreeSet::new();
    let (mut people, mut unknown) = (false, false);
    for file in places.iter().flat_map(|place| [place.join("judgements.jsonl"), place.join("ratings.jsonl")]) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for line in text.lines() {
            match serde_json::from_str::<Line>(line).map(|line| Raters::of(&line.source)) {
                Ok(Raters::Human) => people = true,
                Ok(Raters::Simulated(population)) => drop(populations.insert(population)),
                Ok(Raters::Unknown) | Err(_) => unknown = true,
            }
        }
    }
    match (populations.is_empty(), people && !unknown) {
        (false, _) => Raters::Simulated(populations.into_iter().collect::<Vec<_>>().join(", ")),
        (true, true) => Raters::Human,
        (true, false) => Raters::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trainings_are_found_and_who_chose_is_known_from_the_set() {
        let temp = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("preference/b/metrics.jsonl", "{\"step\":1,\"evaluation\":{\"accuracy\":0.6}}\n");
        write("preference/a/metrics.jsonl", "{\"step\":1,\"evaluation\":{\"simulated\":1}}\n");
        write("set/judgements.jsonl", "{\"source\":{\"kind\":\"human\"}}\n");
        let read = || SideRun::read_all(&temp.path().join("preference"), &mut Vec::new()).unwrap();
        let runs = read();
        assert_eq!(runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["preference/a", "preference/b"]);
        assert_eq!((&runs[0].raters, &runs[1].raters), (&Raters::Simulated("not named".into()), &Raters::Human));
        // One simulated choice among those of people, and the whole is no longer people's.
        write("set/ratings.jsonl", "{\"source\":{\"kind\":\"simulated\",\"population\":\"town\"}}\n");
        assert_eq!(read()[1].raters, Raters::Simulated("town".into()));
    }
}
