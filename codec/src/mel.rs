//! Mel spectrograms on the CPU: what judges and tokenisers hear.
//!
//! Frame `t` is centred on sample `t * hop_samples`; the ends are mirrored (reflect padding, the edge sample not
//! repeated), so `n` samples give `n / hop_samples + 1` frames. The window is the periodic Hann window. Everything up
//! to the returned `f32` is computed in `f64`.
//!
//! Band `b` of frame `t`: `M[t, b] = sum_k W[b, k] |X[t, k]|^p` with triangles `W` whose corners are equally spaced in
//! mels, p = 1 or 2 ([`Spectrum`]), then [`Log`].

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, audio::check_sample_rate};

/// The formula of the mel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// `m = 2595 log10(1 + f / 700)` (the HTK book).
    Htk,
    /// Linear to 1 kHz, logarithmic above (Slaney's Auditory Toolbox; librosa's default).
    Slaney,
}

/// The height of the triangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Every triangle peaks at 1.
    None,
    /// Every triangle has area 1 over Hz (`2 / bandwidth`): white noise gives a flat spectrum.
    Slaney,
}

/// What the triangles sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spectrum {
    /// `|X|`.
    Magnitude,
    /// `|X|^2`.
    Power,
}

/// The compression of the bands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// None.
    None,
    /// `ln(max(M, floor))`.
    Natural {
        /// Smallest value that is told apart from silence, positive.
        floor: f64,
    },
    /// Decibels: `20 log10` of magnitudes, `10 log10` of powers, of `max(M, floor)`.
    Decibel {
        /// Smallest value that is told apart from silence, positive.
        floor: f64,
    },
}

/// A mel front end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MelConfig {
    /// Rate of the samples that will come.
    pub sample_rate_hz: u32,
    /// Window and FFT length, in samples, at least 2 and even.
    pub fft_size: usize,
    /// Distance of frames, in samples.
    pub hop_samples: usize,
    /// Number of mel bands.
    pub bands: usize,
    /// Lower edge of the lowest band.
    pub low_hz: f64,
    /// Upper edge of the highest band, at most half the sampling rate.
    pub high_hz: f64,
    /// The formula of the mel.
    pub scale: Scale,
    /// The height of the triangles.
    pub norm: Norm,
    /// Magnitudes or powers.
    pub spectrum: Spectrum,
    /// The compression.
    pub log: Log,
}

impl MelConfig {
    /// A log-mel of magnitudes with HTK triangles over the whole band, natural logarithm floored at 1e-5.
    #[must_use]
    pub fn new(sample_rate_hz: u32, fft_size: usize, hop_samples: usize, bands: usize) -> Self {
        Self {
            sample_rate_hz,
            fft_size,
            hop_samples,
            bands,
            low_hz: 0.0,
            high_hz: f64::from(sample_rate_hz) / 2.0,
            scale: Scale::Htk,
            norm: Norm::None,
            spectrum: Spectrum::Magnitude,
            log: Log::Natural { floor: 1e-5 },
        }
    }

    /// Checks every field, and that no band falls between two FFT bins.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field; [`Error::SampleRate`].
    pub fn validate(&self) -> Result<()> {
        self.filters().map(|_| ())
    }

    /// Builds the front end.
    ///
    /// # Errors
    /// As [`MelConfig::validate`].
    pub fn init(&self) -> Result<Mel> {
        let filters = self.filters()?;
        let step = std::f64::consts::TAU / self.fft_size as f64;
        let window = (0..self.fft_size).map(|i| 0.5 - 0.5 * (step * i as f64).cos()).collect();
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(self.fft_size);
        Ok(Mel { config: *self, window, filters, fft })
    }

