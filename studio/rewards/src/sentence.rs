//! Captions by a frozen encoder of sentences: the encoder as a trait, and the tower that learns on top of it.
//!
//! A large encoder that was trained on text elsewhere knows that "brisk" and "fast" are neighbours; a few thousand
//! captions cannot teach it. It stays as it is, so its vector of a caption is a constant, and what learns is a small
//! projection into the common space, as in CLIP and CLAP (Radford et al., arXiv 2103.00020; Wu et al., arXiv 2211.06687).
//! This crate knows no encoder: whoever builds a model brings one ([`SentenceEncoder`]).

use std::fmt::Debug;

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use musicrl_core::nn::{Linear, gelu};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, towers::normalise};

/// Added to the variance, so that a constant vector stays one of zeros. Small, for vectors of unit length that differ in
/// their tails have small variances.
const EPSILON: f32 = 1e-8;

/// A frozen encoder of sentences.
pub trait SentenceEncoder: Debug + Send + Sync {
    /// Numbers in a vector.
    fn width(&self) -> usize;

    /// The vector of one sentence: a pure function of the text. Any text has one, the empty one too.
    ///
    /// # Errors
    /// [`Error::Sentence`] for a text that the encoder refuses.
    fn encode(&self, sentence: &str) -> Result<Vec<f32>>;
}

/// Settings of [`SentenceTower`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentenceTowerConfig {
    /// Numbers in one of the encoder's vectors.
    pub width: usize,
    /// Inner width of the projection; 0: a single matrix.
    #[serde(default = "SentenceTowerConfig::default_hidden")]
    pub hidden: usize,
}

impl SentenceTowerConfig {
    /// The inner width where nobody says.
    #[must_use]
    pub fn default_hidden() -> usize {
        128
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        for (field, got, low) in [("sentence.width", self.width, 1), ("sentence.hidden", self.hidden, 0)] {
            if !(low..=1 << 16).contains(&got) {
                let expected = format!("from {low} to {}", 1 << 16);
                return Err(Error::Config { field, expected, got: got.to_string() });
            }
        }
        Ok(())
    }

    /// Numbers of the tower that learn; saturates.
    #[must_use]
    pub fn parameters(&self, dim: usize) -> usize {
        match self.hidden {
            0 => self.width.saturating_add(1).saturating_mul(dim),
            hidden => {
                let inner = self.width.saturating_add(1).saturating_mul(hidden);
                inner.saturating_add(hidden.saturating_add(1).saturating_mul(dim))
            }
        }
    }
}

/// Sentence vectors x to unit vectors. With c the mean vector of the captions that were learned from and z = x - c,
/// `n = (z - mean z) / sqrt(var z + 1e-8)` is a layer norm without weights (Ba et al., arXiv 1607.06450; the matrix after it
/// would swallow them), and
///
/// `y = W_2 gelu(W_1 n + b_1) + b_2`, or `y = W n + b` without an inner width, brought to unit length.
///
/// c goes first because all captions of music lie in one corner of a general encoder's space (Mu and Viswanath,
/// "All-but-the-top", ICLR 2018): without it, n would be nearly the same for all of them.
#[derive(Module, Debug)]
pub struct SentenceTower {
    /// c, [width]: fitted once, not learned.
    centre: Param<Tensor<1>>,
    /// [width, hidden], and its bias.
    inner: Option<Linear>,
    inner_bias: Option<Param<Tensor<1>>>,
    /// [hidden or width, dim]
    projection: Linear,
    projection_bias: Param<Tensor<1>>,
    width: usize,
}

impl SentenceTower {
    pub(crate) fn new(config: &SentenceTowerConfig, dim: usize, device: &Device) -> Self {
        let bias = |width: usize| Param::from_tensor(Tensor::zeros([width], device));
        let inner = (config.hidden > 0).then_some(config.hidden);
        Self {
            centre: Param::from_tensor(Tensor::zeros([config.width], device)).set_require_grad(false),
            inner: inner.map(|hidden| Linear::zeros(config.width, hidden, device)),
            inner_bias: inner.map(bias),
            projection: Linear::zeros(inner.unwrap_or(config.width), dim, device),
            projection_bias: bias(dim),
            width: config.width,
        }
    }

