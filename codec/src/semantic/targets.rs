//! Frozen random-projection codebooks: the targets of masked prediction.

use burn::tensor::{Device, Int, Tensor, TensorData};
use musicrl_core::random::{Key, Purpose};

use super::SemanticConfig;

/// Several random quantisers of feature rows, derived from the configuration's seed and never trained.
///
/// Quantiser `n` has a projection `P_n` with standard normal entries and a codebook of unit vectors `c_{n,j}`; the
/// target of features `x` is `argmin_j | P_n x / |P_n x| - c_{n,j} |`, which is `argmax_j (P_n x) . c_{n,j}` (Chiu et
/// al. 2022, section 3.1).
#[derive(Debug, Clone)]
pub struct RandomTargets {
    projection: Tensor<2>,
    codebooks: Vec<Tensor<2>>,
    dim: usize,
}

impl RandomTargets {
    /// Derives projections and codebooks from `config.target_seed`.
    #[must_use]
    pub fn new(config: &SemanticConfig, device: &Device) -> Self {
        let (dim, codebooks, entries) = (config.target_dim, config.target_codebooks, config.target_entries);
        let key = Key::new(config.target_seed, Purpose::Quantiser);
        let features = config.feature_width();
        let mut stream = key.clip(0).stream();
        let scale = 1.0 / (features as f64).sqrt();
        let projection = (0..features * codebooks * dim).map(|_| (stream.normal() * scale) as f32).collect();
        let codebook = |index: usize| {
            let mut stream = key.clip(1 + index as u64).stream();
            let mut values = vec![0.0; dim * entries];
            for entry in 0..entries {
                let vector: Vec<f64> = (0..dim).map(|_| stream.normal()).collect();
                let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
                // Stored transposed, [dim, entries], as the product wants it.
                vector.iter().enumerate().for_each(|(row, v)| values[row * entries + entry] = (v / norm) as f32);
            }
            Tensor::from_data(TensorData::new(values, [dim, entries]), device)
        };
        Self {
            projection: tensor(projection, [features, codebooks * dim], device),
            codebooks: (0..codebooks).map(codebook).collect(),
            dim,
        }
    }

    /// The target entries of standardised feature rows.
    ///
    /// # Shapes
    /// - features: `[rows, feature_width]`
    /// - returns: `[rows, codebooks]`
    #[must_use]
    pub fn of(&self, features: Tensor<2>) -> Tensor<2, Int> {
        let projected = features.matmul(self.projection.clone());
        let [rows, _] = projected.dims();
        let ids = self.codebooks.iter().enumerate().map(|(index, codebook)| {
            let from = index * self.dim;
            projected.clone().slice([0..rows, from..from + self.dim]).matmul(codebook.clone()).argmax(1)
        });
        Tensor::cat(ids.collect(), 1)
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::host::{floats, integers};

    fn config() -> SemanticConfig {
        SemanticConfig { target_codebooks: 3, target_entries: 20, target_dim: 8, ..SemanticConfig::base() }
    }

    fn features(rows: usize, width: usize) -> Tensor<2> {
        let mut stream = Key::new(5, Purpose::Test).stream();
        tensor((0..rows * width).map(|_| stream.normal() as f32).collect(), [rows, width], &Device::flex())
    }

    #[test]
    fn targets_are_the_nearest_unit_vectors() {
        let config = config();
        let targets = RandomTargets::new(&config, &Device::flex());
        let x = features(12, config.feature_width());
        let ids = integers(targets.of(x.clone()));
        let projected = floats(x.matmul(targets.projection.clone()));
        for (codebook, table) in targets.codebooks.iter().enumerate() {
            let table = floats(table.clone());
            for row in 0..12 {
                let z = &projected[row * 24 + codebook * 8..][..8];
                let norm = z.iter().map(|v| v * v).sum::<f32>().sqrt();
                let distance =
                    |entry: usize| (0..8).map(|d| (z[d] / norm - table[d * 20 + entry]).powi(2)).sum::<f32>();
                let nearest = (0..20).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap();
                assert_eq!(ids[row * 3 + codebook], nearest as i64);
            }
        }
    }

    #[test]
    fn the_seed_decides_and_scale_does_not_matter() {
        let config = config();
        let x = features(40, config.feature_width());
        let ids = |config: &SemanticConfig, x: Tensor<2>| integers(RandomTargets::new(config, &Device::flex()).of(x));
        assert_eq!(ids(&config, x.clone()), ids(&config, x.clone() * 3.0));
        assert_ne!(ids(&config, x.clone()), ids(&SemanticConfig { target_seed: 9, ..config }, x));
    }
}
