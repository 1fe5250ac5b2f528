//! `musicrl generate` on the base inside the program, with short clips.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

fn generate(args: &[&str], out: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_musicrl"))
        .args(["generate", "--seconds", "3.2", "--out"])
        .arg(out)
        .args(args)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn list(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("clips.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_best_of_several_is_one_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let caption = "a fast bright marimba piece with drums";
    let (all, best) = (folder.path().join("all"), folder.path().join("best"));
    assert_eq!(generate(&[caption, "--count", "3"], &all).0, 0);
    assert_eq!(generate(&[caption, "--best-of", "3"], &best).0, 0);
    let (all, best) = (list(&all), list(&best));
    assert_eq!((all.len(), best.len()), (3, 1));
    // The candidates are the three clips that are played without a choice.
    let same = &all[best[0]["clip"].as_u64().unwrap() as usize];
    assert_eq!(same["log_probability"], best[0]["log_probability"]);
    assert!(best[0]["reward"].as_f64().is_some_and(f64::is_finite) && same.get("reward").is_none());

    // Two clips of a caption take candidates of their own, and the mean of the best of four is above that of one.
    let (four, one) = (folder.path().join("four"), folder.path().join("one"));
    assert_eq!(generate(&[caption, "--count", "4", "--best-of", "4", "--batch", "2"], &four).0, 0);
    assert_eq!(generate(&[caption, "--count", "4", "--best-of", "1"], &one).0, 0);
    let (four, one) = (list(&four), list(&one));
    let clips: BTreeSet<u64> = four.iter().map(|clip| clip["clip"].as_u64().unwrap() / 4).collect();
    assert_eq!(clips.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let mean = |clips: &[Value]| clips.iter().map(|clip| clip["reward"].as_f64().unwrap()).sum::<f64>() / 4.0;
    assert!(mean(&four) > mean(&one), "{} {}", mean(&four), mean(&one));
}

#[test]
fn wrong_choices_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (args, code, expected) in [
        (&["a waltz", "--best-of", "0"][..], 2, "best_of"),
        (&["a waltz", "--best-of", "2", "--by", "text_adherense"], 2, "text_adherence"),
        (&["a waltz", "--by", "text_adherence"], 2, "--best-of"),
        (&[], 2, "no caption"),
    ] {
        let (got, text) = generate(args, folder.path());
        assert!(got == code && text.contains(expected), "{args:?}: {got} {text}");
    }
}
