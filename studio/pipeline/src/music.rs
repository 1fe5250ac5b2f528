//! The models of a bundle at work together: captions to prompts, tokens to sound, sound to tokens.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use musicrl_codec::{
    fine::{FineConfig, FineModel},
    neural::{CodecConfig, NeuralCodec},
    semantic::{SemanticConfig, SemanticTokeniser},
};
use musicrl_core::{
    policy::{ConditionPrompt, HierarchicalPolicy, HierarchicalPolicyConfig},
    random::{Key, Purpose},
    reward::AudioView,
    tokens::{Interleave, Streams, Tokens},
};
use musicrl_rewards::{QualityConfig, QualityModel, TextAudioConfig, TextAudioModel};
use rayon::prelude::*;

use crate::{
    Error, Result,
    bundle::{Bundle, part},
    imported::BertSentences,
};

/// First weights of a module whose weights are read from a file right after: any key will do.
fn placeholder() -> Key {
    Key::new(0, Purpose::Init)
}

/// Reads the codec of a bundle.
///
/// # Errors
/// When the part is missing or its files do not fit.
pub fn load_codec(bundle: &Bundle, device: &Device) -> Result<NeuralCodec> {
    bundle.load(part::CODEC, bundle.config::<CodecConfig>(part::CODEC)?.init(device, placeholder())?)
}

/// Reads the semantic tokeniser of a bundle.
///
/// # Errors
/// When the part is missing or its files do not fit.
pub fn load_semantic(bundle: &Bundle, device: &Device) -> Result<SemanticTokeniser> {
    bundle.load(part::SEMANTIC, bundle.config::<SemanticConfig>(part::SEMANTIC)?.init(device)?)
}

/// Reads the text-audio embedding of a bundle, and the sentence encoder that its text tower stands on where there is one.
///
/// # Errors
/// When the part is missing or its files do not fit; [`Error::File`] naming the folder of a sentence encoder that is
/// missing or no longer the one that the tower was trained with.
pub fn load_text_audio(bundle: &Bundle, device: &Device) -> Result<TextAudioModel> {
    let config = bundle.config::<TextAudioConfig>(part::TEXT_AUDIO)?;
    let model = bundle.load(part::TEXT_AUDIO, config.init(device)?)?;
    if !model.reads_sentences() {
        return Ok(model);
    }
    let source = bundle.source(part::TEXT_AUDIO).ok_or_else(|| {
        let expected = "the folder of the sentence encoder that its text tower reads, as `sources.text_audio`";
        Error::config("bundle", expected, format!("none in {}", bundle.origin()))
    })?;
    Ok(model.with_sentences(Arc::new(BertSentences::reopen(source, bundle.origin(), device)?))?)
}

/// Reads the policy of a bundle.
///
/// # Errors
/// When the part is missing or its files do not fit.
pub fn load_policy(bundle: &Bundle, device: &Device) -> Result<HierarchicalPolicy> {
    bundle.load(part::POLICY, bundle.config::<HierarchicalPolicyConfig>(part::POLICY)?.init(placeholder(), device)?)
}

/// Reads the fine stage of a bundle.
///
/// # Errors
/// When the part is missing or its files do not fit.
pub fn load_fine(bundle: &Bundle, device: &Device) -> Result<FineModel> {
    bundle.load(part::FINE, bundle.config::<FineConfig>(part::FINE)?.init(device)?)
}

/// Reads the predictor of acoustic quality of a bundle.
///
/// # Errors
/// When the part is missing or its files do not fit.
pub fn load_quality(bundle: &Bundle, device: &Device) -> Result<QualityModel> {
    bundle.load(part::QUALITY, bundle.config::<QualityConfig>(part::QUALITY)?.init(device)?)
}

/// Semantic and acoustic tokens of one clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipTokens {
    /// One id a frame of the policy.
    pub semantic: Vec<u32>,
    /// All quantisers, `[2 * frames, quantisers]` row by row.
    pub codes: Vec<u32>,
}

