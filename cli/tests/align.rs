//! Alignment and generation as a user runs them, on a bundle of tiny models with random weights: what is checked here
//! (bytes, files, errors) does not need music.

mod tiny;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use burn::tensor::Device;
use musicrl_codec::neural::CodecConfig;
use musicrl_core::{
    params::Storage,
    random::{Key, Purpose},
};
use musicrl_pipeline::bundle::{Bundle, part};
use tiny::tiny_bundle;

const RECIPE: &str = r#"
seed = 5

[base]
path = "base"

[captions]
source = "etudes"
count = 40

[[stage]]
name = "short"
steps = 12
batch = 4
kl = { alpha = 0.1, rule = "adaptive", target = 0.5 }
whiten = true
rewards = [{ name = "text_adherence", weight = 1.0, range = [-1.0, 1.0] }]

[stage.evaluation]
every = 6
clips = 2
samples = 1

[stage.checkpoint]
every = 3

[stage.guards]
entropy_floor_fraction = 0.1
"#;

struct Workplace {
    temp: tempfile::TempDir,
}

impl Workplace {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        tiny_bundle(&temp.path().join("base"), 7);
        fs::write(temp.path().join("recipe.toml"), RECIPE).unwrap();
        Self { temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musicrl"));
        command.args(args).current_dir(self.temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn bad(&self, args: &[&str], expected: &[&str]) {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?}: {text}");
        for expected in expected {
            assert!(text.contains(expected), "{args:?}: {expected} not in {text}");
        }
    }
}

/// Every file below `folder` by its relative path, but for those that hold times.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What has to be the same after any number of kills: checkpoints, metrics, the aligned bundle.
fn result(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let keep = |name: &str| {
        name.contains("checkpoints/step-000012/") || name.ends_with("metrics.jsonl") || name.starts_with("bundle/")
    };
    let all: BTreeMap<_, _> = files(run).into_iter().filter(|(name, _)| keep(name)).collect();
    assert!(all.keys().any(|name| name.contains("step-000012")), "{:?}", files(run).keys());
    assert!(all.contains_key("bundle/policy.safetensors"));
    all
}

#[test]
fn killed_twenty_times_it_ends_with_the_same_bytes() {
    let place = Workplace::new();
    let start = Instant::now();
    place.good(&["align", "recipe.toml", "--out", "undisturbed"]);
    let whole = start.elapsed().as_secs_f64();
    let mut random = Key::new(11, Purpose::Test).stream();
    let mut kills = 0;
    let mut runs = 0;
    while kills < 20 {
        runs += 1;
        let out = format!("killed-{runs}");
        loop {
            let mut child = place.command(&["align", "recipe.toml", "--out", &out]).spawn().unwrap();
            thread::sleep(Duration::from_secs_f64(random.between(0.02, 0.6) * whole));
            if child.try_wait().unwrap().is_some() || kills == 20 {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            // SIGKILL: nothing is tidied up.
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        let (expected, got) = (result(&place.path("undisturbed")), result(&place.path(&out)));
        assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>(), "{out}");
        for (name, bytes) in &expected {
            assert!(bytes == &got[name], "{out}/{name} differs after {kills} kills");
        }
    }
}

#[test]
fn a_run_goes_on_from_its_own_base_only() {
    let place = Workplace::new();
    let short = RECIPE.replacen("steps = 12", "steps = 2", 1).replacen("every = 6", "every = 0", 1);
    fs::write(place.path("recipe.toml"), &short).unwrap();
    place.good(&["align", "recipe.toml", "--out", "run"]);
    let first = Bundle::open(&place.path("base")).unwrap();
    let recipe = fs::read_to_string(place.path("run/recipe.toml")).unwrap();
    assert!(recipe.contains(&format!("sha256 = \"{}\"", first.identity())), "{recipe}");
    // The same music under another history is the same base.
    let mut same = first.clone();
    same.push_provenance("copied".into());
    same.save(&place.path("base")).unwrap();
    place.good(&["align", "recipe.toml", "--out", "run"]);

    let mut other = first.clone();
    let codec = CodecConfig::base();
    let module = codec.init(&Device::flex(), Key::new(8, Purpose::Init)).unwrap();
    other.set(part::CODEC, &codec, &module, Storage::F32).unwrap();
    other.save(&place.path("base")).unwrap();
    let (was, now) = (first.identity(), other.identity());
    let expected = ["run/recipe.toml", "began from", was.as_str(), "another base", now.as_str(), "--out"];
    place.bad(&["align", "recipe.toml", "--out", "run"], &expected);
    // A recipe that names its base takes no other.
    let named = short.replacen("path = \"base\"", &format!("path = \"base\"\nsha256 = \"{was}\""), 1);
    fs::write(place.path("named.toml"), named).unwrap();
    place.bad(&["align", "named.toml", "--out", "named"], &["base.sha256", &was, &now]);
    place.good(&["align", "recipe.toml", "--out", "other"]);
}

#[test]
fn a_stage_without_any_score_stops_and_says_why() {
    let place = Workplace::new();
    // Shorter than a window of the embedding: it can judge none of them.
    fs::write(place.path("short.toml"), RECIPE.replacen("batch = 4", "batch = 4\nclip_seconds = 0.8", 1)).unwrap();
    let expected = ["guard `unscorable`", "no clip could be scored", "one window", "3 measurements", "hint: a judge"];
    for _ in 0..2 {
        place.bad(&["align", "short.toml", "--out", "run"], &expected);
    }
    assert!(!place.path("run/bundle").exists());
}

#[test]
fn a_stage_may_end_at_a_limit_and_the_run_goes_on_from_its_guarded_choice() {
    let place = Workplace::new();
    // A KL that any learning passes.
    let limit = "kl_budget = 1e-6\nentropy_floor_fraction = 0.1\npatience = 1";
    let fails = RECIPE.replacen("entropy_floor_fraction = 0.1", limit, 1);
    fs::write(place.path("fails.toml"), &fails).unwrap();
    place.bad(&["align", "fails.toml", "--out", "fails"], &["guard `kl_budget`", "above the budget", "at_limit"]);
    let ends = fails.replacen("patience = 1", "patience = 1\nat_limit = \"end_stage\"", 1);
    fs::write(place.path("last.toml"), &ends).unwrap();
    place.bad(&["align", "last.toml", "--out", "last"], &["guards.at_limit", "choose = \"guarded\""]);
    // A floor that nothing would heed.
    let floor = RECIPE.replacen("entropy_floor_fraction = 0.1", "diversity_floor_fraction = 0.5", 1);
    fs::write(place.path("floor.toml"), floor).unwrap();
    place.bad(&["align", "floor.toml", "--out", "floor"], &["guards.diversity_floor_fraction", "choose = \"guarded\""]);
    let watched = "{ name = \"text_adherence\", weight = 1.0, range = [-1.0, 1.0] }";
    let judges = format!(
        "{watched}, {{ name = \"token_diversity\", weight = 0.5 }}, {{ name = \"true_utility_village\", weight = 0.0 }}, {}",
        watched
            .replace("weight = 1.0", "weight = 0.0")
            .replace("name = \"text_adherence\"", "name = \"again\", judge = \"text_adherence\"")
    );
    let ends = ends.replacen(watched, &judges, 1).replacen("every = 3", "every = 3\nchoose = \"guarded\"", 1);
    fs::write(place.path("ends.toml"), &ends).unwrap();
    let text = place.good(&["align", "ends.toml", "--out", "ends"]);
    let said = ["stage `short` ended after step 2 of 12: guard `kl_budget`", "the stage's result is its start"];
    assert!(said.iter().all(|said| text.contains(said)), "{text}");
    let metrics = fs::read_to_string(place.path("ends/stages/short/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 3, "an evaluation and two steps: {metrics}");
    assert_eq!(metrics.matches("\"reward_token_diversity\":").count(), 3, "{metrics}");
    let ending = fs::read_to_string(place.path("ends/stages/short/ending.json")).unwrap();
    let ending: serde_json::Value = serde_json::from_str(&ending).unwrap();
    assert_eq!((&ending["step"], &ending["chosen_step"]), (&2.into(), &0.into()));
    place.good(&["report", "ends", "--out", "ends.html"]);
    let page = fs::read_to_string(place.path("ends.html")).unwrap();
    assert!(page.contains("ended after step 2 of 12 by guard `kl_budget`") && !page.contains("UNFINISHED"), "{page}");
    // Asked again it has nothing left to do, and says the same.
    let before = files(&place.path("ends"));
    let again = place.good(&["align", "ends.toml", "--out", "ends"]);
    assert!(said.iter().all(|said| again.contains(said)), "{again}");
    let changed: Vec<_> =
        files(&place.path("ends")).into_iter().filter(|(name, bytes)| before.get(name) != Some(bytes)).collect();
    assert!(changed.is_empty(), "{:?}", changed.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let place = Workplace::new();
    for args in [&["doctor"][..], &["--json", "doctor"]] {
        let mut child = place.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_gradient_of_a_recipe_is_measured_and_nothing_is_learned() {
    let place = Workplace::new();
    let measure = |threads: &str| {
        place.good(&["--json", "--threads", threads, "bench", "gradient", "recipe.toml", "--batches", "3"])
    };
    let text = measure("1");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["batches"], &report["clips"]), (&3.into(), &4.into()));
    let rows = report["rows"].as_array().unwrap();
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    assert_eq!(rows[0]["group"], "all");
    let sum = |key: &str| rows[1..].iter().map(|row| number(row, key)).sum::<f64>();
    for key in ["parameters", "power", "signal"] {
        let all = number(&rows[0], key);
        assert!((sum(key) - all).abs() <= 1e-6 * all.abs().max(number(&rows[0], "power")), "{key}: {} {all}", sum(key));
    }
    assert!(number(&rows[0], "power") > 0.0);
    // The same numbers on two threads: gradients are summed in the order of the clips.
    assert_eq!(measure("2"), text);
    place.bad(&["bench", "gradient", "recipe.toml", "--batches", "1"], &["batches", "at least 2"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn clips_do_not_depend_on_batch_or_threads() {
    let place = Workplace::new();
    let clips = |name: &str, extra: &[&str]| {
        let captions =
            ["a slow piano", "fast drums", "soft bells", "a waltz", "organ", "a marimba", "strings", "brass"];
        let mut args = vec!["generate", "--bundle", "base", "--seed", "3", "--seconds", "0.8", "--out", name];
        args.extend(extra);
        args.extend(captions);
        place.good(&args);
        files(&place.path(name))
    };
    let first = clips("batch-8", &["--batch", "8"]);
    assert_eq!(first.len(), 9);
    for (name, extra) in [
        ("batch-1", ["--batch", "1"]),
        ("batch-3", ["--batch", "3"]),
        ("one-thread", ["--threads", "1"]),
        ("two-threads", ["--threads", "2"]),
    ] {
        assert!(clips(name, &extra) == first, "{name}");
    }
}

#[test]
fn bad_input_is_named_and_nothing_is_lost() {
    let place = Workplace::new();
    let recipe = |name: &str, from: &str, to: &str| {
        assert!(RECIPE.contains(from));
        fs::write(place.path(name), RECIPE.replacen(from, to, 1)).unwrap();
        name.to_string()
    };
    place.bad(&["align", &recipe("key.toml", "batch = 4", "bacth = 4")], &["key.toml:14", "bacth", "`batch`"]);
    place.bad(&["align", &recipe("weight.toml", "weight = 1.0", "weight = -1.0")], &["weight", "-1"]);
    place.bad(&["align", &recipe("base.toml", "path = \"base\"", "path = \"gone\"")], &["gone"]);
    place.bad(&["align", "nothing.toml"], &["nothing.toml"]);
    place.bad(&["generate", "--bundle", "gone", "a piano"], &["gone"]);
    place.bad(&["generate", "--bundle", "base", "--seconds=-1", "a piano"], &["seconds"]);
    place.bad(&["generate", "--bundle", "base", "--temperature", "0", "a piano"], &["temperature"]);
    place.bad(&["generate", "--bundle", "base"], &["caption"]);

    place.good(&["align", "recipe.toml", "--out", "run"]);
    let checkpoint = place.path("run/stages/short/checkpoints/step-000012/policy.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for damaged in [&flipped, &bytes[..bytes.len() / 2].to_vec()] {
        fs::write(&checkpoint, damaged).unwrap();
        // The damaged checkpoint is named and set aside; the run goes on from the one before and ends as it did.
        let output = place.run(&["align", "recipe.toml", "--out", "run"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.contains("step-000012"), "{text}");
        assert!(fs::read(&checkpoint).unwrap() == bytes);
    }
    let weights = place.path("run/bundle/policy.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    place.bad(&["generate", "--bundle", "run/bundle", "a piano"], &["policy.safetensors"]);
}
