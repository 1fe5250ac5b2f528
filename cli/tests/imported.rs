//! A published checkpoint as a user has it: looked at, played, aligned, given back. The checkpoint is a small one with
//! random weights, from the fixtures of `musicrl-zoo`, with a tokeniser of a few words.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use musicrl_core::random::{Key, Purpose, Stream};
use musicrl_zoo::{Checkpoint, NamedTensors};

const RECIPE: &str = r#"
seed = 3

[base]
path = "checkpoint"

[captions]
source = "file"
path = "captions.txt"
held_out_fraction = 0.25

[[stage]]
name = "own"
steps = 4
batch = 4
clips_per_caption = 2
clip_seconds = 0.1
LEARN
kl = { alpha = 0.05 }
sampling = { temperature = 1.0, top_k = 0, top_p = 1.0, guidance = 3.0 }
policy_optimiser = { learning_rate = 0.02, warmup_steps = 1 }
rewards = [{ name = "even", weight = 1.0, process = { command = ["sh", "judge.sh"], audio = false, tokens = true } }]

[stage.evaluation]
every = 2
clips = 3

[stage.checkpoint]
every = 2
"#;

/// Scores a clip by how many of its tokens are even.
const JUDGE: &str = r#"
while read -r line; do
    id=${line#*'"id":'}
    tokens=${line#*'"tokens":['}
    tokens=${tokens%%]*}
    even=0
    for token in $(echo "$tokens" | tr ',' ' '); do
        if [ $((token % 2)) -eq 0 ]; then even=$((even + 1)); fi
    done
    printf '{"id": %s, "score": %s}\n' "${id%%,*}" "$even"
done
"#;

const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "<unk>",
        "vocab": {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "calm": 4, "fast": 5, "piano": 6, "flute": 7, "piece": 8}}
}"#;

struct Workplace {
    temp: tempfile::TempDir,
}

