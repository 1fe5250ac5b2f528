//! The contrastive loss that pulls a caption and its audio together and everything else in the batch apart.

use burn::tensor::{Tensor, TensorData, activation::log_softmax};

use crate::{Error, Result};

/// Which pairs of a batch belong together: row = audio, column = text.
///
/// Captions repeat, and two recordings can deserve the same words. Such pairs are positives too: pushing them apart
/// would teach the model that a caption does not describe what it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positives {
    pairs: usize,
    belongs: Vec<bool>,
}

impl Positives {
    /// Pairs `i` and `j` belong together when their groups are equal. The group is the caption, or a finer or coarser
    /// identity that the data knows.
    #[must_use]
    pub fn from_groups<T: PartialEq>(groups: &[T]) -> Self {
        Self::from_relation(groups.len(), |i, j| groups[i] == groups[j])
    }

    /// Pairs `i` and `j` belong together when `related(i, j)` or `related(j, i)`; a pair always belongs to itself.
    #[must_use]
    pub fn from_relation(pairs: usize, related: impl Fn(usize, usize) -> bool) -> Self {
        let mut belongs = vec![false; pairs * pairs];
        for i in 0..pairs {
            for j in 0..pairs {
                belongs[i * pairs + j] = i == j || related(i, j) || related(j, i);
            }
        }
        Self { pairs, belongs }
    }

    /// Number of pairs (n).
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Whether audio `row` and text `column` belong together.
    #[must_use]
    pub fn holds(&self, row: usize, column: usize) -> bool {
        column < self.pairs && self.belongs.get(row * self.pairs + column).copied().unwrap_or(false)
    }

    /// Each row's positives with equal weights that sum to one, row after row.
    fn targets(&self) -> Vec<f32> {
        let mut targets = Vec::with_capacity(self.belongs.len());
        for row in self.belongs.chunks(self.pairs.max(1)) {
            let count = row.iter().filter(|belongs| **belongs).count().max(1);
            targets.extend(row.iter().map(|belongs| if *belongs { 1.0 / count as f32 } else { 0.0 }));
        }
        targets
    }
}

/// Symmetric InfoNCE with several positives (Radford et al., "Learning transferable visual models from natural
/// language supervision", ICML 2021; Khosla et al., "Supervised contrastive learning", NeurIPS 2020):
///
/// `L = -1/2 mean_i sum_j P_ij [ log softmax_j(s a_i.t_j) + log softmax_j(s t_i.a_j) ]`
///
/// with `P_ij = 1/|P_i|` for the positives of `i` (the relation is symmetric) and `s` the inverse temperature.
/// Its floor is the mean entropy of `P`, which is above 0 only when captions repeat.
///
/// # Shapes
/// - audio: [pairs, dim], unit length
/// - text: [pairs, dim], unit length
/// - inverse_temperature: \[1\]
/// - returns: \[1\]
///
/// # Errors
/// [`Error::Shape`] when the numbers of pairs differ or there are none.
pub fn info_nce(
    audio: Tensor<2>,
    text: Tensor<2>,
    inverse_temperature: Tensor<1>,
    positives: &Positives,
) -> Result<Tensor<1>> {
    let [pairs, dim] = audio.dims();
    if text.dims() != [pairs, dim] || positives.pairs() != pairs || pairs == 0 {
        return Err(Error::Shape {
            what: "contrastive batch",
            expected: format!("audio and text of [{0}, {dim}] (at least one pair)", positives.pairs()),
            got: format!("audio [{pairs}, {dim}], text {:?}", text.dims()),
        });
    }
    let targets = Tensor::<2>::from_data(TensorData::new(positives.targets(), [pairs, pairs]), &audio.device());
    let logits = audio.matmul(text.transpose()) * inverse_temperature.reshape([1, 1]);
    // The relation is symmetric, so the same targets serve both directions.
    let log_probabilities = log_softmax(logits.clone(), 1) + log_softmax(logits.transpose(), 1);
    Ok((log_probabilities * targets).sum() * (-0.5 / pairs as f32))
}