    fn check_fields(&self) -> Result<()> {
        let bad = |field, expected: String, got: String| Err(Error::Config { field, expected, got });
        check_sample_rate("mel front end", self.sample_rate_hz)?;
        if self.fft_size < 2 || self.fft_size % 2 == 1 || self.fft_size > 1 << 20 {
            return bad("fft_size", "even, 2 to 1048576".into(), self.fft_size.to_string());
        }
        if self.hop_samples == 0 {
            return bad("hop_samples", "at least 1".into(), "0".into());
        }
        if self.bands == 0 || self.bands > self.fft_size {
            return bad("bands", format!("1 to fft_size ({})", self.fft_size), self.bands.to_string());
        }
        let nyquist_hz = f64::from(self.sample_rate_hz) / 2.0;
        if !(0.0..nyquist_hz).contains(&self.low_hz) {
            return bad("low_hz", format!("0 to below {nyquist_hz}"), self.low_hz.to_string());
        }
        if !(self.high_hz > self.low_hz && self.high_hz <= nyquist_hz) {
            return bad("high_hz", format!("above low_hz and at most {nyquist_hz}"), self.high_hz.to_string());
        }
        match self.log {
            Log::Natural { floor } | Log::Decibel { floor } if !(floor > 0.0 && floor.is_finite()) => {
                bad("log", "a positive floor".into(), floor.to_string())
            }
            _ => Ok(()),
        }
    }

    /// The triangles, each as its first bin and its weights.
    fn filters(&self) -> Result<Vec<Filter>> {
        self.check_fields()?;
        let (low, high) = (self.scale.mel(self.low_hz), self.scale.mel(self.high_hz));
        let step = (high - low) / (self.bands + 1) as f64;
        let corner_hz = |i: usize| self.scale.hz(low + step * i as f64);
        let bin_hz = f64::from(self.sample_rate_hz) / self.fft_size as f64;
        let bins = self.fft_size / 2 + 1;
        (0..self.bands)
            .map(|band| {
                let (left, peak, right) = (corner_hz(band), corner_hz(band + 1), corner_hz(band + 2));
                let height = match self.norm {
                    Norm::None => 1.0,
                    Norm::Slaney => 2.0 / (right - left),
                };
                let weight = |bin: usize| {
                    let hz = bin as f64 * bin_hz;
                    height * ((hz - left) / (peak - left)).min((right - hz) / (right - peak)).max(0.0)
                };
                let first = ((left / bin_hz).floor().max(0.0) as usize).min(bins - 1);
                let last = ((right / bin_hz).ceil().max(0.0) as usize).min(bins - 1);
                let weights: Vec<f64> = (first..=last).map(weight).collect();
                if weights.iter().all(|&w| w <= 0.0) {
                    return Err(Error::Config {
                        field: "bands",
                        expected: format!("few enough that every band holds an FFT bin ({bin_hz:.1} Hz apart)"),
                        got: format!("{} (band {band} from {left:.1} to {right:.1} Hz is empty)", self.bands),
                    });
                }
                Ok(Filter { first, weights })
            })
            .collect()
    }
}

/// Where Slaney's scale turns from linear to logarithmic, and its slopes.
const SLANEY_BREAK_HZ: f64 = 1_000.0;
const SLANEY_MELS_PER_HZ: f64 = 3.0 / 200.0;
/// `ln(6.4) / 27`: 27 mels from 1 to 6.4 kHz.
const SLANEY_LOG_STEP: f64 = 0.068_751_777_420_949_12;

impl Scale {
    /// Mels of a frequency.
    #[must_use]
    pub fn mel(self, hz: f64) -> f64 {
        match self {
            Self::Htk => 2_595.0 * (1.0 + hz / 700.0).log10(),
            Self::Slaney if hz < SLANEY_BREAK_HZ => hz * SLANEY_MELS_PER_HZ,
            Self::Slaney => SLANEY_BREAK_HZ * SLANEY_MELS_PER_HZ + (hz / SLANEY_BREAK_HZ).ln() / SLANEY_LOG_STEP,
        }
    }

    /// The inverse of [`Scale::mel`].
    #[must_use]
    pub fn hz(self, mel: f64) -> f64 {
        let break_mel = SLANEY_BREAK_HZ * SLANEY_MELS_PER_HZ;
        match self {
            Self::Htk => 700.0 * (10.0_f64.powf(mel / 2_595.0) - 1.0),
            Self::Slaney if mel < break_mel => mel / SLANEY_MELS_PER_HZ,
            Self::Slaney => SLANEY_BREAK_HZ * ((mel - break_mel) * SLANEY_LOG_STEP).exp(),
        }
    }
}

#[derive(Debug, Clone)]
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

