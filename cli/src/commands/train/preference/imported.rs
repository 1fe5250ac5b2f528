//! `musicrl train preference` on an imported checkpoint: a head on its vectors, perhaps with adapters under it.

use std::{path::Path, sync::atomic::Ordering};

use musicrl_core::policy::Policy as _;
use musicrl_feedback::PreferenceSet;
use musicrl_pipeline::{
    Error,
    bundle::{Bundle, part},
    imported::{
        ImportedBase, estimate,
        preference::{FinetuneTraining, HeadReport, ImportedClips, ImportedPreference, fit_head},
    },
    recipe::LoraConfig,
    train::preference::PreferenceTrainingConfig,
};
use musicrl_zoo::Checkpoint;

use super::{Flags, with_measurement};
use crate::{
    commands::{Context, drive},
    failure::Failure,
    progress::Bar,
    report::Report,
    words,
};

/// Learns what listeners like on the vectors of an imported policy.
pub fn run(context: &Context, flags: &Flags, config: PreferenceTrainingConfig) -> Result<Report, Failure> {
    let Some(folder) = &flags.save_to else {
        return Err(Failure::usage("an imported checkpoint is not written to")
            .hint("name a folder for the preference model: --save-to FOLDER"));
    };
    if !flags.add_to.is_empty() {
        return Err(Failure::usage(
            "--add-to is for bundles; a recipe names an imported policy's preference model itself",
        ));
    }
    if config.lora.is_some() {
        config.check_adapters()?;
    }
    let [path] = &flags.preferences[..] else {
        return Err(Failure::usage("an imported checkpoint's preference model learns from one set")
            .hint("name one set: --preferences SET"));
    };
    let set = PreferenceSet::open(path).map_err(Error::from)?;
    let base = ImportedBase::open(&flags.bundle, &context.backend.device()?)?;
    let stop = context.interrupt()?;
    let mut bar = Bar::new("clips");
    set.notices().iter().for_each(|notice| bar.say(notice));
    let mut progress = |done: usize, total: usize| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    };
    let clips = ImportedClips::read(&base.model, &set, &config, &mut progress)?;
    let report = match config.lora {
        Some(lora) => {
            drop(bar);
            finetune(context, flags, (config, lora), &base, &clips, folder)?
        }
        None => {
            let (head, trained) = fit_head(&base.model, &clips, &config, context.seed(), &mut progress)?;
            drop(bar);
            let data = trained.data_identity.clone();
            ImportedPreference::save(&head, None, &flags.bundle, &base, data, folder)?;
            facts(&trained)
        }
    };
    let folder = words::shell(folder);
    Ok(report.next(format!(
        "name it in a recipe: rewards = [{{ name = \"user_preference\", weight = 1.0, bundle = \"{folder}\" }}]"
    )))
}

fn facts(trained: &HeadReport) -> Report {
    let report = Report::new()
        .fact("learning_pairs", "pairs to learn from", trained.learning)
        .fact("held_out_pairs", "held out", trained.held_out)
        .fact("ridge", "ridge", trained.ridge);
    match &trained.report {
        Some(held_out) => with_measurement(report, held_out),
        None => report,
    }
}

/// Adapters and head, in a run that can be taken up again.
fn finetune(
    context: &Context,
    flags: &Flags,
    (mut config, lora): (PreferenceTrainingConfig, LoraConfig),
    base: &ImportedBase,
    clips: &ImportedClips,
    folder: &Path,
) -> Result<Report, Failure> {
    let seconds = clips.data.frames_max() as f64 / base.model.policy.layout().frame_rate_hz;
    drive::check_memory(&estimate::preference(&Checkpoint::open(&base.source)?, lora, seconds)?)?;
    let learning = clips.data.split(config.held_out_share, config.split_seed)?.learning;
    let steps = flags.steps.unwrap_or_else(|| config.steps(learning.len()));
    if config.optimiser.decay_steps == 0 {
        config.optimiser.decay_steps = steps;
    }
    let quarter = (learning.len() / config.batch_pairs / 4) as u64;
    let common = flags.common(flags.evaluate_every.unwrap_or(quarter.min(steps / 8).max(1)));
    let mut recipe = common.recipe(context, part::PREFERENCE, steps, config.clone(), (&Bundle::new(), &[]))?;
    recipe.inputs.insert("pairs".into(), clips.identity());
    recipe.inputs.insert("policy".into(), base.identity.clone());
    let out = common.out("preference");
    let dir = drive::open(context, &out, &recipe.to_toml()?, recipe.seed)?;

    let stop = context.interrupt()?;
    let mut bar = Bar::new("vectors");
    let mut progress = |done: usize, total: usize| {
        bar.count(done as u64, total as u64);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    };
    let mut training = FinetuneTraining::new(&base.model, clips, config, recipe.seed, &mut progress)?;
    drop(bar);
    let outcome = drive::run(context, "preference", &mut training, &dir, &recipe.plan())?;
    let (head, policy) = training.finish()?;
    ImportedPreference::save(&head, Some(&policy), &flags.bundle, base, clips.identity(), folder)?;

    let alone = training.head_alone();
    let mut report = Report::new()
        .fact("learning_pairs", "pairs to learn from", alone.learning)
        .fact("held_out_pairs", "held out", alone.held_out)
        .fact("ridge", "ridge", alone.ridge)
        .fact("steps", "steps", outcome.step)
        .fact("run", "run", out.display().to_string());
    if let Some(step) = training.best_step() {
        report = report.fact("best_step", "best weights, step", step);
        if step == 0 {
            report = report.line("note: nothing that was learned made the held-out loss smaller");
        }
    }
    if let Some(held_out) = training.report()? {
        report = with_measurement(report, &held_out);
    }
    if let Some(held_out) = &alone.report {
        report = report
            .line(format!("{:<22}{:.4}", "log-loss, head alone", held_out.log_loss.estimate))
            .value("head_alone", held_out);
    }
    Ok(report)
}
