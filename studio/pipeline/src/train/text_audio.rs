//! Training of the joint text-audio embedding on captioned clips.
//!
//! A step embeds one window from each of a batch of clips and one caption of each clip, and takes a step down the
//! contrastive loss. Features are computed once a clip; what a step does to them (place of the window, gain, noise,
//! choice and thinning of the caption, sound through a codec or without) comes from the keyed generator. Where captions are
//! read by a frozen sentence encoder, their vectors are computed once, before the first step.

mod batch;
mod cache;
mod captions;
mod config;
mod pairs;
mod retrieval;

use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use musicrl_core::{
    params::{ParamTable, Storage, gradients},
    random::{Key, Purpose},
};
use musicrl_rewards::{
    SentenceEncoder, TextAudioConfig, TextAudioModel, contrastive::Positives, front_end::Features, model::Caption,
};

use crate::{
    Error, Result,
    corpus::spread,
    optim::AdamW,
    training::{Files, Metrics, Training},
};

use cache::{FeatureCache, cached_features};
use captions::Captions;

pub use batch::Facts;
pub use config::TextAudioTrainingConfig;
pub use pairs::{CorpusPairs, EtudePairs, MemoryPairs, Pair, Pairs};
pub use retrieval::{Retrieval, retrieval};

const WEIGHTS: &str = "text_audio.safetensors";
const OPTIMISER: &str = "text_audio.optimiser";
/// Held-out pairs that retrieval is measured among.
const HELD_OUT_PAIRS: usize = 64;
/// Training clips that a passing quantiser is fitted on for an evaluation.
const EVALUATED_CLIPS: usize = 256;

/// Audio through the codec and back, at the corpus' sample rate. A pure function of its input.
pub type RoundTrip = Box<dyn Fn(&[f32]) -> Vec<f32> + Send>;

/// The training loop.
pub struct TextAudioTraining {
    config: TextAudioTrainingConfig,
    seed: u64,
    device: Device,
    model: TextAudioModel,
    params: ParamTable,
    optimiser: AdamW,
    train: Box<dyn Pairs>,
    held_out: Box<dyn Pairs>,
    facts: Facts,
    held_out_facts: Facts,
    round_trip: Option<RoundTrip>,
    captions: Captions,
    cache: FeatureCache,
    held_out_cache: FeatureCache,
}

impl TextAudioTraining {
    /// A new model on `device` (made an autodiff device here), with first values by `seed`.
    ///
    /// # Errors
    /// [`Error::Config`] for settings out of range or fewer than two training pairs, and for words that are to be left out
    /// of captions that are read as sentences.
    pub fn new(
        model: &TextAudioConfig,
        config: TextAudioTrainingConfig,
        train: Box<dyn Pairs>,
        held_out: Box<dyn Pairs>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate("text_audio")?;
        if train.len() < 2 {
            return Err(Error::Config {
                field: "corpus".into(),
                expected: "at least two captioned clips to train on".into(),
                got: train.len().to_string(),
            });
        }
        if model.sentence.is_some() && config.word_drop > 0.0 {
            let expected = "0: the vector of a sentence is computed once, with all its words";
            return Err(Error::config("text_audio.word_drop", expected, config.word_drop));
        }
        let device = if device.is_autodiff() { device.clone() } else { device.clone().autodiff() };
        let model = model.init_seeded(seed, &device)?;
        let params = ParamTable::collect(&model);
        let optimiser = AdamW::new(config.optimiser.clone(), params.values().len());
        Ok(Self {
            facts: Facts::new(&*train),
            held_out_facts: Facts::new(&*held_out),
            config,
            seed,
            device,
            model,
            params,
            optimiser,
            train,
            held_out,
            round_trip: None,
            captions: Captions::default(),
            cache: FeatureCache::default(),
            held_out_cache: FeatureCache::default(),
        })
    }

    /// Also trains on audio that has been through a codec, as everything that will be judged has.
    #[must_use]
    pub fn with_round_trip(self, round_trip: RoundTrip) -> Self {
        Self { round_trip: Some(round_trip), ..self }
    }

    /// Reads captions by a frozen encoder, whose vectors of all captions are computed here, and centres the tower on those
    /// that are learned from. `progress` is told how many are
    /// done and their number.
    ///
    /// # Errors
    /// [`Error::Config`] when the model's text tower reads words, or vectors of another width; whatever the encoder or
    /// `progress` says.
    pub fn with_sentences(
        self,
        sentences: Arc<dyn SentenceEncoder>,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let model = self.model.with_sentences(sentences)?;
        let captions = Captions::read_all(&model, &*self.train, &*self.held_out, progress)?;
        let model = model.centred_on(&captions.of_part(&*self.train));
        let params = ParamTable::collect(&model);
        Ok(Self { model, params, captions, ..self })
    }

