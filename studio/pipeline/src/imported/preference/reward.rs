//! The reward `user_preference` of a head on an imported policy: [`ImportedPreference`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use musicrl_core::{
    Error as CoreError,
    params::Storage,
    policy::Policy as _,
    random::{Key, Purpose},
    reward::{Clip, Reward, Score},
    tokens::Tokens,
};
use musicrl_rewards::descriptors::describe;
use musicrl_zoo::musicgen::MusicGenPolicy;
use serde::{Deserialize, Serialize};

use super::{
    PreferenceHead,
    train::{pooled, with_numbers},
};
use crate::{
    Error, Result,
    bundle::sha256_hex,
    imported::{
        ImportedBase,
        base::{learned, with_weights},
    },
    preference::{DescriptorScale, UserPreference},
};

const ADAPTERS: &str = "adapters.safetensors";
const FILE: &str = "preference.json";
const FORMAT_VERSION: u32 = 1;

/// What a head's folder holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    /// Folder of the policy whose vectors it reads.
    policy: PathBuf,
    /// Identity of that policy.
    policy_identity: String,
    /// Hash of the judgements and clips that it learned from.
    data: String,
    head: PreferenceHead,
    /// Adapters that are put on the policy before its vectors are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapters: Option<StoredAdapters>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAdapters {
    rank: usize,
    /// alpha / rank.
    scale: f64,
    /// SHA-256 of `adapters.safetensors`.
    sha256: String,
}

/// A head with the policy whose vectors it reads.
#[derive(Debug)]
pub struct ImportedPreference {
    base: ImportedBase,
    head: PreferenceHead,
}

/// Whether a folder holds a head.
#[must_use]
pub fn is_preference_head(dir: &Path) -> bool {
    dir.join(FILE).is_file() && !dir.join("bundle.json").exists()
}

/// The hash of a head's file, which names its policy by hash.
///
/// # Errors
/// [`Error::Io`].
pub fn preference_head_identity(dir: &Path) -> Result<String> {
    let path = dir.join(FILE);
    Ok(sha256_hex(&fs::read(&path).map_err(Error::io("read", &path))?))
}

