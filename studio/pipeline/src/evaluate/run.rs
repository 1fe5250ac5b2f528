//! An evaluation from beginning to end.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use musicrl_core::stats::mean;
use musicrl_rewards::TextAudioModel;
use rayon::prelude::*;

use super::{
    best_of::best_of_notes,
    distribution::{Embedded, distribution_report, embed},
    form::{Export, Key, KeySystem},
    listen::{ClipReport, Ears, Heard, listen},
    measures::{MeasureReport, Scores, measure_report},
    panel::simulated_panel,
    panel_report::panel_report,
    prompts::Prompts,
    ratings::{PanelRatings, label},
    ratings_file::RatingsInput,
    reference::{Reference, ReferenceSource},
    report::{Evaluation, FORMAT_VERSION, Listening, MadeBy, SoundReport},
    settings::{EvaluateSettings, StatisticsSettings},
    system::{System, SystemInfo, differences},
};
use crate::{
    Error, Result,
    align::{diversity::distinct_share, judges::Judges},
    bundle::part,
    music::load_text_audio,
    run::{Machine, Versions},
};

/// Reference clips that are embedded between two calls of the progress.
const REFERENCE_PART: usize = 16;

/// What is evaluated.
#[derive(Debug, Clone)]
pub struct EvaluateInput<'a> {
    /// The systems, one at least; the first one's bundle judges.
    pub systems: &'a [System],
    /// What they play.
    pub prompts: Prompts,
    /// How.
    pub settings: EvaluateSettings,
    /// Ratings from outside.
    pub ratings: Option<RatingsInput>,
    /// A new folder for blinded clips, and how many raters its form is for.
    pub export: Option<(PathBuf, usize)>,
    /// Name of the backend, for the record.
    pub backend: &'a str,
}

/// Ratings from outside alone: nothing is played.
///
/// # Errors
/// [`Error::Config`] for ratings or settings that break a rule.
pub fn evaluate_ratings(input: &RatingsInput, statistics: &StatisticsSettings, seed: u64) -> Result<Evaluation> {
    statistics.validate()?;
    let names: Vec<String> = input.systems.iter().map(|(name, _)| name.clone()).collect();
    let prompts = Prompts {
        source: "ratings".into(),
        sha256: Prompts::new("ratings", input.prompts.iter().cloned())?.sha256,
        captions: input.prompts.clone(),
    };
    let report = |panel: &PanelRatings| panel_report(&names, panel, &statistics.bootstrap, seed);
    let info =
        |(name, sha256): &(String, Option<String>)| SystemInfo { sha256: sha256.clone(), ..SystemInfo::named(name) };
    Ok(Evaluation {
        format_version: FORMAT_VERSION,
        made_by: made_by(""),
        seed,
        statistics: statistics.clone(),
        systems: input.systems.iter().map(info).collect(),
        prompts,
        rated_prompts: None,
        panels: input.panels.iter().map(report).collect::<Result<_>>()?,
        ratings: input.panels.clone(),
        unfilled: input.unfilled,
        listening: None,
        notes: Vec::new(),
    })
}

fn made_by(backend: &str) -> MadeBy {
    let versions = Versions::new(backend, 0, Machine::default());
    MadeBy { musicrl: versions.musicrl, burn: versions.burn, backend: versions.backend }
}

