//! `musicrl demo`.

use std::path::{Path, PathBuf};

use clap::Args;
use musicrl_core::stats::Interval;
use musicrl_pipeline::{
    align::{judges, run::AlignContext},
    demo::{DemoSettings, RECIPE, Side, demo},
    recipe::AlignRecipe,
    run::Versions,
};

use super::{Context, drive};
use crate::{failure::Failure, machine::Hardware, progress::Bar, report::Report, words};

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Run folder; a demo that is there goes on from its last checkpoint
    #[arg(long, default_value = "runs/demo")]
    out: PathBuf,
    /// Held-out captions that are measured before and after
    #[arg(long, default_value_t = DemoSettings::default().captions)]
    captions: usize,
    /// Clips of each of them
    #[arg(long, default_value_t = DemoSettings::default().clips_per_caption)]
    clips: usize,
    /// Captions whose clips are written as WAV
    #[arg(long, default_value_t = DemoSettings::default().wavs)]
    wavs: usize,
}

/// Aligns the embedded base and compares it with itself before.
pub fn run(context: &Context, flags: &Flags) -> Result<Report, Failure> {
    let mut recipe = AlignRecipe::parse(RECIPE, Path::new("demo.toml"), &judges::REWARDS)?;
    recipe.seed = context.seed.unwrap_or(recipe.seed);
    let base = musicrl_pipeline::embedded::base()?;
    super::align::check_memory(&recipe, &base)?;
    let settings = DemoSettings { captions: flags.captions, clips_per_caption: flags.clips, wavs: flags.wavs };
    let align_context = AlignContext {
        run: flags.out.clone(),
        versions: Versions::new(context.backend.name(), recipe.seed, Hardware::look().record()),
        device: context.backend.device()?,
        interrupt: Some(context.interrupt()?),
    };
    let mut bar = Bar::new("demo");
    let done = demo(&base, &recipe, &settings, &align_context, &mut bar)?;
    drop(bar);
    let Some((figures, outcome)) = done else {
        let hint = format!("resume with: {}", drive::this_command());
        return Err(Failure::failed("stopped; the last checkpoint is kept").hint(hint));
    };
    let folder = flags.out.display();
    let bundle = outcome.bundle.unwrap_or_default();
    let line = |label: &str, side: &Side| {
        format!(
            "{label:<8}text adherence {}   sequence KL {:>6.1}   entropy {:.3}   distinct {:.0} %",
            interval(&side.reward),
            side.sequence_kl,
            side.entropy,
            100.0 * side.distinct_share
        )
    };
    Ok(Report::new()
        .line(format!("{} held-out captions, {} clips of each", figures.captions, figures.clips_per_caption))
        .line(line("before", &figures.before))
        .line(line("after", &figures.after))
        .line(format!(
            "rise    {} ({:.1} standard errors); entropy {:.0} % of the base's",
            interval(&figures.difference),
            figures.standard_errors,
            100.0 * figures.entropy_share
        ))
        .line(format!("listen to {folder}/before and {folder}/after: the same captions and random numbers"))
        .value("figures", &figures)
        .value("run", folder.to_string())
        .value("bundle", bundle.display().to_string())
        .next(format!("musicrl generate --bundle {} \"a calm piano piece\"", words::shell(&bundle))))
}

fn interval(interval: &Interval) -> String {
    format!("{:.4} [{:.4}, {:.4}]", interval.estimate, interval.low, interval.high)
}
