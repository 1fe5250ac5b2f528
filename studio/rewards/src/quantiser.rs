//! The embedding as tokens: what the policy is conditioned on.
//!
//! In pretraining the condition is made of the audio's own embedding, in generation of the caption's (MuLan tokens of
//! MusicLM, arXiv 2301.11325). Two towers can keep a constant offset from each other (the modality gap of Liang et al.,
//! "Mind the gap", NeurIPS 2022), and a large one would fill the first level with the answer to "text or audio?". So
//! each modality's mean over the training split is taken away first, and the codebooks are fitted on both kinds of
//! embedding together. This is a safeguard: on etudes the offset was small (0.15 between the means of unit vectors), and
//! neither centring nor fitting on audio alone changed the agreement of text and audio tokens by more than the scatter
//! of 64 held-out pairs.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use musicrl_core::random::{Key, Purpose};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    kmeans::{self, Points, nearest},
};

/// Settings of [`EmbeddingQuantiser`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingQuantiserConfig {
    /// Residual levels, and so tokens an embedding.
    pub levels: usize,
    /// Entries a level.
    pub entries: usize,
    /// Rounds of k-means a level.
    pub iterations: usize,
}

impl Default for EmbeddingQuantiserConfig {
    fn default() -> Self {
        Self { levels: 6, entries: 64, iterations: 20 }
    }
}

impl EmbeddingQuantiserConfig {
    /// The published sizes: 12 levels of 1024 entries.
    #[must_use]
    pub fn published() -> Self {
        Self { levels: 12, entries: 1024, iterations: 20 }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            ("quantiser.levels", self.levels, 1, 64),
            ("quantiser.entries", self.entries, 2, 1 << 16),
            ("quantiser.iterations", self.iterations, 1, 10_000),
        ];
        for (field, got, low, high) in rules {
            if !(low..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from {low} to {high}"), got: got.to_string() });
            }
        }
        Ok(())
    }

    /// A quantiser of zeros with this many dimensions: a place to load weights into.
    ///
    /// # Errors
    /// As [`EmbeddingQuantiserConfig::validate`]; [`Error::Config`] when `dim` is 0.
    pub fn init(&self, dim: usize, device: &Device) -> Result<EmbeddingQuantiser> {
        self.validate()?;
        if dim == 0 {
            return Err(Error::Config { field: "dim", expected: "1 or more".into(), got: "0".into() });
        }
        Ok(EmbeddingQuantiser {
            codebooks: fixed(Tensor::zeros([self.levels, self.entries, dim], device)),
            audio_mean: fixed(Tensor::zeros([1, dim], device)),
            text_mean: fixed(Tensor::zeros([1, dim], device)),
        })
    }

    /// Fits means and codebooks on the embeddings of a training split. Levels are fitted one after the other on what
    /// the ones before left over; from the second on, entry 0 stays the zero vector, so that no level can move any
    /// embedding away from where it was.
    ///
    /// # Shapes
    /// - audio: [clips, dim]
    /// - text: [captions, dim]
    ///
    /// # Errors
    /// [`Error::Shape`] when either is empty or the dimensions differ; an [`Error::Core`] when a value is not finite.
    pub fn fit(&self, audio: Tensor<2>, text: Tensor<2>, seed: u64) -> Result<EmbeddingQuantiser> {
        let ([clips, dim], [captions, text_dim]) = (audio.dims(), text.dims());
        if clips == 0 || captions == 0 || dim != text_dim {
            return Err(Error::Shape {
                what: "embeddings to fit a quantiser on",
                expected: format!("[1 or more, {dim}] audio and text"),
                got: format!("[{clips}, {dim}] audio, [{captions}, {text_dim}] text"),
            });
        }
        let device = audio.device();
        let mut quantiser = self.init(dim, &device)?;
        let (audio_mean, text_mean) = (audio.clone().mean_dim(0), text.clone().mean_dim(0));
        let centred = Tensor::cat(vec![audio - audio_mean.clone(), text - text_mean.clone()], 0);
        let values = centred.into_data().convert_dtype(DType::F32).try_to_vec::<f32>().unwrap_or_default();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let at = format!("embedding {}", index / dim);
            return Err(musicrl_core::Error::NonFinite { what: "an embedding to fit a quantiser on", at }.into());
        }
        let mut residual = Points { dim, values };
        let mut codebooks = Vec::with_capacity(self.levels * self.entries * dim);
        let key = Key::new(seed, Purpose::Quantiser);
        for level in 0..self.levels {
            let free = if level == 0 { self.entries } else { self.entries - 1 };
            let fitted = kmeans::fit(&residual, free, self.iterations, key.step(level as u64), &device);
            let mut codebook = vec![0.0; (self.entries - free) * dim];
            codebook.extend(fitted.values);
            let rows = residual.len();
            let codebook_tensor =
                Tensor::<2>::from_data(TensorData::new(codebook.clone(), [self.entries, dim]), &device);
            let points = Tensor::<2>::from_data(TensorData::new(residual.values, [rows, dim]), &device);
            let (_, rest) = quantise(points, codebook_tensor);
            residual = Points { dim, values: rest.into_data().try_to_vec::<f32>().unwrap_or_default() };
            codebooks.extend(codebook);
        }
        let shape = [self.levels, self.entries, dim];
        quantiser.codebooks = fixed(Tensor::from_data(TensorData::new(codebooks, shape), &device));
        quantiser.audio_mean = fixed(audio_mean);
        quantiser.text_mean = fixed(text_mean);
        Ok(quantiser)
    }
}