    /// Numbers in the vectors that it takes.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The same tower with the mean of `vectors` as its centre; of none, and of vectors of another width, as it was.
    pub(crate) fn centred_on(mut self, vectors: &[&[f32]]) -> Self {
        let fitting: Vec<&[f32]> = vectors.iter().copied().filter(|vector| vector.len() == self.width).collect();
        if fitting.is_empty() {
            return self;
        }
        let mut mean = vec![0.0_f64; self.width];
        for vector in &fitting {
            mean.iter_mut().zip(*vector).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let mean: Vec<f32> = mean.into_iter().map(|sum| (sum / fitting.len() as f64) as f32).collect();
        let device = self.centre.val().device();
        let mean = Tensor::from_data(TensorData::new(mean, [self.width]), &device);
        self.centre = Param::from_tensor(mean).set_require_grad(false);
        self
    }

    /// One unit vector a sentence vector.
    ///
    /// # Shapes
    /// - vectors: n of `width` numbers
    /// - returns: [n, dim]
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first vector of another width.
    pub fn forward(&self, vectors: &[&[f32]]) -> Result<Tensor<2>> {
        if let Some(at) = vectors.iter().position(|vector| vector.len() != self.width) {
            let expected = format!("{} numbers", self.width);
            let got = format!("{} in vector {at}", vectors[at].len());
            return Err(Error::Shape { what: "sentence vectors", expected, got });
        }
        let device = self.projection_bias.val().device();
        let x = Tensor::<2>::from_data(TensorData::new(vectors.concat(), [vectors.len(), self.width]), &device);
        let x = x - self.centre.val().unsqueeze::<2>();
        let x = x.clone() - x.mean_dim(1);
        let n = x.clone() / (x.clone() * x).mean_dim(1).add_scalar(EPSILON).sqrt();
        let inner = match (&self.inner, &self.inner_bias) {
            (Some(inner), Some(bias)) => gelu(inner.forward(n) + bias.val().unsqueeze::<2>()),
            _ => n,
        };
        Ok(normalise(self.projection.forward(inner) + self.projection_bias.val().unsqueeze::<2>()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use musicrl_core::params::ParamTable;

    use super::*;
    use crate::{TextAudioConfig, TextAudioModel, text::TextTokeniserConfig};

    /// Counts of letters: words that share letters have neighbouring vectors.
    #[derive(Debug)]
    pub(crate) struct Letters;

    impl SentenceEncoder for Letters {
        fn width(&self) -> usize {
            26
        }

        fn encode(&self, sentence: &str) -> Result<Vec<f32>> {
            if sentence.contains('\0') {
                return Err(Error::Sentence { expected: "no NUL".into(), got: format!("{sentence:?}") });
            }
            let mut counts = vec![0.0; 26];
            for letter in sentence.bytes().filter(u8::is_ascii_lowercase) {
                counts[usize::from(letter - b'a')] += 1.0;
            }
            Ok(counts)
        }
    }

    fn config(hidden: usize) -> TextAudioConfig {
        TextAudioConfig { sentence: Some(SentenceTowerConfig { width: 26, hidden }), ..TextAudioConfig::base() }
    }

    fn model(hidden: usize) -> TextAudioModel {
        config(hidden).init_seeded(1, &Device::flex()).unwrap().with_sentences(Arc::new(Letters)).unwrap()
    }

    fn floats(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn captions_of_any_kind_are_unit_vectors_that_do_not_depend_on_the_others() {
        for hidden in [0, 16] {
            let model = model(hidden);
            let rows = floats(model.embed_text(&["a calm piano", "loud drums", "calm"]).unwrap());
            for row in rows.chunks(model.dim()) {
                assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3, "{row:?}");
            }
            let alone = floats(model.embed_text(&["loud drums"]).unwrap());
            assert!(alone.iter().zip(&rows[model.dim()..]).all(|(a, b)| (a - b).abs() < 1e-5));
            assert!(rows[..64].iter().zip(&rows[64..]).any(|(a, b)| (a - b).abs() > 0.01));
            assert_eq!(model.embed_text(&[]).unwrap().dims(), [0, 64]);
            assert_eq!(model.text_tokens(&["x", ""]).unwrap().dims(), [2, 6]);
        }
    }

    #[test]
    fn the_words_of_our_own_tower_are_not_there_and_the_count_is_right() {
        for hidden in [0, 16] {
            let table = ParamTable::collect(&model(hidden));
            assert!(table.entries().iter().all(|entry| !entry.name.starts_with("text.")));
            let sentence: usize =
                table.entries().iter().filter(|e| e.name.starts_with("sentence.")).map(|e| e.len()).sum();
            // The centre does not learn.
            assert_eq!(sentence, 26 + config(hidden).sentence.unwrap().parameters(64));
        }
        // Models with words have the names that they always had.
        let words = TextAudioConfig::base().init(&Device::flex()).unwrap();
        let table = ParamTable::collect(&words);
        assert_eq!(table.entries()[0].name, "text.embedding");
        assert!(table.entries().iter().all(|entry| !entry.name.starts_with("sentence")));
    }

    #[test]
    fn what_all_captions_share_is_taken_away() {
        let captions = ["zzzzzzzzzzzzzzzzzzzzzzzza", "zzzzzzzzzzzzzzzzzzzzzzzzb", "zzzzzzzzzzzzzzzzzzzzzzzzc"];
        let model = model(0);
        let read: Vec<_> = captions.iter().map(|caption| model.read_caption(caption).unwrap()).collect();
        let cosine = |model: &TextAudioModel| {
            let rows = floats(model.embed_captions(&read).unwrap());
            rows[..64].iter().zip(&rows[64..128]).map(|(a, b)| a * b).sum::<f32>()
        };
        let before = cosine(&model);
        let centred = model.centred_on(&read);
        assert!(before > 0.95 && cosine(&centred) < 0.8, "{before} {}", cosine(&centred));
        // It is kept with the weights.
        let empty = config(0).init(&Device::flex()).unwrap();
        let bytes = ParamTable::collect(&centred).to_safetensors(musicrl_core::params::Storage::F32).unwrap();
        let loaded = ParamTable::collect(&empty).read_safetensors(&bytes).unwrap().apply(empty).unwrap();
        assert_eq!(floats(loaded.embed_captions(&read).unwrap()), floats(centred.embed_captions(&read).unwrap()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let none = config(8).init(&Device::flex()).unwrap();
        assert!(none.embed_text(&["a"]).unwrap_err().to_string().contains("sentence encoder"));
        let wide = TextAudioConfig { sentence: Some(SentenceTowerConfig { width: 9, hidden: 0 }), ..config(0) };
        let error = wide.init(&Device::flex()).unwrap().with_sentences(Arc::new(Letters)).unwrap_err().to_string();
        assert!(error.contains("26") && error.contains('9'), "{error}");
        let words = TextAudioConfig::base().init(&Device::flex()).unwrap();
        assert!(words.with_sentences(Arc::new(Letters)).unwrap_err().to_string().contains("sentence"));
        let model = model(8);
        assert!(model.embed_text(&["fine", "\0"]).unwrap_err().to_string().contains("NUL"));
        let read = [crate::model::Caption::Sentence(vec![0.0; 3])];
        assert!(model.embed_captions(&read).unwrap_err().to_string().contains("26 numbers"));
        let tokeniser = TextTokeniserConfig::default().init().unwrap();
        let read = [crate::model::Caption::Words(tokeniser.tokenise("a piano"))];
        assert!(model.embed_captions(&read).unwrap_err().to_string().contains("caption 0"));
        let bad = TextAudioConfig { sentence: Some(SentenceTowerConfig { width: 0, hidden: 0 }), ..config(0) };
        assert!(bad.validate().unwrap_err().to_string().contains("sentence.width"));
    }
}
