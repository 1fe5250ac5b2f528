//! The networks of the semantic tokeniser: the encoder that is kept, and the predictor that trains it.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use musicrl_core::nn::{Linear, Transformer};

use super::{
    BandStatistics,
    host::{floats, frozen},
};

/// Bidirectional transformer over the stacked log-mel frames of a window.
#[derive(Module, Debug)]
pub struct SemanticEncoder {
    band_mean: Param<Tensor<1>>,
    band_scale: Param<Tensor<1>>,
    input: Linear,
    blocks: Transformer,
}

impl SemanticEncoder {
    pub(super) fn new(bands: usize, input: Linear, blocks: Transformer, device: &Device) -> Self {
        Self {
            band_mean: frozen(Tensor::zeros([bands], device)),
            band_scale: frozen(Tensor::ones([bands], device)),
            input,
            blocks,
        }
    }

    /// The band statistics with which features are standardised.
    #[must_use]
    pub fn statistics(&self) -> BandStatistics {
        BandStatistics { mean: floats(self.band_mean.val()), scale: floats(self.band_scale.val()) }
    }

    /// The same encoder with other band statistics, which must be of as many bands.
    #[must_use]
    pub fn with_statistics(self, statistics: &BandStatistics) -> Self {
        let put = |param: Param<Tensor<1>>, values: &[f32]| {
            param.map(|old| Tensor::from_data(TensorData::new(values.to_vec(), old.dims()), &old.device()))
        };
        Self {
            band_mean: put(self.band_mean, &statistics.mean),
            band_scale: put(self.band_scale, &statistics.scale),
            ..self
        }
    }

    /// The device of the weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.input.weight.val().device()
    }

    /// The normalised output of the clustered layer.
    ///
    /// # Shapes
    /// - inputs: `[clips, frames, feature_width + 1]`, rows from [`EncoderInput`]
    /// - returns: `[clips, frames, width]`
    #[must_use]
    pub fn forward(&self, inputs: Tensor<3>) -> Tensor<3> {
        self.blocks.forward(self.input.forward(inputs), None)
    }
}

/// What is trained: the encoder, the layers above it, and one softmax head for each random codebook.
#[derive(Module, Debug)]
pub struct MaskedPredictor {
    /// The part that is kept.
    pub encoder: SemanticEncoder,
    upper: Transformer,
    head: Linear,
    target_entries: usize,
}

impl MaskedPredictor {
    pub(super) fn new(encoder: SemanticEncoder, upper: Transformer, head: Linear, target_entries: usize) -> Self {
        Self { encoder, upper, head, target_entries }
    }

    /// Log-probabilities of the target entries at the hidden frames.
    ///
    /// # Shapes
    /// - inputs: `[clips, frames, feature_width + 1]`
    /// - hidden: `[hidden]`, indices into `clips * frames`
    /// - returns: `[hidden * codebooks, entries]`
    #[must_use]
    pub fn log_probabilities(&self, inputs: Tensor<3>, hidden: Tensor<1, Int>) -> Tensor<2> {
        let x = self.upper.forward(self.encoder.forward(inputs), None);
        let [clips, frames, width] = x.dims();
        let [rows] = hidden.dims();
        let logits = self.head.forward(x.reshape([clips * frames, width]).select(0, hidden));
        let [_, outputs] = logits.dims();
        log_softmax(logits.reshape([rows * (outputs / self.target_entries), self.target_entries]), 1)
    }
}

/// Builds the encoder's input rows on the host: standardised features and the flag "hidden".
#[derive(Debug, Clone, Default)]
pub struct EncoderInput {
    rows: Vec<f32>,
    frames: usize,
    hidden: Vec<i64>,
    hidden_features: Vec<f32>,
}

