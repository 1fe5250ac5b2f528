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
