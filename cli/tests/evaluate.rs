//! Evaluation as a user runs it, on bundles of tiny models with random weights.

mod tiny;
mod workplace;

use std::fs;

use serde_json::Value;
use tiny::tiny_bundle;
use workplace::Workplace;

impl Workplace {
    /// `base` and `other` differ in their weights.
    fn new() -> Self {
        let place = Self::empty();
        tiny_bundle(&place.path("base"), 7);
        tiny_bundle(&place.path("other/bundle"), 8);
        place
    }
}

/// Few and short: what is checked does not need more.
const SHORT: [&str; 6] = ["--count", "3", "--resamples", "100", "--reference", "none"];

#[test]
fn two_copies_of_a_system_tie_everywhere_on_any_number_of_threads() {
    let place = Workplace::new();
    let evaluate = |out: &str, extra: &[&str]| {
        place.json(&[&["evaluate", "a=base", "b=base", "--takes", "2", "--out", out], &SHORT[..], extra].concat())
    };
    let made = evaluate("first", &["--threads", "1"]);
    let report = &made["evaluation"];
    let pair = &report["panels"][0]["pairs"][0];
    assert_eq!(pair["tally"], serde_json::json!({ "wins": 0, "ties": 18, "losses": 0 }));
    assert_eq!((&pair["win_rate"], &pair["signed_rank"]["p_value"]), (&Value::Null, &1.0.into()));
    assert_eq!(report["panels"][0]["source"]["kind"], "simulated");
    // Three listeners a prompt, other ones for each; who was not asked misses nothing.
    let raters = report["panels"][0]["raters"].as_array().unwrap();
    assert_eq!(raters.len(), 9);
    assert!(raters.iter().all(|rater| rater["ratings"] == 4 && rater["missing"] == 0), "{raters:?}");
    let listening = &report["listening"];
    let measure = &listening["measures"][0]["pairs"][0];
    assert_eq!((&measure["difference"]["estimate"], &measure["clips"]), (&0.0.into(), &6.into()));
    assert_eq!(listening["sound"][0]["distinct_share"], listening["sound"][1]["distinct_share"]);
    let clips = listening["clips"].as_array().unwrap();
    assert_eq!(clips.len(), 12);
    for (a, b) in clips[..6].iter().zip(&clips[6..]) {
        assert_eq!((&a["sound"], &a["scores"]), (&b["sound"], &b["scores"]));
    }
    assert!(report["notes"].to_string().contains("the same bundle"));
    assert_eq!(report["systems"][0]["sha256"], report["systems"][1]["sha256"]);
    // The file is what --json shows, and the same bytes for other threads.
    evaluate("second", &["--threads", "2"]);
    let read = |out: &str| fs::read(place.path(out).join("evaluation.json")).unwrap();
    assert!(read("first") == read("second"));
    assert_eq!(serde_json::from_slice::<Value>(&read("first")).unwrap(), *report);
}

