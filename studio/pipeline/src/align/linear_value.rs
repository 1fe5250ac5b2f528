//! A learned baseline without a network of its own: [`LinearValue`], least squares on the reference's vectors.
//!
//! V(s_t) for the state before frame t of T is linear in phi_t and in tau = t / T,
//!
//! V(s_t) = mean + tau w_1 . phi_t + (1 - tau) w_2 . phi_t,   phi_t = (1, p_t, q, p'_t x q).
//!
//! p_t are the leading principal components of the mean and of the standard deviation over frames 0 to t - 1 of the vectors
//! that stand before the reference's heads; q those of the vector before the first frame, in which nothing but the prompt
//! can be read; p'_t the first few of p_t, crossed with q because whether a sound fits a prompt is in neither alone. The
//! weights are those of ridge regression on the returns of all clips so far, older ones counting less. The reference does
//! not move, so neither do the features, and nothing learned about them is lost between steps.

use burn::tensor::Tensor;
use musicrl_core::{policy::PackedMatrix, random::Key};
use rayon::prelude::*;

use crate::{Error, Result};

/// Principal components of a prefix's statistics, of those that are crossed with the prompt's, and of the prompt's.
const COMPONENTS: [usize; 3] = [128, 24, 12];
/// Rounds of orthogonal iteration.
const ROUNDS: usize = 10;
/// States of a clip that the weights are fitted to: close together where a clip begins and its style is decided.
const FITTED: usize = 13;
/// The ridge's strength, in clips: with so many heard the data weigh as much as the pull towards 0.
const PRIOR_CLIPS: f64 = 100.0;
/// What the clips of a step count for in the next.
const DECAY: f64 = 0.99;
/// Vectors of all slots together up to this many numbers have statistics slot by slot, wider ones over all slots.
const PER_SLOT_MAX: usize = 1024;

/// Vectors of clips on the host, `[clips][frames, slots, width]`.
#[derive(Debug, Clone)]
pub struct Vectors {
    clips: Vec<Vec<f32>>,
    slots: usize,
    width: usize,
}

impl Vectors {
    /// From what stands before the heads, `[clips, frames, slots, width]`.
    #[must_use]
    pub fn of(hidden: &Tensor<4>) -> Self {
        let [_, frames, slots, width] = hidden.dims();
        let values: Vec<f32> = hidden.clone().inner().into_data().iter::<f32>().collect();
        Self { clips: values.chunks((frames * slots * width).max(1)).map(<[f32]>::to_vec).collect(), slots, width }
    }

    /// Those of both, which are of one policy.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.clips.extend(other.clips);
        self
    }

    /// Number of clips.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clips.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }

    /// Mean and standard deviation over frames 0 to t - 1 for t = 1, 2, ...: rows of `2 * columns`, and columns.
    fn prefixes(&self, clip: usize) -> (Vec<f32>, usize) {
        let frame = self.slots * self.width;
        let per_slot = frame <= PER_SLOT_MAX;
        let columns = if per_slot { frame } else { self.width };
        let (mut sums, mut squares) = (vec![0.0_f64; columns], vec![0.0_f64; columns]);
        let mut rows = Vec::with_capacity(self.clips[clip].len() / frame.max(1) * 2 * columns);
        for (before, vectors) in self.clips[clip].chunks_exact(frame.max(1)).enumerate() {
            for (column, (sum, square)) in sums.iter_mut().zip(&mut squares).enumerate() {
                let x = if per_slot {
                    f64::from(vectors[column])
                } else {
                    vectors.iter().skip(column).step_by(self.width).map(|x| f64::from(*x)).sum::<f64>()
                        / self.slots as f64
                };
                *sum += x;
                *square += x * x;
            }
            let count = (before + 1) as f64;
            rows.extend(sums.iter().map(|sum| (sum / count) as f32));
            let variance = |(sum, square): (&f64, &f64)| (square / count - (sum / count).powi(2)).max(0.0);
            rows.extend(sums.iter().zip(&squares).map(|pair| variance(pair).sqrt() as f32));
        }
        (rows, 2 * columns)
    }

    /// The vector before the first action, which has read the prompt alone.
    fn prompt(&self, clip: usize) -> &[f32] {
        &self.clips[clip][..self.width]
    }
}

