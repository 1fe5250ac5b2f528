//! `musicrl generate`.

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use musicrl_core::sampling::SamplingConfig;
use musicrl_pipeline::{
    align::judges::REWARDS,
    generate::{BestOfSettings, Format, GenerateSettings, generate},
    imported::{ImportedBase, is_imported, run::generate_imported},
    recipe::RewardConfig,
};

use super::{Context, align::open_base};
use crate::{failure::Failure, progress::Bar, report::Report};

/// File format of clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatFlag {
    /// 16-bit WAV
    Wav,
    /// Ogg Opus, 64 kbit/s
    Opus,
}

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Captions, one clip each; for an imported checkpoint "" is no condition
    captions: Vec<String>,
    /// A text file with one caption a line, after those of the command line
    #[arg(long)]
    captions_file: Option<PathBuf>,
    /// Folder of a bundle, of an imported checkpoint, or of one that was aligned [default: the base inside the program]
    #[arg(long, default_value = "embedded", hide_default_value = true)]
    bundle: PathBuf,
    /// Folder for the clips and their list
    #[arg(long, default_value = "clips")]
    out: PathBuf,
    /// Clips of each caption
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Length of a clip [default: that of the bundle's training clips]
    #[arg(long)]
    seconds: Option<f64>,
    /// Divides the logits
    #[arg(long, default_value_t = 0.99)]
    temperature: f64,
    /// Only the so many likeliest tokens
    #[arg(long)]
    top_k: Option<usize>,
    /// Only the likeliest tokens whose probabilities reach this sum
    #[arg(long)]
    top_p: Option<f64>,
    /// Classifier-free guidance: 1 is none
    #[arg(long, default_value_t = 1.0)]
    guidance: f64,
    /// Clips at once: more memory, less time, the same clips
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// A sound that every clip goes on from (imported checkpoints); its length counts in --seconds
    #[arg(long, value_name = "FILE")]
    continue_from: Option<PathBuf>,
    /// Play so many clips for each one and keep the one that --by scores highest
    #[arg(long, value_name = "N")]
    best_of: Option<usize>,
    /// Reward that chooses, by its name in recipes; several are added up
    #[arg(long, value_name = "REWARD", default_value = "text_adherence", requires = "best_of")]
    by: Vec<String>,
    /// File format
    #[arg(long, value_enum, default_value = "wav")]
    format: FormatFlag,
}

fn best_of(candidates: usize, names: &[String]) -> Result<BestOfSettings, Failure> {
    let rewards: Vec<RewardConfig> = names.iter().map(|name| RewardConfig::named(name, 1.0)).collect();
    rewards.iter().try_for_each(|reward| reward.validate("by", &REWARDS))?;
    Ok(BestOfSettings { candidates, rewards })
}

/// Generates clips.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let mut captions = flags.captions.clone();
    if let Some(path) = &flags.captions_file {
        let text =
            fs::read_to_string(path).map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))?;
        captions.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string));
    }
    if captions.is_empty() {
        return Err(Failure::usage("no caption").hint("musicrl generate \"a calm piano piece\""));
    }
    let settings = GenerateSettings {
        captions,
        clips_per_caption: flags.count,
        clip_seconds: flags.seconds,
        sampling: SamplingConfig {
            temperature: flags.temperature,
            top_k: flags.top_k,
            top_p: flags.top_p,
            guidance: flags.guidance,
        },
        seed: context.seed(),
        continue_from: flags.continue_from.clone(),
        best_of: flags.best_of.map(|candidates| best_of(candidates, &flags.by)).transpose()?,
        batch: flags.batch,
        out: flags.out.clone(),
        format: match flags.format {
            FormatFlag::Wav => Format::Wav,
            FormatFlag::Opus => Format::Opus,
        },
    };
    let device = context.backend.device()?;
    let mut bar = Bar::new("generate");
    let mut progress = |done: usize, total: usize| bar.count(done as u64, total as u64);
    let written = if is_imported(&flags.bundle) {
        generate_imported(&ImportedBase::open(&flags.bundle, &device)?, &settings, &device, &mut progress)?
    } else {
        generate(&open_base(&flags.bundle)?, &settings, &device, &mut progress)?
    };
    drop(bar);
    let mut report = Report::new();
    for clip in &written {
        report = report.line(format!(
            "{}  {:.1} s  {}",
            settings.out.join(&clip.file).display(),
            clip.seconds,
            clip.caption
        ));
    }
    let unscored = written.iter().filter(|clip| flags.best_of.is_some() && clip.reward.is_none()).count();
    if unscored > 0 {
        report = report.line(format!("no candidate of {unscored} clips could be scored: the first ones were kept"));
    }
    Ok(report
        .value("clips", &written)
        .next(format!("listen to {}; what each clip is stands in its clips.jsonl", settings.out.display())))
}