/// A built front end. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Mel {
    config: MelConfig,
    window: Vec<f64>,
    filters: Vec<Filter>,
    fft: Arc<dyn RealToComplex<f64>>,
}

impl std::fmt::Debug for Mel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mel").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Mel {
    /// The settings it was built from.
    #[must_use]
    pub fn config(&self) -> &MelConfig {
        &self.config
    }

    /// Frames of a signal of `samples` samples: `samples / hop_samples + 1`, and 0 for none.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        if samples == 0 { 0 } else { samples / self.config.hop_samples + 1 }
    }

    /// The spectrogram, frame after frame.
    ///
    /// # Shapes
    /// - samples: \[samples\]; returns \[frames * bands\], row-major.
    #[must_use]
    pub fn features(&self, samples: &[f32]) -> Vec<f32> {
        let (fft_size, hop) = (self.config.fft_size, self.config.hop_samples);
        let frames = self.frames(samples.len());
        let mut output = Vec::with_capacity(frames * self.config.bands);
        let mut input = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut strength = vec![0.0_f64; spectrum.len()];
        for frame in 0..frames {
            let centre = frame * hop;
            for (i, (slot, window)) in input.iter_mut().zip(&self.window).enumerate() {
                let at = mirrored(centre as i64 + i as i64 - (fft_size / 2) as i64, samples.len());
                *slot = window * f64::from(samples[at]);
            }
            // The buffers were made by the plan itself, so their lengths fit and the transform cannot refuse.
            let _ = self.fft.process_with_scratch(&mut input, &mut spectrum, &mut scratch);
            for (strength, bin) in strength.iter_mut().zip(&spectrum) {
                *strength = match self.config.spectrum {
                    Spectrum::Magnitude => bin.norm(),
                    Spectrum::Power => bin.norm_sqr(),
                };
            }
            output.extend(self.filters.iter().map(|filter| {
                let bins = &strength[filter.first..filter.first + filter.weights.len()];
                let band: f64 = filter.weights.iter().zip(bins).map(|(w, s)| w * s).sum();
                self.compress(band) as f32
            }));
        }
        output
    }

    fn compress(&self, band: f64) -> f64 {
        match (self.config.log, self.config.spectrum) {
            (Log::None, _) => band,
            (Log::Natural { floor }, _) => band.max(floor).ln(),
            (Log::Decibel { floor }, Spectrum::Magnitude) => 20.0 * band.max(floor).log10(),
            (Log::Decibel { floor }, Spectrum::Power) => 10.0 * band.max(floor).log10(),
        }
    }
}

