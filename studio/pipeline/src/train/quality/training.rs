//! The training loop: pieces of rated sounds, the loss, a step down.

use std::{collections::BTreeMap, sync::Arc};

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use musicrl_core::{
    params::{ParamTable, Storage, gradients},
    random::{Key, Purpose},
    reward::AudioView,
};
use musicrl_rewards::{
    QualityConfig, QualityModel,
    front_end::Features,
    quality::{
        RatingsOrigin,
        loss::{Rated, loss},
    },
};
use rayon::prelude::*;

use super::{Agreement, Judged, QualityTrainingConfig, RatedSounds, agreement};
use crate::{
    Error, Result,
    corpus::{Split, spread},
    optim::AdamW,
    parallel::sum_gradients,
    training::{Files, Metrics, Training},
};

const WEIGHTS: &str = "quality.safetensors";
const OPTIMISER: &str = "quality.optimiser";
/// Held-out sounds that an evaluation hears.
const HELD_OUT_SOUNDS: usize = 1024;
/// Sounds whose gradient is computed together, on one thread. Fixed, so that a step does not depend on the number of
/// threads. Pairs are compared within a part.
const PART: usize = 8;
/// Sounds whose features are computed before memory is looked at again.
const PREPARED: usize = 64;

/// Features of sounds that were heard.
#[derive(Default)]
struct Cache {
    features: BTreeMap<usize, Arc<Features>>,
    bytes: usize,
}

/// A piece of a rated sound.
struct Piece {
    features: Arc<Features>,
    start: usize,
    frames: usize,
    rated: Rated,
}

/// The training loop.
pub struct QualityTraining {
    config: QualityTrainingConfig,
    seed: u64,
    device: Device,
    model: QualityModel,
    params: ParamTable,
    optimiser: AdamW,
    sounds: Box<dyn RatedSounds>,
    train: Vec<usize>,
    held_out: Vec<usize>,
    cache: Cache,
}

impl QualityTraining {
    /// A new model on `device` (made an autodiff device here), with first values by `seed`. It says whose ratings it
    /// learned from.
    ///
    /// # Errors
    /// [`Error::Config`] for settings out of range or no sound to learn from.
    pub fn new(
        model: &QualityConfig,
        config: QualityTrainingConfig,
        sounds: Box<dyn RatedSounds>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate("training", model)?;
        let of = |split: Split| -> Vec<usize> {
            let all = sounds.sounds().iter().enumerate();
            all.filter(|(_, sound)| sound.split == split).map(|(at, _)| at).collect()
        };
        let (train, held_out) = (of(Split::Train), of(Split::HeldOut));
        if train.is_empty() {
            return Err(Error::config("ratings", "at least one rated sound to learn from", "none"));
        }
        let device = if device.is_autodiff() { device.clone() } else { device.clone().autodiff() };
        let model = QualityConfig { ratings: sounds.origin(), ..model.clone() };
        let model = model.init_seeded(seed, &device)?;
        let params = ParamTable::collect(&model);
        let optimiser = AdamW::new(config.optimiser.clone(), params.values().len());
        let held_out = spread(held_out.len(), HELD_OUT_SOUNDS).map(|at| held_out[at]).collect();
        let cache = Cache::default();
        Ok(Self { config, seed, device, model, params, optimiser, sounds, train, held_out, cache })
    }

    /// The model as it is now, for inference.
    #[must_use]
    pub fn model(&self) -> QualityModel {
        self.model.valid()
    }

    /// The rated sounds.
    #[must_use]
    pub fn sounds(&self) -> &dyn RatedSounds {
        &*self.sounds
    }

    /// Agreement with the ratings of held-out sounds, each heard as a whole; `None` without any.
    ///
    /// # Errors
    /// When a sound cannot be read or judged.
    pub fn measure(&mut self) -> Result<Option<Agreement>> {
        let model = self.model.valid();
        let held_out = self.held_out.clone();
        let mut judged = Vec::with_capacity(held_out.len());
        for chunk in held_out.chunks(PREPARED) {
            let features = self.features(chunk)?;
            let opinions: Vec<_> = features.par_iter().map(|features| model.judge_features(features)).collect();
            for (sound, opinion) in chunk.iter().zip(opinions) {
                judged.push((*sound, opinion?));
            }
        }
        let sounds = self.sounds.sounds();
        let judged: Vec<Judged<'_>> =
            judged.into_iter().map(|(sound, opinion)| Judged { sound: &sounds[sound], opinion }).collect();
        Ok(agreement(&judged))
    }

