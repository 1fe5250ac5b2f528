//! Writing a checkpoint with some tensors replaced: [`export`].

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::Checkpoint;
use crate::{Error, Result};

/// New values of a tensor, written as 32-bit floats.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// Files beside the weights that other tools read; those that there are are copied.
const BESIDE: [&str; 9] = [
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "vocab.txt",
];

/// Writes `source` to the folder `to` as one weight file: tensors of `replaced` with their new values, all others byte for
/// byte, and the settings with 32-bit floats as their type.
///
/// Everything is written into a folder beside `to` and renamed at the end.
///
/// # Errors
/// [`Error::Config`] when `to` is there and not an empty folder; [`Error::Tensor`] for a replacement that `source` does
/// not have in that shape, or that is not finite; [`Error::Io`].
pub fn export(source: &Checkpoint, replaced: BTreeMap<String, Replacement>, to: &Path) -> Result<()> {
    if to.exists() && fs::read_dir(to).map_err(Error::io("read", to))?.next().is_some() {
        return Err(Error::config("to", "a new folder, or an empty one", to.display()));
    }
    for (name, new) in &replaced {
        let there = source.shape(name);
        if there != Some(new.shape.as_slice()) {
            let got = there.map_or("nothing".into(), |shape| format!("shape {shape:?}"));
            return Err(Error::tensor(name, format!("shape {:?} in {}", new.shape, source.dir().display()), got));
        }
        if let Some(at) = new.values.iter().position(|value| !value.is_finite()) {
            return Err(Error::tensor(name, "finite values", format!("{} at element {at}", new.values[at])));
        }
    }
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let aside = to.with_file_name(name);
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))?;
    }
    fs::create_dir_all(&aside).map_err(Error::io("create", &aside))?;
    let written = write_all(source, &replaced, &aside).and_then(|()| {
        if to.exists() {
            fs::remove_dir(to).map_err(Error::io("replace", to))?;
        }
        fs::rename(&aside, to).map_err(Error::io("rename", &aside))
    });
    if written.is_err() {
        // The error that matters is the write's.
        let _ = fs::remove_dir_all(&aside);
    }
    written
}

fn write_all(source: &Checkpoint, replaced: &BTreeMap<String, Replacement>, dir: &Path) -> Result<()> {
    for name in BESIDE {
        let from = source.dir().join(name);
        if from.is_file() {
            fs::copy(&from, dir.join(name)).map_err(Error::io("copy", &from))?;
        }
    }
    let mut config = source.config_json().clone();
    if !replaced.is_empty() {
        as_f32(&mut config);
    }
    let path = dir.join("config.json");
    let text = serde_json::to_string_pretty(&config).map_err(|error| Error::File {
        path: path.clone(),
        expected: "settings in JSON".into(),
        got: error.to_string(),
    })?;
    fs::write(&path, text + "\n").map_err(Error::io("write", &path))?;
    write_weights(source, replaced, &dir.join("model.safetensors"))
}

/// The library that reads it takes the type of all weights from here.
fn as_f32(config: &mut Value) {
    let Value::Object(map) = config else { return };
    for key in ["torch_dtype", "dtype"] {
        if let Some(value) = map.get_mut(key).filter(|value| value.is_string()) {
            *value = json!("float32");
        }
    }
    map.values_mut().for_each(as_f32);
}

fn write_weights(source: &Checkpoint, replaced: &BTreeMap<String, Replacement>, path: &Path) -> Result<()> {
    // Widest types first, then by name: every tensor is aligned, as the format asks.
    let mut order: Vec<(&str, Dtype, Vec<usize>)> = source
        .names()
        .map(|name| {
            let shape = source.shape(name).unwrap_or_default().to_vec();
            let dtype = if replaced.contains_key(name) { Dtype::F32 } else { source.dtype(name).unwrap_or(Dtype::F32) };
            (name, dtype, shape)
        })
        .collect();
    order.sort_by(|a, b| b.1.bitsize().cmp(&a.1.bitsize()).then(a.0.cmp(b.0)));
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut offset = 0_u64;
    for (name, dtype, shape) in &order {
        let elements = shape.iter().fold(1_u64, |product, extent| product.saturating_mul(*extent as u64));
        let end = offset + elements * dtype.bitsize() as u64 / 8;
        let dtype = serde_json::to_value(dtype).unwrap_or(Value::Null);
        header.insert((*name).into(), json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::new(File::create(path).map_err(Error::io("create", path))?);
    let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io("write", path));
    write(&(text.len() as u64).to_le_bytes())?;
    write(&text)?;
    for (name, ..) in &order {
        match replaced.get(*name) {
            Some(new) => {
                for part in new.values.chunks(1 << 16) {
                    write(&part.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
                }
            }
            None => write(&source.stored(name)?)?,
        }
    }
    let file = file.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?;
    file.sync_all().map_err(Error::io("write", path))
}
