//! Sound in overlapping chunks: [`Chunks`].

use burn::tensor::{Device, Int, Tensor};

use super::model::Encodec;
use crate::{
    Error, Result,
    named::{device_floats, host},
};

/// Codes of a sound that was cut into chunks. A model without `chunk_length_s` makes one chunk of the whole.
#[derive(Debug, Clone)]
pub struct Chunks {
    /// `[chunks, clips, quantisers, frames]`; a chunk shorter than the first is filled with zeros.
    pub codes: Tensor<4, Int>,
    /// The loudness that each chunk was divided by, `[chunks, clips, 1]`, where the model normalises.
    pub scales: Option<Tensor<3>>,
    /// Frames of each chunk that are no filling.
    pub frames: Vec<usize>,
}

impl Chunks {
    /// Frames of filling in the last chunk.
    #[must_use]
    pub fn last_frame_pad(&self) -> usize {
        let [_, _, _, frames] = self.codes.dims();
        self.frames.last().map_or(0, |last| frames.saturating_sub(*last))
    }
}

impl Encodec {
    /// Codes of a sound, chunk by chunk, each normalised where the model does.
    ///
    /// # Shapes
    /// - waveform: `[clips, channels, samples]`, any length from 1
    /// - mask: `[clips, 1 or channels, samples]`, 0 where a shorter clip was filled up and 1 elsewhere
    ///
    /// # Errors
    /// [`Error::Input`] for another shape, or for more quantisers than there are.
    pub fn encode_chunks(&self, waveform: Tensor<3>, mask: Option<Tensor<3>>, quantisers: usize) -> Result<Chunks> {
        self.check_quantisers(quantisers)?;
        self.check_shape(&waveform)?;
        let [clips, channels, samples] = waveform.dims();
        let waveform = match mask {
            None => waveform,
            Some(mask) if [[clips, 1, samples], [clips, channels, samples]].contains(&mask.dims()) => waveform * mask,
            Some(mask) => {
                let rule = format!("the waveform's shape, [{clips}, 1 or {channels}, {samples}]");
                return Err(Error::input("padding mask", rule, format!("{:?}", mask.dims())));
            }
        };
        let length = self.config().chunk_samples().unwrap_or(samples);
        let stride = self.config().chunk_stride_samples().unwrap_or(samples);
        let mut codes: Vec<Tensor<3, Int>> = Vec::new();
        let mut scales = Vec::new();
        for start in (0..samples).step_by(stride) {
            let mut chunk = waveform.clone().narrow(2, start, length.min(samples - start));
            if self.config().normalize {
                let scale = loudness(chunk.clone());
                chunk = chunk / scale.clone();
                scales.push(scale.reshape([1, clips, 1]));
            }
            codes.push(self.quantise(self.latents(chunk)?, quantisers)?);
        }
        let frames: Vec<usize> = codes.iter().map(|codes| codes.dims()[2]).collect();
        // Chunks never grow: the first is the longest.
        let most = frames.first().copied().unwrap_or(0);
        let filled = codes.into_iter().map(|codes| {
            let [clips, levels, frames] = codes.dims();
            let filling = Tensor::zeros([clips, levels, most - frames], &codes.device());
            let codes = if frames < most { Tensor::cat(vec![codes, filling], 2) } else { codes };
            codes.unsqueeze::<4>()
        });
        let codes = Tensor::cat(filled.collect(), 0);
        Ok(Chunks { codes, scales: self.config().normalize.then(|| Tensor::cat(scales, 0)), frames })
    }