/// Everything but the policy: what turns captions into prompts and tokens into sound.
#[derive(Debug)]
pub struct Music {
    /// The codec, on a plain device.
    pub codec: NeuralCodec,
    /// The fine stage; without it clips sound from their coarse tokens alone.
    pub fine: Option<FineModel>,
    /// The embedding that conditions the policy and judges text adherence.
    pub text_audio: TextAudioModel,
    interleave: Interleave,
    device: Device,
}

/// Clips that go through fine stage and codec together, on one thread. Fixed, so that a clip's sound does not depend on
/// the number of threads.
const SOUND_CLIPS: usize = 4;

impl Music {
    /// Reads codec, text-audio embedding and, where the bundle has one, the fine stage, for a policy's layout.
    ///
    /// # Errors
    /// When a part is missing or does not fit the others.
    pub fn load(bundle: &Bundle, device: &Device) -> Result<Self> {
        let device = device.clone().inner();
        let policy: HierarchicalPolicyConfig = bundle.config(part::POLICY)?;
        let slots = policy.layout.slots_per_frame();
        let codec = load_codec(bundle, &device)?;
        let coarse_levels = (slots.saturating_sub(1)) / 2;
        if slots != 1 + 2 * coarse_levels || coarse_levels == 0 || coarse_levels > codec.levels() {
            return Err(Error::Config {
                field: "policy.layout".into(),
                expected: format!("1 + 2 x coarse slots a frame, coarse at most {}", codec.levels()),
                got: format!("{slots} slots"),
            });
        }
        let has_fine = bundle.parts().any(|name| name == part::FINE);
        let fine = if has_fine { Some(load_fine(bundle, &device)?) } else { None };
        if let Some(config) = fine.as_ref().map(FineModel::config)
            && (config.coarse_levels != coarse_levels || config.quantisers != codec.levels())
        {
            return Err(Error::Config {
                field: "fine".into(),
                expected: format!("{coarse_levels} coarse of {} levels, as policy and codec have", codec.levels()),
                got: format!("{} of {}", config.coarse_levels, config.quantisers),
            });
        }
        let text_audio = load_text_audio(bundle, &device)?;
        Ok(Self { codec, fine, text_audio, interleave: Interleave { coarse_levels }, device })
    }