#[test]
fn people_rate_blinded_clips_and_the_form_is_read_back() {
    let place = Workplace::new();
    let systems = ["evaluate", "base", "other"];
    let out = place.good(&[&systems[..], &["--export", "ratings", "--raters", "2"], &SHORT].concat());
    for expected in ["6 simulated listeners of population `town`", "no person rated", "next: ", "form.csv"] {
        assert!(out.contains(expected), "{expected} not in {out}");
    }
    assert_eq!(fs::read_dir(place.path("ratings/clips")).unwrap().count(), 6);
    let key: Value = serde_json::from_slice(&fs::read(place.path("ratings/key.json")).unwrap()).unwrap();
    let of = |name: &str| key["clips"].as_array().unwrap().iter().find(|clip| clip["clip"] == name).unwrap();
    let form = fs::read_to_string(place.path("ratings/form.csv")).unwrap();
    assert_eq!(form.lines().count(), 1 + 2 * 6);
    // Both raters prefer `other`; the second leaves the last line empty.
    let filled: Vec<String> = form
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let clip = line.split(',').find(|field| field.starts_with("c0"));
            match clip {
                Some(clip) if at < 12 => format!("{line}{}", if of(clip)["system"] == 1 { 4 } else { 2 }),
                _ => line.to_string(),
            }
        })
        .collect();
    fs::write(place.path("ratings/filled.csv"), filled.join("\n") + "\n").unwrap();

    let made = place.json(&["evaluate", "--ratings", "ratings/filled.csv", "--resamples", "100"]);
    let report = &made["evaluation"];
    assert_eq!(report["panels"][0]["source"]["kind"], "human");
    assert_eq!(report["panels"][0]["pairs"][0]["tally"]["losses"], 5);
    assert_eq!((&report["unfilled"], &report["listening"]), (&1.into(), &Value::Null));

    // With the systems the same clips are played again: the measures are of what was heard.
    let with =
        [&systems[..], &["--ratings", "ratings/filled.csv", "--resamples", "100", "--reference", "none"]].concat();
    let report = &place.json(&with)["evaluation"];
    assert_eq!((report["panels"].as_array().unwrap().len(), &report["panels"][0]["ratings"]), (1, &11.into()));
    assert_eq!(report["listening"]["measures"][0]["agreement"][0]["panel"], "2 human raters");
    assert_eq!(report["listening"]["measures"][0]["agreement"][0]["comparisons"], 5);
    place.bad(&[&with[..], &["--count", "2"]].concat(), 2, &["--count", "hint:"]);
    place.bad(&["evaluate", "base", "other=base", "--ratings", "ratings/filled.csv"], 2, &["other", "was rated"]);
    place.bad(&[&systems[..], &["--export", "ratings"], &SHORT].concat(), 1, &["ratings", "new or empty"]);
    fs::write(place.path("ratings/bad.csv"), form.replacen(",rater-1,", ",rater-1,7", 1)).unwrap();
    place.bad(&["evaluate", "--ratings", "ratings/bad.csv"], 2, &["bad.csv:2", "from 1 to 5"]);
}

#[test]
fn a_corpus_is_the_reference_and_bad_input_is_named() {
    let place = Workplace::new();
    let etudes = ["corpus", "etudes", "c", "--train-clips", "1", "--heldout-clips", "12", "--clip-seconds", "2.4"];
    place.good(&etudes);
    fs::write(place.path("p.csv"), "caption\na slow waltz\nfast drums\na flute\n").unwrap();
    let report = &place.json(&["evaluate", "base", "other", "--prompts", "p.csv", "--reference", "c"])["evaluation"];
    let distribution = &report["listening"]["distribution"];
    assert_eq!(distribution["reference"]["source"]["kind"], "corpus");
    assert_eq!((&distribution["reference"]["clips"], &distribution["floor"]["clips"]), (&9.into(), &3.into()));
    for system in distribution["systems"].as_array().unwrap() {
        assert!(system["frechet"].as_f64().unwrap() > 0.0 && system["mmd"]["p_value"].as_f64().unwrap() > 0.0);
    }

    place.bad(&["evaluate"], 2, &["no system", "hint:"]);
    place.bad(&["evaluate", "gone"], 1, &["gone"]);
    place.bad(&["evaluate", "base", "base"], 2, &["`base` twice", "NAME=FOLDER"]);
    place.bad(&["evaluate", "base", "--population", "nowhere"], 2, &["nowhere", "town"]);
    place.bad(&["evaluate", "base", "--measure", "taste"], 2, &["taste", "text_adherence"]);
    place.bad(&["evaluate", "base", "--takes", "0"], 2, &["takes"]);
    place.bad(&["evaluate", "base", "--seconds=-1"], 2, &["seconds"]);
    place.bad(&["evaluate", "base", "--confidence", "1"], 2, &["confidence"]);
    place.bad(&["evaluate", "base", "--reference", "nowhere"], 1, &["nowhere"]);
    fs::write(place.path("none.txt"), "\n").unwrap();
    place.bad(&["evaluate", "base", "--prompts", "none.txt"], 2, &["none.txt"]);
    assert!(!place.path("runs/evaluate/clips").exists());
}
