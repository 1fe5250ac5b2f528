//! A whole checkpoint: [`MusicGen`].

use burn::tensor::Device;
use tokenizers::Tokenizer;

use super::{Config, MusicGenDecoder, MusicGenPolicy, TextPrompt};
use crate::{Checkpoint, Error, NamedTensors, Result, encodec::Encodec, t5::T5Encoder};

/// Text encoder, policy and codec.
#[derive(Debug)]
pub struct MusicGen {
    /// The text encoder, frozen.
    pub text: T5Encoder,
    /// The decoder as a policy.
    pub policy: MusicGenPolicy,
    /// The codec.
    pub codec: Encodec,
    /// From captions to ids, where the folder has a `tokenizer.json`.
    tokenizer: Option<Tokenizer>,
}

impl MusicGen {
    /// Takes its tensors from `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`]; [`Error::File`] for a broken `tokenizer.json`.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        for (part, wanted) in [("text_encoder", "t5"), ("audio_encoder", "encodec"), ("decoder", "musicgen_decoder")] {
            let said = checkpoint.config_json().get(part).and_then(|part| part.get("model_type"));
            // Old files may leave it out.
            if let Some(said) = said.and_then(|said| said.as_str()).filter(|said| *said != wanted) {
                return Err(Error::config(format!("{part}.model_type"), wanted, said));
            }
        }
        let config: Config = checkpoint.config()?;
        let root = checkpoint.weights();
        let text = T5Encoder::load(config.text_encoder, &root.child("text_encoder"), device)?;
        let decoder = MusicGenDecoder::load(config.decoder, text.config().d_model, &root, device)?;
        let codec = Encodec::load(config.audio_encoder, &root.child("audio_encoder"), device)?;
        let policy = MusicGenPolicy::new(decoder, codec.frame_rate_hz())?;
        Ok(Self { text, policy, codec, tokenizer: crate::text::tokenizer(checkpoint.dir())? })
    }

    /// Whether captions can be read: the folder had a `tokenizer.json`.
    #[must_use]
    pub fn has_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Captions as the policy sees them, padded to the longest; an empty caption is no condition.
    ///
    /// # Errors
    /// [`Error::File`] when the checkpoint has no `tokenizer.json`; [`Error::Input`] for no captions, or one too long.
    pub fn prompt(&self, captions: &[&str]) -> Result<TextPrompt> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| {
            Error::input("a caption", "a `tokenizer.json` in the checkpoint's folder", "none: only ids can be used")
        })?;
        let (ids, mask, dims) = crate::text::encode(tokenizer, captions, 0)?;
        let prompt = self.prompt_of_ids(&ids, &mask, dims)?;
        Ok(prompt.without_conditions(|clip| captions.get(clip).is_some_and(|caption| caption.trim().is_empty())))
    }

    /// Ids of captions as the policy sees them.
    ///
    /// # Shapes
    /// - ids, mask: `[captions, tokens]`
    ///
    /// # Errors
    /// As [`T5Encoder::forward`].
    pub fn prompt_of_ids(&self, ids: &[u32], mask: &[bool], dims: [usize; 2]) -> Result<TextPrompt> {
        TextPrompt::new(self.text.forward(ids, mask, dims)?, mask)
    }

    /// Computes every output whose inputs are there.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of another shape, type or range.
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        super::run::run(self, inputs)
    }
}
