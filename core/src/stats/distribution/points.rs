//! Rows of numbers.

use alloc::{format, vec::Vec};

use super::super::{check_finite, check_lengths};
use crate::{Error, Result};

/// Points of one dimension, row by row; every coordinate is finite. There may be none.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    values: Vec<f64>,
    dim: usize,
}

impl Points {
    /// Points from their coordinates.
    ///
    /// # Shapes
    /// - values: [points, dim], row by row
    ///
    /// # Errors
    /// [`Error::Config`] for no dimension, [`Error::Shape`] for a row that is not whole, [`Error::NonFinite`].
    pub fn new(values: Vec<f64>, dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::Config { field: "dim", expected: "at least 1".into(), got: "0".into() });
        }
        if !values.len().is_multiple_of(dim) {
            let (expected, got) = (format!("whole rows of {dim}"), format!("[{}]", values.len()));
            return Err(Error::Shape { what: "points", expected, got });
        }
        check_finite("coordinate", &values)?;
        Ok(Self { values, dim })
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// True without any point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Coordinates of a point.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The points, one after another.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.dim)
    }

    /// The mean of the points; zero of none.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = alloc::vec![0.0; self.dim];
        for row in self.rows() {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= self.len().max(1) as f64);
        mean
    }

    /// Refuses points of another dimension.
    pub(super) fn check_dim(&self, other: &Self) -> Result<()> {
        check_lengths("coordinates", self.dim, other.dim)
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_and_finite() -> Result<()> {
        let points = Points::new(alloc::vec![1.0, 2.0, 3.0, 6.0], 2)?;
        assert_eq!((points.len(), points.mean()), (2, alloc::vec![2.0, 4.0]));
        assert!(Points::new(Vec::new(), 3)?.is_empty());
        assert!(matches!(Points::new(alloc::vec![1.0], 0), Err(Error::Config { .. })));
        assert!(matches!(Points::new(alloc::vec![1.0; 3], 2), Err(Error::Shape { .. })));
        assert!(matches!(Points::new(alloc::vec![f64::NAN; 2], 2), Err(Error::NonFinite { .. })));
        assert!(points.check_dim(&Points::new(Vec::new(), 3)?).is_err());
        Ok(())
    }
}