/// Standardised principal components of some rows.
#[derive(Debug, Clone)]
struct Components {
    mean: Vec<f32>,
    /// 1 / standard deviation; 0 for a column that does not vary.
    scale: Vec<f32>,
    axes: PackedMatrix,
    count: usize,
}

impl Components {
    /// The `count` leading ones of `rows`, `columns` numbers each, by orthogonal iteration from axes that `key` draws.
    fn of(rows: &[f32], columns: usize, count: usize, key: Key) -> Self {
        let n = rows.len() / columns.max(1);
        let count = count.min(columns).min(n / 4).max(1);
        let column = |at: usize| rows.iter().skip(at).step_by(columns).map(|x| f64::from(*x));
        let mean: Vec<f64> = (0..columns).map(|at| column(at).sum::<f64>() / n.max(1) as f64).collect();
        let spread = |at: usize| (column(at).map(|x| (x - mean[at]).powi(2)).sum::<f64>() / n.max(1) as f64).sqrt();
        let scale: Vec<f32> = (0..columns).map(spread).map(|s| if s > 1e-6 { (1.0 / s) as f32 } else { 0.0 }).collect();
        let mean: Vec<f32> = mean.into_iter().map(|x| x as f32).collect();
        let z = standardised(rows, &mean, &scale);
        let transposed: Vec<f32> =
            (0..columns).flat_map(|at| z.iter().skip(at).step_by(columns).copied().collect::<Vec<_>>()).collect();
        let mut draws = key.stream();
        let mut axes: Vec<f32> = (0..columns * count).map(|_| draws.normal() as f32).collect();
        for _ in 0..ROUNDS {
            orthonormalise(&mut axes, count);
            let projected = product(&z, columns, &axes, count);
            axes = product(&transposed, n, &projected, count);
        }
        orthonormalise(&mut axes, count);
        let projected = product(&z, columns, &axes, count);
        let power = |at: usize| projected.iter().skip(at).step_by(count).map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let deviations: Vec<f64> = (0..count).map(|at| (power(at) / n.max(1) as f64).sqrt()).collect();
        let least = 1e-3 * deviations.iter().copied().fold(0.0, f64::max);
        for row in axes.chunks_exact_mut(count) {
            for (axis, deviation) in row.iter_mut().zip(&deviations) {
                *axis = if *deviation > least { (f64::from(*axis) / deviation) as f32 } else { 0.0 };
            }
        }
        Self { mean, scale, axes: PackedMatrix::new(&[&axes], &vec![1.0; columns]), count }
    }

    /// `[rows, count]`
    fn project(&self, rows: &[f32]) -> Vec<f32> {
        let z = standardised(rows, &self.mean, &self.scale);
        let mut out = vec![0.0; z.len() / self.mean.len().max(1) * self.count];
        self.axes.product(&z, &mut out);
        out
    }
}

fn standardised(rows: &[f32], mean: &[f32], scale: &[f32]) -> Vec<f32> {
    rows.chunks_exact(mean.len().max(1))
        .flat_map(|row| row.iter().zip(mean).zip(scale).map(|((x, mean), scale)| (x - mean) * scale))
        .collect()
}

/// `[rows, inner] x [inner, columns]`, rows on all threads.
fn product(rows: &[f32], inner: usize, matrix: &[f32], columns: usize) -> Vec<f32> {
    let packed = PackedMatrix::new(&[matrix], &vec![1.0; inner]);
    let mut out = vec![0.0; rows.len() / inner.max(1) * columns];
    out.par_chunks_mut(16 * columns)
        .zip(rows.par_chunks(16 * inner.max(1)))
        .for_each(|(out, rows)| packed.product(rows, out));
    out
}

