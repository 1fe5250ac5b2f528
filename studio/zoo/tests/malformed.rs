//! Corrupted checkpoints: `open` gives an error that names what is wrong. It never panics, hangs, or takes memory for
//! what a file only claims.
//!
//! Every fixture under `tests/fixtures` is copied and spoiled: files cut off, bits of headers flipped, each tensor and each
//! setting in turn replaced by what it must not be. Of tensors that differ in the numbers of their names alone, layers of one
//! kind, the first and the last are spoiled in every way, those between in one each, in turn. Where a config with another setting
//! still loads, the model runs on the fixture's inputs with some of the values, and must not panic there either.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use burn::tensor::Device;
use musicrl_core::random::{Key, Purpose, Stream};
use musicrl_zoo::{NamedTensors, open};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Longest that one case may take; all but hanging ones take milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Parts of names of tensors that no model needs: state of training, counts, heads, copies of tied tables.
const OPTIONAL: [&str; 12] = [
    "cls.",
    "position_ids",
    "token_type_ids",
    "relative_position_index",
    "num_batches_tracked",
    "codebook.initialized",
    "codebook.inited",
    "codebook.cluster_size",
    "codebook.embed_avg",
    "embed_positions",
    "embed_tokens",
    "text_encoder.shared",
];

fn optional(tensor: &str) -> bool {
    OPTIONAL.iter().any(|part| tensor.contains(part))
}

/// A tensor as it is stored.
#[derive(Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

type Tensors = BTreeMap<String, Stored>;

/// All fixtures, with their names.
fn fixtures() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dirs = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let dirs = dirs.filter(|dir| dir.join("config.json").exists());
    let mut all: Vec<_> = dirs.map(|dir| (dir.file_name().unwrap().to_string_lossy().into_owned(), dir)).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

/// A copy of a fixture with all tensors in one file.
struct Copy {
    dir: tempfile::TempDir,
    config: Value,
    tensors: Tensors,
}

impl Copy {
    fn of(fixture: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tensors = Tensors::new();
        for path in fs::read_dir(fixture).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("model") && name.ends_with(".safetensors") {
                let bytes = fs::read(&path).unwrap();
                for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                    let bytes = view.data().to_vec();
                    tensors.insert(name.into(), Stored { dtype: view.dtype(), shape: view.shape().to_vec(), bytes });
                }
            } else if name != INDEX {
                fs::copy(&path, dir.path().join(&name)).unwrap();
            }
        }
        let config = serde_json::from_slice(&fs::read(fixture.join("config.json")).unwrap()).unwrap();
        let copy = Self { dir, config, tensors };
        copy.write(&copy.tensors);
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, tensors: &Tensors) {
        let mut views = Vec::new();
        for (name, stored) in tensors {
            views.push((name, TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).unwrap()));
        }
        // A file that is cut to nothing and written again, some file systems bring to the disk at once.
        let _ = fs::remove_file(self.path(SINGLE));
        fs::write(self.path(SINGLE), safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn write_config(&self, config: &Value) {
        fs::write(self.path("config.json"), serde_json::to_vec(config).unwrap()).unwrap();
    }

    fn open(&self) -> Result<(), String> {
        let dir = self.dir.path().to_owned();
        outcome(move || open(&dir, &Device::flex()).map(|_| ()).map_err(|error| error.to_string()))
    }
}

/// What a case comes to on a thread of its own; panics and hangs of it are `Err` with `PANIC` or `HANG`.
fn outcome(case: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(case()));
    match receive.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => Err("HANG".into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("PANIC".into()),
    }
}

/// Collects what broke a promise, so that one run shows all of it.
#[derive(Default)]
struct Broken(Vec<String>);

impl Broken {
    /// A case that must be an error with one of `parts` in it.
    fn must_fail(&mut self, what: String, outcome: Result<(), String>, parts: &[&str]) {
        match outcome {
            Ok(()) => self.0.push(format!("{what}: loads")),
            Err(error) if error == "PANIC" || error == "HANG" => self.0.push(format!("{what}: {error}")),
            Err(error) if parts.iter().any(|part| error.contains(part)) => {}
            Err(error) => self.0.push(format!("{what}: does not name it: {error}")),
        }
    }

    /// A case that may load.
    fn may_load(&mut self, what: String, outcome: &Result<(), String>) {
        match outcome {
            Err(error) if error == "PANIC" || error == "HANG" => self.0.push(format!("{what}: {error}")),
            _ => {}
        }
    }

