//! Ranks with ties.

use alloc::{vec, vec::Vec};

/// Ranks from 1 on; equal values share the mean of their ranks. The values must not be NaN (they would be ordered after
/// all others).
#[must_use]
pub fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        // Comparison by ==, so that -0 and 0 are equal.
        let length = order[start..].iter().take_while(|&&i| values[i] == values[order[start]]).count().max(1);
        let rank = start as f64 + (length as f64 + 1.0) / 2.0;
        order[start..start + length].iter().for_each(|&i| ranks[i] = rank);
        start += length;
    }
    ranks
}

/// Sizes of the groups of equal values.
pub(crate) fn tie_sizes(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(midranks(&[10.0, 20.0, 10.0, 5.0]), [2.5, 4.0, 2.5, 1.0]);
        assert_eq!(midranks(&[0.0, -0.0]), [1.5, 1.5]);
        assert_eq!(midranks(&[]), Vec::<f64>::new());
        assert_eq!(tie_sizes(&[1.0, 2.0, 1.0, 0.0, -0.0]), [2, 2, 1]);
    }
}
