//! Seeded k-means: k-means++ starts (Arthur and Vassilvitskii, SODA 2007) and Lloyd's iterations.
//!
//! Everything is plain Rust in an order that does not depend on the number of threads: points are assigned in
//! parallel, each by itself, and summed up one after the other in `f64`.

use musicrl_core::{Error, Result, random::Key};
use rayon::prelude::*;

/// Settings of [`fit`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansConfig {
    /// Number of clusters.
    pub clusters: usize,
    /// Lloyd iterations at most.
    pub iterations_max: usize,
    /// Stops when the inertia falls by less than this share of itself.
    pub tolerance: f64,
}

/// A clustering.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// `clusters * dim` values, one centroid after the other.
    pub centroids: Vec<f32>,
    /// The cluster of each point.
    pub assignment: Vec<u32>,
    /// Sum of squared distances of points to their centroids.
    pub inertia: f64,
    /// Lloyd iterations taken.
    pub iterations: usize,
}

/// Clusters `points` (`dim` values each).
///
/// # Errors
/// [`Error::Config`] when there are fewer points than clusters, [`Error::Shape`] when the values do not make whole
/// points, [`Error::NonFinite`] for a value that is not finite.
pub fn fit(points: &[f32], dim: usize, config: &KMeansConfig, key: Key) -> Result<KMeans> {
    if dim == 0 || !points.len().is_multiple_of(dim) {
        let (expected, got) = (format!("[points, {dim}], {dim} above 0"), format!("[{}]", points.len()));
        return Err(Error::Shape { what: "points to cluster", expected, got });
    }
    if let Some(index) = points.iter().position(|value| !value.is_finite()) {
        return Err(Error::NonFinite { what: "a point to cluster", at: format!("[{}, {}]", index / dim, index % dim) });
    }
    let count = points.len() / dim;
    if config.clusters == 0 || config.clusters > count {
        let expected = format!("1 to the number of frames to cluster, {count}");
        return Err(Error::Config { field: "clusters", expected, got: config.clusters.to_string() });
    }
    let mut centroids = plus_plus(points, dim, config.clusters, key);
    let mut nearest = assign(points, dim, &centroids);
    let mut inertia = total(&nearest);
    let mut iterations = 0;
    while iterations < config.iterations_max {
        iterations += 1;
        update(points, dim, &mut centroids, &nearest);
        nearest = assign(points, dim, &centroids);
        let before = std::mem::replace(&mut inertia, total(&nearest));
        if before - inertia <= config.tolerance * before {
            break;
        }
    }
    Ok(KMeans { centroids, assignment: nearest.iter().map(|(cluster, _)| *cluster).collect(), inertia, iterations })
}

/// The first centroids: each next one is a point drawn with probability proportional to its squared distance to the
/// nearest chosen one.
fn plus_plus(points: &[f32], dim: usize, clusters: usize, key: Key) -> Vec<f32> {
    let mut stream = key.stream();
    let mut chosen = stream.below(points.len() / dim);
    let mut centroids = Vec::with_capacity(clusters * dim);
    let mut distances = vec![f32::INFINITY; points.len() / dim];
    loop {
        let centroid = points[chosen * dim..(chosen + 1) * dim].to_vec();
        centroids.extend_from_slice(&centroid);
        if centroids.len() == clusters * dim {
            return centroids;
        }
        distances.par_iter_mut().zip(points.par_chunks_exact(dim)).for_each(|(distance, point)| {
            *distance = distance.min(squared_distance(point, &centroid));
        });
        let sum: f64 = distances.iter().map(|distance| f64::from(*distance)).sum();
        let mut left = stream.uniform() * sum;
        // When all points are already chosen (duplicates), the sum is 0 and any point is as good as another.
        chosen = distances
            .iter()
            .position(|distance| {
                left -= f64::from(*distance);
                left < 0.0
            })
            .unwrap_or(distances.len() - 1);
    }
}

/// The nearest centroid of each point (the lowest index of equally near ones) and the squared distance to it.
fn assign(points: &[f32], dim: usize, centroids: &[f32]) -> Vec<(u32, f32)> {
    let nearest = |point: &[f32]| {
        let mut best = (0, f32::INFINITY);
        for (index, centroid) in centroids.chunks_exact(dim).enumerate() {
            let distance = squared_distance(point, centroid);
            if distance < best.1 {
                best = (index as u32, distance);
            }
        }
        best
    };
    points.par_chunks_exact(dim).with_min_len(64).map(nearest).collect()
}

fn total(nearest: &[(u32, f32)]) -> f64 {
    nearest.iter().map(|(_, distance)| f64::from(*distance)).sum()
}