impl EncoderInput {
    /// Adds one clip's standardised features (`feature_width` values a frame); hidden frames lose theirs.
    pub fn push(&mut self, features: &[f32], feature_width: usize, mask: &[bool]) {
        for (frame, features) in features.chunks_exact(feature_width.max(1)).enumerate() {
            if mask.get(frame).copied().unwrap_or(false) {
                self.hidden.push(self.frames as i64);
                self.hidden_features.extend_from_slice(features);
                self.rows.resize(self.rows.len() + feature_width, 0.0);
                self.rows.push(1.0);
            } else {
                self.rows.extend_from_slice(features);
                self.rows.push(0.0);
            }
            self.frames += 1;
        }
    }

    /// Indices of the hidden frames among all frames pushed.
    #[must_use]
    pub fn hidden(&self) -> &[i64] {
        &self.hidden
    }

    /// The features that were hidden, `[hidden, feature_width]`.
    #[must_use]
    pub fn hidden_features(&self, device: &Device) -> Tensor<2> {
        let rows = self.hidden.len();
        let width = self.hidden_features.len().checked_div(rows).unwrap_or(0);
        Tensor::from_data(TensorData::new(self.hidden_features.clone(), [rows, width]), device)
    }

    /// The input tensor of `clips` clips of equal length, `[clips, frames, feature_width + 1]`.
    #[must_use]
    pub fn tensor(self, clips: usize, device: &Device) -> Tensor<3> {
        let width = self.rows.len().checked_div(self.frames).unwrap_or(0);
        let frames = self.frames.checked_div(clips).unwrap_or(0);
        Tensor::from_data(TensorData::new(self.rows, [clips, frames, width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::SemanticConfig;
    use musicrl_core::{
        params::{ParamTable, reinitialise},
        random::{Key, Purpose},
    };

    fn tiny() -> SemanticConfig {
        SemanticConfig {
            mel_bands: 4,
            width: 8,
            heads: 2,
            ff_width: 16,
            target_codebooks: 2,
            target_entries: 6,
            target_dim: 4,
            window_frames: 10,
            overlap_frames: 4,
            ..SemanticConfig::base()
        }
    }

    #[test]
    fn hidden_features_cannot_reach_the_prediction() {
        let config = tiny();
        let device = Device::flex();
        let predictor = reinitialise(config.init_predictor(&device).unwrap(), Key::new(1, Purpose::Init));
        let width = config.feature_width();
        let mask = [false, true, true, false, false, true];
        let run = |changed_frame: Option<usize>| {
            let mut features: Vec<f32> = (0..6 * width).map(|i| (i as f32).sin()).collect();
            if let Some(frame) = changed_frame {
                features[frame * width] += 1.0;
            }
            let mut input = EncoderInput::default();
            input.push(&features, width, &mask);
            assert_eq!(input.hidden(), [1, 2, 5]);
            let hidden = Tensor::from_data(TensorData::new(input.hidden().to_vec(), [3]), &device);
            let hidden_features = floats(input.hidden_features(&device));
            (floats(predictor.log_probabilities(input.tensor(1, &device), hidden)), hidden_features)
        };
        let (plain, targets) = run(None);
        assert_eq!((plain.len(), targets.len()), (3 * 2 * 6, 3 * width));
        for row in plain.chunks(6) {
            assert!((row.iter().map(|l| l.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
        }
        let (changed, changed_targets) = run(Some(2));
        assert_eq!(plain, changed);
        assert_ne!(targets, changed_targets);
        assert_ne!(plain, run(Some(3)).0);
    }

    #[test]
    fn statistics_are_stored_and_never_trained() {
        let config = tiny();
        let predictor = config.init_predictor(&Device::flex().autodiff()).unwrap();
        let statistics = BandStatistics { mean: vec![1.0, 2.0, 3.0, 4.0], scale: vec![0.5; 4] };
        let encoder = predictor.encoder.with_statistics(&statistics);
        assert_eq!(encoder.statistics(), statistics);
        for entry in ParamTable::collect(&encoder).entries() {
            assert_eq!(entry.trainable, !entry.name.starts_with("band_"), "{}", entry.name);
        }
    }
}