impl ImportedPreference {
    /// Writes a head that reads the vectors of the policy in the folder `policy`, which is `base`; those of `adapted`, the
    /// same policy with adapters that learned, where there is one.
    ///
    /// # Errors
    /// [`Error::Io`]; a weight that is not finite.
    pub fn save(
        head: &PreferenceHead,
        adapted: Option<&MusicGenPolicy>,
        policy: &Path,
        base: &ImportedBase,
        data: String,
        dir: &Path,
    ) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let adapters = adapted.map(|adapted| save_adapters(adapted, dir)).transpose()?.flatten();
        let stored = Stored {
            format_version: FORMAT_VERSION,
            policy: policy.canonicalize().map_err(Error::io("open", policy))?,
            policy_identity: base.identity.clone(),
            data,
            head: head.clone(),
            adapters,
        };
        let path = dir.join(FILE);
        let text = serde_json::to_string(&stored).map_err(|error| Error::config(FILE, "writable as JSON", error))?;
        fs::write(&path, text + "\n").map_err(Error::io("write", &path))
    }

    /// Opens a head's folder and the policy that it names.
    ///
    /// # Errors
    /// [`Error::File`] when the file is no head, or the policy another than the one that it learned on.
    pub fn open(dir: &Path, device: &Device) -> Result<Self> {
        let path = dir.join(FILE);
        let wrong = |expected: &str, got: String| Error::File { path: path.clone(), expected: expected.into(), got };
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|error| wrong("a preference head", error.to_string()))?;
        if stored.format_version != FORMAT_VERSION {
            return Err(wrong(&format!("format version {FORMAT_VERSION}"), stored.format_version.to_string()));
        }
        stored.head.validate().map_err(|error| wrong("a preference head", error.to_string()))?;
        let mut base = ImportedBase::open(&stored.policy, device)?;
        if base.identity != stored.policy_identity {
            let expected =
                format!("the policy that it learned on ({}) in {}", stored.policy_identity, stored.policy.display());
            return Err(wrong(&expected, base.identity));
        }
        let beside = stored.head.scale().map_or(0, |_| DescriptorScale::NUMBERS);
        let width = base.model.policy.decoder.config().hidden_size + beside;
        if stored.head.width() != width {
            return Err(wrong(
                &format!("{width} weights, as the policy is wide and descriptors are many"),
                stored.head.width().to_string(),
            ));
        }
        if let Some(adapters) = &stored.adapters {
            base.model.policy = adapted(base.model.policy, adapters, dir)?;
        }
        Ok(Self { base, head: stored.head })
    }

    fn judge(&self, clip: &Clip<'_>) -> Result<std::result::Result<f64, String>> {
        let tokens = match Tokens::new(clip.tokens.ids.to_vec(), clip.tokens.slots) {
            Ok(tokens) if tokens.frames > 0 => tokens,
            Ok(_) => return Ok(Err("it has no tokens".into())),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(error) = self.base.model.policy.layout().check(&tokens) {
            return Ok(Err(error.to_string()));
        }
        let caption = if self.head.text() { clip.caption } else { "" };
        let descriptors = match (self.head.scale(), &clip.audio) {
            (None, _) => None,
            (Some(_), Some(audio)) => Some(describe(audio.samples, audio.sample_rate_hz)),
            (Some(_), None) => return Ok(Err("it has no sound".into())),
        };
        let pooled = pooled(&self.base.model, caption, &tokens)?;
        let vector = with_numbers(pooled, self.head.scale(), descriptors.as_ref().map(|all| all.as_slice()));
        Ok(Ok(self.head.score(&vector)))
    }
}

/// Writes the adapters of a policy beside its head; `None` where it has none.
fn save_adapters(policy: &MusicGenPolicy, dir: &Path) -> Result<Option<StoredAdapters>> {
    let Some((rank, scale)) = policy.adapters() else { return Ok(None) };
    let bytes = learned(policy.clone()).0.to_safetensors(Storage::F32)?;
    let path = dir.join(ADAPTERS);
    fs::write(&path, &bytes).map_err(Error::io("write", &path))?;
    Ok(Some(StoredAdapters { rank, scale, sha256: sha256_hex(&bytes) }))
}

fn adapted(policy: MusicGenPolicy, adapters: &StoredAdapters, dir: &Path) -> Result<MusicGenPolicy> {
    let path = dir.join(ADAPTERS);
    let wrong = |expected: String, got: String| Error::File { path: path.clone(), expected, got };
    let StoredAdapters { rank, scale, sha256 } = adapters;
    if !(1..=1024).contains(rank) || !scale.is_finite() {
        return Err(wrong("adapters of rank 1 to 1024".into(), format!("rank {rank}, scale {scale}")));
    }
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let hash = sha256_hex(&bytes);
    if hash != *sha256 {
        return Err(wrong(format!("SHA-256 {sha256}"), hash));
    }
    let policy = policy.with_adapters(*rank, *scale, Key::new(0, Purpose::Init));
    with_weights(policy, &bytes).map_err(|error| wrong("adapters of this policy".into(), error.to_string()))
}

impl Reward for ImportedPreference {
    fn name(&self) -> &str {
        UserPreference::NAME
    }

    /// Whether the head is given descriptors of the sound.
    fn hears_audio(&self) -> bool {
        self.head.scale().is_some()
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let failed = |error: Error| CoreError::Reward { name: UserPreference::NAME.into(), reason: error.to_string() };
        let score = |clip: &Clip<'_>| match self.judge(clip).map_err(failed)? {
            Ok(value) => Ok(Score::Value(value)),
            Err(reason) => Ok(Score::Unscorable(reason)),
        };
        clips.iter().map(score).collect()
    }
}
