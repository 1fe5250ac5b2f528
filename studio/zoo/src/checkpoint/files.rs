//! The files of a checkpoint: [`Checkpoint`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Component, Path, PathBuf},
};

use safetensors::{Dtype, tensor::Metadata};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Weights, floats};
use crate::{Error, Result};

/// A single weight file.
const SINGLE: &str = "model.safetensors";
/// The list of shards.
const INDEX: &str = "model.safetensors.index.json";
/// Largest `config.json` and index that are read.
const JSON_BYTES_MAX: u64 = 64 << 20;
/// Largest header of a weight file, as the format has it.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// An opened checkpoint: its settings, and where each tensor lies.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: Value,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Place>,
    taken: RefCell<BTreeSet<String>>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// Open for as long as the checkpoint is, so that all tensors are of one file whatever happens to its name.
    file: File,
    /// Where the tensors' bytes begin.
    data: u64,
}

#[derive(Debug, Clone)]
struct Place {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// From the start of the shard's data.
    bytes: (u64, u64),
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a folder: reads `config.json` and all headers.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing; [`Error::File`] when one is truncated, is no JSON or no safetensors file,
    /// when a shard's name leaves the folder, or when index and shards disagree; [`Error::Tensor`] for a tensor in two
    /// shards.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = read_json(&dir.join("config.json"))?;
        let index = dir.join(INDEX);
        let single = dir.join(SINGLE);
        let mut checkpoint = Self {
            dir: dir.to_path_buf(),
            config,
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            taken: RefCell::default(),
        };
        if single.exists() || !index.exists() {
            checkpoint.add_shard(single)?;
            return Ok(checkpoint);
        }
        let listed: Index = read_json(&index)?;
        let names: BTreeSet<&String> = listed.weight_map.values().collect();
        for name in names {
            checkpoint.add_shard(dir.join(plain_name(&index, name)?))?;
        }
        for (tensor, file) in &listed.weight_map {
            let there = checkpoint.tensors.get(tensor).map(|place| &checkpoint.shards[place.shard].path);
            if there != Some(&dir.join(file)) {
                return Err(Error::File {
                    path: index,
                    expected: format!("`{tensor}` in {file}"),
                    got: there.map_or("no such tensor".into(), |path| path.display().to_string()),
                });
            }
        }
        if let Some(extra) = checkpoint.tensors.keys().find(|name| !listed.weight_map.contains_key(*name)) {
            let got = format!("`{extra}` in a shard alone");
            return Err(Error::File { path: index, expected: "every tensor of the shards".into(), got });
        }
        Ok(checkpoint)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `config.json` as it stands.
    #[must_use]
    pub fn config_json(&self) -> &Value {
        &self.config
    }

    /// `config.json` as the settings of an architecture. Keys that `C` does not have are passed over, as published
    /// files hold many.
    ///
    /// # Errors
    /// [`Error::File`] naming the key that is missing or wrong.
    pub fn config<C: DeserializeOwned>(&self) -> Result<C> {
        parse_config(&self.dir, &self.config)
    }