    fn finish(self) {
        assert!(self.0.is_empty(), "{} broken promises:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Runs a check over all fixtures, and sees that memory stayed small.
fn over_fixtures(mut check: impl FnMut(&str, &Copy, &mut Broken)) {
    let before = peak_mebibytes();
    let mut broken = Broken::default();
    for (name, dir) in fixtures() {
        check(&name, &Copy::of(&dir), &mut broken);
    }
    if let (Some(before), Some(after)) = (before, peak_mebibytes()) {
        // Other tests of this file run beside this one.
        assert!(after < before + 512, "memory grew from {before} to {after} MiB");
    }
    broken.finish();
}

/// The largest memory that this process has had; `None` where the system does not say.
fn peak_mebibytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? >> 10)
}

fn random(name: &str) -> Stream {
    Key::new(name.bytes().map(u64::from).sum(), Purpose::Test).stream()
}

#[test]
fn files_cut_off_or_with_more_behind_them() {
    over_fixtures(|name, copy, broken| {
        let whole = fs::read(copy.path(SINGLE)).unwrap();
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let steps = (1..60).map(|i| i * whole.len() / 60);
        let edges = [header - 1, header, header + 1, whole.len() - 4, whole.len() - 1];
        for length in (0..20).chain(steps).chain(edges) {
            fs::write(copy.path(SINGLE), &whole[..length]).unwrap();
            broken.must_fail(format!("{name}: cut to {length}"), copy.open(), &[SINGLE]);
        }
        fs::write(copy.path(SINGLE), [&whole[..], &[0; 4]].concat()).unwrap();
        broken.must_fail(format!("{name}: four bytes more"), copy.open(), &[SINGLE]);
        for length in [u64::MAX, u64::MAX - 7, 1 << 40, 100_000_001, whole.len() as u64] {
            fs::write(copy.path(SINGLE), [&length.to_le_bytes(), &whole[8..]].concat()).unwrap();
            broken.must_fail(format!("{name}: header of {length}"), copy.open(), &[SINGLE]);
        }
        fs::remove_file(copy.path(SINGLE)).unwrap();
        broken.must_fail(format!("{name}: no weights"), copy.open(), &[SINGLE]);
        fs::create_dir(copy.path(SINGLE)).unwrap();
        broken.must_fail(format!("{name}: a folder of weights"), copy.open(), &[SINGLE]);
    });
}

#[test]
fn flipped_bits_of_headers() {
    over_fixtures(|name, copy, broken| {
        let whole = fs::read(copy.path(SINGLE)).unwrap();
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut random = random(name);
        let mut loaded = 0;
        for case in 0..300 {
            let mut bytes = whole.clone();
            // The first cases are the length itself.
            let bit = if case < 64 { case } else { 8 * 8 + random.below(8 * (header - 8)) };
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(copy.path(SINGLE), &bytes).unwrap();
            let outcome = copy.open();
            broken.may_load(format!("{name}: bit {bit}"), &outcome);
            loaded += usize::from(outcome.is_ok());
        }
        // A flip in the name of a tensor that nobody needs, or in a blank.
        if loaded > 60 {
            broken.0.push(format!("{name}: {loaded} of 300 flips load"));
        }
    });
}

/// A tensor's name without its numbers, which say the layer.
fn kind(tensor: &str) -> String {
    tensor.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn tensors_that_are_missing_or_not_what_they_must_be() {
    over_fixtures(|name, copy, broken| {
        let mut kinds: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        copy.tensors.keys().for_each(|tensor| kinds.entry(kind(tensor)).or_default().push(tensor));
        let edge = |tensor: &String| {
            let alike = &kinds[&kind(tensor)];
            alike.first() == Some(&tensor) || alike.last() == Some(&tensor)
        };
        for (turn, (tensor, stored)) in copy.tensors.iter().enumerate() {
            // What a message about a missing part may name: the tensor, or the module that it belongs to.
            let module = tensor.split(".parametrizations").next().and_then(|name| name.rsplit_once('.'));
            let module = module.map_or(tensor.as_str(), |(module, _)| module);
            let elements: usize = stored.shape.iter().product();
            let others = match stored.dtype {
                Dtype::F32 => Some((Dtype::I32, f32::NAN.to_le_bytes().to_vec())),
                Dtype::BF16 | Dtype::F16 => Some((Dtype::I16, vec![0xff; 2])),
                _ => None,
            };
            let shortened = || {
                let bytes = stored.bytes[..stored.bytes.len() / elements * (elements - 1)].to_vec();
                Stored { shape: vec![elements - 1], bytes, ..stored.clone() }
            };
            let mut ways: Vec<(&str, Option<Stored>, &str)> = vec![
                ("removed", None, module),
                ("renamed", None, module),
                ("reshaped", Some(Stored { shape: [&[1], &stored.shape[..]].concat(), ..stored.clone() }), tensor),
                ("shortened", Some(shortened()), tensor),
            ];
            if let Some((integers, nan)) = others {
                let mut bytes = stored.bytes.clone();
                let at = bytes.len() - nan.len();
                bytes[at..].copy_from_slice(&nan);
                ways.push(("as integers", Some(Stored { dtype: integers, ..stored.clone() }), tensor));
                ways.push(("with NaN", Some(Stored { bytes, ..stored.clone() }), tensor));
            }
            let count = ways.len();
            for (way, (what, put, part)) in ways.into_iter().enumerate() {
                if !edge(tensor) && way != turn % count {
                    continue;
                }
                let mut tensors = copy.tensors.clone();
                tensors.remove(tensor);
                if let Some(put) = put {
                    tensors.insert(tensor.clone(), put);
                } else if what == "renamed" {
                    tensors.insert(format!("{tensor}x"), stored.clone());
                }
                copy.write(&tensors);
                let what = format!("{name}: {tensor} {what}");
                if optional(tensor) {
                    broken.may_load(what, &copy.open());
                } else {
                    broken.must_fail(what, copy.open(), &[part]);
                }
            }
        }
        let mut tensors = copy.tensors.clone();
        tensors.insert("zz.extra".into(), Stored { dtype: Dtype::U8, shape: vec![1], bytes: vec![0] });
        copy.write(&tensors);
        broken.must_fail(format!("{name}: an extra tensor"), copy.open(), &["zz.extra"]);
        copy.write(&copy.tensors);
        assert_eq!(copy.open(), Ok(()), "{name}, as it was");
    });
}

#[test]
fn shards_and_their_index() {
    over_fixtures(|name, copy, broken| {
        fs::rename(copy.path(SINGLE), copy.path("a.safetensors")).unwrap();
        let map: BTreeMap<&str, &str> = copy.tensors.keys().map(|tensor| (tensor.as_str(), "a.safetensors")).collect();
        let first = *map.keys().next().unwrap();
        let write = |index: &Value| fs::write(copy.path(INDEX), serde_json::to_vec(index).unwrap()).unwrap();
        write(&json!({"weight_map": map}));
        assert_eq!(copy.open(), Ok(()), "{name} behind an index");
        let mut with = |tensor: &str, file: Value, part: &str| {
            let mut map = json!(map);
            map[tensor] = file.clone();
            write(&json!({"weight_map": map}));
            broken.must_fail(format!("{name}: index with {tensor} in {file}"), copy.open(), &[part]);
        };
        with("zz.absent", json!("a.safetensors"), "zz.absent");
        with(first, json!("b.safetensors"), "b.safetensors");
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::copy(copy.path("a.safetensors"), outside.path()).unwrap();
        for escape in ["../a.safetensors", "/etc/passwd", "x/../a.safetensors", "./a.safetensors", "..", ".", "", "/"] {
            with(first, json!(escape), "same folder");
        }
        with(first, json!(outside.path()), "same folder");
        with(first, json!("a\0b"), "");
        for wrong in [json!(1), json!(null), json!(["a.safetensors"])] {
            with(first, wrong, INDEX);
        }
        let mut fewer = map.clone();
        fewer.remove(first);
        write(&json!({"weight_map": fewer}));
        broken.must_fail(format!("{name}: index without {first}"), copy.open(), &[first]);
        for index in ["", "{", "[]", "{}", "{\"weight_map\": []}", "{\"weight_map\": {}}", "\u{feff}{}"] {
            fs::write(copy.path(INDEX), index).unwrap();
            broken.must_fail(format!("{name}: index {index:?}"), copy.open(), &[""]);
        }
    });
}

/// Every place in a JSON value, as a pointer.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let place = format!("{at}/{key}");
        places(child, &place, all);
        all.push(place);
    }
}

