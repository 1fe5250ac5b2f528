//! Fixed Fourier bases as convolution kernels: what the encoder hears and the decoder speaks with
//! [`WaveKernels::Fourier`](super::WaveKernels::Fourier).

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use musicrl_core::nn::math::{exp, sin_cos};
use realfft::RealFftPlanner;

use super::{
    conv::{frame, overlap_add},
    quantiser::floats,
};

/// A Hann window, periodic, so that shifted copies add up to a constant.
pub(crate) fn hann(window: usize) -> Vec<f64> {
    (0..window).map(|n| 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / window as f64).cos()).collect()
}

/// Windowed real Fourier kernels, cosines then sines.
///
/// # Shapes
/// - result: [window, 2 * (window / 2 + 1)]
pub(crate) fn fourier_kernels(window: usize, scale: f64, device: &Device) -> Tensor<2> {
    let bins = window / 2 + 1;
    let shape = hann(window);
    let mut values = Vec::with_capacity(2 * window * bins);
    for (n, weight) in shape.iter().enumerate() {
        // n * bin modulo the window keeps the angle exact for any length.
        let angle = |bin: usize| std::f64::consts::TAU * ((n * bin) % window) as f64 / window as f64;
        values.extend((0..bins).map(|bin| (scale * weight * angle(bin).cos()) as f32));
        values.extend((0..bins).map(|bin| (-scale * weight * angle(bin).sin()) as f32));
    }
    Tensor::from_data(TensorData::new(values, [window, 2 * bins]), device)
}

/// Log magnitude that the network means by zero, and by one more.
const LOUDNESS_CENTRE: f64 = -5.0;
const LOUDNESS_GAIN: f64 = 2.0;

/// Log magnitudes and compressed spectra of overlapping windows.
#[derive(Module, Debug)]
pub struct Analysis {
    kernels: Tensor<2>,
    stride: usize,
    taps: usize,
    causal: bool,
}

impl Analysis {
    /// Windows of `taps` strides, one a stride.
    #[must_use]
    pub fn new(stride: usize, taps: usize, causal: bool, device: &Device) -> Self {
        let scale = (stride as f64).sqrt() / (stride * taps) as f64;
        Self { kernels: fourier_kernels(stride * taps, scale, device), stride, taps, causal }
    }

    /// Features a frame.
    #[must_use]
    pub fn width(&self) -> usize {
        3 * (self.stride * self.taps / 2 + 1)
    }

    /// The loudness part of [`Analysis::forward`]'s result, as `bands` bands.
    ///
    /// # Shapes
    /// - features: [clips, frames, 3 * bins]
    /// - bands: [bins, bands], of [`band_weights`]
    /// - result: [clips, frames, bands]
    pub(crate) fn loudness(features: Tensor<3>, bands: Tensor<2>) -> Tensor<3> {
        let [clips, frames, _] = features.dims();
        let [bins, count] = bands.dims();
        let loudness = features.narrow(2, 0, bins).reshape([clips * frames, bins]);
        loudness.matmul(bands).reshape([clips, frames, count])
    }

    /// # Shapes
    /// - samples: [clips, frames * stride, 1]
    /// - result: [clips, frames, 3 * bins]: log power, then real and imaginary part over the root of the magnitude
    #[must_use]
    pub fn forward(&self, samples: Tensor<3>) -> Tensor<3> {
        let framed = frame(samples, self.stride, self.taps, self.causal);
        let [clips, frames, window] = framed.dims();
        let bins = window / 2 + 1;
        let spectrum = framed.reshape([clips * frames, window]).matmul(self.kernels.clone());
        let (re, im) = (spectrum.clone().narrow(1, 0, bins), spectrum.narrow(1, bins, bins));
        let power = re.clone() * re.clone() + im.clone() * im.clone() + 1e-6;
        // The compression keeps phase and tames the range: |x| becomes the root of |x|.
        let compress = power.clone().sqrt().sqrt().recip();
        // Log power spans about -14 to 4: this brings it near the unit range.
        let loudness = (power.log() + 6.0) * 0.25;
        let features = Tensor::cat(vec![loudness, re * compress.clone(), im * compress], 1);
        features.reshape([clips, frames, 3 * bins])
    }
}

