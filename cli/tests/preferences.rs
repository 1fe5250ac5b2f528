//! Preference sets as a user makes them, on a bundle of tiny models with random weights: what is checked here (records,
//! files, errors) does not need music.

mod workplace;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use burn::tensor::Device;
use musicrl_codec::neural::CodecConfig;
use musicrl_core::{
    nn::FeedForward,
    params::{Storage, reinitialise},
    policy::{HierarchicalPolicyConfig, StackConfig},
    random::{Key, Purpose},
    tokens::Interleave,
};
use musicrl_feedback::{PreferenceSet, Source};
use musicrl_pipeline::bundle::{Bundle, part};
use musicrl_rewards::TextAudioConfig;
use workplace::Workplace;

/// Codec, embedding and policy of random weights.
fn tiny_bundle(folder: &Path, seed: u64) {
    let device = Device::flex();
    let key = Key::new(seed, Purpose::Init);
    let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 32, feed_forward: FeedForward::Gelu };
    let mut bundle = Bundle::new();
    let codec = CodecConfig::base();
    let module = codec.init(&device, key).unwrap();
    bundle.set(part::CODEC, &codec, &reinitialise(module, key.step(1)), Storage::F32).unwrap();
    let text_audio = TextAudioConfig::base();
    bundle.set(part::TEXT_AUDIO, &text_audio, &text_audio.init_seeded(7, &device).unwrap(), Storage::F32).unwrap();
    let policy = HierarchicalPolicyConfig {
        layout: Interleave { coarse_levels: 2 }.layout(128, 256, 12.5).unwrap(),
        global: stack.clone(),
        local: stack,
        condition_slots: text_audio.quantiser.levels,
        condition_codebook: text_audio.quantiser.entries,
    };
    bundle.set(part::POLICY, &policy, &policy.init(key.step(2), &device).unwrap(), Storage::F32).unwrap();
    bundle.set_clip_seconds(1.6);
    bundle.save(folder).unwrap();
}

impl Workplace {
    fn new() -> Self {
        let place = Self::empty();
        tiny_bundle(&place.path("base"), 7);
        place
    }

    fn set(&self, name: &str) -> PreferenceSet {
        PreferenceSet::open(&self.path(name)).unwrap()
    }
}

const COLLECT: [&str; 11] = [
    "preferences",
    "collect",
    "--bundle",
    "base",
    "--population",
    "village",
    "--repeat-every",
    "4",
    "--ratings",
    "2",
    "--pairs",
];

fn collect<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    COLLECT.iter().copied().chain(rest.iter().copied()).collect()
}

