//! Sinusoidal positions.

/// Rows `first..first + rows` of the table: cosines, then sines (halves, not interleaved), of the position times
/// 10000^(-i / (half - 1)). In 32-bit floats throughout, as the checkpoints were trained: in 64 bits the angles of late
/// positions differ by 1e-4.
///
/// # Shapes
/// - output: `[rows, width]`; an odd width ends with a zero
#[must_use]
pub fn positions(first: usize, rows: usize, width: usize) -> Vec<f32> {
    let half = width / 2;
    let step = (10000.0_f64.ln() / (half.max(2) - 1) as f64) as f32;
    let frequencies: Vec<f32> = (0..half).map(|i| (i as f32 * -step).exp()).collect();
    let mut table = Vec::with_capacity(rows * width);
    for position in first..first + rows {
        let angles = || frequencies.iter().map(|frequency| position as f32 * frequency);
        table.extend(angles().map(f32::cos));
        table.extend(angles().map(f32::sin));
        table.extend(std::iter::repeat_n(0.0, width - 2 * half));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_cosines_and_sines_and_rows_do_not_depend_on_the_first() {
        let table = positions(0, 4, 5);
        assert_eq!(&table[..5], &[1.0, 1.0, 0.0, 0.0, 0.0]);
        assert!((table[5] - 1.0_f32.cos()).abs() < 1e-7 && (table[7] - 1.0_f32.sin()).abs() < 1e-7);
        assert!((table[6] - 1e-4_f32.cos()).abs() < 1e-7 && table[9] == 0.0);
        assert_eq!(positions(2, 2, 5), table[10..]);
    }
}
