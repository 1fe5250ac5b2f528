//! A stage of an alignment and its guards, on tiny models with random weights.

use std::path::Path;

use burn::tensor::Device;
use musicrl_codec::neural::CodecConfig;
use musicrl_core::{
    nn::FeedForward,
    params::Storage,
    policy::{HierarchicalPolicyConfig, StackConfig},
    random::{Key, Purpose},
    reward::{Clip, Part, Reward, Scale, Score, WeightedSum},
    tokens::Interleave,
};
use musicrl_pipeline::{
    Error, Result,
    align::{
        judges::Judges,
        stage::{Stage, StageParts},
    },
    bundle::{Bundle, part},
    music::{Music, load_policy},
    recipe::StageConfig,
    run::{DrivePlan, Kind, Machine, Outcome, RunDir, Silent, Versions, drive, read_metrics},
    training::Training as _,
};
use musicrl_rewards::TextAudioConfig;

fn bundle() -> Bundle {
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
    bundle
}

/// Scores captions that hold this word, and no others.
struct Only(&'static str);

impl Reward for Only {
    fn name(&self) -> &str {
        "only"
    }

    fn hears_audio(&self) -> bool {
        false
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let score = |clip: &Clip<'_>| match clip.caption.contains(self.0) {
            true => Score::Value(clip.tokens.ids.iter().map(|id| f64::from(*id % 7)).sum()),
            false => Score::Unscorable(format!("no {} in it", self.0)),
        };
        Ok(clips.iter().map(score).collect())
    }
}

/// Takes the stage to `steps` steps in `folder`, with a checkpoint after each.
fn run(folder: &Path, word: &'static str, captions: &[&str], steps: u64) -> Result<(Outcome, Vec<String>)> {
    let (bundle, device) = (bundle(), Device::flex());
    let music = Music::load(&bundle, &device).unwrap();
    let policy = load_policy(&bundle, &device).unwrap();
    let text = "name = 's'\nsteps = 9\nbatch = 2\nkl = { alpha = 0.1 }\nbaseline = 'batch_mean'\n\
                rewards = [{ name = 'only', weight = 1.0 }]\n[evaluation]\nevery = 0\n[guards]\npatience = 3\n";
    let config = toml::from_str::<StageConfig>(text).unwrap().resolve("stage", &["only"]).unwrap();
    let judge = Part { reward: Box::new(Only(word)), scale: Scale { map: None, clip: None }, weight: 1.0 };
    let parts = StageParts {
        music: &music,
        judges: Judges::of(WeightedSum::new("reward", vec![judge]).unwrap()),
        captions: captions.iter().map(|caption| (*caption).to_string()).collect(),
        held_out: vec!["a waltz".into()],
        start: policy.clone(),
        reference: policy,
        seed: 3,
        samples: None,
    };
    let mut stage = Stage::new(config, parts, 0.4, &device)?;
    let versions = Versions::new("flex", 3, Machine::default());
    let dir = RunDir::create_or_open(folder, "test = true\n", &versions)?;
    let plan = DrivePlan { steps, checkpoint_every: 1, ..DrivePlan::default() };
    let outcome = drive(&mut stage, &dir, &plan, &mut Silent)?;
    Ok((outcome, stage.take_warnings()))
}

fn steps_in(folder: &Path) -> usize {
    let records = read_metrics(&folder.join("metrics.jsonl")).unwrap();
    records.iter().filter(|record| record.kind == Kind::Train).count()
}