/// Gram-Schmidt on the columns of a row-major matrix; a column that others span becomes 0.
fn orthonormalise(matrix: &mut [f32], columns: usize) {
    for at in 0..columns {
        for before in 0..at {
            let dot: f64 = matrix.chunks_exact(columns).map(|row| f64::from(row[at]) * f64::from(row[before])).sum();
            matrix.chunks_exact_mut(columns).for_each(|row| row[at] -= dot as f32 * row[before]);
        }
        let norm = matrix.chunks_exact(columns).map(|row| f64::from(row[at]).powi(2)).sum::<f64>().sqrt();
        let scale = if norm > 1e-20 { 1.0 / norm } else { 0.0 };
        matrix.chunks_exact_mut(columns).for_each(|row| row[at] = (f64::from(row[at]) * scale) as f32);
    }
}

/// The baseline.
#[derive(Debug, Clone)]
pub struct LinearValue {
    prefix: Components,
    prompt: Components,
    crossed: usize,
    fit: Ridge,
}

/// What the baseline says of some clips, and what it will learn of them.
#[derive(Debug, Clone)]
pub struct Valued {
    /// V(s_t) of each clip, for t = 0 to T - 1.
    pub values: Vec<Vec<f32>>,
    /// Features of each clip's fitted states.
    rows: Vec<Vec<f32>>,
}

impl LinearValue {
    /// Features from clips of the reference, of different prompts, and from more prompts (only their first vectors are
    /// read); no weights yet. `key` is of [`Purpose::Init`](musicrl_core::random::Purpose::Init).
    ///
    /// # Errors
    /// [`Error::Config`] without clips.
    pub fn new(clips: &Vectors, prompts: &Vectors, key: Key) -> Result<Self> {
        if clips.is_empty() || prompts.is_empty() {
            return Err(Error::config("captions", "at least one", "none"));
        }
        let fitted: Vec<(Vec<f32>, usize)> = (0..clips.len())
            .into_par_iter()
            .map(|clip| {
                let (rows, columns) = clips.prefixes(clip);
                let times = fitted_times(rows.len() / columns.max(1));
                let own = times.iter().filter(|t| **t > 0);
                (own.flat_map(|t| rows[(t - 1) * columns..t * columns].to_vec()).collect(), columns)
            })
            .collect();
        let columns = fitted.first().map_or(0, |(_, columns)| *columns);
        let rows: Vec<f32> = fitted.into_iter().flat_map(|(rows, _)| rows).collect();
        let firsts: Vec<f32> = (0..prompts.len()).flat_map(|clip| prompts.prompt(clip).to_vec()).collect();
        let [leading, crossed, of_prompt] = COMPONENTS;
        let prefix = Components::of(&rows, columns, leading, key);
        let prompt = Components::of(&firsts, prompts.width, of_prompt, key.clip(1));
        let crossed = crossed.min(prefix.count);
        let features = 1 + prefix.count + prompt.count + crossed * prompt.count;
        Ok(Self { prefix, prompt, crossed, fit: Ridge::new(2 * features) })
    }

    /// Values of clips, before anything is learned of them. `mean` is said where nothing has been learned at all.
    #[must_use]
    pub fn values(&self, clips: &Vectors, mean: f64) -> Valued {
        let both: Vec<(Vec<f32>, Vec<f32>)> =
            (0..clips.len()).into_par_iter().map(|clip| self.of_clip(clips, clip, mean)).collect();
        let (values, rows) = both.into_iter().unzip();
        Valued { values, rows }
    }

    fn of_clip(&self, clips: &Vectors, clip: usize, mean: f64) -> (Vec<f32>, Vec<f32>) {
        let (rows, columns) = clips.prefixes(clip);
        let total = rows.len() / columns.max(1);
        let prefix = self.prefix.project(&rows);
        let prompt = self.prompt.project(clips.prompt(clip));
        let mut state = Vec::with_capacity(self.fit.size);
        let mut values = Vec::with_capacity(total);
        let mut fitted = Vec::new();
        let times = fitted_times(total);
        for t in 0..=total {
            self.state(t, total, &prefix, &prompt, &mut state);
            if t < total {
                values.push(self.fit.value(&state, mean));
            }
            if times.binary_search(&t).is_ok() {
                fitted.extend_from_slice(&state);
            }
        }
        (values, fitted)
    }

