//! `musicrl align`, killed at random moments and started again, ends with the bytes of a run that was not.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use musicrl_core::random::{Key, Purpose};

const KILLS: u32 = 20;

fn start(folder: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_musicrl"))
        .current_dir(folder)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A bundle of all parts, each trained for one step: what it plays is noise, but every joint is real.
fn small_bundle(folder: &Path) {
    finish(start(folder, &["corpus", "etudes", "c", "--train-clips", "6", "--heldout-clips", "2"]));
    let train = |part: &str, settings: &[&str]| {
        let mut args = vec!["train", part, "--corpus", "c", "--bundle", "b", "--steps", "1", "--evaluate-every", "0"];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        finish(start(folder, &args));
    };
    train("codec", &["batch_clips=2", "start_clips=4", "crop_frames=16"]);
    train("semantic", &["batch_crops=2", "statistics_crops=4", "evaluation_crops=2", "cluster_crops=8"]);
    train("text-audio", &["training.batch_pairs=4", "training.codec_clips=0"]);
    let stack = ["global.width=48", "global.layers=1", "global.heads=2", "global.ff_width=96"];
    let local = ["local.width=32", "local.layers=1", "local.heads=2", "local.ff_width=64", "batch_clips=2"];
    train("policy", &[&stack[..], &local[..]].concat());
    train("fine", &["batch_crops=2", "evaluation_crops=2", "model.layers=1"]);
    let recipe = r#"
[base]
path = "b"

[captions]
count = 20

[[stage]]
name = "short"
steps = 14
batch = 2
clip_seconds = 2.4
kl = { alpha = 0.1, rule = "adaptive", target = 5.0 }
rewards = [{ name = "text_adherence", weight = 1.0 }]

[stage.evaluation]
every = 7
clips = 2
samples = 1

[stage.checkpoint]
every = 2
"#;
    fs::write(folder.join("short.toml"), recipe).unwrap();
}

/// The files of the last checkpoint, the metrics and the aligned bundle.
fn result(folder: &Path, out: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let stage = folder.join(out).join("stages/short");
    let mut files = vec![stage.join("metrics.jsonl")];
    for part in [stage.join("checkpoints/step-000014"), folder.join(out).join("bundle")] {
        files.extend(fs::read_dir(part).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    let root = folder.join(out);
    files.into_iter().map(|file| (file.strip_prefix(&root).unwrap().into(), fs::read(&file).unwrap())).collect()
}

#[test]
fn an_alignment_killed_at_random_moments_ends_with_the_same_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    small_bundle(folder);
    let begun = Instant::now();
    finish(start(folder, &["align", "short.toml", "--out", "whole"]));
    let whole_seconds = begun.elapsed().as_secs_f64();
    let expected = result(folder, "whole");
    assert!(expected.iter().any(|(path, _)| path.ends_with("policy-optimiser.bin")));
    let mut moments = Key::new(1, Purpose::Test).stream();
    let (mut kills, mut round) = (0, 0);
    while kills < KILLS {
        let out = format!("killed-{round}");
        let args = ["align", "short.toml", "--out", &out];
        // A round ends when the run does; the moments are spread so that it comes forward between kills.
        loop {
            let mut child = start(folder, &args);
            if kills < KILLS {
                thread::sleep(Duration::from_secs_f64(moments.between(0.0, 0.7 * whole_seconds)));
                // SIGKILL: nothing of the process runs after it.
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                break;
            }
            assert!(output.status.code().is_none(), "{}", String::from_utf8_lossy(&output.stderr));
            kills += 1;
        }
        assert!(result(folder, &out) == expected, "round {round} after {kills} kills differs");
        round += 1;
    }
}
