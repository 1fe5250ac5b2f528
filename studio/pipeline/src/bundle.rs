//! A bundle: the models that make music together, as one directory.
//!
//! `bundle.json` lists the parts (codec, semantic tokeniser, text-audio embedding, policy, fine stage, judges) with their
//! settings and the SHA-256 of their weights; each part's weights are a safetensors file beside it. A bundle may hold
//! some parts only: each `train` command adds one. The embedded base is a bundle inside the binary. A part may stand on a
//! published checkpoint ([`Source`]), which is named and not copied.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::module::Module;
use musicrl_core::params::{ParamTable, Storage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{Error, Result, training::Files};

/// The format that this code writes.
const FORMAT_VERSION: u32 = 1;
const MANIFEST: &str = "bundle.json";

/// Names of the parts, in the order in which they are trained.
pub mod part {
    /// The neural codec.
    pub const CODEC: &str = "codec";
    /// The semantic tokeniser.
    pub const SEMANTIC: &str = "semantic";
    /// The joint text-audio embedding.
    pub const TEXT_AUDIO: &str = "text_audio";
    /// The token policy.
    pub const POLICY: &str = "policy";
    /// The fine acoustic stage.
    pub const FINE: &str = "fine";
    /// The predictor of acoustic quality, a judge.
    pub const QUALITY: &str = "quality";
    /// What listeners like, learned from their choices.
    pub const PREFERENCE: &str = "preference";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format_version: u32,
    /// How the bundle came to be, for people: the commands and the corpus.
    #[serde(default)]
    provenance: Vec<String>,
    /// Length of the clips that the policy learned on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clip_seconds: Option<f64>,
    parts: BTreeMap<String, Part>,
    /// Checkpoints of others that parts stand on, by part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<String, Source>,
}

/// A checkpoint that a part of a bundle stands on and that is not copied into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its folder, from the root. May be corrected by hand when the folder moved: it is no part of the identity.
    pub path: PathBuf,
    /// Hash of what is read of it.
    pub sha256: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    config: serde_json::Value,
    sha256: String,
}

impl Manifest {
    /// Length in seconds of the clips that the policy learned on; 10 where the bundle does not say.
    fn clip_seconds(&self) -> f64 {
        self.clip_seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0).unwrap_or(10.0)
    }

    fn identity(&self) -> String {
        let mut text = format!("bundle 1, clips of {} s\n", self.clip_seconds());
        for (name, part) in &self.parts {
            text += &format!("{name} {} {}\n", part.sha256, part.config);
            if let Some(source) = self.sources.get(name) {
                text += &format!("{name} source {}\n", source.sha256);
            }
        }
        sha256_hex(text.as_bytes())
    }
}

/// The models of one system, as bytes: parts become modules on a device only when they are asked for.
#[derive(Debug, Clone)]
pub struct Bundle {
    manifest: Manifest,
    weights: Files,
    /// Where it came from, for messages.
    origin: String,
}

impl Bundle {
    /// A bundle without parts.
    #[must_use]
    pub fn new() -> Self {
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            provenance: Vec::new(),
            clip_seconds: None,
            parts: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        Self { manifest, weights: Files::new(), origin: "new bundle".into() }
    }