    /// The sound of codes. It may be longer than the sound that was encoded: cut it to its length.
    ///
    /// # Shapes
    /// - output: `[clips, channels, samples]`
    ///
    /// # Errors
    /// [`Error::Input`] for codes out of range, parts of other shapes, or more than one chunk where the model has none.
    pub fn decode_chunks(&self, chunks: &Chunks) -> Result<Tensor<3>> {
        let [count, clips, levels, frames] = chunks.codes.dims();
        if self.config().chunk_samples().is_none() && count != 1 {
            return Err(Error::input("codes", "one chunk", count));
        }
        let lengths_fit = chunks.frames.iter().all(|length| (1..=frames).contains(length));
        if count == 0 || chunks.frames.len() != count || !lengths_fit {
            let rule = format!("a length from 1 to {frames} for each of {count} chunks, one at least");
            return Err(Error::input("frames of the chunks", rule, format!("{:?}", chunks.frames)));
        }
        if let Some(scales) = &chunks.scales
            && scales.dims() != [count, clips, 1]
        {
            let rule = format!("shape [{count}, {clips}, 1]");
            return Err(Error::input("scales", rule, format!("{:?}", scales.dims())));
        }
        let decode = |index: usize| {
            let codes = chunks.codes.clone().narrow(0, index, 1).reshape([clips, levels, frames]);
            let sound = self.decode_tensor(codes.narrow(2, 0, chunks.frames[index]))?;
            Ok(match &chunks.scales {
                Some(scales) => sound * scales.clone().narrow(0, index, 1).reshape([clips, 1, 1]),
                None => sound,
            })
        };
        if count == 1 {
            return decode(0);
        }
        let device = chunks.codes.device();
        let stride = self.config().chunk_stride_samples().unwrap_or(1);
        overlap_add((0..count).map(decode), count, stride, clips * self.config().channels(), &device).map(
            |sound: Tensor<2>| {
                let [_, samples] = sound.dims();
                sound.reshape([clips, self.config().channels(), samples])
            },
        )
    }
}

/// sqrt(mean(mono^2)) + 1e-8, as `[clips, 1, 1]`.
fn loudness(chunk: Tensor<3>) -> Tensor<3> {
    let mono = chunk.mean_dim(1);
    (mono.clone() * mono).mean_dim(2).sqrt().add_scalar(1e-8)
}

/// Sounds that start `stride` samples after each other, faded into each other.
///
/// Each is weighted by a triangle over the length of the *first* one (cut off in a shorter one), and the sum is divided
/// by the sum of the weights.
///
/// # Shapes
/// - sounds: `[clips, channels, samples]` each, of any number of samples
/// - output: `[clips * channels, samples]`
fn overlap_add(
    sounds: impl Iterator<Item = Result<Tensor<3>>>,
    count: usize,
    stride: usize,
    rows: usize,
    device: &Device,
) -> Result<Tensor<2>> {
    let mut first = 0;
    let mut sums: Vec<Vec<f64>> = vec![Vec::new(); rows];
    let mut weights: Vec<f64> = Vec::new();
    for (index, sound) in sounds.enumerate() {
        let sound = sound?;
        let [_, _, length] = sound.dims();
        if index == 0 {
            first = length;
            let all = stride.saturating_mul(count - 1).saturating_add(length);
            weights.reserve(all);
            sums.iter_mut().for_each(|sum| sum.reserve(all));
        }
        let start = index * stride;
        // Point i of linspace(0, 1, first + 2) without its ends, folded at the middle.
        let triangle = |i: usize| (i + 1).min(first - i) as f64 / (first + 1) as f64;
        let end = (start + length).max(weights.len());
        weights.resize(end, 0.0);
        weights[start..start + length].iter_mut().enumerate().for_each(|(i, weight)| *weight += triangle(i));
        for (sum, values) in sums.iter_mut().zip(host(sound)?.chunks(length)) {
            sum.resize(end, 0.0);
            let sum = sum[start..start + length].iter_mut().enumerate();
            sum.zip(values).for_each(|((i, sum), value)| *sum += triangle(i) * f64::from(*value));
        }
    }
    let length = weights.len();
    let mut out = Vec::with_capacity(rows.saturating_mul(length));
    for sum in &sums {
        // No sound covers a gap between chunks: silence.
        let value = |(sum, weight): (&f64, &f64)| if *weight > 0.0 { (sum / weight) as f32 } else { 0.0 };
        out.extend(sum.iter().zip(&weights).map(value));
    }
    Ok(device_floats(&out, [rows, length], device))
}
