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

mod components;
mod features;
mod ridge;
mod vectors;

use musicrl_core::random::Key;
use rayon::prelude::*;

use components::Components;
use ridge::Ridge;

pub use features::linear_value;
pub use vectors::Vectors;

use crate::{Error, Result};

/// Principal components of a prefix's statistics, of those that are crossed with the prompt's, and of the prompt's.
const COMPONENTS: [usize; 3] = [128, 24, 12];
/// States of a clip that the weights are fitted to: close together where a clip begins and its style is decided.
const FITTED: usize = 13;
/// The ridge's strength, in clips: with so many heard the data weigh as much as the pull towards 0.
const PRIOR_CLIPS: f64 = 100.0;

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
        let prompt = Components::of(&firsts, prompts.width(), of_prompt, key.clip(1));
        let crossed = crossed.min(prefix.count);
        let features = 1 + prefix.count + prompt.count + crossed * prompt.count;
        Ok(Self { prefix, prompt, crossed, fit: Ridge::new(2 * features, PRIOR_CLIPS * FITTED as f64) })
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
        (Vectors::new(clips, 2, WIDTH), returns)
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
