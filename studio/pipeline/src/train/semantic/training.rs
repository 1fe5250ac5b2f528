//! The training loop of the semantic tokeniser.

use burn::{
    module::Module,
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use musicrl_codec::semantic::{
    BandStatistics, CodebookUse, EncoderInput, FrontEnd, MaskedPredictor, RandomTargets, SemanticTokeniser, mask_spans,
};
use musicrl_core::{
    params::{ParamTable, Storage, gradients, reinitialise},
    random::{Key, Purpose},
};
use rayon::prelude::*;

use super::SemanticTrainingConfig;
use crate::{
    Error, Result,
    optim::AdamW,
    train::crops::Crops,
    training::{Files, Metrics, Training},
};

const WEIGHTS: &str = "semantic.safetensors";
const OPTIMISER: &str = "semantic.optimiser";

/// Step numbers that no training reaches name the crops of the other uses.
const STATISTICS: u64 = u64::MAX;
const EVALUATION: u64 = u64::MAX - 1;
const CLUSTERING: u64 = u64::MAX - 2;

/// Masked prediction of random-projection targets over random crops, and k-means at the end.
///
/// Logged in every step: `loss`, the cross-entropy of the hidden frames' targets in nats; `hidden_share`, the share of
/// frames that were hidden; `grad_norm`, `learning_rate`, `skipped` of the optimiser.
pub struct SemanticTraining<C> {
    config: SemanticTrainingConfig,
    seed: u64,
    train: C,
    held_out: Option<C>,
    front_end: FrontEnd,
    statistics: BandStatistics,
    targets: RandomTargets,
    model: MaskedPredictor,
    table: ParamTable,
    optimiser: AdamW,
    device: Device,
}

/// What training leaves: the tokeniser, and how its codebook is used.
#[derive(Debug)]
pub struct SemanticOutcome {
    /// The tokeniser, on the plain device.
    pub tokeniser: SemanticTokeniser,
    /// Use of the codebook over the frames that were clustered.
    pub clustered: CodebookUse,
    /// Use of the codebook over the held-out crops; `None` without held-out clips.
    pub held_out: Option<CodebookUse>,
}

impl<C: Crops> SemanticTraining<C> {
    /// Measures band statistics on `train` and gives the weights their first values. `device` is a plain device;
    /// without `held_out` nothing is evaluated.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Core`] for bad settings; whatever reading audio gives.
    pub fn new(
        config: SemanticTrainingConfig,
        train: C,
        held_out: Option<C>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let device = device.clone().autodiff();
        let front_end = config.model.front_end()?;
        let key = Key::new(seed, Purpose::Batch).step(STATISTICS);
        let measured = features(&train, &front_end, config.crop_samples(), key, 0..config.statistics_crops)?;
        let statistics = BandStatistics::measure(config.model.mel_bands, measured.iter().map(Vec::as_slice));
        let mut model = reinitialise(config.model.init_predictor(&device)?, Key::new(seed, Purpose::Init));
        model.encoder = model.encoder.with_statistics(&statistics);
        let table = ParamTable::collect(&model);
        let optimiser = AdamW::new(config.optimiser.clone(), table.values().len());
        let targets = RandomTargets::new(&config.model, &device.clone().inner());
        Ok(Self { config, seed, train, held_out, front_end, statistics, targets, model, table, optimiser, device })
    }

    fn features(&self, source: &C, step: u64, crops: core::ops::Range<usize>) -> Result<Vec<Vec<f32>>> {
        let key = Key::new(self.seed, Purpose::Batch).step(step);
        features(source, &self.front_end, self.config.crop_samples(), key, crops)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SemanticTrainingConfig {
        &self.config
    }

    /// Standardised features, masked and asked for: the step's network input and its targets.
    fn questions(&self, mut features: Vec<Vec<f32>>, step: u64) -> Questions {
        let config = &self.config.model;
        let width = config.feature_width();
        let mut input = EncoderInput::default();
        for (clip, features) in features.iter_mut().enumerate() {
            self.statistics.apply(features);
            let mut stream = Key::new(self.seed, Purpose::Mask).step(step).clip(clip as u64).stream();
            let frames = features.len() / width;
            let mask = mask_spans(frames, config.mask_start_probability, config.mask_span_frames, &mut stream);
            input.push(features, width, &mask);
        }
        let targets = integers(self.targets.of(input.hidden_features(&self.device.clone().inner())));
        Questions { hidden: input.hidden().to_vec(), targets, clips: features.len(), input }
    }

    /// Log-probability of each target.
    ///
    /// # Shapes
    /// - returns: all log-probabilities `[targets, entries]`, and those of the targets `[targets, 1]`
    fn answer(model: &MaskedPredictor, questions: Questions, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let count = questions.targets.len();
        let hidden = indices(questions.hidden, device);
        let targets = indices(questions.targets, device).reshape([count, 1]);
        let all = model.log_probabilities(questions.input.tensor(questions.clips, device), hidden);
        (all.clone(), all.gather(1, targets))
    }

    /// Clusters the features of random crops, and gives the tokeniser.
    ///
    /// # Errors
    /// Whatever reading audio gives; [`Error::Core`] when features are not finite.
    pub fn finish(&self) -> Result<SemanticOutcome> {
        let config = &self.config;
        let encoder = self.model.valid().encoder;
        let device = self.device.clone().inner();
        let width = config.model.feature_width();
        let mut hidden = Vec::new();
        for first in (0..config.cluster_crops).step_by(config.batch_crops) {
            let crops = first..config.cluster_crops.min(first + config.batch_crops);
            let mut input = EncoderInput::default();
            for mut features in self.features(&self.train, CLUSTERING, crops.clone())? {
                self.statistics.apply(&mut features);
                input.push(&features, width, &[]);
            }
            hidden.extend(floats(encoder.forward(input.tensor(crops.len(), &device))));
        }
        let key = Key::new(self.seed, Purpose::Quantiser);
        let (tokeniser, clustered) =
            SemanticTokeniser::cluster(&config.model, encoder, hidden, config.cluster_iterations, key)?;
        let held_out = match &self.held_out {
            Some(source) => {
                let key = Key::new(self.seed, Purpose::Batch);
                let audio = audio(source, config.crop_samples(), key.step(EVALUATION), 0..config.evaluation_crops)?;
                let clips: Vec<&[f32]> = audio.iter().map(Vec::as_slice).collect();
                Some(CodebookUse::count(&tokeniser.tokenise_clips(&clips)?.concat(), config.model.clusters))
            }
            None => None,
        };
        Ok(SemanticOutcome { tokeniser, clustered, held_out })
    }
}

struct Questions {
    input: EncoderInput,
    clips: usize,
    hidden: Vec<i64>,
    /// `[hidden, codebooks]`, row after row.
    targets: Vec<i64>,
}

impl<C: Crops> Training for SemanticTraining<C> {
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let features = self.features(&self.train, step, 0..self.config.batch_crops)?;
        let questions = self.questions(features, step);
        let frames = self.config.batch_crops * self.config.crop_frames;
        let hidden_share = questions.hidden.len() as f64 / frames as f64;
        let (_, chosen) = Self::answer(&self.model, questions, &self.device);
        let loss = chosen.mean().neg();
        let grads = loss.backward();
        let update = self.optimiser.update(&mut self.table, &gradients(&self.model, &grads))?;
        self.model = self.table.apply(self.model.clone())?;
        let mut metrics = Metrics::default();
        metrics.push("loss", f64::from(loss.into_scalar::<f32>()));
        metrics.push("hidden_share", hidden_share);
        metrics.push("grad_norm", update.grad_norm);
        metrics.push("learning_rate", update.learning_rate);
        metrics.push("skipped", self.optimiser.skipped() as f64);
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        let mut files = Files::new();
        files.insert(WEIGHTS.into(), self.table.to_safetensors(Storage::F32)?);
        self.optimiser.save(OPTIMISER, &mut files);
        Ok(files)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        let bytes = files.get(WEIGHTS).ok_or_else(|| Error::File {
            path: WEIGHTS.into(),
            expected: "weights of the semantic predictor".into(),
            got: "no such file".into(),
        })?;
        let table = self.table.read_safetensors(bytes)?;
        self.optimiser.load(OPTIMISER, files)?;
        self.model = table.apply(self.model.clone())?;
        self.statistics = self.model.encoder.statistics();
        self.table = table;
        Ok(())
    }

    /// On held-out crops with masks of their own, the same at every evaluation: `held_out_loss` (nats) and
    /// `held_out_accuracy` of the hidden frames' targets; `unigram_loss` and `unigram_accuracy`, what always
    /// predicting the frequencies of these very targets would give (an optimistic estimate of chance); and
    /// `target_perplexity`, how many target entries are in use.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        let Some(source) = &self.held_out else { return Ok(metrics) };
        let device = self.device.clone().inner();
        let model = self.model.valid();
        let codebooks = self.config.model.target_codebooks;
        let mut targets = Vec::new();
        let (mut loss, mut right) = (0.0, 0_usize);
        for first in (0..self.config.evaluation_crops).step_by(self.config.batch_crops) {
            let range = first..self.config.evaluation_crops.min(first + self.config.batch_crops);
            let features = self.features(source, EVALUATION, range)?;
            let questions = self.questions(features, EVALUATION - 1 - first as u64);
            let asked = questions.targets.clone();
            let (all, chosen) = Self::answer(&model, questions, &device);
            loss -= floats(chosen).into_iter().map(f64::from).sum::<f64>();
            right += integers(all.argmax(1)).iter().zip(&asked).filter(|(guess, target)| guess == target).count();
            targets.extend(asked);
        }
        let count = targets.len().max(1) as f64;
        let (mut entropy, mut most, mut perplexity) = (0.0, 0.0, 0.0);
        for codebook in 0..codebooks {
            let ids: Vec<u32> = targets.iter().skip(codebook).step_by(codebooks).map(|id| *id as u32).collect();
            let used = CodebookUse::count(&ids, self.config.model.target_entries);
            perplexity += used.perplexity / codebooks as f64;
            entropy += used.perplexity.ln() / codebooks as f64;
            let mut counts = vec![0_usize; self.config.model.target_entries];
            for id in ids {
                if let Some(count) = counts.get_mut(id as usize) {
                    *count += 1;
                }
            }
            most += counts.iter().copied().max().unwrap_or(0) as f64;
        }
        metrics.push("held_out_loss", loss / count);
        metrics.push("held_out_accuracy", right as f64 / count);
        metrics.push("unigram_loss", entropy);
        metrics.push("unigram_accuracy", most / count);
        metrics.push("target_perplexity", perplexity);
        Ok(metrics)
    }
}

