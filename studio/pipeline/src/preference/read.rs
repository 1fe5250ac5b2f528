//! A preference set as clips and judgements by index.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use musicrl_core::{preference::Judgement, tokens::TokenLayout};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet};

use super::{
    clips::PreferenceClip,
    data::{DataConfig, Reads},
    descriptors::descriptors_of,
    encode::clip_tokens,
};
use crate::{
    Error, Result,
    bundle::Bundle,
    music::{load_text_audio, rows},
};

/// Captions that are embedded at once.
const CAPTIONS: usize = 64;

/// Clips with their captions, and judgements of them by index.
pub(super) type Judged = (Vec<(String, PreferenceClip)>, Vec<(usize, usize, Judgement)>);

/// What a set has that `config` takes.
pub(super) fn read_set(
    set: &PreferenceSet,
    config: &DataConfig,
    Reads { text, sound }: Reads,
    layout: &TokenLayout,
    bundle: &Bundle,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Judged> {
    let taken: Vec<&JudgementRecord> = set.judgements().iter().filter(|judgement| config.takes(judgement)).collect();
    let ids: BTreeSet<&str> = taken.iter().flat_map(|judgement| [judgement.a.as_str(), judgement.b.as_str()]).collect();
    if taken.is_empty() {
        return Err(nothing_counts(set.judgements().len()));
    }
    let records: Vec<&ClipRecord> = set.clips().iter().filter(|clip| ids.contains(clip.id.as_str())).collect();
    if let Some(clip) = records.iter().find(|clip| text && clip.caption.trim().is_empty()) {
        let expected = "a caption for every clip, or settings with text = false";
        return Err(Error::config("preferences", expected, format!("clip `{}` without one", clip.id)));
    }
    let tokens = clip_tokens(set.path(), &records, &config.encode, layout, bundle, device, progress)?;
    let conditions: Vec<Option<Vec<u32>>> = if text {
        let model = load_text_audio(bundle, &device.clone().inner())?;
        let captions: Vec<&str> = records.iter().map(|clip| clip.caption.as_str()).collect();
        let mut conditions = Vec::with_capacity(captions.len());
        for captions in captions.chunks(CAPTIONS) {
            conditions.extend(rows(model.text_tokens(captions)?).into_iter().map(Some));
        }
        conditions
    } else {
        vec![None; records.len()]
    };
    let descriptors: Vec<Option<Vec<f64>>> = if sound {
        let described = descriptors_of(set, (&records, &tokens), config, bundle, device, progress)?;
        described.into_iter().map(Some).collect()
    } else {
        vec![None; records.len()]
    };
    let places: BTreeMap<&str, usize> =
        records.iter().enumerate().map(|(place, clip)| (clip.id.as_str(), place)).collect();
    let judgements: Vec<(usize, usize, Judgement)> = taken
        .iter()
        .filter_map(|taken| Some((*places.get(taken.a.as_str())?, *places.get(taken.b.as_str())?, taken.judgement())))
        .collect();
    let clips = records.iter().zip(tokens).zip(conditions).zip(descriptors);
    let clips = clips
        .map(|(((record, tokens), condition), descriptors)| {
            (record.caption.clone(), PreferenceClip { condition, tokens, descriptors })
        })
        .collect();
    Ok((clips, judgements))
}

/// That none of so many judgements counts.
pub(super) fn nothing_counts(judgements: usize) -> Error {
    let expected = "at least one judgement that counts (both clips heard, not skipped, confidence above 0) and that \
                    `data` takes";
    Error::config("preferences", expected, format!("none of {judgements}"))
}
