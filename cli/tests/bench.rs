//! `musicrl bench` on models with random weights: what is checked here is what is measured on, not what is measured.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use burn::tensor::Device;
use musicrl_codec::{fine::FineConfig, neural::CodecConfig, semantic::SemanticConfig};
use musicrl_core::{
    params::{Storage, reinitialise},
    random::{Key, Purpose},
};
use musicrl_pipeline::bundle::{Bundle, part};
use serde_json::Value;

struct Workplace {
    temp: tempfile::TempDir,
}

impl Workplace {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn run(&self, args: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musicrl"));
        command.args(args.split_whitespace()).current_dir(self.temp.path()).output().unwrap()
    }

    fn good(&self, args: &str) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{args} --json"))).unwrap()
    }

    /// Runs, expects the exit code and all texts on the error stream.
    fn refused(&self, args: &str, code: i32, expected: &[&str]) {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args}: {text}");
        for expected in expected {
            assert!(text.contains(expected), "{args}: {expected} not in {text}");
        }
    }

    fn etudes(&self, name: &str, held_out: usize, rate_hz: u32) {
        let clips = format!("--train-clips 2 --heldout-clips {held_out} --clip-seconds 1 --sample-rate-hz {rate_hz}");
        self.good(&format!("corpus etudes {name} {clips}"));
    }
}

fn with_codec() -> Bundle {
    let mut bundle = Bundle::new();
    let config = CodecConfig::base();
    let codec = config.init(&Device::flex(), Key::new(7, Purpose::Init)).unwrap();
    bundle.set(part::CODEC, &config, &codec, Storage::F32).unwrap();
    bundle
}

fn codec_bundle(folder: &Path) {
    with_codec().save(folder).unwrap();
}

/// Codec, semantic tokeniser and a fine stage for `entries` entries a level.
fn fine_bundle(folder: &Path, entries: usize) {
    let (device, key) = (Device::flex(), Key::new(7, Purpose::Init));
    let mut bundle = with_codec();
    let semantic = SemanticConfig { mel_bands: 8, width: 8, heads: 2, ff_width: 16, ..SemanticConfig::base() };
    let module = reinitialise(semantic.init(&device).unwrap(), key.step(1));
    bundle.set(part::SEMANTIC, &semantic, &module, Storage::F32).unwrap();
    let fine = FineConfig { entries, width: 8, heads: 2, ff_width: 16, layers: 1, ..FineConfig::base() };
    let module = reinitialise(fine.init(&device).unwrap(), key.step(2));
    bundle.set(part::FINE, &fine, &module, Storage::F32).unwrap();
    bundle.save(folder).unwrap();
}

#[test]
fn a_codec_is_measured_level_by_level_beside_opus() {
    let place = Workplace::new();
    place.etudes("etudes", 3, 16_000);
    codec_bundle(&place.path("bundle"));
    let report = place.json("bench codec --bundle bundle --corpus etudes --clips 2 --seconds 0.5");
    assert_eq!((report["clips"].as_u64(), report["seconds"].as_f64()), (Some(2), Some(1.0)));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 9);
    assert_eq!((rows[7]["levels"].as_u64(), rows[7]["bits_per_second"].as_f64()), (Some(8), Some(1_600.0)));
    assert_eq!(rows[8]["codec"], "opus");
    for row in rows {
        assert!(row["log_mel_distance"].as_f64().is_some() && row["si_sdr_db"].as_f64().is_some(), "{row}");
    }
    assert_eq!(report["levels"].as_array().unwrap().len(), 8);
    // Whole clips, and no more than there are: what is asked for beyond is left out, not filled with silence.
    let all = place.json("bench codec --bundle bundle --corpus etudes");
    assert_eq!((all["clips"].as_u64(), all["seconds"].as_f64()), (Some(3), Some(3.0)));
    let table = place.good("bench codec --bundle bundle --corpus etudes --clips 1 --seconds 0.2");
    assert!(table.contains("SI-SDR (dB)") && table.contains("opus"), "{table}");
}

#[test]
fn the_fine_stage_is_measured_against_leaving_it_out() {
    let place = Workplace::new();
    place.etudes("etudes", 3, 16_000);
    fine_bundle(&place.path("bundle"), 256);
    let report = place.json("bench fine --bundle bundle --corpus etudes --seconds 0.5");
    // Whole semantic tokens of 80 ms.
    assert_eq!((report["clips"].as_u64(), report["seconds"].as_f64()), (Some(3), Some(1.44)));
    let rows = report["rows"].as_array().unwrap();
    let named: Vec<_> = rows.iter().map(|row| (row["decoded"].as_str(), row["levels"].as_u64())).collect();
    assert_eq!(named, [(Some("coarse"), Some(2)), (Some("fine"), Some(8)), (Some("all"), Some(8))]);
    let distance = |row: usize| rows[row]["log_mel_distance"].as_f64().unwrap();
    let difference = report["fine_less_coarse"]["estimate"].as_f64().unwrap();
    assert!((difference - (distance(1) - distance(0))).abs() < 1e-9);
    let table = place.good("bench fine --bundle bundle --corpus etudes --seconds 0.5");
    assert!(table.contains("fine less coarse"), "{table}");
}

#[test]
fn what_cannot_be_measured_is_explained() {
    let place = Workplace::new();
    codec_bundle(&place.path("bundle"));
    Bundle::new().save(&place.path("empty")).unwrap();
    place.etudes("etudes", 1, 16_000);
    place.etudes("other-rate", 1, 8_000);
    place.etudes("all-learned", 0, 16_000);
    let codec = |bundle: &str, corpus: &str| format!("bench codec --bundle {bundle} --corpus {corpus}");
    place.refused(&codec("empty", "etudes"), 2, &["`codec` part", "musicrl train codec"]);
    place.refused(&codec("gone", "etudes"), 1, &["gone"]);
    place.refused(&codec("bundle", "gone"), 1, &["gone"]);
    place.refused(&codec("bundle", "other-rate"), 2, &["8000 Hz", "16000 Hz", "hint:"]);
    place.refused(&codec("bundle", "all-learned"), 1, &["all-learned has no held-out clips", "--heldout-clips"]);
    place.refused(&format!("{} --clips 0", codec("bundle", "etudes")), 2, &["--clips"]);
    place.refused(&format!("{} --seconds 0", codec("bundle", "etudes")), 2, &["--seconds"]);
    place.refused("bench codec --bundle bundle", 2, &["--corpus"]);
    place.refused("bench --seconds 1 codec --corpus etudes", 2, &["--seconds", "hint:"]);
    place.refused("bench fine --bundle bundle --corpus etudes", 2, &["`semantic` part", "musicrl train semantic"]);
    fine_bundle(&place.path("misfit"), 100);
    place.refused("bench fine --bundle misfit --corpus etudes", 2, &["fine.entries", "256", "100"]);
    fine_bundle(&place.path("fits"), 256);
    place.refused("bench fine --bundle fits --corpus all-learned", 1, &["no held-out clips"]);
    place.refused("bench fine --bundle fits --corpus other-rate", 2, &["8000 Hz"]);
    place.refused("bench fine --bundle fits --corpus etudes --seconds 0.01", 1, &["1280"]);
    place.refused("bench codek", 2, &["codec"]);
}
