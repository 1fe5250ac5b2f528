//! From texts to word pieces: [`tokeniser`].

use std::{fs, path::Path};

use serde_json::Value;
use tokenizers::{Tokenizer, TruncationParams};

use super::Config;
use crate::{Error, Result};

/// Largest file of settings that is read.
const BYTES_MAX: u64 = 1 << 20;

/// The tokeniser of a folder, cutting texts to what the model takes; `None` where the folder has none.
///
/// # Errors
/// [`Error::File`], [`Error::Io`]; [`Error::Config`] when not even the special tokens fit.
pub(super) fn tokeniser(dir: &Path, config: &Config) -> Result<Option<Tokenizer>> {
    let Some(mut tokeniser) = crate::text::tokenizer(dir)? else { return Ok(None) };
    let longest = longest(dir)?.unwrap_or(usize::MAX).min(config.max_position_embeddings);
    let truncation = TruncationParams { max_length: longest, ..TruncationParams::default() };
    match tokeniser.with_truncation(Some(truncation)) {
        Ok(_) => Ok(Some(tokeniser)),
        Err(error) => Err(Error::config("max_position_embeddings", format!("enough for a text ({error})"), longest)),
    }
}

/// `max_seq_length`, where the folder says for how many tokens the sentence encoder was trained.
fn longest(dir: &Path) -> Result<Option<usize>> {
    let path = dir.join("sentence_bert_config.json");
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |got: String| Error::File { path: path.clone(), expected: "`max_seq_length` in JSON".into(), got };
    let length = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    if length > BYTES_MAX {
        return Err(wrong(format!("{length} bytes")));
    }
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let settings: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match settings.get("max_seq_length") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let longest = value.as_u64().and_then(|longest| usize::try_from(longest).ok());
            longest.filter(|longest| *longest > 0).map(Some).ok_or_else(|| wrong(value.to_string()))
        }
    }
}
