//! A whole checkpoint: [`Clap`].

use std::borrow::Cow;

use burn::tensor::{Device, Tensor};
use musicrl_codec::resample::resample;
use tokenizers::Tokenizer;

use super::{AudioTower, Config, FeatureConfig, Features, FrontEnd, Parts, TextTower};
use crate::{
    Checkpoint, Error, NamedTensors, Result,
    checkpoint::Weights,
    nn::{Activation, Linear},
};

/// What is added to nothing: a vector of zeros stays one.
const NORM_MIN: f64 = 1e-12;
/// Texts that go through the tower side by side.
const TEXTS_MAX: usize = 16;

/// Both towers into one space of unit vectors.
#[derive(Debug)]
pub struct Clap {
    /// The text tower.
    pub text: TextTower,
    /// The audio tower.
    pub audio: AudioTower,
    front_end: FrontEnd,
    text_projection: Projection,
    audio_projection: Projection,
    /// Natural logarithms of what cosines are multiplied with, for audio and for text.
    log_scales: [f32; 2],
    width: usize,
    /// From captions to ids, where the folder has a `tokenizer.json`.
    tokenizer: Option<Tokenizer>,
}

#[derive(Debug)]
struct Projection {
    inner: Linear,
    outer: Linear,
    activation: Activation,
}

impl Projection {
    fn load(from: usize, config: &Config, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let to = config.projection_dim;
        Ok(Self {
            inner: Linear::load_biased(&weights.child("linear1"), from, to, device)?,
            outer: Linear::load_biased(&weights.child("linear2"), to, to, device)?,
            activation: config.projection_activation()?,
        })
    }

    /// `[rows, width]`, each row of unit length.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = self.outer.forward(self.activation.apply(self.inner.forward(x)));
        let norm = (y.clone() * y.clone()).sum_dim(1).sqrt().clamp_min(NORM_MIN);
        y / norm
    }
}