/// Plays all prompts on all systems, lets everybody rate and judge, and compares. `progress` is told the clips done and
/// their number.
///
/// # Errors
/// [`Error::Config`] for settings, systems and ratings that do not fit; those of models and files; whatever `progress`
/// says.
pub fn evaluate(
    input: &EvaluateInput<'_>,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Evaluation> {
    let (systems, settings) = (input.systems, &input.settings);
    settings.validate()?;
    let Some(judge) = systems.first() else { return Err(Error::config("systems", "at least one", "none")) };
    let names: Vec<String> = systems.iter().map(|system| system.name.clone()).collect();
    let prompts = &input.prompts.captions;
    let clips_each = prompts.len() * settings.play.takes;
    let infos = systems.iter().map(|system| system.info(clips_each)).collect::<Result<Vec<_>>>()?;
    let mut notes = differences(systems)?;
    notes.extend(best_of_notes(systems, clips_each));
    notes.extend(lengths(systems, settings.play.clip_seconds));
    let outside = input.ratings.as_ref().map(|ratings| adopt(ratings, &infos, &mut notes)).transpose()?;
    let same_clips = input.ratings.as_ref().and_then(|ratings| ratings.play.as_ref()) == Some(&settings.play)
        && input.ratings.as_ref().is_some_and(|ratings| ratings.prompts == input.prompts.captions);
    if input.ratings.is_some() && !same_clips {
        notes.push("the ratings from outside are of other clips than those that are played and measured here".into());
    }
    let device = device.clone().inner();
    let embedding = load_text_audio(&judge.bundle, &device)?;
    // A judge that cannot be had is no reason to have played for hours.
    for best in systems.iter().filter_map(|system| system.best_of.as_ref()) {
        Judges::of_recipe(&best.rewards, &best.judges, &device)?;
    }
    let panel = settings.panel.as_ref().map(simulated_panel).transpose()?;
    let rate = infos.first().and_then(|info| info.sample_rate_hz).unwrap_or(16_000);
    let form = (rate, settings.play.clip_seconds);
    let reference = Reference::choose(&settings.reference, &judge.bundle, form, clips_each, settings.play.seed)?;
    let export = match &input.export {
        Some((dir, _)) => Some(begin_export(dir, input, &infos)?),
        None => None,
    };
    let ears = Ears::new(&judge.bundle, &embedding, &settings.measures, panel.as_ref(), export.as_ref(), &device)?;

    let reference_clips: usize = reference.as_ref().map_or(0, |reference| reference.len().iter().sum());
    let total = clips_each * systems.len() + reference_clips;
    let mut done = 0;
    progress(0, total)?;
    let mut count = |clips: usize| {
        done += clips;
        progress(done, total)
    };
    let mut heard = Vec::with_capacity(systems.len());
    for (at, system) in systems.iter().enumerate() {
        let of_system = listen((at, system), prompts, settings, &ears, &device, &mut count)?;
        if of_system.unchosen > 0 {
            let (name, clips) = (&system.name, of_system.unchosen);
            notes.push(format!("{name}: no candidate of {clips} clips could be scored; their first ones are heard"));
        }
        heard.push(of_system);
    }
    let reference = match reference {
        Ok(reference) => Some(hear_reference(&reference, &embedding, &mut count)?),
        Err(reason) => {
            notes.push(format!("no Frechet distance and no discrepancy: {reason}"));
            None
        }
    };
    drop(ears);
    if let (Some(export), Some((_, raters))) = (export, &input.export) {
        export.finish(*raters)?;
    }

    let mut ratings = outside.unwrap_or_default();
    let from_outside = ratings.len();
    if let Some(panel) = &panel {
        let list = heard.iter().flat_map(|heard| heard.ratings.iter().cloned()).collect();
        ratings.push(PanelRatings { source: panel.source().clone(), ratings: list });
    }
    let (seed, statistics) = (settings.play.seed, &settings.statistics);
    let report = |panel: &PanelRatings| panel_report(&names, panel, &statistics.bootstrap, seed);
    let panels = ratings.iter().map(report).collect::<Result<Vec<_>>>()?;
    let of_these_clips: Vec<(String, &PanelRatings)> = ratings
        .iter()
        .zip(&panels)
        .enumerate()
        .filter(|(at, _)| same_clips || *at >= from_outside)
        .map(|(_, (ratings, report))| (label(&report.source, report.raters.len()), ratings))
        .collect();
    let measures = settings.measures.iter().enumerate().map(|(at, name)| {
        measure_report(name, &names, &scores(&heard, at), &of_these_clips, &statistics.bootstrap, seed)
    });
    let measures = measures.collect::<Result<Vec<MeasureReport>>>()?;
    if !measures.is_empty() || reference.is_some() {
        notes.push(format!(
            "measures and embeddings are by the models of `{}`; a system that was aligned with a reward was made to \
             please it",
            judge.name
        ));
    }
    let sound = names.iter().zip(&heard).map(|(name, heard)| sound_report(name, heard)).collect();
    let (mut clips, mut embedded) = (Vec::new(), Vec::new());
    for (name, heard) in names.iter().zip(heard) {
        clips.extend(heard.clips);
        embedded.push((name.clone(), heard.embedded));
    }
    let distribution = distribution_report(embedded, reference, embedding.dim(), statistics.permutations, seed)?;
    Ok(Evaluation {
        format_version: FORMAT_VERSION,
        made_by: made_by(input.backend),
        seed,
        statistics: statistics.clone(),
        systems: infos,
        prompts: input.prompts.clone(),
        rated_prompts: input.ratings.as_ref().map(|r| &r.prompts).filter(|p| *p != prompts).cloned(),
        panels,
        ratings,
        unfilled: input.ratings.as_ref().map_or(0, |ratings| ratings.unfilled),
        listening: Some(Listening {
            settings: settings.clone(),
            judge: judge.name.clone(),
            judge_sha256: judge.bundle.sha256(part::TEXT_AUDIO).unwrap_or_default().to_string(),
            sound,
            measures,
            distribution,
            clips,
        }),
        notes,
    })
}

