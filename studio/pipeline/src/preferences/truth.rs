//! What is known of simulated listeners alone: the taste behind what they said.
//!
//! Clips are heard again, from their sounds or by decoding their tokens with the bundle that made them. Then the utility
//! that the population shares says how often an ideal scorer agrees with the choices, and how often it can expect to.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use musicrl_codec::decode::decode_file;
use musicrl_core::{
    policy::HierarchicalPolicyConfig,
    preference::{Outcome, agreement},
    random::Key,
    tokens::{TokenLayout, Tokens},
};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, Source};
use musicrl_rewards::{
    Properties,
    listeners::{ExactChoice, Population, Property, noise_ceiling},
};
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    Result,
    align::play::sound_key,
    bundle::{Bundle, part},
    music::Music,
};

/// Clips that are heard at once.
const CHUNK: usize = 16;

/// The properties of a set's clips, as far as they can be heard again.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardAgain {
    /// One a clip of the set, in its order.
    pub properties: Vec<Option<Properties>>,
    /// Why some cannot be heard, with their number.
    pub unheard: BTreeMap<String, usize>,
}

/// Mean and standard deviation of one property over clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PropertySpread {
    /// Its name.
    pub property: &'static str,
    /// On its own scale.
    pub mean: f64,
    /// On its own scale.
    pub spread: f64,
    /// After standardisation: 0 for clips like the embedded base's.
    pub standardised_mean: f64,
    /// After standardisation: 1 for clips like the embedded base's.
    pub standardised_spread: f64,
}

/// How one population's shared taste explains what its listeners said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// The population.
    pub population: String,
    /// Mean of the shared utility over clips.
    pub utility_mean: f64,
    /// Its standard deviation over clips.
    pub utility_spread: f64,
    /// Root mean square of its differences within judged pairs.
    pub difference: f64,
    /// Judgements whose clips were both heard again.
    pub judgements: usize,
    /// Share of decided ones that went as the shared utility says.
    pub ideal_accuracy: Option<f64>,
    /// What that share can be expected to be, from the exact probabilities of each listener.
    pub ceiling: Option<f64>,
}

/// A bundle that clips may come from.
struct Maker {
    identity: String,
    layout: TokenLayout,
    music: Music,
}

