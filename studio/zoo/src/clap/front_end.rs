//! From samples to what the audio tower hears: [`FrontEnd`], [`Features`].

use musicrl_codec::mel::{Mel, MelConfig};
use musicrl_core::random::Stream;

use super::{FeatureConfig, Padding, Truncation, resize::shrink};
use crate::{Error, Result};

/// Largest spectrogram of a whole clip, in values: half a day at the published settings.
const VALUES_MAX: usize = 1 << 28;

/// Which parts of a clip longer than the window are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts<'a> {
    /// The middle; with fusion, the middle of each third of the places where a part can begin.
    Middle,
    /// Where the parts begin: one sample, or with fusion three frames. [`FrontEnd::draw`] gives random ones.
    At(&'a [usize]),
}

/// Log-mel spectrograms of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    channels: usize,
    frames: usize,
    bands: usize,
    longer: bool,
    values: Vec<f32>,
}

impl Features {
    /// Spectrograms: 1, or 4 with fusion.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Frames of each.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Mel bands of each frame.
    #[must_use]
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Whether the clip was longer than its spectrograms: if so, fusion hears its parts.
    #[must_use]
    pub fn is_longer(&self) -> bool {
        self.longer
    }

    /// The same with another answer. The reference library's feature extractor says "longer" of one short clip, drawn
    /// at random, in a batch that has no long one: so it trained, and a lone short clip is called longer.
    #[must_use]
    pub fn with_longer(self, longer: bool) -> Self {
        Self { longer, ..self }
    }

    /// Decibels, `[channels, frames, bands]`.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One spectrogram, `[frames, bands]`; empty past the last.
    #[must_use]
    pub fn channel(&self, channel: usize) -> &[f32] {
        let length = self.frames * self.bands;
        if channel < self.channels { &self.values[channel * length..(channel + 1) * length] } else { &[] }
    }
}

/// A built front end.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    config: FeatureConfig,
    truncation: Truncation,
    mel: Mel,
}

impl FrontEnd {
    pub(super) fn new(config: FeatureConfig, truncation: Truncation, mel: &MelConfig) -> Result<Self> {
        Ok(Self { config, truncation, mel: mel.init()? })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &FeatureConfig {
        &self.config
    }

    /// What becomes of longer clips.
    #[must_use]
    pub fn truncation(&self) -> Truncation {
        self.truncation
    }

    /// Features of a clip at the front end's own rate.
    ///
    /// # Shapes
    /// - samples: `[samples]`, nominally in [-1, 1]
    ///
    /// # Errors
    /// [`Error::Input`] for no samples, samples that are not finite, far too many, or parts that lie outside the clip.
    pub fn features(&self, samples: &[f32], parts: Parts<'_>) -> Result<Features> {
        if samples.is_empty() {
            return Err(Error::input("a clip", "at least one sample", "none"));
        }
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::input("a clip", "finite samples", format!("{} at sample {at}", samples[at])));
        }
        let window = self.config.window_samples();
        let (channels, longer, values) = match self.truncation {
            Truncation::RandTrunc if samples.len() > window => {
                let start = self.starts::<1>(samples.len(), parts)?[0];
                (1, true, self.mel.features(&samples[start..start + window]))
            }
            Truncation::RandTrunc => (1, false, self.mel.features(&self.filled(samples))),
            Truncation::Fusion if samples.len() > window => {
                let most = VALUES_MAX / self.config.feature_size;
                if self.mel.frames(samples.len()) > most {
                    return Err(Error::input("a clip", format!("at most {most} frames"), samples.len()));
                }
                let whole = self.mel.features(samples);
                if self.places(samples.len()) == 1 {
                    // Longer by less than a frame: the whole is all there is.
                    (4, false, whole.repeat(4))
                } else {
                    let starts = self.starts::<3>(samples.len(), parts)?;
                    (4, true, self.fused(&whole, starts))
                }
            }
            Truncation::Fusion => (4, false, self.mel.features(&self.filled(samples)).repeat(4)),
        };
        let bands = self.config.feature_size;
        Ok(Features { channels, frames: values.len() / (channels * bands), bands, longer, values })
    }

    /// Random parts of a clip of `samples` samples, as the reference library draws them; empty where the clip is not
    /// longer than the window.
    pub fn draw(&self, samples: usize, stream: &mut Stream) -> Vec<usize> {
        let window = self.config.window_samples();
        match (samples > window, self.truncation) {
            (false, _) => Vec::new(),
            (true, Truncation::RandTrunc) => vec![stream.below(samples - window + 1)],
            (true, Truncation::Fusion) => {
                thirds(self.places(samples)).map(|(low, high)| low + stream.below(high - low)).to_vec()
            }
        }
    }

    fn window_frames(&self) -> usize {
        self.mel.frames(self.config.window_samples())
    }

    /// Where a part can begin: with fusion a frame, else a sample.
    fn places(&self, samples: usize) -> usize {
        match self.truncation {
            Truncation::RandTrunc => samples.saturating_sub(self.config.window_samples()) + 1,
            Truncation::Fusion => self.mel.frames(samples).saturating_sub(self.window_frames()) + 1,
        }
    }

    fn starts<const N: usize>(&self, samples: usize, parts: Parts<'_>) -> Result<[usize; N]> {
        let places = self.places(samples);
        match parts {
            Parts::Middle if N == 1 => Ok([(places - 1) / 2; N]),
            Parts::Middle => {
                let thirds = thirds(places);
                Ok(std::array::from_fn(|part| {
                    let (low, high) = thirds[part.min(2)];
                    low + high.saturating_sub(low) / 2
                }))
            }
            Parts::At(starts) => {
                let fits = starts.iter().all(|start| *start < places);
                let wrong = || Error::input("starts of parts", format!("{N} below {places}"), format!("{starts:?}"));
                <[usize; N]>::try_from(starts).ok().filter(|_| fits).ok_or_else(wrong)
            }
        }
    }

    /// The whole shrunk, and three parts as they are.
    fn fused(&self, whole: &[f32], starts: [usize; 3]) -> Vec<f32> {
        let (frames, bands) = (self.window_frames(), self.config.feature_size);
        let mut values = shrink(whole, bands, frames);
        for start in starts {
            values.extend_from_slice(&whole[start * bands..(start + frames) * bands]);
        }
        values
    }

    /// A clip no longer than the window, made as long.
    fn filled(&self, samples: &[f32]) -> Vec<f32> {
        let window = self.config.window_samples();
        let mut out = match self.config.padding {
            Padding::Repeatpad => samples.repeat((window / samples.len()).max(1)),
            Padding::Repeat => samples.iter().copied().cycle().take(window).collect(),
            Padding::Pad => samples.to_vec(),
        };
        out.resize(window, 0.0);
        out
    }
}

