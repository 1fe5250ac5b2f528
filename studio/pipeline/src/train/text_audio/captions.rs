//! Captions as the text tower reads them.

use std::collections::{BTreeMap, BTreeSet};

use musicrl_rewards::{TextAudioModel, model::Caption};
use rayon::prelude::*;

use super::Pairs;
use crate::Result;

/// Captions that are read between two calls of the progress.
const PART: usize = 64;

/// What a frozen sentence encoder made of every caption; empty where captions are read word by word, which costs nothing.
#[derive(Debug, Default)]
pub(super) struct Captions {
    read: BTreeMap<String, Caption>,
}

impl Captions {
    /// Reads every caption of both parts once, on all threads.
    pub(super) fn read_all(
        model: &TextAudioModel,
        train: &dyn Pairs,
        held_out: &dyn Pairs,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let of = |pairs: &dyn Pairs| -> Vec<String> {
            (0..pairs.len()).flat_map(|clip| pairs.captions(clip).to_vec()).collect()
        };
        let captions: BTreeSet<String> = of(train).into_iter().chain(of(held_out)).collect();
        let captions: Vec<String> = captions.into_iter().collect();
        let mut read = BTreeMap::new();
        for part in captions.chunks(PART) {
            progress(read.len(), captions.len())?;
            let vectors: Vec<musicrl_rewards::Result<Caption>> =
                part.par_iter().map(|caption| model.read_caption(caption)).collect();
            for (caption, vector) in part.iter().zip(vectors) {
                read.insert(caption.clone(), vector?);
            }
        }
        progress(captions.len(), captions.len())?;
        Ok(Self { read })
    }

    /// One caption.
    pub(super) fn read(&self, model: &TextAudioModel, caption: &str) -> Result<Caption> {
        match self.read.get(caption) {
            Some(read) => Ok(read.clone()),
            None => Ok(model.read_caption(caption)?),
        }
    }

    /// What was made of the distinct captions of one part, by the alphabet.
    pub(super) fn of_part(&self, pairs: &dyn Pairs) -> Vec<Caption> {
        let captions: BTreeSet<&String> = (0..pairs.len()).flat_map(|clip| pairs.captions(clip)).collect();
        captions.into_iter().filter_map(|caption| self.read.get(caption).cloned()).collect()
    }
}
