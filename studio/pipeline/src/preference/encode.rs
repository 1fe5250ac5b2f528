//! The tokens of a set's clips. Clips that a policy played have them; sound files go through the bundle's codec and
//! semantic tokeniser, once: the result is kept beside the set.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use musicrl_codec::{
    decode::decode_file,
    loudness::{Target, normalise},
    neural::NeuralCodec,
    resample::resample,
    semantic::SemanticTokeniser,
};
use musicrl_core::tokens::{Interleave, Streams, TokenLayout, Tokens};
use musicrl_feedback::ClipRecord;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    bundle::{Bundle, part, sha256_hex},
    music,
};

/// Which clips are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    /// Those without tokens.
    #[default]
    Missing,
    /// All: where the tokens that are there come from another codec than the bundle's.
    All,
}

/// Clips from sound files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncodeConfig {
    /// Which clips are encoded.
    pub clips: Encode,
    /// Of longer clips, encoded or not, the first so many seconds are used.
    pub seconds_max: f64,
}

impl Default for EncodeConfig {
    fn default() -> Self {
        Self { clips: Encode::Missing, seconds_max: 30.0 }
    }
}

impl EncodeConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.seconds_max > 0.0 && self.seconds_max <= 600.0 {
            return Ok(());
        }
        Err(Error::config("data.encode.seconds_max", "above 0 and at most 600", self.seconds_max))
    }
}

/// Sound files that are encoded between two calls of `progress`.
const BATCH: usize = 8;

/// The tokens of clips of the set at `set`, in the policy's `layout`.
///
/// # Errors
/// [`Error::Config`] naming the clip that has neither tokens nor sound, or tokens that do not fit; [`Error::Codec`] naming
/// the one whose sound cannot be read; when codec or tokeniser are needed and missing.
pub fn clip_tokens(
    set: &Path,
    clips: &[&ClipRecord],
    config: &EncodeConfig,
    layout: &TokenLayout,
    bundle: &Bundle,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Tokens>> {
    let encodes = |clip: &ClipRecord| config.clips == Encode::All || clip.tokens.is_empty();
    let mut files = Vec::new();
    for clip in clips.iter().filter(|clip| encodes(clip)) {
        let Some(audio) = &clip.audio else {
            let expected = "clips with tokens or sound";
            return Err(Error::config("preferences", expected, format!("clip `{}` with neither", clip.id)));
        };
        files.push((clip.id.as_str(), set.join(audio)));
    }
    let mut encoded = if files.is_empty() {
        BTreeMap::new()
    } else {
        Encoder { config, layout, bundle, device: &device.clone().inner() }.encode(set, &files, progress)?
    };
    let frames_max = layout.frames_in(config.seconds_max);
    clips
        .iter()
        .map(|clip| {
            let (mut ids, slots) = match encoded.remove(&clip.id) {
                Some(ids) => (ids, layout.slots_per_frame()),
                None => (clip.tokens.clone(), clip.slots),
            };
            ids.truncate(frames_max.saturating_mul(slots));
            let tokens = Tokens::new(ids, slots).and_then(|tokens| layout.check(&tokens).map(|()| tokens));
            tokens.map_err(|error| {
                let expected = format!("tokens of the bundle's policy, {} a frame", layout.slots_per_frame());
                Error::config("preferences", expected, format!("clip `{}`: {error}", clip.id))
            })
        })
        .collect()
}

/// The beginning of a sound file that is used, as mono samples, and how many of them a second has.
pub(crate) fn sound_file(path: &Path, config: &EncodeConfig) -> Result<(Vec<f32>, u32)> {
    let audio = decode_file(path)?.audio;
    let most = (config.seconds_max * f64::from(audio.sample_rate_hz)).ceil() as usize;
    let mut samples = audio.mono();
    samples.truncate(most);
    Ok((samples, audio.sample_rate_hz))
}

struct Encoder<'a> {
    config: &'a EncodeConfig,
    layout: &'a TokenLayout,
    bundle: &'a Bundle,
    device: &'a Device,
}

