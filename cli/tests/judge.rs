//! Rewards of the user's own, as a user has them: a judge of a few lines of `sh` beside the recipe.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use burn::tensor::Device;
use musicrl_codec::{audio::Audio, neural::CodecConfig, write::write_wav};
use musicrl_core::{
    nn::FeedForward,
    params::Storage,
    policy::{HierarchicalPolicyConfig, StackConfig},
    random::{Key, Purpose},
    tokens::Interleave,
};
use musicrl_pipeline::bundle::{Bundle, part};
use musicrl_rewards::TextAudioConfig;

/// Codec, embedding and policy with random weights; no tokeniser.
fn tiny_bundle(folder: &Path) {
    let (device, key) = (Device::flex(), Key::new(7, Purpose::Init));
    let mut bundle = Bundle::new();
    let codec = CodecConfig::base();
    bundle.set(part::CODEC, &codec, &codec.init(&device, key).unwrap(), Storage::F32).unwrap();
    let text_audio = TextAudioConfig::base();
    bundle.set(part::TEXT_AUDIO, &text_audio, &text_audio.init_seeded(7, &device).unwrap(), Storage::F32).unwrap();
    let stack = StackConfig { width: 16, layers: 1, heads: 2, ff_width: 32, feed_forward: FeedForward::Gelu };
    let policy = HierarchicalPolicyConfig {
        layout: Interleave { coarse_levels: 2 }.layout(128, 256, 12.5).unwrap(),
        global: stack.clone(),
        local: stack,
        condition_slots: text_audio.quantiser.levels,
        condition_codebook: text_audio.quantiser.entries,
    };
    bundle.set(part::POLICY, &policy, &policy.init(key.step(2), &device).unwrap(), Storage::F32).unwrap();
    bundle.set_clip_seconds(2.4);
    bundle.save(folder).unwrap();
}

const RECIPE: &str = r#"
seed = 5

[base]
path = "base"

[captions]
source = "etudes"
count = 40

[[stage]]
name = "own"
steps = 6
batch = 2
clip_seconds = 0.4
baseline = "batch_mean"
kl = { alpha = 0.1 }
rewards = [REWARDS]

[stage.evaluation]
every = 0

[stage.checkpoint]
every = 1
"#;

