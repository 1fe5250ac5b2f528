//! Changes of length along time: cubic for the audio tower, linear for the fused features.
//!
//! Positions are computed in 32-bit floats, as the reference library does: at position 1000 that is a difference of up
//! to 6e-5 of a frame from exact arithmetic, which shows where neighbouring frames differ by tens of decibels.

use burn::tensor::{Device, Int, Tensor};

use crate::named::{device_floats, device_ids};

/// The cubic kernel's free parameter.
const CUBIC_A: f64 = -0.75;

/// Cubic interpolation (Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.75) in
/// which the first and last frames stay where they are. A sparse matrix: four taps a row.
#[derive(Debug)]
pub struct Stretch {
    /// Source frames of each tap, `[to]`.
    sources: [Tensor<1, Int>; 4],
    /// Weights of each tap, `[1, to, 1]`.
    weights: [Tensor<3>; 4],
}

impl Stretch {
    /// From `from` frames to `to`, both at least 1.
    #[must_use]
    pub fn new(from: usize, to: usize, device: &Device) -> Self {
        let taps: Vec<_> = (0..to).map(|at| cubic_taps(at, from, to)).collect();
        let sources = [0, 1, 2, 3].map(|tap| {
            let rows: Vec<u32> = taps.iter().map(|(sources, _)| sources[tap] as u32).collect();
            device_ids(&rows, [to], device)
        });
        let weights = [0, 1, 2, 3].map(|tap| {
            let values: Vec<f32> = taps.iter().map(|(_, weights)| weights[tap] as f32).collect();
            device_floats(&values, [1, to, 1], device)
        });
        Self { sources, weights }
    }

    /// Stretches every row's time.
    ///
    /// # Shapes
    /// - x: `[rows, from, bands]`
    /// - output: `[rows, to, bands]`
    #[must_use]
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        let tap = |k: usize| x.clone().select(1, self.sources[k].clone()) * self.weights[k].clone();
        tap(0) + tap(1) + tap(2) + tap(3)
    }
}

/// The four source frames of frame `at`, and their weights.
fn cubic_taps(at: usize, from: usize, to: usize) -> ([usize; 4], [f64; 4]) {
    let last = from.saturating_sub(1);
    let step = if to > 1 { last as f32 / (to - 1) as f32 } else { 0.0 };
    let position = step * at as f32;
    let first = (position.floor() as usize).min(last);
    let t = f64::from((position - first as f32).clamp(0.0, 1.0));
    // Frames beyond the ends are the frames at the ends.
    let sources = [first.saturating_sub(1), first, (first + 1).min(last), (first + 2).min(last)];
    let near = |x: f64| ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((CUBIC_A * x - 5.0 * CUBIC_A) * x + 8.0 * CUBIC_A) * x - 4.0 * CUBIC_A;
    (sources, [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)])
}

/// Linear interpolation from `frames` of `bands` values to `to` frames, in which frames are the middles of equal parts
/// of the whole.
///
/// # Shapes
/// - values: `frames * bands`, frame after frame
/// - output: `to * bands`
#[must_use]
pub fn shrink(values: &[f32], bands: usize, to: usize) -> Vec<f32> {
    let frames = values.len() / bands.max(1);
    if frames == to || frames == 0 {
        return values.to_vec();
    }
    let step = frames as f32 / to as f32;
    let mut out = Vec::with_capacity(to * bands);
    for at in 0..to {
        let position = (step * (at as f32 + 0.5) - 0.5).max(0.0);
        let first = (position as usize).min(frames - 1);
        let second = (first + 1).min(frames - 1);
        let t = (position - first as f32).clamp(0.0, 1.0);
        let row = |frame: usize| &values[frame * bands..(frame + 1) * bands];
        out.extend(row(first).iter().zip(row(second)).map(|(a, b)| (1.0 - t) * a + t * b));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_stay_and_a_line_stays_a_line() {
        let device = Device::flex();
        for (from, to) in [(5, 9), (7, 7), (2, 16), (1, 4), (9, 1)] {
            let line: Vec<f32> = (0..from).flat_map(|i| [i as f32, 3.0]).collect();
            let x = device_floats(&line, [1, from, 2], &device);
            let y: Vec<f32> = Stretch::new(from, to, &device).forward(&x).into_data().iter::<f32>().collect();
            assert_eq!(y.len(), 2 * to);
            assert!(y.chunks(2).all(|row| (row[1] - 3.0).abs() < 1e-5), "{from} {to}: {y:?}");
            assert!(y[0].abs() < 1e-6);
            if to > 1 {
                assert!((y[2 * to - 2] - (from - 1) as f32).abs() < 1e-5, "{from} {to}: {y:?}");
            }
        }
        // Half way between frames the kernel is (-3, 19, 19, -3) / 32.
        let (sources, weights) = cubic_taps(3, 5, 9);
        assert_eq!(sources, [0, 1, 2, 3]);
        assert_eq!(weights.map(|w| w * 32.0), [-3.0, 19.0, 19.0, -3.0]);
    }

    #[test]
    fn shrinking_takes_the_middles_of_equal_parts() {
        assert_eq!(shrink(&[0.0, 1.0, 2.0, 3.0], 1, 2), [0.5, 2.5]);
        assert_eq!(shrink(&[0.0, 9.0, 3.0, 9.0, 6.0, 9.0], 2, 2), [0.75, 9.0, 5.25, 9.0]);
        assert_eq!(shrink(&[1.0, 2.0], 1, 4), [1.0, 1.25, 1.75, 2.0]);
        assert!(shrink(&[], 2, 4).is_empty());
    }
}
