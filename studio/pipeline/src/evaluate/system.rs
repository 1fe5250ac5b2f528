//! The systems that are compared: bundles under names, each clip as it is played or the best of several.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use musicrl_codec::neural::CodecConfig;
use musicrl_core::{policy::HierarchicalPolicyConfig, tokens::TokenLayout};
use serde::{Deserialize, Serialize};

use super::best_of::{BestOf, BestOfArgument, BestOfInfo};
use crate::{
    Error, Result,
    bundle::{Bundle, part, sha256_hex},
    recipe::EMBEDDED,
};

/// A system as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemArgument {
    /// Its name in everything that is shown.
    pub name: String,
    /// `embedded`, a bundle's folder, or a run's with `bundle/` inside.
    pub path: PathBuf,
}

impl SystemArgument {
    /// Reads `NAME=PATH`, or a path that names itself by its last part (`runs/r` and `runs/r/bundle` are `r`).
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is empty, too long, or of other characters than letters, digits, `-`, `_`, `.`.
    pub fn parse(text: &str) -> Result<Self> {
        // A path with `=` in it is still a path: a name holds no separator.
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains(std::path::is_separator) => (name.to_string(), PathBuf::from(path)),
            _ => (own_name(Path::new(text)), PathBuf::from(text)),
        };
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.chars().count() > 60 || !name.chars().all(plain) {
            let expected = "NAME=FOLDER with a name of 1 to 60 letters, digits, `-`, `_` and `.`";
            return Err(Error::config("system", expected, format!("{text:?}")));
        }
        if path.as_os_str().is_empty() {
            return Err(Error::config("system", "NAME=FOLDER", format!("{text:?}")));
        }
        Ok(Self { name, path })
    }

    /// Reads all arguments; no two may have one name.
    ///
    /// # Errors
    /// As [`SystemArgument::parse`].
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        let systems = texts.iter().map(|text| Self::parse(text)).collect::<Result<Vec<_>>>()?;
        let mut names = BTreeSet::new();
        match systems.iter().find(|system| !names.insert(system.name.as_str())) {
            Some(system) => {
                let got = format!("`{}` twice", system.name);
                Err(Error::config("system", "names that differ (give them as NAME=FOLDER)", got))
            }
            None => Ok(systems),
        }
    }
}

fn own_name(path: &Path) -> String {
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match (last(path), path.parent()) {
        (name, Some(parent)) if name == "bundle" && !last(parent).is_empty() => last(parent),
        (name, _) => name,
    }
}

/// A system that is there.
#[derive(Debug, Clone)]
pub struct System {
    /// Its name.
    pub name: String,
    /// Where it came from, as it was given.
    pub path: PathBuf,
    /// Its models.
    pub bundle: Bundle,
    /// Who chooses among how many of its clips; `None`: each clip that it plays is heard.
    pub best_of: Option<BestOf>,
}

/// What a report says about a system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// Its name.
    pub name: String,
    /// Where it came from; `None` where only its ratings are known.
    pub path: Option<String>,
    /// The bundle's identity (see [`Bundle::identity`]), joined with that of what chooses among its clips.
    pub sha256: Option<String>,
    /// Samples a second of its sound.
    pub sample_rate_hz: Option<u32>,
    /// Length of the clips that its policy learned on.
    pub clip_seconds: Option<f64>,
    /// How it came to be, for people.
    #[serde(default)]
    pub provenance: Vec<String>,
    /// Who chose among how many of its clips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_of: Option<BestOfInfo>,
}

impl SystemInfo {
    /// A system of which only the name is known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            path: None,
            sha256: None,
            sample_rate_hz: None,
            clip_seconds: None,
            provenance: Vec::new(),
            best_of: None,
        }
    }
}

impl System {
    /// Opens a bundle: the embedded one, a bundle's folder, or that of a run.
    ///
    /// # Errors
    /// Those of [`Bundle::open`].
    pub fn open(argument: &SystemArgument) -> Result<Self> {
        let path = &argument.path;
        let bundle = if path == Path::new(EMBEDDED) {
            crate::embedded::base()?
        } else if !path.join("bundle.json").exists() && path.join("bundle").join("bundle.json").exists() {
            Bundle::open(&path.join("bundle"))?
        } else {
            Bundle::open(path)?
        };
        Ok(Self { name: argument.name.clone(), path: path.clone(), bundle, best_of: None })
    }

    /// The same system, of whose clips a judge chooses.
    ///
    /// # Errors
    /// As [`BestOf::open`].
    pub fn choosing(self, argument: &BestOfArgument) -> Result<Self> {
        let best_of = Some(BestOf::open(argument, &self.bundle)?);
        Ok(Self { best_of, ..self })
    }

