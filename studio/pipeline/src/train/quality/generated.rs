//! Clips of a bundle's policy, to be rated.

use std::collections::BTreeSet;

use burn::tensor::Device;
use musicrl_core::{policy::Policy as _, sampling::SamplingConfig};

use super::{GeneratedClip, SimulatedConfig};
use crate::{
    Result,
    align::play::{PlaySettings, play},
    bundle::Bundle,
    corpus::{Corpus, Split},
    music::{Music, load_policy},
};

/// Clips at once.
const BATCH: usize = 16;

/// Clips that the policy of `bundle` plays for captions of the corpus: `generated` for captions of the training part,
/// `held_out_generated` for captions that only the held-out part has. Clip `i` draws the random numbers of
/// (seed, 0, i). `progress` is told how many are there.
///
/// # Errors
/// When the bundle lacks a part or a model fails; those of `progress`.
pub fn generated_clips(
    bundle: &Bundle,
    corpus: &Corpus,
    config: &SimulatedConfig,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<GeneratedClip>> {
    let wanted = wanted(corpus, config);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let device = device.clone().inner();
    let (policy, music) = (load_policy(bundle, &device)?, Music::load(bundle, &device)?);
    let frames = policy.layout().frames_in(bundle.clip_seconds()).max(1);
    let settings = PlaySettings { sampling: SamplingConfig::default(), frames, seed, batch: BATCH, given: None };
    let mut clips = Vec::with_capacity(wanted.len());
    for chunk in wanted.chunks(BATCH) {
        progress(clips.len(), wanted.len())?;
        let captions: Vec<&str> = chunk.iter().map(|(_, _, caption)| *caption).collect();
        let played = play(&policy, &music, &captions, &settings, (0, clips.len() as u64), true)?;
        for ((id, split, _), samples) in chunk.iter().zip(played.audio) {
            let (name, sample_rate_hz) = (format!("generated/{id}"), music.sample_rate_hz());
            clips.push(GeneratedClip { name, split: *split, samples, sample_rate_hz });
        }
    }
    progress(wanted.len(), wanted.len())?;
    Ok(clips)
}

/// `(id, split, caption)` of the clips whose captions are played.
fn wanted<'a>(corpus: &'a Corpus, config: &SimulatedConfig) -> Vec<(&'a str, Split, &'a str)> {
    let captioned = |split: Split| {
        let clips = corpus.clips().iter().filter(move |clip| clip.split == split);
        clips.filter_map(|clip| Some((clip.id.as_str(), clip.captions.first()?.as_str()))).collect::<Vec<_>>()
    };
    let learned: BTreeSet<&str> = corpus
        .clips()
        .iter()
        .filter(|clip| clip.split == Split::Train)
        .flat_map(|clip| clip.captions.iter().map(String::as_str))
        .collect();
    let train = captioned(Split::Train);
    let mut held_out = captioned(Split::HeldOut);
    held_out.retain(|(_, caption)| !learned.contains(caption));
    let pick = |clips: &[(&'a str, &'a str)], split: Split, most: usize| -> Vec<(&'a str, Split, &'a str)> {
        crate::corpus::spread(clips.len(), most).map(|at| (clips[at].0, split, clips[at].1)).collect()
    };
    let mut wanted = pick(&train, Split::Train, config.generated);
    wanted.extend(pick(&held_out, Split::HeldOut, config.held_out_generated));
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{CorpusInfo, CorpusWriter, NewClip};

    #[test]
    fn held_out_captions_are_none_that_were_learned_from() {
        let temp = tempfile::tempdir().unwrap();
        let info = CorpusInfo::new("test", 8000, "a ramp", "none needed");
        let mut writer = CorpusWriter::create(temp.path().join("c"), info).unwrap();
        for (id, split, caption) in [
            ("a", Split::Train, Some("a waltz")),
            ("b", Split::HeldOut, Some("a waltz")),
            ("c", Split::HeldOut, Some("a march")),
            ("d", Split::Train, None),
        ] {
            let clip = NewClip::new(id, split, id);
            writer.add(caption.map_or(clip.clone(), |caption| clip.caption(caption)), &[0.1; 800]).unwrap();
        }
        let corpus = writer.finish().unwrap();
        let got = wanted(&corpus, &SimulatedConfig::default());
        assert_eq!(got, [("a", Split::Train, "a waltz"), ("c", Split::HeldOut, "a march")]);
        let none = SimulatedConfig { generated: 0, held_out_generated: 0, ..SimulatedConfig::default() };
        assert!(wanted(&corpus, &none).is_empty());
    }
}
