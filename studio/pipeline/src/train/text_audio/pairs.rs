//! Captioned clips, from a corpus folder or from memory.

use std::collections::BTreeMap;

use crate::{
    Error, Result,
    corpus::{Corpus, Split, etudes::Etudes},
};

/// Clips with captions, by index.
pub trait Pairs: Send {
    /// Samples a second, of every clip.
    fn sample_rate_hz(&self) -> u32;

    /// Number of clips.
    fn len(&self) -> usize;

    /// True without clips.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The captions of a clip, each of which describes it; at least one for every index below [`Pairs::len`].
    fn captions(&self, index: usize) -> &[String];

    /// Known facts about a clip, by which similar clips are found. May be empty.
    fn attributes(&self, index: usize) -> &BTreeMap<String, String>;

    /// The clip's samples; the same at every call.
    ///
    /// # Errors
    /// When it cannot be read, or there is no such clip.
    fn audio(&self, index: usize) -> Result<Vec<f32>>;
}

/// The captioned clips of one split of a corpus folder, read when they are asked for.
#[derive(Debug, Clone)]
pub struct CorpusPairs {
    corpus: Corpus,
    /// Corpus index of each clip that has a caption.
    clips: Vec<usize>,
}

impl CorpusPairs {
    /// The clips of `split` that have a caption.
    #[must_use]
    pub fn new(corpus: Corpus, split: Split) -> Self {
        let has_caption = |clip: &usize| corpus.clips().get(*clip).is_some_and(|clip| !clip.captions.is_empty());
        let clips = corpus.split(split).into_iter().filter(has_caption).collect();
        Self { corpus, clips }
    }
}

impl Pairs for CorpusPairs {
    fn sample_rate_hz(&self) -> u32 {
        self.corpus.sample_rate_hz()
    }

    fn len(&self) -> usize {
        self.clips.len()
    }

    fn captions(&self, index: usize) -> &[String] {
        &self.corpus.clips()[self.clips[index]].captions
    }

    fn attributes(&self, index: usize) -> &BTreeMap<String, String> {
        &self.corpus.clips()[self.clips[index]].attributes
    }

    fn audio(&self, index: usize) -> Result<Vec<f32>> {
        let clip = self.clips.get(index).ok_or_else(|| no_such_clip(index, self.len()))?;
        self.corpus.audio(*clip)
    }
}

/// One captioned clip in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What the clip sounds like; at least one.
    pub captions: Vec<String>,
    /// Known facts.
    pub attributes: BTreeMap<String, String>,
    /// Mono samples.
    pub audio: Vec<f32>,
}

/// Captioned clips in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryPairs {
    sample_rate_hz: u32,
    pairs: Vec<Pair>,
}

impl MemoryPairs {
    /// The clips that have a caption.
    #[must_use]
    pub fn new(sample_rate_hz: u32, pairs: Vec<Pair>) -> Self {
        let pairs = pairs.into_iter().filter(|pair| !pair.captions.is_empty()).collect();
        Self { sample_rate_hz, pairs }
    }
}

impl Pairs for MemoryPairs {
    fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn captions(&self, index: usize) -> &[String] {
        &self.pairs[index].captions
    }

    fn attributes(&self, index: usize) -> &BTreeMap<String, String> {
        &self.pairs[index].attributes
    }

    fn audio(&self, index: usize) -> Result<Vec<f32>> {
        let pair = self.pairs.get(index).ok_or_else(|| no_such_clip(index, self.pairs.len()))?;
        Ok(pair.audio.clone())
    }
}

/// Etudes, synthesised when they are heard.
#[derive(Debug, Clone)]
pub struct EtudePairs {
    etudes: Etudes,
    texts: Vec<(Vec<String>, BTreeMap<String, String>)>,
}

impl EtudePairs {
    /// Every clip of a supply.
    #[must_use]
    pub fn new(etudes: Etudes) -> Self {
        let text = |index| (etudes.captions(index), etudes.attributes(index).to_map());
        Self { texts: (0..etudes.len()).map(text).collect(), etudes }
    }
}

impl Pairs for EtudePairs {
    fn sample_rate_hz(&self) -> u32 {
        self.etudes.sample_rate_hz()
    }

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn captions(&self, index: usize) -> &[String] {
        &self.texts[index].0
    }

    fn attributes(&self, index: usize) -> &BTreeMap<String, String> {
        &self.texts[index].1
    }

    fn audio(&self, index: usize) -> Result<Vec<f32>> {
        if index >= self.texts.len() {
            return Err(no_such_clip(index, self.texts.len()));
        }
        Ok(self.etudes.audio(index))
    }
}

fn no_such_clip(index: usize, len: usize) -> Error {
    Error::Config { field: "clip".into(), expected: format!("an index below {len}"), got: index.to_string() }
}