/// Triangles evenly spaced on the HTK mel scale, each summing to one; at least a bin wide on either side, or the low
/// bands of short windows would be empty.
///
/// # Shapes
/// - result: [window / 2 + 1][bands], row after row
pub(crate) fn band_weights(window: usize, bands: usize, sample_rate_hz: u32) -> Vec<f32> {
    let bins = window / 2 + 1;
    let to_mel = |hz: f64| 2_595.0 * (1.0 + hz / 700.0).log10();
    let to_hz = |mel: f64| 700.0 * (10.0_f64.powf(mel / 2_595.0) - 1.0);
    let rate = f64::from(sample_rate_hz);
    let top = to_mel(rate / 2.0);
    let edge = |i: usize| to_hz(top * i as f64 / (bands + 1) as f64) * window as f64 / rate;
    let mut values = vec![0.0_f32; bins * bands];
    for band in 0..bands {
        let centre = edge(band + 1);
        let (left, right) = ((centre - edge(band)).max(1.0), (edge(band + 2) - centre).max(1.0));
        let weight = |bin: usize| {
            let from = bin as f64 - centre;
            (1.0 - if from < 0.0 { -from / left } else { from / right }).max(0.0)
        };
        let sum: f64 = (0..bins).map(weight).sum();
        for bin in 0..bins {
            values[bin * bands + band] = (weight(bin) / sum.max(1e-9)) as f32;
        }
    }
    values
}

/// Spreads bands over bins: the transpose of [`band_weights`] with the weights of every bin summing to one. Bins
/// outside every triangle, at the ends, take the outermost band.
///
/// # Shapes
/// - result: [bands][window / 2 + 1], row after row
pub(crate) fn band_spread(window: usize, bands: usize, sample_rate_hz: u32) -> Vec<f32> {
    let bins = window / 2 + 1;
    let weights = band_weights(window, bands, sample_rate_hz);
    let mut values = vec![0.0_f32; bins * bands];
    for (bin, row) in weights.chunks_exact(bands).enumerate() {
        let sum: f32 = row.iter().sum();
        for (band, weight) in row.iter().enumerate() {
            values[band * bins + bin] = if sum > 0.0 { weight / sum } else { 0.0 };
        }
        if sum <= 0.0 {
            let outermost = if bin < bins / 2 { 0 } else { bands - 1 };
            values[outermost * bins + bin] = 1.0;
        }
    }
    values
}

/// Overlap-adds windows given as log magnitude and phase (Siuzdak, "Vocos", 2023).
#[derive(Module, Debug)]
pub struct Synthesis {
    kernels: Tensor<2>,
    stride: usize,
    taps: usize,
    causal: bool,
}

impl Synthesis {
    /// Windows of `taps` strides, one a stride.
    #[must_use]
    pub fn new(stride: usize, taps: usize, causal: bool, device: &Device) -> Self {
        let window = stride * taps;
        let bins = window / 2 + 1;
        let scale = Self::scale(stride, taps);
        // Inner bins stand for two: the spectrum of a real signal is symmetric.
        let twice: Vec<f32> =
            (0..2 * bins).map(|i| if (1..bins - 1).contains(&(i % bins)) { 2.0 } else { 1.0 }).collect();
        let twice = Tensor::<2>::from_data(TensorData::new(twice, [2 * bins, 1]), device);
        Self { kernels: fourier_kernels(window, scale, device).transpose() * twice, stride, taps, causal }
    }

    /// What makes it the inverse of `Analysis`.
    fn scale(stride: usize, taps: usize) -> f64 {
        let window = stride * taps;
        // Analysis and synthesis windows overlap to this constant (exactly, from 3 taps on).
        let overlap: f64 = hann(window).iter().map(|w| w * w).sum::<f64>() / stride as f64;
        let analysis = (stride as f64).sqrt() / window as f64;
        1.0 / (analysis * overlap * window as f64)
    }

