//! Second-order filters and noise for the synthesiser.

/// A biquad in transposed direct form II; coefficients by Bristow-Johnson, "Cookbook formulae for audio EQ biquad
/// filter coefficients".
#[derive(Debug, Clone)]
pub(super) struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    state: [f32; 2],
}

/// cos and alpha of the cookbook, at a frequency kept below half the sample rate.
fn angles(frequency_hz: f64, quality: f64, sample_rate_hz: f64) -> (f64, f64) {
    let omega = 2.0 * core::f64::consts::PI * frequency_hz.min(0.45 * sample_rate_hz) / sample_rate_hz;
    (libm::cos(omega), libm::sin(omega) / (2.0 * quality))
}

impl Biquad {
    fn new(b: [f64; 3], a: [f64; 3]) -> Self {
        Self {
            b: b.map(|value| (value / a[0]) as f32),
            a: [(a[1] / a[0]) as f32, (a[2] / a[0]) as f32],
            state: [0.0; 2],
        }
    }

    pub(super) fn low_pass(frequency_hz: f64, sample_rate_hz: f64) -> Self {
        let (cos, alpha) = angles(frequency_hz, core::f64::consts::FRAC_1_SQRT_2, sample_rate_hz);
        let b = (1.0 - cos) / 2.0;
        Self::new([b, 2.0 * b, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    pub(super) fn high_pass(frequency_hz: f64, sample_rate_hz: f64) -> Self {
        let (cos, alpha) = angles(frequency_hz, core::f64::consts::FRAC_1_SQRT_2, sample_rate_hz);
        let b = (1.0 + cos) / 2.0;
        Self::new([b, -2.0 * b, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Gain 1 at the centre.
    pub(super) fn band_pass(frequency_hz: f64, quality: f64, sample_rate_hz: f64) -> Self {
        let (cos, alpha) = angles(frequency_hz, quality, sample_rate_hz);
        Self::new([alpha, 0.0, -alpha], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    pub(super) fn high_shelf(frequency_hz: f64, gain_db: f64, sample_rate_hz: f64) -> Self {
        let (cos, alpha) = angles(frequency_hz, core::f64::consts::FRAC_1_SQRT_2, sample_rate_hz);
        let gain = libm::pow(10.0, gain_db / 40.0);
        let root = 2.0 * libm::sqrt(gain) * alpha;
        let (up, down) = (gain + 1.0, gain - 1.0);
        Self::new(
            [gain * (up + down * cos + root), -2.0 * gain * (down + up * cos), gain * (up + down * cos - root)],
            [up - down * cos + root, 2.0 * (down - up * cos), up - down * cos - root],
        )
    }

    #[inline]
    pub(super) fn process(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.state[0];
        self.state[0] = self.b[1] * x - self.a[0] * y + self.state[1];
        self.state[1] = self.b[2] * x - self.a[1] * y;
        y
    }
}

/// White noise in [-1, 1): xorshift32 (Marsaglia), seeded from the keyed generator. One word a sample of the keyed
/// generator itself would cost more than the rest of the synthesis.
#[derive(Debug, Clone)]
pub(super) struct Noise(u32);

impl Noise {
    pub(super) fn new(seed: u32) -> Self {
        Self(seed | 1)
    }

    #[inline]
    pub(super) fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as i32 as f32 * (1.0 / 2_147_483_648.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gain at a frequency, measured over the second half of a second.
    fn gain_db(mut filter: Biquad, frequency_hz: f64) -> f64 {
        let (mut into, mut out) = (0.0, 0.0);
        for n in 0..16000 {
            let x = libm::sin(2.0 * core::f64::consts::PI * frequency_hz * f64::from(n) / 16000.0) as f32;
            let y = filter.process(x);
            if n >= 8000 {
                into += f64::from(x * x);
                out += f64::from(y * y);
            }
        }
        10.0 * libm::log10(out / into)
    }

    #[test]
    fn responses_are_those_of_the_design() {
        assert!((gain_db(Biquad::low_pass(1000.0, 16000.0), 1000.0) + 3.01).abs() < 0.1);
        assert!(gain_db(Biquad::low_pass(1000.0, 16000.0), 4000.0) < -24.0);
        assert!((gain_db(Biquad::high_pass(1000.0, 16000.0), 1000.0) + 3.01).abs() < 0.1);
        assert!(gain_db(Biquad::band_pass(1000.0, 2.0, 16000.0), 1000.0).abs() < 0.1);
        assert!((gain_db(Biquad::high_shelf(1000.0, 6.0, 16000.0), 6000.0) - 6.0).abs() < 0.3);
        assert!(gain_db(Biquad::high_shelf(1000.0, 6.0, 16000.0), 100.0).abs() < 0.1);
    }

    #[test]
    fn noise_is_centred_and_flat() {
        let mut noise = Noise::new(12345);
        let samples: Vec<f64> = (0..20000).map(|_| f64::from(noise.next())).collect();
        let mean = samples.iter().sum::<f64>() / 20000.0;
        let power = samples.iter().map(|x| x * x).sum::<f64>() / 20000.0;
        assert!(mean.abs() < 0.02 && (power - 1.0 / 3.0).abs() < 0.02, "{mean} {power}");
    }
}
