//! Sound made worse, by a known amount: what simulated raters judge.

use musicrl_codec::neural::NeuralCodec;
use musicrl_core::random::Key;
use serde::{Deserialize, Serialize};

use crate::Result;

/// How a sound is made worse. Strength 0 is next to nothing, 1 the worst; the scales of different kinds are not
/// calibrated against one another by anybody's ears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing is done.
    Clean,
    /// White noise, 45 dB (strength 0) to 0 dB (1) below the clip's root mean square.
    Noise,
    /// A fourth-order low-pass; its corner falls from 0.45 of the sample rate to 400 Hz, in equal ratios.
    LowPass,
    /// Samples are held at 2 to 30 dB below the peak.
    Clipping,
    /// Samples are rounded to 2^10 down to 2^1.5 levels between the peaks.
    Levels,
    /// Gaps of 10 to 60 ms; up to 30 % of the clip is lost.
    DropOuts,
    /// Clicks of half to one and a half of the peak, 0.5 to 20 a second.
    Clicks,
    /// Through the codec with its first levels only; all of L levels have strength 0.4, l levels 1 - 0.6 l / L.
    Codec,
}

impl Kind {
    /// All that do something, in the order in which they are dealt out.
    pub const DEGRADING: [Self; 7] =
        [Self::Noise, Self::LowPass, Self::Clipping, Self::Levels, Self::DropOuts, Self::Clicks, Self::Codec];

    /// As written in files and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Noise => "noise",
            Self::LowPass => "low_pass",
            Self::Clipping => "clipping",
            Self::Levels => "levels",
            Self::DropOuts => "drop_outs",
            Self::Clicks => "clicks",
            Self::Codec => "codec",
        }
    }
}

/// Share of the scale that the codec's levels divide among them.
const CODEC_SHARE: f64 = 0.6;

/// One way to make a clip worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Degradation {
    /// What is done.
    pub kind: Kind,
    /// How much of it, from 0 to 1.
    pub strength: f64,
}

impl Degradation {
    /// The clip as it is.
    pub const CLEAN: Self = Self { kind: Kind::Clean, strength: 0.0 };

    /// A degradation of `kind` by a uniform number in [0, 1); `codec_levels` are those of the codec.
    #[must_use]
    pub fn drawn(kind: Kind, uniform: f64, codec_levels: usize) -> Self {
        match kind {
            Kind::Clean => Self::CLEAN,
            Kind::Codec => {
                let levels = codec_levels.max(1);
                let kept = levels - ((uniform * levels as f64) as usize).min(levels - 1);
                Self { kind, strength: 1.0 - CODEC_SHARE * kept as f64 / levels as f64 }
            }
            _ => Self { kind, strength: uniform },
        }
    }

    /// The degraded clip, of the same length; its random parts are drawn from `key`. Without a codec, its kind changes
    /// nothing.
    ///
    /// # Errors
    /// When the codec refuses the sound.
    pub fn apply(
        &self,
        samples: &[f32],
        sample_rate_hz: u32,
        codec: Option<&NeuralCodec>,
        key: Key,
    ) -> Result<Vec<f32>> {
        let (s, rate) = (self.strength.clamp(0.0, 1.0), f64::from(sample_rate_hz.max(1)));
        let peak = samples.iter().fold(0.0_f64, |peak, x| peak.max(f64::from(x.abs())));
        if samples.is_empty() || peak == 0.0 {
            return Ok(samples.to_vec());
        }
        Ok(match self.kind {
            Kind::Clean => samples.to_vec(),
            Kind::Noise => noise(samples, 45.0 * (1.0 - s), key),
            Kind::LowPass => low_pass(samples, 0.45 * rate * (400.0 / (0.45 * rate)).min(1.0).powf(s), rate),
            Kind::Clipping => {
                let limit = (peak * decibels(-2.0 - 28.0 * s)) as f32;
                samples.iter().map(|x| x.clamp(-limit, limit)).collect()
            }
            Kind::Levels => {
                let step = 2.0 * peak / 2.0_f64.powf(10.0 - 8.5 * s);
                samples.iter().map(|x| ((f64::from(*x) / step).round() * step) as f32).collect()
            }
            Kind::DropOuts => drop_outs(samples, 0.3 * s, rate, key),
            Kind::Clicks => clicks(samples, 0.5 + 19.5 * s, peak, rate, key),
            Kind::Codec => match codec {
                Some(codec) => {
                    let levels = ((1.0 - s) / CODEC_SHARE * codec.levels() as f64).round() as usize;
                    let codes = codec.encode_track(samples)?.first_levels(levels.max(1));
                    let mut decoded = codec.decode_track(&codes)?;
                    decoded.resize(samples.len(), 0.0);
                    decoded
                }
                None => samples.to_vec(),
            },
        })
    }
}

