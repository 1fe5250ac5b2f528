//! `musicrl train quality` as a user meets it.

use std::{
    path::{Path, PathBuf},
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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Six etudes of a second to learn from, three held out.
fn corpus(folder: &Path) -> PathBuf {
    let corpus = folder.join("corpus");
    let sizes = ["--train-clips", "6", "--heldout-clips", "3", "--clip-seconds", "1"];
    json(&[&["corpus", "etudes", text(&corpus), "--json"], &sizes[..]].concat());
    corpus
}

const SMALL: [&str; 10] = [
    "--steps",
    "2",
    "--set",
    "training.batch_clips=4",
    "--set",
    "model.width=8",
    "--set",
    "model.head_width=8",
    "--set",
    "model.dilations=[1]",
];

#[test]
fn simulated_ratings_are_marked_wherever_they_are_stored() {
    let temp = tempfile::tempdir().unwrap();
    let (corpus, bundle, out) = (corpus(temp.path()), temp.path().join("b"), temp.path().join("run"));
    let folders = ["--corpus", text(&corpus), "--bundle", text(&bundle), "--out", text(&out), "--json"];
    let args = [&["train", "quality"], &folders[..], &SMALL[..]].concat();
    let trained = json(&args);
    assert_eq!((trained["part"].as_str(), trained["ratings"].as_str()), (Some("quality"), Some("simulated")));
    // Six clips and three, six versions of each, three ratings of every one.
    assert_eq!((trained["rated_sounds"].as_u64(), trained["rating_count"].as_u64()), (Some(54), Some(162)));
    assert_eq!(trained["evaluation"]["simulated"], 1.0);
    assert_eq!(trained["held_out"]["sounds"], 18);
    assert!(trained["next"].as_str().unwrap().contains("acoustic_quality"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(bundle.join("bundle.json")).unwrap()).unwrap();
    assert_eq!(manifest["parts"]["quality"]["config"]["ratings"], "simulated");
    let ratings = std::fs::read_to_string(out.join("ratings.jsonl")).unwrap();
    assert!(ratings.lines().count() == 54 && ratings.lines().all(|line| line.contains("simulated-")));
    // Again from its checkpoint: the same weights.
    let weights = std::fs::read(bundle.join("quality.safetensors")).unwrap();
    json(&args);
    assert_eq!(std::fs::read(bundle.join("quality.safetensors")).unwrap(), weights);
}

#[test]
fn ratings_of_people_are_read_and_bad_rows_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let (corpus, bundle, out) = (corpus(temp.path()), temp.path().join("b"), temp.path().join("run"));
    let clips = std::fs::read_to_string(corpus.join("clips.jsonl")).unwrap();
    let rows = clips.lines().enumerate().map(|(at, line)| {
        let clip: Value = serde_json::from_str(line).unwrap();
        format!("{},{},ann\n{0},{},bob\n", clip["file"].as_str().unwrap(), 1 + at % 5, 1 + (at + 1) % 5)
    });
    let table = temp.path().join("ratings.csv");
    let good: String = rows.collect();
    std::fs::write(&table, format!("file,rating,rater\n{good}gone.wav,3,ann\nx.wav,9,ann\n")).unwrap();
    let folders = ["--corpus", text(&corpus), "--bundle", text(&bundle), "--out", text(&out), "--json"];
    let train = |table: &Path| {
        [&["train", "quality", "--ratings", text(table)][..], &folders[..], &SMALL[..]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let args = train(&table);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let trained = json(&args);
    assert_eq!((trained["ratings"].as_str(), trained["rating_count"].as_u64()), (Some("human"), Some(18)));
    assert_eq!((trained["set_aside"].as_u64(), trained["held_out"]["sounds"].as_u64()), (Some(2), Some(3)));
    let aside = std::fs::read_to_string(out.join("set_aside.jsonl")).unwrap();
    assert!(aside.contains("line 21") && aside.contains("gone.wav"), "{aside}");

    // Other ratings are another run; none at all are no run.
    std::fs::write(&table, format!("file,rating,rater\n{good}")).unwrap();
    let output = musicrl(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("recipe.toml"));
    std::fs::write(&table, "file,rating,rater\na.wav,9,ann\n").unwrap();
    let said = String::from_utf8_lossy(&musicrl(&args).stdout).into_owned();
    assert!(said.contains("line 2") && said.contains("outside 1 to 5"), "{said}");
}
