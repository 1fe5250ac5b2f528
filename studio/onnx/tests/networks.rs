//! Networks of three nodes, written by the tests themselves.

mod support;

use std::{fs, path::Path};

use musicrl_onnx::Network;
use support::{mean, sum_of_two};

fn load(bytes: &[u8]) -> Result<Network, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.onnx");
    fs::write(&path, bytes).unwrap();
    Network::load(&path)
}

#[test]
fn the_file_for_other_crates_is_what_the_generator_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mean.onnx");
    let bytes = mean(&[Some(1), None], "ReduceMean");
    if !path.exists() {
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(fs::read(path).unwrap(), bytes, "delete the file and run the test again to renew it");
}

#[test]
fn clips_of_any_length_are_judged() {
    let network = load(&mean(&[Some(1), None], "ReduceMean")).unwrap();
    for length in [1, 2, 100, 3, 4, 5, 100] {
        let samples: Vec<f32> = (0..length).map(|i| i as f32).collect();
        let expected = (length - 1) as f32 / 2.0;
        let scores = network.run(&samples, &[samples.len()]).unwrap();
        assert!((scores[0] - expected).abs() < 1e-4 && scores[1] == 2.0 * scores[0], "{length}: {scores:?}");
    }
    assert!(network.run(&[0.0; 4], &[5]).unwrap_err().contains("[5] of 4 values"));
    assert!(network.run(&[0.0; 4], &[1, 1, 4]).is_err());
    assert!(network.run(&[f32::NAN; 4], &[4]).unwrap()[0].is_nan());
}

#[test]
fn axes_of_length_one_are_added_as_the_file_declares_them() {
    for rank in [1, 2, 3, 4] {
        let mut shape = vec![Some(1); rank];
        shape[rank - 1] = None;
        let scores = load(&mean(&shape, "ReduceMean")).unwrap().run(&[1.0, 3.0], &[2]).unwrap();
        assert_eq!(scores, [2.0, 4.0], "rank {rank}");
    }
    let bands = load(&mean(&[Some(1), Some(2), None], "ReduceMean")).unwrap();
    assert_eq!(bands.run(&[1.0, 3.0, 5.0, 7.0], &[2, 2]).unwrap(), [2.0, 4.0, 6.0, 12.0]);
}

#[test]
fn another_length_than_the_file_declares_is_refused() {
    let network = load(&mean(&[Some(1), Some(4)], "ReduceMean")).unwrap();
    assert_eq!(network.run(&[1.0; 4], &[4]).unwrap(), [1.0, 2.0]);
    let error = network.run(&[1.0; 5], &[5]).unwrap_err();
    assert!(error.contains("[1, 5]") && error.contains('4'), "{error}");
}

#[test]
fn what_cannot_be_run_is_named() {
    let error = load(&mean(&[Some(1), None], "Frobnicate")).unwrap_err();
    assert!(error.contains("does not know: Frobnicate") && error.contains("network.onnx"), "{error}");
    assert!(load(&sum_of_two()).unwrap_err().contains("one input, got 2"));
    let error = Network::load(Path::new("/nowhere/x.onnx")).unwrap_err();
    assert!(error.contains("/nowhere/x.onnx"), "{error}");
    assert!(load(b"").is_err());
    assert!(load(b"not a network").is_err());
}

#[test]
fn damaged_files_are_errors() {
    let whole = mean(&[Some(1), None], "ReduceMean");
    for length in 0..whole.len() {
        let _ = load(&whole[..length]);
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x11;
        if let Ok(network) = load(&bytes) {
            let _ = network.run(&[1.0, 2.0], &[2]);
        }
    }
}