impl Encoder<'_> {
    /// The ids of each file's tokens, by clip; those that were kept from before where the files and models are the same.
    fn encode(
        &self,
        set: &Path,
        files: &[(&str, PathBuf)],
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<BTreeMap<String, Vec<u32>>> {
        let cache = self.cache_path(set, files)?;
        if let Ok(bytes) = fs::read(&cache)
            && let Ok(tokens) = serde_json::from_slice(&bytes)
        {
            return Ok(tokens);
        }
        let codec = music::load_codec(self.bundle, self.device)?;
        let semantic = music::load_semantic(self.bundle, self.device)?;
        let slots = self.layout.slots_per_frame();
        let interleave = Interleave { coarse_levels: slots.saturating_sub(1) / 2 };
        if slots != 1 + 2 * interleave.coarse_levels || !(1..=codec.levels()).contains(&interleave.coarse_levels) {
            let expected = format!("1 + 2 x coarse slots a frame, coarse at most {}", codec.levels());
            return Err(Error::config("policy.layout", expected, format!("{slots} slots")));
        }
        let mut tokens = BTreeMap::new();
        for batch in files.chunks(BATCH) {
            progress(tokens.len(), files.len())?;
            let done: Vec<Result<Vec<u32>>> = batch
                .par_iter()
                .map(|(clip, path)| {
                    self.encode_one(path, &codec, &semantic, interleave)
                        .map_err(|error| Error::Codec(format!("clip `{clip}`: {error}")))
                })
                .collect();
            for ((clip, _), ids) in batch.iter().zip(done) {
                tokens.insert((*clip).to_string(), ids?);
            }
        }
        progress(files.len(), files.len())?;
        // A cache: when it cannot be written (a read-only set), the work is only done again.
        if let (Some(folder), Ok(bytes)) = (cache.parent(), serde_json::to_vec(&tokens)) {
            let aside = cache.with_extension(format!("{}.tmp", std::process::id()));
            let _ = fs::create_dir_all(folder)
                .and_then(|()| fs::write(&aside, bytes))
                .and_then(|()| fs::rename(&aside, &cache));
        }
        Ok(tokens)
    }

    fn encode_one(
        &self,
        path: &Path,
        codec: &NeuralCodec,
        semantic: &SemanticTokeniser,
        interleave: Interleave,
    ) -> Result<Vec<u32>> {
        let (samples, file_rate_hz) = sound_file(path, self.config)?;
        let rate_hz = codec.config().sample_rate_hz;
        let samples = resample(&samples, file_rate_hz, rate_hz)?;
        // Codec and tokeniser learned on sound of one loudness. What has none (silence) is encoded as it is: listeners
        // judged it, too.
        let samples = normalise(&samples, rate_hz, &Target::default()).map_or(samples, |level| level.samples);
        let mut tokens = music::tokenise(codec, semantic, &[&samples])?;
        let clip = tokens.pop().ok_or_else(|| Error::Codec("no tokens".into()))?;
        let levels = codec.levels();
        let coarse = clip.codes.chunks(levels).flat_map(|frame| frame.iter().take(interleave.coarse_levels)).copied();
        let coarse = Tokens::new(coarse.collect(), interleave.coarse_levels)?;
        Ok(interleave.join(&Streams { semantic: clip.semantic, coarse })?.ids)
    }

    /// Where the tokens are kept: the name is a hash of everything that they were made from.
    fn cache_path(&self, set: &Path, files: &[(&str, PathBuf)]) -> Result<PathBuf> {
        let mut identity =
            format!("preference tokens 1, {} slots, {} s\n", self.layout.slots.len(), self.config.seconds_max);
        for name in [part::CODEC, part::SEMANTIC] {
            identity += &format!("{name} {}\n", self.bundle.sha256(name).unwrap_or("none"));
        }
        for (clip, path) in files {
            let bytes = fs::read(path).map_err(Error::io("read", path))?;
            identity += &format!("{clip} {}\n", sha256_hex(&bytes));
        }
        Ok(set.join("tokens").join(format!("{}.json", &sha256_hex(identity.as_bytes())[..16])))
    }
}