    /// The part of `config.json` under `key` as the settings of an architecture.
    ///
    /// # Errors
    /// [`Error::File`] when there is no such part, or a key of it is missing or wrong.
    pub fn sub_config<C: DeserializeOwned>(&self, key: &str) -> Result<C> {
        let part = self.config.get(key).ok_or_else(|| Error::File {
            path: self.dir.join("config.json"),
            expected: format!("`{key}`"),
            got: "no such key".into(),
        })?;
        parse_config(&self.dir, part)
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|place| place.shape.as_slice())
    }

    /// The type in which a tensor is stored.
    #[must_use]
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|place| place.dtype)
    }

    /// The bytes of a tensor as they are stored.
    ///
    /// # Errors
    /// [`Error::Tensor`] when there is none of that name; [`Error::Io`].
    pub fn stored(&self, name: &str) -> Result<Vec<u8>> {
        let place = self.tensors.get(name).ok_or_else(|| Error::tensor(name, "a tensor", "nothing"))?;
        self.read(name, place)
    }

    /// The weight files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.path.as_path())
    }

    /// Bytes of all tensors as they are stored.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.tensors.values().map(|place| place.bytes.1 - place.bytes.0).sum()
    }

    /// Number of all elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.tensors.values().map(|place| place.shape.iter().map(|extent| *extent as u64).product::<u64>()).sum()
    }

    /// All tensors, from the root of their names.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        Weights::new(self, String::new())
    }

    /// Reads a float tensor of exactly this shape as 32-bit floats, and notes that it was taken.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it is missing, of another shape, no float, or holds NaN or infinity.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let place = self.tensors.get(name).ok_or_else(|| Error::tensor(name, format!("shape {shape:?}"), "nothing"))?;
        if place.shape != shape {
            return Err(Error::tensor(name, format!("shape {shape:?}"), format!("shape {:?}", place.shape)));
        }
        let bytes = self.read(name, place)?;
        let values = floats::decode(place.dtype, &bytes)
            .ok_or_else(|| Error::tensor(name, "F32, F16, BF16 or F64", format!("{:?}", place.dtype)))?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::tensor(name, "finite values", format!("{} at element {index}", values[index])));
        }
        self.taken.borrow_mut().insert(name.to_string());
        Ok(values)
    }

    /// Notes that tensors are known and not needed: those for which `known` is true.
    pub fn pass_over(&self, known: impl Fn(&str) -> bool) {
        self.taken.borrow_mut().extend(self.tensors.keys().filter(|name| known(name)).cloned());
    }

    /// Refuses tensors that no part of the model took.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming the first.
    pub fn finish(&self) -> Result<()> {
        let taken = self.taken.borrow();
        let mut extra = self.tensors.iter().filter(|(name, _)| !taken.contains(*name));
        match extra.next() {
            None => Ok(()),
            Some((name, place)) => {
                let more = extra.count();
                let more = if more == 0 { String::new() } else { format!(", and {more} more that are not expected") };
                Err(Error::tensor(name, "no such tensor", format!("{:?} {:?}{more}", place.dtype, place.shape)))
            }
        }
    }

    fn add_shard(&mut self, path: PathBuf) -> Result<()> {
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let wrong = |got: String| Error::File { path: path.clone(), expected: "a whole safetensors file".into(), got };
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(|_| wrong(format!("{length} bytes")))?;
        let header = u64::from_le_bytes(size);
        if header > HEADER_BYTES_MAX || header.saturating_add(8) > length {
            return Err(wrong(format!("a header of {header} bytes in a file of {length}")));
        }
        let mut bytes = Vec::new();
        (&file).take(header).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        // Parsing checks that the tensors lie end to end and that shapes and lengths agree.
        let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let data = header + 8;
        if metadata.data_len() as u64 != length - data {
            return Err(wrong(format!("{} bytes of tensors, of {}", length - data, metadata.data_len())));
        }
        let shard = self.shards.len();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let bytes = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let place = Place { shard, dtype: info.dtype, shape: info.shape.clone(), bytes };
            if self.tensors.insert(name.clone(), place).is_some() {
                return Err(Error::tensor(name, "in one shard", "in two"));
            }
        }
        self.shards.push(Shard { path, file, data });
        Ok(())
    }

    fn read(&self, name: &str, place: &Place) -> Result<Vec<u8>> {
        let shard = &self.shards[place.shard];
        let length = place.bytes.1.saturating_sub(place.bytes.0);
        let mut file = &shard.file;
        file.seek(SeekFrom::Start(shard.data + place.bytes.0)).map_err(Error::io("read", &shard.path))?;
        // The file was as long as that when it was opened, so this is no claim alone.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(length).read_to_end(&mut bytes).map_err(Error::io("read", &shard.path))?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(Error::tensor(name, format!("{length} bytes"), format!("{} bytes", bytes.len())))
    }
}

