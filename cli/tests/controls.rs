//! The controls beside reinforcement learning, as a user runs them: `train dpo`, and best-of-n as a system of `evaluate`.

mod tiny;
mod workplace;

use std::{fs, path::Path};

use musicrl_core::{
    preference::Outcome,
    random::{Key, Purpose},
};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, Source};
use serde_json::Value;
use tiny::tiny_bundle;
use workplace::Workplace;

impl Workplace {
    fn new() -> Self {
        let place = Self::empty();
        tiny_bundle(&place.path("base"), 7);
        place
    }
}

/// Thirty pairs of eight captions: the preferred clip has more low tokens. Every tenth is a tie.
fn pairs(folder: &Path) {
    let mut set = PreferenceSet::create(folder).unwrap();
    for pair in 0..30_u64 {
        let clip = |which: u64| {
            let mut random = Key::new(pair, Purpose::Test).clip(which).stream();
            let low = if which == 1 { 0.7 } else { 0.0 };
            let mut token = |codebook| if random.chance(low) { 0 } else { random.below(codebook) as u32 };
            let tokens = (0..8).flat_map(|_| [128, 256, 256, 256, 256].map(&mut token)).collect();
            let caption = format!("caption {}", pair % 8);
            ClipRecord { tokens, slots: 5, ..ClipRecord::new(format!("c{pair}-{which}"), caption, "base") }
        };
        let (a, b) = (clip(0), clip(1));
        let outcome = if pair % 10 == 9 { Outcome::Tie } else { Outcome::BetterB };
        let judgement = JudgementRecord::new(&a.id, &b.id, outcome, "anna", Source::Human);
        set.add_clips(vec![a, b]).unwrap();
        set.add_judgements(vec![judgement]).unwrap();
    }
}

const DPO: [&str; 18] = [
    "train",
    "dpo",
    "--preferences",
    "set",
    "--bundle",
    "base",
    "--save-to",
    "mine",
    "--steps",
    "12",
    "--checkpoint-every",
    "5",
    "--set",
    "batch_pairs=4",
    "--set",
    "optimiser.learning_rate=3e-3",
    "--set",
    "held_out_share=0.25",
];

#[test]
fn dpo_learns_what_was_preferred_and_its_bundle_is_one_like_any() {
    let place = Workplace::new();
    pairs(&place.path("set"));
    let trained = place.json(&[&DPO[..], &["--set", "kl_clips=4"]].concat());
    let counts = ["learning_pairs", "held_out_pairs", "undecided_pairs"].map(|key| trained[key].as_u64().unwrap());
    assert_eq!((counts.iter().sum::<u64>(), counts[2]), (30, 3));
    let accuracy = &trained["held_out"]["accuracy"];
    assert!(accuracy["estimate"].as_f64().unwrap() > 0.8 && accuracy["low"].as_f64().is_some(), "{accuracy}");
    assert_eq!(trained["held_out"]["decided"], counts[1]);
    let kl = trained["kl_to_base"].as_f64().unwrap();
    assert!(kl > 0.01 && (kl - trained["evaluation"]["kl"].as_f64().unwrap()).abs() < 1e-9, "{kl}");
    assert!(trained["next"].as_str().unwrap().contains("evaluate base=base dpo=mine"));

    // The rest of the bundle is the base's; the base itself is untouched.
    let read = |file: &str| fs::read(place.path(file)).unwrap();
    assert_eq!(read("mine/codec.safetensors"), read("base/codec.safetensors"));
    assert_ne!(read("mine/policy.safetensors"), read("base/policy.safetensors"));
    place.good(&["generate", "--bundle", "mine", "--seconds", "0.8", "caption 1"]);
    let compared =
        place.json(&["evaluate", "base", "dpo=mine", "--count", "2", "--resamples", "50", "--reference", "none"]);
    assert_ne!(compared["evaluation"]["systems"][0]["sha256"], compared["evaluation"]["systems"][1]["sha256"]);

    // From the checkpoint before the last, as after a kill: the same bytes.
    let weights = read("mine/policy.safetensors");
    fs::remove_dir_all(place.path("runs/dpo/checkpoints/step-000012")).unwrap();
    fs::remove_dir_all(place.path("mine")).unwrap();
    place.good(&[&DPO[..], &["--set", "kl_clips=4"]].concat());
    assert!(read("mine/policy.safetensors") == weights);
}

