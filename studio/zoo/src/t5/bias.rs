//! Relative positions as buckets.

/// The bucket of the key that lies `relative` (key minus query) positions on: half of the buckets for either direction,
/// the nearer half of those one distance each, then logarithmically wider ones up to `distance_max`.
///
/// In 32-bit floats, as the reference computes it.
#[must_use]
pub fn bucket(relative: i64, buckets: usize, distance_max: usize) -> usize {
    let half = buckets / 2;
    let exact = half / 2;
    let side = if relative > 0 { half } else { 0 };
    let distance = usize::try_from(relative.unsigned_abs()).unwrap_or(usize::MAX);
    if distance < exact {
        return side + distance;
    }
    let spread = (distance_max as f64 / exact as f64).ln() as f32;
    let steps = (distance as f32 / exact as f32).ln() / spread * (half - exact) as f32;
    side + (exact + steps as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_positions_have_buckets_of_their_own_and_far_ones_share() {
        let of = |relative| bucket(relative, 32, 128);
        assert_eq!((0..8).map(|r| of(-r)).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert_eq!((1..8).map(of).collect::<Vec<_>>(), (17..24).collect::<Vec<_>>());
        assert_eq!([of(-8), of(-11), of(-12), of(-15), of(-16), of(-127), of(-5000)], [8, 8, 9, 9, 10, 15, 15]);
        assert_eq!([of(8), of(127), of(i64::MAX), of(i64::MIN)], [24, 31, 31, 15]);
    }
}
