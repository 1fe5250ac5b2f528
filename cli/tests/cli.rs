//! The program as a user meets it: flags, exit codes, files.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn musicrl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_musicrl")).args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = musicrl(args);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs, expects the exit code and both texts on the error stream.
fn refused(args: &[&str], code: i32, expected: &[&str]) {
    let output = musicrl(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    for expected in expected {
        assert!(text.contains(expected), "{args:?}: {expected} not in {text}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    refused(&[], 2, &["Usage"]);
    refused(&["--no-such-flag"], 2, &["--no-such-flag"]);
    refused(&["doctr"], 2, &["doctor"]);
    refused(&["doctor", "--backend", "abacus"], 2, &["abacus", "flex", "ndarray", "tch", "cuda"]);
    refused(&["doctor", "--threads", "0"], 2, &["--threads"]);
    refused(&["bench", "--seconds", "0"], 2, &["--seconds"]);
    refused(&["report"], 2, &["no run", "musicrl report runs/demo"]);
    refused(&["report", "runs", "--bitrate", "1"], 2, &["`bitrate`"]);
    refused(&["report", "no-such-run"], 1, &["no-such-run", "recipe.toml and stages/"]);
}

#[test]
fn help_and_version_are_exit_code_0() {
    for args in [["--help"], ["--version"]] {
        assert_eq!(musicrl(&args).status.code(), Some(0));
    }
}

#[test]
fn doctor_tells_what_there_is() {
    let doctor = json(&["doctor", "--json", "--threads", "1"]);
    assert_eq!(doctor["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(doctor["threads"], 1);
    assert!(doctor["available_bytes"].as_u64().unwrap() > 0);
    assert!(doctor["available_bytes"].as_u64() <= doctor["memory_bytes"].as_u64());
    let backends = doctor["backends"].as_array().unwrap();
    let names: Vec<&str> = backends.iter().map(|backend| backend["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["flex", "ndarray", "tch", "cuda"]);
    for backend in backends {
        assert!(backend["built_in"] == true || backend["usable"] == false, "{backend}");
    }
}

#[test]
fn a_backend_that_was_not_built_in_is_explained() {
    let families =
        [("ndarray", cfg!(feature = "ndarray")), ("tch", cfg!(feature = "tch")), ("cuda", cfg!(feature = "cuda"))];
    for (name, built_in) in families {
        if !built_in {
            let how = format!("--features {name}");
            refused(&["bench", "--backend", name], 2, &["built without", &how, "hint:"]);
        }
    }
}

#[test]
fn a_corpus_that_is_not_there_is_named() {
    let path = Path::new("/nowhere/corpus");
    refused(&["corpus", "show", path.to_str().unwrap()], 1, &["/nowhere/corpus"]);
    let output = musicrl(&["--json", "corpus", "show", "/nowhere/corpus"]);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(error["error"].as_str().unwrap().contains("/nowhere/corpus"));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn etudes_are_composed_and_shown() {
    let temp = tempfile::tempdir().unwrap();
    let (first, second) = (temp.path().join("first"), temp.path().join("second"));
    let flags = ["--train-clips", "6", "--heldout-clips", "2", "--clip-seconds", "1", "--seed", "7"];
    let made = json(&[&["--json", "corpus", "etudes", text(&first)], &flags[..]].concat());
    assert_eq!((made["clips"].as_u64(), made["train"]["clips"].as_u64()), (Some(8), Some(6)));
    assert!(made["next"].as_str().unwrap().starts_with("musicrl train codec"));
    let mut shown = json(&["corpus", "show", text(&first), "--json"]);
    shown["next"] = made["next"].clone();
    assert_eq!(shown, made);
    let threads = [&["--json", "corpus", "etudes", text(&second), "--threads", "1"], &flags[..]].concat();
    json(&threads);
    for file in ["clips.jsonl", "corpus.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap();
        assert_eq!(read(&first), read(&second), "{file} for 1 and for all threads");
    }
    refused(&[&["corpus", "etudes", text(&first)], &flags[..]].concat(), 1, &["first"]);
}

#[test]
fn a_training_with_a_wrong_setting_is_refused_before_it_starts() {
    let temp = tempfile::tempdir().unwrap();
    let (corpus, bundle, out) = (temp.path().join("c"), temp.path().join("b"), temp.path().join("run"));
    json(&[
        "corpus",
        "etudes",
        text(&corpus),
        "--train-clips",
        "2",
        "--heldout-clips",
        "1",
        "--clip-seconds",
        "1",
        "--json",
    ]);
    let train = |more: &[&str], expected: &[&str]| {
        let args = ["train", "codec", "--corpus", text(&corpus), "--bundle", text(&bundle), "--out", text(&out)];
        refused(&[&args[..], more].concat(), 2, expected);
    };
    train(&["--set", "optimiser.learning_rat=1"], &["unknown key", "did you mean `learning_rate`?"]);
    train(&["--set", "batch_clips=0"], &["batch_clips"]);
    train(&["--steps", "0"], &["steps"]);
    train(&["--preset", "small"], &["16000", "24000", "hint:"]);
    let settings = temp.path().join("s.toml");
    std::fs::write(&settings, "batch_clips = 4\ncrop_frame = 3\n").unwrap();
    train(&["--settings", text(&settings)], &["s.toml:2", "did you mean `crop_frames`?"]);
    assert!(!bundle.exists() && !out.exists(), "nothing is left behind");
}

#[test]
fn a_part_is_trained_into_a_bundle_and_again_from_its_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    let (corpus, bundle, out) = (temp.path().join("c"), temp.path().join("b"), temp.path().join("run"));
    json(&[
        "corpus",
        "etudes",
        text(&corpus),
        "--train-clips",
        "4",
        "--heldout-clips",
        "2",
        "--clip-seconds",
        "1",
        "--json",
    ]);
    let small = ["batch_clips=2", "crop_frames=8", "start_clips=4", "codec.quantiser.entries=16"];
    let mut args = vec!["train", "codec", "--json", "--corpus", text(&corpus), "--bundle", text(&bundle)];
    args.extend(["--out", text(&out), "--steps", "2", "--checkpoint-every", "1"]);
    small.iter().for_each(|setting| args.extend(["--set", setting]));
    let trained = json(&args);
    assert_eq!((trained["steps"].as_u64(), trained["part"].as_str()), (Some(2), Some("codec")));
    assert!(trained["next"].as_str().unwrap().starts_with("musicrl train semantic"));
    let weights = std::fs::read(bundle.join("codec.safetensors")).unwrap();
    std::fs::remove_file(bundle.join("codec.safetensors")).unwrap();
    std::fs::remove_file(bundle.join("bundle.json")).unwrap();
    json(&args);
    assert_eq!(std::fs::read(bundle.join("codec.safetensors")).unwrap(), weights);
    for file in ["recipe.toml", "versions.json", "metrics.jsonl", "checkpoints/step-000002/manifest.json"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    args.extend(["--seed", "2"]);
    refused(&args[..2].iter().chain(&args[3..]).copied().collect::<Vec<_>>(), 1, &["recipe.toml", "seed", "--out"]);
}

/// A second of a 220 Hz tone as 16-bit WAV at 16 kHz.
fn write_tone(path: &Path) {
    let samples: Vec<u8> = (0..16_000)
        .map(|n| (f64::from(n) * 220.0 * std::f64::consts::TAU / 16_000.0).sin() * 8_000.0)
        .flat_map(|sample| (sample as i16).to_le_bytes())
        .collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_import_names_what_it_sets_aside_and_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (source, corpus) = (temp.path().join("source"), temp.path().join("corpus"));
    std::fs::create_dir(&source).unwrap();
    for name in ["slow waltz.wav", "fast march.wav", "calm theme.wav"] {
        write_tone(&source.join(name));
    }
    std::fs::write(source.join("empty.wav"), "").unwrap();
    std::fs::write(source.join("notes.ogg"), "these are words").unwrap();
    let import = ["corpus", "import", text(&source), text(&corpus), "--sample-rate-hz", "16000", "--json"];
    let report = json(&import);
    assert_eq!((report["recordings"].as_u64(), report["clips"].as_u64()), (Some(3), Some(3)));
    let aside: Vec<&str> =
        report["set_aside"].as_array().unwrap().iter().map(|file| file[0].as_str().unwrap()).collect();
    assert_eq!(aside, ["empty.wav", "notes.ogg"]);
    assert!(report["next"].as_str().unwrap().contains("train codec"));
    refused(&import[..6], 1, &["corpus"]);
    refused(&[&import[..6], &["--heldout-share", "2"]].concat(), 2, &["heldout_share"]);
}

/// A limit on the size of files makes writing fail as a full disk does, without a disk.
#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_stops_the_run_and_the_next_start_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (corpus, bundle) = (temp.path().join("c"), temp.path().join("b"));
    json(&[
        "corpus",
        "etudes",
        text(&corpus),
        "--train-clips",
        "4",
        "--heldout-clips",
        "2",
        "--clip-seconds",
        "1",
        "--json",
    ]);
    let command = |out: &str| {
        let small = "--set batch_clips=2 --set crop_frames=8 --set start_clips=4 --set codec.quantiser.entries=16";
        let (musicrl, out) = (env!("CARGO_BIN_EXE_musicrl"), temp.path().join(out));
        let folders = format!("--corpus {} --bundle {} --out {}", corpus.display(), bundle.display(), out.display());
        format!("{musicrl} train codec {folders} --steps 3 --checkpoint-every 1 --evaluate-every 0 {small}")
    };
    let shell = |script: String| Command::new("sh").args(["-c", &script]).output().unwrap();
    // 200 blocks of 512 or 1024 bytes: metrics fit, weights do not. The signal is ignored, so that writing fails.
    let output = shell(format!("trap '' XFSZ; ulimit -f 200; {}", command("run")));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("write checkpoint file") && message.contains("step-000001"), "{message}");
    assert!(message.contains("hint: free some space"), "{message}");
    assert_eq!(std::fs::read_dir(temp.path().join("run/checkpoints")).unwrap().count(), 0, "no half checkpoint");
    assert!(!bundle.exists());
    for out in ["run", "undisturbed"] {
        let output = shell(command(out));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for file in ["metrics.jsonl", "checkpoints/step-000003/manifest.json"] {
        let read = |out: &str| std::fs::read(temp.path().join(out).join(file)).unwrap();
        assert_eq!(read("run"), read("undisturbed"), "{file}");
    }
}
