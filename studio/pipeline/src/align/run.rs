//! A whole recipe: stage after stage, each with its own run directory, and the aligned bundle at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use burn::tensor::Device;
use musicrl_core::{
    params::Storage,
    policy::{HierarchicalPolicy, HierarchicalPolicyConfig},
};
use serde::{Deserialize, Serialize};

use super::{
    captions::Captions,
    family::Player,
    judges::{Judges, judge_bundle, judge_identity},
    stage::{Stage, StageParts},
};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
    music::{Music, load_policy},
    recipe::{AlignRecipe, BaseConfig, Choose, Reference, StageConfig},
    run::{DrivePlan, End, Observer, Outcome, RunDir, Versions, drive},
};

/// What a recipe runs in.
#[derive(Debug, Clone)]
pub struct AlignContext {
    /// The run directory.
    pub run: PathBuf,
    /// What is written beside the recipe.
    pub versions: Versions,
    /// Where tensors live.
    pub device: Device,
    /// Set to stop after the step in progress.
    pub interrupt: Option<Arc<AtomicBool>>,
}

/// How one stage ended.
#[derive(Debug, Clone)]
pub struct StageOutcome {
    /// Its name.
    pub name: String,
    /// What the driver says.
    pub outcome: Outcome,
    /// The step whose checkpoint is the stage's result; 0: the policy as the stage began.
    pub chosen_step: u64,
    /// What guards and judges had to say.
    pub warnings: Vec<String>,
}

/// How a stage ended, as it stands in `ending.json` beside its metrics; an unfinished stage has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEnding {
    /// The last step that was taken.
    pub step: u64,
    /// The step whose checkpoint is the result; 0: the policy as the stage began.
    pub chosen_step: u64,
    /// The guard that ended the stage before its last step, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
}

impl StageEnding {
    /// The file's name in a stage's folder.
    pub const FILE: &'static str = "ending.json";

    fn write(&self, stage: &RunDir) -> Result<()> {
        let encode = |error: serde_json::Error| Error::Io {
            doing: "encode",
            path: stage.path().join(Self::FILE),
            source: error.into(),
        };
        let json = serde_json::to_string_pretty(self).map_err(encode)?;
        stage.replace_file(Self::FILE, (json + "\n").as_bytes())?;
        Ok(())
    }
}

/// How a recipe ended.
#[derive(Debug)]
pub struct AlignOutcome<P = HierarchicalPolicy> {
    /// The stages that were run.
    pub stages: Vec<StageOutcome>,
    /// The aligned bundle's folder; `None` when the run was interrupted.
    pub bundle: Option<PathBuf>,
    /// The policy that the last stage chose.
    pub policy: P,
}

/// Runs the stages of `recipe` from `base`, taking up what `context.run` already has.
///
/// # Errors
/// [`Error::File`] when the run there began from another base or recipe; those of the stages; the last good checkpoint
/// stays.
pub fn align(
    recipe: &AlignRecipe,
    base: &Bundle,
    context: &AlignContext,
    observer: &mut dyn Observer,
) -> Result<AlignOutcome> {
    let device = context.device.clone().inner();
    let music = Music::load(base, &device)?;
    let system = AlignSystem {
        identity: base.identity(),
        music: &music,
        policy: load_policy(base, &device)?,
        reference: recipe.reference.as_ref().map(|named| reference_policy(named, base, &device)).transpose()?,
        clip_seconds: base.clip_seconds(),
        judges: base,
    };
    let save =
        |policy: &HierarchicalPolicy, recipe: &AlignRecipe, folder: &Path| save_aligned(base, policy, recipe, folder);
    align_system(recipe, system, context, &save, observer)
}

/// The policy that the recipe names as its reference; it must speak the base's tokens.
fn reference_policy(named: &BaseConfig, base: &Bundle, device: &Device) -> Result<HierarchicalPolicy> {
    let policy = load_policy(&judge_bundle(&named.path)?, device)?;
    let ours = base.config::<HierarchicalPolicyConfig>(part::POLICY)?;
    let theirs = policy.config();
    let tokens =
        |config: &HierarchicalPolicyConfig| (config.layout.clone(), config.condition_slots, config.condition_codebook);
    if tokens(&ours) != tokens(theirs) {
        let expected = "a policy of the base's tokens and conditions";
        return Err(Error::config("reference.path", expected, format!("{}, another one", named.path.display())));
    }
    Ok(policy)
}

/// What a recipe aligns: a policy with what plays it.
pub struct AlignSystem<'a, M: Player> {
    /// Hash of all that it makes music with.
    pub identity: String,
    /// Prompts and sound.
    pub music: &'a M,
    /// The base policy, on a plain device.
    pub policy: M::Policy,
    /// What `reference = "base"` means; the base policy where there is none.
    pub reference: Option<M::Policy>,
    /// Length in seconds of clips where the recipe does not say.
    pub clip_seconds: f64,
    /// Where judges come from that name no bundle of their own.
    pub judges: &'a Bundle,
}

/// Writes an aligned policy into a folder.
pub type Save<'a, P> = &'a dyn Fn(&P, &AlignRecipe, &Path) -> Result<()>;

