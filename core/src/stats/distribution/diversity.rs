//! How spread points are inside groups and between them.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::{
    super::check_lengths,
    points::{Points, dot},
};
use crate::Result;

/// Mean cosine distances, 0 (all alike) to 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Diversity {
    /// Mean over groups of two points or more of the mean over their pairs; `None` when there is no such group.
    pub within: Option<f64>,
    /// Mean over pairs of points from different groups; `None` for one group alone.
    pub between: Option<f64>,
}

/// Mean cosine distance 1 - x.y / (|x| |y|) of points of one group (the same prompt) and of different groups. A point of
/// length 0 is at distance 1 from every other.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for another number of groups than of points.
pub fn diversity(points: &Points, groups: &[usize]) -> Result<Diversity> {
    check_lengths("groups", points.len(), groups.len())?;
    let rows: Vec<&[f64]> = points.rows().collect();
    let lengths: Vec<f64> = rows.iter().map(|row| libm::sqrt(dot(row, row))).collect();
    let (mut between, mut pairs_between) = (0.0, 0_u64);
    let mut within = alloc::collections::BTreeMap::<usize, (f64, u64)>::new();
    for i in 0..rows.len() {
        for j in 0..i {
            let length = lengths[i] * lengths[j];
            let distance = if length > 0.0 { 1.0 - dot(rows[i], rows[j]) / length } else { 1.0 };
            if groups[i] == groups[j] {
                let (sum, pairs) = within.entry(groups[i]).or_default();
                *sum += distance;
                *pairs += 1;
            } else {
                between += distance;
                pairs_between += 1;
            }
        }
    }
    let means: Vec<f64> = within.values().map(|(sum, pairs)| sum / *pairs as f64).collect();
    Ok(Diversity {
        within: (!means.is_empty()).then(|| super::super::mean(&means)),
        between: (pairs_between > 0).then(|| between / pairs_between as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_hand() -> Result<()> {
        // Group 0: equal directions and one at a right angle; group 1: alone.
        let points = Points::new(alloc::vec![1.0, 0.0, 2.0, 0.0, 0.0, 3.0, -1.0, 0.0], 2)?;
        let of = diversity(&points, &[0, 0, 0, 1])?;
        assert!((of.within.unwrap_or(9.0) - 2.0 / 3.0).abs() < 1e-12, "{of:?}");
        assert!((of.between.unwrap_or(9.0) - 5.0 / 3.0).abs() < 1e-12, "{of:?}");
        // Every group counts the same, whatever its size.
        let of = diversity(&points, &[0, 0, 1, 1])?;
        assert!((of.within.unwrap_or(9.0) - 0.5).abs() < 1e-12, "{of:?}");
        assert_eq!(diversity(&points, &[0, 1, 2, 3])?.within, None);
        assert_eq!(diversity(&points, &[7; 4])?.between, None);
        assert!(diversity(&points, &[0]).is_err());
        assert_eq!(diversity(&Points::new(alloc::vec![0.0; 4], 2)?, &[0, 0])?.within, Some(1.0));
        Ok(())
    }
}
