//! A checkpoint's folder, or that of an aligned policy, as a base: [`ImportedBase`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{module::Module as _, tensor::Device};
use musicrl_core::{
    params::{ParamTable, Storage, learn_where},
    random::{Key, Purpose},
};
use musicrl_zoo::{
    Architecture, Checkpoint,
    musicgen::{MusicGen, MusicGenPolicy},
};
use serde::{Deserialize, Serialize};

use super::{
    family::ADAPTER,
    identity::{checkpoint_identity, is_checkpoint},
};
use crate::{Error, Result, bundle::sha256_hex};

/// The list of an aligned policy's folder.
pub(super) const MANIFEST: &str = "imported.json";
const WEIGHTS: &str = "policy.safetensors";
const FORMAT_VERSION: u32 = 1;

/// What an aligned policy's folder says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format_version: u32,
    /// The checkpoint that it was aligned from.
    source: PathBuf,
    /// [`checkpoint_identity`] of it.
    source_identity: String,
    /// Rank and scale where the weights are adapters; without them the file holds the whole policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapters: Option<(usize, f64)>,
    /// SHA-256 of the weights.
    sha256: String,
    /// How it came to be.
    provenance: Vec<String>,
}

/// A MusicGen checkpoint, perhaps with an aligned policy in the place of its own.
#[derive(Debug)]
pub struct ImportedBase {
    /// Text encoder, policy, codec.
    pub model: MusicGen,
    /// The checkpoint's folder.
    pub source: PathBuf,
    /// Hash of all that it makes music with.
    pub identity: String,
    provenance: Vec<String>,
    source_identity: String,
}

impl ImportedBase {
    /// The checkpoint's folder of a base.
    ///
    /// # Errors
    /// As [`ImportedBase::open`].
    pub fn source_of(dir: &Path) -> Result<PathBuf> {
        if is_checkpoint(dir) { Ok(dir.to_path_buf()) } else { Ok(read_manifest(dir)?.source) }
    }

    /// Opens a checkpoint's folder or an aligned policy's.
    ///
    /// # Errors
    /// [`Error::File`] when it is neither, when it is a checkpoint of another architecture, or when the checkpoint is no
    /// longer the one that the policy was aligned from; whatever a broken checkpoint gives.
    pub fn open(dir: &Path, device: &Device) -> Result<Self> {
        let device = device.clone().inner();
        if is_checkpoint(dir) {
            let identity = checkpoint_identity(dir)?;
            let model = load(dir, &device)?;
            let source = dir.canonicalize().map_err(Error::io("open", dir))?;
            return Ok(Self { model, source, source_identity: identity.clone(), identity, provenance: Vec::new() });
        }
        let path = dir.join(MANIFEST);
        let manifest = read_manifest(dir)?;
        let source_identity = checkpoint_identity(&manifest.source)?;
        if source_identity != manifest.source_identity {
            let expected = format!("the checkpoint that was aligned ({})", manifest.source_identity);
            return Err(wrong(&manifest.source, &expected, source_identity));
        }
        let weights = dir.join(WEIGHTS);
        let bytes = fs::read(&weights).map_err(Error::io("read", &weights))?;
        let hash = sha256_hex(&bytes);
        if hash != manifest.sha256 {
            return Err(wrong(&weights, &format!("SHA-256 {}", manifest.sha256), hash));
        }
        let mut model = load(&manifest.source, &device)?;
        if let Some((rank, scale)) = manifest.adapters {
            if !(1..=1024).contains(&rank) || !scale.is_finite() {
                return Err(wrong(&path, "adapters of rank 1 to 1024", format!("rank {rank}, scale {scale}")));
            }
            model.policy = model.policy.with_adapters(rank, scale, Key::new(0, Purpose::Init));
        }
        model.policy = with_weights(model.policy, &bytes)
            .map_err(|error| wrong(&weights, "weights of the aligned policy", error.to_string()))?;
        let identity = sha256_hex(format!("aligned 1\n{source_identity}\n{hash}\n").as_bytes());
        Ok(Self { model, source: manifest.source, identity, provenance: manifest.provenance, source_identity })
    }

    /// Writes `policy`, aligned from this base, into `folder`: its adapters where it has some, else all of its weights.
    ///
    /// # Errors
    /// [`Error::Io`]; a weight that is not finite.
    pub fn save_aligned(&self, policy: &MusicGenPolicy, line: String, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let bytes = learned(policy.clone()).0.to_safetensors(Storage::F32)?;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            source: self.source.clone(),
            source_identity: self.source_identity.clone(),
            adapters: policy.adapters(),
            sha256: sha256_hex(&bytes),
            provenance: self.provenance.iter().cloned().chain([line]).collect(),
        };
        let path = folder.join(WEIGHTS);
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(&manifest)
            .map_err(|error| Error::config(MANIFEST, "writable as JSON", error))?;
        fs::write(&path, text + "\n").map_err(Error::io("write", &path))
    }
}

fn wrong(path: &Path, expected: &str, got: String) -> Error {
    Error::File { path: path.to_path_buf(), expected: expected.into(), got }
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(&path, "the list of an aligned checkpoint", error.to_string()))?;
    if manifest.format_version == FORMAT_VERSION {
        return Ok(manifest);
    }
    Err(wrong(&path, &format!("format version {FORMAT_VERSION}"), manifest.format_version.to_string()))
}

/// What is stored of a policy (its adapters where it has some), and the policy on the device where that is known.
pub(super) fn learned(policy: MusicGenPolicy) -> (ParamTable, MusicGenPolicy) {
    let whole = policy.adapters().is_none();
    let device = policy.decoder.device().autodiff();
    let policy = learn_where(policy.to_device(&device).train(), &|name| whole || name.contains(ADAPTER));
    (ParamTable::collect_trainable(&policy), policy)
}

/// The policy with what [`learned`] says is stored.
///
/// # Errors
/// When the bytes are not those weights.
pub(super) fn with_weights(policy: MusicGenPolicy, bytes: &[u8]) -> Result<MusicGenPolicy> {
    let (table, policy) = learned(policy);
    Ok(table.read_safetensors(bytes)?.apply(policy)?.valid())
}

fn load(dir: &Path, device: &Device) -> Result<MusicGen> {
    let checkpoint = Checkpoint::open(dir)?;
    let architecture = Architecture::of(&checkpoint)?;
    if architecture != Architecture::MusicGen {
        return Err(Error::File {
            path: dir.join("config.json"),
            expected: "a checkpoint of MusicGen: no other architecture is a policy".into(),
            got: architecture.name().into(),
        });
    }
    let model = MusicGen::load(&checkpoint, device)?;
    checkpoint.finish()?;
    Ok(model)
}
