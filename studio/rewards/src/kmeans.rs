//! Seeded k-means: the same points, seed and settings give the same centroids on the same backend.
//!
//! `musicrl_codec::semantic::kmeans` is another one, and stays so. Here more entries than points are allowed, which small
//! corpora need; distances come from one product on the device, there one by one in `f32`; empty clusters and the end
//! have other rules. The centroids are nearly always the same to the last bit, but a near tie is enough to part them
//! (LOG.md), so one for both would change what some seeds give.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use musicrl_core::random::{Key, Stream};

/// Points that are compared with all centroids in one matrix product.
const CHUNK_POINTS: usize = 4096;

/// Points of equal length, row after row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Points {
    pub dim: usize,
    pub values: Vec<f32>,
}

impl Points {
    pub fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum()
}

/// The nearest centroid of each point; of equally near ones the first.
///
/// `|x - c|^2 = |x|^2 - 2 x.c + |c|^2`, and `|x|^2` does not change which is the least.
///
/// # Shapes
/// - points: [points, dim]
/// - centroids: [entries, dim]
/// - returns: [points, 1]
pub(crate) fn nearest(points: Tensor<2>, centroids: Tensor<2>) -> Tensor<2, Int> {
    let norms = centroids.clone().powi_scalar(2).sum_dim(1).transpose();
    let distances = points.matmul(centroids.transpose()) * -2.0 + norms;
    distances.argmin(1)
}

fn assign(points: &Points, centroids: &Points, device: &Device) -> Vec<usize> {
    let entries = centroids.len();
    let centroids = Tensor::<2>::from_data(TensorData::new(centroids.values.clone(), [entries, centroids.dim]), device);
    let mut assignment = Vec::with_capacity(points.len());
    for chunk in points.values.chunks(CHUNK_POINTS * points.dim.max(1)) {
        let rows = chunk.len() / points.dim.max(1);
        let chunk = Tensor::<2>::from_data(TensorData::new(chunk.to_vec(), [rows, points.dim]), device);
        let ids = nearest(chunk, centroids.clone()).into_data().convert_dtype(DType::I64);
        let ids = ids.try_to_vec::<i64>().unwrap_or_default();
        assignment.extend(ids.into_iter().map(|id| usize::try_from(id).unwrap_or(0).min(entries.saturating_sub(1))));
    }
    assignment
}

/// k-means++ starts (Arthur and Vassilvitskii, SODA 2007): each new centroid is a point drawn in proportion to its
/// squared distance from those already chosen.
fn start(points: &Points, entries: usize, stream: &mut Stream) -> Points {
    let mut centroids = Points { dim: points.dim, values: Vec::with_capacity(entries * points.dim) };
    let mut distances = vec![f64::INFINITY; points.len()];
    let mut chosen = stream.below(points.len());
    for _ in 0..entries {
        centroids.values.extend_from_slice(points.row(chosen));
        let mut total = 0.0;
        for (index, distance) in distances.iter_mut().enumerate() {
            *distance = distance.min(squared_distance(points.row(index), points.row(chosen)));
            total += *distance;
        }
        // Where every point is already a centroid the total is 0, and the first point is repeated.
        let mut rest = stream.uniform() * total;
        chosen = 0;
        for (index, distance) in distances.iter().enumerate() {
            if *distance > 0.0 {
                chosen = index;
                rest -= distance;
                if rest <= 0.0 {
                    break;
                }
            }
        }
    }
    centroids
}

/// Lloyd's iterations from k-means++ starts. A centroid that lost all its points moves onto the point that is farthest
/// from its own. `points` must not be empty; `entries` may exceed their number (the surplus repeats points).
pub(crate) fn fit(points: &Points, entries: usize, iterations: usize, key: Key, device: &Device) -> Points {
    let mut centroids = start(points, entries, &mut key.stream());
    for _ in 0..iterations {
        let assignment = assign(points, &centroids, device);
        let mut sums = vec![0.0_f64; entries * points.dim];
        let mut counts = vec![0_usize; entries];
        for (index, entry) in assignment.iter().enumerate() {
            counts[*entry] += 1;
            for (sum, value) in sums[entry * points.dim..].iter_mut().zip(points.row(index)) {
                *sum += f64::from(*value);
            }
        }
        let mut lonely: Vec<(f64, usize)> = Vec::new();
        if counts.contains(&0) {
            let distance = |index: usize| squared_distance(points.row(index), centroids.row(assignment[index]));
            lonely = (0..points.len()).map(|index| (distance(index), index)).collect();
            // Farthest last; the index settles ties.
            lonely.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        }
        let mut moved = false;
        for entry in 0..entries {
            let new: Vec<f32> = if counts[entry] > 0 {
                let count = counts[entry] as f64;
                sums[entry * points.dim..(entry + 1) * points.dim].iter().map(|sum| (sum / count) as f32).collect()
            } else {
                match lonely.pop() {
                    Some((distance, index)) if distance > 0.0 => points.row(index).to_vec(),
                    _ => continue,
                }
            };
            let old = &mut centroids.values[entry * points.dim..(entry + 1) * points.dim];
            moved |= old != new;
            old.copy_from_slice(&new);
        }
        if !moved {
            break;
        }
    }
    centroids
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;

    use super::*;

    #[test]
    fn finds_separate_clouds_and_repeats_itself() {
        let mut stream = Key::new(3, Purpose::Test).stream();
        let centres = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]];
        let mut values = Vec::new();
        for index in 0..90 {
            let centre: [f64; 2] = centres[index % 3];
            values.extend(centre.map(|x| (x + 0.1 * stream.normal()) as f32));
        }
        let points = Points { dim: 2, values };
        let key = Key::new(5, Purpose::Quantiser);
        let device = Device::flex();
        let centroids = fit(&points, 3, 20, key, &device);
        for centre in centres {
            let centre = centre.map(|x| x as f32);
            assert!((0..3).any(|entry| squared_distance(centroids.row(entry), &centre) < 0.1), "{centroids:?}");
        }
        assert_eq!(fit(&points, 3, 20, key, &device), centroids);
    }

    #[test]
    fn more_entries_than_points_is_no_accident() {
        let points = Points { dim: 1, values: vec![1.0, 1.0, 2.0] };
        let centroids = fit(&points, 5, 4, Key::new(1, Purpose::Quantiser), &Device::flex());
        assert_eq!(centroids.len(), 5);
        assert!(centroids.values.iter().all(|value| [1.0, 2.0].contains(value)), "{centroids:?}");
    }
}
