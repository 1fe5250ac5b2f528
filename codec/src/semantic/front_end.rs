//! Log-mel frames stacked to the token rate, computed on the CPU.

use musicrl_core::{Error, Result};

use super::SemanticConfig;
use crate::mel::Mel;

/// Turns samples into the features of tokens.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    mel: Mel,
    frame_samples: usize,
    window_samples: usize,
    hop_samples: usize,
    bands: usize,
    feature_width: usize,
}

impl FrontEnd {
    pub(super) fn new(config: &SemanticConfig) -> Result<Self> {
        let mel = config.mel().init().map_err(|error| match error {
            crate::Error::Config { field, expected, got } => Error::Config { field, expected, got },
            other => Error::Config {
                field: "mel_bands",
                expected: "settings of a mel front end".into(),
                got: other.to_string(),
            },
        })?;
        Ok(Self {
            mel,
            frame_samples: config.frame_samples,
            window_samples: config.mel_window_samples,
            hop_samples: config.mel_hop_samples,
            bands: config.mel_bands,
            feature_width: config.feature_width(),
        })
    }

    /// Features of one token.
    #[must_use]
    pub fn feature_width(&self) -> usize {
        self.feature_width
    }

    /// The log-mel features of a clip: `frames * feature_width` values, one row a token.
    ///
    /// Mel frame `i` is centred on the middle of samples `[i * hop, (i + 1) * hop)`; what lies outside the clip is
    /// silence, so a last frame that is only begun is filled up.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a NaN or infinite sample, [`Error::Shape`] for an empty clip.
    pub fn features(&self, samples: &[f32]) -> Result<Vec<f32>> {
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::NonFinite { what: "an audio sample", at: index.to_string() });
        }
        let frames = samples.len().div_ceil(self.frame_samples);
        if frames == 0 {
            return Err(Error::Shape { what: "audio", expected: "[1 sample or more]".into(), got: "[0]".into() });
        }
        // The mel front end centres frame t on t * hop and mirrors the ends. Silence of a whole window on both sides
        // keeps the mirror away, and half a hop of it moves the centres to the middles.
        let hop = self.hop_samples;
        let skipped = self.window_samples.div_ceil(hop);
        let before = hop / 2 + skipped * hop;
        let mel_frames = frames * (self.frame_samples / hop);
        let mut padded = vec![0.0; before + mel_frames * hop + self.window_samples];
        padded[before..before + samples.len()].copy_from_slice(samples);
        let first = (skipped + 1) * self.bands;
        let mut features = self.mel.features(&padded);
        features.truncate(first + frames * self.feature_width);
        features.drain(..first.min(features.len()));
        Ok(features)
    }
}

/// Mean and inverse standard deviation of each mel band over a corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct BandStatistics {
    /// Mean of each band.
    pub mean: Vec<f32>,
    /// One over the standard deviation of each band.
    pub scale: Vec<f32>,
}

impl BandStatistics {
    /// Measures rows of `mean.len()` = `bands` values; a stacked feature row is several such rows side by side.
    ///
    /// Bands that never change (and an empty sample) get scale 1.
    #[must_use]
    pub fn measure<'a>(bands: usize, clips: impl IntoIterator<Item = &'a [f32]>) -> Self {
        let (mut count, mut sum, mut squares) = (0_u64, vec![0.0_f64; bands], vec![0.0_f64; bands]);
        for clip in clips {
            for row in clip.chunks_exact(bands.max(1)) {
                count += 1;
                for ((value, sum), square) in row.iter().zip(&mut sum).zip(&mut squares) {
                    *sum += f64::from(*value);
                    *square += f64::from(*value) * f64::from(*value);
                }
            }
        }
        let n = count.max(1) as f64;
        let mean: Vec<f64> = sum.iter().map(|sum| sum / n).collect();
        let scale = squares
            .iter()
            .zip(&mean)
            .map(|(square, mean)| {
                let variance = square / n - mean * mean;
                if variance > 1e-8 { (1.0 / variance.sqrt()) as f32 } else { 1.0 }
            })
            .collect();
        Self { mean: mean.into_iter().map(|mean| mean as f32).collect(), scale }
    }

    /// Standardises rows of bands in place.
    pub fn apply(&self, features: &mut [f32]) {
        for row in features.chunks_exact_mut(self.mean.len().max(1)) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_a_token_whatever_the_length() {
        let config = SemanticConfig::base();
        let front_end = config.front_end().unwrap();
        for samples in [1, 17, 1_279, 1_280, 1_281, 12_800, 12_801] {
            let features = front_end.features(&vec![0.1; samples]).unwrap();
            assert_eq!(features.len(), config.frames(samples) * config.feature_width(), "{samples} samples");
            assert!(features.iter().all(|value| value.is_finite()));
        }
        assert!(matches!(front_end.features(&[]), Err(Error::Shape { .. })));
        assert!(matches!(front_end.features(&[0.0, f32::NAN]), Err(Error::NonFinite { .. })));
    }

    #[test]
    fn a_click_is_heard_in_its_own_token() {
        let config = SemanticConfig::base();
        let mut samples = vec![0.0; 10 * config.frame_samples];
        samples[4 * config.frame_samples + config.frame_samples / 2] = 1.0;
        let features = config.front_end().unwrap().features(&samples).unwrap();
        let energy: Vec<f32> = features.chunks(config.feature_width()).map(|row| row.iter().sum()).collect();
        let loudest = (0..10).max_by(|a, b| energy[*a].total_cmp(&energy[*b]));
        assert_eq!(loudest, Some(4));
    }

    #[test]
    fn statistics_standardise() {
        let rows = [1.0, 5.0, 7.0, 3.0, 5.0, 9.0];
        let statistics = BandStatistics::measure(3, [&rows[..]]);
        let mut standard = rows.to_vec();
        statistics.apply(&mut standard);
        let expected = [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0];
        for (got, expected) in standard.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{standard:?}");
        }
    }
}
