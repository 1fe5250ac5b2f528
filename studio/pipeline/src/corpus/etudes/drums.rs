//! The drum kit: each sound is made once a piece and played with any strength.

use core::f64::consts::PI;

use super::{
    filter::{Biquad, Noise},
    score::Drum,
};

/// The sound of one hit at full strength.
pub(super) fn hit(drum: Drum, sample_rate_hz: f64, seed: u32) -> Vec<f32> {
    let seconds = match drum {
        Drum::Kick => 0.3,
        Drum::Snare => 0.22,
        Drum::Hat => 0.09,
        Drum::Shaker => 0.12,
    };
    let mut noise = Noise::new(seed);
    let mut low = Biquad::band_pass(1900.0, 0.5, sample_rate_hz);
    let mut high = Biquad::high_pass(if drum == Drum::Shaker { 3200.0 } else { 5000.0 }, sample_rate_hz);
    let mut phase = 0.0_f64;
    let samples = (seconds * sample_rate_hz) as usize;
    (0..samples)
        .map(|n| {
            let t = n as f64 / sample_rate_hz;
            let white = noise.next();
            // Straight to zero over the last tenth: an exponential alone would end in a step.
            let edge = (10.0 * (1.0 - n as f64 / samples as f64)).min(1.0) * (t / 0.001).min(1.0);
            let sound = match drum {
                Drum::Kick => {
                    phase += (45.0 + 110.0 * libm::exp(-t / 0.03)) / sample_rate_hz;
                    libm::sin(2.0 * PI * phase) * libm::exp(-t / 0.09)
                        + 0.25 * f64::from(low.process(white)) * libm::exp(-t / 0.004)
                }
                Drum::Snare => {
                    phase += 185.0 / sample_rate_hz;
                    0.5 * libm::sin(2.0 * PI * phase) * libm::exp(-t / 0.04)
                        + 1.1 * f64::from(low.process(white)) * libm::exp(-t / 0.06)
                }
                Drum::Hat => 0.7 * f64::from(high.process(white)) * libm::exp(-t / 0.02),
                Drum::Shaker => {
                    let swell = (t / 0.02).min(1.0) * libm::exp(-(t - 0.02).max(0.0) / 0.03);
                    0.8 * f64::from(high.process(white)) * swell
                }
            };
            (sound * edge) as f32
        })
        .collect()
}