/// Hears the clips again. `bundles` are asked for clips without a sound in the set; `progress` is told how many clips are
/// done.
///
/// # Errors
/// When a part of a bundle is missing, and what `progress` returns. A clip that cannot be heard is counted, not an error.
pub fn hear(
    set: &PreferenceSet,
    bundles: &[Bundle],
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<HeardAgain> {
    let clips: Vec<&ClipRecord> = set.clips().iter().collect();
    let listen = |_: &ClipRecord, samples: &[f32], rate_hz| Ok(Properties::of(samples, rate_hz));
    let mut heard = HeardAgain { properties: Vec::with_capacity(clips.len()), unheard: BTreeMap::new() };
    for result in hear_each(set, &clips, bundles, device, progress, listen)? {
        if let Err(reason) = &result {
            *heard.unheard.entry(reason.clone()).or_default() += 1;
        }
        heard.properties.push(result.ok());
    }
    Ok(heard)
}

/// What `listen` makes of the sound of each of some clips (its samples, and how many of them a second has), or why it
/// cannot be heard. Otherwise as [`hear`].
///
/// # Errors
/// As [`hear`].
pub fn hear_each<T: Send>(
    set: &PreferenceSet,
    clips: &[&ClipRecord],
    bundles: &[Bundle],
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    listen: impl Fn(&ClipRecord, &[f32], u32) -> Heard<T> + Sync,
) -> Result<Vec<Heard<T>>> {
    let device = device.clone().inner();
    let makers = bundles.iter().map(|bundle| Maker::new(bundle, &device)).collect::<Result<Vec<_>>>()?;
    let mut heard = Vec::with_capacity(clips.len());
    for chunk in clips.chunks(CHUNK) {
        let of_chunk: Vec<Heard<T>> = chunk
            .par_iter()
            .map(|clip| {
                let (samples, rate_hz) = sound_of(set, clip, &makers)?;
                listen(clip, &samples, rate_hz)
            })
            .collect();
        heard.extend(of_chunk);
        progress(heard.len(), clips.len())?;
    }
    Ok(heard)
}

/// What was made of a clip's sound, or why it cannot be heard.
pub type Heard<T> = std::result::Result<T, String>;

impl Maker {
    fn new(bundle: &Bundle, device: &Device) -> Result<Self> {
        let policy: HierarchicalPolicyConfig = bundle.config(part::POLICY)?;
        Ok(Self { identity: bundle.identity(), layout: policy.layout, music: Music::load(bundle, device)? })
    }

    /// The clip's tokens, if they are this bundle's, with the key of its fine stage.
    fn tokens(&self, clip: &ClipRecord) -> Option<std::result::Result<(Tokens, Key), String>> {
        let origin = clip.origin.as_ref().filter(|origin| origin.bundle == self.identity)?;
        let tokens = Tokens::new(clip.tokens.clone(), clip.slots).and_then(|tokens| {
            self.layout.check(&tokens)?;
            Ok((tokens, sound_key(origin.seed, origin.step, origin.clip)))
        });
        Some(tokens.map_err(|error| format!("tokens that do not fit their bundle ({error})")))
    }
}

/// A clip's samples and how many of them a second has.
fn sound_of(set: &PreferenceSet, clip: &ClipRecord, makers: &[Maker]) -> Heard<(Vec<f32>, u32)> {
    if let Some(audio) = &clip.audio {
        let decoded = decode_file(&set.path().join(audio));
        let audio = decoded.map_err(|_| "a sound that is missing or cannot be decoded".to_string())?.audio;
        return Ok((audio.mono(), audio.sample_rate_hz));
    }
    if clip.tokens.is_empty() || clip.origin.is_none() {
        return Err("neither a sound nor tokens of a known bundle".into());
    }
    let found = makers.iter().find_map(|maker| Some((maker, maker.tokens(clip)?)));
    let Some((maker, tokens)) = found else {
        return Err("no sound, and the bundle that made it was not given".into());
    };
    let (tokens, key) = tokens?;
    let mut sound = maker.music.sound(&[tokens], &[key]).map_err(|error| error.to_string())?;
    Ok((sound.pop().unwrap_or_default(), maker.music.sample_rate_hz()))
}

/// The simulated populations that judged in a set, by name.
#[must_use]
pub fn populations_of(set: &PreferenceSet) -> BTreeSet<String> {
    let simulated = set.judgements().iter().filter_map(|judgement| match &judgement.source {
        Source::Simulated { population } => Some(population.clone()),
        Source::Human => None,
    });
    simulated.collect()
}

/// The properties' spread over the clips that were heard.
#[must_use]
pub fn spreads(heard: &HeardAgain) -> Vec<PropertySpread> {
    let all: Vec<&Properties> = heard.properties.iter().flatten().collect();
    let spread = |property: Property| {
        let raw: Vec<f64> = all.iter().map(|properties| property.raw(properties)).collect();
        let standardised: Vec<f64> = all.iter().map(|properties| property.standardised(properties)).collect();
        let ((mean, spread), (standardised_mean, standardised_spread)) = (moments(&raw), moments(&standardised));
        PropertySpread { property: property.name(), mean, spread, standardised_mean, standardised_spread }
    };
    if all.is_empty() { Vec::new() } else { Property::ALL.map(spread).to_vec() }
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// What each judgement of `set` by a listener of `population` was likely to be; `None` for those of others, those that do
/// not count and those whose clips could not be heard. Listeners' sessions are counted in the order of the records.
#[must_use]
pub fn exact_choices(set: &PreferenceSet, heard: &HeardAgain, population: &Population) -> Vec<Option<ExactChoice>> {
    let places = places(set, heard);
    let mut judged: BTreeMap<u64, usize> = BTreeMap::new();
    let mut exact = |judgement: &JudgementRecord| {
        let ours = matches!(&judgement.source, Source::Simulated { population: name } if *name == population.name);
        let index = population.index_of(&judgement.listener).filter(|_| ours)?;
        let judged = judged.entry(index).or_default();
        let nth = *judged % population.session_pairs.max(1);
        *judged += 1;
        let (a, b) = (places.get(judgement.a.as_str())?, places.get(judgement.b.as_str())?);
        judgement.counts().then(|| {
            let listener = population.listener(index, population.key());
            let shared_difference = population.taste.utility(a) - population.taste.utility(b);
            let probabilities = listener.probabilities(listener.taste.utility(a), listener.taste.utility(b), nth);
            ExactChoice { shared_difference, probabilities }
        })
    };
    set.judgements().iter().map(&mut exact).collect()
}

fn places<'a>(set: &'a PreferenceSet, heard: &'a HeardAgain) -> BTreeMap<&'a str, &'a Properties> {
    let clips = set.clips().iter().zip(&heard.properties);
    clips.filter_map(|(clip, properties)| Some((clip.id.as_str(), properties.as_ref()?))).collect()
}

/// How the taste that `population` shares explains what its listeners said in `set`. `None` when none of their pairs
/// could be heard again.
#[must_use]
pub fn truth(set: &PreferenceSet, heard: &HeardAgain, population: &Population) -> Option<Truth> {
    let utilities: Vec<f64> =
        places(set, heard).values().map(|properties| population.taste.utility(properties)).collect();
    let (utility_mean, utility_spread) = moments(&utilities);
    let (mut exact, mut outcomes): (Vec<ExactChoice>, Vec<Outcome>) = (Vec::new(), Vec::new());
    for (judgement, choice) in set.judgements().iter().zip(exact_choices(set, heard, population)) {
        if let Some(choice) = choice {
            exact.push(choice);
            outcomes.push(judgement.outcome);
        }
    }
    let differences: Vec<f64> = exact.iter().map(|choice| choice.shared_difference).collect();
    if exact.is_empty() {
        return None;
    }
    let squares = differences.iter().map(|difference| difference * difference).sum::<f64>();
    Some(Truth {
        population: population.name.clone(),
        utility_mean,
        utility_spread,
        difference: (squares / differences.len() as f64).sqrt(),
        judgements: exact.len(),
        ideal_accuracy: agreement(&differences, &vec![0.0; differences.len()], &outcomes),
        ceiling: noise_ceiling(&exact),
    })
}

#[cfg(test)]
mod tests {
    use musicrl_rewards::listeners::catalogue;

    use super::*;

    #[test]
    fn the_ceiling_is_near_what_the_ideal_scorer_reaches() {
        let folder = tempfile::tempdir().unwrap();
        let mut set = PreferenceSet::create(&folder.path().join("set")).unwrap();
        let village = catalogue::population("village").unwrap();
        let mut stream = Key::new(1, musicrl_core::random::Purpose::Test).stream();
        let count = 1200;
        let mut properties = Vec::new();
        for _ in 0..count {
            let mut near = |property: Property| {
                let (mean, spread) = property.mean_and_spread();
                mean + spread * stream.normal()
            };
            properties.push(Properties {
                tempo_steadiness: near(Property::TempoSteadiness),
                consonance: near(Property::Consonance),
                loudness_db: near(Property::Loudness),
                dynamics_db: near(Property::Dynamics),
                brightness_hz: near(Property::Brightness).exp2(),
                repetition: near(Property::Repetition),
            });
        }
        set.add_clips((0..count).map(|n| ClipRecord::new(format!("c{n}"), "", "base")).collect()).unwrap();
        let judgements = (0..count / 2).map(|pair| {
            let listener = village.listener(pair as u64 / 20, village.key());
            let utility = |clip: usize| listener.taste.utility(&properties[clip]);
            let key = Key::new(2, musicrl_core::random::Purpose::Test).clip(pair as u64);
            let outcome = listener.choose(utility(2 * pair), utility(2 * pair + 1), pair % 20, key);
            let source = Source::Simulated { population: "village".into() };
            JudgementRecord::new(format!("c{}", 2 * pair), format!("c{}", 2 * pair + 1), outcome, listener.name, source)
        });
        set.add_judgements(judgements.collect()).unwrap();
        let heard = HeardAgain { properties: properties.into_iter().map(Some).collect(), unheard: BTreeMap::new() };
        let known = truth(&set, &heard, &village).unwrap();
        assert_eq!(known.judgements, count / 2);
        let (ceiling, reached) = (known.ceiling.unwrap(), known.ideal_accuracy.unwrap());
        assert!((ceiling - reached).abs() < 4.0 * 0.5 / (count as f64 / 2.0).sqrt(), "{known:?}");
        assert!(ceiling > 0.7, "{known:?}");
        // Another population said nothing here.
        assert_eq!(truth(&set, &heard, &catalogue::population("town").unwrap()), None);
        for spread in spreads(&heard) {
            assert!(
                spread.standardised_mean.abs() < 0.2 && (spread.standardised_spread - 1.0).abs() < 0.1,
                "{spread:?}"
            );
        }
    }

    #[test]
    fn clips_that_cannot_be_heard_are_counted_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let mut set = PreferenceSet::create(&folder.path().join("set")).unwrap();
        let silent = ClipRecord::new("a", "", "base");
        let gone = ClipRecord { audio: Some("audio/gone.wav".into()), ..ClipRecord::new("b", "", "base") };
        set.add_clips(vec![silent, gone]).unwrap();
        let heard = hear(&set, &[], &Device::flex(), &mut |_, _| Ok(())).unwrap();
        assert_eq!((heard.unheard.len(), heard.properties), (2, vec![None, None]));
    }
}
