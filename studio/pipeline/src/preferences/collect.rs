//! Preferences of simulated listeners, collected on what one or several systems play.
//!
//! Pair `p` is two clips of one caption; captions come in epochs, each in an order of its own. With one system both
//! clips are its own; with several, two different systems meet, every two of them in turn. Clips `2p` and `2p + 1` draw
//! the random numbers of a step that no training reaches, so pair `p` is the same however many pairs are asked for, and a
//! collection can be continued. What is written is whole chunks of pairs: clips first, then what was said of them.

use std::{fs, path::Path};

use burn::tensor::Device;
use musicrl_codec::{audio::Audio, write::write_wav};
use musicrl_feedback::{JudgementRecord, PreferenceSet, RatingRecord, Source, set::AUDIO_DIR};
use musicrl_rewards::listeners::{Listener, Population};

use super::{
    plan::{Plan, Planned},
    player::{Heard, Player, play_pairs},
    settings::{CollectSettings, System, collection_of, same_collection},
};
use crate::{Error, Result, run::lock};

/// Collects into `out`, a new folder or one that holds the beginning of the same collection. `progress` is told how many
/// of how many pairs are done after each chunk; an error of its own ends the collection there, with all that was done
/// kept.
///
/// # Errors
/// [`Error::Config`] for bad settings; [`Error::File`] when `out` holds something else or was collected otherwise;
/// [`Error::Busy`] while another process writes there; when a part of a bundle is missing; [`Error::Io`].
pub fn collect(
    systems: &[System],
    settings: &CollectSettings,
    out: &Path,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<PreferenceSet> {
    settings.check(systems)?;
    let device = device.clone().inner();
    let players = systems.iter().map(|system| Player::new(system, settings, &device)).collect::<Result<Vec<_>>>()?;
    if !out.join("set.json").exists() {
        PreferenceSet::create(out)?;
    }
    let _lock = lock(out)?;
    let mut set = PreferenceSet::open(out)?;
    same_collection(&set, &collection_of(systems, settings)?)?;

    let population = &settings.population;
    let listeners: Vec<Listener> =
        (0..settings.listeners as u64).map(|index| population.listener(index, population.key())).collect();
    let mut plan = Plan::new(settings.seed, settings.listeners, population.session_pairs, settings.repeat_every);
    let mut begun = false;
    let chunk = settings.batch.div_ceil(2);
    for first in (0..settings.pairs).step_by(chunk) {
        let pairs = first..settings.pairs.min(first + chunk);
        let before = plan.judgements();
        let planned: Vec<Planned> = pairs.clone().flat_map(|_| plan.next_pair()).collect();
        let ratings_before = 2 * first * settings.raters;
        let ratings_after = 2 * pairs.end * settings.raters;
        if set.judgements().len() >= plan.judgements() && set.ratings().len() >= ratings_after {
            continue;
        }
        if !begun {
            begun = true;
            progress(first, settings.pairs)?;
        }
        let clips = play_pairs(&players, settings, pairs.clone())?;
        write_clips(&mut set, &clips)?;
        let done = set.judgements().len().saturating_sub(before);
        let judgements = planned.iter().skip(done).map(|planned| judge(planned, first, &clips, &listeners, settings));
        set.add_judgements(judgements.collect())?;
        if settings.raters > 0 {
            let ratings = rate(&plan, first, &clips, &listeners, settings);
            let done = set.ratings().len().saturating_sub(ratings_before);
            set.add_ratings(ratings.into_iter().skip(done).collect())?;
        }
        progress(pairs.end, settings.pairs)?;
    }
    Ok(set)
}

/// Adds those that a chunk that was cut off has not left there.
fn write_clips(set: &mut PreferenceSet, clips: &[Heard]) -> Result<()> {
    let keep_sound = clips.first().is_some_and(|clip| clip.record.audio.is_some());
    let new: Vec<&Heard> = clips.iter().filter(|clip| set.clip(&clip.record.id).is_none()).collect();
    if keep_sound {
        let folder = set.path().join(AUDIO_DIR);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        for clip in &new {
            let audio = Audio::from_mono(clip.samples.clone(), clip.sample_rate_hz);
            write_wav(&folder.join(format!("{}.wav", clip.record.id)), &audio)?;
        }
    }
    Ok(set.add_clips(new.iter().map(|clip| clip.record.clone()).collect())?)
}

fn source(population: &Population) -> Source {
    Source::Simulated { population: population.name.clone() }
}

fn judge(
    planned: &Planned,
    first_pair: usize,
    clips: &[Heard],
    listeners: &[Listener],
    settings: &CollectSettings,
) -> JudgementRecord {
    let at = 2 * (planned.pair as usize - first_pair);
    let (mut a, mut b) = (&clips[at], &clips[at + 1]);
    if planned.swapped {
        std::mem::swap(&mut a, &mut b);
    }
    let listener = &listeners[planned.listener as usize];
    let utility = |clip: &Heard| listener.taste.utility(&clip.properties);
    let utilities = (utility(a), utility(b));
    let outcome = listener.choose(utilities.0, utilities.1, planned.nth, planned.key);
    let sure = |noise| listener.confidence(utilities, planned.nth, outcome, noise, planned.key);
    let confidence = settings.confidence_noise.map_or(1.0, sure);
    let (a, b) = (a.record.id.as_str(), b.record.id.as_str());
    let said = JudgementRecord::new(a, b, outcome, listener.name.as_str(), source(&settings.population));
    JudgementRecord { confidence, ..said }
}

fn rate(
    plan: &Plan,
    first_pair: usize,
    clips: &[Heard],
    listeners: &[Listener],
    settings: &CollectSettings,
) -> Vec<RatingRecord> {
    let numbered = clips.iter().zip(2 * first_pair as u64..);
    numbered
        .flat_map(|(clip, number)| plan.raters(number, settings.raters).map(move |rater| (clip, rater)))
        .map(|(clip, (rater, key))| {
            let listener = &listeners[rater as usize];
            RatingRecord {
                clip: clip.record.id.clone(),
                rating: listener.rate(listener.taste.utility(&clip.properties), key),
                rater: listener.name.clone(),
                source: source(&settings.population),
            }
        })
        .collect()
}