    /// The hash of what is heard of it: its bundle's identity, joined with that of what chooses among its clips.
    ///
    /// # Errors
    /// As [`BestOf::identity`].
    pub fn identity(&self) -> Result<String> {
        let bundle = self.bundle.identity();
        match &self.best_of {
            None => Ok(bundle),
            Some(best) => Ok(sha256_hex(format!("{bundle}\n{}\n", best.identity()?).as_bytes())),
        }
    }

    /// What a report says about it when `heard` of its clips are.
    ///
    /// # Errors
    /// When the bundle lacks the codec.
    pub fn info(&self, heard: usize) -> Result<SystemInfo> {
        Ok(SystemInfo {
            name: self.name.clone(),
            path: Some(self.path.display().to_string()),
            sha256: Some(self.identity()?),
            sample_rate_hz: Some(self.bundle.config::<CodecConfig>(part::CODEC)?.sample_rate_hz),
            clip_seconds: Some(self.bundle.clip_seconds()),
            provenance: self.bundle.provenance().to_vec(),
            best_of: self.best_of.as_ref().map(|best| best.info(heard)),
        })
    }
}

/// What differs between the systems beyond their weights, a sentence each: none of it hinders a comparison by ear.
///
/// # Errors
/// When a bundle lacks codec or policy.
pub fn differences(systems: &[System]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let rates: Vec<u32> = systems
        .iter()
        .map(|system| Ok(system.bundle.config::<CodecConfig>(part::CODEC)?.sample_rate_hz))
        .collect::<Result<_>>()?;
    if rates.iter().any(|rate| *rate != rates[0]) {
        let list: Vec<String> =
            systems.iter().zip(&rates).map(|(system, rate)| format!("{} {rate} Hz", system.name)).collect();
        notes.push(format!("the systems sound at different rates ({}); each is heard at its own", list.join(", ")));
    }
    let layouts: Vec<TokenLayout> = systems
        .iter()
        .map(|system| Ok(system.bundle.config::<HierarchicalPolicyConfig>(part::POLICY)?.layout))
        .collect::<Result<_>>()?;
    if layouts.iter().any(|layout| *layout != layouts[0]) {
        notes.push(
            "the systems have different token layouts: the same random numbers mean nothing alike to them, so clips \
             of one prompt are no more alike than any"
                .into(),
        );
    }
    let identities = systems.iter().map(System::identity).collect::<Result<Vec<_>>>()?;
    for (at, system) in systems.iter().enumerate() {
        let same = identities[..at].iter().position(|other| *other == identities[at]);
        if let Some(same) = same.map(|same| &systems[same]) {
            notes.push(format!("{} and {} are the same bundle: they play the same clips", same.name, system.name));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_argument_or_its_last_part() {
        let check = |text: &str, name: &str, path: &str| {
            let system = SystemArgument::parse(text).unwrap();
            assert_eq!((system.name.as_str(), system.path.as_path()), (name, Path::new(path)), "{text}");
        };
        check("base=embedded", "base", "embedded");
        check("embedded", "embedded", "embedded");
        check("runs/r-2/", "r-2", "runs/r-2/");
        check("runs/r/bundle", "r", "runs/r/bundle");
        check("bundle", "bundle", "bundle");
        check("a=b=c", "a", "b=c");
    }

    #[test]
    fn bad_names_are_refused() {
        for text in ["", "=x", "x=", "a b=x", "runs/a=b", "..", "/", "a/.."] {
            assert!(matches!(SystemArgument::parse(text), Err(Error::Config { .. })), "{text}");
        }
        let twice = ["runs/a".to_string(), "a=embedded".to_string()];
        assert!(SystemArgument::parse_all(&twice).unwrap_err().to_string().contains("`a` twice"));
        assert_eq!(SystemArgument::parse_all(&twice[..1]).unwrap().len(), 1);
    }

    #[test]
    fn the_bundle_of_a_run_is_found_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Bundle::new().save(&dir.path().join("run/bundle")).unwrap();
        let open = |path: PathBuf| System::open(&SystemArgument { name: "x".into(), path });
        let (run, inside) = (open(dir.path().join("run")).unwrap(), open(dir.path().join("run/bundle")).unwrap());
        assert_eq!(run.bundle.identity(), inside.bundle.identity());
        assert!(open(dir.path().join("gone")).unwrap_err().to_string().contains("gone"));
        assert!(run.info(1).unwrap_err().to_string().contains("codec"));
    }
}
