//! Replays what the fuzzers once broke, through the fuzz targets' own checks.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

#[path = "../../fuzz/src/checks.rs"]
mod checks;

/// Files under a folder of `fuzz/`, sorted; none if it is not there.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(folder);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| Some((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).ok()?)))
        .collect();
    files.sort();
    files
}

#[test]
fn every_kept_crash_stays_fixed() {
    for (target, check) in checks::ALL {
        for (name, bytes) in files(&format!("regressions/{target}")) {
            let outcome = std::panic::catch_unwind(|| check(&bytes));
            assert!(outcome.is_ok(), "fuzz/regressions/{target}/{name} breaks its target again");
        }
    }
}

#[test]
fn regressions_belong_to_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(checks::ALL.iter().any(|(target, _)| *target == name), "fuzz/regressions/{name} has no target");
    }
}

/// The fuzz target signs what it tries: with the form that the program writes, or it would never get past the checksum.
#[test]
fn the_signature_of_the_checkpoint_target_is_the_programs() {
    use musicrl_pipeline::run::{Checkpoints, SystemDisk};

    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().into(), Arc::new(SystemDisk));
    let files = [("state.bin".to_owned(), b"state".to_vec())].into();
    let step = checkpoints.write(1, &files, &BTreeMap::from([("reward".to_owned(), 0.25)])).unwrap();
    let written = fs::read(step.join("manifest.json")).unwrap();
    let unsigned = serde_json::from_slice::<serde_json::Value>(&written).map(|mut manifest| {
        manifest["sha256"] = "".into();
        manifest.to_string()
    });
    assert_eq!(checks::signed_manifest(unsigned.unwrap().as_bytes()), Some(written));
}

/// The kinds of file that the program reads but does not write: whole they are sound, cut they are refused or sound.
#[test]
fn seed_recordings_are_read_and_their_halves_are_safe() {
    use musicrl_codec::decode::{Limits, decode_bytes};

    let seeds = files("seeds/audio_file");
    assert!(seeds.len() >= 8, "the seeds are there");
    for (name, bytes) in seeds {
        let decoded = decode_bytes(bytes.clone(), Path::new(&name), &Limits::default());
        let decoded = decoded.unwrap_or_else(|error| panic!("{error}"));
        let seconds = decoded.audio.duration_seconds();
        assert!((0.09..0.25).contains(&seconds), "{name}: {seconds} s");
        let peak = decoded.audio.peak();
        assert!((0.05..0.3).contains(&peak), "{name}: peak {peak}");
        for part in 1..8 {
            checks::audio_file(&bytes[..bytes.len() * part / 8]);
        }
    }
}