impl Workplace {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let place = Self { temp };
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../studio/zoo/tests/fixtures/musicgen_mono");
        fs::create_dir(place.path("checkpoint")).unwrap();
        for name in ["config.json", "model.safetensors"] {
            fs::copy(fixture.join(name), place.path("checkpoint").join(name)).unwrap();
        }
        fs::copy(fixture.join("inputs.safetensors"), place.path("inputs.safetensors")).unwrap();
        fs::write(place.path("checkpoint/tokenizer.json"), TOKENIZER).unwrap();
        fs::write(place.path("judge.sh"), JUDGE).unwrap();
        let captions: Vec<String> = ["calm", "fast"]
            .iter()
            .flat_map(|mood| {
                ["piano", "flute"].map(|sound| format!("a {mood} {sound} piece\na {sound} piece {mood}\n"))
            })
            .collect();
        fs::write(place.path("captions.txt"), captions.concat()).unwrap();
        place
    }

    fn recipe(&self, name: &str, learn: &str) {
        fs::write(self.path(name), RECIPE.replace("LEARN", learn)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_musicrl")).args(args).current_dir(self.temp.path()).output().unwrap()
    }

    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn bad(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn outputs(&self, checkpoint: &str) -> NamedTensors {
        self.good(&["zoo", "run", checkpoint, "--inputs", "inputs.safetensors", "--outputs", "outputs.safetensors"]);
        NamedTensors::read(&self.path("outputs.safetensors")).unwrap()
    }
}

#[test]
fn it_is_looked_at_and_played() {
    let place = Workplace::new();
    let text = place.good(&["import", "checkpoint"]);
    assert!(text.contains("musicgen") && text.contains("lora 16") && text.contains("all values finite"), "{text}");
    let args = ["generate", "--bundle", "checkpoint", "--seconds", "0.2", "--guidance", "3", "a calm piano piece"];
    let text = place.good(&args);
    assert!(text.contains("000-a-calm-piano-piece.wav"), "{text}");
    let first = fs::read(place.path("clips/000-a-calm-piano-piece.wav")).unwrap();
    let mut again = args.to_vec();
    again.extend(["--batch", "1", "--threads", "1", "--out", "again", "--count", "2"]);
    place.good(&again);
    assert_eq!(fs::read(place.path("again/000-a-calm-piano-piece.wav")).unwrap(), first);
    assert_ne!(fs::read(place.path("again/001-a-calm-piano-piece.wav")).unwrap(), first);

    // No condition, and going on from a sound.
    place.good(&["generate", "--bundle", "checkpoint", "--seconds", "0.2", "--out", "free", ""]);
    let free = fs::read(place.path("free/000-clip.wav")).unwrap();
    assert_ne!(free[44..], first[44..]);
    let on =
        ["generate", "--bundle", "checkpoint", "--continue-from", "clips/000-a-calm-piano-piece.wav", "a flute piece"];
    place.good(&[&on[..], &["--seconds", "0.4", "--out", "on"]].concat());
    let longer = fs::metadata(place.path("on/000-a-flute-piece.wav")).unwrap().len();
    assert_eq!(longer - 44, 2 * (first.len() as u64 - 44));
    let error = place.bad(&[&on[..], &["--seconds", "0.2"]].concat());
    assert!(error.contains("seconds") && error.contains("20 frames"), "{error}");

    fs::remove_file(place.path("checkpoint/tokenizer.json")).unwrap();
    let error = place.bad(&args);
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn named_outputs_are_listed() {
    let place = Workplace::new();
    let text =
        place.good(&["zoo", "run", "checkpoint", "--inputs", "inputs.safetensors", "--outputs", "o.safetensors"]);
    assert!(text.contains("out.logprobs_cfg3") && text.contains("[3, 4, 11]"), "{text}");
    let mut none = NamedTensors::new();
    none.put_integers("in.pos_index", &[2], vec![0, 7]);
    none.write(&place.path("few.safetensors")).unwrap();
    let args = ["--json", "zoo", "run", "checkpoint", "--inputs", "few.safetensors", "--outputs", "o.safetensors"];
    let json: serde_json::Value = serde_json::from_str(&place.good(&args)).unwrap();
    let names: Vec<&str> = json["outputs"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert_eq!(names, ["out.pos_rows", "out.uncond_codes"]);
}

#[test]
fn adapters_are_aligned_resumed_and_given_back() {
    let place = Workplace::new();
    place.recipe("lora.toml", "baseline = \"learned\"\nlora = { rank = 4 }");
    place.good(&["align", "lora.toml", "--out", "whole"]);
    // On one thread, and taken up again from half of its steps: the same bytes.
    place.good(&["align", "lora.toml", "--out", "again", "--threads", "1"]);
    fs::remove_dir_all(place.path("again/bundle")).unwrap();
    fs::remove_dir_all(place.path("again/stages/own/checkpoints/step-000004")).unwrap();
    place.good(&["align", "lora.toml", "--out", "again", "--threads", "1"]);
    let adapters = |run: &str| fs::read(place.path(run).join("bundle/policy.safetensors")).unwrap();
    assert_eq!(adapters("whole"), adapters("again"));
    // Adapters alone are stored.
    assert!(adapters("whole").len() < fs::metadata(place.path("checkpoint/model.safetensors")).unwrap().len() as usize);

    place.good(&["export", "whole", "--to", "given"]);
    let (before, after) = (place.outputs("checkpoint"), place.outputs("given"));
    assert_eq!(before.get("out.text_hidden"), after.get("out.text_hidden"));
    assert_ne!(before.get("out.logits"), after.get("out.logits"));
    let aligned = ["generate", "--seconds", "0.2", "a fast flute piece", "--out", "one", "--bundle", "whole/bundle"];
    let given = ["generate", "--seconds", "0.2", "a fast flute piece", "--out", "two", "--bundle", "given"];
    place.good(&aligned);
    place.good(&given);
    let clip = |folder: &str| fs::read(place.path(folder).join("000-a-fast-flute-piece.wav")).unwrap();
    assert_eq!(clip("one"), clip("two"));

    let error = place.bad(&["export", "whole", "--to", "given"]);
    assert!(error.contains("empty"), "{error}");
    let checkpoint = place.path("checkpoint/config.json");
    let changed = fs::read_to_string(&checkpoint).unwrap() + " ";
    fs::write(&checkpoint, changed).unwrap();
    let error = place.bad(&["export", "whole", "--to", "other"]);
    assert!(error.contains("the checkpoint that was aligned"), "{error}");
}

#[test]
fn all_weights_learn_with_a_shared_and_with_no_value_network() {
    let place = Workplace::new();
    for (name, learn) in [
        ("shared", "baseline = \"learned\"\nvalue_trunk = \"shared\"\ncheckpointing = true"),
        ("none", "baseline = \"leave_one_out\""),
        ("part", "baseline = \"leave_one_out\"\ntrainable = [\"decoder.blocks.2.\", \"decoder.heads.\"]"),
    ] {
        place.recipe(&format!("{name}.toml"), learn);
        place.good(&["align", &format!("{name}.toml"), "--out", name]);
        place.good(&["export", name, "--to", &format!("{name}-given")]);
        let (before, after) = (
            Checkpoint::open(&place.path("checkpoint")).unwrap(),
            Checkpoint::open(&place.path(&format!("{name}-given"))).unwrap(),
        );
        assert_eq!(before.names().collect::<Vec<_>>(), after.names().collect::<Vec<_>>());
        let moved: Vec<&str> =
            before.names().filter(|name| before.stored(name).unwrap() != after.stored(name).unwrap()).collect();
        assert!(moved.iter().all(|name| name.starts_with("decoder.") || name.starts_with("enc_to_dec")), "{moved:?}");
        let first = "decoder.model.decoder.layers.0.fc1.weight";
        assert_eq!(moved.contains(&first), name != "part", "{name}");
        assert!(moved.contains(&"decoder.lm_heads.0.weight"), "{name}");
    }
}

#[test]
fn a_baseline_that_wants_frames_one_by_one_is_refused_for_delayed_codebooks() {
    let place = Workplace::new();
    for learn in ["baseline = \"linear\"", "baseline = \"learned\"\nlambda = 0.9"] {
        place.recipe("delayed.toml", learn);
        let error = place.bad(&["align", "delayed.toml", "--out", "delayed"]);
        assert!(error.contains("baseline") && error.contains("frame after frame"), "{error}");
    }
}

/// The training lines of a run: names and values.
fn training(run: &Path) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let text = fs::read_to_string(run.join("stages/own/metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| line.get("train")?.as_object().cloned()).collect()
}

#[test]
fn blocks_that_are_computed_again_learn_the_same() {
    let place = Workplace::new();
    for (name, learn) in [
        ("lora", "baseline = \"learned\"\nlora = { rank = 4 }"),
        ("all", "baseline = \"learned\"\nvalue_trunk = \"shared\""),
    ] {
        let again = format!("{name}-again");
        place.recipe(&format!("{name}.toml"), learn);
        place.recipe(&format!("{again}.toml"), &format!("{learn}\ncheckpointing = true"));
        place.good(&["align", &format!("{name}.toml"), "--out", name]);
        place.good(&["align", &format!("{again}.toml"), "--out", &again]);
        let (whole, again) = (training(&place.path(name)), training(&place.path(&again)));
        assert_eq!((whole.len(), again.len()), (4, 4));
        for (whole, again) in whole[..2].iter().zip(&again) {
            assert_eq!(whole.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
            assert!(whole["grad_norm"].as_f64().unwrap() > 0.0);
            for (metric, value) in whole {
                let (a, b) = (value.as_f64().unwrap(), again[metric].as_f64().unwrap());
                assert!((a - b).abs() <= 1e-3 * a.abs() + 1e-5, "{name}, {metric}: {a} and {b}");
            }
        }
    }
    // Killed and taken up again, on one thread.
    place.good(&["align", "lora-again.toml", "--out", "resumed", "--threads", "1"]);
    fs::remove_dir_all(place.path("resumed/bundle")).unwrap();
    fs::remove_dir_all(place.path("resumed/stages/own/checkpoints/step-000004")).unwrap();
    place.good(&["align", "lora-again.toml", "--out", "resumed", "--threads", "1"]);
    let adapters = |run: &str| fs::read(place.path(run).join("bundle/policy.safetensors")).unwrap();
    assert_eq!(adapters("lora-again"), adapters("resumed"));
}

#[test]
fn clap_judges_by_name() {
    let place = Workplace::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../studio/zoo/tests/fixtures/clap_unfused");
    fs::create_dir(place.path("clap")).unwrap();
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, place.path("clap").join(path.file_name().unwrap())).unwrap();
    }
    fs::write(place.path("clap/tokenizer.json"), TOKENIZER).unwrap();
    let recipe = RECIPE.replace("LEARN", "lora = { rank = 2 }\nbaseline = \"leave_one_out\"");
    let recipe = recipe.replace("clip_seconds = 0.1", "clip_seconds = 0.3");
    let from = recipe.find("rewards = ").unwrap();
    let to = from + recipe[from..].find('\n').unwrap();
    let write = |folder: &str| {
        let reward = format!("rewards = [{{ name = \"clap_adherence\", weight = 1.0, bundle = \"{folder}\" }}]");
        fs::write(place.path("clap.toml"), format!("{}{reward}{}", &recipe[..from], &recipe[to..])).unwrap();
    };
    write("clap");
    let text = place.good(&["--json", "align", "clap.toml", "--out", "heard"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let evaluation = &json["stages"][0]["evaluation"];
    let adherence = evaluation["reward_clap_adherence"].as_f64().unwrap();
    assert!(adherence.abs() <= 1.0 && evaluation["unscorable"] == 0.0, "{evaluation}");
    // A checkpoint of another kind is no judge, and a judge that changed is another one.
    write("checkpoint");
    let error = place.bad(&["align", "clap.toml", "--out", "other"]);
    assert!(error.contains("a checkpoint of CLAP"), "{error}");
    write("clap");
    fs::write(place.path("clap/config.json"), fs::read_to_string(place.path("clap/config.json")).unwrap() + " ")
        .unwrap();
    place.bad(&["align", "clap.toml", "--out", "heard"]);
}

#[test]
fn what_cannot_be_is_said() {
    let place = Workplace::new();
    place.recipe("bad.toml", "lora = { rank = 0 }");
    let error = place.bad(&["align", "bad.toml"]);
    assert!(error.contains("lora.rank"), "{error}");
    fs::write(place.path("checkpoint/config.json"), "{\"model_type\": \"bart\"}").unwrap();
    let error = place.bad(&["import", "checkpoint"]);
    assert!(error.contains("bart") && error.contains("musicgen"), "{error}");
    let error = place.bad(&["import", "nowhere"]);
    assert!(error.contains("nowhere"), "{error}");
    let error = place.bad(&["export", "nowhere", "--to", "x"]);
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn what_listeners_like_is_learned_on_its_vectors_and_aligned_with() {
    let place = Workplace::new();
    let args = ["generate", "--bundle", "checkpoint", "--captions-file", "captions.txt", "--count", "2"];
    place.good(&[&args[..], &["--seconds", "0.2", "--out", "clips"]].concat());
    let mut files: Vec<String> = fs::read_dir(place.path("clips"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wav"))
        .collect();
    files.sort();
    let captions = fs::read_to_string(place.path("captions.txt")).unwrap();
    let mut table = "caption,audio_a,audio_b,outcome,listener,source\n".to_string();
    for (at, (caption, pair)) in captions.lines().zip(files.chunks(2)).enumerate() {
        let outcome = ["better-a", "better-b", "tie"][at % 3];
        table += &format!("{caption},clips/{},clips/{},{outcome},l1,simulated:test\n", pair[0], pair[1]);
    }
    fs::write(place.path("judgements.csv"), table).unwrap();
    place.good(&["preferences", "import", "judgements.csv", "--out", "set"]);
    let train = ["train", "preference", "--preferences", "set", "--bundle", "checkpoint", "--set", "members=2"];
    let text = place.good(&[&train[..], &["--set", "held_out_share=0.25", "--save-to", "liked"]].concat());
    assert!(text.contains("held out") && text.contains("log-loss"), "{text}");
    let error = place.bad(&train);
    assert!(error.contains("--save-to"), "{error}");

    let recipe = RECIPE.replace("LEARN", "lora = { rank = 2 }\nbaseline = \"leave_one_out\"");
    let from = recipe.find("rewards = ").unwrap();
    let to = from + recipe[from..].find('\n').unwrap();
    let reward = "rewards = [{ name = \"user_preference\", weight = 1.0, bundle = \"liked\" }]";
    fs::write(place.path("liked.toml"), format!("{}{reward}{}", &recipe[..from], &recipe[to..])).unwrap();
    let text = place.good(&["align", "liked.toml", "--out", "aligned"]);
    assert!(text.contains("reward_user_preference"), "{text}");
    // The policy that it learned on is gone.
    let config = fs::read_to_string(place.path("checkpoint/config.json")).unwrap();
    fs::write(place.path("checkpoint/config.json"), config + "\n").unwrap();
    let error = place.bad(&["align", "liked.toml", "--out", "again"]);
    assert!(error.contains("the policy that it learned on"), "{error}");
}

/// A preference set of clips as tokens: the second and the third number of a clip say which of two tokens codebook 0 and
/// codebook 1 repeat, the others are random. The (simulated) listener likes clips in which both are the first or both the
/// second, which no weighted sum of the two tells.
fn set_of_tokens(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("set.json"), "{\"format_version\":1}\n").unwrap();
    let mut stream = Key::new(8, Purpose::Test).stream();
    let (mut clips, mut judgements) = (String::new(), String::new());
    let words = ["calm", "fast", "piano", "flute", "piece"];
    for pair in 0..PAIRS {
        let caption = [pair % 5, pair / 5 % 5, pair / 25].map(|word| words[word]).join(" ");
        // One clip that is liked and one that is not, in either order.
        let (first, liked) = (stream.below(2), stream.below(2));
        for side in 0..2 {
            let alike = side == liked;
            let kinds = [first, if alike { first } else { 1 - first }];
            let frame = |stream: &mut Stream| {
                [3 + 20 * kinds[0] as u32, 7 + 30 * kinds[1] as u32, stream.below(64) as u32, stream.below(64) as u32]
            };
            let tokens: Vec<u32> = (0..12).flat_map(|_| frame(&mut stream)).collect();
            let id = format!("{pair}-{side}");
            clips += &format!(
                "{{\"id\":\"{id}\",\"caption\":\"{caption}\",\"system\":\"t\",\"tokens\":{tokens:?},\"slots\":4}}\n"
            );
        }
        let outcome = ["better-a", "better-b"][liked];
        judgements += &format!(
            "{{\"a\":\"{pair}-0\",\"b\":\"{pair}-1\",\"outcome\":\"{outcome}\",\"listener\":\"l\",\
             \"source\":{{\"kind\":\"simulated\",\"population\":\"both-alike\"}}}}\n"
        );
    }
    fs::write(folder.join("clips.jsonl"), clips).unwrap();
    fs::write(folder.join("judgements.jsonl"), judgements).unwrap();
}

/// One caption each.
const PAIRS: usize = 100;

#[test]
fn adapters_hear_what_the_head_alone_cannot() {
    let place = Workplace::new();
    set_of_tokens(&place.path("set"));
    let train = |out: &str, more: &[&str]| -> Vec<String> {
        let save = format!("{out}-liked");
        let args = ["--json", "train", "preference", "--preferences", "set", "--bundle", "checkpoint", "--out", out];
        // Told of the sound the head would hear it.
        let set = ["lora.rank=4", "held_out_share=0.3", "batch_pairs=16", "optimiser.learning_rate=0.01"];
        let set = set.iter().chain(&["trunk_rate=1", "sound=false"]).flat_map(|set| ["--set", set]);
        let args = args
            .into_iter()
            .chain(set)
            .chain(["--save-to", &save, "--steps", "48", "--evaluate-every", "8"])
            .chain(more.iter().copied());
        args.map(String::from).collect()
    };
    let good = |args: Vec<String>| place.good(&args.iter().map(String::as_str).collect::<Vec<_>>());
    // Failures of --json are told on standard output.
    let bad = |args: Vec<String>| place.bad(&args[1..].iter().map(String::as_str).collect::<Vec<_>>());
    let often = ["--checkpoint-every", "16"];
    let single = [&often[..], &["--threads", "1"]].concat();
    let with_sound = [&often[..], &["--set", "sound=true"]].concat();
    let (whole, sound) = thread::scope(|scope| {
        let beside = scope.spawn(|| (good(train("again", &single)), good(train("sound", &with_sound))).1);
        (good(train("whole", &often)), beside.join().unwrap())
    });
    let report: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let loss = |name: &str| report[name]["log_loss"]["estimate"].as_f64().unwrap();
    assert!(loss("head_alone") > 0.6, "the head hears it: {}", loss("head_alone"));
    assert!(loss("held_out") < 0.5, "{} and {}", loss("held_out"), loss("head_alone"));

    // Taken up again from two thirds of its steps, on one thread: the same bytes.
    fs::remove_dir_all(place.path("again-liked")).unwrap();
    let newest = |run: &str| {
        let checkpoints = fs::read_dir(place.path(run).join("checkpoints")).unwrap();
        checkpoints.map(|entry| entry.unwrap().path()).max().unwrap()
    };
    fs::remove_dir_all(newest("again")).unwrap();
    good(train("again", &single));
    for name in ["adapters.safetensors", "preference.json"] {
        let read = |run: &str| fs::read(place.path(&format!("{run}-liked")).join(name)).unwrap();
        assert_eq!(read("whole"), read("again"), "{name}");
    }

    // With the sound beside the vectors both learn from there on.
    let report: serde_json::Value = serde_json::from_str(&sound).unwrap();
    let alone = report["head_alone"]["log_loss"]["estimate"].as_f64().unwrap();
    assert!(alone < 0.5 && report["held_out"]["log_loss"]["estimate"].as_f64().unwrap() < 0.5, "{report}");
    assert!(fs::read_to_string(place.path("sound-liked/preference.json")).unwrap().contains("\"descriptors\":{"));

    // It judges in a recipe; adapters that were changed, and another policy, are refused.
    let recipe = RECIPE.replace("LEARN", "lora = { rank = 2 }\nbaseline = \"leave_one_out\"");
    let from = recipe.find("rewards = ").unwrap();
    let to = from + recipe[from..].find('\n').unwrap();
    let reward = "rewards = [{ name = \"user_preference\", weight = 1.0, bundle = \"whole-liked\" }]";
    fs::write(place.path("liked.toml"), format!("{}{reward}{}", &recipe[..from], &recipe[to..])).unwrap();
    let text = place.good(&["align", "liked.toml", "--out", "aligned"]);
    assert!(text.contains("reward_user_preference"), "{text}");
    let adapters = place.path("whole-liked/adapters.safetensors");
    let bytes = fs::read(&adapters).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&adapters, changed).unwrap();
    let error = place.bad(&["align", "liked.toml", "--out", "other"]);
    assert!(error.contains("adapters.safetensors") && error.contains("SHA-256"), "{error}");
    fs::write(&adapters, bytes).unwrap();
    let config = fs::read_to_string(place.path("checkpoint/config.json")).unwrap();
    fs::write(place.path("checkpoint/config.json"), config + "\n").unwrap();
    let error = place.bad(&["align", "liked.toml", "--out", "last"]);
    assert!(error.contains("the policy that it learned on"), "{error}");
    let error = bad(train("whole", &often));
    assert!(error.contains("recipe.toml") && error.contains("policy"), "{error}");
    let error = bad(train("third", &["--set", "members=2"]));
    assert!(error.contains("members"), "{error}");
}