#[test]
fn what_dpo_cannot_learn_from_is_named() {
    let place = Workplace::new();
    pairs(&place.path("set"));
    let with = |more: &[&'static str]| [&DPO[..], more].concat();
    place.bad(&with(&["--set", "beta=0"]), 2, &["beta", "above 0"]);
    place.bad(&with(&["--set", "betta=1"]), 2, &["did you mean `beta`"]);
    place.bad(&with(&["--set", "trainable=[\"nothing\"]"]), 2, &["trainable"]);
    place.bad(&with(&["--set", "data.listeners=[\"bob\"]"]), 2, &["preferences", "none of 30"]);
    let mut to_base = DPO.to_vec();
    to_base[7] = "base/";
    place.bad(&to_base, 2, &["--save-to", "the base itself"]);
    to_base[3] = "gone";
    to_base[7] = "mine";
    place.bad(&to_base, 1, &["gone"]);
    let mut ties = PreferenceSet::create(&place.path("ties")).unwrap();
    let clip =
        |id: &str| ClipRecord { tokens: vec![0; 20], slots: 5, ..ClipRecord::new(id, format!("of {id}"), "base") };
    ties.add_clips(["a", "b"].map(clip).to_vec()).unwrap();
    ties.add_judgements(vec![JudgementRecord::new("a", "b", Outcome::Tie, "anna", Source::Human)]).unwrap();
    to_base[3] = "ties";
    place.bad(&[&to_base[..], &["--set", "held_out_share=0"]].concat(), 2, &["1 without a preferred clip"]);
    assert!(!place.path("mine").exists());
}

const SHORT: [&str; 8] = ["--count", "3", "--resamples", "50", "--reference", "none", "--measure", "text_adherence"];

const RECIPE: &str = r#"
[base]
path = "base"

[captions]
source = "etudes"
count = 12

[[stage]]
name = "watched"
steps = 1
batch = 2
kl = { alpha = 0.1 }
rewards = [{ name = "true_utility_town", weight = 0.0 }, { name = "text_adherence", weight = 1.0 }]

[[stage]]
name = "nothing"
steps = 1
batch = 2
kl = { alpha = 0.1 }
rewards = [{ name = "text_adherence", weight = 1.0, range = [1.0, 2.0] }]
"#;

#[test]
fn best_of_n_is_a_system_beside_the_others_and_says_what_it_costs() {
    let place = Workplace::new();
    fs::write(place.path("r.toml"), RECIPE).unwrap();
    let systems = ["evaluate", "base", "one=base", "best=base", "recipe=base"];
    let choices = ["one=1:text_adherence", "best=4:text_adherence", "recipe=4:r.toml"];
    let choices: Vec<&str> = choices.iter().flat_map(|choice| ["--best-of", choice]).collect();
    let evaluate = |more: &[&str]| place.json(&[&systems[..], &choices, &SHORT, more].concat());
    let made = evaluate(&["--takes", "2"]);
    let report = &made["evaluation"];
    let clips = report["listening"]["clips"].as_array().unwrap();
    let of = |system: usize| &clips[6 * system..6 * (system + 1)];
    let score = |clip: &Value| clip["scores"][0].as_f64().unwrap();
    // Candidate 0 is the clip that the bundle plays anyhow: the best of one is that, the best of four nowhere worse.
    for ((base, one), (best, recipe)) in of(0).iter().zip(of(1)).zip(of(2).iter().zip(of(3))) {
        assert_eq!((&base["sound"], &base["clip"]), (&one["sound"], &one["clip"]));
        assert!(score(best) >= score(base));
        assert_eq!((&best["sound"], &best["clip"]), (&recipe["sound"], &recipe["clip"]));
    }
    assert!(of(0).iter().zip(of(2)).any(|(base, best)| score(best) > score(base)));
    let best = &report["systems"][2]["best_of"];
    assert_eq!((&best["candidates"], &best["clips_played"]), (&4.into(), &24.into()));
    assert!((best["kl_bound"].as_f64().unwrap() - (4.0_f64.ln() - 0.75)).abs() < 1e-12);
    assert_eq!(report["systems"][3]["best_of"]["rewards"], serde_json::json!(["text_adherence"]));
    assert_eq!(report["systems"][0].get("best_of"), None);
    let notes = report["notes"].to_string();
    assert!(notes.contains("24 clips played for 6 heard") && notes.contains("0.636 nats"), "{notes}");
    assert!(!notes.contains("base and best are the same"), "{notes}");
    assert!(made["next"].as_str().unwrap().contains("--best-of best=4:text_adherence"));

    // Other batches and threads: the same clips.
    let again = evaluate(&["--takes", "2", "--batch", "3", "--threads", "2"]);
    assert_eq!(again["evaluation"]["listening"]["clips"], report["listening"]["clips"]);
}

#[test]
fn ratings_of_best_of_n_are_of_what_chose_too_and_bad_choices_are_named() {
    let place = Workplace::new();
    fs::write(place.path("r.toml"), RECIPE).unwrap();
    let systems = ["evaluate", "base", "best=base"];
    let choice = ["--best-of", "best=2:text_adherence"];
    place.good(&[&systems[..], &choice, &SHORT, &["--export", "ratings", "--raters", "1"]].concat());
    let form = fs::read_to_string(place.path("ratings/form.csv")).unwrap();
    let filled: Vec<String> =
        form.lines().enumerate().map(|(at, line)| if at == 0 { line.into() } else { format!("{line}3") }).collect();
    fs::write(place.path("ratings/filled.csv"), filled.join("\n") + "\n").unwrap();
    let again = ["--ratings", "ratings/filled.csv", "--resamples", "50", "--reference", "none"];
    let report = place.json(&[&systems[..], &choice, &again].concat());
    assert_eq!(report["evaluation"]["panels"][0]["ratings"], 6);
    place.bad(&[&systems[..], &again].concat(), 2, &["best", "was rated"]);
    let other = ["--best-of", "best=3:text_adherence"];
    place.bad(&[&systems[..], &other, &again].concat(), 2, &["best", "was rated"]);

    let with = |choice: &'static str| [&systems[..], &["--best-of", choice], &SHORT].concat();
    place.bad(&with("best=0:text_adherence"), 2, &["NAME=N:RECIPE"]);
    place.bad(&with("gone=2:text_adherence"), 2, &["gone", "base, best"]);
    place.bad(&with("best=2:gone.toml"), 2, &["gone.toml", "text_adherence"]);
    place.bad(&with("best=2:r.toml#gone"), 2, &["watched, nothing"]);
    place.bad(&with("best=2:true_utility_town"), 2, &["never learned from"]);
    place.bad(&with("best=2:acoustic_quality"), 2, &["train quality"]);
    place.bad(&["evaluate", "--best-of", "best=2:text_adherence"], 2, &["--best-of", "hint:"]);
}