impl Clap {
    /// Takes its tensors from `checkpoint`, and reads the folder's `preprocessor_config.json` and `tokenizer.json` where
    /// they are.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Tensor`]; [`Error::File`] for a file of the folder that is broken.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let config: Config = checkpoint.config()?;
        config.validate()?;
        let root = checkpoint.weights();
        let text = TextTower::load(config.text_config.clone(), &root.child("text_model"), device)?;
        let encoder = root.child("audio_model.audio_encoder");
        let audio = AudioTower::load(config.audio_config.clone(), &encoder, device)?;
        let heard = audio.config();
        let features = FeatureConfig::read(checkpoint.dir())?;
        if features.feature_size != heard.num_mel_bins {
            let expected = format!("`num_mel_bins`, {}", heard.num_mel_bins);
            return Err(Error::config("feature_size", expected, features.feature_size));
        }
        let scale = |name: &str| Ok::<f32, Error>(root.floats(name, &[])?.first().copied().unwrap_or(0.0));
        let (text_width, audio_width) = (text.config().hidden_size, heard.hidden_size);
        // Tables that are computed here, and counters of training.
        let known = ["relative_position_index", "position_ids", "token_type_ids", "num_batches_tracked"];
        checkpoint.pass_over(|name| known.iter().any(|known| name.rsplit('.').next() == Some(known)));
        Ok(Self {
            front_end: features.init(heard.enable_fusion, heard.frames())?,
            text_projection: Projection::load(text_width, &config, &root.child("text_projection"), device)?,
            audio_projection: Projection::load(audio_width, &config, &root.child("audio_projection"), device)?,
            log_scales: [scale("logit_scale_a")?, scale("logit_scale_t")?],
            width: config.projection_dim,
            tokenizer: crate::text::tokenizer(checkpoint.dir())?,
            text,
            audio,
        })
    }

    /// Width of the common space.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// From samples at its own rate to features.
    #[must_use]
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// What cosines are multiplied with to be logits: over texts for a clip, and over clips for a text.
    #[must_use]
    pub fn logit_scales(&self) -> [f32; 2] {
        self.log_scales.map(f32::exp)
    }

    /// Embeddings of texts given as ids.
    ///
    /// # Shapes
    /// - input_ids, attention_mask: `texts * tokens`, text after text
    /// - output: `[texts, width]`, rows of unit length
    ///
    /// # Errors
    /// As [`TextTower::forward`].
    pub fn text_embeds(
        &self,
        input_ids: &[u32],
        attention_mask: &[bool],
        [texts, tokens]: [usize; 2],
    ) -> Result<Tensor<2>> {
        let part = TEXTS_MAX.saturating_mul(tokens);
        // Lengths that disagree are the tower's to refuse.
        let agree = texts.checked_mul(tokens) == Some(input_ids.len()) && attention_mask.len() == input_ids.len();
        if texts <= TEXTS_MAX || !agree || part == 0 {
            let hidden = self.text.forward(input_ids, attention_mask, [texts, tokens])?;
            return Ok(self.text_embeds_of(hidden));
        }
        let parts = input_ids.chunks(part).zip(attention_mask.chunks(part));
        let rows = |(ids, mask): (&[u32], &[bool])| -> Result<Tensor<2>> {
            Ok(self.text_embeds_of(self.text.forward(ids, mask, [ids.len() / tokens, tokens])?))
        };
        Ok(Tensor::cat(parts.map(rows).collect::<Result<_>>()?, 0))
    }

    /// Embeddings of texts given as the text tower's hidden states.
    ///
    /// # Shapes
    /// - hidden: `[texts, tokens, hidden_size]`
    /// - output: `[texts, width]`, rows of unit length
    pub(super) fn text_embeds_of(&self, hidden: Tensor<3>) -> Tensor<2> {
        self.text_projection.forward(self.text.pool(hidden))
    }

    /// Ids and mask of captions, padded to the longest; a caption longer than the tower can read is cut before its last
    /// token, which ends it.
    ///
    /// # Errors
    /// [`Error::Input`] when the checkpoint's folder has no `tokenizer.json`, or a caption cannot be encoded.
    pub fn tokenize(&self, captions: &[&str]) -> Result<(Vec<u32>, Vec<bool>, [usize; 2])> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| {
            Error::input("a caption", "a `tokenizer.json` in the checkpoint's folder", "none: only ids can be used")
        })?;
        let pad = self.text.config().pad_token_id;
        let (ids, mask, [texts, tokens]) = crate::text::encode(tokenizer, captions, pad)?;
        let most = self.text.config().tokens_max();
        if tokens <= most {
            return Ok((ids, mask, [texts, tokens]));
        }
        let (mut short_ids, mut short_mask) = (Vec::new(), Vec::new());
        for (ids, mask) in ids.chunks(tokens).zip(mask.chunks(tokens)) {
            short_ids.extend_from_slice(&ids[..most]);
            short_mask.extend_from_slice(&mask[..most]);
            let count = mask.iter().filter(|counts| **counts).count();
            if let Some(last) = short_ids.last_mut().filter(|_| count > most) {
                *last = ids[count - 1];
            }
        }
        Ok((short_ids, short_mask, [texts, most]))
    }

    /// Embeddings of captions.
    ///
    /// # Shapes
    /// - output: `[captions, width]`, rows of unit length
    ///
    /// # Errors
    /// As [`Clap::tokenize`] and [`Clap::text_embeds`]; [`Error::Input`] for no captions.
    pub fn caption_embeds(&self, captions: &[&str]) -> Result<Tensor<2>> {
        let (ids, mask, dims) = self.tokenize(captions)?;
        self.text_embeds(&ids, &mask, dims)
    }

    /// What the audio tower hears of a clip at any rate.
    ///
    /// # Shapes
    /// - samples: `[samples]`, nominally in [-1, 1]
    ///
    /// # Errors
    /// As [`FrontEnd::features`]; [`Error::Codec`] for a rate that cannot be.
    pub fn features(&self, samples: &[f32], sample_rate_hz: u32, parts: Parts<'_>) -> Result<Features> {
        self.front_end.features(&self.resampled(samples, sample_rate_hz)?, parts)
    }

    /// A clip at the front end's rate.
    pub(super) fn resampled<'a>(&self, samples: &'a [f32], sample_rate_hz: u32) -> Result<Cow<'a, [f32]>> {
        let own = self.front_end.config().sampling_rate;
        if sample_rate_hz == own {
            return Ok(Cow::Borrowed(samples));
        }
        Ok(Cow::Owned(resample(samples, sample_rate_hz, own)?))
    }

    /// Embeddings of clips.
    ///
    /// # Shapes
    /// - output: `[clips, width]`, rows of unit length
    ///
    /// # Errors
    /// As [`AudioTower::forward`].
    pub fn audio_embeds(&self, features: &[&Features]) -> Result<Tensor<2>> {
        Ok(self.audio_embeds_of(self.audio.forward(features)?))
    }

    /// Embeddings of clips given as the audio tower's output.
    ///
    /// # Shapes
    /// - pooled: `[clips, hidden_size]`
    /// - output: `[clips, width]`, rows of unit length
    pub(super) fn audio_embeds_of(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.audio_projection.forward(pooled)
    }

    /// Computes every output whose inputs are there.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of another shape, type or range.
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors> {
        super::run::run(self, inputs)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::{Value, json};

    use super::*;

    /// A copy of a fixture's files of settings and weights.
    fn copy(fixture: &str) -> tempfile::TempDir {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains("config") || name.starts_with("model") {
                fs::copy(&path, dir.path().join(name)).unwrap();
            }
        }
        dir
    }

    fn open(dir: &Path) -> Result<Clap> {
        let checkpoint = Checkpoint::open(dir)?;
        let model = Clap::load(&checkpoint, &Device::flex())?;
        checkpoint.finish()?;
        Ok(model)
    }

    fn load(fixture: &str, change: &dyn Fn(&mut Value), file: Option<(&str, &str)>) -> Result<Clap> {
        let dir = copy(fixture);
        let path = dir.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
        if let Some((name, text)) = file {
            fs::write(dir.path().join(name), text).unwrap();
        }
        open(dir.path())
    }

    #[test]
    fn every_setting_may_be_missing_or_absurd_and_nothing_panics() {
        let dir = copy("clap_fused");
        let path = dir.path().join("config.json");
        let config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let absurd = [
            json!(0),
            json!(-1),
            json!(7),
            json!(1_000_000_000),
            json!(u64::MAX),
            json!(1e300),
            json!([]),
            json!([3, 3]),
            json!([1_000_000_000, 1]),
            json!("x"),
            json!(null),
        ];
        let keys = |part: &str| config[part].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for (part, key) in
            ["text_config", "audio_config"].into_iter().flat_map(|p| keys(p).into_iter().map(move |k| (p, k)))
        {
            for value in &absurd {
                let mut config = config.clone();
                config[part][&key] = value.clone();
                fs::write(&path, config.to_string()).unwrap();
                assert!(open(dir.path()).is_err(), "{part}.{key} = {value}");
            }
            let mut config = config.clone();
            config[part].as_object_mut().unwrap().remove(&key);
            fs::write(&path, config.to_string()).unwrap();
            // What this fixture has of the defaults anyway, and what no tensor's shape tells.
            let own = [("text_config", "num_attention_heads"), ("audio_config", "window_size")];
            let default = own.contains(&(part, key.as_str())) || ["num_mel_bins", "spec_size"].contains(&key.as_str());
            assert_eq!(open(dir.path()).is_ok(), default, "{part} without {key}");
        }
    }

    #[test]
    fn the_front_end_must_fit_the_tower() {
        for (settings, field) in [
            ("{}", "feature_size"),
            ("{\"feature_size\": 16}", "max_length_s"),
            ("{\"feature_size\": 16, \"truncation\": \"fusion\"}", "truncation"),
            ("{\"feature_size\": 16, \"max_length_s\": 1e99}", "max_length_s"),
        ] {
            let file = Some(("preprocessor_config.json", settings));
            let error = load("clap_unfused", &|_| (), file).unwrap_err().to_string();
            assert!(error.contains(field), "{settings}: {error}");
        }
        let error = load("clap_unfused", &|config| config["audio_config"]["enable_fusion"] = json!(true), None);
        assert!(matches!(error, Err(Error::Tensor { .. })));
        let error = load("clap_fused", &|config| config["audio_config"]["enable_fusion"] = json!(false), None);
        assert!(matches!(error, Err(Error::Config { field, .. }) if field == "truncation"));
    }

    #[test]
    fn features_are_the_same_at_any_rate_of_samples_and_of_the_towers_shape() {
        let (model, fused) = (load("clap_unfused", &|_| (), None).unwrap(), load("clap_fused", &|_| (), None).unwrap());
        let tone = |hz: u32| -> Vec<f32> {
            let step = std::f32::consts::TAU * 440.0 / hz as f32;
            (0..hz).map(|i| 0.5 * (step * i as f32).sin()).collect()
        };
        let own = model.features(&tone(8_000), 8_000, Parts::Middle).unwrap();
        let other = model.features(&tone(48_000), 48_000, Parts::Middle).unwrap();
        let embeds = crate::named::host(model.audio_embeds(&[&own, &other]).unwrap()).unwrap();
        let (a, b) = embeds.split_at(model.width());
        assert!(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() > 0.95, "{embeds:?}");
        assert!(matches!(model.features(&tone(8_000), 1, Parts::Middle), Err(Error::Codec(_))));
        assert!(matches!(fused.audio_embeds(&[&own]), Err(Error::Input { .. })));
        assert!(matches!(model.audio_embeds(&[]), Err(Error::Input { .. })));
    }
}
