//! Which clips can be heard: the same prompt by every system.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{experiment::Gathered, lineage::from_above, side::subfolders, system::System};
use crate::{
    align::captions::Captions,
    recipe::{CaptionSource, CaptionsConfig, EMBEDDED},
};

/// One prompt and who played it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct PromptClips {
    /// The caption, or what stands for it.
    pub caption: String,
    /// Who, what more there is to say of it, and the file.
    pub clips: Vec<(String, String, PathBuf)>,
}

/// The prompts that can be heard, and where they come from: the clips of an evaluation where there are any, or else those
/// that the stages left.
pub(in crate::report) fn prompts(gathered: &mut Gathered) -> (&'static str, Vec<PromptClips>) {
    let evaluated: Vec<PromptClips> = gathered
        .evaluations
        .iter()
        .filter_map(|(path, _)| path.parent())
        .flat_map(|dir| exported(dir, &mut gathered.notes))
        .collect();
    if !evaluated.is_empty() {
        return ("clips of the evaluation", evaluated);
    }
    ("clips that the stages left at their evaluations, of captions that learning did not see", of_stages(gathered))
}

/// What is read of an export's key.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct KeyView {
    systems: Vec<KeySystem>,
    prompts: Vec<String>,
    clips: Vec<KeyClip>,
}

#[derive(Deserialize)]
struct KeySystem {
    name: String,
}

#[derive(Deserialize)]
struct KeyClip {
    clip: String,
    system: usize,
    prompt: usize,
    #[serde(default)]
    take: usize,
}

/// The first take of each prompt in an export of `musicrl evaluate` in `dir` or in a folder of it.
fn exported(dir: &Path, notes: &mut Vec<String>) -> Vec<PromptClips> {
    let places = [dir.to_path_buf()].into_iter().chain(subfolders(dir));
    let Some(place) = places.into_iter().find(|place| place.join("key.json").is_file()) else { return Vec::new() };
    let path = place.join("key.json");
    let read = fs::read_to_string(&path).map_err(|error| error.to_string());
    let key: KeyView = match read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())) {
        Ok(key) => key,
        Err(reason) => {
            notes.push(format!("{}: no key of an export ({reason}); its clips are left out", path.display()));
            return Vec::new();
        }
    };
    let plain =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let mut clips = BTreeMap::<(usize, usize), PathBuf>::new();
    for clip in key.clips.iter().filter(|clip| clip.take == 0 && plain(&clip.clip)) {
        clips.insert((clip.prompt, clip.system), place.join("clips").join(format!("{}.wav", clip.clip)));
    }
    let of = |(at, caption): (usize, String)| {
        let of_system = |(system, info): (usize, &KeySystem)| {
            Some((info.name.clone(), String::new(), clips.get(&(at, system)).filter(|path| path.is_file())?.clone()))
        };
        PromptClips { caption, clips: key.systems.iter().enumerate().filter_map(of_system).collect() }
    };
    key.prompts.iter().cloned().enumerate().map(of).filter(|prompt| !prompt.clips.is_empty()).collect()
}

fn of_stages(gathered: &mut Gathered) -> Vec<PromptClips> {
    let mut prompts: Vec<(String, PromptClips)> = Vec::new();
    let mut add = |key: String, caption: String, clip: (String, String, PathBuf)| match prompts
        .iter_mut()
        .find(|(other, _)| *other == key)
    {
        Some((_, prompt)) => prompt.clips.push(clip),
        None => prompts.push((key, PromptClips { caption, clips: vec![clip] })),
    };
    let known: Vec<Result<Vec<String>, String>> = gathered.systems.iter().map(held_out).collect();
    for (system, known) in gathered.systems.iter().zip(&known) {
        let heard = system.stages.iter().any(|stage| !stage.samples.is_empty());
        if let (true, Err(reason)) = (heard, known) {
            gathered.notes.push(format!("{}: the captions of its clips are not known ({reason})", system.name));
        }
    }
    let mut bases = Vec::new();
    for (system, captions) in gathered.systems.iter().zip(&known) {
        let Some((step, folder)) = system.stages.first().and_then(|stage| stage.samples.first()) else { continue };
        let base =
            (system.recipe.base.path.clone(), system.recipe.base.sha256.clone(), prompt_key(system, captions, 0).0);
        // Runs from one base on the same captions begin with the same clips.
        if system.parent.is_some() || *step != 0 || bases.contains(&base) {
            continue;
        }
        bases.push(base);
        let embedded = system.recipe.base.path == Path::new(EMBEDDED);
        let name = if embedded { "base".into() } else { format!("base ({})", system.base_name()) };
        for (index, path) in wavs(folder) {
            let (key, caption) = prompt_key(system, captions, index);
            add(key, caption, (name.clone(), format!("as {} began", system.name), path));
        }
    }
    for (system, captions) in gathered.systems.iter().zip(&known) {
        let last = system.stages.iter().rev().find_map(|stage| Some((stage, stage.result_samples()?)));
        let Some((stage, (step, folder))) = last else { continue };
        let stage_name = if system.stages.len() > 1 { format!("{}, ", stage.plan.name) } else { String::new() };
        // Not every checkpoint left clips.
        let other = match stage.chosen() {
            Some(chosen) if chosen != *step => format!("; the chosen step {chosen} left none"),
            _ => String::new(),
        };
        for (index, path) in wavs(folder) {
            let (key, caption) = prompt_key(system, captions, index);
            add(key, caption, (system.name.clone(), format!("{stage_name}step {step}{other}"), path));
        }
    }
    prompts.into_iter().map(|(_, prompt)| prompt).collect()
}

/// What makes two prompts the same, and what is shown of it.
fn prompt_key(system: &System, captions: &Result<Vec<String>, String>, index: usize) -> (String, String) {
    match captions.as_ref().ok().and_then(|captions| captions.get(index)) {
        Some(caption) => (caption.clone(), caption.clone()),
        None => {
            let source = system.recipe.captions.as_ref().map(ToString::to_string).unwrap_or_default();
            (format!("{source} {:?} {index}", system.recipe.seed), format!("held-out caption {}", index + 1))
        }
    }
}

/// The held-out captions of a run, from their source as far as it is still there.
fn held_out(system: &System) -> Result<Vec<String>, String> {
    let mut config: CaptionsConfig = match &system.recipe.captions {
        Some(value) => value.clone().try_into().map_err(|error: toml::de::Error| error.message().to_string())?,
        None => CaptionsConfig::default(),
    };
    if let Some(path) = config.path.take() {
        let wanted = |place: &PathBuf| match config.source {
            CaptionSource::Corpus => place.is_dir(),
            _ => place.is_file(),
        };
        let place = from_above(&system.dir, &path).into_iter().find(wanted);
        config.path = Some(place.ok_or_else(|| format!("{} is not there", path.display()))?);
    }
    let captions = Captions::load(&config, system.recipe.seed.unwrap_or(1)).map_err(|error| error.to_string())?;
    Ok(captions.held_out)
}

/// The numbered clips of a folder.
fn wavs(folder: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |path: PathBuf| {
        let is_wav = path.extension().is_some_and(|extension| extension == "wav");
        let number = path.file_stem()?.to_str()?.parse().ok()?;
        is_wav.then_some((number, path))
    };
    let mut found: Vec<(usize, PathBuf)> = entries.filter_map(|entry| number(entry.path())).collect();
    found.sort();
    found
}
