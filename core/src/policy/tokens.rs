//! Clips between [`Tokens`] and tensors.

use alloc::{format, vec::Vec};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{
    Error, Result,
    tokens::{TokenLayout, Tokens},
};

/// Equally long clips as one tensor, checked against the layout.
///
/// # Shapes
/// - output: `[clips, frames, slots]`
///
/// # Errors
/// [`Error::Shape`] for no clips or clips of different length; [`Error::Token`] for an id outside its codebook.
pub fn frames_from_tokens(layout: &TokenLayout, clips: &[Tokens], device: &Device) -> Result<Tensor<3, Int>> {
    let frames = clips.first().map_or(0, |clip| clip.frames);
    let mut ids = Vec::with_capacity(clips.len() * frames * layout.slots_per_frame());
    for (index, clip) in clips.iter().enumerate() {
        layout.check_clip(index, clip)?;
        if clip.frames != frames {
            return Err(Error::Shape {
                what: "clips of a batch",
                expected: format!("{frames} frames each"),
                got: format!("{} at clip {index}", clip.frames),
            });
        }
        ids.extend(clip.ids.iter().map(|id| i64::from(*id)));
    }
    let shape = [clips.len(), frames, layout.slots_per_frame()];
    if ids.is_empty() {
        return Err(Error::Shape {
            what: "clips of a batch",
            expected: "at least one clip, frame and slot".into(),
            got: format!("{shape:?}"),
        });
    }
    Ok(Tensor::from_data(TensorData::new(ids, shape), device))
}

/// The clips of a tensor.
///
/// # Shapes
/// - frames: `[clips, frames, slots]`
///
/// # Errors
/// [`Error::Shape`] when the slots are not the layout's; [`Error::Token`] for an id outside its codebook.
pub fn tokens_from_frames(layout: &TokenLayout, frames: Tensor<3, Int>) -> Result<Vec<Tokens>> {
    let [clips, time, slots] = frames.dims();
    let unreadable = |got| Error::Shape { what: "frames", expected: format!("[{clips}, {time}, {slots}] ids"), got };
    let data = frames.try_into_data_dtype(DType::I64).map_err(|error| unreadable(format!("{error:?}")))?;
    let ids = data.try_to_vec::<i64>().map_err(|error| unreadable(format!("{error:?}")))?;
    let mut all = Vec::with_capacity(clips);
    for (clip, ids) in ids.chunks(time * slots).enumerate() {
        let small = |(at, id): (usize, &i64)| {
            u32::try_from(*id).map_err(|_| Error::Token {
                at: (clip, at / slots.max(1), at % slots.max(1)),
                codebook: layout.slots.get(at % slots.max(1)).map_or(0, |slot| slot.codebook),
                got: *id,
            })
        };
        let tokens = Tokens::new(ids.iter().enumerate().map(small).collect::<Result<_>>()?, slots)?;
        layout.check_clip(clip, &tokens)?;
        all.push(tokens);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Slot, StreamKind};

    #[test]
    fn there_and_back_and_bad_clips() -> Result<()> {
        let slot = |codebook| Slot { stream: StreamKind::Acoustic, codebook };
        let layout = TokenLayout { slots: vec![slot(3), slot(5)], frame_rate_hz: 1.0 };
        let clips = [Tokens::new(vec![0, 4, 2, 1], 2)?, Tokens::new(vec![1, 1, 1, 0], 2)?];
        let device = Device::flex();
        let frames = frames_from_tokens(&layout, &clips, &device)?;
        assert_eq!(frames.dims(), [2, 2, 2]);
        assert_eq!(tokens_from_frames(&layout, frames.clone())?, clips);
        assert!(matches!(tokens_from_frames(&layout, frames.clone() - 1), Err(Error::Token { got: -1, .. })));
        assert!(matches!(tokens_from_frames(&layout, frames + 1), Err(Error::Token { at: (0, 0, 1), got: 5, .. })));
        assert!(matches!(frames_from_tokens(&layout, &[], &device), Err(Error::Shape { .. })));
        let short = [clips[0].clone(), Tokens::new(vec![0, 0], 2)?];
        assert!(matches!(frames_from_tokens(&layout, &short, &device), Err(Error::Shape { .. })));
        Ok(())
    }
}
