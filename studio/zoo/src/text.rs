//! Captions to ids, by a checkpoint's `tokenizer.json`.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::{Error, Result};

/// Largest file that is read.
const BYTES_MAX: u64 = 256 << 20;

/// Ids and masks of texts side by side, with `[texts, tokens]`.
pub(crate) type Encoded = (Vec<u32>, Vec<bool>, [usize; 2]);

/// The tokeniser of a folder; `None` where it has none.
pub(crate) fn tokenizer(dir: &Path) -> Result<Option<Tokenizer>> {
    let path = dir.join("tokenizer.json");
    if !path.exists() {
        return Ok(None);
    }
    let length = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    let wrong = |got: String| Error::File { path: path.clone(), expected: "a tokeniser".into(), got };
    if length > BYTES_MAX {
        return Err(wrong(format!("{length} bytes")));
    }
    let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| wrong(error.to_string()))?;
    // A file's own padding and truncation are settings of whoever saved it; `encode` would obey them.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(tokenizer))
}

/// Texts as rows of ids, padded with `pad` to the longest.
pub(crate) fn encode(tokenizer: &Tokenizer, texts: &[&str], pad: u32) -> Result<Encoded> {
    let mut rows = Vec::with_capacity(texts.len());
    for text in texts {
        let encoding = tokenizer.encode(*text, true).map_err(|error| Error::input("a text", "encodable", error))?;
        let ids = encoding.get_ids().iter().zip(encoding.get_attention_mask());
        rows.push(ids.filter(|(_, mask)| **mask == 1).map(|(id, _)| *id).collect::<Vec<_>>());
    }
    let tokens = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for row in &rows {
        mask.extend((0..tokens).map(|at| at < row.len()));
        ids.extend((0..tokens).map(|at| row.get(at).copied().unwrap_or(pad)));
    }
    Ok((ids, mask, [rows.len(), tokens]))
}
