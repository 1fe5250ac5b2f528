//! Elementwise functions in a form that the compiler vectorises: no calls, no branches.

use super::EPSILON;

/// `exp` to about two units in the last place (Cephes' polynomial); flushes to 0 below -87.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let inside = x.clamp(-87.0, 88.0);
    let shifted = inside * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = inside - n * LN2_HIGH - n * LN2_LOW;
    let p = ((((1.987_569_1e-4 * r + 1.398_199_9e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 0.166_666_66) * r
        + 0.5;
    let bits = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let value = (p * r * r + r + 1.0) * f32::from_bits(bits);
    if x < -87.0 { 0.0 } else { value }
}

/// Sine and cosine of an angle in radians, to about two units in the last place of 1 up to 8,192 (Cody and Waite's reduction
/// by three parts of pi / 2, Cephes' polynomials); beyond 100,000, where neighbouring numbers lie a hundredth of a radian
/// apart, those of 100,000.
#[inline(always)]
#[must_use]
pub fn sin_cos(x: f32) -> (f32, f32) {
    /// Adding it leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    /// Parts of pi / 2, the first two short enough for exact products with the number of quarters.
    const QUARTER: [f32; 3] = [1.570_312_5, 4.837_513e-4, 7.549_79e-8];
    let inside = x.clamp(-1e5, 1e5);
    let shifted = inside * core::f32::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let r = inside - n * QUARTER[0] - n * QUARTER[1] - n * QUARTER[2];
    let square = r * r;
    let sin = ((-1.951_529_6e-4 * square + 8.332_161e-3) * square - 1.666_665_5e-1) * square * r + r;
    let cos =
        ((2.443_315_7e-5 * square - 1.388_731_6e-3) * square + 4.166_664_6e-2) * square * square - 0.5 * square + 1.0;
    let quarter = shifted.to_bits();
    let (sin, cos) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let signed = |value: f32, quarter: u32| f32::from_bits(value.to_bits() ^ ((quarter & 2) << 30));
    (signed(sin, quarter), signed(cos, quarter.wrapping_add(1)))
}

/// `x Phi(x)`, the Gaussian error linear unit.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * core::f32::consts::FRAC_1_SQRT_2))
}

/// `Phi(x) + x phi(x)`, the derivative of [`gelu`].
#[cfg(any(feature = "flex", test))]
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    /// `1 / sqrt(2 pi)`.
    const DENSITY: f32 = 0.398_942_3;
    0.5 * (1.0 + erf(x * core::f32::consts::FRAC_1_SQRT_2)) + x * DENSITY * exp(-0.5 * x * x)
}

/// The error function as a ratio of polynomials, to a few units in the last place. (The minimax coefficients are those that
/// XLA and Eigen use on [-4, 4]; beyond, the function is 1 to rounding.)
#[inline(always)]
fn erf(x: f32) -> f32 {
    let z = x.clamp(-4.0, 4.0);
    let square = z * z;
    let top = [
        -2.726_142_3e-10,
        2.770_681_5e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_4e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let bottom = [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let polynomial = |coefficients: &[f32]| coefficients.iter().fold(0.0, |sum, next| sum * square + next);
    z * polynomial(&top) / polynomial(&bottom)
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// Rows of `x` divided by the root of their mean square, into `out`.
pub(crate) fn normalise(x: &[f32], out: &mut [f32], width: usize) {
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mut lanes = [0.0_f32; 8];
        let (whole, rest) = row.as_chunks::<8>();
        for part in whole {
            for (lane, value) in lanes.iter_mut().zip(part) {
                *lane += value * value;
            }
        }
        let sum = lanes.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
        let scale = 1.0 / libm::sqrtf(sum / width as f32 + EPSILON);
        for (out, value) in out.iter_mut().zip(row) {
            *out = value * scale;
        }
    }
}

/// Softmax in place.
#[inline(always)]
pub(crate) fn softmax(row: &mut [f32]) {
    let largest = fold(row, f32::NEG_INFINITY, |most, value| if value > most { value } else { most });
    row.iter_mut().for_each(|value| *value = exp(*value - largest));
    let scale = 1.0 / fold(row, 0.0, |sum, value| sum + value);
    row.iter_mut().for_each(|value| *value *= scale);
}

/// A fold in eight lanes side by side, which are folded last: one alone waits for every step.
#[inline(always)]
fn fold(row: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> f32 {
    let (whole, rest) = row.as_chunks::<8>();
    let mut lanes = [start; 8];
    for part in whole {
        for (lane, value) in lanes.iter_mut().zip(part) {
            *lane = step(*lane, *value);
        }
    }
    lanes.iter().chain(rest).fold(start, |folded, value| step(folded, *value))
}

/// `a b + c`: fused where the processor that is compiled for does it in one instruction (elsewhere it would be a call).
#[inline(always)]
pub(crate) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(all(feature = "std", target_feature = "fma"))]
    return a.mul_add(b, c);
    #[cfg(not(all(feature = "std", target_feature = "fma")))]
    return a * b + c;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_agree_with_libm() {
        let angles = (-80_000..=80_000).map(|i| i as f32 * 0.1024);
        for x in angles.chain([0.0, -0.0, 1e-20, core::f32::consts::PI, -core::f32::consts::FRAC_PI_4]) {
            let (sin, cos) = sin_cos(x);
            let (want_sin, want_cos) = (libm::sin(f64::from(x)), libm::cos(f64::from(x)));
            assert!((f64::from(sin) - want_sin).abs() < 2.4e-7, "sin {x} = {sin}, not {want_sin}");
            assert!((f64::from(cos) - want_cos).abs() < 2.4e-7, "cos {x} = {cos}, not {want_cos}");
        }
        for x in [1e5, -3e9, f32::MAX, f32::INFINITY, f32::NEG_INFINITY] {
            let (sin, cos) = sin_cos(x);
            assert!((sin * sin + cos * cos - 1.0).abs() < 1e-4, "{x}: {sin} {cos}");
        }
    }

    #[test]
    fn functions_agree_with_libm() {
        for i in -4000..=4000 {
            let x = i as f32 * 0.025;
            let want = libm::exp(f64::from(x).min(88.0));
            let tolerance = if x < -87.0 { 1e-37 } else { want * 3e-7 };
            assert!((f64::from(exp(x)) - want).abs() <= tolerance, "exp({x}) = {}", exp(x));
            let wide = f64::from(x);
            let want = 0.5 * wide * (1.0 + libm::erf(wide * core::f64::consts::FRAC_1_SQRT_2));
            assert!((f64::from(gelu(x)) - want).abs() < 2e-7 * wide.abs().max(0.1), "gelu({x}) = {}", gelu(x));
            let phi = libm::exp(-0.5 * wide * wide) / libm::sqrt(2.0 * core::f64::consts::PI);
            let want = 0.5 * (1.0 + libm::erf(wide * core::f64::consts::FRAC_1_SQRT_2)) + wide * phi;
            assert!((f64::from(gelu_slope(x)) - want).abs() < 4e-7, "gelu'({x}) = {}", gelu_slope(x));
            let want = wide / (1.0 + libm::exp(-wide));
            assert!((f64::from(silu(x)) - want).abs() < 4e-7 * wide.abs().max(1.0), "silu({x}) = {}", silu(x));
        }
    }
}