/// Index into `length > 0` samples after mirroring at both ends as often as needed.
fn mirrored(at: i64, length: usize) -> usize {
    if (0..length as i64).contains(&at) {
        return at as usize;
    }
    let period = 2 * (length as i64 - 1);
    if period == 0 {
        return 0;
    }
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, samples: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / 16_000.0;
        (0..samples).map(|i| (step * i as f64).sin() as f32).collect()
    }

    #[test]
    fn known_mels() {
        // Values of librosa.hz_to_mel, htk=True and False.
        for (scale, hz, mel) in [
            (Scale::Htk, 1_000.0, 999.985_5),
            (Scale::Htk, 440.0, 549.638_8),
            (Scale::Slaney, 440.0, 6.6),
            (Scale::Slaney, 1_000.0, 15.0),
            (Scale::Slaney, 6_400.0, 42.0),
        ] {
            assert!((scale.mel(hz) - mel).abs() < 1e-3, "{scale:?} {hz}: {}", scale.mel(hz));
            assert!((scale.hz(scale.mel(hz)) - hz).abs() < 1e-6);
        }
    }

    #[test]
    fn one_frame_by_a_plain_sum() {
        let config = MelConfig { log: Log::None, ..MelConfig::new(16_000, 64, 16, 6) };
        let samples: Vec<f32> = (0..100).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let mel = config.init().unwrap();
        let got = mel.features(&samples);
        assert_eq!(got.len(), 7 * 6);
        // Frame 3 is centred on sample 48: no mirroring. The triangles come straight from their definition.
        let bins: Vec<f64> = (0..33)
            .map(|k| {
                let (mut re, mut im) = (0.0, 0.0);
                for n in 0..64 {
                    let hann = (std::f64::consts::PI * n as f64 / 64.0).sin().powi(2);
                    let angle = std::f64::consts::TAU * (k * n) as f64 / 64.0;
                    let x = hann * f64::from(samples[16 + n]);
                    (re, im) = (re + x * angle.cos(), im - x * angle.sin());
                }
                f64::hypot(re, im)
            })
            .collect();
        let step = Scale::Htk.mel(8_000.0) / 7.0;
        for band in 0..6 {
            let hz = |i: usize| Scale::Htk.hz(step * (band + i) as f64);
            let want: f64 = (0..33)
                .map(|k| {
                    let f = 250.0 * k as f64;
                    let rise = (f - hz(0)) / (hz(1) - hz(0));
                    let fall = (hz(2) - f) / (hz(2) - hz(1));
                    rise.min(fall).max(0.0) * bins[k]
                })
                .sum();
            let value = f64::from(got[3 * 6 + band]);
            assert!((value - want).abs() < 1e-4 * want.max(1.0), "band {band}: {value} {want}");
        }
    }

    #[test]
    fn a_tone_lights_its_band_and_ends_are_mirrored() {
        let mel = MelConfig::new(16_000, 1_024, 256, 64).init().unwrap();
        let features = mel.features(&tone(1_000.0, 16_000));
        assert_eq!(features.len(), mel.frames(16_000) * 64);
        let loudest = |row: &[f32]| (0..64).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        let step = Scale::Htk.mel(8_000.0) / 65.0;
        let want = (Scale::Htk.mel(1_000.0) / step - 1.0).round() as usize;
        for frame in 4..58 {
            assert_eq!(loudest(&features[frame * 64..][..64]), want, "frame {frame}");
        }
        let reflected: Vec<usize> = (-4..8).map(|at| mirrored(at, 4)).collect();
        assert_eq!(reflected, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        // Shorter than half a window, one sample, none.
        assert!(mel.features(&[0.5; 3]).iter().all(|x| x.is_finite()));
        assert_eq!(mel.features(&[0.5]).len(), 64);
        assert!(mel.features(&[]).is_empty());
    }

    #[test]
    fn slaney_norm_makes_white_noise_flat_and_decibels_are_decibels() {
        let config = MelConfig {
            norm: Norm::Slaney,
            scale: Scale::Slaney,
            log: Log::None,
            ..MelConfig::new(16_000, 512, 128, 20)
        };
        // A click has a flat spectrum.
        let mut click = vec![0.0; 1_024];
        click[512] = 1.0;
        let rows = config.init().unwrap().features(&click);
        let row = &rows[4 * 20..5 * 20];
        // 31.25 Hz a bin: a triangle of area 1 over Hz sums to about 1 / 31.25.
        assert!(row.iter().all(|x| (x * 31.25 - 1.0).abs() < 0.15), "{row:?}");
        let decibel = MelConfig { log: Log::Decibel { floor: 1e-9 }, ..config };
        let power = MelConfig { spectrum: Spectrum::Power, ..decibel };
        let (db, db_power) = (decibel.init().unwrap().features(&click), power.init().unwrap().features(&click));
        assert!((f64::from(db[80]) - 20.0 * f64::from(row[0]).log10()).abs() < 1e-3);
        assert!(db_power[80].is_finite());
    }

    #[test]
    fn bad_settings_name_their_field() {
        let good = MelConfig::new(16_000, 512, 128, 40);
        assert!(good.validate().is_ok());
        for (config, field) in [
            (MelConfig { fft_size: 511, ..good }, "fft_size"),
            (MelConfig { hop_samples: 0, ..good }, "hop_samples"),
            (MelConfig { bands: 0, ..good }, "bands"),
            (MelConfig { bands: 200, ..good }, "bands"),
            (MelConfig { low_hz: -1.0, ..good }, "low_hz"),
            (MelConfig { low_hz: f64::NAN, ..good }, "low_hz"),
            (MelConfig { high_hz: 9_000.0, ..good }, "high_hz"),
            (MelConfig { log: Log::Natural { floor: 0.0 }, ..good }, "log"),
        ] {
            assert!(matches!(config.init(), Err(Error::Config { field: got, .. }) if got == field), "{field}");
        }
    }
}
