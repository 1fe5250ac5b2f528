//! `musicrl train dpo`.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use musicrl_core::policy::HierarchicalPolicyConfig;
use musicrl_feedback::PreferenceSet;
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    estimate,
    imported::is_imported,
    music::load_policy,
    preference::{PreferenceData, Reads},
    train::dpo::{DpoConfig, DpoData, DpoTraining},
};

use super::{
    Flags as TrainFlags, Precision, Preset,
    preference::{EMBEDDED, pairs_of, with_measurement},
};
use crate::{
    commands::{Context, align::open_base, drive},
    failure::Failure,
    report::Report,
    words,
};

/// Flags of `train dpo`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Preference set to learn from
    #[arg(long)]
    preferences: PathBuf,
    /// Bundle folder whose policy is the start and the reference
    #[arg(long)]
    bundle: PathBuf,
    /// Bundle folder for a copy of the bundle with the policy that was trained
    #[arg(long)]
    save_to: PathBuf,
    /// Run folder; a run that is there goes on from its last checkpoint [default: runs/dpo]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Steps of the run [default: by the setting `epochs`]
    #[arg(long)]
    steps: Option<u64>,
    /// TOML file with settings over the defaults
    #[arg(long)]
    settings: Option<PathBuf>,
    /// A setting over the defaults and the file's, e.g. beta=0.05, trainable=["trunk.start_embedding"]
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 200)]
    checkpoint_every: u64,
    /// Steps between evaluations; 0: none [default: an eighth of the run]
    #[arg(long)]
    evaluate_every: Option<u64>,
    /// Precision of the weights in the bundle
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

impl Flags {
    /// The flags that it has in common with the other trainings.
    fn common(&self) -> TrainFlags {
        TrainFlags {
            corpus: self.preferences.clone(),
            bundle: self.save_to.clone(),
            out: self.out.clone(),
            preset: Preset::Base,
            steps: self.steps,
            settings: self.settings.clone(),
            set: self.set.clone(),
            checkpoint_every: self.checkpoint_every,
            evaluate_every: self.evaluate_every,
            precision: self.precision,
        }
    }

    /// Refuses what would write over the base, and bases of which only a preference model can be made.
    fn check(&self) -> Result<(), Failure> {
        if self.save_to == Path::new(EMBEDDED) || same_folder(&self.save_to, &self.bundle) {
            return Err(Failure::usage("--save-to is the base itself, which is the reference and must stay")
                .hint("name another folder for the policy that is trained: --save-to FOLDER"));
        }
        if is_imported(&self.bundle) {
            return Err(Failure::usage("DPO learns with bundles of our own, not with imported checkpoints")
                .hint("learn a reward with `musicrl train preference` and align the checkpoint with it"));
        }
        Ok(())
    }
}

fn same_folder(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Trains a policy on pairs of a set and saves it with the rest of the bundle.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    flags.check()?;
    let common = flags.common();
    let mut config = common.settings(&DpoConfig::default())?;
    config.validate()?;
    let mut bundle = open_base(&flags.bundle)?;
    let device = context.backend.device()?;
    let set = PreferenceSet::open(&flags.preferences).map_err(Error::from)?;
    let reads = Reads { text: config.text, sound: false };
    let judged = pairs_of(context, std::slice::from_ref(&set), (&config.data, reads), &bundle, &device)?;
    let data = DpoData::new(&judged, &config)?;
    let steps = flags.steps.unwrap_or_else(|| config.steps(data.learning.len()));
    if config.optimiser.decay_steps == 0 {
        config.optimiser.decay_steps = steps;
    }
    let (recipe, policy) = (recipe(context, &common, (steps, &config), (&bundle, &judged))?, part::POLICY);
    let sizes: HierarchicalPolicyConfig = bundle.config(policy)?;
    drive::check_memory(&estimate::models::dpo(&config, &sizes, data.frames_max()))?;
    let mut training = training(&config, &data, &bundle, recipe.seed, &device)?;
    let out = common.out("dpo");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;
    let outcome = drive::run(context, "dpo", &mut training, &dir, &recipe.plan())?;
    bundle.set(policy, &sizes, &training.policy(), flags.precision.into())?;
    let mut report = common
        .finish("dpo", bundle, &out, &outcome)?
        .fact("learning_pairs", "pairs to learn from", data.learning.len())
        .fact("held_out_pairs", "held out", data.held_out.len())
        .fact("undecided_pairs", "left out, undecided", data.undecided);
    if data.cut > 0 {
        report = report.fact("cut_pairs", "cut to one length", data.cut);
    }
    if let Some(measured) = data.report(&training.held_out_margins()?, &config, recipe.seed)? {
        report = report.line("the implicit reward beta (log pi - log pi_ref) on held-out captions:");
        report = with_measurement(report, &measured);
    }
    if let Some((kl, entropy)) = training.divergence()? {
        report = report
            .line(format!("{:<22}{kl:.4} nats a clip, over {} clips that it played", "KL to the base", config.kl_clips))
            .value("kl_to_base", kl)
            .value("entropy", entropy);
    }
    let (base, trained) = (words::shell(&flags.bundle), words::shell(&flags.save_to));
    Ok(report.next(format!("musicrl evaluate base={base} dpo={trained}")))
}

/// The resolved settings of the run, with hashes of the pairs and of the parts that it reads.
fn recipe(
    context: &Context,
    common: &TrainFlags,
    (steps, config): (u64, &DpoConfig),
    (bundle, judged): (&Bundle, &PreferenceData),
) -> Result<musicrl_pipeline::recipe::TrainRecipe<DpoConfig>, Failure> {
    let parts = [part::POLICY, part::TEXT_AUDIO, part::CODEC, part::SEMANTIC];
    let mut recipe = common.recipe(context, "dpo", steps, config.clone(), (bundle, &parts))?;
    recipe.inputs.insert("pairs".into(), judged.identity());
    Ok(recipe)
}

fn training(
    config: &DpoConfig,
    data: &DpoData,
    bundle: &Bundle,
    seed: u64,
    device: &Device,
) -> Result<DpoTraining, Failure> {
    let start = load_policy(bundle, &device.clone().inner())?;
    let pairs = (data.learning.clone(), data.held_out.clone());
    Ok(DpoTraining::new(config.clone(), pairs, &start, seed, device)?)
}