    /// Reads a bundle directory and checks every weight file against its hash.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing, [`Error::File`] when one is not what the manifest says.
    pub fn open(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| Error::Io { doing: "read bundle file", path, source })
        };
        let mut files = Files::new();
        let manifest = read(MANIFEST)?;
        let parsed: Manifest = parse_manifest(&manifest, dir)?;
        files.insert(MANIFEST.into(), manifest);
        for name in parsed.parts.keys() {
            let file = weight_file(name);
            files.insert(file.clone(), read(&file)?);
        }
        Self::from_files(files, dir)
    }

    /// A bundle from files in memory, `origin` naming where they came from.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn from_files(mut files: Files, origin: &Path) -> Result<Self> {
        let wrong = |name: &str, expected: &str, got: String| Error::File {
            path: origin.join(name),
            expected: expected.to_string(),
            got,
        };
        let bytes = files.remove(MANIFEST).ok_or_else(|| wrong(MANIFEST, "a bundle manifest", "no file".into()))?;
        let manifest = parse_manifest(&bytes, origin)?;
        for (name, part) in &manifest.parts {
            let file = weight_file(name);
            let bytes = files.get(&file).ok_or_else(|| wrong(&file, "weights", "no file".into()))?;
            let hash = sha256_hex(bytes);
            if hash != part.sha256 {
                return Err(wrong(&file, &format!("SHA-256 {}", part.sha256), hash));
            }
        }
        Ok(Self { manifest, weights: files, origin: origin.display().to_string() })
    }

    /// Where it came from, for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The parts it has.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.manifest.parts.keys().map(String::as_str)
    }

    /// The hash of a part's weights.
    #[must_use]
    pub fn sha256(&self, name: &str) -> Option<&str> {
        self.manifest.parts.get(name).map(|part| part.sha256.as_str())
    }

    /// The checkpoint that a part stands on, if any.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.manifest.sources.get(name)
    }

    /// Notes the checkpoint that a part stands on. [`Bundle::set`] of that part forgets it.
    pub fn set_source(&mut self, name: &str, source: Source) {
        self.manifest.sources.insert(name.to_string(), source);
    }

    /// The hash of all that the bundle makes music with: clip length, and each part's name, settings, SHA-256 and that of
    /// the checkpoint that it stands on. How it came to be, and where that checkpoint lies, is no part of it.
    #[must_use]
    pub fn identity(&self) -> String {
        self.manifest.identity()
    }

    /// The identity of the bundle in `dir` by its manifest alone: the weights are not read.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no manifest, [`Error::File`] when it is none.
    pub fn identity_in(dir: &Path) -> Result<String> {
        let path = dir.join(MANIFEST);
        let bytes = fs::read(&path).map_err(Error::io("read bundle file", path))?;
        Ok(parse_manifest(&bytes, dir)?.identity())
    }

    /// Size of all weight files.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Length in seconds of the clips that the policy learned on; 10 where the bundle does not say.
    #[must_use]
    pub fn clip_seconds(&self) -> f64 {
        self.manifest.clip_seconds()
    }

    /// Notes the length of the clips that the policy learned on.
    pub fn set_clip_seconds(&mut self, seconds: f64) {
        self.manifest.clip_seconds = Some(seconds);
    }

    /// The lines that say how it was made.
    #[must_use]
    pub fn provenance(&self) -> &[String] {
        &self.manifest.provenance
    }

    /// Adds a line to the bundle's history.
    pub fn push_provenance(&mut self, line: String) {
        self.manifest.provenance.push(line);
    }

    /// A part's settings.
    ///
    /// # Errors
    /// [`Error::Config`] when the bundle lacks the part, [`Error::File`] when its settings do not parse.
    pub fn config<C: DeserializeOwned>(&self, name: &str) -> Result<C> {
        let part = self.manifest.parts.get(name).ok_or_else(|| Error::Config {
            field: "bundle".into(),
            expected: format!(
                "a bundle with a `{name}` part (train one with `musicrl train {}`)",
                name.replace('_', "-")
            ),
            got: format!("{} with [{}]", self.origin, self.parts().collect::<Vec<_>>().join(", ")),
        })?;
        serde_json::from_value(part.config.clone()).map_err(|error| Error::File {
            path: Path::new(&self.origin).join(MANIFEST),
            expected: format!("settings of `{name}`"),
            got: error.to_string(),
        })
    }

    /// Puts a part's weights into `module`, which was made from its settings.
    ///
    /// # Errors
    /// [`Error::File`] naming the file and the tensor that does not fit.
    pub fn load<M: Module>(&self, name: &str, module: M) -> Result<M> {
        let file = weight_file(name);
        let bytes = self.weights.get(&file).map_or(&[][..], Vec::as_slice);
        let wrong = |error: musicrl_core::Error| Error::File {
            path: Path::new(&self.origin).join(&file),
            expected: format!("weights of `{name}`"),
            got: error.to_string(),
        };
        let table = ParamTable::collect(&module).read_safetensors(bytes).map_err(wrong)?;
        table.apply(module).map_err(wrong)
    }

    /// Adds or replaces a part, which then stands on no checkpoint of others.
    ///
    /// # Errors
    /// When a weight is not finite or the settings cannot be written as JSON.
    pub fn set<C: Serialize, M: Module>(&mut self, name: &str, config: &C, module: &M, storage: Storage) -> Result<()> {
        let bytes = ParamTable::collect(module).to_safetensors(storage)?;
        let config = serde_json::to_value(config).map_err(|error| Error::Config {
            field: name.to_string(),
            expected: "settings that can be written as JSON".into(),
            got: error.to_string(),
        })?;
        let sha256 = sha256_hex(&bytes);
        self.manifest.parts.insert(name.to_string(), Part { config, sha256 });
        self.manifest.sources.remove(name);
        self.weights.insert(weight_file(name), bytes);
        Ok(())
    }

    /// All files of the bundle, the manifest included.
    ///
    /// # Errors
    /// When the manifest cannot be written as JSON.
    pub fn to_files(&self) -> Result<Files> {
        let mut manifest = serde_json::to_vec_pretty(&self.manifest).map_err(|error| Error::Config {
            field: MANIFEST.into(),
            expected: "a manifest that can be written as JSON".into(),
            got: error.to_string(),
        })?;
        manifest.push(b'\n');
        let mut files = self.weights.clone();
        files.insert(MANIFEST.into(), manifest);
        Ok(files)
    }

    /// Writes the bundle to `dir`: weights first, the manifest last, each file aside and then renamed, so that a
    /// killed write leaves either the old part or a mismatch that [`Bundle::open`] names.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(|source| Error::Io { doing: "create bundle", path: dir.into(), source })?;
        let mut files = self.to_files()?;
        let manifest = files.remove(MANIFEST).unwrap_or_default();
        for (name, bytes) in files.iter().map(|(name, bytes)| (name.as_str(), bytes)).chain([(MANIFEST, &manifest)]) {
            let path = dir.join(name);
            write_renamed(dir, &path, bytes).map_err(|source| Error::Io {
                doing: "write bundle file",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

/// The name aside is the same every time: what a killed write left there is written over by the next, not kept for ever.
fn write_renamed(dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    let aside = dir.join(name);
    let written = (|| {
        let mut file = fs::File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // A full disk: give the space back. The error that matters is the write's.
        let _ = fs::remove_file(&aside);
    }
    written
}

fn parse_manifest(bytes: &[u8], origin: &Path) -> Result<Manifest> {
    let wrong =
        |expected: &str, got: String| Error::File { path: origin.join(MANIFEST), expected: expected.to_string(), got };
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| wrong("a bundle manifest", error.to_string()))?;
    if manifest.format_version != FORMAT_VERSION {
        return Err(wrong(&format!("format version {FORMAT_VERSION}"), manifest.format_version.to_string()));
    }
    // Part names become file names: nothing but the letters that our own names have.
    for name in manifest.parts.keys() {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(wrong("part names of lower-case letters", format!("{name:?}")));
        }
    }
    if let Some(name) = manifest.sources.keys().find(|name| !manifest.parts.contains_key(*name)) {
        return Err(wrong("sources of parts that are there", format!("one of {name:?}")));
    }
    Ok(manifest)
}

fn weight_file(part: &str) -> String {
    format!("{part}.safetensors")
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
