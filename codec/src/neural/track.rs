//! Long recordings piece by piece, in memory that does not grow with their length.

use burn::tensor::{Int, Tensor, TensorData};
use musicrl_core::{Error, Result};

use super::{
    codec::NeuralCodec,
    quantiser::{floats, integers},
};

/// Frames worked on at a time, besides the context on either side.
const PIECE_FRAMES: usize = 512;

/// The tokens of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackCodes {
    /// Frame after frame, all levels of a frame together.
    pub ids: Vec<u32>,
    /// Number of frames.
    pub frames: usize,
    /// Levels a frame.
    pub levels: usize,
}

impl TrackCodes {
    /// The same frames with their first `levels` levels only (all, when there are fewer).
    #[must_use]
    pub fn first_levels(&self, levels: usize) -> Self {
        let levels = levels.min(self.levels);
        let ids =
            self.ids.chunks(self.levels.max(1)).flat_map(|frame| &frame[..levels.min(frame.len())]).copied().collect();
        Self { ids, frames: self.frames, levels }
    }
}

impl NeuralCodec {
    /// Mono samples at the codec's rate to tokens; the last frame is filled with silence. The tokens are those of
    /// [`NeuralCodec::encode`] on the whole, but for rounding.
    ///
    /// # Errors
    /// [`Error::Shape`] for no samples, [`Error::NonFinite`] for a sample that is not a number.
    pub fn encode_track(&self, samples: &[f32]) -> Result<TrackCodes> {
        self.encode_track_by(samples, PIECE_FRAMES)
    }

    fn encode_track_by(&self, samples: &[f32], piece: usize) -> Result<TrackCodes> {
        if samples.is_empty() {
            return Err(Error::Shape { what: "samples", expected: "at least one".into(), got: "none".into() });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::NonFinite { what: "a sample", at: index.to_string() });
        }
        let (hop, levels, device) = (self.hop(), self.levels(), self.quantiser().device());
        let frames = samples.len().div_ceil(hop);
        let mut ids = Vec::with_capacity(frames * levels);
        for (from, to, start, end) in self.pieces(frames, piece) {
            let mut values = samples[start * hop..(end * hop).min(samples.len())].to_vec();
            values.resize((end - start) * hop, 0.0);
            let count = values.len();
            let audio = Tensor::<3>::from_data(TensorData::new(values, [1, 1, count]), &device);
            let codes = integers(self.encode(audio)?.narrow(1, from - start, to - from));
            ids.extend(codes.into_iter().map(|id| id as u32));
        }
        Ok(TrackCodes { ids, frames, levels })
    }

    /// Tokens of a whole recording to mono samples, `frames * hop` of them.
    ///
    /// # Errors
    /// As [`NeuralCodec::decode`], and [`Error::Shape`] when the ids are not `frames * levels`.
    pub fn decode_track(&self, codes: &TrackCodes) -> Result<Vec<f32>> {
        self.decode_track_by(codes, PIECE_FRAMES)
    }

    fn decode_track_by(&self, codes: &TrackCodes, piece: usize) -> Result<Vec<f32>> {
        if codes.frames.checked_mul(codes.levels) != Some(codes.ids.len()) {
            let expected = format!("[{} x {}]", codes.frames, codes.levels);
            return Err(Error::Shape { what: "track codes", expected, got: format!("[{}]", codes.ids.len()) });
        }
        let (hop, levels, device) = (self.hop(), codes.levels, self.quantiser().device());
        let mut samples = Vec::with_capacity(codes.frames * hop);
        for (from, to, start, end) in self.pieces(codes.frames, piece) {
            let ids: Vec<i64> = codes.ids[start * levels..end * levels].iter().map(|id| i64::from(*id)).collect();
            let ids = Tensor::<3, Int>::from_data(TensorData::new(ids, [1, end - start, levels]), &device);
            samples.extend(floats(self.decode(ids)?.narrow(2, (from - start) * hop, (to - from) * hop)));
        }
        Ok(samples)
    }

    /// `(from, to, start, end)`: frames `from..to` are kept of what is computed over `start..end`.
    fn pieces(&self, frames: usize, piece: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
        let context = self.config().context_frames();
        (0..frames).step_by(piece.max(1)).map(move |from| {
            let to = (from + piece.max(1)).min(frames);
            (from, to, from.saturating_sub(context), (to + context).min(frames))
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_core::random::{Key, Purpose};

    use super::*;
    use crate::neural::codec::tests::{noise, tiny};

    #[test]
    fn pieces_give_the_tokens_and_the_sound_of_the_whole() {
        for causal in [false, true] {
            let codec = tiny(causal);
            let hop = codec.hop();
            let audio = noise([1, 1, 41 * hop]);
            let samples = floats(audio.clone());
            let whole = codec.encode(audio).unwrap();
            let track = codec.encode_track_by(&samples, 7).unwrap();
            assert_eq!(track.ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>(), integers(whole.clone()));
            let sound = floats(codec.decode(whole).unwrap());
            let by_piece = codec.decode_track_by(&track, 7).unwrap();
            assert_eq!(by_piece.len(), sound.len());
            let worst = sound.iter().zip(&by_piece).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{worst}");
        }
    }

    #[test]
    fn the_last_frame_is_filled_and_bad_input_refused() {
        let codec = tiny(false);
        let hop = codec.hop();
        let track = codec.encode_track(&vec![0.1; 3 * hop + 1]).unwrap();
        assert_eq!((track.frames, track.levels, track.ids.len()), (4, codec.levels(), 4 * codec.levels()));
        let fewer = track.first_levels(1);
        assert_eq!(fewer.ids, track.ids.iter().copied().step_by(track.levels).collect::<Vec<_>>());
        assert_eq!(codec.decode_track(&fewer).unwrap().len(), 4 * hop);
        assert!(matches!(codec.encode_track(&[]), Err(Error::Shape { .. })));
        assert!(matches!(codec.encode_track(&[0.0, f32::NAN]), Err(Error::NonFinite { at, .. }) if at == "1"));
        let cut = TrackCodes { ids: track.ids[1..].to_vec(), ..track };
        assert!(matches!(codec.decode_track(&cut), Err(Error::Shape { .. })));
    }

    #[test]
    fn one_frame_is_a_track() {
        let codec = crate::neural::CodecConfig::base().init(&Device::flex(), Key::new(1, Purpose::Init)).unwrap();
        assert_eq!(codec.encode_track(&[0.5]).unwrap().frames, 1);
    }
}
