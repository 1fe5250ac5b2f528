//! Training of the neural codec: reconstruction, commitment, and after some steps an adversary.

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor, TensorData},
};
use musicrl_codec::neural::{
    CodecConfig, Discriminator, DiscriminatorConfig, NeuralCodec, SpectralLoss, SpectralLossConfig,
    discriminator::{judge_loss, persuasion_loss},
};
use musicrl_core::{
    params::{ParamTable, Storage, gradients},
    random::{Key, Purpose},
};
use serde::{Deserialize, Serialize};

use super::crops::Crops;
use crate::{
    Error, Result,
    optim::{AdamW, AdamWConfig, Update},
    training::{Files, Metrics, Training},
};

/// Settings of the adversarial part of [`CodecTraining`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdversaryConfig {
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
    /// Its optimiser.
    pub optimiser: AdamWConfig,
    /// Step from which it is trained and heard.
    pub from_step: u64,
    /// Weight of its verdict in the codec's loss.
    pub verdict: f64,
    /// Weight of the distance of its features in the codec's loss.
    pub features: f64,
}

impl Default for AdversaryConfig {
    fn default() -> Self {
        Self {
            discriminator: DiscriminatorConfig::default(),
            optimiser: AdamWConfig { learning_rate: 3e-4, beta1: 0.5, beta2: 0.9, ..AdamWConfig::default() },
            from_step: 0,
            verdict: 0.1,
            features: 0.2,
        }
    }
}

/// Settings of [`CodecTraining`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodecTrainingConfig {
    /// The codec.
    pub codec: CodecConfig,
    /// What reconstructions are compared by.
    pub loss: SpectralLossConfig,
    /// Weight of the commitment of the latent to its codebook entries.
    pub commitment: f64,
    /// Clips a step.
    pub batch_clips: usize,
    /// Frames of each clip.
    pub crop_frames: usize,
    /// Step from which latents are quantised. Before it the networks learn to reconstruct from the latent itself: the
    /// codebooks then start on latents that mean something, not on those of a fresh encoder that moves away at once.
    pub quantise_from_step: u64,
    /// Clips on which the codebooks start by k-means at that step.
    pub start_clips: usize,
    /// The codec's optimiser.
    pub optimiser: AdamWConfig,
    /// The adversary, if any.
    pub adversary: Option<AdversaryConfig>,
}

impl CodecTrainingConfig {
    /// The shipped base: some ten minutes on two cores.
    #[must_use]
    pub fn base(steps: u64) -> Self {
        Self {
            codec: CodecConfig::base(),
            loss: SpectralLossConfig::default(),
            commitment: 0.25,
            batch_clips: 8,
            crop_frames: 24,
            quantise_from_step: steps / 10,
            start_clips: 96,
            optimiser: AdamWConfig { learning_rate: 2e-3, decay_steps: steps, ..AdamWConfig::default() },
            adversary: None,
        }
    }

    /// Real recordings on two cores.
    #[must_use]
    pub fn small(steps: u64) -> Self {
        Self { codec: CodecConfig::small(), crop_frames: 32, start_clips: 96, ..Self::base(steps) }
    }

