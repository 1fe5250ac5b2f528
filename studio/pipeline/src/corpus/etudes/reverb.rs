//! A small room: parallel combs and two all-passes in series (Schroeder, "Natural sounding artificial reverberation",
//! 1962), the combs damped above as air and walls do (Moorer, "About this reverberation business", 1979).

/// Comb delays in seconds, without common divisors.
const COMBS_SECONDS: [f64; 4] = [0.0297, 0.0371, 0.0411, 0.0437];
/// All-pass delays in seconds.
const ALL_PASSES_SECONDS: [f64; 2] = [0.005, 0.0017];
/// Time in which an echo falls by 60 dB.
const RING_SECONDS: f64 = 0.7;

/// A ring of past samples.
struct Line {
    samples: Vec<f32>,
    at: usize,
}

impl Line {
    fn new(seconds: f64, sample_rate_hz: f64) -> Self {
        Self { samples: vec![0.0; ((seconds * sample_rate_hz) as usize).max(1)], at: 0 }
    }

    /// The oldest sample, then its replacement by `f` of it.
    #[inline]
    fn exchange(&mut self, f: impl FnOnce(f32) -> f32) -> f32 {
        let old = self.samples[self.at];
        self.samples[self.at] = f(old);
        self.at = if self.at + 1 == self.samples.len() { 0 } else { self.at + 1 };
        old
    }
}

/// Adds the room's answer to `audio`.
pub(super) fn add(audio: &mut [f32], wet: f32, sample_rate_hz: f64) {
    let mut combs = COMBS_SECONDS.map(|seconds| {
        let feedback = libm::pow(10.0, -3.0 * seconds / RING_SECONDS) as f32;
        (Line::new(seconds, sample_rate_hz), feedback, 0.0_f32)
    });
    let mut all_passes = ALL_PASSES_SECONDS.map(|seconds| Line::new(seconds, sample_rate_hz));
    for sample in audio {
        let x = *sample;
        let mut sum = 0.0;
        for (line, feedback, damped) in &mut combs {
            sum += line.exchange(|old| {
                *damped += 0.6 * (old - *damped);
                x + *feedback * *damped
            });
        }
        sum *= 0.25;
        for line in &mut all_passes {
            let input = sum;
            let old = line.exchange(|old| input + 0.6 * old);
            sum = old - 0.6 * (input + 0.6 * old);
        }
        *sample = x + wet * sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impulse_rings_and_dies() {
        let mut audio = vec![0.0; 32000];
        audio[0] = 1.0;
        add(&mut audio, 0.5, 16000.0);
        let power = |range: core::ops::Range<usize>| audio[range].iter().map(|x| x * x).sum::<f32>();
        assert!((audio[0] - 1.0).abs() < 1e-6);
        assert!(power(400..4000) > 1e-3);
        assert!(power(16000..20000) < 1e-3 * power(400..4400));
        assert!(audio.iter().all(|x| x.is_finite()));
    }
}
