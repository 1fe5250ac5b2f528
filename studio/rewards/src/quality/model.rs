//! The predictor: log-mel frames, blocks along time, mean and deviation over the clip, an opinion.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor, TensorData, activation::sigmoid},
};
use musicrl_core::{
    nn::{Linear, RmsNorm, gelu},
    params::reinitialise,
    random::{Key, Purpose},
    reward::AudioView,
};

use super::{OPINION_RANGE, Opinion, QualityConfig, TemporalBlock};
use crate::{
    Error, Result,
    front_end::{Features, FrontEnd},
};

/// Root mean square below which a clip counts as silence: -80 dB of full scale.
const SILENCE_RMS: f64 = 1e-4;
/// Bounds of the predicted standard deviation. No ratings in [1, 5] deviate by more than 2.
const SPREAD_RANGE: [f64; 2] = [0.1, 2.0];
/// Added to a variance over time, so that its root has a gradient at 0.
const EPSILON: f32 = 1e-5;

impl QualityConfig {
    /// The model with first values by seed, to be trained.
    ///
    /// # Errors
    /// As [`QualityConfig::validate`].
    pub fn init_seeded(&self, seed: u64, device: &Device) -> Result<QualityModel> {
        Ok(reinitialise(self.init(device)?, Key::new(seed, Purpose::Init)))
    }

    /// The model with zero weights: a place to load a file into.
    ///
    /// # Errors
    /// As [`QualityConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<QualityModel> {
        self.validate()?;
        let (width, stacked) = (self.width, self.stack_frames * self.front_end.bands);
        Ok(QualityModel {
            stack: Linear::zeros(stacked, width, device),
            blocks: self.dilations.iter().map(|dilation| TemporalBlock::new(width, *dilation, device)).collect(),
            norm: RmsNorm::new(width, device),
            hidden: Linear::zeros(2 * width, self.head_width, device),
            opinion: Linear::zeros(self.head_width, 2, device),
            bias: Param::from_tensor(Tensor::zeros([2], device)),
            front_end: self.front_end.init()?,
            config: self.clone(),
        })
    }
}

/// What the model says of a batch of clips.
#[derive(Debug, Clone)]
pub struct Opinions {
    /// Predicted mean opinion scores, `[clips]`, in [1, 5].
    pub mean: Tensor<1>,
    /// Predicted standard deviations of single ratings, `[clips]`, in [0.1, 2].
    pub spread: Tensor<1>,
}

/// Log-mel frames stacked to positions, temporal blocks, mean and standard deviation over positions, one hidden layer,
/// and two numbers z: `mean = 1 + 4 sigmoid(z_0)`, `spread = 0.1 + 1.9 sigmoid(z_1)`.
#[derive(Module, Debug)]
pub struct QualityModel {
    stack: Linear,
    blocks: Vec<TemporalBlock>,
    norm: RmsNorm,
    hidden: Linear,
    opinion: Linear,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    front_end: FrontEnd,
    #[module(skip)]
    config: QualityConfig,
}

fn bounded(z: Tensor<1>, [low, high]: [f64; 2]) -> Tensor<1> {
    sigmoid(z).mul_scalar(high - low).add_scalar(low)
}

impl QualityModel {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &QualityConfig {
        &self.config
    }