    /// The published sizes, for machines with an accelerator.
    #[must_use]
    pub fn published(steps: u64) -> Self {
        Self {
            codec: CodecConfig::published(),
            batch_clips: 32,
            crop_frames: 50,
            optimiser: AdamWConfig { learning_rate: 3e-4, decay_steps: steps, ..AdamWConfig::default() },
            adversary: Some(AdversaryConfig { from_step: steps / 10, ..AdversaryConfig::default() }),
            ..Self::base(steps)
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.codec.validate()?;
        self.loss.validate()?;
        self.optimiser.validate("codec.optimiser")?;
        let counts =
            [("batch_clips", self.batch_clips), ("crop_frames", self.crop_frames), ("start_clips", self.start_clips)];
        for (field, got) in counts {
            if !(1..=1 << 16).contains(&got) {
                let expected = "in 1..=65536".into();
                return Err(Error::Config { field: field.into(), expected, got: got.to_string() });
            }
        }
        // A codec that was never quantised in training has no tokens worth the name.
        let steps = self.optimiser.decay_steps;
        if steps > 0 && self.quantise_from_step >= steps {
            let (expected, got) = (format!("before the last of {steps} steps"), self.quantise_from_step.to_string());
            return Err(Error::Config { field: "quantise_from_step".into(), expected, got });
        }
        let mut weights = vec![("commitment", self.commitment)];
        if let Some(adversary) = &self.adversary {
            adversary.discriminator.validate()?;
            adversary.optimiser.validate("adversary.optimiser")?;
            weights.extend([("adversary.verdict", adversary.verdict), ("adversary.features", adversary.features)]);
        }
        for (field, got) in weights {
            if !(0.0..=1e6).contains(&got) {
                let expected = "in [0, 1e6]".into();
                return Err(Error::Config { field: field.into(), expected, got: got.to_string() });
            }
        }
        Ok(())
    }
}

impl Default for CodecTrainingConfig {
    fn default() -> Self {
        Self::base(6_000)
    }
}

struct Adversary {
    config: AdversaryConfig,
    model: Discriminator,
    optimiser: AdamW,
}

/// The training loop of a [`NeuralCodec`].
pub struct CodecTraining<'a> {
    config: CodecTrainingConfig,
    crops: &'a dyn Crops,
    held_out: Vec<f32>,
    seed: u64,
    device: Device,
    codec: NeuralCodec,
    loss: SpectralLoss,
    optimiser: AdamW,
    adversary: Option<Adversary>,
}

const CODEC_FILE: &str = "codec.safetensors";
const CODEC_OPTIMISER: &str = "codec.optimiser";
const ADVERSARY_FILE: &str = "adversary.safetensors";
const ADVERSARY_OPTIMISER: &str = "adversary.optimiser";

impl<'a> CodecTraining<'a> {
    /// A fresh codec on `device` (which need not differentiate yet), trained on `crops` and measured on `held_out`
    /// pieces (which may be none; each is cut or filled to the length of a training clip).
    ///
    /// # Errors
    /// When a setting breaks a rule.
    pub fn new(
        config: CodecTrainingConfig,
        crops: &'a dyn Crops,
        held_out: &[Vec<f32>],
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let device = device.clone().inner().autodiff();
        let codec = config.codec.init(&device, Key::new(seed, Purpose::Init))?;
        let loss = config.loss.init(config.codec.sample_rate_hz, &device)?;
        let count = |table: ParamTable| table.values().len();
        let optimiser = AdamW::new(config.optimiser.clone(), count(ParamTable::collect(&codec)));
        let adversary = match &config.adversary {
            None => None,
            Some(adversary) => {
                let model = adversary.discriminator.init(&device, Key::new(seed, Purpose::Init).step(1))?;
                let optimiser = AdamW::new(adversary.optimiser.clone(), count(ParamTable::collect(&model)));
                Some(Adversary { config: adversary.clone(), model, optimiser })
            }
        };
        let length = config.crop_frames * config.codec.hop();
        let fill =
            |piece: &Vec<f32>| piece.iter().copied().chain(std::iter::repeat(0.0)).take(length).collect::<Vec<_>>();
        let held_out = held_out.iter().flat_map(fill).collect();
        Ok(Self { config, crops, held_out, seed, device, codec, loss, optimiser, adversary })
    }

