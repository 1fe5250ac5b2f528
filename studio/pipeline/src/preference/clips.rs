//! Clips as the preference model sees them.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use musicrl_core::{Error as CoreError, policy::ConditionPrompt, tokens::Tokens};

use super::descriptors::DescriptorScale;
use crate::Result;

/// A clip: what it was made for and its tokens, which fit the model's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceClip {
    /// The caption's embedding tokens; `None` for a model without text.
    pub condition: Option<Vec<u32>>,
    /// The policy's tokens, at least one frame.
    pub tokens: Tokens,
    /// What [`describe`](musicrl_rewards::descriptors::describe) says of its sound; `None` for a model that is told nothing
    /// of it.
    pub descriptors: Option<Vec<f64>>,
}

/// Some frames of a clip.
#[derive(Debug, Clone)]
pub struct Excerpt<'a> {
    /// The clip.
    pub clip: &'a PreferenceClip,
    /// Its frames; not empty, inside the clip.
    pub frames: Range<usize>,
}

impl<'a> Excerpt<'a> {
    /// All of a clip.
    #[must_use]
    pub fn whole(clip: &'a PreferenceClip) -> Self {
        Self { clip, frames: 0..clip.tokens.frames }
    }

    /// The share `fraction` of a clip, at `place` from its earliest (0) to its latest position (1).
    #[must_use]
    pub fn of_share(clip: &'a PreferenceClip, fraction: f64, place: f64) -> Self {
        let total = clip.tokens.frames;
        let frames = ((fraction * total as f64).round() as usize).clamp(1.min(total), total);
        let start = ((place * (total - frames) as f64).round() as usize).min(total - frames);
        Self { clip, frames: start..start + frames }
    }
}

/// Excerpts as one batch, padded at the end to the longest.
#[derive(Debug, Clone)]
pub struct Batch {
    /// One condition an excerpt.
    pub prompt: ConditionPrompt,
    /// `[excerpts, frames, slots]`, padded with id 0.
    pub frames: Tensor<3, Int>,
    /// Frames of each excerpt.
    pub lengths: Vec<usize>,
    /// `[excerpts, numbers]`, those of the whole clips; none for a model on tokens alone.
    pub descriptors: Option<Tensor<2>>,
}

impl Batch {
    /// Puts excerpts together; without `text` none has a condition, without `scale` none has descriptors.
    ///
    /// # Errors
    /// [`CoreError::Shape`] for a clip without the descriptors that `scale` is for.
    pub fn of(excerpts: &[Excerpt<'_>], text: bool, scale: Option<&DescriptorScale>, device: &Device) -> Result<Self> {
        let lengths: Vec<usize> = excerpts.iter().map(|excerpt| excerpt.frames.len()).collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        let slots = excerpts.first().map_or(0, |excerpt| excerpt.clip.tokens.slots);
        let mut ids = Vec::with_capacity(excerpts.len() * time * slots);
        for (index, excerpt) in excerpts.iter().enumerate() {
            let range = excerpt.frames.start * slots..excerpt.frames.end * slots;
            ids.extend(excerpt.clip.tokens.ids.get(range).unwrap_or_default().iter().map(|id| i64::from(*id)));
            ids.resize((index + 1) * time * slots, 0);
        }
        let condition = |excerpt: &Excerpt<'_>| excerpt.clip.condition.clone().filter(|_| text);
        let clips = excerpts.iter().map(|excerpt| excerpt.clip);
        Ok(Self {
            prompt: ConditionPrompt::new(excerpts.iter().map(condition).collect()),
            frames: Tensor::from_data(TensorData::new(ids, [excerpts.len(), time, slots]), device),
            lengths,
            descriptors: scale.map(|scale| descriptor_tensor(clips, scale, device)).transpose()?,
        })
    }
}

/// The numbers of some clips, `[clips, numbers]`.
///
/// # Errors
/// [`CoreError::Shape`] for a clip without descriptors.
pub fn descriptor_tensor<'a>(
    clips: impl Iterator<Item = &'a PreferenceClip>,
    scale: &DescriptorScale,
    device: &Device,
) -> Result<Tensor<2>> {
    let (mut numbers, mut count) = (Vec::new(), 0);
    for clip in clips {
        let descriptors = clip.descriptors.as_ref().ok_or_else(|| CoreError::Shape {
            what: "clips",
            expected: "descriptors of each clip's sound".into(),
            got: format!("clip {count} without them"),
        })?;
        numbers.extend(scale.numbers(descriptors));
        count += 1;
    }
    Ok(Tensor::from_data(TensorData::new(numbers, [count, DescriptorScale::NUMBERS]), device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(frames: u32) -> PreferenceClip {
        let tokens = Tokens::new((0..2 * frames).collect(), 2).unwrap();
        PreferenceClip { condition: Some(vec![1, 2]), tokens, descriptors: None }
    }

    #[test]
    fn shares_lie_inside_the_clip() {
        let clip = clip(10);
        let share = |fraction, place| Excerpt::of_share(&clip, fraction, place).frames;
        assert_eq!(share(1.0, 0.3), 0..10);
        assert_eq!(share(0.5, 0.0), 0..5);
        assert_eq!(share(0.5, 0.5), 3..8);
        assert_eq!(share(0.15, 1.0), 8..10);
        assert_eq!(share(0.001, 1.0), 9..10);
    }

    #[test]
    fn a_batch_is_padded_behind_each_clip() {
        let (long, short) = (clip(3), clip(2));
        let excerpts = [Excerpt::of_share(&long, 0.34, 1.0), Excerpt::whole(&short)];
        let batch = Batch::of(&excerpts, false, None, &Device::flex()).unwrap();
        assert_eq!(batch.lengths, [1, 2]);
        let ids: Vec<i64> = batch.frames.into_data().iter::<i64>().collect();
        assert_eq!(ids, [4, 5, 0, 0, 0, 1, 2, 3]);
        assert_eq!(batch.prompt.tokens(), [None, None]);
        let with_text = Batch::of(&excerpts, true, None, &Device::flex()).unwrap();
        assert_eq!(with_text.prompt.tokens()[1], Some(vec![1, 2]));
    }

    #[test]
    fn descriptors_go_with_their_clips_and_must_be_there() {
        let described = |level: f64| {
            let values = [level; musicrl_rewards::descriptors::COUNT];
            PreferenceClip { descriptors: Some(values.to_vec()), ..clip(3) }
        };
        let (quiet, loud) = (described(-1.0), described(1.0));
        let of = |clip: &PreferenceClip| clip.descriptors.clone().unwrap();
        let scale = DescriptorScale::of(&[&of(&quiet), &of(&loud)]);
        let excerpts = [Excerpt::whole(&loud), Excerpt::of_share(&quiet, 0.5, 0.0)];
        let batch = Batch::of(&excerpts, true, Some(&scale), &Device::flex()).unwrap();
        let numbers: Vec<f32> = batch.descriptors.unwrap().into_data().iter::<f32>().collect();
        assert_eq!((numbers.len(), numbers[0], numbers[DescriptorScale::NUMBERS]), (56, 1.0, -1.0));
        let deaf = clip(3);
        let error = Batch::of(&[Excerpt::whole(&deaf)], true, Some(&scale), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("descriptors") && error.contains("clip 0"), "{error}");
    }
}
