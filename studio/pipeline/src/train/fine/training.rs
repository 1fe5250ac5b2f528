//! The training loop of the fine stage.

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use musicrl_codec::fine::{FineBatch, FineClip, FineModel};
use musicrl_core::{
    params::{ParamTable, Storage, gradients, reinitialise},
    random::{Key, Purpose},
};

use super::{
    super::geometry::{project, root_mean_square, write_rows},
    FineTrainingConfig, TokenSource,
};
use crate::{
    Error, Result,
    optim::AdamW,
    training::{Files, Metrics, Training},
};

/// Root mean square of the code embeddings that come from codebooks.
const CODE_RMS: f64 = 0.05;

const WEIGHTS: &str = "fine.safetensors";
const OPTIMISER: &str = "fine.optimiser";

/// Step numbers that no training reaches name the crops of the other uses.
const UNIGRAM: u64 = u64::MAX;
const EVALUATION: u64 = u64::MAX - 1;
/// Crops that the unigram model of the evaluation is counted on, at most.
const UNIGRAM_CROPS: usize = 512;

/// Masked prediction of one fine level at a time over random crops.
///
/// Logged in every step: `loss`, the cross-entropy of the hidden tokens in nats; `asked`, how many there were;
/// `grad_norm`, `learning_rate`, `skipped` of the optimiser.
pub struct FineTraining<S> {
    config: FineTrainingConfig,
    seed: u64,
    train: Crops<S>,
    held_out: Option<Crops<S>>,
    /// For each level and entry: bits of that entry under the training frequencies, add-one smoothed.
    unigram_bits: Vec<Vec<f64>>,
    model: FineModel,
    table: ParamTable,
    optimiser: AdamW,
}

impl<S: TokenSource> FineTraining<S> {
    /// Counts the unigram model on `train` and gives the weights their first values. `device` is a plain device;
    /// clips shorter than a crop are left out, and `held_out` may be without clips, then nothing is evaluated.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Core`] for bad settings, tokens outside their codebooks, or no clip as long as a
    /// crop.
    pub fn new(config: FineTrainingConfig, train: S, held_out: S, seed: u64, device: &Device) -> Result<Self> {
        config.validate()?;
        let longest = (0..train.clips()).map(|clip| train.frames(clip)).max().unwrap_or(0);
        let train = Crops::new(train, config.crop_frames).ok_or_else(|| Error::Config {
            field: "crop_frames".into(),
            expected: format!("at most the longest clip, {longest} frames"),
            got: config.crop_frames.to_string(),
        })?;
        let held_out = Crops::new(held_out, config.crop_frames);
        let unigram_bits = unigram_bits(&config, &train, seed)?;
        let device = device.clone().autodiff();
        let model = reinitialise(config.model.init(&device)?, Key::new(seed, Purpose::Init));
        let table = ParamTable::collect(&model);
        let optimiser = AdamW::new(config.optimiser.clone(), table.values().len());
        Ok(Self { config, seed, train, held_out, unigram_bits, model, table, optimiser })
    }