/// Runs the stages of `recipe` from `system`, as [`align`] does; `save` writes the result into a folder.
///
/// # Errors
/// As [`align`], and those of `save`.
pub fn align_system<M: Player>(
    recipe: &AlignRecipe,
    system: AlignSystem<'_, M>,
    context: &AlignContext,
    save: Save<'_, M::Policy>,
    observer: &mut dyn Observer,
) -> Result<AlignOutcome<M::Policy>> {
    let recipe = recipe.clone().from_base(&system.identity)?;
    let recipe = &recipe.from_reference(judge_identity)?.from_judges(judge_identity)?;
    refuse_other_base(&context.run, &recipe.base)?;
    let text = recipe.to_toml()?;
    let captions = Captions::load(&recipe.captions, recipe.seed)?;
    let root = RunDir::create_or_open(&context.run, &text, &context.versions)?;
    let device = context.device.clone().inner();
    let mut policy = system.policy;
    let first = system.reference.unwrap_or_else(|| policy.clone());
    let mut stages = Vec::new();
    for config in &recipe.stage {
        observer.notice(&format!("stage `{}`: {} steps of {} clips", config.name, config.steps, config.batch));
        let dir = RunDir::create_or_open(context.run.join("stages").join(&config.name), &text, &context.versions)?;
        let reference = match config.reference {
            Reference::Base => first.clone(),
            Reference::StageStart => policy.clone(),
        };
        let judges = Judges::of_recipe(&config.rewards, system.judges, &device);
        let parts = |judges| StageParts {
            music: system.music,
            judges,
            captions: captions.learning.clone(),
            held_out: captions.held_out.clone(),
            start: policy.clone(),
            reference,
            seed: recipe.seed,
            samples: Some(dir.samples()),
        };
        let begun = judges.and_then(|judges| Stage::new(config.clone(), parts(judges), system.clip_seconds, &device));
        let mut stage = match begun {
            Ok(stage) => stage,
            Err(error) => {
                if stages.is_empty() {
                    dir.withdraw();
                    root.withdraw();
                }
                return Err(error);
            }
        };
        let outcome = drive(&mut stage, &dir, &plan(config, context.interrupt.clone()), observer)?;
        let mut warnings = stage.take_warnings();
        if let Some(why) = stage.ended() {
            let (name, step, steps) = (&config.name, outcome.step, config.steps);
            warnings.push(format!(
                "stage `{name}` ended after step {step} of {steps}: {why}; its result is chosen among the checkpoints \
                 within the limits"
            ));
        }
        let ended = outcome.end;
        let chosen_step = if ended == End::Finished { chosen(config, &dir, outcome.step)? } else { Some(outcome.step) };
        match chosen_step {
            Some(step) => policy = stage.policy_of_checkpoint(&dir.checkpoints().load(step)?.files)?,
            None => warnings.push(format!(
                "stage `{}`: no checkpoint within the guards' limits, with the watched rewards in place, had a higher \
                 reward than the start; the stage's result is its start",
                config.name
            )),
        }
        let chosen_step = chosen_step.unwrap_or(0);
        if ended == End::Finished {
            let ending = StageEnding { step: outcome.step, chosen_step, ended_by: stage.ended().map(String::from) };
            ending.write(&dir)?;
        }
        stages.push(StageOutcome { name: config.name.clone(), outcome, chosen_step, warnings });
        if ended == End::Interrupted {
            return Ok(AlignOutcome { stages, bundle: None, policy });
        }
    }
    let folder = root.path().join("bundle");
    save(&policy, recipe, &folder)?;
    Ok(AlignOutcome { stages, bundle: Some(folder), policy })
}

/// A run that is there must have begun from this base. [`RunDir::create_or_open`] would refuse another one too, as a line
/// of the recipe that differs; this says what the line means.
fn refuse_other_base(run: &Path, base: &BaseConfig) -> Result<()> {
    let path = run.join("recipe.toml");
    let there = fs::read_to_string(&path).ok().and_then(|text| toml::from_str::<AlignRecipe>(&text).ok());
    let Some(there) = there.filter(|there| there.base.sha256 != base.sha256) else { return Ok(()) };
    let name = |base: &BaseConfig| match &base.sha256 {
        Some(sha256) => format!("{}, SHA-256 {sha256}", base.path.display()),
        None => format!("{}, without a hash", base.path.display()),
    };
    let expected = format!("the base that this run began from ({})", name(&there.base));
    Err(Error::File { path, expected, got: format!("another base ({})", name(base)) })
}

fn plan(config: &StageConfig, interrupt: Option<Arc<AtomicBool>>) -> DrivePlan {
    DrivePlan {
        steps: config.steps,
        checkpoint_every: config.checkpoint.every,
        evaluate_every: config.evaluation.every,
        keep: config.checkpoint.keep(),
        interrupt,
    }
}

/// The step whose checkpoint is the result; `None`: the start, which a guarded choice prefers to anything worse.
fn chosen(config: &StageConfig, dir: &RunDir, last: u64) -> Result<Option<u64>> {
    let Some(best) = config.checkpoint.keep().best else { return Ok(Some(last)) };
    let found = dir.checkpoints().best(&best)?;
    Ok(match config.checkpoint.choose {
        // Gains are held against the start, whose own is 0.
        Choose::Guarded => found.filter(|(_, gain)| *gain > 0.0).map(|(step, _)| step),
        Choose::Best | Choose::Last => Some(found.map_or(last, |(step, _)| step)),
    })
}

fn save_aligned(base: &Bundle, policy: &HierarchicalPolicy, recipe: &AlignRecipe, folder: &Path) -> Result<()> {
    let mut aligned = base.clone();
    aligned.set(part::POLICY, policy.config(), policy, Storage::F32)?;
    let names: Vec<&str> = recipe.stage.iter().map(|stage| stage.name.as_str()).collect();
    aligned.push_provenance(format!("aligned from {}: {} (seed {})", base.origin(), names.join(", "), recipe.seed));
    aligned.save(folder)
}
