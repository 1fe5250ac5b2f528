//! What is made of the clips' sounds: [`Listened`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use burn::tensor::Device;
use musicrl_core::reward::{AudioView, Clip, Reward, Score, TokensView};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, Source};
use musicrl_rewards::{
    AcousticQuality, Properties, TextAdherence,
    listeners::{ExactChoice, Population, Property},
};
use serde::{Deserialize, Serialize};

use super::{hears::Terms, variant::Predictor};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
    music::{load_quality, load_text_audio},
    preference::{DataConfig, PreferenceData},
    preferences::truth::{Heard, HeardAgain, exact_choices, hear_each, populations_of},
};

/// A set whose clips are heard.
#[derive(Debug, Clone, Copy)]
pub struct ToHear<'a> {
    /// The set.
    pub set: &'a PreferenceSet,
    /// Which of its judgements were taken.
    pub taken: &'a DataConfig,
    /// Their pairs.
    pub data: &'a PreferenceData,
    /// Its models judge; clips without a sound are decoded by it.
    pub bundle: &'a Bundle,
    /// Other bundles that played clips of the set.
    pub makers: &'a [Bundle],
    /// The populations whose tastes are known.
    pub populations: &'a [Population],
}

/// What was heard, one entry a pair of the data.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listened {
    /// Text adherence of a minus that of b, where both could be judged.
    pub text_adherence: Vec<Option<f64>>,
    /// Acoustic quality of a minus that of b, likewise; empty where the bundle has no such part.
    pub acoustic_quality: Vec<Option<f64>>,
    /// Of simulated listeners whose taste is known: difference of the shared utility, and P of better-a, better-b, tie.
    pub exact: Vec<Option<[f64; 4]>>,
    /// Differences of the terms of that taste, in the order of [`Property::ALL`].
    #[serde(default)]
    pub terms: Vec<Option<Terms>>,
    /// What could not be heard, and why.
    pub notes: Vec<String>,
}

struct OfClip {
    properties: Properties,
    text_adherence: Option<Heard<f64>>,
    acoustic_quality: Option<Heard<f64>>,
}

impl Listened {
    /// Hears the clips of all pairs.
    ///
    /// # Errors
    /// When a part of a bundle is missing or does not fit, and what `progress` returns.
    pub fn to(
        input: &ToHear<'_>,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let device = device.clone().inner();
        let ToHear { set, taken, data, bundle, makers, .. } = *input;
        let judgements = taken_of(set, taken, data)?;
        let adherence = has(bundle, part::TEXT_AUDIO)
            .then(|| load_text_audio(bundle, &device).map(TextAdherence::new))
            .transpose()?;
        let quality =
            has(bundle, part::QUALITY).then(|| load_quality(bundle, &device).map(AcousticQuality::new)).transpose()?;
        let used: BTreeSet<&str> =
            judgements.iter().flat_map(|judgement| [judgement.a.as_str(), judgement.b.as_str()]).collect();
        let clips: Vec<&ClipRecord> = set.clips().iter().filter(|clip| used.contains(clip.id.as_str())).collect();
        let bundles: Vec<Bundle> = std::iter::once(bundle).chain(makers).cloned().collect();
        let listen = |clip: &ClipRecord, samples: &[f32], rate_hz: u32| {
            Ok(OfClip {
                properties: Properties::of(samples, rate_hz),
                text_adherence: adherence.as_ref().map(|judge| score(judge, clip, samples, rate_hz)),
                acoustic_quality: quality.as_ref().map(|judge| score(judge, clip, samples, rate_hz)),
            })
        };
        let heard = hear_each(set, &clips, &bundles, &device, progress, listen)?;
        let mut unheard: BTreeMap<&str, usize> = BTreeMap::new();
        let mut of_clip: BTreeMap<&str, &OfClip> = BTreeMap::new();
        for (clip, result) in clips.iter().zip(&heard) {
            match result {
                Ok(heard) => _ = of_clip.insert(clip.id.as_str(), heard),
                Err(reason) => *unheard.entry(reason).or_default() += 1,
            }
        }
        let difference = |of: &dyn Fn(&OfClip) -> Option<f64>| -> Vec<Option<f64>> {
            let of = |id: &str| of_clip.get(id).and_then(|heard| of(heard));
            judgements.iter().map(|judgement| Some(of(&judgement.a)? - of(&judgement.b)?)).collect()
        };
        let mut notes: Vec<String> = unheard
            .iter()
            .map(|(reason, count)| format!("{count} of {} clips cannot be heard: {reason}", clips.len()))
            .collect();
        notes.extend(unjudged("text adherence", of_clip.values().map(|heard| &heard.text_adherence)));
        notes.extend(unjudged("acoustic quality", of_clip.values().map(|heard| &heard.acoustic_quality)));
        let properties = |clip: &ClipRecord| of_clip.get(clip.id.as_str()).map(|heard| heard.properties);
        let properties =
            HeardAgain { properties: set.clips().iter().map(properties).collect(), unheard: BTreeMap::new() };
        Ok(Self {
            text_adherence: difference(&|heard| heard.text_adherence.clone()?.ok()),
            acoustic_quality: if quality.is_some() {
                difference(&|heard| heard.acoustic_quality.clone()?.ok())
            } else {
                Vec::new()
            },
            exact: exact(input, &properties)?,
            terms: terms(input, &judgements, &|clip| of_clip.get(clip).map(|heard| &heard.properties)),
            notes,
        })
    }