#[test]
fn batches_without_a_score_are_counted_across_a_resume() {
    let temp = tempfile::tempdir().unwrap();
    let captions = ["a calm flute", "a loud drum"];
    let straight = run(&temp.path().join("straight"), "piano", &captions, 9).unwrap_err();
    let Error::Guard { guard: "unscorable", reason } = &straight else { panic!("{straight}") };
    assert!(reason.contains("the first by only: no piano in it") && reason.contains("3 measurements"), "{reason}");
    assert_eq!(steps_in(&temp.path().join("straight")), 2);

    // Stopped after two such batches and taken up again: the next one is the third.
    let resumed = temp.path().join("resumed");
    let (outcome, warnings) = run(&resumed, "piano", &captions, 2).unwrap();
    assert_eq!((outcome.step, warnings.len()), (2, 2), "{warnings:?}");
    let stopped = run(&resumed, "piano", &captions, 9).unwrap_err();
    assert_eq!(stopped.to_string(), straight.to_string());
    assert_eq!(steps_in(&resumed), 2);
}

#[test]
fn a_batch_with_a_score_is_learned_from() {
    let temp = tempfile::tempdir().unwrap();
    let (outcome, warnings) = run(temp.path(), "flute", &["a calm flute", "a loud drum"], 4).unwrap();
    assert_eq!(outcome.step, 4);
    assert_eq!(outcome.metrics.get("unscorable"), Some(1.0));
    assert!(outcome.metrics.get("grad_norm").is_some());
    assert_eq!(warnings.len(), 4);
    assert!(warnings[0].contains("1 clips could not be scored, the first by only: no flute"), "{warnings:?}");
}

/// The share of even tokens.
struct Even;

impl Reward for Even {
    fn name(&self) -> &str {
        "even"
    }

    fn hears_audio(&self) -> bool {
        false
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let even = |clip: &Clip<'_>| clip.tokens.ids.iter().filter(|id| **id % 2 == 0).count();
        Ok(clips.iter().map(|clip| Score::Value(even(clip) as f64 / clip.tokens.ids.len() as f64)).collect())
    }
}

/// Evaluations of a stage that learns from `only` and watches `even`, with these lines in its guards.
fn watched(guards: &str) -> Vec<std::collections::BTreeMap<String, f64>> {
    let temp = tempfile::tempdir().unwrap();
    let (bundle, device) = (bundle(), Device::flex());
    let music = Music::load(&bundle, &device).unwrap();
    let policy = load_policy(&bundle, &device).unwrap();
    let text = format!(
        "name = 's'\nsteps = 2\nbatch = 2\nkl = {{ alpha = 0.1 }}\nbaseline = 'batch_mean'\n\
         rewards = [{{ name = 'only', weight = 1.0 }}, {{ name = 'even', weight = 0.0 }}]\n\
         [policy_optimiser]\nlearning_rate = 0.05\n[evaluation]\nevery = 1\nclips = 3\nsamples = 0\n[checkpoint]\nevery = 1\nchoose = 'guarded'\n[guards]\n{guards}"
    );
    let config = toml::from_str::<StageConfig>(&text).unwrap().resolve("stage", &["only", "even"]).unwrap();
    let part = |reward: Box<dyn Reward>, weight| Part { reward, scale: Scale { map: None, clip: None }, weight };
    let parts = vec![part(Box::new(Only("a")), 1.0), part(Box::new(Even), 0.0)];
    let parts = StageParts {
        music: &music,
        judges: Judges::of(WeightedSum::new("reward", parts).unwrap()),
        captions: vec!["a calm flute".into(), "a loud drum".into()],
        held_out: ["a waltz", "a march", "a song"].map(String::from).to_vec(),
        start: policy.clone(),
        reference: policy,
        seed: 3,
        samples: None,
    };
    let mut stage = Stage::new(config.clone(), parts, 1.6, &device).unwrap();
    let dir =
        RunDir::create_or_open(temp.path(), "test = true\n", &Versions::new("flex", 3, Machine::default())).unwrap();
    let plan = DrivePlan {
        steps: 2,
        checkpoint_every: 1,
        evaluate_every: 1,
        keep: config.checkpoint.keep(),
        ..DrivePlan::default()
    };
    drive(&mut stage, &dir, &plan, &mut Silent).unwrap();
    let records = read_metrics(&temp.path().join("metrics.jsonl")).unwrap();
    records
        .into_iter()
        .filter(|record| record.kind != Kind::Train)
        .map(|record| record.metrics.0.into_iter().collect())
        .collect()
}

