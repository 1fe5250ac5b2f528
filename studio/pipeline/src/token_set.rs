//! A corpus as tokens: what the policy and the fine stage learn from, made once and kept beside the corpus.

use std::{fs, path::Path};

use burn::tensor::Device;
use musicrl_codec::{neural::NeuralCodec, resample::resample, semantic::SemanticTokeniser};
use musicrl_core::{reward::AudioView, tokens::Tokens};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    bundle::{Bundle, part, sha256_hex},
    corpus::{Corpus, Split},
    music::{self, ClipTokens},
};

/// One clip-length piece of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Index of the clip in the corpus.
    pub clip: usize,
    /// Its part of the corpus.
    pub split: Split,
    /// One id a frame of the policy.
    pub semantic: Vec<u32>,
    /// All quantisers, `[2 * frames, quantisers]` row by row.
    pub codes: Vec<u32>,
    /// The audio's embedding tokens.
    pub condition: Vec<u32>,
    /// The embedding tokens of each caption of the clip; empty where it has none.
    pub captions: Vec<Vec<u32>>,
}

/// The pieces, all of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSet {
    /// Frames of the policy in each piece.
    pub frames: usize,
    /// Quantisers of the codec.
    pub quantisers: usize,
    /// The pieces, in corpus order.
    pub items: Vec<Item>,
}

/// Pieces that go through the models at once.
const BATCH: usize = 8;

impl TokenSet {
    /// Reads the set that was made before from the same corpus with the same models, or makes it.
    ///
    /// `progress` is called with the pieces done and their number.
    ///
    /// # Errors
    /// When a model is missing, the corpus cannot be read, or no clip is as long as `clip_seconds`.
    pub fn of_corpus(
        bundle: &Bundle,
        corpus: &Corpus,
        clip_seconds: f64,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let path = cache_path(bundle, corpus, clip_seconds)?;
        if let Ok(bytes) = fs::read(&path)
            && let Ok(set) = serde_json::from_slice::<Self>(&bytes)
        {
            return Ok(set);
        }
        let set = Self::make(bundle, corpus, clip_seconds, device, progress)?;
        // A cache: when it cannot be written (a read-only corpus), the work is only done again.
        if let (Some(folder), Ok(bytes)) = (path.parent(), serde_json::to_vec(&set)) {
            let aside = path.with_extension(format!("{}.tmp", std::process::id()));
            let _ = fs::create_dir_all(folder)
                .and_then(|()| fs::write(&aside, bytes))
                .and_then(|()| fs::rename(&aside, &path));
        }
        Ok(set)
    }

    fn make(
        bundle: &Bundle,
        corpus: &Corpus,
        clip_seconds: f64,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let device = device.clone().inner();
        let codec = music::load_codec(bundle, &device)?;
        let semantic = music::load_semantic(bundle, &device)?;
        let text_audio = music::load_text_audio(bundle, &device)?;
        let rate_hz = corpus.sample_rate_hz();
        let samples = (clip_seconds * f64::from(rate_hz)).round() as usize;
        let pieces: Vec<(usize, usize)> = (0..corpus.clips().len())
            .flat_map(|clip| {
                let count = corpus.samples(clip).checked_div(samples).unwrap_or(0);
                (0..count).map(move |piece| (clip, piece * samples))
            })
            .collect();
        if pieces.is_empty() {
            return Err(Error::Config {
                field: "clip_seconds".into(),
                expected: "no longer than the corpus's clips".into(),
                got: clip_seconds.to_string(),
            });
        }
        let mut set = Self { frames: 0, quantisers: codec.levels(), items: Vec::with_capacity(pieces.len()) };
        for batch in pieces.chunks(BATCH) {
            progress(set.items.len(), pieces.len())?;
            let audio: Vec<Vec<f32>> =
                batch.iter().map(|(clip, start)| corpus.crop(*clip, *start, samples)).collect::<Result<_>>()?;
            let tokens = tokenise_at(&codec, &semantic, &audio, rate_hz)?;
            let views: Vec<_> = audio.iter().map(|samples| AudioView { samples, sample_rate_hz: rate_hz }).collect();
            let conditions = music::rows(text_audio.audio_tokens(&views)?);
            for (((clip, _), tokens), condition) in batch.iter().zip(tokens).zip(conditions) {
                set.frames = tokens.semantic.len();
                let captions: Vec<&str> = corpus.clips()[*clip].captions.iter().map(String::as_str).collect();
                let captions = match captions.as_slice() {
                    [] => Vec::new(),
                    captions => music::rows(text_audio.text_tokens(captions)?),
                };
                set.items.push(Item {
                    clip: *clip,
                    split: corpus.clips()[*clip].split,
                    semantic: tokens.semantic,
                    codes: tokens.codes,
                    condition,
                    captions,
                });
            }
        }
        progress(pieces.len(), pieces.len())?;
        Ok(set)
    }

    /// The pieces of one part of the corpus, by index.
    #[must_use]
    pub fn split(&self, split: Split) -> Vec<usize> {
        (0..self.items.len()).filter(|index| self.items[*index].split == split).collect()
    }

    /// A piece as the policy's frames, with the first `coarse_levels` quantisers.
    ///
    /// # Errors
    /// When the lengths do not fit each other.
    pub fn policy_frames(&self, item: &Item, coarse_levels: usize) -> Result<Tokens> {
        let coarse: Vec<u32> =
            item.codes.chunks(self.quantisers).flat_map(|frame| frame.iter().take(coarse_levels)).copied().collect();
        let coarse = Tokens::new(coarse, coarse_levels)?;
        let streams = musicrl_core::tokens::Streams { semantic: item.semantic.clone(), coarse };
        Ok(musicrl_core::tokens::Interleave { coarse_levels }.join(&streams)?)
    }
}

fn tokenise_at(
    codec: &NeuralCodec,
    semantic: &SemanticTokeniser,
    audio: &[Vec<f32>],
    rate_hz: u32,
) -> Result<Vec<ClipTokens>> {
    let target_hz = codec.config().sample_rate_hz;
    let resampled: Vec<Vec<f32>> = if rate_hz == target_hz {
        audio.to_vec()
    } else {
        audio.iter().map(|samples| resample(samples, rate_hz, target_hz)).collect::<std::result::Result<_, _>>()?
    };
    let clips: Vec<&[f32]> = resampled.iter().map(Vec::as_slice).collect();
    music::tokenise(codec, semantic, &clips)
}

/// Where the set lies: its name is a hash of everything that it was made from.
fn cache_path(bundle: &Bundle, corpus: &Corpus, clip_seconds: f64) -> Result<std::path::PathBuf> {
    let clips = fs::read(corpus.dir().join("clips.jsonl")).map_err(|source| Error::Io {
        doing: "read",
        path: corpus.dir().join("clips.jsonl"),
        source,
    })?;
    let mut identity = format!("tokens 2, {clip_seconds} s, clips {}\n", sha256_hex(&clips));
    for name in [part::CODEC, part::SEMANTIC, part::TEXT_AUDIO] {
        identity += &format!("{name} {}\n", bundle.sha256(name).unwrap_or("none"));
    }
    let name = sha256_hex(identity.as_bytes());
    Ok(Path::new(corpus.dir()).join("tokens").join(format!("{}.json", &name[..16])))
}
