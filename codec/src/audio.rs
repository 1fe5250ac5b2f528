//! What a decoded recording is.

use std::fmt;

use crate::{Error, Result};

/// The sampling rates that are accepted anywhere, in Hz: below lies no music, above no recorder.
pub const SAMPLE_RATE_RANGE_HZ: (u32, u32) = (4_000, 384_000);

/// Sound as planes of samples, nominally in [-1, 1].
///
/// # Shapes
/// - `channels`: \[channels\]\[samples\], all channels of one length.
#[derive(Clone, PartialEq)]
pub struct Audio {
    /// One plane of samples a channel.
    pub channels: Vec<Vec<f32>>,
    /// Samples a second in each channel.
    pub sample_rate_hz: u32,
}

/// Sizes only: samples would fill the screen.
impl fmt::Debug for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<usize> = self.channels.iter().map(Vec::len).collect();
        f.debug_struct("Audio").field("samples", &lengths).field("sample_rate_hz", &self.sample_rate_hz).finish()
    }
}

impl Audio {
    /// One channel.
    #[must_use]
    pub fn from_mono(samples: Vec<f32>, sample_rate_hz: u32) -> Self {
        Self { channels: vec![samples], sample_rate_hz }
    }

    /// Samples in each channel (of the shortest, should they differ).
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.iter().map(Vec::len).min().unwrap_or(0)
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration_seconds(&self) -> f64 {
        self.len() as f64 / f64::from(self.sample_rate_hz.max(1))
    }

    /// The mean of all channels; a single channel is copied as it is.
    ///
    /// # Shapes
    /// - returns: \[samples\]
    #[must_use]
    pub fn mono(&self) -> Vec<f32> {
        match self.channels.as_slice() {
            [] => Vec::new(),
            [only] => only.clone(),
            [left, right] => left.iter().zip(right).map(|(l, r)| 0.5 * (l + r)).collect(),
            many => {
                let scale = 1.0 / many.len() as f64;
                let sample = |i: usize| many.iter().map(|plane| f64::from(plane[i])).sum::<f64>();
                (0..self.len()).map(|i| (scale * sample(i)) as f32).collect()
            }
        }
    }

    /// The largest magnitude of any sample; 0 when there is none.
    #[must_use]
    pub fn peak(&self) -> f32 {
        self.channels.iter().flatten().fold(0.0, |peak, x| x.abs().max(peak))
    }

    /// Refuses NaN and infinities, naming the first.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with `what` as its subject.
    pub fn check_finite(&self, what: &str) -> Result<()> {
        for (channel, plane) in self.channels.iter().enumerate() {
            if let Some(sample) = plane.iter().position(|x| !x.is_finite()) {
                let at = format!("channel {channel}, sample {sample} (value {})", plane[sample]);
                return Err(Error::NonFinite { what: what.into(), at });
            }
        }
        Ok(())
    }
}

/// Refuses sampling rates outside [`SAMPLE_RATE_RANGE_HZ`].
///
/// # Errors
/// [`Error::SampleRate`] with `what` as its subject.
pub fn check_sample_rate(what: &str, got_hz: u32) -> Result<()> {
    let (low, high) = SAMPLE_RATE_RANGE_HZ;
    if (low..=high).contains(&got_hz) {
        return Ok(());
    }
    Err(Error::SampleRate { what: what.into(), expected_hz: SAMPLE_RATE_RANGE_HZ, got_hz: got_hz.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_is_the_mean_of_the_channels() {
        let stereo = Audio { channels: vec![vec![1.0, 0.0], vec![0.0, -0.5]], sample_rate_hz: 8_000 };
        assert_eq!(stereo.mono(), vec![0.5, -0.25]);
        let three = Audio { channels: vec![vec![0.3], vec![0.6], vec![-0.9]], sample_rate_hz: 8_000 };
        assert!(three.mono()[0].abs() < 1e-7);
        assert_eq!(Audio::from_mono(vec![0.1, 0.2], 8_000).mono(), vec![0.1, 0.2]);
        assert_eq!(stereo.peak(), 1.0);
        assert_eq!(stereo.duration_seconds(), 2.0 / 8_000.0);
    }

    #[test]
    fn the_first_bad_sample_is_named() {
        let mut audio = Audio { channels: vec![vec![0.0; 4], vec![0.0; 4]], sample_rate_hz: 8_000 };
        assert!(audio.check_finite("x").is_ok());
        audio.channels[1][2] = f32::NEG_INFINITY;
        let message = audio.check_finite("song.wav").unwrap_err().to_string();
        assert!(message.contains("song.wav") && message.contains("channel 1, sample 2"), "{message}");
    }

    #[test]
    fn rates_outside_the_range_are_refused() {
        for bad in [0, 1, 3_999, 384_001, 768_000] {
            assert!(matches!(check_sample_rate("x", bad), Err(Error::SampleRate { .. })), "{bad}");
        }
        for good in [4_000, 44_100, 384_000] {
            assert!(check_sample_rate("x", good).is_ok(), "{good}");
        }
    }
}
