//! The demo: the embedded base, aligned with text adherence, measured before and after on captions that it never saw.

use std::{fs, path::Path};

use musicrl_codec::{audio::Audio, write::write_wav};
use musicrl_core::{
    params::ParamTable,
    policy::{HierarchicalPolicy, Policy as _},
    random::{Key, Purpose},
    reward::Score,
    stats::{BootstrapConfig, Interval, cluster_bootstrap, mean},
};
use serde::Serialize;

use crate::{
    Error, Result,
    align::{
        captions::Captions,
        diversity::distinct_share,
        judges::Judges,
        measure::{Measurement, measure_from},
        play::PlaySettings,
        run::{AlignContext, AlignOutcome, align},
    },
    bundle::Bundle,
    figure::demo::{ClipPair, DemoFigure, Heard, StageCurve},
    generate::slug,
    music::{Music, load_policy},
    recipe::AlignRecipe,
    run::Observer,
};

/// The recipe that the demo runs.
pub const RECIPE: &str = include_str!("../../../recipes/demo.toml");

/// Name of the figure in the run folder.
pub const FIGURE: &str = "demo.svg";

/// What is measured and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoSettings {
    /// Held-out captions that are measured before and after.
    pub captions: usize,
    /// Clips of each caption, each with random numbers of its own.
    pub clips_per_caption: usize,
    /// Captions whose clips are written as WAV, before and after.
    pub wavs: usize,
    /// Captions whose clips the figure shows, before and after.
    pub pictures: usize,
}

impl Default for DemoSettings {
    fn default() -> Self {
        Self { captions: 64, clips_per_caption: 8, wavs: 8, pictures: 3 }
    }
}

/// One system's figures over all clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Mean text adherence, with its interval over captions.
    pub reward: Interval,
    /// Mean over clips of the exact KL to the base, summed over the clip, in nats.
    pub sequence_kl: f64,
    /// Mean nats a token.
    pub entropy: f64,
    /// Share of clips that differ from every other before them.
    pub distinct_share: f64,
    /// Clips that the judge could not score.
    pub unscorable: usize,
}

/// What the demo shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// Held-out captions.
    pub captions: usize,
    /// Clips of each.
    pub clips_per_caption: usize,
    /// The base.
    pub before: Side,
    /// The aligned policy.
    pub after: Side,
    /// After less before, caption by caption, with its interval over captions.
    pub difference: Interval,
    /// The difference in its standard errors.
    pub standard_errors: f64,
    /// Entropy after over entropy before.
    pub entropy_share: f64,
    /// Learning steps.
    pub steps: u64,
    /// Seed of the recipe.
    pub seed: u64,
}

/// Aligns `base` by `recipe` and measures both systems on held-out captions with the same random numbers.
///
/// Writes `demo.json`, `demo.svg`, and `before/` and `after/` with the same captions. `None` when the user interrupted.
///
/// # Errors
/// Those of the alignment and of the files.
pub fn demo(
    base: &Bundle,
    recipe: &AlignRecipe,
    settings: &DemoSettings,
    context: &AlignContext,
    observer: &mut dyn Observer,
) -> Result<Option<(DemoReport, AlignOutcome)>> {
    let device = context.device.clone().inner();
    let outcome = align(recipe, base, context, observer)?;
    if outcome.bundle.is_none() {
        return Ok(None);
    }
    let captions = Captions::load(&recipe.captions, recipe.seed)?;
    let held_out: Vec<&str> = captions.held_out.iter().take(settings.captions).map(String::as_str).collect();
    let stage = recipe.stage.last().ok_or_else(|| Error::config("stage", "at least one stage", "none"))?;
    let music = Music::load(base, &device)?;
    let judges = Judges::of_recipe(&stage.rewards, base, &device)?;
    let first = load_policy(base, &device)?;
    let aligned = ParamTable::collect(&outcome.policy).apply(first.clone())?;
    let seconds = stage.clip_seconds.unwrap_or(base.clip_seconds());
    let play = PlaySettings {
        sampling: stage.sampling.core(),
        frames: first.layout().frames_in(seconds).max(1),
        seed: recipe.seed,
        batch: stage.batch.max(16),
        given: None,
    };
    observer.notice(&format!("measuring {} held-out captions before and after", held_out.len()));
    let listen = |policy: &HierarchicalPolicy| -> Result<Vec<Measurement>> {
        (0..settings.clips_per_caption.max(1))
            .map(|round| {
                let first_clip = (round * held_out.len()) as u64;
                measure_from(policy, &first, &music, &judges, &held_out, &play, first_clip)
            })
            .collect()
    };
    let (before, after) = (listen(&first)?, listen(&aligned)?);
    for (name, rounds) in [("before", &before), ("after", &after)] {
        write_clips(&context.run.join(name), &held_out, rounds, settings.wavs, music.sample_rate_hz())?;
    }

    let clips = clip_pairs(&held_out, &before, &after, settings.pictures);
    let (sides, pairs) = (scores(&before), scores(&after));
    let differences: Vec<(usize, f64)> = sides
        .iter()
        .zip(&pairs)
        .filter_map(|((caption, before), (_, after))| Some((*caption, after.as_ref()? - before.as_ref()?)))
        .collect();
    let difference = interval(&differences, recipe.seed)?;
    let (before, after) = (side(&before, recipe.seed)?, side(&after, recipe.seed)?);
    let report = DemoReport {
        captions: held_out.len(),
        clips_per_caption: settings.clips_per_caption,
        standard_errors: difference.estimate / difference.standard_error,
        entropy_share: after.entropy / before.entropy,
        difference,
        before,
        after,
        steps: recipe.stage.iter().map(|stage| stage.steps).sum(),
        seed: recipe.seed,
    };
    let path = context.run.join("demo.json");
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::config("demo.json", "numbers that JSON can hold", error))?;
    fs::write(&path, json + "\n").map_err(Error::io("write", &path))?;
    let ended = recipe.stage.iter().zip(&outcome.stages);
    let figure = DemoFigure {
        report: &report,
        stages: ended
            .map(|(stage, ended)| StageCurve::read(&context.run, stage, ended.chosen_step))
            .collect::<Result<_>>()?,
        backend: &context.versions.backend,
        clips,
        sample_rate_hz: music.sample_rate_hz(),
    };
    let path = context.run.join(FIGURE);
    fs::write(&path, figure.svg()?).map_err(Error::io("write", &path))?;
    Ok(Some((report, outcome)))
}

