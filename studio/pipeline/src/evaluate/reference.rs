//! Sounds that are not a system's: what embeddings of systems are held against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{keys, settings::ReferenceSettings};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
    corpus::{Corpus, Etudes, Split},
};

/// Where the reference comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReferenceSource {
    /// Freshly made etudes of training combinations, under a seed that no corpus has.
    Etudes,
    /// Held-out clips of a corpus.
    Corpus {
        /// Its name.
        name: String,
        /// Its folder.
        path: String,
    },
}

/// A clip of the reference, not yet heard.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Etude number or clip of the corpus.
    index: usize,
    /// Its track: pieces of one track are alike.
    track: usize,
}

/// The reference, and clips from the same source that are measured as if they were a system's: the distance that even a
/// perfect system has.
pub(super) struct Reference {
    source: ReferenceSource,
    supply: Supply,
    reference: Vec<Piece>,
    floor: Vec<Piece>,
}

enum Supply {
    Etudes(Etudes),
    Corpus(Box<Corpus>, f64),
}

/// The sounds of one side.
pub(super) struct ReferenceClips {
    /// Samples.
    pub audio: Vec<f32>,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// The piece's track.
    pub track: usize,
}

impl Reference {
    /// Chooses the clips; `floor` is the number of clips that each system has. `None` where there is no reference, with
    /// the reason.
    pub(super) fn choose(
        settings: &ReferenceSettings,
        judge: &Bundle,
        (sample_rate_hz, clip_seconds): (u32, f64),
        floor: usize,
        seed: u64,
    ) -> Result<std::result::Result<Self, String>> {
        match settings {
            ReferenceSettings::None => Ok(Err("no reference was asked for".into())),
            ReferenceSettings::Automatic { clips } => {
                let known = crate::embedded::base().ok();
                let known = known.as_ref().and_then(|base| base.sha256(part::TEXT_AUDIO));
                if known.is_none() || known != judge.sha256(part::TEXT_AUDIO) {
                    let reason = "the judging embedding is not that of the embedded base, so that etudes are no \
                                  reference for it; name one with --reference";
                    return Ok(Err(reason.into()));
                }
                let floor = floor.min(*clips);
                let supply =
                    Etudes::new(keys::etudes_seed(seed), Split::Train, clips + floor, sample_rate_hz, clip_seconds)?;
                let piece = |index| Piece { index, track: index };
                Ok(Ok(Self {
                    source: ReferenceSource::Etudes,
                    supply: Supply::Etudes(supply),
                    reference: (0..*clips).map(piece).collect(),
                    floor: (*clips..clips + floor).map(piece).collect(),
                }))
            }
            ReferenceSettings::Corpus { path, clips } => {
                let corpus = Corpus::open(path)?;
                let source =
                    ReferenceSource::Corpus { name: corpus.info().name.clone(), path: path.display().to_string() };
                let (reference, floor) = divide(&corpus, *clips, floor, seed);
                if reference.len() < 2 {
                    let got = format!("{} in {}", corpus.split(Split::HeldOut).len(), path.display());
                    return Err(Error::config("reference", "at least 2 held-out clips", got));
                }
                Ok(Ok(Self { source, supply: Supply::Corpus(Box::new(corpus), clip_seconds), reference, floor }))
            }
        }
    }

    pub(super) fn source(&self) -> &ReferenceSource {
        &self.source
    }

    /// Number of clips: the reference's and the floor's.
    pub(super) fn len(&self) -> [usize; 2] {
        [self.reference.len(), self.floor.len()]
    }

    /// Clip `at` of both sides one after another.
    pub(super) fn clip(&self, at: usize) -> Result<ReferenceClips> {
        let Some(piece) = self.reference.iter().chain(&self.floor).nth(at) else {
            return Err(Error::config("reference clip", format!("below {}", self.len().iter().sum::<usize>()), at));
        };
        Ok(match &self.supply {
            Supply::Etudes(etudes) => ReferenceClips {
                audio: etudes.audio(piece.index),
                sample_rate_hz: etudes.sample_rate_hz(),
                track: piece.track,
            },
            Supply::Corpus(corpus, seconds) => {
                let rate = corpus.sample_rate_hz();
                let samples = ((seconds * f64::from(rate)).round() as usize).min(corpus.samples(piece.index));
                ReferenceClips {
                    audio: corpus.crop(piece.index, 0, samples)?,
                    sample_rate_hz: rate,
                    track: piece.track,
                }
            }
        })
    }
}

/// Whole tracks to either side: at least two thirds to the reference, at most `most`.
fn divide(corpus: &Corpus, most: usize, floor: usize, seed: u64) -> (Vec<Piece>, Vec<Piece>) {
    let held_out = corpus.spread(Split::HeldOut, most.saturating_add(floor));
    let mut tracks = BTreeMap::<&str, Vec<usize>>::new();
    for clip in &held_out {
        tracks.entry(&corpus.clips()[*clip].track).or_default().push(*clip);
    }
    let floor = floor.min(held_out.len() / 3);
    let mut order: Vec<(usize, Vec<usize>)> = tracks.into_values().enumerate().collect();
    keys::reference(seed).stream().shuffle(&mut order);
    let (mut reference, mut measured) = (Vec::new(), Vec::new());
    for (track, clips) in order {
        // A track that would carry the floor past its size goes to the reference.
        let side = if measured.len() + clips.len() <= floor { &mut measured } else { &mut reference };
        side.extend(clips.into_iter().map(|index| Piece { index, track }));
    }
    reference.truncate(most);
    (reference, measured)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::corpus::{CorpusInfo, CorpusWriter, NewClip};

    #[test]
    fn no_track_is_on_both_sides() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("corpus");
        let mut writer = CorpusWriter::create(&dir, CorpusInfo::new("test", 8_000, "tones", "none")).unwrap();
        for clip in 0..30 {
            let split = if clip < 6 { Split::Train } else { Split::HeldOut };
            let clip = NewClip::new(format!("c{clip}"), split, format!("t{}", clip / 2)).caption("a tone");
            writer.add(clip, &[0.1; 4_000]).unwrap();
        }
        writer.finish().unwrap();
        let settings = ReferenceSettings::Corpus { path: dir, clips: 100 };
        let choose = |settings: &ReferenceSettings, floor| {
            Reference::choose(settings, &Bundle::new(), (16_000, 0.25), floor, 1).unwrap()
        };
        let chosen = choose(&settings, 100).unwrap_or_else(|reason| panic!("{reason}"));
        let [reference, floor] = chosen.len();
        assert_eq!((reference, floor), (16, 8));
        let tracks = |range: std::ops::Range<usize>| -> BTreeSet<usize> {
            range.map(|at| chosen.clip(at).unwrap().track).collect()
        };
        assert!(tracks(0..16).is_disjoint(&tracks(16..24)));
        let clip = chosen.clip(0).unwrap();
        assert_eq!((clip.audio.len(), clip.sample_rate_hz), (2_000, 8_000));
        assert!(chosen.clip(24).is_err());
        assert!(choose(&ReferenceSettings::None, 3).is_err());
        let reason = choose(&ReferenceSettings::Automatic { clips: 8 }, 3).err().unwrap();
        assert!(reason.contains("--reference"), "{reason}");
    }
}
