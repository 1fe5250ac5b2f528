//! The listeners of a study of personal reward models: simulated ones who are asked about a set's own pairs, or those of
//! the set who said most.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use musicrl_core::{
    preference::Judgement,
    random::{Key, Purpose},
};
use musicrl_feedback::{ClipRecord, Source};
use musicrl_rewards::{
    Properties,
    listeners::{ExactChoice, Population},
};

use super::PersonalInput;
use crate::{
    Error, Result, bundle::Bundle, preference::PreferenceData, preferences::truth::hear_each, study::heard::taken_of,
};

/// A listener and what they said of the set's pairs.
pub(super) struct Judge {
    pub(super) name: String,
    pub(super) source: Source,
    /// Their judgements.
    pub(super) data: PreferenceData,
    /// The pair of the set's data that each is on.
    pub(super) of: Vec<usize>,
    /// Of simulated listeners, by their own taste.
    pub(super) exact: Option<Vec<ExactChoice>>,
}

/// Which random numbers of [`Purpose::Listener`] are drawn here; collections draw those of the steps before.
const PERSONAL: u64 = 3;

/// The action of a judgement's key that decides which clip comes first, as in a collection.
const ORDER: u64 = 1;

impl Judge {
    /// The name, as a file has it.
    pub(super) fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        self.name.chars().map(plain).collect()
    }
}

/// The listeners that the settings ask for.
pub(super) fn judges(
    input: &PersonalInput<'_>,
    notes: &mut Vec<String>,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Judge>> {
    match &input.settings.population {
        Some(name) => {
            let known = || input.populations.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
            let population = input.populations.iter().find(|population| population.name == *name);
            let population =
                population.ok_or_else(|| Error::config("population", format!("one of {}", known()), name))?;
            ask(input, population, notes, device, progress)
        }
        None => those_who_said_most(input),
    }
}

/// Individuals who judged nothing in the set are asked about each of its pairs of clips, once.
fn ask(
    input: &PersonalInput<'_>,
    population: &Population,
    notes: &mut Vec<String>,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Judge>> {
    let PersonalInput { set, data, bundle, makers, settings, .. } = *input;
    let taken = taken_of(set, &settings.training.data, data)?;
    // A pair of clips that was judged twice is asked about once.
    let mut seen = BTreeSet::new();
    let asked: Vec<usize> = (0..taken.len())
        .filter(|at| {
            let pair = data.pairs()[*at];
            seen.insert((pair.a.min(pair.b), pair.a.max(pair.b)))
        })
        .collect();
    let used: BTreeSet<&str> = taken.iter().flat_map(|it| [it.a.as_str(), it.b.as_str()]).collect();
    let clips: Vec<&ClipRecord> = set.clips().iter().filter(|clip| used.contains(clip.id.as_str())).collect();
    let bundles: Vec<Bundle> = std::iter::once(bundle).chain(makers).cloned().collect();
    let listen = |_: &ClipRecord, samples: &[f32], rate_hz| Ok(Properties::of(samples, rate_hz));
    let heard = hear_each(set, &clips, &bundles, device, progress, listen)?;
    let properties: BTreeMap<&str, &Properties> =
        clips.iter().zip(&heard).filter_map(|(clip, heard)| Some((clip.id.as_str(), heard.as_ref().ok()?))).collect();
    if let Some(reason) = heard.iter().find_map(|heard| heard.as_ref().err()) {
        let count = clips.len() - properties.len();
        notes.push(format!("{count} of {} clips cannot be heard: {reason}", clips.len()));
    }
    let first =
        set.judgements().iter().filter_map(|it| population.index_of(&it.listener)).max().map_or(0, |most| most + 1);
    let listeners = first..first + settings.listeners as u64;
    listeners
        .map(|index| {
            let listener = population.listener(index, population.key());
            let (mut judgements, mut of, mut exact) = (Vec::new(), Vec::new(), Vec::new());
            for (n, at) in asked.iter().enumerate() {
                let (pair, record) = (data.pairs()[*at], taken[*at]);
                let both = properties.get(record.a.as_str()).zip(properties.get(record.b.as_str()));
                let Some((properties_a, properties_b)) = both else { continue };
                let key = Key::new(settings.seed, Purpose::Listener).step(PERSONAL).clip((index << 32) | n as u64);
                let (mut a, mut b) = (listener.taste.utility(properties_a), listener.taste.utility(properties_b));
                let (mut clip_a, mut clip_b) = (pair.a, pair.b);
                if key.uniform(ORDER) < 0.5 {
                    std::mem::swap(&mut a, &mut b);
                    std::mem::swap(&mut clip_a, &mut clip_b);
                }
                let nth = of.len() % population.session_pairs.max(1);
                judgements.push((clip_a, clip_b, Judgement::from(listener.choose(a, b, nth, key))));
                // The ideal scorer of one listener has that listener's taste.
                exact.push(ExactChoice { shared_difference: a - b, probabilities: listener.probabilities(a, b, nth) });
                of.push(*at);
            }
            Ok(Judge {
                data: data.with_judgements(&judgements)?,
                source: Source::Simulated { population: population.name.clone() },
                name: listener.name,
                of,
                exact: Some(exact),
            })
        })
        .collect()
}

/// The listeners with the most judgements in the set.
fn those_who_said_most(input: &PersonalInput<'_>) -> Result<Vec<Judge>> {
    let PersonalInput { set, data, settings, .. } = *input;
    let taken = taken_of(set, &settings.training.data, data)?;
    let mut by_listener: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, judgement) in taken.iter().enumerate() {
        by_listener.entry(judgement.listener.as_str()).or_default().push(at);
    }
    if by_listener.len() <= settings.listeners {
        let expected = "fewer than the set's listeners, so that a shared model can be learned from the others";
        return Err(Error::config("listeners", format!("{expected} ({})", by_listener.len()), settings.listeners));
    }
    let mut order: Vec<(&str, Vec<usize>)> = by_listener.into_iter().collect();
    order.sort_by_key(|(_, of)| std::cmp::Reverse(of.len()));
    let judge = |(name, of): (&str, Vec<usize>)| {
        let said = |at: &usize| (data.pairs()[*at].a, data.pairs()[*at].b, data.pairs()[*at].judgement);
        let judgements: Vec<(usize, usize, Judgement)> = of.iter().map(said).collect();
        let source = of.first().map_or(Source::Human, |at| taken[*at].source.clone());
        Ok(Judge { name: name.into(), source, data: data.with_judgements(&judgements)?, of, exact: None })
    };
    order.into_iter().take(settings.listeners).map(judge).collect()
}