/// `0..places` in three ranges, as equal as can be, the longer ones first; an empty one is 0..1.
fn thirds(places: usize) -> [(usize, usize); 3] {
    let mut low = 0;
    [0, 1, 2].map(|third| {
        let length = places / 3 + usize::from(third < places % 3);
        let range = if length == 0 { (0, 1) } else { (low, low + length) };
        low += length;
        range
    })
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    /// 800 samples, 26 frames.
    fn small() -> FeatureConfig {
        FeatureConfig {
            feature_size: 8,
            sampling_rate: 8_000,
            hop_length: 32,
            max_length_s: 0.1,
            fft_window_size: 128,
            frequency_max: 4_000.0,
            ..FeatureConfig::default()
        }
    }

    fn noise(samples: usize) -> Vec<f32> {
        let mut stream = Key::new(3, Purpose::Test).stream();
        (0..samples).map(|_| (0.1 * stream.normal()) as f32).collect()
    }

    #[test]
    fn every_length_gives_as_many_frames() {
        for fusion in [false, true] {
            let front_end = small().init(fusion, 26).unwrap();
            for samples in [1, 5, 63, 64, 65, 399, 400, 401, 799, 800, 801, 831, 832, 863, 864, 900, 5_000] {
                let features = front_end.features(&noise(samples), Parts::Middle).unwrap();
                let channels = if fusion { 4 } else { 1 };
                assert_eq!((features.channels(), features.frames(), features.bands()), (channels, 26, 8), "{samples}");
                assert_eq!(features.values().len(), channels * 26 * 8);
                // Of 801 to 831 samples there are as many frames as of 800.
                let longer = if fusion { samples >= 832 } else { samples > 800 };
                assert_eq!(features.is_longer(), longer, "{samples} {fusion}");
                let mut stream = Key::new(1, Purpose::Test).stream();
                let drawn = front_end.draw(samples, &mut stream);
                assert_eq!(drawn.is_empty(), samples <= 800);
                let random = front_end.features(&noise(samples), Parts::At(&drawn)).unwrap();
                assert_eq!((random.frames(), random.is_longer()), (26, longer));
                // Where there is no choice, none is made.
                assert!(features == random || longer, "{samples}");
            }
            assert!(matches!(front_end.features(&[], Parts::Middle), Err(Error::Input { .. })));
            let error = front_end.features(&[0.0, f32::NAN], Parts::Middle).unwrap_err().to_string();
            assert!(error.contains("sample 1"), "{error}");
            for starts in [vec![], vec![5_000], vec![1, 2], vec![5_000, 0, 0], vec![usize::MAX; 3]] {
                let error = front_end.features(&noise(5_000), Parts::At(&starts)).unwrap_err().to_string();
                assert!(error.contains("starts of parts"), "{error}");
            }
            assert!(front_end.features(&noise(801), Parts::At(if fusion { &[] } else { &[1] })).is_ok());
        }
    }

    #[test]
    fn short_clips_are_filled() {
        let of = |padding| FeatureConfig { padding, max_length_s: 0.001, ..small() };
        let filled = |padding| of(padding).init(false, 99).unwrap().filled(&[1.0, 2.0, 3.0]);
        assert_eq!(filled(Padding::Repeatpad), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
        assert_eq!(filled(Padding::Repeat), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0]);
        assert_eq!(filled(Padding::Pad), [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn thirds_are_numpys() {
        assert_eq!(thirds(9), [(0, 3), (3, 6), (6, 9)]);
        assert_eq!(thirds(11), [(0, 4), (4, 8), (8, 11)]);
        assert_eq!(thirds(2), [(0, 1), (1, 2), (0, 1)]);
        assert_eq!(thirds(1), [(0, 1), (0, 1), (0, 1)]);
    }
}