/// A shard's file name, which must be a name and no path.
fn plain_name<'a>(index: &Path, name: &'a str) -> Result<&'a str> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(Error::File {
            path: index.to_path_buf(),
            expected: "names of files in the same folder".into(),
            got: format!("{name:?}"),
        }),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let length = fs::metadata(path).map_err(Error::io("read", path))?.len();
    let wrong = |got: String| Error::File { path: path.to_path_buf(), expected: "settings in JSON".into(), got };
    if length > JSON_BYTES_MAX {
        return Err(wrong(format!("{length} bytes")));
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
}

fn parse_config<C: DeserializeOwned>(dir: &Path, value: &Value) -> Result<C> {
    serde_json::from_value(value.clone()).map_err(|error| Error::File {
        path: dir.join("config.json"),
        expected: "the architecture's settings".into(),
        got: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn write(path: &Path, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
        let view = |(name, dtype, shape, bytes): &'_ (&str, Dtype, Vec<usize>, Vec<u8>)| {
            (
                name.to_string(),
                TensorView::new(*dtype, shape.clone(), Box::leak(bytes.clone().into_boxed_slice())).unwrap(),
            )
        };
        fs::write(path, safetensors::serialize(tensors.iter().map(view), None).unwrap()).unwrap();
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn tensors_are_taken_by_name_and_shape_and_the_rest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{\"model_type\": \"x\"}").unwrap();
        let half: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        let tensors = [
            ("a", Dtype::F32, vec![1, 2], f32s(&[1.0, f32::NAN])),
            ("b", Dtype::BF16, vec![2], half),
            ("c", Dtype::I64, vec![1], vec![0; 8]),
        ];
        write(&dir.path().join(SINGLE), &tensors);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.floats("b", &[2]).unwrap(), [1.5, -2.0]);
        for (name, shape, part) in [
            ("a", vec![2], "[1, 2]"),
            ("a", vec![1, 2], "NaN at element 1"),
            ("c", vec![1], "I64"),
            ("d", vec![1], "nothing"),
        ] {
            let error = checkpoint.floats(name, &shape).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(name), "{error}");
        }
        let error = checkpoint.finish().unwrap_err().to_string();
        assert!(error.contains("`a`") && error.contains("1 more"), "{error}");
        checkpoint.pass_over(|name| name != "b");
        checkpoint.finish().unwrap();
    }

    #[test]
    fn shards_must_be_what_their_index_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        write(&dir.path().join("1.safetensors"), &[("a", Dtype::F32, vec![1], f32s(&[1.0]))]);
        write(&dir.path().join("2.safetensors"), &[("b", Dtype::F32, vec![1], f32s(&[2.0]))]);
        let open = |map: &str| {
            fs::write(dir.path().join(INDEX), format!("{{\"metadata\": {{}}, \"weight_map\": {{{map}}}}}")).unwrap();
            Checkpoint::open(dir.path())
        };
        let both = open("\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"").unwrap();
        assert_eq!(both.floats("b", &[1]).unwrap(), [2.0]);
        for (map, part) in [
            ("\"a\": \"1.safetensors\", \"b\": \"1.safetensors\"", "`b` in 1.safetensors"),
            ("\"a\": \"1.safetensors\", \"b\": \"3.safetensors\"", "3.safetensors"),
            ("\"a\": \"../1.safetensors\"", "same folder"),
            ("\"a\": \"/etc/passwd\"", "same folder"),
            ("\"c\": \"1.safetensors\"", "`c`"),
            ("\"b\": \"2.safetensors\", \"c\": \"2.safetensors\"", "`c`"),
        ] {
            let error = open(map).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn broken_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Checkpoint::open(dir.path()), Err(Error::Io { .. })));
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        let path = dir.path().join(SINGLE);
        write(&path, &[("a", Dtype::F32, vec![2], f32s(&[1.0, 2.0]))]);
        let whole = fs::read(&path).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
        cases.push([&whole[..], &[0]].concat());
        let mut huge = whole.clone();
        huge[7] = 0x7f;
        cases.push(huge);
        for bytes in cases {
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(Checkpoint::open(dir.path()), Err(Error::File { .. })), "{} bytes", bytes.len());
        }
    }
}