/// Every file of a set by its name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for sub in ["", "audio"] {
        let Ok(entries) = fs::read_dir(folder.join(sub)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_file() {
                found
                    .insert(format!("{sub}/{}", path.file_name().unwrap().to_string_lossy()), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_collection_has_clips_choices_and_ratings_and_says_what_it_knows() {
    let place = Workplace::new();
    place.good(&collect(&["20", "--out", "set"]));
    let set = place.set("set");
    assert_eq!((set.clips().len(), set.judgements().len(), set.ratings().len()), (40, 25, 80));
    let identity = Bundle::open(&place.path("base")).unwrap().identity();
    for clip in set.clips() {
        assert!(clip.audio.is_none() && clip.slots == 5 && clip.tokens.len() == 20 * 5 && clip.system == "base");
        assert_eq!(clip.origin.as_ref().unwrap().bundle, identity);
    }
    for judgement in set.judgements() {
        assert_eq!(judgement.source, Source::Simulated { population: "village".into() });
        let caption = |id: &str| set.clip(id).unwrap().caption.clone();
        assert_eq!(caption(&judgement.a), caption(&judgement.b));
    }
    // Without a sound or a bundle nothing is known of the truth.
    let text = place.good(&["preferences", "show", "set"]);
    assert!(text.contains("simulated:village 25") && !text.contains("ceiling"), "{text}");
    let text = place.good(&["preferences", "show", "set", "--bundle", "base"]);
    assert!(text.contains("accuracy ceiling") && text.contains("on 5 repeated pairs"), "{text}");
    // With sounds it is, to the rounding of 16 bits.
    place.good(&collect(&["20", "--out", "heard", "--audio"]));
    let judged = |name: &str| place.set(name).judgements().to_vec();
    assert_eq!(judged("heard"), judged("set"));
    let ceiling = |args: &[&str]| -> f64 {
        let json: serde_json::Value = serde_json::from_str(&place.good(args)).unwrap();
        json["truth"][0]["ceiling"].as_f64().unwrap()
    };
    let decoded = ceiling(&["preferences", "show", "set", "--bundle", "base", "--json"]);
    assert!((ceiling(&["preferences", "show", "heard", "--json"]) - decoded).abs() < 0.01);
    // Another bundle has not made these clips.
    tiny_bundle(&place.path("other"), 8);
    let text = place.good(&["preferences", "show", "set", "--bundle", "other"]);
    assert!(text.contains("40 clips cannot be heard again") && !text.contains("ceiling"), "{text}");
}

#[test]
fn killed_and_continued_it_is_the_same_set() {
    let place = Workplace::new();
    let start = Instant::now();
    place.good(&collect(&["40", "--out", "whole", "--audio"]));
    let whole = start.elapsed().as_secs_f64();
    let mut random = Key::new(3, Purpose::Test).stream();
    let mut kills = 0;
    for _ in 0..30 {
        let mut child = place.command(&collect(&["40", "--out", "killed", "--audio"])).spawn().unwrap();
        thread::sleep(Duration::from_secs_f64(random.between(0.1, 0.8) * whole));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    place.good(&collect(&["40", "--out", "killed", "--audio"]));
    let (expected, got) = (files(&place.path("whole")), files(&place.path("killed")));
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    assert!(expected == got, "after {kills} kills");
    // A shorter collection is the beginning of a longer one, on any number of threads.
    place.good(&collect(&["13", "--out", "grown", "--threads", "1", "--audio"]));
    let short = place.set("grown");
    assert_eq!(short.judgements(), &place.set("whole").judgements()[..short.judgements().len()]);
    place.good(&collect(&["40", "--out", "grown", "--audio"]));
    assert!(files(&place.path("grown")) == expected);
}

#[test]
fn systems_meet_and_are_told_apart() {
    let place = Workplace::new();
    tiny_bundle(&place.path("aligned"), 8);
    place.good(&collect(&["12", "--out", "set", "--systems", "aligned"]));
    let set = place.set("set");
    for judgement in set.judgements() {
        let system = |id: &str| set.clip(id).unwrap().system.clone();
        assert_ne!(system(&judgement.a), system(&judgement.b));
    }
    let text = place.good(&["preferences", "show", "set"]);
    assert!(text.contains("aligned against base: won"), "{text}");
}

#[test]
fn tables_go_out_and_come_in() {
    let place = Workplace::new();
    place.good(&collect(&["8", "--out", "set", "--audio"]));
    place.good(&["preferences", "export", "set", "--to", "out.csv"]);
    let text = place.good(&["preferences", "import", "out.csv", "--out", "again"]);
    // Simulated listeners do not become people on the way.
    assert!(text.contains("simulated:village 10") && !text.contains("human"), "{text}");
    let (first, again) = (place.set("set"), place.set("again"));
    let said = |set: &PreferenceSet| {
        let said = |j: &musicrl_feedback::JudgementRecord| (j.outcome, j.listener.clone(), j.source.clone());
        set.judgements().iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(said(&first), said(&again));
    // One row breaks; the others stay.
    let table = fs::read_to_string(place.path("out.csv")).unwrap().replacen("p000000-a.wav", "gone.wav", 1);
    fs::write(place.path("bad.csv"), table).unwrap();
    let text = place.good(&["preferences", "import", "bad.csv", "--out", "rest"]);
    assert!(text.contains("1 rows set aside"), "{text}");
    place.bad(&["preferences", "import", "bad.csv", "--out", "rest"], 1, &["new or empty folder"]);
    place.bad(&["preferences", "export", "set", "--to", "out.xlsx"], 1, &[".csv or .jsonl"]);
    fs::write(place.path("head.csv"), "caption,audio_a\n").unwrap();
    place.bad(&["preferences", "import", "head.csv", "--out", "new"], 1, &["audio_b"]);
    place.bad(&["preferences", "import", "nothing.csv", "--out", "new"], 1, &["nothing.csv"]);
    assert!(!place.path("new").exists());
}

#[test]
fn wrong_usage_is_named() {
    let place = Workplace::new();
    let with = |population: &'static str, rest: &[&'static str]| {
        let mut args = vec!["preferences", "collect", "--bundle", "base", "--population", population, "--out", "set"];
        args.extend(rest);
        args
    };
    place.bad(&with("villge", &["--pairs", "4"]), 2, &["villge", "village"]);
    place.bad(&with("village", &["--pairs", "0"]), 2, &["`pairs`"]);
    place.bad(&with("village", &["--pairs", "4", "--listeners", "0"]), 2, &["`listeners`"]);
    place.bad(&with("village", &["--pairs", "4", "--ratings", "21"]), 2, &["`ratings`", "20"]);
    place.bad(&with("village", &["--pairs", "4", "--seconds=-1"]), 2, &["`seconds`"]);
    place.bad(&with("village", &["--pairs", "4", "--temperature", "0"]), 1, &["temperature"]);
    place.bad(&with("village", &["--pairs", "4", "--captions", "none.txt"]), 1, &["none.txt"]);
    place.bad(&with("village", &["--pairs", "4", "--tastes", "none.toml"]), 1, &["none.toml"]);
    fs::write(place.path("empty.txt"), " \n\n").unwrap();
    place.bad(&with("village", &["--pairs", "4", "--captions", "empty.txt"]), 2, &["no caption"]);
    fs::write(place.path("odd.toml"), "[village]\nseed = 1\n").unwrap();
    place.bad(&with("village", &["--pairs", "4", "--tastes", "odd.toml"]), 2, &["odd.toml"]);
    assert!(!place.path("set").exists());
    place.good(&with("village", &["--pairs", "2"]));
    place.bad(&with("town", &["--pairs", "4"]), 1, &["population = \"town\"", "other settings"]);
    place.bad(&["preferences", "show", "nowhere"], 1, &["nowhere"]);
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/notes.txt"), "x").unwrap();
    let mut args = with("village", &["--pairs", "2"]);
    args[7] = "full";
    place.bad(&args, 1, &["new or empty folder"]);
}

const STUDY: [&str; 13] = [
    "preferences",
    "study",
    "set",
    "--bundle",
    "base",
    "--out",
    "study",
    "--epochs",
    "1",
    "--set",
    "training.batch_pairs=8",
    "--set",
    "training.bootstrap.resamples=50",
];

#[test]
fn a_study_measures_all_variants_on_the_same_pairs_and_goes_on_where_it_stopped() {
    let place = Workplace::new();
    place.good(&collect(&["24", "--out", "set", "--seconds", "2.4", "--confidence"]));
    let confidences: Vec<f64> = place.set("set").judgements().iter().map(|said| said.confidence).collect();
    assert!(confidences.iter().all(|it| (0.05..=1.0).contains(it)) && confidences.iter().any(|it| *it < 0.9));
    // How sure they are is said beside what they say, and changes nothing of it.
    place.good(&collect(&["24", "--out", "plain", "--seconds", "2.4"]));
    let said = |name: &str| place.set(name).judgements().iter().map(|said| said.outcome).collect::<Vec<_>>();
    assert_eq!(said("set"), said("plain"));

    let json = |args: &[&str]| -> serde_json::Value { serde_json::from_str(&place.good(args)).unwrap() };
    let with = |more: &[&'static str]| [&STUDY[..], more].concat();
    let some = json(&with(&["--only", "policy,scratch", "--json"]));
    assert_eq!((some["trained"].as_u64(), some["study"]["curves"].as_array().unwrap().len()), (Some(6), 2));
    let fold = place.path("study/folds/policy-1.json");
    let before = fs::read(&fold).unwrap();
    // What is done is not done again; a fold that was lost is, and says the same.
    fs::remove_file(&fold).unwrap();
    let all = json(&with(&["--json"]));
    assert_eq!(all["trained"], 1 + 3 * 8);
    assert!(fs::read(&fold).unwrap() == before);
    let curves = all["study"]["curves"].as_array().unwrap();
    let names: Vec<&str> = curves.iter().map(|curve| curve["variant"].as_str().unwrap()).collect();
    assert!(
        ["text-adherence", "confident-only", "with-sound"].iter().all(|name| names.contains(name)),
        "{names:?} {}",
        all["study"]["notes"]
    );
    // The bundle has no judge of quality, which is said and not made up.
    assert!(!names.contains(&"acoustic-quality") && all["study"]["notes"].to_string().contains("acoustic quality"));
    for curve in curves {
        let figures = &curve["figures"];
        assert_eq!((figures["pairs"].as_u64(), curve["source"]["population"].as_str()), (Some(30), Some("village")));
        assert!(figures["ceiling"].as_f64().unwrap() > 0.5, "{curve}");
        let learned = curve["variant"] != "text-adherence";
        assert_eq!(figures["log_loss"].is_object(), learned, "{curve}");
        assert_eq!(figures["difference"].is_object(), curve["variant"] != "policy", "{curve}");
        assert_eq!(curve["points"].as_array().unwrap().len(), 2);
    }
    let again = json(&with(&["--json"]));
    assert_eq!((&again["study"]["curves"], again["trained"].as_u64()), (&all["study"]["curves"], Some(0)));
    assert!(fs::read_to_string(place.path("study/study.svg")).unwrap().contains("from scratch"));
    let report = place.good(&["report", "study"]);
    let page = fs::read_to_string(place.path("study/report.html")).unwrap();
    assert!(page.contains("weighted by confidence") && page.contains("SIMULATED"), "{report}");
    // Another study is not mixed in.
    place.bad(&with(&["--folds", "2"]), 1, &["recipe.toml", "folds"]);
    place.bad(&with(&["--only", "polcy"]), 2, &["polcy", "`policy`"]);
    place.bad(&with(&["--set", "training.select=best"]), 2, &["select", "last"]);
}

#[test]
fn listeners_get_reward_models_of_their_own() {
    let place = Workplace::new();
    place.good(&collect(&["24", "--out", "set", "--listeners", "3"]));
    let args = [
        "preferences",
        "personal",
        "set",
        "--bundle",
        "base",
        "--out",
        "own",
        "--population",
        "village",
        "--listeners",
        "2",
        "--pairs",
        "4,1000",
        "--epochs",
        "1",
        "--set",
        "steps=20",
        "--set",
        "training.batch_pairs=8",
        "--set",
        "training.bootstrap.resamples=50",
        "--json",
    ];
    let run = || -> serde_json::Value { serde_json::from_str(&place.good(&args)).unwrap() };
    let first = run();
    let listeners = first["personal"]["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 2);
    for listener in listeners {
        // Individuals whom the shared model has not heard of; the second number is all that there are.
        assert!(["village-003", "village-004"].contains(&listener["listener"].as_str().unwrap()), "{listener}");
        let sizes = listener["sizes"].as_array().unwrap();
        let (few, all) = (sizes[0]["pairs"].as_u64().unwrap(), sizes[1]["pairs"].as_u64().unwrap());
        let held_out = listener["shared"]["pairs"].as_u64().unwrap();
        assert_eq!((few, all + held_out), (4, 24));
        assert!(listener["shared"]["ceiling"].as_f64().unwrap() > 0.5);
        assert!(sizes[1]["corrected"]["difference"].is_object());
    }
    let kept = place.path("own/listeners/village-003.json");
    let before = fs::read(&kept).unwrap();
    fs::remove_file(&kept).unwrap();
    assert_eq!(run()["personal"], first["personal"]);
    assert!(fs::read(&kept).unwrap() == before);
    place.good(&["report", "own"]);
    assert!(fs::read_to_string(place.path("own/report.html")).unwrap().contains("pairs of the listener"));
    // Those of the set who said most.
    let of_set = ["preferences", "personal", "set", "--bundle", "base", "--out", "most", "--listeners", "3"];
    place.bad(&of_set, 2, &["listeners", "3"]);
}