    /// Before the first step: the embeddings of the codes, which are also what their logits are products with, begin as
    /// a random projection of the codec's codebooks, one a level. Predicting a code then begins as predicting where the
    /// latent lies.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of levels or entries than the model's.
    pub fn with_codebooks(mut self, codebooks: &[Vec<f32>]) -> Result<Self> {
        let model = &self.config.model;
        let entry_count = codebooks.first().map_or(0, Vec::len);
        let same = codebooks.iter().all(|codebook| codebook.len() == entry_count);
        if codebooks.len() != model.quantisers || !same || !entry_count.is_multiple_of(model.entries) {
            let expected = format!("{} codebooks of {} entries", model.quantisers, model.entries);
            let got = format!("{:?} numbers", codebooks.iter().map(Vec::len).collect::<Vec<_>>());
            return Err(Error::config("codebooks", expected, got));
        }
        let (dim, width) = (entry_count / model.entries, model.width);
        let Some(range) =
            self.table.entries().iter().find(|entry| entry.name == "embedding").map(musicrl_core::params::Entry::range)
        else {
            return Ok(self);
        };
        let key = Key::new(self.seed, Purpose::Init).step(1);
        for (level, codebook) in codebooks.iter().enumerate() {
            let projected = project(codebook, dim, width, key);
            let rms = root_mean_square(&projected);
            if rms > 0.0 {
                let first = range.start + model.level_offset(level) * width;
                write_rows(&mut self.table.values_mut()[first..range.end], &projected, CODE_RMS / rms);
            }
        }
        self.model = self.table.apply(self.model.clone())?;
        Ok(self)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &FineTrainingConfig {
        &self.config
    }

    /// The model as it is now, on the plain device.
    #[must_use]
    pub fn model(&self) -> FineModel {
        self.model.valid()
    }
}

impl<S: TokenSource> Training for FineTraining<S> {
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let config = &self.config;
        let clips = self.train.clips(config, self.seed, step, 0..config.batch_crops)?;
        let key = |clip| Key::new(self.seed, Purpose::Mask).step(step).clip(clip as u64);
        let keys: Vec<Key> = (0..clips.len()).map(key).collect();
        let batch = FineBatch::for_training(&config.model, &clips, &keys)?;
        let asked: usize = batch.asked_per_level().iter().sum();
        let loss = self.model.negative_log_likelihood(&batch).mean();
        let grads = loss.backward();
        let update = self.optimiser.update(&mut self.table, &gradients(&self.model, &grads))?;
        self.model = self.table.apply(self.model.clone())?;
        let mut metrics = Metrics::default();
        metrics.push("loss", f64::from(loss.into_scalar::<f32>()));
        metrics.push("asked", asked as f64);
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
            expected: "weights of the fine stage".into(),
            got: "no such file".into(),
        })?;
        let table = self.table.read_safetensors(bytes)?;
        self.optimiser.load(OPTIMISER, files)?;
        self.model = table.apply(self.model.clone())?;
        self.table = table;
        Ok(())
    }

    /// On held-out crops, the same at every evaluation. For each generated level q, `bits_level_q`: bits a token given
    /// the semantic tokens and all coarser levels, with level q and above hidden as a whole; and `unigram_level_q`:
    /// bits a token under the frequencies of the training crops. `held_out_bits` and `unigram_bits` are their means
    /// over the levels.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        let Some(crops) = &self.held_out else { return Ok(metrics) };
        let config = &self.config;
        let model = self.model.valid();
        let levels = config.model.fine_levels();
        let mut bits = vec![(0.0, 0.0, 0_usize); config.model.quantisers];
        for first in (0..config.evaluation_crops).step_by(config.batch_crops) {
            let range = first..config.evaluation_crops.min(first + config.batch_crops);
            let clips = crops.clips(config, self.seed, EVALUATION, range)?;
            for level in levels.clone() {
                let nats = floats(model.negative_log_likelihood(&FineBatch::for_level(&config.model, &clips, level)?));
                let (model_bits, unigram, count) = &mut bits[level];
                *model_bits += nats.iter().map(|nats| f64::from(*nats)).sum::<f64>() / std::f64::consts::LN_2;
                *count += nats.len();
                for clip in &clips {
                    let ids = clip.codes().iter().skip(level).step_by(config.model.quantisers);
                    *unigram += ids.map(|id| self.unigram_bits[level][*id as usize]).sum::<f64>();
                }
            }
        }
        let mean = |pick: fn(&(f64, f64, usize)) -> f64| {
            bits[levels.clone()].iter().map(|level| pick(level) / level.2.max(1) as f64).sum::<f64>()
                / levels.len().max(1) as f64
        };
        metrics.push("held_out_bits", mean(|level| level.0));
        metrics.push("unigram_bits", mean(|level| level.1));
        for level in levels {
            let (model_bits, unigram, count) = bits[level];
            metrics.push(format!("bits_level_{level}"), model_bits / count.max(1) as f64);
            metrics.push(format!("unigram_level_{level}"), unigram / count.max(1) as f64);
        }
        Ok(metrics)
    }
}

fn unigram_bits<S: TokenSource>(config: &FineTrainingConfig, train: &Crops<S>, seed: u64) -> Result<Vec<Vec<f64>>> {
    let levels = config.model.quantisers;
    let mut counts = vec![vec![1_u64; config.model.entries]; levels];
    for clip in train.clips(config, seed, UNIGRAM, 0..UNIGRAM_CROPS.min(4 * train.starts()))? {
        for (at, id) in clip.codes().iter().enumerate() {
            counts[at % levels][*id as usize] += 1;
        }
    }
    let bits = |counts: Vec<u64>| {
        let total = counts.iter().sum::<u64>() as f64;
        counts.into_iter().map(|count| (total / count as f64).log2()).collect()
    };
    Ok(counts.into_iter().map(bits).collect())
}

