//! The fine stage's transformer.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use musicrl_core::nn::Transformer;

use super::{FineBatch, FineConfig};

/// Bidirectional transformer over acoustic frames.
///
/// A frame's input is the sum of the embeddings of its semantic token and of its code at every level, where a hidden
/// code has the level's mask embedding. The logits of a level are products with that level's embeddings (tied
/// weights).
#[derive(Module, Debug)]
pub struct FineModel {
    embedding: Param<Tensor<2>>,
    blocks: Transformer,
    #[module(skip)]
    config: FineConfig,
}

impl FineModel {
    pub(super) fn new(config: FineConfig, blocks: Transformer, device: &Device) -> Self {
        let rows = config.level_offset(config.quantisers);
        Self { embedding: Param::from_tensor(Tensor::zeros([rows, config.width], device)), blocks, config }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &FineConfig {
        &self.config
    }

    /// The device of the weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.embedding.val().device()
    }

    /// One vector a frame.
    ///
    /// # Shapes
    /// - rows: `clips * frames * (1 + quantisers)` rows of the embedding table
    /// - returns: `[clips * frames, width]`
    pub(super) fn hidden(&self, clips: usize, frames: usize, rows: Vec<i64>) -> Tensor<2> {
        let tokens = 1 + self.config.quantisers;
        let width = self.config.width;
        let rows = indices(rows, &self.device());
        let x = self.embedding.val().select(0, rows).reshape([clips * frames, tokens, width]).sum_dim(1);
        self.blocks.forward(x.reshape([clips, frames, width]), None).reshape([clips * frames, width])
    }

    /// Logits of one level's entries.
    ///
    /// # Shapes
    /// - hidden: `[rows, width]`
    /// - returns: `[rows, entries]`
    pub(super) fn logits(&self, hidden: Tensor<2>, level: usize) -> Tensor<2> {
        let from = self.config.level_offset(level);
        let table = self.embedding.val().slice([from..from + self.config.entries, 0..self.config.width]);
        hidden.matmul(table.transpose())
    }

    /// Negative log-probability, in nats, of every token that the batch asks for, level after level.
    ///
    /// # Shapes
    /// - returns: `[asked, 1]`, in the order of [`FineBatch::asked_per_level`]
    #[must_use]
    pub fn negative_log_likelihood(&self, batch: &FineBatch) -> Tensor<2> {
        let device = self.device();
        let hidden = self.hidden(batch.clips, batch.frames, batch.rows.clone());
        let positions = batch.asked.iter().flat_map(|asked| asked.positions.iter().copied()).collect();
        let hidden = hidden.select(0, indices(positions, &device));
        let mut from = 0;
        let mut parts = Vec::new();
        for (level, asked) in batch.asked.iter().enumerate().filter(|(_, asked)| !asked.positions.is_empty()) {
            let count = asked.positions.len();
            let rows = hidden.clone().slice([from..from + count, 0..self.config.width]);
            let targets = indices(asked.targets.clone(), &device).reshape([count, 1]);
            parts.push(log_softmax(self.logits(rows, level), 1).gather(1, targets).neg());
            from += count;
        }
        Tensor::cat(parts, 0)
    }
}

pub(super) fn indices(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fine::FineClip, semantic::host::floats};
    use musicrl_core::{
        params::{ParamTable, reinitialise},
        random::{Key, Purpose},
    };

    fn config() -> FineConfig {
        FineConfig {
            semantic_entries: 5,
            entries: 7,
            quantisers: 3,
            coarse_levels: 1,
            passes: vec![2, 1],
            width: 8,
            heads: 2,
            ff_width: 16,
            layers: 2,
            ..FineConfig::base()
        }
    }

    fn model() -> FineModel {
        // Larger weights than usual, so that differences show.
        let model = reinitialise(config().init(&Device::flex()).unwrap(), Key::new(1, Purpose::Init));
        let mut table = ParamTable::collect(&model);
        table.values_mut().iter_mut().for_each(|value| *value *= 3.0);
        table.apply(model).unwrap()
    }

    #[test]
    fn hidden_codes_cannot_reach_their_own_prediction() {
        let (config, model) = (config(), model());
        let nll = |codes: Vec<u32>| {
            let clip = FineClip::new(&config, vec![1, 4, 2], codes).unwrap();
            let batch = FineBatch::for_level(&config, &[clip], 1).unwrap();
            floats(model.negative_log_likelihood(&batch))
        };
        let codes: Vec<u32> = (0..18).map(|i| i * 5 % 7).collect();
        let plain = nll(codes.clone());
        assert_eq!(plain.len(), 6);
        let mut above = codes.clone();
        above[5] = (above[5] + 1) % 7; // frame 1, level 2
        assert_eq!(nll(above), plain);
        let mut own = codes.clone();
        own[4] = (own[4] + 1) % 7; // frame 1, level 1: only its own target changes
        let changed = nll(own);
        for frame in 0..6 {
            assert_eq!(changed[frame] == plain[frame], frame != 1, "frame {frame}");
        }
        let mut coarse = codes;
        coarse[3] = (coarse[3] + 1) % 7; // frame 1, level 0: given, so everything may change
        assert!(nll(coarse).iter().zip(&plain).all(|(a, b)| a != b));
    }

    #[test]
    fn likelihoods_stand_in_the_order_of_levels_and_sum_to_one() {
        let (config, model) = (config(), model());
        let clip = |id| FineClip::new(&config, vec![1, 4], vec![id; 12]).unwrap();
        let mut sums = [0.0; 4];
        for id in 0..7 {
            let batch = FineBatch::for_level(&config, &[clip(id)], 2).unwrap();
            let asked = batch.asked_per_level();
            assert_eq!(asked, [0, 0, 4]);
            // The given codes differ too, so only one frame's level is compared: all given codes are fixed below.
            let mut fixed = batch;
            fixed.rows = FineBatch::for_level(&config, &[clip(3)], 2).unwrap().rows;
            for (sum, nll) in sums.iter_mut().zip(floats(model.negative_log_likelihood(&fixed))) {
                *sum += (-nll).exp();
            }
        }
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");
    }
}
