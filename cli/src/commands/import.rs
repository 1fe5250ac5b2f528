//! `musicrl import`.

use std::path::PathBuf;

use clap::Args;
use musicrl_pipeline::{
    imported::{
        estimate::{Choice, memory},
        is_checkpoint,
        run::CLIP_SECONDS,
    },
    recipe::{Baseline, LoraConfig, ValueTrunk},
};
use musicrl_zoo::{Architecture, Checkpoint, Model, open};
use serde_json::json;

use super::Context;
use crate::{failure::Failure, machine::Hardware, report::Report, words};

/// Flags of `import`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder of the checkpoint: config.json and safetensors files
    dir: PathBuf,
    /// Length of clips for the estimates of memory
    #[arg(long, default_value_t = CLIP_SECONDS)]
    seconds: f64,
}

/// Clips of a step, for the estimates.
const CLIPS: usize = 4;
const GIB: f64 = (1_u64 << 30) as f64;

/// Looks at a checkpoint. Nothing is copied: commands take the folder itself.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    if !is_checkpoint(&flags.dir) {
        return Err(Failure::usage(format!("{} has no config.json", flags.dir.display()))
            .hint("give the folder of a checkpoint in the Hugging Face layout: config.json beside model.safetensors"));
    }
    let checkpoint = Checkpoint::open(&flags.dir)?;
    let architecture = Architecture::of(&checkpoint)?;
    let mut report = Report::new()
        .fact("architecture", "architecture", architecture.name())
        .fact("parameters", "parameters", checkpoint.elements())
        .line(format!(
            "{:<22}{:.2} GiB in {} files",
            "weights",
            checkpoint.stored_bytes() as f64 / GIB,
            checkpoint.files().count()
        ))
        .value("stored_bytes", checkpoint.stored_bytes());
    if architecture == Architecture::MusicGen {
        report = estimates(report, &checkpoint, flags.seconds)?;
    }
    // Reads every tensor.
    let model = open(&flags.dir, &context.backend.device()?)?;
    report = report.line(format!(
        "{:<22}{} tensors, each of the expected shape, all values finite",
        "checked",
        checkpoint.names().count()
    ));
    let dir = words::shell(&flags.dir);
    Ok(match model {
        Model::MusicGen(model) if model.has_tokenizer() => {
            report.next(format!("musicrl generate --bundle {dir} --guidance 3 \"a calm piano piece\""))
        }
        Model::MusicGen(_) => report
            .line("note: no tokenizer.json, so captions cannot be read; put the checkpoint's own into the folder")
            .next(format!("musicrl import {dir}")),
        Model::Clap(_) => report.next(format!(
            "name it in a recipe: rewards = [{{ name = \"clap_adherence\", weight = 1.0, bundle = \"{dir}\" }}]"
        )),
        Model::Bert(_) if flags.dir.join("tokenizer.json").is_file() => {
            report.next(format!("musicrl train text-audio --corpus CORPUS --bundle BUNDLE --text-tower {dir}"))
        }
        _ => report.next(format!("musicrl zoo run {dir} --inputs FILE --outputs FILE")),
    })
}

/// Memory of alignment, for each choice of what learns.
fn estimates(mut report: Report, checkpoint: &Checkpoint, seconds: f64) -> Result<Report, Failure> {
    let lora = Some(LoraConfig { rank: 16, alpha: None });
    let choices = [
        ("lora 16, no value network", lora, Baseline::LeaveOneOut, ValueTrunk::Shared),
        ("lora 16, value on the shared trunk", lora, Baseline::Learned, ValueTrunk::Shared),
        ("lora 16, value with adapters of its own", lora, Baseline::Learned, ValueTrunk::Own),
        ("all weights, no value network", None, Baseline::LeaveOneOut, ValueTrunk::Shared),
        ("all weights, value on the shared trunk", None, Baseline::Learned, ValueTrunk::Shared),
        ("all weights, value on a trunk of its own", None, Baseline::Learned, ValueTrunk::Own),
    ];
    let available = Hardware::look().available_bytes;
    report = report.line(format!(
        "memory of `align` with guidance, {CLIPS} clips of {seconds} s a step ({:.1} GiB are available):",
        available as f64 / GIB
    ));
    report = report.line(format!("  {:<42}{:>11}{:>21}", "", "", "with checkpointing"));
    let mut listed = Vec::new();
    for (name, lora, baseline, value_trunk) in choices {
        let choice = Choice {
            lora,
            baseline,
            value_trunk,
            guided: true,
            clips: CLIPS,
            clip_seconds: seconds,
            checkpointing: false,
        };
        let bytes = memory(checkpoint, &choice)?.total_bytes();
        let again = memory(checkpoint, &Choice { checkpointing: true, ..choice })?.total_bytes();
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / GIB);
        report = report.line(format!("  {name:<42}{:>11}{:>21}", gib(bytes), gib(again)));
        listed.push(json!({"choice": name, "bytes": bytes, "bytes_checkpointing": again}));
    }
    Ok(report.value("memory", listed))
}