    /// (tau phi_t, (1 - tau) phi_t); before the first frame the prefix's components are their mean, 0.
    fn state(&self, t: usize, total: usize, prefix: &[f32], prompt: &[f32], state: &mut Vec<f32>) {
        let tau = t as f32 / total.max(1) as f32;
        let components = self.prefix.count;
        let own = t.checked_sub(1).map(|row| &prefix[row * components..(row + 1) * components]);
        let at = |component: usize| own.map_or(0.0, |own| own[component]);
        state.clear();
        for weight in [tau, 1.0 - tau] {
            state.push(weight);
            state.extend((0..components).map(|component| weight * at(component)));
            state.extend(prompt.iter().map(|q| weight * q));
            for component in 0..self.crossed {
                state.extend(prompt.iter().map(|q| weight * at(component) * q));
            }
        }
    }

    /// Learns the returns of clips that were [valued](Self::values); those without one are left out.
    pub fn learn(&mut self, valued: &Valued, totals: &[Option<f64>]) {
        let clips = valued.rows.iter().zip(totals).filter_map(|(rows, total)| Some((rows.as_slice(), (*total)?)));
        self.fit.add(&clips.collect::<Vec<_>>());
        self.fit.solve();
    }

    /// The sums that the next step reads.
    #[must_use]
    pub fn state_bytes(&self) -> Vec<u8> {
        self.fit.numbers().flat_map(f64::to_le_bytes).collect()
    }

    /// Takes what [`state_bytes`](Self::state_bytes) gave.
    ///
    /// # Errors
    /// [`Error::File`] for bytes of another baseline.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let expected = 8 * self.fit.numbers().count();
        let numbers: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|number| f64::from_le_bytes(*number)).collect();
        if bytes.len() != expected || numbers.iter().any(|number| !number.is_finite()) {
            return Err(Error::File {
                path: "baseline".into(),
                expected: format!("{expected} bytes of finite numbers"),
                got: format!("{} bytes", bytes.len()),
            });
        }
        self.fit.put(&numbers);
        self.fit.solve();
        Ok(())
    }
}

/// Times in 0..=total at which weights are fitted: total (j / 12)^2, rounded.
fn fitted_times(total: usize) -> Vec<usize> {
    let last = (FITTED - 1) as f64;
    let mut times: Vec<usize> =
        (0..FITTED).map(|j| (total as f64 * (j as f64 / last).powi(2)).round() as usize).collect();
    times.dedup();
    times
}

/// Ridge regression from running sums.
#[derive(Debug, Clone)]
struct Ridge {
    size: usize,
    /// Sum of x x^T, lower triangle of rows.
    products: Vec<f64>,
    /// Sum of x y, then sum of x.
    moments: Vec<f64>,
    /// Rows, sum of y.
    totals: [f64; 2],
    weights: Vec<f64>,
}

impl Ridge {
    fn new(size: usize) -> Self {
        Self {
            size,
            products: vec![0.0; size * (size + 1) / 2],
            moments: vec![0.0; 2 * size],
            totals: [0.0; 2],
            weights: vec![0.0; size],
        }
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.totals.iter().chain(&self.moments).chain(&self.products).copied()
    }

    fn put(&mut self, numbers: &[f64]) {
        let (totals, rest) = numbers.split_at(2);
        let (moments, products) = rest.split_at(2 * self.size);
        self.totals.copy_from_slice(totals);
        self.moments.copy_from_slice(moments);
        self.products.copy_from_slice(products);
    }

    fn mean(&self) -> Option<f64> {
        (self.totals[0] > 0.0).then(|| self.totals[1] / self.totals[0])
    }

