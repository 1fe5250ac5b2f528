//! What a clip is made for, as the text encoder's states: [`TextPrompt`].

use std::sync::Arc;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use musicrl_core::policy::Prompt;

use crate::{
    Result,
    named::{device_floats, host},
};

/// The hidden states of texts with their masks, on the host: one row of `tokens` states a clip.
///
/// A clip without a condition has states of zero and a mask of zero.
#[derive(Debug, Clone, PartialEq)]
pub struct TextPrompt {
    texts: Vec<Option<Arc<Text>>>,
    tokens: usize,
    width: usize,
}

#[derive(Debug, PartialEq)]
struct Text {
    /// `[tokens, width]`
    states: Vec<f32>,
    /// `[tokens]`
    mask: Vec<bool>,
}

impl TextPrompt {
    /// One text a clip.
    ///
    /// # Shapes
    /// - states: `[clips, tokens, width]`, of the text encoder
    /// - mask: `clips * tokens`, true where a token counts
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when the mask has another length, or the states cannot be read.
    pub fn new(states: Tensor<3>, mask: &[bool]) -> Result<Self> {
        let [clips, tokens, width] = states.dims();
        if mask.len() != clips * tokens {
            return Err(crate::Error::input("a text's mask", format!("[{clips}, {tokens}]"), mask.len()));
        }
        let values = host(states)?;
        let text = |clip: usize| Text {
            states: values[clip * tokens * width..(clip + 1) * tokens * width].to_vec(),
            mask: mask[clip * tokens..(clip + 1) * tokens].to_vec(),
        };
        Ok(Self { texts: (0..clips).map(|clip| Some(Arc::new(text(clip)))).collect(), tokens, width })
    }

    /// `clips` clips without a condition, for a text encoder of `width`.
    #[must_use]
    pub fn unconditional(clips: usize, width: usize) -> Self {
        Self { texts: vec![None; clips], tokens: 1, width }
    }

    /// The same with no condition for the clips that `without` names.
    #[must_use]
    pub fn without_conditions(mut self, without: impl Fn(usize) -> bool) -> Self {
        self.texts.iter_mut().enumerate().filter(|(clip, _)| without(*clip)).for_each(|(_, text)| *text = None);
        self
    }

    /// The clips of several prompts, one after the other; `None` where their texts have different lengths or widths. Clips
    /// without a condition fit any length.
    #[must_use]
    pub fn joined(prompts: &[&Self]) -> Option<Self> {
        let conditioned = || prompts.iter().filter(|prompt| prompt.texts.iter().any(Option::is_some));
        let like = conditioned().next().or_else(|| prompts.iter().next())?;
        let fits = |prompt: &&&Self| prompt.tokens == like.tokens && prompt.width == like.width;
        if !conditioned().all(|prompt| fits(&prompt)) || prompts.iter().any(|prompt| prompt.width != like.width) {
            return None;
        }
        let texts = prompts.iter().flat_map(|prompt| prompt.texts.iter().cloned()).collect();
        Some(Self { texts, tokens: like.tokens, width: like.width })
    }

    /// Tokens of a text, padding included.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Width of the states.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// States and mask on a device.
    ///
    /// # Shapes
    /// - states: `[clips, tokens, width]`
    /// - mask: `[clips, tokens]`, 1 where a token counts
    #[must_use]
    pub fn to_device(&self, device: &Device) -> (Tensor<3>, Tensor<2>) {
        let clips = self.texts.len();
        let mut states = Vec::with_capacity(clips * self.tokens * self.width);
        let mut mask = Vec::with_capacity(clips * self.tokens);
        for text in &self.texts {
            match text {
                Some(text) => {
                    states.extend_from_slice(&text.states);
                    mask.extend(text.mask.iter().map(|counts| f32::from(u8::from(*counts))));
                }
                None => {
                    states.resize(states.len() + self.tokens * self.width, 0.0);
                    mask.resize(mask.len() + self.tokens, 0.0);
                }
            }
        }
        (
            device_floats(&states, [clips, self.tokens, self.width], device),
            device_floats(&mask, [clips, self.tokens], device),
        )
    }

    /// True where a position must not be seen, `[clips, 1, 1, tokens]`.
    #[must_use]
    pub fn hidden(&self, device: &Device) -> Tensor<4, Bool> {
        let hidden: Vec<bool> = self.mask().into_iter().map(|counts| !counts).collect();
        Tensor::from_data(TensorData::new(hidden, [self.texts.len(), 1, 1, self.tokens]), device)
    }

    /// The masks, `clips * tokens`.
    #[must_use]
    pub fn mask(&self) -> Vec<bool> {
        let of =
            |text: &Option<Arc<Text>>| text.as_ref().map_or_else(|| vec![false; self.tokens], |text| text.mask.clone());
        self.texts.iter().flat_map(of).collect()
    }
}

impl Prompt for TextPrompt {
    fn clips(&self) -> usize {
        self.texts.len()
    }

    fn select(&self, clips: &[usize]) -> musicrl_core::Result<Self> {
        let pick = |clip: &usize| {
            self.texts.get(*clip).cloned().ok_or_else(|| musicrl_core::Error::Shape {
                what: "selected clip",
                expected: format!("below {}", self.texts.len()),
                got: format!("{clip}"),
            })
        };
        Ok(Self { texts: clips.iter().map(pick).collect::<musicrl_core::Result<_>>()?, ..*self })
    }

    fn null(&self) -> Option<Self> {
        Some(Self::unconditional(self.texts.len(), self.width))
    }
}