    /// Features of sounds, in their order; those that are not kept are computed on all threads.
    fn features(&mut self, wanted: &[usize]) -> Result<Vec<Arc<Features>>> {
        let (model, sounds, kept) = (&self.model, &self.sounds, &self.cache.features);
        let features: Vec<Result<Arc<Features>>> = wanted
            .par_iter()
            .map(|sound| {
                if let Some(features) = kept.get(sound) {
                    return Ok(Arc::clone(features));
                }
                let audio = sounds.audio(*sound)?;
                let view = AudioView { samples: &audio, sample_rate_hz: sounds.sample_rate_hz() };
                let features = model.features(view).map_err(|error| Error::File {
                    path: sounds.sounds().get(*sound).map_or_else(String::new, |sound| sound.name.clone()).into(),
                    expected: "sound that can be judged".into(),
                    got: error.to_string(),
                })?;
                Ok(Arc::new(features))
            })
            .collect();
        let features = features.into_iter().collect::<Result<Vec<_>>>()?;
        for (sound, features) in wanted.iter().zip(&features) {
            let bytes = features.frames() * features.bands() * size_of::<f32>();
            if !self.cache.features.contains_key(sound) && (self.cache.bytes + bytes) >> 20 < self.config.cache_mib {
                self.cache.bytes += bytes;
                self.cache.features.insert(*sound, Arc::clone(features));
            }
        }
        Ok(features)
    }

    /// The sounds of a step: epochs, in a new order each.
    fn batch(&self, step: u64) -> Vec<usize> {
        let (count, size) = (self.train.len(), self.config.batch_clips.min(self.train.len()));
        let first = step as usize * size;
        let mut order: (usize, Vec<usize>) = (usize::MAX, Vec::new());
        (first..first + size)
            .map(|position| {
                let epoch = position / count;
                if order.0 != epoch {
                    let mut sounds = self.train.clone();
                    Key::new(self.seed, Purpose::Batch).step(epoch as u64).stream().shuffle(&mut sounds);
                    order = (epoch, sounds);
                }
                order.1[position % count]
            })
            .collect()
    }

    fn pieces(&mut self, step: u64) -> Result<Vec<Piece>> {
        let batch = self.batch(step);
        let features = self.features(&batch)?;
        let longest = self.config.crop_frames(self.model.config());
        let key = Key::new(self.seed, Purpose::Augment).step(step);
        let piece = |(sound, features): (&usize, Arc<Features>)| {
            let frames = features.frames().min(longest);
            let start = key.clip(*sound as u64).stream().below(features.frames() - frames + 1);
            Piece { frames, start, features, rated: self.sounds.sounds()[*sound].rated }
        };
        Ok(batch.iter().zip(features).map(piece).collect())
    }
}

/// The pieces as one tensor, filled up behind the shorter ones, and their lengths.
///
/// # Shapes
/// - returns: `[pieces, longest, bands]`
fn tensor(pieces: &[Piece], device: &Device) -> (Tensor<3>, Vec<usize>) {
    let longest = pieces.iter().map(|piece| piece.frames).max().unwrap_or(0);
    let bands = pieces.first().map_or(0, |piece| piece.features.bands());
    let mut values = Vec::with_capacity(pieces.len() * longest * bands);
    for (at, piece) in pieces.iter().enumerate() {
        values.extend_from_slice(piece.features.window(piece.start, piece.frames));
        values.resize((at + 1) * longest * bands, 0.0);
    }
    let data = TensorData::new(values, [pieces.len(), longest, bands]);
    (Tensor::from_data(data, device), pieces.iter().map(|piece| piece.frames).collect())
}