    /// The codec as it is now, without gradients.
    #[must_use]
    pub fn codec(&self) -> NeuralCodec {
        self.codec.valid()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &CodecTrainingConfig {
        &self.config
    }

    fn length(&self) -> usize {
        self.config.crop_frames * self.config.codec.hop()
    }

    /// # Shapes
    /// - result: [clips, 1, samples]
    fn batch(&self, step: u64, first: u64, clips: usize) -> Result<Tensor<3>> {
        let length = self.length();
        let key = Key::new(self.seed, Purpose::Batch).step(step);
        let mut values = Vec::with_capacity(clips * length);
        for clip in 0..clips as u64 {
            let crop = self.crops.crop(key.clip(first + clip), length)?;
            if crop.len() != length {
                let (expected, got) = (format!("[{length}]"), format!("[{}]", crop.len()));
                return Err(musicrl_core::Error::Shape { what: "a crop", expected, got }.into());
            }
            values.extend(crop);
        }
        Ok(Tensor::from_data(TensorData::new(values, [clips, 1, length]), &self.device))
    }

    /// Gives the codebooks their first entries from what the fresh encoder makes of some clips.
    fn start_codebooks(&mut self, step: u64) -> Result<()> {
        let codec = self.codec.valid();
        let mut latents = Vec::new();
        let mut first = 0;
        while first < self.config.start_clips {
            let clips = self.config.batch_clips.min(self.config.start_clips - first);
            // Clips behind those of the first batch: the start must not depend on the batch size.
            let audio = self.batch(step, (1 << 32) + first as u64, clips)?;
            latents.push(codec.latent(audio.inner())?);
            first += clips;
        }
        let latent = Tensor::from_inner(Tensor::cat(latents, 0));
        self.codec.quantiser_mut().start(latent, 8, Key::new(self.seed, Purpose::Quantiser));
        Ok(())
    }

    fn train_adversary(&mut self, real: &Tensor<3>, made: &Tensor<3>) -> Result<Option<(f64, Update)>> {
        let Some(adversary) = &mut self.adversary else { return Ok(None) };
        let opinions = (adversary.model.forward(real.clone()), adversary.model.forward(made.clone().detach()));
        let loss = judge_loss(&opinions.0, &opinions.1, &self.device);
        let value = scalar(&loss);
        let grads = gradients(&adversary.model, &loss.backward());
        let update = descend(&mut adversary.model, &mut adversary.optimiser, &grads)?;
        Ok(Some((value, update)))
    }
}

fn descend<M: Module>(model: &mut M, optimiser: &mut AdamW, grads: &[f32]) -> Result<Update> {
    let mut table = ParamTable::collect(model);
    let update = optimiser.update(&mut table, grads)?;
    if !update.skipped {
        *model = table.apply(model.clone())?;
    }
    Ok(update)
}

fn scalar(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().into_scalar::<f32>())
}

impl Training for CodecTraining<'_> {
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let quantising = step >= self.config.quantise_from_step;
        if step == self.config.quantise_from_step {
            self.start_codebooks(step)?;
        }
        let clips = self.config.batch_clips;
        let audio = self.batch(step, 0, clips)?;
        let key = Key::new(self.seed, Purpose::Quantiser).step(step + 1);
        let quantiser = self.codec.quantiser();
        let active = quantiser.drop_levels(key, 0, clips);
        let latent = self.codec.latent(audio.clone())?;
        let quantised = quantising.then(|| self.codec.quantise(latent.clone(), Some(&active)));
        let made = self.codec.synthesise(quantised.as_ref().map_or(latent, |quantised| quantised.latent.clone()));
        let distances = self.loss.forward(made.clone(), audio.clone());
        let mut total = distances.total.clone();
        if let Some(quantised) = &quantised {
            total = total + quantised.commitment.clone() * self.config.commitment;
        }
        let mut metrics = Metrics::default();
        let heard = self.adversary.as_ref().is_some_and(|adversary| step >= adversary.config.from_step);
        if heard && let Some((loss, _)) = self.train_adversary(&audio, &made)? {
            metrics.push("adversary_loss", loss);
        }
        if heard && let Some(adversary) = &self.adversary {
            let opinions = (adversary.model.forward(audio), adversary.model.forward(made));
            let (verdict, features) = persuasion_loss(&opinions.0, &opinions.1, &self.device);
            metrics.push("verdict", -scalar(&verdict));
            metrics.push("feature_distance", scalar(&features));
            total = total + verdict * adversary.config.verdict + features * adversary.config.features;
        }
        metrics.push("loss", scalar(&total));
        metrics.push("log_mel_distance", scalar(&distances.log_mel));
        metrics.push("wave_distance", scalar(&distances.wave));
        metrics.push("commitment", quantised.as_ref().map_or(0.0, |quantised| scalar(&quantised.commitment)));
        let grads = gradients(&self.codec, &total.backward());
        let update = descend(&mut self.codec, &mut self.optimiser, &grads)?;
        let mut revived = 0;
        if let Some(quantised) = quantised.filter(|_| !update.skipped) {
            // Keyed behind the clips, which drop_levels uses.
            revived = self.codec.quantiser_mut().follow(&quantised, key.clip(1 << 32));
        }
        metrics.push("revived_entries", revived as f64);
        metrics.push("grad_norm", update.grad_norm);
        metrics.push("learning_rate", update.learning_rate);
        metrics.push("skipped_updates", self.optimiser.skipped() as f64);
        Ok(metrics)
    }

    fn state(&self) -> Result<Files> {
        let mut files = Files::new();
        files.insert(CODEC_FILE.into(), ParamTable::collect(&self.codec).to_safetensors(Storage::F32)?);
        self.optimiser.save(CODEC_OPTIMISER, &mut files);
        if let Some(adversary) = &self.adversary {
            let table = ParamTable::collect(&adversary.model);
            files.insert(ADVERSARY_FILE.into(), table.to_safetensors(Storage::F32)?);
            adversary.optimiser.save(ADVERSARY_OPTIMISER, &mut files);
        }
        Ok(files)
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        self.codec = read(&self.codec, CODEC_FILE, files)?;
        self.optimiser.load(CODEC_OPTIMISER, files)?;
        if let Some(adversary) = &mut self.adversary {
            adversary.model = read(&adversary.model, ADVERSARY_FILE, files)?;
            adversary.optimiser.load(ADVERSARY_OPTIMISER, files)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        let (length, levels) = (self.length(), self.codec.levels());
        let clips = self.held_out.len() / length;
        if clips == 0 {
            return Ok(metrics);
        }
        let (codec, loss) = (self.codec.valid(), self.loss.valid());
        let home = self.device.clone().inner();
        let audio = Tensor::<3>::from_data(TensorData::new(self.held_out.clone(), [clips, 1, length]), &home);
        let codes = codec.encode(audio.clone())?;
        for count in 1..=levels {
            let made = codec.decode(codes.clone().narrow(2, 0, count))?;
            metrics
                .push(format!("held_out_log_mel_{count}"), scalar(&loss.forward(made.clone(), audio.clone()).log_mel));
            metrics.push(format!("held_out_si_sdr_db_{count}"), mean_si_sdr_db(made, &self.held_out, length));
        }
        for (level, seen) in codec.level_use(codes).into_iter().enumerate() {
            metrics.push(format!("entries_used_{}", level + 1), seen.used);
            metrics.push(format!("perplexity_{}", level + 1), seen.perplexity);
        }
        Ok(metrics)
    }
}