/// Opens and, where that succeeds, runs on the fixture's inputs.
fn open_and_run(copy: &Copy) -> Result<(), String> {
    let (dir, inputs) = (copy.dir.path().to_owned(), copy.path("inputs.safetensors"));
    outcome(move || {
        let model = open(&dir, &Device::flex()).map_err(|error| error.to_string())?;
        let inputs = NamedTensors::read(&inputs).map_err(|error| error.to_string())?;
        model.run(&inputs).map(|_| ()).map_err(|error| error.to_string())
    })
}

#[test]
fn settings_that_are_missing_or_cannot_be() {
    over_fixtures(|name, copy, broken| {
        let mut all = Vec::new();
        places(&copy.config, "", &mut all);
        // MusicGen's run takes long, as it generates: with one value of each setting and without every other, in turns between its
        // two fixtures, whose settings are the same.
        let often = !name.starts_with("musicgen");
        let phase = usize::from(name.ends_with("stereo"));
        for (turn, place) in all.into_iter().enumerate() {
            let (parent, key) = place.rsplit_once('/').unwrap();
            let mut without = copy.config.clone();
            if let Some(Value::Object(map)) = without.pointer_mut(parent) {
                map.remove(key);
                copy.write_config(&without);
                let outcome = if often || turn % 4 == phase { open_and_run(copy) } else { copy.open() };
                broken.may_load(format!("{name}: without {place}"), &outcome);
            }
            if !copy.config.pointer(&place).unwrap().is_number() {
                continue;
            }
            // The model runs with the first five; the others are larger, of another type, or nothing, and are only opened.
            let values = [
                json!(1),
                json!(0),
                json!(-1),
                json!(1_000_000_000),
                json!(1e300),
                json!(1_000_000_000_000_000_000_u64),
                json!(1e9),
                json!("1"),
                json!(null),
            ];
            for (at, value) in values.into_iter().enumerate() {
                let mut config = copy.config.clone();
                *config.pointer_mut(&place).unwrap() = value.clone();
                copy.write_config(&config);
                let outcome =
                    if often && at < 5 || at == 0 && turn % 2 == phase { open_and_run(copy) } else { copy.open() };
                broken.may_load(format!("{name}: {place} = {value}"), &outcome);
            }
        }
    });
}

