//! What is plain to measure on a sound: level, silence, clipping.

use musicrl_core::reward::AudioView;
use serde::{Deserialize, Serialize};

/// Level below which sound counts as silence, in dB of full scale.
pub const SILENCE_DB: f64 = -60.0;
/// Length of the pieces whose level is taken.
const FRAME_SECONDS: f64 = 0.05;
/// Samples from here on are at full scale: the last two steps of 16 bits.
const FULL_SCALE: f32 = 32_766.0 / 32_768.0;
/// So many samples in a row at full scale, on one side, are clipping; a single one is a peak.
const CLIPPED_RUN: usize = 3;

/// What was measured on one clip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SignalFacts {
    /// Its length.
    pub seconds: f64,
    /// Root mean square in dB of full scale; `None` of nothing but zeros.
    pub rms_db: Option<f64>,
    /// Share of the time in pieces of 50 ms whose level is below [`SILENCE_DB`].
    pub silent_share: f64,
    /// Share of samples that stand in runs of three or more at full scale.
    pub clipped_share: f64,
}

impl SignalFacts {
    /// Whether no piece of the clip is above silence.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent_share >= 1.0
    }
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / samples.len().max(1) as f64
}

/// Measures a clip; an empty one is silent.
#[must_use]
pub fn signal_facts(audio: AudioView<'_>) -> SignalFacts {
    let (samples, rate) = (audio.samples, f64::from(audio.sample_rate_hz.max(1)));
    let length = samples.len().max(1) as f64;
    let frame = ((FRAME_SECONDS * rate) as usize).max(1);
    let bar = 10.0_f64.powf(SILENCE_DB / 10.0);
    let silent: usize = samples.chunks(frame).filter(|frame| power(frame) < bar).map(<[f32]>::len).sum();
    let side = |x: f32| {
        if x >= FULL_SCALE {
            1
        } else if x <= -FULL_SCALE {
            -1
        } else {
            0
        }
    };
    let runs = samples.chunk_by(|a, b| side(*a) == side(*b));
    let clipped: usize = runs.filter(|run| run.len() >= CLIPPED_RUN && side(run[0]) != 0).map(<[f32]>::len).sum();
    let level = power(samples);
    SignalFacts {
        seconds: samples.len() as f64 / rate,
        rms_db: (level > 0.0).then(|| 10.0 * level.log10()),
        silent_share: if samples.is_empty() { 1.0 } else { silent as f64 / length },
        clipped_share: clipped as f64 / length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(samples: &[f32]) -> SignalFacts {
        signal_facts(AudioView { samples, sample_rate_hz: 1_000 })
    }

    #[test]
    fn silence_is_measured_in_pieces() {
        let mut samples = vec![0.0; 1_000];
        assert!(facts(&samples).is_silent() && facts(&samples).rms_db.is_none() && facts(&[]).is_silent());
        samples[..250].fill(0.1);
        let half = facts(&samples);
        assert!((half.silent_share - 0.75).abs() < 1e-12 && !half.is_silent());
        assert!((half.rms_db.unwrap() - (-20.0 + 10.0 * 0.25_f64.log10())).abs() < 1e-5);
        assert!((half.seconds - 1.0).abs() < 1e-12);
        // 0.002 is -54 dB, 0.0005 is -66 dB.
        assert!(!facts(&[0.002; 100]).is_silent() && facts(&[0.0005; 100]).is_silent());
    }

    #[test]
    fn runs_at_full_scale_are_clipping_and_peaks_are_not() {
        let mut samples = vec![0.1; 100];
        (samples[3], samples[20], samples[21]) = (1.0, -1.0, 1.0);
        assert_eq!(facts(&samples).clipped_share, 0.0);
        samples[40..44].fill(-1.5);
        samples[60..63].fill(1.0);
        assert!((facts(&samples).clipped_share - 0.07).abs() < 1e-12);
    }
}