fn read<M: Module>(model: &M, name: &str, files: &Files) -> Result<M> {
    let bytes = files.get(name).ok_or_else(|| Error::File {
        path: name.into(),
        expected: "weights".into(),
        got: "no such file".into(),
    })?;
    Ok(ParamTable::collect(model).read_safetensors(bytes)?.apply(model.clone())?)
}

/// Mean over clips of the scale-invariant signal-to-distortion ratio (Le Roux et al., "SDR: half-baked or well done?",
/// 2019), silent clips left out; 0 when all are.
fn mean_si_sdr_db(made: Tensor<3>, target: &[f32], length: usize) -> f64 {
    let made = made.into_data().convert_dtype(DType::F32).try_to_vec::<f32>().unwrap_or_default();
    let ratios: Vec<f64> = made
        .chunks_exact(length)
        .zip(target.chunks_exact(length))
        .filter_map(|(made, target)| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
            let energy = dot(target, target);
            let share = dot(made, target) / energy;
            let signal = share * share * energy;
            // Never above 120 dB: a perfect copy must stay a number.
            let noise = (dot(made, made) - signal).max(1e-12 * signal);
            (energy > 1e-9 && signal > 0.0).then(|| 10.0 * (signal / noise).log10())
        })
        .collect();
    ratios.iter().sum::<f64>() / ratios.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use musicrl_codec::neural::QuantiserConfig;

    use super::*;

    fn tones(key: Key, samples: usize) -> Vec<f32> {
        let mut stream = key.stream();
        let (pitch, phase) = (stream.between(0.05, 0.4), stream.between(0.0, 6.0));
        (0..samples).map(|n| (0.3 * (pitch * n as f64 + phase).sin()) as f32).collect()
    }

    fn tiny(adversary: bool) -> CodecTrainingConfig {
        let base = CodecTrainingConfig::base(100);
        CodecTrainingConfig {
            codec: CodecConfig {
                strides: vec![16, 2],
                base_channels: 16,
                latent_width: 8,
                shortcut_bands: 6,
                quantiser: QuantiserConfig { levels: 3, entries: 16, ..base.codec.quantiser.clone() },
                ..base.codec.clone()
            },
            loss: SpectralLossConfig { windows: vec![256, 64], mel_bands: 20, ..SpectralLossConfig::default() },
            batch_clips: 4,
            crop_frames: 16,
            quantise_from_step: 2,
            start_clips: 8,
            adversary: adversary.then(|| AdversaryConfig {
                discriminator: DiscriminatorConfig { windows: vec![64], channels: 2, dilations: vec![1] },
                from_step: 2,
                ..AdversaryConfig::default()
            }),
            ..base
        }
    }

    fn held_out() -> Vec<Vec<f32>> {
        (0..3).map(|clip| tones(Key::new(9, Purpose::Test).clip(clip), 600)).collect()
    }

    #[test]
    fn a_restored_run_ends_with_the_same_bytes() {
        let run = |cut: u64| {
            let mut training = CodecTraining::new(tiny(true), &tones, &held_out(), 5, &Device::flex()).unwrap();
            for step in 0..5 {
                if step == cut {
                    let files = training.state().unwrap();
                    training = CodecTraining::new(tiny(true), &tones, &[], 77, &Device::flex()).unwrap();
                    training.seed = 5;
                    training.restore(&files).unwrap();
                }
                training.step(step).unwrap();
            }
            training.state().unwrap()
        };
        let whole = run(99);
        assert_eq!(whole.len(), 4);
        for cut in [1, 3] {
            assert_eq!(run(cut), whole, "cut at {cut}");
        }
    }

    #[test]
    fn it_learns_tones() {
        let mut training = CodecTraining::new(tiny(false), &tones, &held_out(), 5, &Device::flex()).unwrap();
        training.step(0).unwrap();
        let before = training.evaluate(1).unwrap().get("held_out_log_mel_3").unwrap();
        for step in 1..120 {
            training.step(step).unwrap();
        }
        let metrics = training.evaluate(120).unwrap();
        let after = metrics.get("held_out_log_mel_3").unwrap();
        assert!(after < 0.7 * before, "{before} to {after}");
        assert!(metrics.get("held_out_si_sdr_db_1").unwrap().is_finite());
        assert!((0.0..=1.0).contains(&metrics.get("entries_used_1").unwrap()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut training = CodecTraining::new(tiny(false), &tones, &[], 5, &Device::flex()).unwrap();
        assert_eq!(training.evaluate(0).unwrap(), Metrics::default());
        let mut files = training.state().unwrap();
        files.remove(CODEC_OPTIMISER);
        assert!(matches!(training.restore(&files), Err(Error::File { .. })));
        let short = |_: Key, _: usize| vec![0.0];
        let mut training = CodecTraining::new(tiny(false), &short, &[], 5, &Device::flex()).unwrap();
        assert!(training.step(0).is_err());
        let config = CodecTrainingConfig { batch_clips: 0, ..tiny(false) };
        assert!(matches!(
            CodecTraining::new(config, &tones, &[], 5, &Device::flex()),
            Err(Error::Config { field, .. }) if field == "batch_clips"
        ));
    }

    #[test]
    fn silence_does_not_break_a_step() {
        let silence = |_: Key, samples: usize| vec![0.0; samples];
        let mut training = CodecTraining::new(tiny(true), &silence, &[], 5, &Device::flex()).unwrap();
        for step in 0..4 {
            let metrics = training.step(step).unwrap();
            assert!(metrics.get("loss").unwrap().is_finite());
            assert_eq!(metrics.get("skipped_updates"), Some(0.0));
        }
    }

    #[test]
    fn si_sdr_of_a_known_error() {
        let target = [1.0, 1.0, 1.0, 1.0];
        let made = Tensor::<3>::from_data([[[2.0, 2.0, 2.2, 1.8]]], &Device::flex());
        // The error is orthogonal: 16 to 0.08.
        assert!((mean_si_sdr_db(made, &target, 4) - 10.0 * 200.0_f64.log10()).abs() < 1e-3);
    }
}