    /// Where its weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.bias.val().device()
    }

    /// Opinions of clips of any lengths in one batch.
    ///
    /// A clip's opinion is the same, but for rounding, as if it were alone: what lies behind its end counts nowhere.
    ///
    /// # Shapes
    /// - features: `[clips, frames, bands]`, scaled log-mel frames of clips at the model's level
    /// - frames: of each clip, how many of them it has; at least `stack_frames`
    ///
    /// # Errors
    /// [`Error::Shape`] for other extents, or a clip without a whole position.
    pub fn forward(&self, features: Tensor<3>, frames: &[usize]) -> Result<Opinions> {
        let [clips, longest, bands] = features.dims();
        let (stack, width) = (self.config.stack_frames, self.config.width);
        let fits = |frames: &usize| (stack..=longest).contains(frames);
        if clips == 0 || clips != frames.len() || bands != self.config.front_end.bands || !frames.iter().all(fits) {
            return Err(Error::Shape {
                what: "features of clips",
                expected: format!(
                    "[clips, frames, {}], {stack} frames or more of each clip inside",
                    self.config.front_end.bands
                ),
                got: format!("[{clips}, {longest}, {bands}] for clips of {frames:?} frames"),
            });
        }
        // A rest that fills no position is left out.
        let time = longest / stack;
        let x = features.narrow(1, 0, time * stack).reshape([clips, time, stack * bands]);
        let counts: Vec<usize> = frames.iter().map(|frames| frames / stack).collect();
        let (present, shares) = presence(&counts, time, &x.device());
        let x = self.blocks.iter().fold(self.stack.forward(x), |x, block| block.forward(x, present.as_ref()));
        let x = self.norm.forward(x);
        // Means over a clip's positions, as products with a row of weights that sum to 1.
        let mean = shares.clone().matmul(x.clone());
        let centred = x - mean.clone();
        let variance = shares.matmul(centred.clone() * centred);
        let pooled = Tensor::cat(vec![mean, variance.add_scalar(EPSILON).sqrt()], 2).reshape([clips, 2 * width]);
        let z = self.opinion.forward(gelu(self.hidden.forward(pooled))) + self.bias.val().unsqueeze::<2>();
        let column = |at: usize| z.clone().narrow(1, at, 1).reshape([clips]);
        Ok(Opinions { mean: bounded(column(0), OPINION_RANGE), spread: bounded(column(1), SPREAD_RANGE) })
    }

    /// The frames of a clip as the model hears it: brought to `level_db` first, so that turning the volume up or down
    /// changes nothing.
    ///
    /// # Errors
    /// [`Error::Audio`] for a clip that is too short, silent, not finite, or at an unusable rate.
    pub fn features(&self, audio: AudioView<'_>) -> Result<Features> {
        let AudioView { samples, sample_rate_hz } = audio;
        let seconds = samples.len() as f64 / f64::from(sample_rate_hz.max(1));
        if sample_rate_hz > 0 && seconds < self.config.shortest_seconds {
            let expected = format!("at least {} s of sound", self.config.shortest_seconds);
            return Err(Error::Audio { expected, got: format!("{seconds:.3} s") });
        }
        if samples.iter().any(|sample| !sample.is_finite()) {
            // The front end names the sample; a level that is made of it would hide which one it was.
            return self.front_end.features(audio);
        }
        let energy = samples.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum::<f64>();
        let rms = (energy / samples.len().max(1) as f64).sqrt();
        if rms < SILENCE_RMS {
            let expected = format!("sound (root mean square of at least {SILENCE_RMS})");
            return Err(Error::Audio { expected, got: format!("silence ({rms:.1e})") });
        }
        let gain = 10.0_f64.powf(self.config.level_db / 20.0) / rms;
        let levelled: Vec<f32> = samples.iter().map(|sample| (gain * f64::from(*sample)) as f32).collect();
        self.front_end.features(AudioView { samples: &levelled, sample_rate_hz })
    }

    /// The opinion of one clip's features; see [`QualityModel::features`].
    ///
    /// # Errors
    /// [`Error::Audio`] for fewer frames than a position has.
    pub fn judge_features(&self, features: &Features) -> Result<Opinion> {
        let (frames, stack) = (features.frames(), self.config.stack_frames);
        if frames < stack {
            let expected = format!("at least {stack} frames");
            return Err(Error::Audio { expected, got: frames.to_string() });
        }
        let values = features.window(0, frames).to_vec();
        let values = TensorData::new(values, [1, frames, features.bands()]);
        let opinions = self.forward(Tensor::from_data(values, &self.device()), &[frames])?;
        let number = |tensor: Tensor<1>| {
            let values = tensor.into_data().convert_dtype(DType::F32).try_to_vec::<f32>().unwrap_or_default();
            values.first().map_or(f64::NAN, |value| f64::from(*value))
        };
        Ok(Opinion { mean: number(opinions.mean), spread: number(opinions.spread) })
    }

    /// The opinion of one clip. Each is judged by itself: no other clip can change it, not even by rounding.
    ///
    /// # Errors
    /// As [`QualityModel::features`].
    pub fn judge(&self, audio: AudioView<'_>) -> Result<Opinion> {
        self.judge_features(&self.features(audio)?)
    }
}

/// Where clips of `counts` positions are inside a batch of `time`: 1 or 0 at `[clips, time, 1]` (`None` when all are as
/// long), and the weights of each clip's mean, `[clips, 1, time]`.
fn presence(counts: &[usize], time: usize, device: &Device) -> (Option<Tensor<3>>, Tensor<3>) {
    let inside = |count: usize, at: usize| if at < count { 1.0_f32 } else { 0.0 };
    let row = |count: &usize| (0..time).map(|at| inside(*count, at)).collect::<Vec<_>>();
    let present: Vec<f32> = counts.iter().flat_map(row).collect();
    let shares = present.chunks(time.max(1)).zip(counts);
    let shares: Vec<f32> = shares.flat_map(|(row, count)| row.iter().map(|one| one / (*count).max(1) as f32)).collect();
    let shares = Tensor::from_data(TensorData::new(shares, [counts.len(), 1, time]), device);
    let ragged = counts.iter().any(|count| *count != time);
    let present = ragged.then(|| Tensor::from_data(TensorData::new(present, [counts.len(), time, 1]), device));
    (present, shares)
}