    /// The model as it is now, for inference.
    #[must_use]
    pub fn model(&self) -> TextAudioModel {
        self.model.valid()
    }

    /// Number of weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.params.values().len()
    }

    /// Fits the quantiser on the training split and gives the finished model, for inference.
    ///
    /// # Errors
    /// When a clip cannot be read, or none is as long as a window.
    pub fn finish(&mut self) -> Result<TextAudioModel> {
        let model = self.model.valid();
        let quantiser = self.fit_quantiser(&model, self.config.quantiser_clips)?;
        Ok(model.with_quantiser(quantiser)?)
    }

    fn fit_quantiser(
        &mut self,
        model: &TextAudioModel,
        clips_max: usize,
    ) -> Result<musicrl_rewards::EmbeddingQuantiser> {
        let clips = spread(self.train.len(), clips_max);
        let mut audio = Vec::new();
        let mut captions = Vec::new();
        for clip in clips {
            let features = self.features(clip, false)?;
            // A clip that is too short for one window has no embedding to fit on.
            if features.frames() >= model.window_frames() {
                audio.push(model.embed_clip_features(&features)?);
                for caption in self.train.captions(clip) {
                    captions.push(self.captions.read(model, caption)?);
                }
            }
        }
        if audio.is_empty() {
            return Err(Error::Codec("no training clip is as long as one window of the text-audio embedding".into()));
        }
        // Many captions at once, but not all: a batch is as wide as its longest caption.
        let text = captions.chunks(256).map(|chunk| model.embed_captions(chunk));
        let text = Tensor::cat(text.collect::<musicrl_rewards::Result<Vec<_>>>()?, 0);
        Ok(model.quantiser_config().fit(Tensor::cat(audio, 0), text, self.seed)?)
    }

    /// Whether a clip is among those that are sent through the codec.
    fn goes_through_codec(&self, clip: usize) -> bool {
        let clips = self.config.codec_clips.min(self.train.len());
        // Clip c is the first of its share of the corpus: `clips` of them, evenly spread.
        self.round_trip.is_some() && clips > 0 && (clip * clips) % self.train.len() < clips
    }

    fn features(&mut self, clip: usize, coded: bool) -> Result<Arc<Features>> {
        let round_trip = if coded { self.round_trip.as_ref() } else { None };
        cached_features(&mut self.cache, &self.model, &*self.train, clip, round_trip, self.config.cache_mib)
    }

    fn positives(&self, clips: &[usize], captions: &[&str]) -> Positives {
        Positives::from_relation(clips.len(), |i, j| captions[i] == captions[j] || self.facts.same(clips[i], clips[j]))
    }

    /// Clip and caption embeddings of held-out pairs that are long enough, and which belong together.
    fn held_out_embeddings(&mut self, model: &TextAudioModel, coded: bool) -> Result<Option<HeldOut>> {
        let (mut audio, mut clips, mut captions) = (Vec::new(), Vec::new(), Vec::new());
        for clip in spread(self.held_out.len(), HELD_OUT_PAIRS) {
            let round_trip = if coded { self.round_trip.as_ref() } else { None };
            let (cache, mib) = (&mut self.held_out_cache, self.config.cache_mib);
            let features = cached_features(cache, model, &*self.held_out, clip, round_trip, mib)?;
            if let (true, Some(caption)) =
                (features.frames() >= model.window_frames(), self.held_out.captions(clip).first())
            {
                audio.push(model.embed_clip_features(&features)?);
                clips.push(clip);
                captions.push(caption.as_str());
            }
        }
        if audio.len() < 2 {
            return Ok(None);
        }
        let facts = &self.held_out_facts;
        let positives =
            Positives::from_relation(clips.len(), |i, j| captions[i] == captions[j] || facts.same(clips[i], clips[j]));
        let read = captions.iter().map(|caption| self.captions.read(model, caption)).collect::<Result<Vec<_>>>()?;
        Ok(Some(HeldOut { audio: Tensor::cat(audio, 0), text: model.embed_captions(&read)?, positives }))
    }
}

struct HeldOut {
    audio: Tensor<2>,
    text: Tensor<2>,
    positives: Positives,
}

impl HeldOut {
    fn cosines(&self) -> Vec<f32> {
        floats(self.audio.clone().matmul(self.text.clone().transpose()))
    }
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).try_to_vec::<f32>().unwrap_or_default()
}

fn ids(tensor: Tensor<2, Int>) -> Vec<i64> {
    tensor.into_data().convert_dtype(DType::I64).try_to_vec::<i64>().unwrap_or_default()
}