impl Training for QualityTraining {
    /// Metrics: `loss` and its parts `squared_error`, `ranking`, `spread` (without their weights), `grad_norm`,
    /// `learning_rate`, `skipped_updates`.
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let pieces = self.pieces(step)?;
        let ratings: usize = pieces.iter().map(|piece| piece.rated.count).sum();
        let parts: Vec<&[Piece]> = pieces.chunks(PART).collect();
        let (config, device) = (&self.config.loss, &self.device);
        let (grads, losses) = sum_gradients(&self.model, &self.params, &parts, |model, _, part| {
            let (features, frames) = tensor(part, device);
            let rated: Vec<Rated> = part.iter().map(|piece| piece.rated).collect();
            let losses = loss(&model.forward(features, &frames)?, &rated, config)?;
            // A part counts by its ratings, as it would in one mean over the batch.
            let share = rated.iter().map(|rated| rated.count).sum::<usize>() as f64 / ratings.max(1) as f64;
            let grads = losses.total.clone().mul_scalar(share).backward();
            let number = |tensor: Tensor<1>| share * f64::from(tensor.into_scalar::<f32>());
            let numbers = [losses.total, losses.squared_error, losses.ranking, losses.spread].map(number);
            Ok((gradients(model, &grads), numbers))
        })?;
        let update = self.optimiser.update(&mut self.params, &grads)?;
        self.model = self.params.apply(self.model.clone())?;
        let mut metrics = Metrics::default();
        for (at, name) in ["loss", "squared_error", "ranking", "spread"].into_iter().enumerate() {
            metrics.push(name, losses.iter().map(|part| part[at]).sum());
        }
        metrics.push("grad_norm", update.grad_norm);
        metrics.push("learning_rate", update.learning_rate);
        metrics.push("skipped_updates", self.optimiser.skipped() as f64);
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        let mut files = Files::new();
        files.insert(WEIGHTS.into(), self.params.to_safetensors(Storage::F32)?);
        self.optimiser.save(OPTIMISER, &mut files);
        Ok(files)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        let bytes = files.get(WEIGHTS).ok_or_else(|| Error::File {
            path: WEIGHTS.into(),
            expected: "weights of the quality predictor".into(),
            got: "no such file".into(),
        })?;
        let params = self.params.read_safetensors(bytes)?;
        let mut optimiser = self.optimiser.clone();
        optimiser.load(OPTIMISER, files)?;
        self.model = params.apply(self.model.clone())?;
        self.params = params;
        self.optimiser = optimiser;
        Ok(())
    }

    /// On held-out sounds: see [`Agreement::metrics`]; `simulated` is 1 where simulated raters gave the ratings, else 0.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let Some(agreement) = self.measure()? else { return Ok(Metrics::default()) };
        let mut metrics = agreement.metrics();
        let simulated = self.sounds.origin() == RatingsOrigin::Simulated;
        metrics.push("simulated", f64::from(u8::from(simulated)));
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_rewards::{front_end::FrontEndConfig, quality::loss::LossConfig};

    use super::*;
    use crate::{
        optim::AdamWConfig,
        train::quality::{Degradation, Kind, MemorySounds, RatedSound, RatersConfig},
    };

    const RATE_HZ: u32 = 8_000;

    fn tiny() -> QualityConfig {
        QualityConfig {
            front_end: FrontEndConfig { sample_rate_hz: RATE_HZ, fft_samples: 256, hop_samples: 200, bands: 16 },
            stack_frames: 2,
            width: 12,
            dilations: vec![1, 2],
            head_width: 12,
            ..QualityConfig::base()
        }
    }

    /// Chords with more or less noise, of different lengths.
    fn sounds(clips: usize) -> Box<dyn RatedSounds> {
        let raters = RatersConfig::default();
        let sounds = (0..clips).map(|clip| {
            let key = Key::new(5, Purpose::Test).clip(clip as u64);
            let mut stream = key.stream();
            let (hz, samples) = (stream.between(150.0, 900.0), 6_000 + stream.below(6_000));
            let tone = |n: usize| {
                (n as f64 * hz / 8_000.0 * std::f64::consts::TAU).sin()
                    + (n as f64 * hz / 5_300.0 * std::f64::consts::TAU).sin()
            };
            let clean: Vec<f32> = (0..samples).map(|n| (0.2 * tone(n)) as f32).collect();
            let degradation = Degradation { kind: Kind::Noise, strength: stream.uniform() };
            let audio = degradation.apply(&clean, RATE_HZ, None, key.step(1)).unwrap();
            let opinion = RatersConfig::opinion(1.0, degradation.strength);
            let split = if clip % 3 == 0 { Split::HeldOut } else { Split::Train };
            let sound = RatedSound::new(format!("{clip}"), split, raters.rate(opinion, 1, clip as u64)).unwrap();
            (RatedSound { opinion: Some(opinion), groups: vec!["noise".into()], ..sound }, audio)
        });
        Box::new(MemorySounds::new(RatingsOrigin::Simulated, RATE_HZ, sounds.collect()))
    }

    fn settings() -> QualityTrainingConfig {
        let optimiser = AdamWConfig { learning_rate: 1e-2, warmup_steps: 5, ..AdamWConfig::default() };
        QualityTrainingConfig { batch_clips: 20, crop_seconds: 1.0, optimiser, ..Default::default() }
    }

    fn training() -> QualityTraining {
        QualityTraining::new(&tiny(), settings(), sounds(90), 3, &Device::flex()).unwrap()
    }

    #[test]
    fn it_learns_to_hear_noise() {
        let mut training = training();
        let before = training.evaluate(0).unwrap();
        for step in 0..60 {
            let metrics = training.step(step).unwrap();
            assert!(metrics.0.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
            assert_eq!(metrics.get("skipped_updates"), Some(0.0));
        }
        let after = training.evaluate(60).unwrap();
        let error = |metrics: &Metrics| metrics.get("mean_absolute_error").unwrap();
        assert!(error(&after) < 0.6 && error(&after) < 0.7 * error(&before), "{before:?} {after:?}");
        assert!(after.get("spearman").unwrap() > 0.8, "{after:?}");
        assert_eq!((after.get("simulated"), after.get("held_out_sounds")), (Some(1.0), Some(30.0)));
        assert!(after.get("spread_ratio").is_some_and(|ratio| (0.5..2.0).contains(&ratio)), "{after:?}");
        assert_eq!(training.model().config().ratings, RatingsOrigin::Simulated);
    }

    #[test]
    fn a_restored_training_goes_on_with_the_same_bytes_on_any_number_of_threads() {
        let mut whole = training();
        for step in 0..6 {
            whole.step(step).unwrap();
        }
        let mut first = training();
        for step in 0..3 {
            first.step(step).unwrap();
        }
        // Evaluation in between must leave no trace.
        first.evaluate(3).unwrap();
        let files = first.state().unwrap();
        let mut second = training();
        second.step(0).unwrap();
        second.restore(&files).unwrap();
        assert_eq!(second.state().unwrap(), files);
        let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        threads.install(|| (3..6).for_each(|step| drop(second.step(step).unwrap())));
        assert_eq!(second.state().unwrap(), whole.state().unwrap());
        assert_ne!(second.state().unwrap(), files);
    }

    #[test]
    fn a_state_that_does_not_fit_changes_nothing() {
        let mut training = training();
        training.step(0).unwrap();
        let files = training.state().unwrap();
        for name in [WEIGHTS, OPTIMISER] {
            let mut broken = files.clone();
            broken.remove(name);
            assert!(training.restore(&broken).unwrap_err().to_string().contains("quality"));
            broken.insert(name.into(), files[name][..files[name].len() / 2].to_vec());
            assert!(training.restore(&broken).is_err());
        }
        assert_eq!(training.state().unwrap(), files);
    }

    #[test]
    fn an_epoch_hears_every_sound_once_and_a_small_cache_changes_speed_alone() {
        let training = training();
        let mut epoch: Vec<usize> = (0..3).flat_map(|step| training.batch(step)).collect();
        epoch.sort_unstable();
        assert_eq!(epoch, training.train);
        let config = QualityTrainingConfig { cache_mib: 0, ..settings() };
        let mut without = QualityTraining::new(&tiny(), config, sounds(90), 3, &Device::flex()).unwrap();
        let mut with = training;
        for step in 0..2 {
            assert_eq!(without.step(step).unwrap(), with.step(step).unwrap());
        }
        assert!(without.cache.features.is_empty() && !with.cache.features.is_empty());
    }

    #[test]
    fn no_held_out_sounds_no_sounds_and_bad_settings() {
        let one = || sounds(3).sounds()[1].clone();
        let memory = |sounds| Box::new(MemorySounds::new(RatingsOrigin::Human, RATE_HZ, sounds));
        let new = |config, sounds| QualityTraining::new(&tiny(), config, sounds, 3, &Device::flex());
        let audio: Vec<f32> = (0..8_000).map(|n| (n as f32 * 0.3).sin()).collect();
        let mut alone = new(settings(), memory(vec![(one(), audio)])).unwrap();
        assert!(alone.step(0).unwrap().get("loss").unwrap().is_finite());
        assert_eq!(alone.evaluate(1).unwrap(), Metrics::default());
        let mut short = new(settings(), memory(vec![(one(), vec![0.1; 100])])).unwrap();
        assert!(short.step(0).unwrap_err().to_string().contains("0.5 s"));
        let refused = |config| new(config, memory(vec![(one(), vec![0.1; 100])])).err().unwrap().to_string();
        assert!(new(settings(), memory(Vec::new())).err().unwrap().to_string().contains("ratings"));
        assert!(refused(QualityTrainingConfig { batch_clips: 0, ..settings() }).contains("training.batch_clips"));
        assert!(refused(QualityTrainingConfig { crop_seconds: 0.1, ..settings() }).contains("crop_seconds"));
        assert!(refused(QualityTrainingConfig { held_out_share: 1.0, ..settings() }).contains("held_out_share"));
        let loss = LossConfig { ranking_weight: f64::NAN, ..LossConfig::default() };
        assert!(refused(QualityTrainingConfig { loss, ..settings() }).contains("training.loss.ranking_weight"));
        let unknown = serde_json::from_str::<QualityTrainingConfig>("{\"batch_clip\": 3}");
        assert!(unknown.unwrap_err().to_string().contains("batch_clips"));
    }
}
