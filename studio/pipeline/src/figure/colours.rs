//! The colour map of spectrograms.

/// Steps of the palette.
pub(super) const LEVELS: usize = 64;

/// "magma" of matplotlib (CC0) at even distances: its lightness rises evenly, so it survives grey print and colour-blind
/// eyes.
const MAGMA: [[u8; 3]; 9] = [
    [0, 0, 4],
    [28, 16, 68],
    [79, 18, 123],
    [129, 37, 129],
    [181, 54, 122],
    [229, 80, 100],
    [251, 135, 97],
    [254, 194, 135],
    [252, 253, 191],
];

/// From the quietest to the loudest.
pub(super) fn palette() -> [[u8; 3]; LEVELS] {
    std::array::from_fn(|level| {
        let at = level as f64 / (LEVELS - 1) as f64 * (MAGMA.len() - 1) as f64;
        let below = (at as usize).min(MAGMA.len() - 2);
        let share = at - below as f64;
        std::array::from_fn(|channel| {
            let (low, high) = (f64::from(MAGMA[below][channel]), f64::from(MAGMA[below + 1][channel]));
            (low + share * (high - low)).round() as u8
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_rises_from_end_to_end() {
        let palette = palette();
        assert_eq!((palette[0], palette[LEVELS - 1]), (MAGMA[0], MAGMA[8]));
        let lightness = |[r, g, b]: [u8; 3]| 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
        assert!(palette.windows(2).all(|pair| lightness(pair[0]) < lightness(pair[1])));
    }
}