/// Says where the length of the clips is not that on which a system learned.
fn lengths(systems: &[System], seconds: f64) -> Vec<String> {
    let other = systems.iter().filter(|system| (system.bundle.clip_seconds() - seconds).abs() > 1e-9);
    other
        .map(|system| {
            format!("{} learned on clips of {} s and plays {seconds} s", system.name, system.bundle.clip_seconds())
        })
        .collect()
}

/// Ratings from outside with the systems numbered as here.
fn adopt(input: &RatingsInput, infos: &[SystemInfo], notes: &mut Vec<String>) -> Result<Vec<PanelRatings>> {
    let mut places = Vec::with_capacity(input.systems.len());
    for (name, sha256) in &input.systems {
        let place = infos.iter().position(|info| info.name == *name);
        let Some(at) = place else {
            notes.push(format!("ratings of `{name}` are left out: no system here has that name"));
            places.push(None);
            continue;
        };
        if let (Some(rated), Some(here)) = (sha256, &infos[at].sha256)
            && rated != here
        {
            let (expected, got) = (format!("the system that was rated ({rated})"), format!("another ({here})"));
            return Err(Error::config(format!("system `{name}`"), expected, got));
        }
        places.push(place);
    }
    if let Some(info) = infos.iter().find(|info| !input.systems.iter().any(|(name, _)| *name == info.name)) {
        let known: Vec<&str> = input.systems.iter().map(|(name, _)| name.as_str()).collect();
        let expected = format!("one that the ratings name ({})", known.join(", "));
        return Err(Error::config("system", expected, &info.name));
    }
    let renumber = |panel: &PanelRatings| {
        let ratings = panel.ratings.iter().filter_map(|rating| {
            let system = places.get(rating.system).copied().flatten()?;
            Some(super::Rating { system, ..rating.clone() })
        });
        PanelRatings { source: panel.source.clone(), ratings: ratings.collect() }
    };
    Ok(input.panels.iter().map(renumber).collect())
}

fn begin_export(dir: &Path, input: &EvaluateInput<'_>, infos: &[SystemInfo]) -> Result<Export> {
    let system =
        |info: &SystemInfo| KeySystem { name: info.name.clone(), sha256: info.sha256.clone().unwrap_or_default() };
    let systems = infos.iter().map(system).collect();
    Export::create(dir, Key::deal(input.settings.play.clone(), systems, input.prompts.captions.clone()))
}

type HeardReference = (ReferenceSource, Embedded, Embedded);

