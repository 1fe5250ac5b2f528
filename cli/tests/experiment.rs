//! Experiments as a user runs them, on a bundle of tiny models with random weights: what is checked here (steps, files,
//! resuming, errors) does not need music.

mod tiny;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tiny::tiny_bundle;

struct Workplace {
    temp: tempfile::TempDir,
}

/// Sizes of a few steps, over any experiment's own.
const SIZES: &str = r#"
[preference]
epochs = 1.0
batch_pairs = 4
held_out_share = 0.25
centring_clips = 0

[captions]
source = "etudes"
count = 40
"#;

impl Workplace {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        tiny_bundle(&temp.path().join("tiny"), 7);
        Self { temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Writes a recipe: the plan, the stage, the evaluation.
    fn recipe(&self, plan: &str, stage: &str, evaluation: &str) {
        let text = format!(
            "seed = 3\n[plan]\n{plan}\n{SIZES}\n[stage]\nsteps = 2\nbatch = 4\n{stage}\n[evaluation]\n{evaluation}\nprompts = 4\n\
             raters = 2\n"
        );
        fs::write(self.path("recipe.toml"), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musicrl"));
        command.args(args).current_dir(self.temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, kind: &str, more: &[&str]) -> Output {
        let args = ["experiment", kind, "--bundle", "tiny", "--recipe", "recipe.toml", "--out", "out"];
        self.command(&[&args[..], more].concat()).output().unwrap()
    }

    fn good(&self, kind: &str) -> String {
        let output = self.run(kind, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
        assert!(said.contains("SIMULATED"), "{said}");
        said
    }

    fn bad(&self, kind: &str, more: &[&str], code: i32, expected: &[&str]) {
        let output = self.run(kind, more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        expected.iter().for_each(|expected| assert!(text.contains(expected), "{expected} not in {text}"));
    }

    fn result(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("out/experiment.json")).unwrap()).unwrap()
    }
}

const REWARDS: &str = r#"
kl = { alpha = 0.1 }
guards = {}
evaluation = { every = 2, clips = 4, samples = 1 }
checkpoint = { every = 2, choose = "last" }
rewards = [{ name = "user_preference", weight = 1.0 }, { name = "text_adherence", weight = 0.0 }]
"#;

fn assert_svg(path: &Path, holds: &str) {
    let svg = fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("simulated listeners") && svg.contains(holds), "{svg}");
}

#[test]
fn rounds_go_on_where_they_were_killed() {
    let place = Workplace::new();
    place.recipe(
        "kind = \"rounds\"\npopulation = \"village\"\npairs = 8\nrounds = 2",
        REWARDS,
        "populations = [\"town\"]",
    );
    // Killed in the first round's alignment, or wherever a slow machine is by then.
    let args = ["experiment", "rounds", "--bundle", "tiny", "--recipe", "recipe.toml", "--out", "out"];
    let mut child = place.command(&args).spawn().unwrap();
    for _ in 0..600 {
        if place.path("out/systems/round-1/recipe.toml").exists() || child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("out/experiment.json").exists());

    let said = place.good("rounds");
    assert!(said.contains("pairs of round-1 is there: musicrl preferences collect"), "{said}");
    let result = place.result();
    let rows = result["result"]["findings"]["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["system"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "round-1", "round-2", "one-round"]);
    // The control had as much as all rounds together.
    for key in ["pairs", "steps"] {
        assert_eq!(rows[2][key], rows[3][key], "{key}");
    }
    assert_eq!((&rows[0]["steps"], &rows[3]["steps"], &rows[3]["pairs"]), (&0.into(), &4.into(), &16.into()));
    assert!(rows[1]["utilities"][0]["gain"]["estimate"].is_f64(), "{result}");
    // The second round starts where the first ended, and is held to the base.
    let second = fs::read_to_string(place.path("out/recipes/round-2.toml")).unwrap();
    assert!(second.contains("../systems/round-1/bundle") && second.contains("[reference]"), "{second}");
    let first_kl = |name: &str| {
        let path = place.path(&format!("out/systems/{name}/stages/{name}/metrics.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()["evaluation"]["kl"].as_f64().unwrap()
    };
    assert!(first_kl("round-1").abs() < 1e-6 && first_kl("one-round").abs() < 1e-6);
    assert!(first_kl("round-2") > 1e-6, "measured to the base, not to where the round began: {}", first_kl("round-2"));
    let control = fs::read_to_string(place.path("out/recipes/one-round.toml")).unwrap();
    assert!(control.contains("steps = 4") && !control.contains("[reference]"), "{control}");
    assert_svg(&place.path("out/rounds.svg"), "one-round");
    let page = fs::read_to_string(place.path("out/report.html")).unwrap();
    assert!(page.contains("What the experiment found") && page.contains("On-policy rounds"));

    // Done twice is the same; another recipe is another experiment.
    let bytes = fs::read(place.path("out/experiment.json")).unwrap();
    let said = place.good("rounds");
    assert!(!said.contains("align took") && said.contains("one-round is there"), "{said}");
    assert!(bytes == fs::read(place.path("out/experiment.json")).unwrap());
    place.bad("rounds", &["--seed", "4"], 1, &["experiment.toml", "seed = 3"]);
}

#[test]
fn every_population_judges_every_system() {
    let place = Workplace::new();
    place.recipe("kind = \"matrix\"\npopulations = [\"village\", \"town\"]\npairs = 8", REWARDS, "");
    place.good("matrix");
    let result = place.result();
    let cells = &result["result"]["findings"]["cells"];
    for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let cell = &cells[row][column];
        // Two raters of four prompts.
        assert_eq!(cell["comparisons"], 8, "{cell}");
        assert!(cell["utility_gain"]["low"].as_f64() <= cell["utility_gain"]["high"].as_f64(), "{cell}");
    }
    // Both were offered the same clips.
    let clips = |name: &str| fs::read(place.path(&format!("out/preferences/{name}/clips.jsonl"))).unwrap();
    assert!(clips("village") == clips("town"));
    assert_svg(&place.path("out/matrix.svg"), "win rate against the base");
}

#[test]
fn weights_are_swept_and_the_front_is_marked() {
    let place = Workplace::new();
    let rewards = r#"
kl = { alpha = 0.1 }
guards = {}
evaluation = { every = 2, clips = 4, samples = 1 }
checkpoint = { every = 2, choose = "last" }
rewards = [
    { name = "text_adherence", weight = 1.0 },
    { name = "acoustic_quality", weight = 1.0 },
    { name = "user_preference", weight = 1.0 },
]
"#;
    let plan = "kind = \"weights\"\npopulation = \"village\"\npairs = 8\nweights = [[1.0, 0.0, 0.0], [0.0, 0.25, 0.75]]\n\
                [quality]\ntrain_clips = 8\nsteps = 2";
    place.recipe(plan, rewards, "populations = [\"village\"]");
    place.good("weights");
    let result = place.result();
    let rows = result["result"]["findings"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().any(|row| row["on_front"] == true), "{result}");
    assert!(rows.iter().all(|row| row["rewards"][2]["estimate"].is_f64()));
    // A weight counts in standard deviations of the base's clips.
    let scales = result["result"]["findings"]["scales"].as_array().unwrap();
    let recipe: toml::Table =
        toml::from_str(&fs::read_to_string(place.path("out/recipes/setting-2.toml")).unwrap()).unwrap();
    let reward = &recipe["stage"][0]["rewards"][2];
    assert_eq!(reward["weight"].as_float(), Some(0.75));
    let (low, high) = (reward["range"][0].as_float().unwrap(), reward["range"][1].as_float().unwrap());
    assert!((high - low - scales[2]["deviation"].as_f64().unwrap()).abs() < 1e-9);
    assert_svg(&place.path("out/weights.svg"), "text adherence");
}

#[test]
fn a_validation_model_chooses_and_its_share_is_reported() {
    let place = Workplace::new();
    let stage = r#"
kl = { alpha = 0.0001 }
guards = {}
evaluation = { every = 1, clips = 4, samples = 1 }
checkpoint = { every = 1, keep_last = 1, choose = "guarded", validation = ["user_preference_validation"] }
rewards = [
    { name = "user_preference", weight = 1.0 },
    { name = "user_preference_validation", judge = "user_preference", weight = 0.0 },
    { name = "true_utility_village", weight = 0.0 },
]
"#;
    let plan = "kind = \"over-optimisation\"\npopulation = \"village\"\npairs = 8\nvalidation_pairs = 12\nseeds = 1";
    place.recipe(plan, stage, "");
    place.good("over-optimisation");
    let result = place.result();
    let run = &result["result"]["findings"]["runs"][0];
    let course = run["course"].as_array().unwrap();
    assert_eq!(course.len(), 3, "before, and after each of two steps");
    // The validation model is another one, and the choice goes by it alone.
    assert!(course.iter().any(|moment| moment["validation"] != moment["proxy"]), "{run}");
    let best = course[1..]
        .iter()
        .filter(|moment| moment["guarded"].as_f64().is_some_and(|gain| gain > 0.0))
        .max_by(|a, b| a["validation"].as_f64().unwrap().total_cmp(&b["validation"].as_f64().unwrap()));
    assert_eq!(run["chosen"]["step"], best.map_or(Value::from(0), |moment| moment["step"].clone()), "{run}");
    assert!(run["gain"]["estimate"].is_f64(), "{run}");
    let sets = ["seed-1", "seed-1-validation"].map(|name| place.path(&format!("out/preferences/{name}/clips.jsonl")));
    assert!(fs::read(&sets[0]).unwrap() != fs::read(&sets[1]).unwrap(), "other pairs");
    assert_svg(&place.path("out/over-optimisation.svg"), "validation model");

    // A recipe without what the experiment is about.
    place.recipe(plan, REWARDS, "");
    fs::remove_dir_all(place.path("out")).unwrap();
    place.bad("over-optimisation", &[], 2, &["stage.rewards", "user_preference_validation"]);
    place.bad("matrix", &[], 2, &["plan.kind", "matrix"]);
    fs::create_dir_all(place.path("full/of")).unwrap();
    let output = place.command(&["experiment", "rounds", "--bundle", "tiny", "--out", "full"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("new or empty folder"));
}