/// A parameter that no optimiser moves: it is stored with the weights, and fitted rather than learnt.
fn fixed<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(tensor).set_require_grad(false)
}

/// One level: the nearest entries and what they leave over.
fn quantise(points: Tensor<2>, codebook: Tensor<2>) -> (Tensor<2, Int>, Tensor<2>) {
    let ids = nearest(points.clone(), codebook.clone());
    let chosen = codebook.select(0, ids.clone().flatten(0, 1));
    (ids, points - chosen)
}

/// Residual vector quantiser of embeddings: each level codes what the one before left over.
#[derive(Module, Debug)]
pub struct EmbeddingQuantiser {
    /// [levels, entries, dim]
    codebooks: Param<Tensor<3>>,
    /// [1, dim]
    audio_mean: Param<Tensor<2>>,
    /// [1, dim]
    text_mean: Param<Tensor<2>>,
}

impl EmbeddingQuantiser {
    /// The codebooks.
    ///
    /// # Shapes
    /// - returns: [levels, entries, dim]
    #[must_use]
    pub fn codebooks(&self) -> Tensor<3> {
        self.codebooks.val()
    }

    /// Tokens an embedding.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.codebooks.dims()[0]
    }

    /// Entries a level: every token is below it.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.codebooks.dims()[1]
    }

    /// Dimensions of the embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.codebooks.dims()[2]
    }

    fn level(&self, level: usize) -> Tensor<2> {
        let [_, entries, dim] = self.codebooks.dims();
        self.codebooks.val().slice([level..level + 1, 0..entries, 0..dim]).reshape([entries, dim])
    }

    /// The tokens of audio embeddings.
    ///
    /// # Shapes
    /// - embedding: [n, dim]
    /// - returns: [n, levels]
    ///
    /// # Errors
    /// [`Error::Shape`] when `dim` is another.
    pub fn audio_tokens(&self, embedding: Tensor<2>) -> Result<Tensor<2, Int>> {
        self.check_dim(&embedding)?;
        self.tokens(embedding - self.audio_mean.val())
    }

    /// The tokens of text embeddings.
    ///
    /// # Shapes
    /// - embedding: [n, dim]
    /// - returns: [n, levels]
    ///
    /// # Errors
    /// [`Error::Shape`] when `dim` is another.
    pub fn text_tokens(&self, embedding: Tensor<2>) -> Result<Tensor<2, Int>> {
        self.check_dim(&embedding)?;
        self.tokens(embedding - self.text_mean.val())
    }

    /// The tokens of embeddings whose modality's mean has been taken away.
    ///
    /// # Shapes
    /// - centred: [n, dim]
    /// - returns: [n, levels]
    ///
    /// # Errors
    /// [`Error::Shape`] when `dim` is another.
    pub fn tokens(&self, centred: Tensor<2>) -> Result<Tensor<2, Int>> {
        self.check_dim(&centred)?;
        let mut rest = centred;
        let mut tokens = Vec::with_capacity(self.levels());
        for level in 0..self.levels() {
            let (ids, left) = quantise(rest, self.level(level));
            tokens.push(ids);
            rest = left;
        }
        Ok(Tensor::cat(tokens, 1))
    }

    /// The centred embeddings that tokens stand for. Fewer levels than the quantiser has give a coarser answer.
    ///
    /// # Shapes
    /// - tokens: [n, levels or fewer]
    /// - returns: [n, dim]
    ///
    /// # Errors
    /// [`Error::Shape`] for no level or too many; an [`Error::Core`] naming a token that no codebook has.
    pub fn reconstruct(&self, tokens: Tensor<2, Int>) -> Result<Tensor<2>> {
        let [n, levels] = tokens.dims();
        if levels == 0 || levels > self.levels() {
            return Err(Error::Shape {
                what: "embedding tokens",
                expected: format!("[n, 1 to {}]", self.levels()),
                got: format!("[{n}, {levels}]"),
            });
        }
        let ids = tokens.clone().into_data().convert_dtype(DType::I64).try_to_vec::<i64>().unwrap_or_default();
        let codebook = self.entries();
        if let Some(index) = ids.iter().position(|id| usize::try_from(*id).map_or(true, |id| id >= codebook)) {
            let at = (index / levels, 0, index % levels);
            return Err(musicrl_core::Error::Token { at, codebook, got: ids[index] }.into());
        }
        let mut sum = Tensor::zeros([n, self.dim()], &self.codebooks.val().device());
        for level in 0..levels {
            let ids = tokens.clone().slice([0..n, level..level + 1]).reshape([n]);
            sum = sum + self.level(level).select(0, ids);
        }
        Ok(sum)
    }

    fn check_dim(&self, embedding: &Tensor<2>) -> Result<()> {
        let [n, dim] = embedding.dims();
        if dim != self.dim() {
            return Err(Error::Shape {
                what: "embeddings to quantise",
                expected: format!("[n, {}]", self.dim()),
                got: format!("[{n}, {dim}]"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::params::ParamTable;
    use proptest::prelude::*;

    use super::*;

    fn embeddings(n: usize, dim: usize, offset: f64, seed: u64) -> Tensor<2> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        let values: Vec<f32> = (0..n * dim).map(|_| (offset + stream.normal()) as f32).collect();
        Tensor::from_data(TensorData::new(values, [n, dim]), &Device::flex())
    }

    fn ids(tokens: Tensor<2, Int>) -> Vec<i64> {
        tokens.into_data().convert_dtype(DType::I64).try_to_vec::<i64>().unwrap()
    }

    fn norms(rows: Tensor<2>) -> Vec<f32> {
        rows.powi_scalar(2).sum_dim(1).sqrt().into_data().try_to_vec::<f32>().unwrap()
    }

    fn small() -> EmbeddingQuantiserConfig {
        EmbeddingQuantiserConfig { levels: 4, entries: 8, iterations: 8 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_level_makes_any_residual_longer(seed: u64, scale in 0.1_f64..3.0) {
            let quantiser = small().fit(embeddings(40, 5, 0.3, seed), embeddings(30, 5, -0.2, seed ^ 1), seed).unwrap();
            // Embeddings that the fit never saw.
            let fresh = embeddings(20, 5, 0.0, seed ^ 2) * scale as f32;
            let tokens = quantiser.tokens(fresh.clone()).unwrap();
            prop_assert!(ids(tokens.clone()).iter().all(|id| (0..8).contains(id)));
            let mut before = vec![f32::INFINITY; 20];
            for levels in 1..=4 {
                let coarse = quantiser.reconstruct(tokens.clone().slice([0..20, 0..levels])).unwrap();
                let after = norms(fresh.clone() - coarse);
                for (before, after) in before.iter().zip(&after) {
                    prop_assert!(*after <= before + 1e-5, "level {}: {} above {}", levels, after, before);
                }
                before = after;
            }
        }
    }

    #[test]
    fn residuals_of_the_fitted_embeddings_shrink_level_by_level() {
        let (audio, text) = (embeddings(100, 6, 0.5, 1), embeddings(100, 6, -0.5, 2));
        let quantiser = small().fit(audio.clone(), text, 3).unwrap();
        let tokens = quantiser.audio_tokens(audio.clone()).unwrap();
        let centred = audio.clone() - audio.mean_dim(0);
        let mean = |rows: Tensor<2>| norms(rows).iter().sum::<f32>() / 100.0;
        let mut before = mean(centred.clone());
        for levels in 1..=4 {
            let coarse = quantiser.reconstruct(tokens.clone().slice([0..100, 0..levels])).unwrap();
            let after = mean(centred.clone() - coarse);
            assert!(after < 0.95 * before, "level {levels}: {after} of {before}");
            before = after;
        }
    }

    #[test]
    fn a_constant_gap_between_the_modalities_does_not_change_tokens() {
        let rows = embeddings(60, 5, 0.0, 1);
        let quantiser = small().fit(rows.clone(), rows.clone() + 0.7, 9).unwrap();
        let audio = ids(quantiser.audio_tokens(rows.clone()).unwrap());
        let text = ids(quantiser.text_tokens(rows + 0.7).unwrap());
        let same = audio.iter().zip(&text).filter(|(a, b)| a == b).count();
        // Rounding of the shift may decide a near tie, nothing more.
        assert!(same * 100 >= 98 * audio.len(), "{same} of {}", audio.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_files_keep_them() {
        let fit = |seed| small().fit(embeddings(50, 4, 0.0, 1), embeddings(50, 4, 0.1, 2), seed).unwrap();
        let table = ParamTable::collect(&fit(5));
        assert_eq!(table, ParamTable::collect(&fit(5)));
        assert_ne!(table.values(), ParamTable::collect(&fit(6)).values());
        let bytes = table.to_safetensors(musicrl_core::params::Storage::F32).unwrap();
        let empty = small().init(4, &Device::flex()).unwrap();
        let loaded = ParamTable::collect(&empty).read_safetensors(&bytes).unwrap().apply(empty).unwrap();
        let fresh = embeddings(10, 4, 0.0, 7);
        assert_eq!(ids(loaded.tokens(fresh.clone()).unwrap()), ids(fit(5).tokens(fresh).unwrap()));
    }

    #[test]
    fn bad_input_is_named() {
        let device = Device::flex();
        let quantiser = small().fit(embeddings(9, 4, 0.0, 1), embeddings(9, 4, 0.0, 2), 1).unwrap();
        let wrong = quantiser.tokens(Tensor::zeros([2, 3], &device)).unwrap_err();
        assert!(wrong.to_string().contains("[n, 4]"), "{wrong}");
        let token = Tensor::<2, Int>::from_data([[0_i64, 8]], &device);
        let wrong = quantiser.reconstruct(token).unwrap_err();
        assert!(wrong.to_string().contains("codebook of 8"), "{wrong}");
        let nan = Tensor::<2>::from_data([[f32::NAN, 0.0]], &device);
        assert!(small().fit(nan.clone(), nan, 1).is_err());
        assert!(small().fit(Tensor::zeros([0, 4], &device), Tensor::zeros([3, 4], &device), 1).is_err());
        let bad = EmbeddingQuantiserConfig { entries: 1, ..small() };
        assert!(bad.validate().unwrap_err().to_string().contains("quantiser.entries"));
    }
}
