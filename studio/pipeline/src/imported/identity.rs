//! What makes an imported checkpoint itself.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use musicrl_zoo::Checkpoint;
use sha2::{Digest, Sha256};

use super::base::MANIFEST;
use crate::{Error, Result, bundle::sha256_hex};

/// Whether a folder holds a checkpoint of another library.
#[must_use]
pub fn is_checkpoint(dir: &Path) -> bool {
    dir.join("config.json").is_file() && !dir.join("bundle.json").exists()
}

/// Whether a folder holds a checkpoint of another library, or a policy that was aligned from one.
#[must_use]
pub fn is_imported(dir: &Path) -> bool {
    is_checkpoint(dir) || dir.join(MANIFEST).is_file()
}

/// A hash of a checkpoint's settings and weights.
///
/// # Errors
/// [`Error::Io`], [`Error::File`] when it is no checkpoint.
pub fn checkpoint_identity(dir: &Path) -> Result<String> {
    let checkpoint = Checkpoint::open(dir)?;
    let config: PathBuf = dir.join("config.json");
    let mut text = format!("checkpoint 1\nconfig.json {}\n", sha256_of(&config)?);
    for path in checkpoint.files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text += &format!("{name} {}\n", sha256_of(path)?);
    }
    Ok(sha256_hex(text.as_bytes()))
}

/// A hash of everything that a sentence encoder's vectors come from: settings, weights, tokeniser, longest text.
///
/// # Errors
/// As [`checkpoint_identity`].
pub fn sentence_identity(dir: &Path) -> Result<String> {
    let mut text = format!("sentence encoder 1\n{}\n", checkpoint_identity(dir)?);
    for name in ["tokenizer.json", "sentence_bert_config.json"] {
        let path = dir.join(name);
        if path.exists() {
            text += &format!("{name} {}\n", sha256_of(&path)?);
        }
    }
    Ok(sha256_hex(text.as_bytes()))
}

/// The SHA-256 of a file, read piece by piece.
fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