    fn value(&self, state: &[f32], mean: f64) -> f32 {
        let Some(own) = self.mean() else { return mean as f32 };
        (own + state.iter().zip(&self.weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>()) as f32
    }

    /// Rows of clips, and each clip's return.
    fn add(&mut self, clips: &[(&[f32], f64)]) {
        if clips.is_empty() {
            return;
        }
        let size = self.size;
        let rows: Vec<(&[f32], f64)> =
            clips.iter().flat_map(|(rows, y)| rows.chunks_exact(size).map(|row| (row, *y))).collect();
        for sum in self.totals.iter_mut().chain(&mut self.moments) {
            *sum *= DECAY;
        }
        for (row, y) in &rows {
            self.totals[0] += 1.0;
            self.totals[1] += y;
            let (of_y, plain) = self.moments.split_at_mut(size);
            for ((of_y, plain), x) in of_y.iter_mut().zip(plain).zip(*row) {
                *of_y += f64::from(*x) * y;
                *plain += f64::from(*x);
            }
        }
        let mut triangle: Vec<&mut [f64]> = Vec::with_capacity(size);
        let mut rest = self.products.as_mut_slice();
        for length in 1..=size {
            let (row, later) = rest.split_at_mut(length);
            triangle.push(row);
            rest = later;
        }
        // Rows are summed in their order whatever thread does it.
        triangle.par_iter_mut().enumerate().for_each(|(at, sums)| {
            sums.iter_mut().for_each(|sum| *sum *= DECAY);
            for (row, _) in &rows {
                let x = f64::from(row[at]);
                for (sum, other) in sums.iter_mut().zip(*row) {
                    *sum += x * f64::from(*other);
                }
            }
        });
    }

    /// (X^T X + ridge) w = X^T (y - mean), by Cholesky's factors.
    fn solve(&mut self) {
        let Some(mean) = self.mean() else { return };
        let (size, ridge) = (self.size, PRIOR_CLIPS * FITTED as f64);
        let start = |row: usize| row * (row + 1) / 2;
        let mut factor = self.products.clone();
        let mut solution: Vec<f64> = (0..size).map(|at| self.moments[at] - mean * self.moments[size + at]).collect();
        for row in 0..size {
            let (done, own) = factor.split_at_mut(start(row));
            for column in 0..=row {
                let other = if column < row { &done[start(column)..start(column) + column] } else { &[][..] };
                if column < row {
                    let dot: f64 = own[..column].iter().zip(other).map(|(a, b)| a * b).sum();
                    own[column] = (own[column] - dot) / done[start(column) + column];
                } else {
                    let square: f64 = own[..row].iter().map(|a| a * a).sum();
                    // The ridge keeps it above 0; rounding must not make a root of less.
                    own[row] = (own[row] + ridge - square).max(ridge * 1e-6).sqrt();
                }
            }
            let dot: f64 = own[..row].iter().zip(&solution[..row]).map(|(a, b)| a * b).sum();
            solution[row] = (solution[row] - dot) / own[row];
        }
        for row in (0..size).rev() {
            solution[row] /= factor[start(row) + row];
            let value = solution[row];
            for (at, factor) in factor[start(row)..start(row) + row].iter().enumerate() {
                solution[at] -= factor * value;
            }
        }
        self.weights = solution;
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::Purpose;

    use super::*;

    const WIDTH: usize = 6;

    /// Clips of two slots whose first frame shows a style s and the prompt's taste q; the rest goes on with the style.
    fn clips(count: usize, frames: usize, seed: u64) -> (Vectors, Vec<f64>) {
        let mut draws = Key::new(seed, Purpose::Test).stream();
        let mut returns = Vec::new();
        let clip = |draws: &mut musicrl_core::random::Stream, returns: &mut Vec<f64>| {
            let (q, s) = (draws.normal(), draws.normal());
            returns.push(3.0 + q * s);
            (0..frames)
                .flat_map(|frame| {
                    let mut row: Vec<f32> = (0..2 * WIDTH).map(|_| 0.1 * draws.normal() as f32).collect();
                    // Only the very first vector is before every choice.
                    row[0] += if frame == 0 { q as f32 } else { 0.0 };
                    row[WIDTH + 1] += s as f32;
                    row
                })
                .collect()
        };
        let clips = (0..count).map(|_| clip(&mut draws, &mut returns)).collect();
        (Vectors { clips, slots: 2, width: WIDTH }, returns)
    }

    fn learned(batches: u64) -> LinearValue {
        let (first, _) = clips(64, 20, 1);
        let mut value = LinearValue::new(&first, &first, Key::new(1, Purpose::Init)).unwrap();
        for batch in 0..batches {
            let (heard, returns) = clips(64, 20, 2 + batch);
            let valued = value.values(&heard, 0.0);
            value.learn(&valued, &returns.iter().map(|g| Some(*g)).collect::<Vec<_>>());
        }
        value
    }

    fn explained(value: &LinearValue, t: usize) -> f64 {
        let (heard, returns) = clips(200, 20, 99);
        let valued = value.values(&heard, 0.0);
        let mean = returns.iter().sum::<f64>() / 200.0;
        let total: f64 = returns.iter().map(|g| (g - mean).powi(2)).sum();
        let error: f64 = returns.iter().zip(&valued.values).map(|(g, v)| (g - f64::from(v[t])).powi(2)).sum();
        1.0 - error / total
    }

    #[test]
    fn it_learns_how_a_style_fits_a_prompt_and_not_before_the_style_is_heard() {
        let value = learned(20);
        assert!(explained(&value, 0) < 0.1, "{}", explained(&value, 0));
        assert!(explained(&value, 3) > 0.6, "{}", explained(&value, 3));
        assert!(explained(&value, 19) > 0.8, "{}", explained(&value, 19));
        assert!(explained(&value, 19) > explained(&learned(1), 19));
    }

    #[test]
    fn before_anything_is_learned_it_says_the_mean() {
        let (heard, _) = clips(3, 5, 7);
        let values = learned(0).values(&heard, 1.5).values;
        assert!(values.iter().flatten().all(|value| *value == 1.5) && values[0].len() == 5);
    }

    #[test]
    fn weights_solve_the_normal_equations() {
        let mut draws = Key::new(5, Purpose::Test).stream();
        let rows: Vec<Vec<f32>> = (0..30).map(|_| (0..8).map(|_| draws.normal() as f32).collect()).collect();
        let returns: Vec<f64> = (0..30).map(|_| draws.normal()).collect();
        let mut fit = Ridge::new(4);
        fit.add(&rows.iter().zip(&returns).map(|(rows, y)| (rows.as_slice(), *y)).collect::<Vec<_>>());
        fit.solve();
        let mean = returns.iter().sum::<f64>() / 30.0;
        for at in 0..4 {
            let mut left = PRIOR_CLIPS * FITTED as f64 * fit.weights[at];
            let mut right = 0.0;
            for (clip, y) in rows.iter().zip(&returns) {
                for row in clip.chunks(4) {
                    let dot: f64 = row.iter().zip(&fit.weights).map(|(x, w)| f64::from(*x) * w).sum();
                    left += f64::from(row[at]) * dot;
                    right += f64::from(row[at]) * (y - mean);
                }
            }
            assert!((left - right).abs() < 1e-8 * (1.0 + right.abs()), "{left} {right}");
        }
    }

    #[test]
    fn what_is_restored_goes_on_the_same_on_any_number_of_threads() {
        let value = learned(3);
        let mut again = learned(0);
        again.restore(&value.state_bytes()).unwrap();
        assert_eq!(again.state_bytes(), value.state_bytes());
        let (heard, _) = clips(4, 20, 50);
        assert_eq!(again.values(&heard, 0.0).values, value.values(&heard, 0.0).values);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let alone = pool.install(|| learned(3));
        assert_eq!(alone.state_bytes(), value.state_bytes());
        assert!(again.restore(&[0; 24]).is_err());
        let mut bad = value.state_bytes();
        bad[..8].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(again.restore(&bad).is_err());
    }

    #[test]
    fn fitted_times_begin_and_end_with_the_clip() {
        assert_eq!(fitted_times(80), [0, 1, 2, 5, 9, 14, 20, 27, 36, 45, 56, 67, 80]);
        assert_eq!(fitted_times(1), [0, 1]);
    }
}
