//! What a corpus holds, in numbers and examples: what `corpus show` prints.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::corpus::{Corpus, Split};

/// How many captions a summary quotes.
const EXAMPLES: usize = 5;

/// One part of a corpus in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SplitSummary {
    /// Number of clips.
    pub clips: usize,
    /// Number of tracks they come from.
    pub tracks: usize,
    /// Duration of all clips.
    pub hours: f64,
    /// Clips without any caption.
    pub uncaptioned: usize,
}

/// A corpus in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the corpus.
    pub name: String,
    /// Where the sound comes from.
    pub source: String,
    /// What may be done with it.
    pub licence: String,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Number of clips in all.
    pub clips: usize,
    /// Duration in all.
    pub hours: f64,
    /// Shortest and longest clip.
    pub clip_seconds: (f64, f64),
    /// The part to learn from.
    pub train: SplitSummary,
    /// The part to measure on.
    pub heldout: SplitSummary,
    /// Captions that differ.
    pub distinct_captions: usize,
    /// Captions of clips spread over the corpus.
    pub examples: Vec<String>,
}

impl Corpus {
    /// The corpus in numbers and examples.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let part = |split: Split| {
            let clips = || self.clips().iter().filter(move |clip| clip.split == split);
            SplitSummary {
                clips: clips().count(),
                tracks: clips().map(|clip| &clip.track).collect::<BTreeSet<_>>().len(),
                hours: clips().map(|clip| clip.seconds).sum::<f64>() / 3600.0,
                uncaptioned: clips().filter(|clip| clip.captions.is_empty()).count(),
            }
        };
        let (train, heldout) = (part(Split::Train), part(Split::HeldOut));
        let captions: BTreeSet<&String> = self.clips().iter().flat_map(|clip| &clip.captions).collect();
        let captioned: Vec<&String> = self.clips().iter().filter_map(|clip| clip.captions.first()).collect();
        let stride = captioned.len().div_ceil(EXAMPLES).max(1);
        let seconds = self.clips().iter().map(|clip| clip.seconds);
        Summary {
            name: self.info().name.clone(),
            source: self.info().source.clone(),
            licence: self.info().licence.clone(),
            sample_rate_hz: self.sample_rate_hz(),
            clips: self.clips().len(),
            hours: train.hours + heldout.hours,
            clip_seconds: (seconds.clone().fold(f64::INFINITY, f64::min), seconds.fold(0.0, f64::max)),
            train,
            heldout,
            distinct_captions: captions.len(),
            examples: captioned.into_iter().step_by(stride).cloned().collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shortest, longest) = self.clip_seconds;
        writeln!(f, "{}: {} clips, {:.2} h at {} Hz", self.name, self.clips, self.hours, self.sample_rate_hz)?;
        writeln!(f, "  source    {}", self.source)?;
        writeln!(f, "  licence   {}", self.licence)?;
        writeln!(f, "  clips     {shortest:.1} to {longest:.1} s, {} distinct captions", self.distinct_captions)?;
        for (name, part) in [("train", &self.train), ("held out", &self.heldout)] {
            write!(f, "  {name:<9} {} clips of {} tracks, {:.2} h", part.clips, part.tracks, part.hours)?;
            match part.uncaptioned {
                0 => writeln!(f)?,
                n => writeln!(f, ", {n} without a caption")?,
            }
        }
        for example in &self.examples {
            writeln!(f, "  \"{example}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::corpus::{CorpusInfo, CorpusWriter, NewClip, Split};

    #[test]
    fn counts_what_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let info = CorpusInfo::new("test", 4000, "a test", "none needed");
        let mut writer = CorpusWriter::create(temp.path().join("corpus"), info).unwrap();
        for index in 0..12 {
            let split = if index < 8 { Split::Train } else { Split::HeldOut };
            let mut clip = NewClip::new(format!("{index}"), split, format!("{}", index / 4));
            if index != 3 {
                clip = clip.caption(format!("caption {}", index % 6));
            }
            writer.add(clip, &vec![0.1; 1000 * (1 + index)]).unwrap();
        }
        let summary = writer.finish().unwrap().summary();
        assert_eq!((summary.train.clips, summary.train.tracks, summary.train.uncaptioned), (8, 2, 1));
        assert_eq!((summary.heldout.clips, summary.heldout.tracks, summary.heldout.uncaptioned), (4, 1, 0));
        assert_eq!(summary.distinct_captions, 6);
        assert_eq!(summary.clip_seconds, (0.25, 3.0));
        // 1 + 2 + ... + 12 = 78 quarters of a second.
        assert!((summary.hours - 19.5 / 3600.0).abs() < 1e-12);
        assert_eq!(summary.examples.len(), 4);
        assert!(summary.to_string().contains("8 clips of 2 tracks"));
    }
}