impl Training for TextAudioTraining {
    fn step(&mut self, step: u64) -> Result<Metrics> {
        let mut draw = Key::new(self.seed, Purpose::Batch).step(step).stream();
        let clips = self.facts.compose(self.config.batch_pairs, self.config.hard_share, &mut draw);
        let frames = self.model.window_frames();
        let augment = Key::new(self.seed, Purpose::Augment);
        let choose = Key::new(self.seed, Purpose::Caption);
        let mut values = Vec::new();
        let mut chosen = Vec::with_capacity(clips.len());
        let mut read = Vec::with_capacity(clips.len());
        for clip in &clips {
            let mut stream = batch::clip_stream(augment, step, *clip);
            let coded = stream.chance(self.config.codec_share) && self.goes_through_codec(*clip);
            let features = self.features(*clip, coded)?;
            batch::push_window(&features, frames, &self.config, &mut stream, &mut values);
            let mut stream = batch::clip_stream(choose, step, *clip);
            let captions = self.train.captions(*clip);
            let caption = stream.below(captions.len());
            let caption = captions.get(caption).map_or("", String::as_str);
            read.push(match self.captions.read(&self.model, caption)? {
                Caption::Words(words) => Caption::Words(batch::drop_words(&words, self.config.word_drop, &mut stream)),
                sentence => sentence,
            });
            chosen.push(caption.to_string());
        }
        let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
        let positives = self.positives(&clips, &chosen);
        let bands = self.model.front_end().config().bands;
        let features = Tensor::from_data(TensorData::new(values, [clips.len(), frames, bands]), &self.device);
        let (loss, audio, text) = self.model.loss(features, &read, &positives)?;
        let cosines = floats(audio.inner().matmul(text.inner().transpose()));
        let grads = loss.backward();
        let grads = gradients(&self.model, &grads);
        let update = self.optimiser.update(&mut self.params, &grads)?;
        let inverse_temperature = f64::from(self.model.inverse_temperature().into_scalar::<f32>());
        self.model = self.params.apply(self.model.clone())?;
        let mut metrics = Metrics::default();
        metrics.push("loss", f64::from(loss.into_scalar::<f32>()));
        if let Some(found) = retrieval(&cosines, &positives) {
            metrics.push("batch_recall_at_1", found.recall_at_1);
            metrics.push("batch_cosine_gap", found.matching - found.mismatching);
        }
        metrics.push("temperature", 1.0 / inverse_temperature);
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
            expected: "weights of the text-audio embedding".into(),
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

    /// Retrieval among up to 64 held-out pairs (clip embeddings, first captions), cosines of matching and other pairs,
    /// the same through the codec where there is one, and how far tokens of captions and of their audio agree.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        let model = self.model.valid();
        let mut metrics = Metrics::default();
        let Some(held_out) = self.held_out_embeddings(&model, false)? else {
            return Ok(metrics);
        };
        metrics.push("held_out_pairs", held_out.positives.pairs() as f64);
        if let Some(found) = retrieval(&held_out.cosines(), &held_out.positives) {
            metrics.push("recall_at_1", found.recall_at_1);
            metrics.push("recall_at_5", found.recall_at_5);
            metrics.push("matching_cosine", found.matching);
            metrics.push("mismatching_cosine", found.mismatching);
        }
        if self.round_trip.is_some()
            && let Some(coded) = self.held_out_embeddings(&model, true)?
            && let Some(found) = retrieval(&coded.cosines(), &coded.positives)
        {
            metrics.push("coded_recall_at_1", found.recall_at_1);
            metrics.push("coded_matching_cosine", found.matching);
            metrics.push("coded_mismatching_cosine", found.mismatching);
        }
        let quantiser = self.fit_quantiser(&model, self.config.quantiser_clips.min(EVALUATED_CLIPS))?;
        let audio = quantiser.audio_tokens(held_out.audio.clone())?;
        let text = quantiser.text_tokens(held_out.text.clone())?;
        let (audio_ids, text_ids) = (ids(audio.clone()), ids(text.clone()));
        let levels = quantiser.levels();
        let agreement = |level: usize| {
            let pairs = audio_ids.chunks(levels).zip(text_ids.chunks(levels));
            let same = pairs.filter(|(audio, text)| audio.get(level) == text.get(level)).count();
            same as f64 / held_out.positives.pairs() as f64
        };
        for level in 0..levels.min(3) {
            metrics.push(format!("token_agreement_{level}"), agreement(level));
        }
        let (audio, text) = (quantiser.reconstruct(audio)?, quantiser.reconstruct(text)?);
        let unit = musicrl_rewards::towers::normalise;
        let cosine = floats((unit(audio) * unit(text)).sum_dim(1));
        metrics.push("token_cosine", cosine.iter().map(|x| f64::from(*x)).sum::<f64>() / cosine.len().max(1) as f64);
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests;