    /// Values a frame that [`Synthesis::forward`] takes.
    #[must_use]
    pub fn width(&self) -> usize {
        2 * (self.stride * self.taps / 2 + 1)
    }

    /// # Shapes
    /// - spectrum: [clips, frames, 2 * bins]: log magnitudes (centred and scaled), then phases in radians
    /// - result: [clips, frames * stride, 1]
    #[must_use]
    pub fn forward(&self, spectrum: Tensor<3>) -> Tensor<3> {
        let [clips, frames, width] = spectrum.dims();
        let bins = width / 2;
        let flat = spectrum.reshape([clips * frames, width]);
        // Around zero the network speaks about as loud as music is; e^4 is beyond full scale, and the ceiling keeps an
        // early slip finite.
        let magnitude = (flat.clone().narrow(1, 0, bins) * LOUDNESS_GAIN + LOUDNESS_CENTRE).clamp_max(4.0).exp();
        let phase = flat.narrow(1, bins, bins);
        let spectrum = Tensor::cat(vec![magnitude.clone() * phase.clone().cos(), magnitude * phase.sin()], 1);
        self.sum(spectrum, clips)
    }

    /// What [`Synthesis::forward`] gives, to rounding, clip by clip and on the processor: by fast transforms, where a
    /// gradient needs the products with all kernels.
    ///
    /// # Shapes
    /// - spectrum: as [`Synthesis::forward`]
    /// - result: [clips][frames * stride]
    #[must_use]
    pub fn samples(&self, spectrum: Tensor<3>) -> Vec<Vec<f32>> {
        let [clips, frames, width] = spectrum.dims();
        let (window, bins) = (self.stride * self.taps, width / 2);
        let scale = Self::scale(self.stride, self.taps);
        let shape: Vec<f32> = hann(window).iter().map(|weight| (scale * weight) as f32).collect();
        let transform = RealFftPlanner::<f32>::new().plan_fft_inverse(window);
        let (mut bins_in, mut samples_out) = (transform.make_input_vec(), transform.make_output_vec());
        let mut scratch = transform.make_scratch_vec();
        let from = if self.causal { 0 } else { (self.taps - 1) * self.stride / 2 };
        let values = floats(spectrum);
        let clip = |values: &[f32]| {
            let mut sum = vec![0.0; (frames + self.taps - 1) * self.stride];
            for (row, at) in values.chunks_exact(width).zip((0..).step_by(self.stride)) {
                let (magnitudes, phases) = row.split_at(bins);
                for ((bin, magnitude), phase) in bins_in.iter_mut().zip(magnitudes).zip(phases) {
                    let magnitude = exp((magnitude * LOUDNESS_GAIN as f32 + LOUDNESS_CENTRE as f32).min(4.0));
                    let (sin, cos) = sin_cos(*phase);
                    (bin.re, bin.im) = (magnitude * cos, magnitude * sin);
                }
                // A real signal's first bin is real, and so is the last of an even window; that of an odd one stands for two,
                // and here for one.
                bins_in[0].im = 0.0;
                if window % 2 == 0 {
                    bins_in[bins - 1].im = 0.0;
                } else if bins > 1 {
                    bins_in[bins - 1] *= 0.5;
                }
                // The buffers are the transform's own, so their lengths fit.
                if transform.process_with_scratch(&mut bins_in, &mut samples_out, &mut scratch).is_ok() {
                    for ((sum, sample), weight) in sum[at..].iter_mut().zip(&samples_out).zip(&shape) {
                        *sum += sample * weight;
                    }
                }
            }
            sum[from..from + frames * self.stride].to_vec()
        };
        values.chunks_exact((frames * width).max(1)).map(clip).take(clips).collect()
    }

