//! One stage with text adherence, measured before and after.

use std::{path::Path, time::Instant};

use musicrl_core::stats::Interval;
use musicrl_pipeline::{
    align::judges::REWARDS,
    demo::{DemoReport, DemoSettings, FIGURE, RECIPE, demo},
    recipe::AlignRecipe,
};

use crate::{
    commands::{
        Context,
        align::{align_context, check_memory},
        drive,
    },
    failure::Failure,
    progress::Bar,
    report::Report,
    words,
};

/// Aligns the embedded base with text adherence and shows what changed.
pub fn run(context: &Context, out: &Path, steps: Option<u64>, captions: usize) -> Result<Report, Failure> {
    let start = Instant::now();
    let mut recipe = AlignRecipe::parse(RECIPE, Path::new("demo.toml"), &REWARDS)?;
    if let Some(seed) = context.seed {
        recipe.seed = seed;
    }
    if let (Some(steps), Some(stage)) = (steps, recipe.stage.last_mut()) {
        stage.steps = steps;
    }
    let recipe = recipe.resolve(&REWARDS)?;
    let bundle = musicrl_pipeline::embedded::base()?;
    check_memory(&recipe, &bundle)?;
    let settings = DemoSettings { captions, ..DemoSettings::default() };
    let align_context = align_context(context, recipe.seed, out.to_path_buf())?;
    let mut bar = Bar::new("demo");
    bar.say(
        "demo: the base inside the program is aligned with text adherence; what it plays is measured before and after",
    );
    let Some((report, _)) = demo(&bundle, &recipe, &settings, &align_context, &mut bar)? else {
        return Err(Failure::failed("the demo was stopped; its checkpoint is kept")
            .hint(format!("go on with: {}", drive::this_command())));
    };
    drop(bar);
    Ok(in_words(&report, out, start.elapsed().as_secs_f64()))
}

fn in_words(report: &DemoReport, out: &Path, seconds: f64) -> Report {
    let interval = |x: &Interval| format!("{:.4} [{:.4}, {:.4}]", x.estimate, x.low, x.high);
    let row = |name: &str, before: String, after: String| format!("{name:<34}{before:<28}{after}");
    let (before, after) = (&report.before, &report.after);
    let mut lines = vec![
        format!(
            "{} held-out captions, {} clips of each; {} learning steps; seed {}; 95 % bootstrap intervals over captions",
            report.captions, report.clips_per_caption, report.steps, report.seed
        ),
        row("", "before".into(), "after".into()),
        row("text adherence (cosine)", interval(&before.reward), interval(&after.reward)),
        row(
            "sequence KL to the base (nats)",
            format!("{:.2}", before.sequence_kl),
            format!("{:.2}", after.sequence_kl),
        ),
        row("entropy (nats a token)", format!("{:.3}", before.entropy), format!("{:.3}", after.entropy)),
        row("distinct clips (share)", format!("{:.3}", before.distinct_share), format!("{:.3}", after.distinct_share)),
        row("clips without a score", before.unscorable.to_string(), after.unscorable.to_string()),
        format!(
            "difference in text adherence {} = {:.1} standard errors; entropy kept {:.0} %; {} in all",
            interval(&report.difference),
            report.standard_errors,
            100.0 * report.entropy_share,
            words::duration(seconds)
        ),
        format!("figure: {}", out.join(FIGURE).display()),
        format!("clips: {} and {}", out.join("before").display(), out.join("after").display()),
    ];
    let mut printed = Report::new();
    for line in lines.drain(..) {
        printed = printed.line(line);
    }
    let bundle = out.join("bundle");
    printed
        .value("demo", report)
        .value("seconds", seconds)
        .value("out", out.display().to_string())
        .value("figure", out.join(FIGURE).display().to_string())
        .next(format!("musicrl generate --bundle {} \"a fast bright marimba piece with drums\"", words::shell(&bundle)))
}