/// Caption and score of every clip, round after round.
fn scores(rounds: &[Measurement]) -> Vec<(usize, Option<f64>)> {
    rounds.iter().flat_map(|round| round.verdicts.total.iter().map(Score::value).enumerate()).collect()
}

/// The first clip of each of the first captions, before and after.
fn clip_pairs<'a>(
    captions: &[&'a str],
    before: &'a [Measurement],
    after: &'a [Measurement],
    count: usize,
) -> Vec<ClipPair<'a>> {
    let (Some(before), Some(after)) = (before.first(), after.first()) else { return Vec::new() };
    let heard = |round: &'a Measurement, at: usize| Heard {
        samples: round.played.audio.get(at).map_or(&[], Vec::as_slice),
        score: round.verdicts.total.get(at).and_then(Score::value),
    };
    let pair =
        |(at, caption): (usize, &&'a str)| ClipPair { caption, before: heard(before, at), after: heard(after, at) };
    captions.iter().take(count).enumerate().map(pair).collect()
}

fn interval(values: &[(usize, f64)], seed: u64) -> Result<Interval> {
    let (clusters, values): (Vec<usize>, Vec<f64>) = values.iter().copied().unzip();
    let key = Key::new(seed, Purpose::Bootstrap);
    Ok(cluster_bootstrap(&values, &clusters, &BootstrapConfig::default(), key, mean)?)
}

fn side(rounds: &[Measurement], seed: u64) -> Result<Side> {
    let all = scores(rounds);
    let scored: Vec<(usize, f64)> = all.iter().filter_map(|(caption, score)| Some((*caption, (*score)?))).collect();
    let over = |pick: fn(&Measurement) -> &Vec<f64>| mean(&rounds.iter().flat_map(pick).copied().collect::<Vec<_>>());
    let tokens: Vec<_> = rounds.iter().flat_map(|round| round.played.tokens.iter().cloned()).collect();
    Ok(Side {
        reward: interval(&scored, seed)?,
        sequence_kl: over(|round| &round.sequence_kl),
        entropy: over(|round| &round.entropy),
        distinct_share: distinct_share(&tokens),
        unscorable: all.len() - scored.len(),
    })
}

fn write_clips(folder: &Path, captions: &[&str], rounds: &[Measurement], count: usize, rate_hz: u32) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let Some(round) = rounds.first() else { return Ok(()) };
    for (index, (caption, samples)) in captions.iter().zip(&round.played.audio).take(count).enumerate() {
        let path = folder.join(format!("{index:02}-{}.wav", slug(caption)));
        write_wav(&path, &Audio::from_mono(samples.clone(), rate_hz))?;
    }
    Ok(())
}
