//! From the folders that were named to systems, evaluations and trainings.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    evaluation::{Evaluation, Raters},
    lineage,
    side::{SideRun, subfolders},
    study::{AccuracyCurve, Against},
    system::{System, read_versions},
};
use crate::{
    Error, Result,
    experiment::{EXPERIMENT_FILE, Experiment},
    report::ReportInput,
    run::Versions,
    study::file::{PERSONAL_FILE, STUDY_FILE},
};

/// Recipes that an experiment may have at its top.
const RECIPES: [&str; 2] = ["experiment.toml", "recipe.toml"];

/// Files of studies of reward models, and what their accuracy goes against.
const STUDIES: [(&str, Against); 2] = [(STUDY_FILE, Against::Epochs), (PERSONAL_FILE, Against::Pairs)];

/// All that a report is made of.
#[derive(Debug, Default)]
pub(in crate::report) struct Gathered {
    /// What was read, as it was named.
    pub titles: Vec<String>,
    /// The systems, parents known.
    pub systems: Vec<System>,
    /// The evaluations, each with where it lies.
    pub evaluations: Vec<(PathBuf, Evaluation)>,
    /// Accuracy of reward models by epoch.
    pub accuracy: Vec<AccuracyCurve>,
    /// Accuracy of reward models for single listeners by pairs.
    pub personal: Vec<AccuracyCurve>,
    /// What experiments found, each with the name of its folder.
    pub findings: Vec<(String, Experiment)>,
    /// Trainings beside the systems.
    pub sides: Vec<SideRun>,
    /// Recipes of experiments: name and text.
    pub recipes: Vec<(String, String)>,
    /// Versions of experiments.
    pub versions: Option<Versions>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Reads everything.
///
/// # Errors
/// [`Error::File`] naming a folder that is no run, experiment or study, with what was expected; [`Error::Config`] when
/// there is nothing to read; those of the files.
pub(in crate::report) fn gather(input: &ReportInput) -> Result<Gathered> {
    if input.runs.is_empty() && input.evaluation.is_none() {
        return Err(Error::config("run", "at least one folder of a run or an experiment", "none"));
    }
    let mut gathered = Gathered::default();
    for dir in &input.runs {
        gathered.titles.push(own_name(dir));
        if dir.join("systems").is_dir() {
            gathered.experiment(dir)?;
        } else if System::is_run(dir) {
            gathered.system(own_name(dir), dir)?;
        } else if STUDIES.iter().any(|(name, _)| dir.join(name).is_file()) {
            gathered.studies(dir, None)?;
        } else {
            return Err(Error::File {
                path: dir.clone(),
                expected: "a run of musicrl align (recipe.toml and stages/), an experiment (systems/) or a study (study.json, \
                           personal.json)"
                    .into(),
                got: what_it_is(dir),
            });
        }
    }
    if let Some(path) = &input.evaluation {
        let path = if path.is_dir() { path.join("evaluation.json") } else { path.clone() };
        let read = Evaluation::read(&path, &mut gathered.notes)?;
        // Named twice is shown once.
        if !gathered.evaluations.iter().any(|(_, other)| *other == read) {
            gathered.evaluations.push((path, read));
        }
    }
    lineage::resolve(&mut gathered.systems, &mut gathered.notes);
    Ok(gathered)
}

impl Gathered {
    fn system(&mut self, name: String, dir: &Path) -> Result<()> {
        let taken: BTreeSet<&str> = self.systems.iter().map(|system| system.name.as_str()).collect();
        // The folder above tells two runs of one name apart, and a number whatever that leaves.
        let longer =
            dir.parent().map(own_name).filter(|parent| !parent.is_empty()).map(|parent| format!("{parent}/{name}"));
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let mut names = [Some(name.clone()), longer].into_iter().flatten().chain(numbered);
        let name = names.find(|name| !taken.contains(name.as_str())).unwrap_or(name);
        let system = System::read(name, dir, &mut self.notes)?;
        self.systems.push(system);
        Ok(())
    }

    /// What `musicrl experiment` found, if it made the folder. One of another version is noted and left out.
    fn finding(&mut self, dir: &Path) {
        let path = dir.join(EXPERIMENT_FILE);
        let Ok(bytes) = fs::read(&path) else { return };
        match serde_json::from_slice(&bytes) {
            Ok(experiment) => self.findings.push((own_name(dir), experiment)),
            Err(error) => self.notes.push(format!("{}: not shown, of another version ({error})", path.display())),
        }
    }

