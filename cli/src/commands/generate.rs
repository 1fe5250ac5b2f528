//! `musicrl generate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use musicrl_core::sampling::SamplingConfig;
use musicrl_pipeline::{
    bundle::Bundle,
    generate::{Format, GenerateSettings, generate},
};

use super::Context;
use crate::{failure::Failure, progress::Bar, report::Report};

/// How clips are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// 16-bit WAV
    Wav,
    /// Ogg Opus at 64 kbit/s
    Opus,
}

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct Flags {
    /// What the music should be, one clip a caption
    #[arg(required = true)]
    captions: Vec<String>,
    /// Bundle folder [default: the embedded base]
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Folder for the clips
    #[arg(long, default_value = "clips")]
    out: PathBuf,
    /// Clips of each caption
    #[arg(long, default_value_t = 1)]
    clips: usize,
    /// Length of a clip [default: what the policy learned on]
    #[arg(long)]
    seconds: Option<f64>,
    /// Divides the logits: below 1 safer, above 1 wilder
    #[arg(long, default_value_t = SamplingConfig::default().temperature)]
    temperature: f64,
    /// Only the so many likeliest tokens
    #[arg(long)]
    top_k: Option<usize>,
    /// Only the likeliest tokens up to this probability
    #[arg(long)]
    top_p: Option<f64>,
    /// Weight of the caption: 1 is none extra
    #[arg(long, default_value_t = SamplingConfig::default().guidance)]
    guidance: f64,
    /// Clips at once; the result does not depend on it
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// File format
    #[arg(long, value_enum, default_value = "wav")]
    format: FileFormat,
}

/// Generates and writes the clips.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let bundle = match &flags.bundle {
        Some(path) => Bundle::open(path)?,
        None => musicrl_pipeline::embedded::base()?,
    };
    let settings = GenerateSettings {
        captions: flags.captions.clone(),
        clips_per_caption: flags.clips,
        clip_seconds: flags.seconds,
        sampling: SamplingConfig {
            temperature: flags.temperature,
            top_k: flags.top_k,
            top_p: flags.top_p,
            guidance: flags.guidance,
        },
        seed: context.seed(),
        batch: flags.batch,
        out: flags.out.clone(),
        format: match flags.format {
            FileFormat::Wav => Format::Wav,
            FileFormat::Opus => Format::Opus,
        },
    };
    let device = context.backend.device()?;
    let mut bar = Bar::new("clips");
    let written = generate(&bundle, &settings, &device, &mut |done, total| bar.count(done as u64, total as u64))?;
    drop(bar);
    let mut report = Report::new().value("out", flags.out.display().to_string());
    for clip in &written {
        report = report.line(format!(
            "{:>6.1} s  {}  \"{}\"",
            clip.seconds,
            flags.out.join(&clip.file).display(),
            clip.caption
        ));
    }
    Ok(report.value("clips", &written).next("listen; then `musicrl align RECIPE` moves the policy towards a reward"))
}
