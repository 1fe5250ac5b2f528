//! Sound as a picture: a log-mel spectrogram.

use musicrl_codec::mel::{Log, MelConfig, Scale, Spectrum};

use super::{
    colours::{LEVELS, palette},
    png::data_uri,
};
use crate::Result;

/// Rows of a picture.
const BANDS: usize = 64;

/// Columns that a picture has at most.
const COLUMNS: usize = 300;

/// Powers below are taken for silence.
const FLOOR: f64 = 1e-12;

/// Decibels from the brightest to the darkest colour.
pub(super) const RANGE_DB: f32 = 70.0;

/// The log-mel spectrogram of one channel: 64 bands (HTK mels) over the whole band.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    /// Decibels, frame after frame, from the lowest band up.
    decibels: Vec<f32>,
    seconds: f64,
    high_hz: f64,
}

impl Spectrogram {
    /// Of samples at `sample_rate_hz`; those that are not finite count as 0.
    ///
    /// # Errors
    /// When the front end cannot work at that rate.
    pub fn of(samples: &[f32], sample_rate_hz: u32) -> Result<Self> {
        // A window of 64 ms, or the next power of two: low bands need it, and notes are longer.
        let fft_size = (sample_rate_hz as usize * 64 / 1_000).max(256).next_power_of_two();
        let hop_samples = samples.len().div_ceil(COLUMNS - 1).max(1);
        let config = MelConfig {
            spectrum: Spectrum::Power,
            log: Log::Decibel { floor: FLOOR },
            ..MelConfig::new(sample_rate_hz, fft_size, hop_samples, BANDS)
        };
        let samples: Vec<f32> = samples.iter().map(|sample| if sample.is_finite() { *sample } else { 0.0 }).collect();
        let decibels = config.init()?.features(&samples);
        Ok(Self { decibels, seconds: samples.len() as f64 / f64::from(sample_rate_hz), high_hz: config.high_hz })
    }

    /// Length of the sound.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Number of frames; 0 when there is no sound.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.decibels.len() / BANDS
    }

    /// The loudest band of all, in decibels; `None` when there is no sound.
    #[must_use]
    pub fn loudest_db(&self) -> Option<f32> {
        self.decibels.iter().copied().reduce(f32::max)
    }

    /// How far up the picture a frequency is, from 0 to 1; `None` above the band.
    #[must_use]
    pub fn height_of(&self, hz: f64) -> Option<f64> {
        let share = Scale::Htk.mel(hz) / Scale::Htk.mel(self.high_hz);
        (0.0..=1.0).contains(&share).then_some(share)
    }

    /// The picture as a data URI, a column a frame, high frequencies above; `None` when there is no sound. `loudest_db`
    /// gets the brightest colour, 70 dB less the darkest: one number for pictures that are compared.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn picture(&self, loudest_db: f32) -> Result<Option<String>> {
        let frames = self.frames();
        if frames == 0 {
            return Ok(None);
        }
        let level = |decibels: f32| {
            let share = (decibels - loudest_db) / RANGE_DB + 1.0;
            (share.clamp(0.0, 1.0) * (LEVELS - 1) as f32).round() as u8
        };
        let rows = (0..BANDS).rev();
        let pixels: Vec<u8> = rows
            .flat_map(|band| (0..frames).map(move |frame| (frame, band)))
            .map(|(frame, band)| level(self.decibels[frame * BANDS + band]))
            .collect();
        data_uri(frames, &pixels, &palette()).map(Some)
    }
}

/// The colours from the darkest to the brightest, side by side, as a data URI.
///
/// # Errors
/// When it cannot be encoded.
pub(super) fn colour_bar() -> Result<String> {
    let pixels: Vec<u8> = (0..LEVELS as u8).collect();
    data_uri(LEVELS, &pixels, &palette())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (std::f32::consts::TAU * hz * i as f32 / 16_000.0).sin()).collect()
    }

    #[test]
    fn a_tone_is_bright_at_its_height() {
        let spectrogram = Spectrogram::of(&tone(1_000.0, 32_000), 16_000).unwrap();
        let frames = spectrogram.frames();
        assert!((250..=COLUMNS).contains(&frames), "{frames}");
        assert!((spectrogram.seconds() - 2.0).abs() < 1e-9);
        let middle = &spectrogram.decibels[frames / 2 * BANDS..][..BANDS];
        let loudest = (0..BANDS).max_by(|a, b| middle[*a].total_cmp(&middle[*b])).unwrap();
        let height = spectrogram.height_of(1_000.0).unwrap();
        assert!((height * (BANDS + 1) as f64 - 1.0 - loudest as f64).abs() < 1.0, "{height} {loudest}");
        assert_eq!(spectrogram.height_of(9_000.0), None);
    }

    #[test]
    fn any_sound_has_a_picture_and_none_has_none() {
        for samples in
            [vec![f32::NAN; 50], vec![f32::INFINITY, f32::MAX, -f32::MAX], vec![0.0; 100_000], tone(440.0, 7)]
        {
            let spectrogram = Spectrogram::of(&samples, 16_000).unwrap();
            let loudest = spectrogram.loudest_db().unwrap();
            assert!(loudest.is_finite());
            assert!(spectrogram.picture(loudest).unwrap().is_some());
        }
        let silent = Spectrogram::of(&[], 44_100).unwrap();
        assert_eq!((silent.loudest_db(), silent.picture(0.0).unwrap()), (None, None));
        assert!(Spectrogram::of(&[0.0], 0).is_err());
        for rate in [8_000, 22_050, 32_000, 48_000, 96_000] {
            Spectrogram::of(&tone(440.0, 100), rate).unwrap();
        }
    }
}