/// Random crops of one length, every place of the source as probable as any other.
struct Crops<S> {
    source: S,
    frames: usize,
    /// For each clip the number of crops in it and in those before it.
    ends: Vec<u64>,
}

impl<S: TokenSource> Crops<S> {
    /// `None` when no clip is long enough.
    fn new(source: S, frames: usize) -> Option<Self> {
        let mut total = 0;
        let mut ends = Vec::with_capacity(source.clips());
        for clip in 0..source.clips() {
            total += (source.frames(clip) + 1).saturating_sub(frames) as u64;
            ends.push(total);
        }
        (total > 0).then_some(Self { source, frames, ends })
    }

    fn starts(&self) -> usize {
        self.ends.last().map_or(0, |total| usize::try_from(*total).unwrap_or(usize::MAX / 4))
    }

    fn clips(
        &self,
        config: &FineTrainingConfig,
        seed: u64,
        step: u64,
        crops: core::ops::Range<usize>,
    ) -> Result<Vec<FineClip>> {
        let total = self.ends.last().copied().unwrap_or(0);
        crops
            .map(|crop| {
                let uniform = Key::new(seed, Purpose::Batch).step(step).clip(crop as u64).uniform(0);
                let at = ((uniform * total as f64) as u64).min(total.saturating_sub(1));
                let clip = self.ends.partition_point(|end| *end <= at);
                let before = clip.checked_sub(1).map_or(0, |clip| self.ends[clip]);
                let tokens = self.source.crop(clip, (at - before) as usize, self.frames)?;
                Ok(FineClip::new(&config.model, tokens.semantic, tokens.codes)?)
            })
            .collect()
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).try_to_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        optim::AdamWConfig,
        train::fine::{MemoryTokens, TokenCrop},
    };
    use musicrl_codec::fine::FineConfig;

    fn config() -> FineTrainingConfig {
        FineTrainingConfig {
            model: FineConfig {
                semantic_entries: 6,
                entries: 8,
                quantisers: 4,
                coarse_levels: 1,
                passes: vec![2, 1, 1],
                width: 16,
                heads: 2,
                ff_width: 32,
                layers: 1,
                window_frames: 24,
                overlap_frames: 4,
                ..FineConfig::base()
            },
            batch_crops: 8,
            crop_frames: 10,
            evaluation_crops: 8,
            optimiser: AdamWConfig { learning_rate: 1e-2, warmup_steps: 10, ..AdamWConfig::default() },
            ..FineTrainingConfig::base()
        }
    }

    /// Level 1 follows from the coarse level, level 2 from the semantic token, level 3 is noise.
    fn tokens(clips: u64, seed: u64) -> MemoryTokens {
        let clip = |clip| {
            let mut stream = Key::new(seed, Purpose::Test).clip(clip).stream();
            let semantic: Vec<u32> = (0..15).map(|_| stream.below(6) as u32).collect();
            let codes = (0..30).flat_map(|frame| {
                let coarse = stream.below(8) as u32;
                [coarse, (coarse * 3 + 1) % 8, 7 - semantic[frame / 2], stream.below(8) as u32]
            });
            let codes = codes.collect();
            TokenCrop { semantic, codes }
        };
        MemoryTokens::new((0..clips).map(clip).collect(), 8).unwrap()
    }

    fn training() -> FineTraining<MemoryTokens> {
        FineTraining::new(config(), tokens(20, 1), tokens(5, 2), 3, &Device::flex()).unwrap()
    }

    #[test]
    fn learns_what_can_be_known_and_no_more() {
        let mut training = training();
        for step in 0..250 {
            training.step(step).unwrap();
        }
        let metrics = training.evaluate(250).unwrap();
        let bits = |name: &str| metrics.get(name).unwrap();
        assert!(bits("bits_level_1") < 0.3, "{metrics:?}");
        assert!(bits("bits_level_2") < 0.3, "{metrics:?}");
        assert!(bits("bits_level_3") > 2.9, "{metrics:?}");
        for (level, entropy_bits) in [(1, 3.0), (2, 6.0_f64.log2()), (3, 3.0)] {
            assert!((bits(&format!("unigram_level_{level}")) - entropy_bits).abs() < 0.2, "{metrics:?}");
        }
        let mean = (1..4).map(|level| bits(&format!("bits_level_{level}"))).sum::<f64>() / 3.0;
        assert!((bits("held_out_bits") - mean).abs() < 1e-9);

        // And generation uses it.
        let crop = tokens(1, 9).crop(0, 0, 15).unwrap();
        let truth = FineClip::new(&config().model, crop.semantic.clone(), crop.codes.clone()).unwrap();
        let coarse: Vec<u32> = crop.codes.iter().step_by(4).copied().collect();
        let given = FineClip::from_coarse(&config().model, crop.semantic, &coarse).unwrap();
        let filled = training.model().fill(vec![given], &[Key::new(0, Purpose::Mask)]).unwrap();
        let right = |level: usize| {
            let pairs = filled[0].codes().iter().zip(truth.codes()).skip(level).step_by(4);
            pairs.filter(|(a, b)| a == b).count()
        };
        assert_eq!(right(0), 30);
        assert!(right(1) >= 24 && right(2) >= 24, "{} and {} of 30", right(1), right(2));
    }

    #[test]
    fn a_restored_training_goes_on_with_the_same_bytes() {
        let mut straight = training();
        for step in 0..3 {
            straight.step(step).unwrap();
        }
        let saved = straight.state().unwrap();
        let mut resumed = training();
        resumed.step(7).unwrap();
        resumed.restore(&saved).unwrap();
        assert_eq!(resumed.state().unwrap(), saved);
        for step in 3..6 {
            assert_eq!(straight.step(step).unwrap(), resumed.step(step).unwrap());
        }
        assert_eq!(straight.state().unwrap(), resumed.state().unwrap());
        assert_eq!(straight.evaluate(6).unwrap(), resumed.evaluate(6).unwrap());
        for name in [WEIGHTS, OPTIMISER] {
            let mut cut = saved.clone();
            cut.remove(name);
            assert!(matches!(resumed.restore(&cut), Err(Error::File { .. })), "{name}");
        }
    }

    #[test]
    fn codes_begin_where_their_codebooks_lie_and_nothing_else_moves() {
        let mut random = Key::new(5, Purpose::Test).stream();
        let mut codebooks: Vec<Vec<f32>> =
            (0..4).map(|_| (0..8 * 3).map(|_| random.normal() as f32).collect()).collect();
        // A level whose codebook is zero says nothing.
        codebooks[2].fill(0.0);
        let before = training().table;
        let after = training().with_codebooks(&codebooks).unwrap();
        assert_eq!(ParamTable::collect(&after.model), after.table);
        let (model, width) = (&config().model, config().model.width);
        let embedding = before.entries().iter().find(|entry| entry.name == "embedding").unwrap().range();
        assert_eq!(before.values()[embedding.end..], after.table.values()[embedding.end..]);
        let rows = |table: &ParamTable| -> Vec<Vec<f32>> {
            table.values()[embedding.clone()].chunks(width).map(<[f32]>::to_vec).collect()
        };
        let (old, new) = (rows(&before), rows(&after.table));
        for (at, (old, new)) in old.iter().zip(&new).enumerate() {
            let code = [0, 1, 3].iter().any(|level| {
                let first = model.level_offset(*level);
                (first..first + model.entries).contains(&at)
            });
            assert_eq!(old != new, code, "row {at}");
        }
        assert!(training().with_codebooks(&codebooks[..3]).is_err());
        codebooks[1].pop();
        assert!(training().with_codebooks(&codebooks).is_err());
    }

    #[test]
    fn bad_settings_and_sources_are_refused() {
        let device = Device::flex();
        let new = |config, train| FineTraining::new(config, train, MemoryTokens::default(), 0, &device);
        assert!(new(config(), MemoryTokens::default()).is_err());
        assert!(new(FineTrainingConfig { crop_frames: 16, ..config() }, tokens(2, 1)).is_err());
        assert!(new(FineTrainingConfig { crop_frames: 13, ..config() }, tokens(2, 1)).is_err());
        assert!(new(FineTrainingConfig { batch_crops: 0, ..config() }, tokens(2, 1)).is_err());
        let outside = TokenCrop { semantic: vec![0; 15], codes: vec![8; 120] };
        assert!(new(config(), MemoryTokens::new(vec![outside], 8).unwrap()).is_err());
        assert!(MemoryTokens::new(vec![TokenCrop { semantic: vec![0], codes: vec![0; 7] }], 8).is_err());
        assert_eq!(new(config(), tokens(2, 1)).unwrap().evaluate(0).unwrap(), Metrics::default());
        assert!(tokens(1, 1).crop(0, 10, 6).is_err() && tokens(1, 1).crop(1, 0, 1).is_err());
    }
}