fn decibels(db: f64) -> f64 {
    10.0_f64.powf(db / 20.0)
}

/// White Gaussian noise, `snr_db` below the clip's root mean square.
fn noise(samples: &[f32], snr_db: f64, key: Key) -> Vec<f32> {
    let energy = samples.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    let level = (energy / samples.len() as f64).sqrt() * decibels(-snr_db);
    let mut stream = key.stream();
    samples.iter().map(|x| (f64::from(*x) + level * stream.normal()) as f32).collect()
}

/// Two second-order sections of a Butterworth low-pass (Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter
/// coefficients").
fn low_pass(samples: &[f32], corner_hz: f64, rate: f64) -> Vec<f32> {
    let omega = std::f64::consts::TAU * corner_hz.min(0.45 * rate) / rate;
    let (sin, cos) = omega.sin_cos();
    let mut signal: Vec<f64> = samples.iter().map(|x| f64::from(*x)).collect();
    // The quality factors of the fourth-order filter's two pole pairs.
    for quality in [0.541_196_1, 1.306_562_96] {
        let alpha = sin / (2.0 * quality);
        let scale = 1.0 / (1.0 + alpha);
        let (b0, b1) = ((1.0 - cos) / 2.0 * scale, (1.0 - cos) * scale);
        let (a1, a2) = (-2.0 * cos * scale, (1.0 - alpha) * scale);
        let (mut state1, mut state2) = (0.0, 0.0);
        for x in &mut signal {
            let y = b0 * *x + state1;
            state1 = b1 * *x - a1 * y + state2;
            state2 = b0 * *x - a2 * y;
            *x = y;
        }
    }
    signal.into_iter().map(|x| x as f32).collect()
}

/// Gaps of 10 to 60 ms at random places until `share` of the clip is gone; at least one.
fn drop_outs(samples: &[f32], share: f64, rate: f64, key: Key) -> Vec<f32> {
    let mut stream = key.stream();
    let mut out = samples.to_vec();
    // Counted by their lengths: gaps may overlap, and the sum must still end.
    let mut left = share * samples.len() as f64;
    loop {
        let gap = (stream.between(0.01, 0.06) * rate) as usize;
        let start = stream.below(samples.len().saturating_sub(gap).max(1));
        let end = (start + gap.max(1)).min(out.len());
        out[start..end].fill(0.0);
        left -= gap.max(1) as f64;
        if left <= 0.0 {
            return out;
        }
    }
}