fn hear_reference(
    reference: &Reference,
    embedding: &TextAudioModel,
    count: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<HeardReference> {
    let [clips, floor] = reference.len();
    let mut sides = [Embedded::default(), Embedded::default()];
    let all: Vec<usize> = (0..clips + floor).collect();
    for part in all.chunks(REFERENCE_PART) {
        let heard: Vec<Result<_>> = part
            .par_iter()
            .map(|at| {
                let clip = reference.clip(*at)?;
                let row = embed(embedding, &[&clip.audio], clip.sample_rate_hz)?.pop().flatten();
                Ok((row, clip.track))
            })
            .collect();
        for (at, heard) in part.iter().zip(heard) {
            let (row, track) = heard?;
            sides[usize::from(*at >= clips)].push(row, track);
        }
        count(part.len())?;
    }
    let [reference_side, floor_side] = sides;
    Ok((reference.source().clone(), reference_side, floor_side))
}

/// The scores of measure `at`, by system.
fn scores(heard: &[Heard], at: usize) -> Scores {
    let of = |clip: &ClipReport| ((clip.prompt, clip.take), clip.scores.get(at).copied().flatten());
    heard.iter().map(|heard| heard.clips.iter().map(of).collect::<BTreeMap<_, _>>()).collect()
}

fn sound_report(system: &str, heard: &Heard) -> SoundReport {
    let over = |pick: &dyn Fn(&ClipReport) -> f64| mean(&heard.clips.iter().map(pick).collect::<Vec<_>>());
    let share = |holds: bool| if holds { 1.0 } else { 0.0 };
    let levels: Vec<f64> = heard.clips.iter().filter_map(|clip| clip.signal.rms_db).collect();
    SoundReport {
        system: system.into(),
        clips: heard.clips.len(),
        mean_rms_db: (!levels.is_empty()).then(|| mean(&levels)),
        silent_clips: over(&|clip| share(clip.signal.is_silent())),
        silent_time: over(&|clip| clip.signal.silent_share),
        clipped_clips: over(&|clip| share(clip.signal.clipped_share > 0.0)),
        clipped_samples: over(&|clip| clip.signal.clipped_share),
        distinct_share: distinct_share(&heard.tokens),
    }
}

#[cfg(test)]
mod tests {
    use musicrl_feedback::Source;

    use super::{super::Rating, *};

    fn input() -> RatingsInput {
        let rating = |system, rater: &str, rating| Rating { system, prompt: 0, take: 0, rater: rater.into(), rating };
        let ratings = vec![rating(0, "x", 4.0), rating(1, "x", 3.0), rating(0, "y", 2.0)];
        RatingsInput {
            systems: vec![("a".into(), Some("hash".into())), ("b".into(), None)],
            prompts: vec!["a waltz".into()],
            panels: vec![PanelRatings { source: Source::Human, ratings }],
            unfilled: 1,
            play: None,
        }
    }

    #[test]
    fn ratings_alone_make_a_report_that_is_read_back() {
        let made = evaluate_ratings(&input(), &StatisticsSettings::default(), 1).unwrap();
        assert_eq!((made.panels[0].pairs[0].tally.wins, made.panels[0].pairs[0].unpaired), (1, 1));
        assert_eq!((made.systems[0].sha256.as_deref(), made.unfilled), (Some("hash"), 1));
        let read: Evaluation = serde_json::from_slice(&made.to_json().unwrap()).unwrap();
        assert_eq!(read, made);
        assert!(made.panels[0].label.contains("human"));
    }

    #[test]
    fn outside_ratings_find_their_systems() {
        let info = |name: &str, sha256: &str| SystemInfo { sha256: Some(sha256.into()), ..SystemInfo::named(name) };
        let mut notes = Vec::new();
        // The order here is another one.
        let panels = adopt(&input(), &[info("b", "any"), info("a", "hash")], &mut notes).unwrap();
        assert_eq!(panels[0].ratings.iter().map(|rating| rating.system).collect::<Vec<_>>(), [1, 0, 1]);
        let panels = adopt(&input(), &[info("b", "any")], &mut notes).unwrap();
        assert!(panels[0].ratings.len() == 1 && notes[0].contains("`a`"));
        let error = adopt(&input(), &[info("a", "other")], &mut notes).unwrap_err().to_string();
        assert!(error.contains("hash") && error.contains("other"), "{error}");
        let error = adopt(&input(), &[info("c", "any")], &mut notes).unwrap_err().to_string();
        assert!(error.contains("a, b") && error.contains('c'), "{error}");
    }
}
