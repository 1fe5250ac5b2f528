//! Logarithms in a form that the compiler vectorises: no calls, no branches.

/// `ln x` of a positive normal number, to a few units in the last place: `x = 2^k m` with m between sqrt(1/2) and sqrt(2), and
/// `ln m = 2 artanh s` with `s = (m - 1) / (m + 1)` by its power series.
#[inline(always)]
pub(crate) fn ln(x: f64) -> f64 {
    /// Bits of sqrt(1/2).
    const LOWEST: u64 = 0x3fe6_a09e_667f_3bcd;
    const BIAS: u64 = 1023;
    /// Bits of 2^52: a small whole number in their low end is added to it.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    let k = x.to_bits().wrapping_sub(LOWEST).wrapping_add(BIAS << 52) >> 52;
    let m = f64::from_bits(x.to_bits().wrapping_sub(k.wrapping_sub(BIAS) << 52));
    let k = f64::from_bits(WHOLE | k) - f64::from_bits(WHOLE) - BIAS as f64;
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0_f64];
    k * core::f64::consts::LN_2 + 2.0 * s * series.iter().fold(0.0, |sum, of| sum * square + 1.0 / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_libm() {
        let numbers = (-3000..3000).map(|i| libm::exp(f64::from(i) * 0.23)).filter(|x| x.is_normal());
        for x in numbers.chain([1.0, 1.0 + f64::EPSILON, 0.999_999, 2.0, 0.5, f64::MIN_POSITIVE, f64::MAX, 1e-10]) {
            let want = libm::log(x);
            assert!((ln(x) - want).abs() <= 4e-16 * want.abs() + 1e-16, "ln {x} = {}, not {want}", ln(x));
        }
    }
}