#[test]
fn watchers_are_held_against_the_start_of_the_stage() {
    let evaluations = watched("");
    assert_eq!(evaluations.len(), 3);
    for name in ["gain_proxy", "gain_watchers"] {
        assert_eq!(evaluations[0][name], 0.0, "{name}");
        assert!(evaluations.iter().all(|evaluation| evaluation[name].is_finite()), "{name}");
    }
    assert_eq!(evaluations[0]["guarded"], 0.0);
    assert_ne!(evaluations[2]["gain_proxy"], 0.0);
    assert_eq!(
        evaluations[2].get("guarded").copied().unwrap_or(evaluations[2]["gain_proxy"]),
        evaluations[2]["gain_proxy"]
    );
}

#[test]
fn an_evaluation_beyond_the_limits_is_never_chosen() {
    let evaluations = watched("kl_budget = 1e-9\npatience = 9\n");
    assert!(evaluations[0].contains_key("guarded"));
    assert!(evaluations[2]["kl"] > 1e-9 && !evaluations[2].contains_key("guarded"), "{:?}", evaluations[2]);
    assert!(evaluations[2].contains_key("gain_watchers"));
}

#[test]
fn an_evaluation_below_the_floor_of_diversity_is_never_chosen() {
    let free = watched("");
    // Without a floor nothing is left out, not even clips that are as near to each other as to themselves.
    assert!(free[0].contains_key("guarded"));
    for share in [0.5, 0.999_999] {
        let floored = watched(&format!("diversity_floor_fraction = {share}\n"));
        let kept = |at: usize| floored[at]["diversity"] >= share * floored[0]["diversity"].max(0.0);
        for at in 0..floored.len() {
            assert_eq!(free[at]["diversity"], floored[at]["diversity"]);
            let expected = free[at].contains_key("guarded") && kept(at);
            assert_eq!(floored[at].contains_key("guarded"), expected, "{share}: {:?}", floored[at]);
        }
    }
}

#[test]
fn checkpointing_of_a_policy_of_our_own_is_refused() {
    let (bundle, device) = (bundle(), Device::flex());
    let music = Music::load(&bundle, &device).unwrap();
    let policy = load_policy(&bundle, &device).unwrap();
    let text = "name = 's'\nsteps = 1\nbatch = 2\nkl = { alpha = 0.1 }\nbaseline = 'batch_mean'\ncheckpointing = true\n\
                rewards = [{ name = 'even', weight = 1.0 }]\n";
    let config = toml::from_str::<StageConfig>(text).unwrap().resolve("stage", &["even"]).unwrap();
    let judge = Part { reward: Box::new(Even), scale: Scale { map: None, clip: None }, weight: 1.0 };
    let parts = StageParts {
        music: &music,
        judges: Judges::of(WeightedSum::new("reward", vec![judge]).unwrap()),
        captions: vec!["a calm flute".into()],
        held_out: vec!["a waltz".into()],
        start: policy.clone(),
        reference: policy,
        seed: 3,
        samples: None,
    };
    let Err(error) = Stage::new(config, parts, 0.4, &device) else { panic!("accepted") };
    assert!(error.to_string().contains("checkpointing") && error.to_string().contains("own"), "{error}");
}

