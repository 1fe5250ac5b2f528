//! A published sentence encoder as the text tower of a bundle, as a user meets it: trained on, generated and judged with,
//! moved, changed. The encoder is the tiny BERT of the fixtures of `musicrl-zoo`, with random weights.

mod tiny;
mod workplace;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tiny::tiny_bundle;
use workplace::Workplace;

impl Workplace {
    /// A tiny bundle, a few etudes, and a copy of the encoder.
    fn new() -> Self {
        let place = Self::empty();
        tiny_bundle(&place.path("b"), 7);
        let sizes = ["--train-clips", "6", "--heldout-clips", "4", "--clip-seconds", "2.4"];
        place.good(&[&["corpus", "etudes", "c"], &sizes[..]].concat());
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../studio/zoo/tests/fixtures/bert_minilm");
        fs::create_dir(place.path("bert")).unwrap();
        for entry in fs::read_dir(fixture).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), place.path("bert").join(entry.file_name())).unwrap();
        }
        place
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("b/bundle.json")).unwrap()).unwrap()
    }

    fn set_manifest(&self, manifest: &Value) {
        fs::write(self.path("b/bundle.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
    }

    /// The bytes of a short clip.
    fn clip(&self, out: &str) -> Vec<u8> {
        self.good(&["generate", "--bundle", "b", "--seconds", "0.8", "--out", out, "a calm piano song"]);
        let clips = fs::read_dir(self.path(out)).unwrap().map(|entry| entry.unwrap().path());
        let wav: Vec<PathBuf> = clips.filter(|path| path.extension().is_some_and(|ext| ext == "wav")).collect();
        assert_eq!(wav.len(), 1);
        fs::read(&wav[0]).unwrap()
    }
}

const TRAIN: [&str; 12] = [
    "train",
    "text-audio",
    "--corpus",
    "c",
    "--bundle",
    "b",
    "--steps",
    "3",
    "--set",
    "training.batch_pairs=4",
    "--checkpoint-every",
    "2",
];

const RECIPE: &str = r#"
seed = 5

[base]
path = "b"

[captions]
source = "etudes"
count = 12

[[stage]]
name = "short"
steps = 2
batch = 2
clip_seconds = 2.4
baseline = "batch_mean"
kl = { alpha = 0.1 }
rewards = [{ name = "text_adherence", weight = 1.0 }]

[stage.evaluation]
every = 2
clips = 2
samples = 0
"#;

#[test]
fn captions_are_read_by_a_published_encoder_everywhere_and_the_bundle_names_it() {
    let place = Workplace::new();
    let words = place.clip("words");
    assert!(place.good(&["import", "bert"]).contains("--text-tower bert"));
    let trained = place.json(&[&TRAIN[..], &["--text-tower", "bert"]].concat());
    assert!(trained["text_tower"].as_str().unwrap().ends_with("bert"));
    assert!(trained["train"]["loss"].as_f64().unwrap() > 0.0 && trained["evaluation"]["held_out_pairs"] == 4.0);
    let manifest = place.manifest();
    assert_eq!(manifest["parts"]["text_audio"]["config"]["sentence"]["width"], 24);
    let source = &manifest["sources"]["text_audio"];
    assert_eq!(Path::new(source["path"].as_str().unwrap()), place.path("bert").canonicalize().unwrap());
    assert_eq!(source["sha256"].as_str().unwrap().len(), 64);
    // Again from its checkpoint: the same weights. Without the encoder it is another run.
    let weights = || fs::read(place.path("b/text_audio.safetensors")).unwrap();
    let first = weights();
    place.good(&[&TRAIN[..], &["--text-tower", "bert"]].concat());
    assert_eq!(weights(), first);
    place.bad(&TRAIN, 1, &["recipe.toml"]);

    // Another condition, and the same at every start.
    let clip = place.clip("a");
    assert!(clip != words && clip == place.clip("again"));
    let evaluated = place.json(&["evaluate", "b", "--count", "2", "--resamples", "50", "--reference", "none"]);
    let mean = &evaluated["evaluation"]["listening"]["measures"][0]["systems"][0]["mean"];
    assert!(mean["estimate"].as_f64().unwrap().abs() <= 1.0, "{mean}");
    fs::write(place.path("recipe.toml"), RECIPE).unwrap();
    place.good(&["align", "recipe.toml", "--out", "run"]);
    let aligned: Value = serde_json::from_slice(&fs::read(place.path("run/bundle/bundle.json")).unwrap()).unwrap();
    assert_eq!(aligned["sources"], manifest["sources"]);
    let judged = ["judge", "recipe.toml", "--audio", "a", "--caption", "a calm piano song"];
    let wav = fs::read_dir(place.path("a")).unwrap().map(|entry| entry.unwrap().path());
    let wav = wav.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "wav")).unwrap();
    let judged: Vec<&str> = judged.iter().map(|arg| if *arg == "a" { wav.to_str().unwrap() } else { arg }).collect();
    assert!(place.good(&judged).contains("text_adherence"));
}

#[test]
fn an_encoder_that_moved_or_changed_is_refused_by_its_path() {
    let place = Workplace::new();
    place.good(&[&TRAIN[..], &["--text-tower", "bert"]].concat());
    let before = place.clip("before");
    let generate = ["generate", "--bundle", "b", "--seconds", "0.8", "a calm piano song"];
    let bert = place.path("bert").canonicalize().unwrap().display().to_string();

    fs::rename(place.path("bert"), place.path("moved")).unwrap();
    place.bad(&generate, 1, &[&bert, "no such folder", "sources.text_audio.path"]);
    place.bad(&["evaluate", "b", "--count", "1"], 1, &[&bert]);
    // The folder may lie elsewhere: the bundle is the same one.
    let mut manifest = place.manifest();
    manifest["sources"]["text_audio"]["path"] = place.path("moved").to_str().unwrap().into();
    place.set_manifest(&manifest);
    assert!(place.clip("after") == before);

    let tokeniser = place.path("moved/tokenizer.json");
    let text = fs::read_to_string(&tokeniser).unwrap();
    fs::write(&tokeniser, text.replace("\"calm\"", "\"clam\"")).unwrap();
    place.bad(&generate, 1, &["moved", "another (SHA-256"]);
    fs::write(&tokeniser, text).unwrap();

    // A tower of our own takes its place, and the bundle needs the folder no more.
    place.good(&[&TRAIN[..], &["--out", "words"]].concat());
    assert_eq!(place.manifest()["sources"], Value::Null);
    fs::remove_dir_all(place.path("moved")).unwrap();
    place.clip("own");
}

#[test]
fn what_cannot_be_a_text_tower_is_named() {
    let place = Workplace::new();
    let with = |more: &[&'static str]| [&TRAIN[..], more].concat();
    place.bad(&with(&["--text-tower", "gone"]), 1, &["gone"]);
    place.bad(&with(&["--text-tower", "b"]), 1, &["config.json"]);
    place.bad(&with(&["--set", "model.sentence.width=24"]), 2, &["--text-tower"]);
    place.bad(&with(&["--text-tower", "bert", "--set", "training.word_drop=0.1"]), 2, &["word_drop"]);
    place.bad(&with(&["--text-tower", "bert", "--set", "model.sentence.width=12"]), 2, &["sentence.width", "24"]);
    fs::remove_file(place.path("bert/tokenizer.json")).unwrap();
    place.bad(&with(&["--text-tower", "bert"]), 1, &["tokenizer.json", "no file"]);
    // Nothing of the bundle was touched.
    assert_eq!(place.manifest()["sources"], Value::Null);
    place.clip("own");
}