    fn experiment(&mut self, dir: &Path) -> Result<()> {
        let mut folders = subfolders(&dir.join("systems"));
        let mut order = Vec::new();
        for name in RECIPES {
            let path = dir.join(name);
            if path.is_file() {
                let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
                order.extend(names_in(&text));
                self.recipes.push((format!("{}/{name}", own_name(dir)), text));
            }
        }
        let evaluation = dir.join("evaluation").join("evaluation.json");
        if evaluation.is_file() {
            let read = Evaluation::read(&evaluation, &mut self.notes)?;
            order.extend(read.systems.iter().map(|system| system.name.clone()));
            self.evaluations.push((evaluation, read));
        }
        // The recipe's order, then the evaluation's; what neither names comes after, by name.
        let place = |folder: &PathBuf| order.iter().position(|name| *name == own_name(folder)).unwrap_or(order.len());
        folders.sort_by_key(place);
        for folder in &folders {
            if System::is_run(folder) {
                self.system(own_name(folder), folder)?;
            } else {
                self.notes.push(format!(
                    "{}: not yet a run of musicrl align ({})",
                    folder.display(),
                    what_it_is(folder)
                ));
            }
        }
        if folders.is_empty() {
            self.notes.push(format!("{}: no system yet", dir.join("systems").display()));
        }
        self.finding(dir);
        for name in ["preference", "quality"] {
            let sides = SideRun::read_all(&dir.join(name), &mut self.notes)?;
            if name == "preference" {
                let curve = |side: &SideRun| AccuracyCurve::of_records(&side.name, &side.records, side.raters.clone());
                self.accuracy.extend(sides.iter().filter_map(curve));
            }
            self.sides.extend(sides);
        }
        let known = self.sides.iter().find(|side| side.raters != Raters::Unknown).map(|side| side.raters.clone());
        self.studies(dir, known.as_ref())?;
        self.studies(&dir.join("preference"), known.as_ref())?;
        if self.versions.is_none() {
            self.versions = read_versions(&dir.join("versions.json"), &mut self.notes)?;
        }
        Ok(())
    }
}

impl Gathered {
    /// The studies of a folder; who chose is `known` where they do not say.
    fn studies(&mut self, dir: &Path, known: Option<&Raters>) -> Result<()> {
        for (name, against) in STUDIES {
            let path = dir.join(name);
            if !path.is_file() {
                continue;
            }
            let all = match against {
                Against::Epochs => &mut self.accuracy,
                Against::Pairs => &mut self.personal,
            };
            for mut curve in AccuracyCurve::read_study(&path, against)? {
                if curve.raters == Raters::Unknown {
                    curve.raters = known.cloned().unwrap_or_default();
                }
                all.push(curve);
            }
        }
        Ok(())
    }
}

/// The names of all tables in lists of tables of a recipe, in its order: an experiment names its systems in one of them.
fn names_in(text: &str) -> Vec<String> {
    fn collect(value: &toml::Value, names: &mut Vec<String>) {
        match value {
            toml::Value::Array(items) => {
                for item in items {
                    names.extend(item.get("name").and_then(toml::Value::as_str).map(str::to_string));
                    collect(item, names);
                }
            }
            toml::Value::Table(table) => table.values().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect(&toml::Value::Table(table), &mut names);
    }
    names
}

/// The last part of a path, also of `.` and `..`.
fn own_name(path: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(path).or_else(|| name(&fs::canonicalize(path).ok()?)).unwrap_or_else(|| path.display().to_string())
}

fn what_it_is(dir: &Path) -> String {
    let Ok(entries) = fs::read_dir(dir) else {
        return if dir.exists() { "a file".into() } else { "nothing: no such folder".into() };
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if dir.join("metrics.jsonl").is_file() {
        return "a single training run (metrics.jsonl at its top)".into();
    }
    match names.len() {
        0 => "an empty folder".into(),
        1..=6 => format!("a folder with {}", names.join(", ")),
        more => format!("a folder with {} and {} more", names[..5].join(", "), more - 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_run_is_named_with_what_was_expected() {
        let temp = tempfile::tempdir().unwrap();
        let refuse = |path: &Path, expected: &str| {
            let input = ReportInput { runs: vec![path.into()], evaluation: None };
            let error = gather(&input).unwrap_err().to_string();
            let named = error.contains(&path.display().to_string()) && error.contains("recipe.toml and stages/");
            assert!(named && error.contains(expected), "{error}");
        };
        refuse(temp.path(), "an empty folder");
        refuse(&temp.path().join("gone"), "no such folder");
        fs::write(temp.path().join("notes.txt"), "x").unwrap();
        refuse(temp.path(), "a folder with notes.txt");
        refuse(&temp.path().join("notes.txt"), "a file");
        fs::write(temp.path().join("metrics.jsonl"), "").unwrap();
        refuse(temp.path(), "a single training run");
        assert!(gather(&ReportInput::default()).is_err());
    }

    #[test]
    fn findings_of_another_version_are_noted() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("systems")).unwrap();
        fs::write(temp.path().join(EXPERIMENT_FILE), "{\"format_version\": 99}").unwrap();
        let gathered = gather(&ReportInput { runs: vec![temp.path().into()], evaluation: None }).unwrap();
        assert!(gathered.findings.is_empty());
        assert!(gathered.notes.iter().any(|note| note.contains("another version")), "{:?}", gathered.notes);
    }

    #[test]
    fn names_of_a_recipe_keep_their_order() {
        let text = "[a]\n[[system]]\nname = \"z\"\n[[system]]\nname = \"b\"\nstage = [{ name = \"s\" }]\n";
        assert_eq!(names_in(text), ["z", "b", "s"]);
        assert!(names_in("no [ toml").is_empty());
    }
}