    /// The scores' differences of a predictor, or why there are none.
    ///
    /// # Errors
    /// The reason.
    pub fn differences(&self, predictor: Predictor) -> std::result::Result<Vec<f64>, String> {
        let (all, name) = match predictor {
            Predictor::TextAdherence => (&self.text_adherence, "text adherence"),
            Predictor::AcousticQuality => (&self.acoustic_quality, "acoustic quality"),
        };
        if all.is_empty() {
            return Err("the bundle has no part that judges it".into());
        }
        let missing = all.iter().filter(|difference| difference.is_none()).count();
        if missing > 0 {
            return Err(format!("{missing} of {} pairs have no {name}", all.len()));
        }
        Ok(all.iter().flatten().copied().collect())
    }

    /// The exact probabilities of each pair, where all are known.
    #[must_use]
    pub fn exact_choices(&self) -> Option<Vec<ExactChoice>> {
        let choice =
            |[shared_difference, a, b, tie]: [f64; 4]| ExactChoice { shared_difference, probabilities: [a, b, tie] };
        let all: Option<Vec<ExactChoice>> = self.exact.iter().map(|exact| exact.map(choice)).collect();
        all.filter(|all| !all.is_empty())
    }

    /// The differences of terms of each pair, where all are known.
    #[must_use]
    pub fn all_terms(&self) -> Option<Vec<Terms>> {
        let all: Option<Vec<Terms>> = self.terms.iter().copied().collect();
        all.filter(|all| !all.is_empty())
    }

    /// Reads what [`to`](Self::to) gave and was written as JSON; `None` where the file is not there.
    ///
    /// # Errors
    /// [`Error::File`] for something else; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>> {
        super::file::read_json(path, "what a study heard")
    }
}

fn has(bundle: &Bundle, part: &str) -> bool {
    bundle.parts().any(|name| name == part)
}

fn score(judge: &dyn Reward, clip: &ClipRecord, samples: &[f32], sample_rate_hz: u32) -> Heard<f64> {
    let tokens = TokensView { ids: &clip.tokens, slots: clip.slots.max(1) };
    let audio = Some(AudioView { samples, sample_rate_hz });
    let scores = judge.score(&[Clip { caption: &clip.caption, tokens, audio }]).map_err(|error| error.to_string())?;
    match scores.into_iter().next() {
        Some(Score::Value(value)) => Ok(value),
        Some(Score::Unscorable(reason)) => Err(reason),
        None => Err("no score".into()),
    }
}

/// Says how many clips a judge could not judge, with the first reason.
fn unjudged<'a>(judge: &str, scores: impl Iterator<Item = &'a Option<Heard<f64>>>) -> Option<String> {
    let reasons: Vec<&String> = scores.filter_map(|score| score.as_ref()?.as_ref().err()).collect();
    let first = reasons.first()?;
    Some(format!("{judge} of {} clips cannot be told: {first}", reasons.len()))
}

/// The judgements behind the pairs of the data, in their order.
pub(super) fn taken_of<'a>(
    set: &'a PreferenceSet,
    taken: &DataConfig,
    data: &PreferenceData,
) -> Result<Vec<&'a JudgementRecord>> {
    let counts = |it: &&JudgementRecord| taken.takes(it) && it.judgement().counted_weight() > 0.0;
    let judgements: Vec<&JudgementRecord> = set.judgements().iter().filter(counts).collect();
    let same = judgements.len() == data.pairs().len()
        && judgements.iter().zip(data.pairs()).all(|(record, pair)| record.judgement() == pair.judgement);
    if same {
        return Ok(judgements);
    }
    let got = format!("{} judgements and {} pairs", judgements.len(), data.pairs().len());
    Err(Error::config("preferences", "the set that the pairs are of", got))
}

/// One entry a pair: what the terms of the shared taste of the population that judged it differ by.
fn terms<'a>(
    input: &ToHear<'_>,
    judgements: &[&JudgementRecord],
    properties: &dyn Fn(&str) -> Option<&'a Properties>,
) -> Vec<Option<Terms>> {
    let of = |judgement: &&JudgementRecord| -> Option<Terms> {
        let Source::Simulated { population } = &judgement.source else { return None };
        let taste = &input.populations.iter().find(|known| known.name == *population)?.taste;
        let (a, b) = (properties(&judgement.a)?, properties(&judgement.b)?);
        Some(Property::ALL.map(|property| {
            let value = |of| taste.terms.get(&property).map_or(0.0, |term| term.value(property.standardised(of)));
            value(a) - value(b)
        }))
    };
    judgements.iter().map(of).collect()
}

/// One entry a pair: the exact probabilities of those populations whose taste is known.
fn exact(input: &ToHear<'_>, heard: &HeardAgain) -> Result<Vec<Option<[f64; 4]>>> {
    let ToHear { set, taken, data, populations, .. } = *input;
    let judged = populations_of(set);
    let mut all: Vec<Option<ExactChoice>> = vec![None; set.judgements().len()];
    for population in populations.iter().filter(|population| judged.contains(&population.name)) {
        for (at, choice) in exact_choices(set, heard, population).into_iter().enumerate() {
            all[at] = all[at].or(choice);
        }
    }
    taken_of(set, taken, data)?;
    let counts = |it: &JudgementRecord| taken.takes(it) && it.judgement().counted_weight() > 0.0;
    let flat = |choice: ExactChoice| {
        let [a, b, tie] = choice.probabilities;
        [choice.shared_difference, a, b, tie]
    };
    let pairs = set.judgements().iter().zip(all).filter(|(judgement, _)| counts(judgement));
    Ok(pairs.map(|(_, choice)| choice.map(flat)).collect())
}