/// The raw log-mel features of the crops numbered `crops` of a step.
fn features<C: Crops>(
    source: &C,
    front_end: &FrontEnd,
    samples: usize,
    key: Key,
    crops: core::ops::Range<usize>,
) -> Result<Vec<Vec<f32>>> {
    let audio = audio(source, samples, key, crops)?;
    Ok(audio.par_iter().map(|audio| front_end.features(audio)).collect::<musicrl_core::Result<_>>()?)
}

fn audio<C: Crops>(source: &C, samples: usize, key: Key, crops: core::ops::Range<usize>) -> Result<Vec<Vec<f32>>> {
    crops.map(|crop| source.crop(key.clip(crop as u64), samples)).collect()
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).try_to_vec().unwrap_or_default()
}

fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.into_data().convert_dtype(DType::I64).try_to_vec().unwrap_or_default()
}

fn indices(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::AdamWConfig;
    use musicrl_codec::semantic::SemanticConfig;

    fn config() -> SemanticTrainingConfig {
        let base = SemanticTrainingConfig::base();
        SemanticTrainingConfig {
            model: SemanticConfig {
                mel_bands: 16,
                width: 16,
                heads: 2,
                ff_width: 32,
                layers: 2,
                feature_layer: 1,
                target_codebooks: 2,
                target_entries: 12,
                target_dim: 6,
                clusters: 6,
                window_frames: 20,
                overlap_frames: 4,
                mask_span_frames: 2,
                ..SemanticConfig::base()
            },
            batch_crops: 4,
            crop_frames: 16,
            statistics_crops: 8,
            evaluation_crops: 24,
            cluster_crops: 6,
            optimiser: AdamWConfig { learning_rate: 5e-3, warmup_steps: 10, ..AdamWConfig::default() },
            ..base
        }
    }

    /// Tones that change their pitch every quarter of a second, in a pattern that repeats.
    #[derive(Clone)]
    struct Tones(u64);

    impl Crops for Tones {
        fn crop(&self, key: Key, samples: usize) -> Result<Vec<f32>> {
            let mut stream = key.step(key.words(self.0)[0].into()).stream();
            let pattern: Vec<f64> = (0..4).map(|_| 200.0 * 2.0_f64.powi(stream.below(5) as i32)).collect();
            let tone = |i: usize| std::f64::consts::TAU * pattern[i / 4_000 % 4] * i as f64 / 16_000.0;
            Ok((0..samples).map(|i| tone(i).sin() as f32 * 0.3).collect())
        }
    }

    fn training() -> SemanticTraining<Tones> {
        SemanticTraining::new(config(), Tones(1), Some(Tones(2)), 5, &Device::flex()).unwrap()
    }

    #[test]
    fn learns_and_then_tells_tones_apart() {
        let mut training = training();
        let before = training.evaluate(0).unwrap();
        for step in 0..150 {
            training.step(step).unwrap();
        }
        let after = training.evaluate(150).unwrap();
        assert!(after.get("held_out_loss") < before.get("held_out_loss"), "{before:?} {after:?}");
        assert!(after.get("held_out_loss") < after.get("unigram_loss"), "{after:?}");
        assert!(after.get("held_out_accuracy") > after.get("unigram_accuracy"), "{after:?}");
        assert_eq!(before.get("unigram_loss"), after.get("unigram_loss"));

        let outcome = training.finish().unwrap();
        assert!(outcome.clustered.used >= 5, "{:?}", outcome.clustered);
        assert!(outcome.held_out.unwrap().perplexity > 2.0);
        let tone =
            |hz: f64| (0..12_800).map(move |i| (std::f64::consts::TAU * hz * f64::from(i) / 16e3).sin() as f32 * 0.3);
        let audio: [Vec<f32>; 2] = [tone(200.0).collect(), tone(3_200.0).collect()];
        let ids = outcome.tokeniser.tokenise_clips(&[&audio[0], &audio[1]]).unwrap();
        assert_eq!(ids[0].len(), 10);
        assert!(ids[0].iter().all(|id| !ids[1].contains(id)), "{ids:?}");
    }

    #[test]
    fn a_restored_training_goes_on_with_the_same_bytes() {
        let mut straight = training();
        for step in 0..3 {
            straight.step(step).unwrap();
        }
        let saved = straight.state().unwrap();
        let mut resumed = training();
        // Another state first: everything must come from the files.
        resumed.step(9).unwrap();
        resumed.restore(&saved).unwrap();
        assert_eq!(resumed.state().unwrap(), saved);
        for step in 3..6 {
            assert_eq!(straight.step(step).unwrap(), resumed.step(step).unwrap());
        }
        assert_eq!(straight.state().unwrap(), resumed.state().unwrap());
        assert_eq!(straight.evaluate(6).unwrap(), resumed.evaluate(6).unwrap());
        let tokenisers = [straight.finish().unwrap().tokeniser, resumed.finish().unwrap().tokeniser];
        let tables = tokenisers.map(|tokeniser| ParamTable::collect(&tokeniser));
        assert_eq!(tables[0], tables[1]);

        let mut cut = saved.clone();
        cut.remove(OPTIMISER);
        assert!(resumed.restore(&cut).is_err());
        cut.remove(WEIGHTS);
        assert!(matches!(resumed.restore(&cut), Err(Error::File { .. })));
    }

    #[test]
    fn only_hidden_frames_are_counted() {
        let training = training();
        let features = training.features(&training.train, 0, 0..4).unwrap();
        let questions = training.questions(features, 0);
        let (hidden, targets) = (questions.hidden.len(), questions.targets.len());
        assert!(hidden > 0 && hidden < 4 * 16);
        assert_eq!(targets, 2 * hidden);
        let (all, chosen) = SemanticTraining::<Tones>::answer(&training.model, questions, &training.device);
        assert_eq!((all.dims(), chosen.dims()), ([targets, 12], [targets, 1]));
    }

    #[test]
    fn bad_settings_are_refused() {
        let device = Device::flex();
        for change in [
            |c: &mut SemanticTrainingConfig| c.crop_frames = 21,
            |c: &mut SemanticTrainingConfig| c.crop_frames = 0,
            |c: &mut SemanticTrainingConfig| c.batch_crops = 0,
            |c: &mut SemanticTrainingConfig| c.optimiser.learning_rate = -1.0,
            |c: &mut SemanticTrainingConfig| c.model.layers = 1,
            |c: &mut SemanticTrainingConfig| (c.model.clusters, c.cluster_crops) = (17, 1),
        ] {
            let mut config = config();
            change(&mut config);
            assert!(SemanticTraining::new(config, Tones(1), None, 0, &device).is_err());
        }
        // Without held-out audio nothing is evaluated, and training goes on.
        let mut alone = SemanticTraining::new(config(), Tones(1), None, 0, &device).unwrap();
        assert_eq!(alone.evaluate(0).unwrap(), Metrics::default());
        assert!(alone.finish().unwrap().held_out.is_none());
    }
}