/// Files of a stage that learns from `even` in batches of 8, with these keys, at step `to`; begun at the step before where
/// `resume` says so.
fn learned(keys: &str, to: u64, resume: bool) -> std::collections::BTreeMap<String, Vec<u8>> {
    let (bundle, device) = (bundle(), Device::flex());
    let music = Music::load(&bundle, &device).unwrap();
    let policy = load_policy(&bundle, &device).unwrap();
    let text = format!(
        "name = 's'\nsteps = 9\nbatch = 8\nwhiten = true\nkl = {{ alpha = 0.1 }}\n{keys}\n\
         rewards = [{{ name = 'even', weight = 1.0 }}]\n"
    );
    let config = toml::from_str::<StageConfig>(&text).unwrap().resolve("stage", &["even"]).unwrap();
    let new = || {
        let part = |reward, weight| Part { reward, scale: Scale { map: None, clip: None }, weight };
        let judges = vec![part(Box::new(Even) as Box<dyn Reward>, 1.0), part(Box::new(Only("a")), 0.0)];
        let parts = StageParts {
            music: &music,
            judges: Judges::of(WeightedSum::new("reward", judges).unwrap()),
            captions: ["a calm flute", "a loud drum", "a slow bell", "a bright song"].map(String::from).to_vec(),
            held_out: vec!["a waltz".into()],
            start: policy.clone(),
            reference: policy.clone(),
            seed: 3,
            samples: None,
        };
        Stage::new(config.clone(), parts, 0.8, &device).unwrap()
    };
    let mut stage = new();
    for step in 0..to {
        if resume && step + 1 == to {
            let files = stage.state().unwrap();
            stage = new();
            stage.restore(&files).unwrap();
        }
        let metrics = stage.step(step).unwrap();
        assert!(metrics.0.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
        assert!(metrics.get("reward_even").is_some());
        assert_eq!(metrics.get("reward_only").is_some(), config.watches(step), "step {step}");
    }
    stage.state().unwrap()
}

#[test]
fn judges_that_are_only_watched_change_nothing_by_being_asked_less() {
    let of = |keys: &str| learned(&format!("baseline = 'batch_mean'\n{keys}"), 3, false);
    let often = of("");
    for every in [2, 0] {
        assert_eq!(of(&format!("watch_every = {every}")), often, "{every}");
    }
}

const LINEAR: &str = "baseline = 'linear'\nbaseline_first = 2\nlambda = 0.9\nlearn_clips = 4";

#[test]
fn a_linear_baseline_learns_first_and_alone_and_goes_on_after_a_resume() {
    let (before, taught, learned_once) =
        (learned(LINEAR, 1, false), learned(LINEAR, 2, false), learned(LINEAR, 3, false));
    assert_eq!(before["policy.safetensors"], taught["policy.safetensors"]);
    assert_ne!(before["linear-value.bin"], taught["linear-value.bin"]);
    assert_ne!(taught["policy.safetensors"], learned_once["policy.safetensors"]);
    for to in [2, 3, 5] {
        assert_eq!(learned(LINEAR, to, true), learned(LINEAR, to, false), "{to}");
    }
}

#[test]
fn learning_from_all_clips_of_a_batch_is_learning_from_the_batch() {
    let of = |keys: &str| learned(&format!("baseline = 'batch_mean'\n{keys}"), 2, false);
    assert_eq!(of("learn_clips = 8"), of(""));
    assert_ne!(of("learn_clips = 4"), of(""));
}

#[test]
fn settings_of_a_baseline_that_say_nothing_are_refused() {
    for (keys, field) in [
        ("baseline = 'batch_mean'\nlambda = 0.9", "lambda"),
        ("baseline = 'linear'\nlambda = 1.5", "lambda"),
        ("baseline = 'batch_mean'\nbaseline_first = 1", "baseline_first"),
        ("baseline = 'linear'\nbaseline_first = 9", "baseline_first"),
        ("baseline = 'batch_mean'\nlearn_clips = 0", "learn_clips"),
        ("baseline = 'batch_mean'\nlearn_clips = 9", "learn_clips"),
    ] {
        let text = format!(
            "name = 's'\nsteps = 9\nbatch = 8\nkl = {{ alpha = 0.1 }}\n{keys}\nrewards = [{{ name = 'even', weight = 1.0 }}]\n"
        );
        let error = toml::from_str::<StageConfig>(&text).unwrap().resolve("stage", &["even"]).unwrap_err();
        assert!(error.to_string().contains(&format!("stage.{field}")), "{keys}: {error}");
    }
}