/// Centroids become the means of their points; one without points becomes the point farthest from its own centroid.
fn update(points: &[f32], dim: usize, centroids: &mut [f32], nearest: &[(u32, f32)]) {
    let mut sums = vec![0.0_f64; centroids.len()];
    let mut counts = vec![0_u64; centroids.len() / dim];
    for (point, (cluster, _)) in points.chunks_exact(dim).zip(nearest) {
        let cluster = *cluster as usize;
        counts[cluster] += 1;
        for (sum, value) in sums[cluster * dim..(cluster + 1) * dim].iter_mut().zip(point) {
            *sum += f64::from(*value);
        }
    }
    let mut far: Vec<usize> = (0..nearest.len()).collect();
    if counts.contains(&0) {
        far.sort_by(|a, b| nearest[*b].1.total_cmp(&nearest[*a].1).then(a.cmp(b)));
    }
    let mut far = far.into_iter();
    for ((centroid, sum), count) in centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).zip(&counts) {
        if *count > 0 {
            for (value, sum) in centroid.iter_mut().zip(sum) {
                *value = (sum / *count as f64) as f32;
            }
        } else if let Some(point) = far.next() {
            centroid.copy_from_slice(&points[point * dim..(point + 1) * dim]);
        }
    }
}

/// `|a - b|^2` with eight partial sums: a fixed order that the compiler can vectorise.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use musicrl_core::random::Purpose;

    fn config(clusters: usize) -> KMeansConfig {
        KMeansConfig { clusters, iterations_max: 50, tolerance: 0.0 }
    }

    fn key(seed: u64) -> Key {
        Key::new(seed, Purpose::Test)
    }

    /// The smallest inertia of all ways to put the points into clusters.
    fn best_inertia(points: &[f32], dim: usize, clusters: usize) -> f64 {
        let count = points.len() / dim;
        (0..clusters.pow(count as u32))
            .map(|code| {
                let cluster = |point: usize| code / clusters.pow(point as u32) % clusters;
                (0..clusters)
                    .map(|c| {
                        let members: Vec<usize> = (0..count).filter(|point| cluster(*point) == c).collect();
                        (0..dim)
                            .map(|d| {
                                let values = members.iter().map(|point| f64::from(points[point * dim + d]));
                                let mean = values.clone().sum::<f64>() / members.len().max(1) as f64;
                                values.map(|value| (value - mean).powi(2)).sum::<f64>()
                            })
                            .sum::<f64>()
                    })
                    .sum::<f64>()
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn finds_the_best_partition_of_tiny_data() {
        // Three groups in the plane; the best partition is found by trying all 3^8.
        let points: [f32; 16] = [0.0, 0.1, 0.2, 0.0, 5.0, 5.1, 5.2, 4.9, 5.1, 5.3, -4.0, 6.0, -4.2, 6.1, 0.1, -0.1];
        let best = best_inertia(&points, 2, 3);
        for seed in 0..5 {
            let fitted = fit(&points, 2, &config(3), key(seed)).unwrap();
            assert!((fitted.inertia - best).abs() < 1e-5, "seed {seed}: {} against {best}", fitted.inertia);
        }
    }

    #[test]
    fn is_a_fixed_point_and_the_same_for_any_thread_count() {
        let mut stream = key(3).stream();
        let (dim, count) = (11, 700);
        let points: Vec<f32> = (0..dim * count).map(|_| stream.normal() as f32).collect();
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(&points, dim, &config(13), key(1)).unwrap())
        };
        let one = with_threads(1);
        assert_eq!(one, with_threads(2));
        assert_ne!(one.centroids, fit(&points, dim, &config(13), key(2)).unwrap().centroids);
        for (point, cluster) in points.chunks(dim).zip(&one.assignment) {
            let distance = |c: usize| squared_distance(point, &one.centroids[c * dim..(c + 1) * dim]);
            assert!((0..13).all(|c| distance(*cluster as usize) <= distance(c)));
        }
        let scattered: f64 = points.chunks(dim).map(|p| f64::from(squared_distance(p, &vec![0.0; dim]))).sum();
        assert!(one.inertia < 0.9 * scattered);
    }

    #[test]
    fn duplicates_and_as_many_clusters_as_points() {
        let same = fit(&[2.0; 12], 3, &config(3), key(0)).unwrap();
        assert_eq!(same.inertia, 0.0);
        assert!(same.centroids.iter().all(|value| *value == 2.0));
        let points = [1.0, 2.0, 3.0, 4.0];
        let each = fit(&points, 1, &config(4), key(0)).unwrap();
        assert_eq!(each.inertia, 0.0);
        let mut centroids = each.centroids.clone();
        centroids.sort_by(f32::total_cmp);
        assert_eq!(centroids, points);
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(matches!(fit(&[1.0, 2.0], 1, &config(3), key(0)), Err(Error::Config { field: "clusters", .. })));
        assert!(matches!(fit(&[1.0, 2.0], 1, &config(0), key(0)), Err(Error::Config { .. })));
        assert!(matches!(fit(&[1.0, 2.0, 3.0], 2, &config(1), key(0)), Err(Error::Shape { .. })));
        assert!(matches!(fit(&[1.0], 0, &config(1), key(0)), Err(Error::Shape { .. })));
        assert!(matches!(fit(&[1.0, f32::NAN], 1, &config(1), key(0)), Err(Error::NonFinite { .. })));
    }
}
