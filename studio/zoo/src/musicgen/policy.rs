//! The decoder as a policy: [`MusicGenPolicy`].

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use musicrl_core::{
    Error as CoreError, Result as CoreResult,
    policy::{Decoder, Policy, Prompt as _},
    tokens::{DelayPattern, Slot, StreamKind, TokenLayout},
};

use super::{MusicGenDecoder, TextPrompt, packed::PackedMusicGen, pattern, walk::walks};
use crate::Result;

/// MusicGen's decoder with the layout of its codec: frames of K acoustic slots.
#[derive(Module, Debug)]
pub struct MusicGenPolicy {
    /// The networks.
    pub decoder: MusicGenDecoder,
    #[module(skip)]
    layout: TokenLayout,
    #[module(skip)]
    pattern: DelayPattern,
}

impl MusicGenPolicy {
    /// A policy over frames at `frame_rate_hz`.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) when decoder and rate have no layout.
    pub fn new(decoder: MusicGenDecoder, frame_rate_hz: f64) -> Result<Self> {
        let config = decoder.config();
        let slot = Slot { stream: StreamKind::Acoustic, codebook: config.vocab_size };
        let layout = TokenLayout { slots: vec![slot; config.num_codebooks], frame_rate_hz };
        layout.validate()?;
        let pattern = config.pattern()?;
        Ok(Self { decoder, layout, pattern })
    }

    /// The delays of its codebooks.
    #[must_use]
    pub fn pattern(&self) -> &DelayPattern {
        &self.pattern
    }

    /// The decoder in plain Rust, which generation uses.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when weights cannot be read from the device.
    pub fn packed(&self) -> Result<PackedMusicGen> {
        PackedMusicGen::new(&self.decoder)
    }

    /// The ids that the decoder reads at each step, one column a codebook.
    pub(super) fn columns(&self, prompt: &TextPrompt, frames: &Tensor<3, Int>) -> CoreResult<Vec<Tensor<2, Int>>> {
        let [clips, time, slots] = frames.dims();
        self.check_prompt(prompt, clips)?;
        if slots != self.layout.slots.len() || time == 0 || clips == 0 {
            return Err(CoreError::Shape {
                what: "frames",
                expected: format!("[{clips}, frames, {}]", self.layout.slots.len()),
                got: format!("{:?}", frames.dims()),
            });
        }
        Ok(pattern::columns(frames, self.pattern.delays(), self.pattern.pad()))
    }

    fn check_prompt(&self, prompt: &TextPrompt, clips: usize) -> CoreResult<()> {
        let wrong = |what, expected: String, got: String| Err(CoreError::Shape { what, expected, got });
        if prompt.clips() != clips {
            return wrong("prompts", format!("[{clips}]"), format!("[{}]", prompt.clips()));
        }
        let width = match &self.decoder.projection {
            Some(projection) => projection.weight.val().dims()[0],
            None => self.decoder.config().hidden_size,
        };
        if prompt.width() != width {
            return wrong("text states", format!("of width {width}"), prompt.width().to_string());
        }
        Ok(())
    }
}

impl Policy for MusicGenPolicy {
    type Prompt = TextPrompt;

    fn layout(&self) -> &TokenLayout {
        &self.layout
    }

    fn hidden(&self, prompt: &TextPrompt, frames: Tensor<3, Int>) -> CoreResult<Tensor<4>> {
        let time = frames.dims()[1];
        let columns = self.columns(prompt, &frames)?;
        let padding = prompt.hidden(&self.decoder.device());
        let hidden = self.decoder.forward(columns, &self.decoder.text(prompt), &padding);
        Ok(pattern::actions(&hidden, self.pattern.delays(), time))
    }

    fn head(&self, hidden: Tensor<4>) -> Tensor<4> {
        let [clips, frames, _, width] = hidden.dims();
        let of = |(k, head): (usize, &crate::nn::Linear)| {
            head.forward(hidden.clone().narrow(2, k, 1).reshape([clips, frames, width]))
        };
        Tensor::stack(self.decoder.heads.iter().enumerate().map(of).collect(), 2)
    }

    fn order(&self, frames: usize) -> Vec<usize> {
        let slots = self.layout.slots.len();
        let steps = frames + self.pattern.delay_max();
        let at = |step| (0..slots).filter_map(move |k| Some(self.pattern.frame_at(step, k, frames)? * slots + k));
        (0..steps).flat_map(at).collect()
    }

    fn decoder(&self, prompt: &TextPrompt, frames_max: usize) -> CoreResult<Box<dyn Decoder>> {
        let none = || CoreError::Shape { what: "decoders", expected: "one".into(), got: "none".into() };
        self.decoders(&[prompt], frames_max)?.pop().ok_or_else(none)
    }

    /// The weights are packed once for all prompts, and read once a step.
    fn decoders(&self, prompts: &[&TextPrompt], frames_max: usize) -> CoreResult<Vec<Box<dyn Decoder>>> {
        let unread = |error: crate::Error| CoreError::Format { expected: "readable weights", got: error.to_string() };
        let packed = self.packed().map_err(unread)?;
        prompts.iter().try_for_each(|prompt| self.check_prompt(prompt, prompt.clips()))?;
        let walks = walks(&packed, &self.decoder, prompts, &self.pattern, frames_max).map_err(unread)?;
        Ok(walks.into_iter().map(|walk| -> Box<dyn Decoder> { Box::new(walk) }).collect())
    }
}
