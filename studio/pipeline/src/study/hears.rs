//! What of a known taste a model has heard: its scores against the taste's own terms.

use musicrl_rewards::listeners::Property;
use serde::{Deserialize, Serialize};

/// Differences of a taste's terms between the clips of a pair, in the order of [`Property::ALL`].
pub type Terms = [f64; Property::ALL.len()];

/// What a scorer makes of the terms of the listeners' shared taste: the least-squares fit
///
/// score(a) - score(b) = sum_k c_k (term_k(a) - term_k(b)) + rest.
///
/// The ideal scorer has the same c for every term and no rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hears {
    /// c of each property that the taste is about, over their mean weighted by the terms' variance: 1 for all of them where
    /// everything is heard as much as it counts, 0 for what is not heard.
    pub weights: Vec<HeardProperty>,
    /// Share of the score's variance that is the rest.
    pub rest: f64,
}

/// One property of [`Hears`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeardProperty {
    /// Its name in files of tastes.
    pub property: String,
    /// c over the mean of all.
    pub weight: f64,
    /// Share of the variance of the terms' sum that its covariance with the sum makes: what it counts for among these pairs.
    pub share: f64,
}

/// The fit; `None` where a taste is about nothing, terms cannot be told apart, or scores do not differ.
///
/// # Shapes
/// - differences, terms: one a pair
#[must_use]
pub fn hears(differences: &[f64], terms: &[Terms]) -> Option<Hears> {
    let square = |of: &dyn Fn(&Terms) -> f64| terms.iter().map(|row| of(row) * of(row)).sum::<f64>();
    let used: Vec<usize> = (0..Property::ALL.len()).filter(|at| square(&|row| row[*at]) > 0.0).collect();
    let sums =
        |of: &dyn Fn(usize, &Terms) -> f64| -> f64 { terms.iter().enumerate().map(|(at, row)| of(at, row)).sum() };
    let gram: Vec<Vec<f64>> =
        used.iter().map(|i| used.iter().map(|j| sums(&|_, row| row[*i] * row[*j])).collect()).collect();
    let right: Vec<f64> = used.iter().map(|i| sums(&|at, row| row[*i] * differences[at])).collect();
    let fitted = solve(gram.clone(), right)?;
    let variance: f64 = (0..used.len()).map(|k| gram[k][k]).sum();
    let mean = fitted.iter().enumerate().map(|(k, c)| c * gram[k][k]).sum::<f64>() / variance;
    let all: f64 = differences.iter().map(|d| d * d).sum();
    if all <= 0.0 || mean.abs() <= 1e-12 {
        return None;
    }
    let rest = sums(&|at, row| {
        let said: f64 = used.iter().zip(&fitted).map(|(i, c)| row[*i] * c).sum();
        (differences[at] - said) * (differences[at] - said)
    });
    let whole = square(&|row| row.iter().sum());
    let weights = used.iter().enumerate().map(|(k, i)| HeardProperty {
        property: Property::ALL[*i].name().into(),
        weight: fitted[k] / mean,
        share: gram[k].iter().sum::<f64>() / whole,
    });
    Some(Hears { weights: weights.collect(), rest: rest / all })
}

/// x of A x = b by Gaussian elimination with pivots; `None` for a singular A or one without rows.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    let largest = a.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()));
    for column in 0..n {
        let pivot = (column..n).max_by(|i, j| a[*i][column].abs().total_cmp(&a[*j][column].abs()))?;
        if a[pivot][column].abs() <= 1e-12 * largest {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..n {
            let factor = a[row][column] / a[column][column];
            let (above, below) = a.split_at_mut(row);
            below[0][column..].iter_mut().zip(&above[column][column..]).for_each(|(x, y)| *x -= factor * y);
            b[row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|column| a[row][column] * b[column]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    (n > 0).then_some(b)
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    #[test]
    fn weights_and_rest_are_those_of_the_construction() {
        let mut random = Key::new(3, Purpose::Test).stream();
        // Four terms, of which the second leans on the first; the last two properties are no part of the taste.
        let terms: Vec<Terms> = (0..4000)
            .map(|_| {
                let z: [f64; 4] = std::array::from_fn(|_| random.normal());
                [0.5 * z[0], 0.4 * z[0] + 0.3 * z[1], 0.5 * z[2], 0.2 * z[3], 0.0, 0.0]
            })
            .collect();
        let ideal: Vec<f64> = terms.iter().map(|row| 2.0 * row.iter().sum::<f64>()).collect();
        let all = hears(&ideal, &terms).unwrap();
        assert!(all.rest < 1e-12 && all.weights.len() == 4, "{all:?}");
        assert!(all.weights.iter().all(|heard| (heard.weight - 1.0).abs() < 1e-9), "{all:?}");
        assert!((all.weights.iter().map(|heard| heard.share).sum::<f64>() - 1.0).abs() < 1e-9);
        // Deaf to the third, half deaf to the fourth, and with noise of its own.
        let partly: Vec<f64> = terms.iter().map(|row| row[0] + row[1] + 0.5 * row[3] + 0.3 * random.normal()).collect();
        let heard = hears(&partly, &terms).unwrap();
        let weight = |at: usize| heard.weights[at].weight;
        assert_eq!(heard.weights[2].property, "loudness");
        assert!(weight(2).abs() < 0.05 && (weight(3) / weight(0) - 0.5).abs() < 0.1, "{heard:?}");
        let variance = 0.81 + 0.09 + 0.01;
        assert!((heard.rest - 0.09 / (variance + 0.09)).abs() < 0.01, "{heard:?}");
        // Nothing to tell.
        assert_eq!(hears(&vec![0.0; 4000], &terms), None);
        assert_eq!(hears(&ideal, &[[0.0; 6]; 4000]), None);
        assert_eq!(hears(&[1.0, 2.0], &[[1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0, 0.0, 0.0]]), None);
    }
}