/// The same in plain `f64`: the oracle of the tests.
///
/// # Shapes
/// - audio, text: rows of [pairs, dim]
#[must_use]
pub fn info_nce_reference(
    audio: &[Vec<f64>],
    text: &[Vec<f64>],
    inverse_temperature: f64,
    positives: &Positives,
) -> f64 {
    let pairs = audio.len();
    let logit = |row: usize, column: usize| {
        inverse_temperature * audio[row].iter().zip(&text[column]).map(|(a, t)| a * t).sum::<f64>()
    };
    let log_sum_exp = |values: Vec<f64>| {
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest + values.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
    };
    let mut total = 0.0;
    for i in 0..pairs {
        let count = (0..pairs).filter(|j| positives.holds(i, *j)).count().max(1) as f64;
        let row = log_sum_exp((0..pairs).map(|j| logit(i, j)).collect());
        let column = log_sum_exp((0..pairs).map(|j| logit(j, i)).collect());
        for j in (0..pairs).filter(|j| positives.holds(i, *j)) {
            total -= 0.5 * ((logit(i, j) - row) + (logit(j, i) - column)) / count;
        }
    }
    total / pairs as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_core::random::{Key, Purpose};
    use proptest::prelude::*;

    use super::*;

    fn unit_rows(pairs: usize, dim: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        (0..pairs)
            .map(|_| {
                let row: Vec<f64> = (0..dim).map(|_| stream.normal()).collect();
                let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter().map(|x| x / norm).collect()
            })
            .collect()
    }

    fn tensor(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flatten().map(|x| *x as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
    }

    fn scalar(tensor: Tensor<1>) -> f64 {
        f64::from(tensor.into_scalar::<f32>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn agrees_with_the_plain_version(pairs in 1_usize..9, dim in 1_usize..6, scale in 0.1_f64..30.0, groups in 1_u32..9, seed: u64) {
            let device = Device::flex();
            let (audio, text) = (unit_rows(pairs, dim, seed), unit_rows(pairs, dim, seed.wrapping_add(1)));
            let groups: Vec<u32> = (0..pairs as u32).map(|i| i % groups).collect();
            let positives = Positives::from_groups(&groups);
            let expected = info_nce_reference(&audio, &text, scale, &positives);
            let scale = Tensor::<1>::from_data([scale as f32], &device);
            let got = scalar(info_nce(tensor(&audio, &device), tensor(&text, &device), scale, &positives).unwrap());
            prop_assert!((got - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{} against {}", got, expected);
        }
    }

    #[test]
    fn duplicates_are_positives_and_set_the_floor() {
        let device = Device::flex();
        let one_caption = Positives::from_groups(&["same", "same"]);
        assert!(one_caption.holds(0, 1) && !one_caption.holds(0, 2));
        let rows = tensor(&[vec![1.0, 0.0], vec![1.0, 0.0]], &device);
        let scale = Tensor::<1>::from_data([50.0], &device);
        let got = scalar(info_nce(rows.clone(), rows, scale, &one_caption).unwrap());
        assert!((got - 2.0_f64.ln()).abs() < 1e-5, "{got}");
    }

    #[test]
    fn gradient_equals_finite_differences_and_pulls_pairs_together() {
        let device = Device::flex().autodiff();
        let (audio, text) = (unit_rows(4, 3, 1), unit_rows(4, 3, 2));
        let positives = Positives::from_groups(&[0, 1, 2, 0]);
        let leaf = tensor(&audio, &device).require_grad();
        let scale = Tensor::<1>::from_data([5.0], &device);
        let grads = info_nce(leaf.clone(), tensor(&text, &device), scale, &positives).unwrap().backward();
        let grad = leaf.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for row in 0..4 {
            for column in 0..3 {
                let at = |step: f64| {
                    let mut moved = audio.clone();
                    moved[row][column] += step;
                    info_nce_reference(&moved, &text, 5.0, &positives)
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                let got = f64::from(grad[row * 3 + column]);
                assert!((got - numeric).abs() < 1e-4, "{row},{column}: {got} against {numeric}");
            }
        }
        // Stepping down the gradient brings audio 1 nearer to its only caption.
        let moved: Vec<f64> = (0..3).map(|i| audio[1][i] - 0.1 * f64::from(grad[3 + i])).collect();
        let cosine = |a: &[f64], b: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        assert!(cosine(&moved, &text[1]) > cosine(&audio[1], &text[1]));
    }

    #[test]
    fn a_batch_of_another_size_is_refused() {
        let device = Device::flex();
        let (audio, text) = (tensor(&unit_rows(3, 2, 1), &device), tensor(&unit_rows(2, 2, 1), &device));
        let scale = Tensor::<1>::from_data([1.0], &device);
        let error = info_nce(audio, text, scale, &Positives::from_groups(&[0, 1, 2])).unwrap_err();
        assert!(error.to_string().contains("[3, 2]"), "{error}");
    }
}
