//! `musicrl train preference` as a user runs it, on the base inside the program.

mod tiny;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use musicrl_core::{
    preference::Outcome,
    random::{Key, Purpose},
};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, Source};
use serde_json::Value;

fn musicrl(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_musicrl")).current_dir(folder).args(args).output().unwrap()
}

/// Ten pairs of short clips of five captions.
fn set(folder: &Path, outcome: Outcome) {
    let mut set = PreferenceSet::create(&folder.join("set")).unwrap();
    for pair in 0..10_u64 {
        let clip = |which: u64| {
            let mut random = Key::new(pair, Purpose::Test).clip(which).stream();
            let frame = |_| [128, 256, 256, 256, 256].map(|codebook| random.below(codebook) as u32);
            let tokens = (0..8).flat_map(frame).collect();
            let caption = format!("caption {}", pair / 2);
            ClipRecord { tokens, slots: 5, ..ClipRecord::new(format!("c{pair}-{which}"), caption, "base") }
        };
        let (a, b) = (clip(0), clip(1));
        let judgement = JudgementRecord::new(&a.id, &b.id, outcome, "anna", Source::Human);
        set.add_clips(vec![a, b]).unwrap();
        set.add_judgements(vec![judgement]).unwrap();
    }
}

const TRAIN: [&str; 14] = [
    "train",
    "preference",
    "--json",
    "--preferences",
    "set",
    "--bundle",
    "embedded",
    "--save-to",
    "mine",
    "--set",
    "batch_pairs=4",
    "--set",
    "centring_clips=0",
    "--checkpoint-every=2",
];

fn refused(folder: &Path, more: &[&str], code: i32, expected: &[&str]) {
    let args = [&TRAIN[..], more].concat();
    let output = musicrl(folder, &args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{more:?}: {text}");
    for expected in expected {
        assert!(text.contains(expected), "{more:?}: {expected} not in {text}");
    }
}

#[test]
fn it_trains_resumes_and_adds_the_part() {
    if !musicrl_pipeline::embedded::is_present() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    set(temp.path(), Outcome::BetterA);
    let run = |out: &str, steps: &str| {
        let output = musicrl(temp.path(), &[&TRAIN[..], &["--steps", steps, "--out", out]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let report = run("straight", "4");
    assert_eq!((report["part"].as_str(), report["steps"].as_u64()), (Some("preference"), Some(4)));
    assert_eq!((report["learning_pairs"].as_u64(), report["held_out_pairs"].as_u64()), (Some(8), Some(2)));
    assert!(report["held_out"]["log_loss"]["estimate"].as_f64().unwrap().is_finite());
    let bundle = musicrl_pipeline::bundle::Bundle::open(&temp.path().join("mine")).unwrap();
    assert!(bundle.parts().any(|part| part == "preference") && bundle.parts().any(|part| part == "policy"));
    let weights = bundle.sha256("preference").map(str::to_string);
    // A run whose last checkpoint is lost ends with the same weights.
    fs::remove_dir_all(temp.path().join("straight/checkpoints/step-000004")).unwrap();
    assert_eq!(run("straight", "4")["steps"], 4);
    let again = musicrl_pipeline::bundle::Bundle::open(&temp.path().join("mine")).unwrap();
    assert_eq!(again.sha256("preference").map(str::to_string), weights);
    // Systems of the same base get it as well; others are refused before anything is learned.
    let folder = |name: &str| temp.path().join(name);
    musicrl_pipeline::embedded::base().unwrap().save(&folder("system")).unwrap();
    let more = ["--steps", "4", "--out", "added", "--add-to", "system"];
    let output = musicrl(temp.path(), &[&TRAIN[..], &more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let system = musicrl_pipeline::bundle::Bundle::open(&folder("system")).unwrap();
    assert_eq!(system.sha256("preference").map(str::to_string), weights);
    tiny::tiny_bundle(&folder("stranger"), 7);
    refused(temp.path(), &["--out", "strange", "--add-to", "system,stranger"], 1, &["stranger", "aligned from"]);
    refused(temp.path(), &["--out", "strange", "--add-to", "nowhere"], 1, &["nowhere"]);
    assert!(!folder("strange").exists());
    // Other judgements are another run.
    let mut set = PreferenceSet::open(&temp.path().join("set")).unwrap();
    set.add_judgements(vec![JudgementRecord::new("c0-0", "c0-1", Outcome::Tie, "ben", Source::Human)]).unwrap();
    refused(temp.path(), &["--steps", "4", "--out", "straight"], 1, &["recipe.toml"]);
}

#[test]
fn what_cannot_be_learned_from_is_explained() {
    if !musicrl_pipeline::embedded::is_present() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    set(temp.path(), Outcome::Skipped);
    refused(temp.path(), &[], 2, &["none of 10", "counts"]);
    refused(temp.path(), &["--set", "membrs=2"], 2, &["members"]);
    refused(temp.path(), &["--set", "crop=2"], 2, &["crop"]);
    refused(temp.path(), &["--set", "init=shard"], 2, &["shared"]);
    let other = |set: &str, more: &[&str], code: i32, expected: &str| {
        let args = [&["train", "preference", "--bundle", "embedded", "--preferences", set][..], more].concat();
        let output = musicrl(temp.path(), &args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && text.contains(expected), "{args:?}: {text}");
    };
    other("set", &[], 2, "--save-to");
    other("nowhere", &["--save-to", "mine"], 1, "nowhere");
}
