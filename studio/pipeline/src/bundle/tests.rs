use burn::{nn::LinearConfig, tensor::Device};

use super::*;

fn saved(dir: &Path) -> Bundle {
    let mut bundle = Bundle::new();
    let module = LinearConfig::new(3, 2).init(&Device::flex());
    bundle.set(part::CODEC, &serde_json::json!({"width": 3}), &module, Storage::F32).unwrap();
    bundle.save(dir).unwrap();
    bundle
}

#[test]
fn what_is_saved_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = saved(dir.path());
    let read = Bundle::open(dir.path()).unwrap();
    assert_eq!(read.to_files().unwrap(), bundle.to_files().unwrap());
    let module = read.load(part::CODEC, LinearConfig::new(3, 2).init(&Device::flex())).unwrap();
    assert_eq!(ParamTable::collect(&module).to_safetensors(Storage::F32).unwrap(), bundle.weights["codec.safetensors"]);
}

#[test]
fn the_identity_changes_with_whatever_changes_the_music() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = saved(dir.path());
    let identity = bundle.identity();
    let mut other = Bundle::open(dir.path()).unwrap();
    other.push_provenance("a line for people".into());
    assert_eq!(other.identity(), identity);
    other.set_clip_seconds(3.0);
    assert_ne!(other.identity(), identity);
    let set = |width: u32, outputs: usize, name: &str| {
        let mut other = bundle.clone();
        let module = LinearConfig::new(3, outputs).init(&Device::flex());
        other.set(name, &serde_json::json!({"width": width}), &module, Storage::F32).unwrap();
        other.identity()
    };
    let changed = [set(3, 5, part::CODEC), set(4, 2, part::CODEC), set(3, 2, part::FINE)];
    assert!(changed.iter().all(|other| *other != identity));
}

#[test]
fn a_source_counts_by_its_hash_alone_and_goes_with_its_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut bundle = saved(dir.path());
    let plain = bundle.identity();
    let source = |path: &str, sha256: &str| Source { path: path.into(), sha256: sha256.into() };
    bundle.set_source(part::CODEC, source("/a", "1"));
    bundle.save(dir.path()).unwrap();
    let read = Bundle::open(dir.path()).unwrap();
    assert_eq!(read.source(part::CODEC), Some(&source("/a", "1")));
    assert_eq!((read.identity(), Bundle::identity_in(dir.path()).unwrap()), (bundle.identity(), bundle.identity()));
    let with = bundle.identity();
    bundle.set_source(part::CODEC, source("/elsewhere", "1"));
    assert!(bundle.identity() == with && with != plain);
    bundle.set_source(part::CODEC, source("/a", "2"));
    assert_ne!(bundle.identity(), with);
    let module = LinearConfig::new(3, 2).init(&Device::flex());
    bundle.set(part::CODEC, &serde_json::json!({"width": 3}), &module, Storage::F32).unwrap();
    assert_eq!(bundle.source(part::CODEC), None);
    bundle.set_source(part::POLICY, source("/a", "1"));
    let error = Bundle::from_files(bundle.to_files().unwrap(), dir.path()).unwrap_err().to_string();
    assert!(error.contains("policy"), "{error}");
}

#[test]
fn what_a_killed_write_left_is_gone_after_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = saved(dir.path());
    let names = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let clean = names();
    for name in &clean {
        fs::write(dir.path().join(format!(".{}.partial", name.to_string_lossy())), "half of it").unwrap();
    }
    assert_eq!(names().len(), 2 * clean.len());
    bundle.save(dir.path()).unwrap();
    assert_eq!(names(), clean);
    Bundle::open(dir.path()).unwrap();
}

#[test]
fn one_flipped_bit_is_refused_with_the_file_named() {
    let dir = tempfile::tempdir().unwrap();
    saved(dir.path());
    let path = dir.path().join("codec.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let message = Bundle::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("codec.safetensors") && message.contains("SHA-256"), "{message}");
    fs::write(&path, &bytes[..last / 2]).unwrap();
    assert!(Bundle::open(dir.path()).unwrap_err().to_string().contains("codec.safetensors"));
}

#[test]
fn a_part_of_another_shape_names_the_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = saved(dir.path());
    let message = bundle.load(part::CODEC, LinearConfig::new(4, 2).init(&Device::flex())).unwrap_err().to_string();
    assert!(message.contains("weight") && message.contains("[4, 2]"), "{message}");
}

#[test]
fn a_missing_part_names_the_command_that_makes_it() {
    let message = Bundle::new().config::<serde_json::Value>(part::TEXT_AUDIO).unwrap_err().to_string();
    assert!(message.contains("musicrl train text-audio"), "{message}");
}

#[test]
fn a_part_name_cannot_escape_the_directory() {
    let manifest = br#"{"format_version": 1, "parts": {"../x": {"config": {}, "sha256": ""}}}"#;
    let files = Files::from([(MANIFEST.to_string(), manifest.to_vec())]);
    let message = Bundle::from_files(files, Path::new("b")).unwrap_err().to_string();
    assert!(message.contains("part names"), "{message}");
}