#[test]
fn configs_that_are_none() {
    over_fixtures(|name, copy, broken| {
        let whole = fs::read(copy.path("config.json")).unwrap();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let mut cases: Vec<Vec<u8>> = ["", "null", "1", "[]", "{}", "\"mimi\"", "{\"model_type\": 1}", deep.as_str()]
            .map(|text| text.as_bytes().to_vec())
            .into();
        cases.push(json!({"model_type": "unheard-of"}).to_string().into_bytes());
        cases.extend((1..30).map(|i| whole[..i * whole.len() / 31].to_vec()));
        for config in cases {
            fs::write(copy.path("config.json"), &config).unwrap();
            let start = String::from_utf8_lossy(&config[..config.len().min(40)]).into_owned();
            broken.must_fail(format!("{name}: config {start:?}"), copy.open(), &["config.json"]);
        }
        // Flipped bits: mostly no JSON, now and then another setting.
        let mut random = random(name);
        for _ in 0..150 {
            let mut config = whole.clone();
            let bit = random.below(8 * config.len());
            config[bit / 8] ^= 1 << (bit % 8);
            fs::write(copy.path("config.json"), &config).unwrap();
            broken.may_load(format!("{name}: bit {bit} of the config"), &copy.open());
        }
        fs::remove_file(copy.path("config.json")).unwrap();
        broken.must_fail(format!("{name}: no config"), copy.open(), &["config.json"]);
    });
}

#[test]
fn tokenisers_that_are_none() {
    over_fixtures(|name, copy, broken| {
        let path = copy.path("tokenizer.json");
        let Ok(whole) = fs::read(&path) else { return };
        for text in ["", "{}", "[]", "null", "{\"version\": \"1.0\"}"] {
            fs::write(&path, text).unwrap();
            broken.must_fail(format!("{name}: tokeniser {text:?}"), copy.open(), &["tokenizer.json"]);
        }
        let mut random = random(name);
        for _ in 0..300 {
            let mut bytes = whole.clone();
            let bit = random.below(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            broken.may_load(format!("{name}: bit {bit} of the tokeniser"), &copy.open());
        }
    });
}