/// Clicks of three samples at random places; at least one.
fn clicks(samples: &[f32], per_second: f64, peak: f64, rate: f64, key: Key) -> Vec<f32> {
    let mut stream = key.stream();
    let mut out = samples.to_vec();
    let count = (per_second * samples.len() as f64 / rate).round().max(1.0) as usize;
    for _ in 0..count {
        let start = stream.below(samples.len());
        let sign = if stream.chance(0.5) { 1.0 } else { -1.0 };
        let height = sign * peak * stream.between(0.5, 1.5);
        for (sample, shape) in out[start..].iter_mut().zip([1.0, -0.5, 0.25]) {
            *sample += (height * shape) as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;
    use proptest::prelude::*;

    use super::*;

    const RATE_HZ: u32 = 16_000;

    fn music(seconds: f64) -> Vec<f32> {
        let samples = (seconds * f64::from(RATE_HZ)) as usize;
        let mut stream = Key::new(1, Purpose::Test).stream();
        (0..samples)
            .map(|n| {
                let t = n as f64 / f64::from(RATE_HZ);
                let tones: f64 =
                    [220.0, 331.0, 1870.0, 5100.0].iter().map(|hz| (t * hz * std::f64::consts::TAU).sin()).sum();
                (0.1 * tones + 0.01 * stream.normal()) as f32
            })
            .collect()
    }

    fn degraded(kind: Kind, strength: f64, samples: &[f32]) -> Vec<f32> {
        Degradation { kind, strength }.apply(samples, RATE_HZ, None, Key::new(3, Purpose::Test)).unwrap()
    }

    /// Energy of what changed, relative to the clip's, in dB.
    fn change_db(kind: Kind, strength: f64) -> f64 {
        let clean = music(2.0);
        let out = degraded(kind, strength, &clean);
        assert_eq!(out.len(), clean.len());
        let energy = |x: f32| f64::from(x) * f64::from(x);
        let change = out.iter().zip(&clean).map(|(a, b)| energy(a - b)).sum::<f64>();
        10.0 * (change / clean.iter().map(|x| energy(*x)).sum::<f64>()).log10()
    }

    #[test]
    fn more_strength_changes_more() {
        // A filter turns phases beside taking energy away: what it takes is measured below.
        for kind in Kind::DEGRADING.into_iter().filter(|kind| ![Kind::Codec, Kind::LowPass].contains(kind)) {
            let changes = [0.05, 0.35, 0.65, 1.0].map(|strength| change_db(kind, strength));
            assert!(changes.windows(2).all(|pair| pair[1] > pair[0]), "{kind:?}: {changes:?}");
        }
        assert!(change_db(Kind::Clean, 0.7) < -200.0);
    }

    #[test]
    fn the_numbers_are_those_of_the_documentation() {
        assert!((change_db(Kind::Noise, 0.0) + 45.0).abs() < 0.3 && change_db(Kind::Noise, 1.0).abs() < 0.3);
        let clean = music(2.0);
        let peak = |x: &[f32]| x.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
        let held = 20.0 * (peak(&degraded(Kind::Clipping, 1.0, &clean)) / peak(&clean)).log10();
        assert!((held + 30.0).abs() < 0.01, "{held}");
        let mut levels: Vec<u32> = degraded(Kind::Levels, 1.0, &clean).iter().map(|x| x.to_bits()).collect();
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() <= 4, "{}", levels.len());
        let gone = degraded(Kind::DropOuts, 1.0, &clean).iter().filter(|x| **x == 0.0).count();
        assert!((0.2..=0.32).contains(&(gone as f64 / clean.len() as f64)), "{gone}");
        // Of four tones of one level two lie far above 400 Hz, and one so near that it loses a fifth of its power.
        let energy = |x: &[f32]| x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        let left = [0.0, 0.3, 0.6, 1.0].map(|s| energy(&degraded(Kind::LowPass, s, &clean)) / energy(&clean));
        assert!(left.windows(2).all(|pair| pair[1] < pair[0]), "{left:?}");
        assert!(left[0] > 0.9 && (left[3] - 0.45).abs() < 0.04, "{left:?}");
    }

    #[test]
    fn levels_of_the_codec_are_dealt_out_evenly() {
        let strengths: Vec<f64> =
            (0..8).map(|at| Degradation::drawn(Kind::Codec, (f64::from(at) + 0.5) / 8.0, 8).strength).collect();
        assert!((strengths[0] - 0.4).abs() < 1e-12 && (strengths[7] - 0.925).abs() < 1e-12, "{strengths:?}");
        assert!(strengths.windows(2).all(|pair| pair[1] > pair[0]));
        assert!(Degradation::drawn(Kind::Codec, 0.5, 0).strength.is_finite());
    }

    proptest! {
        #[test]
        fn any_sound_stays_finite_and_as_long(
            kind in 0_usize..7, strength in 0.0_f64..=1.0, samples in 0_usize..3000, rate in 4_000_u32..50_000,
        ) {
            let sound: Vec<f32> = music(0.2).into_iter().take(samples).collect();
            let degradation = Degradation { kind: Kind::DEGRADING[kind], strength };
            let key = Key::new(samples as u64, Purpose::Test);
            let out = degradation.apply(&sound, rate, None, key).unwrap();
            prop_assert_eq!(out.len(), sound.len());
            prop_assert!(out.iter().all(|x| x.is_finite()));
            prop_assert_eq!(out, degradation.apply(&sound, rate, None, key).unwrap());
        }
    }
}