#[cfg(test)]
mod tests {
    use musicrl_core::params::{ParamTable, Storage};
    use proptest::prelude::*;

    use super::*;

    const RATE_HZ: u32 = 16_000;

    fn model() -> QualityModel {
        QualityConfig::base().init_seeded(1, &Device::flex()).unwrap()
    }

    fn noise(seed: u64, samples: usize) -> Vec<f32> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        (0..samples).map(|_| (0.1 * stream.normal()) as f32).collect()
    }

    fn view(samples: &[f32]) -> AudioView<'_> {
        AudioView { samples, sample_rate_hz: RATE_HZ }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_sound_of_any_length_has_an_opinion_within_the_scale(
            seed: u64, samples in 8_000_usize..40_000, gain_db in -50.0_f64..40.0,
        ) {
            let gain = 10.0_f64.powf(gain_db / 20.0) as f32;
            let sound: Vec<f32> = noise(seed, samples).iter().map(|x| gain * x).collect();
            let opinion = model().judge(view(&sound)).unwrap();
            prop_assert!((1.0..=5.0).contains(&opinion.mean) && (0.1..=2.0).contains(&opinion.spread), "{opinion:?}");
        }
    }

    #[test]
    fn the_volume_changes_nothing() {
        let quiet = noise(1, 16_000);
        let loud: Vec<f32> = quiet.iter().map(|x| 8.0 * x).collect();
        let (quiet, loud) = (model().judge(view(&quiet)).unwrap(), model().judge(view(&loud)).unwrap());
        assert!((quiet.mean - loud.mean).abs() < 1e-4, "{quiet:?} {loud:?}");
    }

    #[test]
    fn clips_of_other_lengths_in_the_batch_do_not_count() {
        let model = model();
        let sounds = [noise(1, 9_000), noise(2, 30_000), noise(3, 16_000)];
        let features: Vec<Features> = sounds.iter().map(|sound| model.features(view(sound)).unwrap()).collect();
        let longest = features.iter().map(Features::frames).max().unwrap();
        let mut values = Vec::new();
        for (clip, features) in features.iter().enumerate() {
            values.extend_from_slice(features.window(0, longest));
            // Whatever lies behind the end.
            values.resize((clip + 1) * longest * features.bands(), 3.0);
        }
        let batch = Tensor::from_data(TensorData::new(values, [3, longest, features[0].bands()]), &Device::flex());
        let frames: Vec<usize> = features.iter().map(Features::frames).collect();
        let together: Vec<f32> = model.forward(batch, &frames).unwrap().mean.into_data().try_to_vec().unwrap();
        for (features, together) in features.iter().zip(together) {
            let alone = model.judge_features(features).unwrap().mean;
            assert!((alone - f64::from(together)).abs() < 1e-4, "{alone} {together}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_named() {
        let model = model();
        let refused = |samples: &[f32], sample_rate_hz| {
            model.judge(AudioView { samples, sample_rate_hz }).unwrap_err().to_string()
        };
        assert!(refused(&noise(1, 7_999), RATE_HZ).contains("0.5 s"));
        assert!(refused(&[], RATE_HZ).contains("0.000 s"));
        assert!(refused(&[0.0; 16_000], RATE_HZ).contains("silence"));
        assert!(refused(&noise(1, 16_000), 0).contains("0 Hz"));
        let mut broken = noise(1, 16_000);
        broken[777] = f32::NAN;
        assert!(refused(&broken, RATE_HZ).contains("sample 777"));
        let features = Tensor::zeros([2, 30, 64], &Device::flex());
        for frames in [vec![30], vec![30, 31], vec![30, 1]] {
            assert!(model.forward(features.clone(), &frames).is_err(), "{frames:?}");
        }
    }

    #[test]
    fn weights_survive_a_file() {
        let (device, model) = (Device::flex(), model());
        let bytes = ParamTable::collect(&model).to_safetensors(Storage::F32).unwrap();
        let empty = model.config().init(&device).unwrap();
        let loaded = ParamTable::collect(&empty).read_safetensors(&bytes).unwrap().apply(empty).unwrap();
        let sound = noise(4, 20_000);
        assert_eq!(loaded.judge(view(&sound)).unwrap(), model.judge(view(&sound)).unwrap());
    }
}