    /// Samples a second of the sound that it makes.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.codec.config().sample_rate_hz
    }

    /// Captions as the policy's conditions: the text's embedding tokens.
    ///
    /// # Errors
    /// When the embedding's quantiser fails.
    pub fn prompt(&self, captions: &[&str]) -> Result<ConditionPrompt> {
        let tokens = self.text_audio.text_tokens(captions)?;
        Ok(ConditionPrompt::new(rows(tokens).into_iter().map(Some).collect()))
    }

    /// Sounds as conditions: the audio's embedding tokens, as in pretraining.
    ///
    /// # Errors
    /// When the audio cannot be embedded.
    pub fn audio_condition(&self, clips: &[&[f32]], sample_rate_hz: u32) -> Result<Vec<Vec<u32>>> {
        let views: Vec<_> = clips.iter().map(|samples| AudioView { samples, sample_rate_hz }).collect();
        Ok(rows(self.text_audio.audio_tokens(&views)?))
    }

    /// The sound of the policy's clips: fine stage (one key a clip), then the codec's decoder.
    ///
    /// # Errors
    /// Tokens that do not fit the layout, other numbers of keys than clips.
    pub fn sound(&self, clips: &[Tokens], keys: &[Key]) -> Result<Vec<Vec<f32>>> {
        if clips.len() != keys.len() {
            let (expected, got) = (format!("[{}]", clips.len()), format!("[{}]", keys.len()));
            return Err(musicrl_core::Error::Shape { what: "keys, one a clip", expected, got }.into());
        }
        let parts: Vec<Result<Vec<Vec<f32>>>> = clips
            .par_chunks(SOUND_CLIPS)
            .zip(keys.par_chunks(SOUND_CLIPS))
            .map(|(clips, keys)| self.sound_together(clips, keys))
            .collect();
        Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// The sound of a few clips of one length.
    fn sound_together(&self, clips: &[Tokens], keys: &[Key]) -> Result<Vec<Vec<f32>>> {
        let streams: Vec<Streams> =
            clips.iter().map(|tokens| self.interleave.split(tokens)).collect::<musicrl_core::Result<_>>()?;
        let frames = streams.first().map_or(0, |streams| streams.coarse.frames);
        if frames == 0 || streams.iter().any(|streams| streams.coarse.frames != frames) {
            return Err(musicrl_core::Error::Shape {
                what: "clips that sound together",
                expected: format!("{frames} acoustic frames, at least 1"),
                got: format!("{:?}", streams.iter().map(|streams| streams.coarse.frames).collect::<Vec<_>>()),
            }
            .into());
        }
        let coarse = int_tensor(streams.iter().map(|s| &s.coarse.ids), &self.device).reshape([
            clips.len(),
            frames,
            self.interleave.coarse_levels,
        ]);
        let codes = match &self.fine {
            Some(fine) => {
                let semantic =
                    int_tensor(streams.iter().map(|s| &s.semantic), &self.device).reshape([clips.len(), frames / 2]);
                fine.generate(semantic, coarse, keys)?
            }
            None => coarse,
        };
        Ok(self.codec.sound(codes)?)
    }

    /// Joins semantic and coarse tokens into the policy's frames.
    ///
    /// # Errors
    /// When the lengths do not fit.
    pub fn frames(&self, tokens: &ClipTokens) -> Result<Tokens> {
        let (levels, coarse_levels) = (self.codec.levels(), self.interleave.coarse_levels);
        let coarse: Vec<u32> =
            tokens.codes.chunks(levels).flat_map(|frame| frame.iter().take(coarse_levels)).copied().collect();
        let coarse = Tokens::new(coarse, coarse_levels)?;
        Ok(self.interleave.join(&Streams { semantic: tokens.semantic.clone(), coarse })?)
    }
}

/// Encodes clips of one length: `frames` policy frames each, the rest of a clip is left out.
///
/// # Errors
/// When a clip is too short for one frame or the codec refuses it.
pub fn tokenise(codec: &NeuralCodec, semantic: &SemanticTokeniser, clips: &[&[f32]]) -> Result<Vec<ClipTokens>> {
    let device = semantic.encoder().device();
    let samples = clips.iter().map(|clip| clip.len()).min().unwrap_or(0);
    let units = samples / (2 * codec.hop());
    let used = units * 2 * codec.hop();
    if used == 0 {
        return Err(musicrl_core::Error::Shape {
            what: "audio to tokenise",
            expected: format!("at least {} samples", 2 * codec.hop()),
            got: format!("{samples}"),
        }
        .into());
    }
    let cut: Vec<&[f32]> = clips.iter().map(|clip| &clip[..used]).collect();
    let semantic = semantic.tokenise_clips(&cut)?;
    let flat: Vec<f32> = cut.concat();
    let audio = Tensor::<3>::from_data(TensorData::new(flat, [clips.len(), 1, used]), &device);
    let codes = codec.encode(audio)?;
    let [_, frames, levels] = codes.dims();
    let ids: Vec<u32> = codes.into_data().iter::<i64>().map(|id| id as u32).collect();
    Ok(semantic
        .into_iter()
        .zip(ids.chunks(frames * levels))
        .map(|(mut semantic, codes)| {
            semantic.truncate(units);
            ClipTokens { semantic, codes: codes[..2 * units * levels].to_vec() }
        })
        .collect())
}

/// The rows of an integer matrix.
pub(crate) fn rows(tokens: Tensor<2, Int>) -> Vec<Vec<u32>> {
    let [_, columns] = tokens.dims();
    let ids: Vec<u32> = tokens.into_data().iter::<i64>().map(|id| id as u32).collect();
    ids.chunks(columns.max(1)).map(<[u32]>::to_vec).collect()
}

fn int_tensor<'a>(rows: impl Iterator<Item = &'a Vec<u32>>, device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i64> = rows.flat_map(|row| row.iter().map(|id| i64::from(*id))).collect();
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}