/// Scores a clip by the length of its caption. It has breath for six clips, and for more once it is mended.
const MORTAL: &str = r#"
while read -r line; do
    echo clip >> asked
    if [ "$(wc -l < asked)" -gt 6 ] && ! [ -f mended ]; then
        echo "out of breath" >&2
        exit 4
    fi
    id=${line#*'"id":'}
    caption=${line#*'"caption":"'}
    caption=${caption%%'"'*}
    printf '{"id": %s, "score": %s}\n' "${id%%,*}" "${#caption}"
done
"#;

/// Scores every clip with 5.
const FIVE: &str = r#"
while read -r line; do
    id=${line#*'"id":'}
    printf '{"id": %s, "score": 5}\n' "${id%%,*}"
done
"#;

struct Workplace {
    temp: tempfile::TempDir,
}

impl Workplace {
    /// A recipe with the given rewards, in a folder of its own beside which the program runs.
    fn new(rewards: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let place = Self { temp };
        fs::create_dir(place.path("recipes")).unwrap();
        tiny_bundle(&place.path("recipes/base"));
        place.recipe(rewards);
        place
    }

    fn recipe(&self, rewards: &str) {
        fs::write(self.path("recipes/own.toml"), RECIPE.replace("REWARDS", rewards)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_musicrl")).args(args).current_dir(self.temp.path()).output().unwrap()
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

    fn sound(&self, name: &str, seconds: f32) {
        let samples = (0..(16_000.0 * seconds) as usize).map(|i| (i as f32 * 0.1).sin() * 0.3).collect();
        write_wav(&self.path(name), &Audio::from_mono(samples, 16_000)).unwrap();
    }
}

#[test]
fn a_judge_that_dies_for_good_leaves_a_run_that_goes_on() {
    let rewards =
        r#"{ name = "mine", weight = 1.0, process = { command = ["sh", "mortal.sh"], audio = false, restarts = 1 } }"#;
    let place = Workplace::new(rewards);
    fs::write(place.path("recipes/mortal.sh"), MORTAL).unwrap();
    let expected =
        ["reward `mine` failed", "after 1 restarts", "exit status: 4", "out of breath", "hint: try the judge"];
    place.bad(&["align", "recipes/own.toml", "--out", "run"], &expected);
    let checkpoints = place.path("run/stages/own/checkpoints");
    assert!(checkpoints.join("step-000003").is_dir() && !checkpoints.join("step-000004").exists());

    fs::write(place.path("recipes/mended"), "").unwrap();
    place.good(&["align", "recipes/own.toml", "--out", "run"]);
    place.good(&["align", "recipes/own.toml", "--out", "undisturbed"]);
    let policy = |run: &str| fs::read(place.path(run).join("bundle/policy.safetensors")).unwrap();
    assert!(policy("run") == policy("undisturbed"), "the judge's death shows in the result");
}

#[test]
fn a_recipes_rewards_judge_sound_files() {
    let process = r#"process = { command = ["sh", "five.sh"] }"#;
    let mine = format!("{{ name = \"mine\", weight = 2.0, range = [0.0, 10.0], {process} }}");
    let place = Workplace::new(&format!("{{ name = \"text_adherence\", weight = 1.0 }}, {mine}"));
    fs::write(place.path("recipes/five.sh"), FIVE).unwrap();
    place.sound("a.wav", 3.0);
    place.sound("b.wav", 0.1);
    let judge = ["judge", "recipes/own.toml", "--audio", "a.wav", "b.wav", "--caption", "a calm flute"];
    let text = place.good(&[&["--json"][..], &judge].concat());
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let verdicts = &report["clips"][0]["verdicts"];
    let (adherence, mine, total) = (&verdicts[0], &verdicts[1], &verdicts[2]);
    assert_eq!((&mine["name"], &mine["raw"], &mine["scaled"]), (&"mine".into(), &5.0.into(), &0.5.into()));
    let sum = adherence["scaled"].as_f64().unwrap() + 1.0;
    assert!((total["scaled"].as_f64().unwrap() - sum).abs() < 1e-12);
    // Too short for the embedding: that judge says so, the other does not mind.
    let short = &report["clips"][1]["verdicts"];
    assert!(short[0]["unscorable"].is_string() && short[2]["unscorable"].is_string());
    assert_eq!(short[1]["raw"], 5.0);
    let table = place.good(&judge);
    assert!(table.contains("mine") && table.contains("5.0000") && table.contains("a.wav"), "{table}");

    place.bad(&[&judge[..], &["--stage", "gone"]].concat(), &["no stage `gone`", "own"]);
    place.bad(&[&judge[..], &["b", "c"]].concat(), &["caption", "2 files"]);
    place.bad(&["judge", "recipes/own.toml", "--audio", "gone.wav", "--caption", "x"], &["gone.wav"]);
    // Tokens come from the base's tokeniser, which this one lacks.
    place.recipe(&format!("{{ name = \"mine\", weight = 1.0, {} }}", process.replace(" }", ", tokens = true }")));
    place.bad(&judge, &["semantic"]);
}

#[test]
fn judges_that_cannot_be_had_are_named_before_the_run() {
    let place = Workplace::new(r#"{ name = "mine", weight = 1.0, process = { command = ["no-such-judge"] } }"#);
    let align = ["align", "recipes/own.toml", "--out", "run"];
    place.bad(&align, &["mine", "no-such-judge", "recipes"]);
    if cfg!(not(feature = "onnx")) {
        place.recipe(r#"{ name = "mine", weight = 1.0, onnx = { path = "judge.onnx" } }"#);
        place.bad(&["align", "recipes/own.toml", "--out", "onnx"], &["recipes/judge.onnx", "--features onnx"]);
    }
    place.recipe(r#"{ name = "text_adherence", weight = 1.0, process = { command = ["x"] } }"#);
    place.bad(&align, &["rewards[0].name", "built-in"]);
}
