//! Where training loops get pieces of sound.

use musicrl_core::random::Key;

use crate::{
    Error, Result,
    corpus::{Corpus, Split},
};

/// A source of pieces of mono sound at one sample rate.
pub trait Crops {
    /// The piece that belongs to `key`: `samples` finite samples, the same for the same key.
    ///
    /// # Errors
    /// When a recording cannot be read.
    fn crop(&self, key: Key, samples: usize) -> Result<Vec<f32>>;
}

impl<F: Fn(Key, usize) -> Vec<f32>> Crops for F {
    fn crop(&self, key: Key, samples: usize) -> Result<Vec<f32>> {
        Ok(self(key, samples))
    }
}

/// Pieces of one part of a corpus; every second of it is as likely as any other.
#[derive(Debug)]
pub struct CorpusCrops<'a> {
    corpus: &'a Corpus,
    /// `(clip, samples of all clips up to and with it)`.
    ends: Vec<(usize, usize)>,
}

impl<'a> CorpusCrops<'a> {
    /// Pieces of the clips of `split`.
    ///
    /// # Errors
    /// When that part is empty.
    pub fn new(corpus: &'a Corpus, split: Split) -> Result<Self> {
        let mut total = 0;
        let ends: Vec<(usize, usize)> = corpus
            .split(split)
            .into_iter()
            .map(|clip| {
                total += corpus.samples(clip);
                (clip, total)
            })
            .collect();
        if total == 0 {
            return Err(Error::File {
                path: corpus.dir().to_path_buf(),
                expected: format!("a corpus with sound in its {} part", split.name()),
                got: format!("{} clips, no samples", ends.len()),
            });
        }
        Ok(Self { corpus, ends })
    }
}

impl Crops for CorpusCrops<'_> {
    fn crop(&self, key: Key, samples: usize) -> Result<Vec<f32>> {
        let mut stream = key.stream();
        let total = self.ends.last().map_or(0, |(_, end)| *end);
        let at = stream.below(total);
        let index = self.ends.partition_point(|(_, end)| *end <= at).min(self.ends.len() - 1);
        let clip = self.ends[index].0;
        let spare = self.corpus.samples(clip).saturating_sub(samples);
        self.corpus.crop(clip, stream.below(spare + 1), samples)
    }
}