    /// Real and imaginary parts `[clips * frames, 2 * bins]` to samples.
    fn sum(&self, spectrum: Tensor<2>, clips: usize) -> Tensor<3> {
        let [rows, _] = spectrum.dims();
        let window = self.stride * self.taps;
        let windows = spectrum.matmul(self.kernels.clone()).reshape([clips, rows / clips, window]);
        overlap_add(windows, self.stride, self.taps, self.causal)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    fn noise(samples: usize) -> Tensor<3> {
        let mut stream = Key::new(3, Purpose::Test).stream();
        let values: Vec<f32> = (0..samples).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, samples, 1]), &Device::flex())
    }

    #[test]
    fn synthesis_inverts_analysis_away_from_the_ends() {
        let device = Device::flex();
        for (stride, taps) in [(8, 4), (10, 3), (16, 4)] {
            let (analysis, synthesis) =
                (Analysis::new(stride, taps, false, &device), Synthesis::new(stride, taps, false, &device));
            let x = noise(20 * stride);
            let framed = frame(x.clone(), stride, taps, false);
            let spectrum = framed.reshape([20, stride * taps]).matmul(analysis.kernels.clone());
            let y = synthesis.sum(spectrum, 1);
            let inner = |t: Tensor<3>| t.narrow(1, 4 * stride, 12 * stride);
            let worst: f32 = (inner(x) - inner(y)).abs().max().into_scalar();
            assert!(worst < 1e-4, "{stride} x {taps}: {worst}");
        }
    }

    #[test]
    fn fast_transforms_give_what_the_kernels_do() {
        let device = Device::flex();
        for (stride, taps, causal) in [(8, 4, false), (10, 3, true), (5, 3, false), (3, 1, true), (160, 4, false)] {
            let synthesis = Synthesis::new(stride, taps, causal, &device);
            let (clips, frames, width) = (2, 7, synthesis.width());
            let mut stream = Key::new(5, Purpose::Test).stream();
            let mut value = |at: usize| if at % width < width / 2 { stream.normal() } else { 9.0 * stream.normal() };
            let values: Vec<f32> = (0..clips * frames * width).map(|at| value(at) as f32).collect();
            let spectrum = Tensor::<3>::from_data(TensorData::new(values, [clips, frames, width]), &device);
            let want = floats(synthesis.forward(spectrum.clone()));
            let loudest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            assert!(loudest > 1e-3);
            let got = synthesis.samples(spectrum);
            assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [frames * stride; 2]);
            for (got, want) in got.concat().iter().zip(&want) {
                assert!((got - want).abs() < 2e-5 * loudest, "{stride} x {taps}: {got} for {want} below {loudest}");
            }
        }
    }

    #[test]
    fn a_tone_falls_into_its_band_and_bands_cover_every_bin() {
        let values = band_weights(512, 40, 16_000);
        let loudest = |bin: usize| {
            let row = &values[bin * 40..][..40];
            (0..40).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
        };
        // 1000 Hz is 1000 mel of 2840: the fourteenth centre of 41 steps.
        assert_eq!(loudest(32), 13);
        assert!(loudest(8) < loudest(16) && loudest(16) < loudest(64));
        for bands in [1, 3, 40, 200] {
            let spread = band_spread(512, bands, 16_000);
            for bin in 0..257 {
                let sum: f32 = (0..bands).map(|band| spread[band * 257 + bin]).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{bands} bands, bin {bin}: {sum}");
            }
        }
    }

    #[test]
    fn analysis_is_finite_on_silence_and_synthesis_on_extremes() {
        let device = Device::flex();
        let silence = Tensor::<3>::zeros([1, 64, 1], &device);
        assert!(Analysis::new(8, 4, true, &device).forward(silence).is_finite().all().into_scalar::<bool>());
        let synthesis = Synthesis::new(8, 4, true, &device);
        for level in [-1e4, 1e4] {
            let spectrum = Tensor::<3>::full([1, 3, synthesis.width()], level, &device);
            assert!(synthesis.samples(spectrum.clone()).concat().iter().all(|sample| sample.is_finite()));
            assert!(synthesis.forward(spectrum).is_finite().all().into_scalar::<bool>());
        }
    }
}
