//! The tokeniser that ships: encoder, centroids, and how much of its codebook it uses.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use musicrl_core::{Error, Result, random::Key};
use rayon::prelude::*;

use super::{
    EncoderInput, FrontEnd, SemanticConfig, SemanticEncoder,
    host::{floats, frozen, integers},
    kmeans::{self, KMeansConfig},
    windows,
};

/// Windows that go through the encoder together: what bounds memory for long audio.
const WINDOWS_AT_ONCE: usize = 16;

/// Sound to semantic tokens.
#[derive(Module, Debug)]
pub struct SemanticTokeniser {
    encoder: SemanticEncoder,
    feature_mean: Param<Tensor<1>>,
    feature_scale: Param<Tensor<1>>,
    centroids: Param<Tensor<2>>,
    #[module(skip)]
    config: SemanticConfig,
    #[module(skip)]
    front_end: FrontEnd,
}

impl SemanticTokeniser {
    pub(super) fn new(config: SemanticConfig, encoder: SemanticEncoder, device: &Device) -> Result<Self> {
        Ok(Self {
            encoder,
            feature_mean: frozen(Tensor::zeros([config.width], device)),
            feature_scale: frozen(Tensor::ones([config.width], device)),
            centroids: frozen(Tensor::zeros([config.clusters, config.width], device)),
            front_end: config.front_end()?,
            config,
        })
    }

    /// Finishes training: clusters encoder features (`width` values a frame, from [`SemanticEncoder::forward`]), each
    /// channel standardised, and gives the tokeniser with what its codebook looks like on those frames.
    ///
    /// # Errors
    /// As [`kmeans::fit`].
    pub fn cluster(
        config: &SemanticConfig,
        encoder: SemanticEncoder,
        mut features: Vec<f32>,
        iterations_max: usize,
        key: Key,
    ) -> Result<(Self, CodebookUse)> {
        let statistics = super::BandStatistics::measure(config.width, [&features[..]]);
        statistics.apply(&mut features);
        let settings = KMeansConfig { clusters: config.clusters, iterations_max, tolerance: 1e-4 };
        let fitted = kmeans::fit(&features, config.width, &settings, key)?;
        let device = encoder.device();
        let mut tokeniser = Self::new(config.clone(), encoder, &device)?;
        let row = |values| frozen(Tensor::from_data(TensorData::new(values, [config.width]), &device));
        tokeniser.feature_mean = row(statistics.mean);
        tokeniser.feature_scale = row(statistics.scale);
        let centroids = TensorData::new(fitted.centroids, [config.clusters, config.width]);
        tokeniser.centroids = frozen(Tensor::from_data(centroids, &device));
        Ok((tokeniser, CodebookUse::count(&fitted.assignment, config.clusters)))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SemanticConfig {
        &self.config
    }

    /// The encoder below the centroids.
    #[must_use]
    pub fn encoder(&self) -> &SemanticEncoder {
        &self.encoder
    }

    /// One token for every `frame_samples` samples begun.
    ///
    /// # Shapes
    /// - audio: `[clips, samples]`, mono at `sample_rate_hz`
    /// - returns: `[clips, frames]`, ids below `clusters`
    ///
    /// # Errors
    /// [`Error::Shape`] for empty audio, [`Error::NonFinite`] for a sample that is not finite.
    pub fn tokenise(&self, audio: Tensor<2>) -> Result<Tensor<2, Int>> {
        let [clips, samples] = audio.dims();
        let device = audio.device();
        let audio = floats(audio);
        let parts: Vec<&[f32]> = audio.chunks(samples.max(1)).collect();
        if clips == 0 || parts.len() != clips {
            let (expected, got) = ("[1 or more, 1 or more]".into(), format!("[{clips}, {samples}]"));
            return Err(Error::Shape { what: "audio", expected, got });
        }
        let ids: Vec<i64> = self.tokenise_clips(&parts)?.into_iter().flatten().map(i64::from).collect();
        Ok(Tensor::from_data(TensorData::new(ids, [clips, self.config.frames(samples)]), &device))
    }

    /// [`SemanticTokeniser::tokenise`] for clips of any lengths, on vectors.
    ///
    /// A clip's tokens are a function of that clip alone. A clip longer than `window_frames` is cut into windows that
    /// overlap; each token comes from the window in which it lies deeper.
    ///
    /// # Errors
    /// As [`SemanticTokeniser::tokenise`].
    pub fn tokenise_clips(&self, clips: &[&[f32]]) -> Result<Vec<Vec<u32>>> {
        let statistics = self.encoder.statistics();
        let features: Vec<Vec<f32>> = clips
            .par_iter()
            .map(|samples| {
                let mut features = self.front_end.features(samples)?;
                statistics.apply(&mut features);
                Ok(features)
            })
            .collect::<Result<_>>()?;
        let width = self.front_end.feature_width();
        let mut work = Vec::new();
        for (clip, features) in features.iter().enumerate() {
            let cut = windows::cut(features.len() / width, self.config.window_frames, self.config.overlap_frames);
            work.extend(cut.into_iter().map(|window| (clip, window)));
        }
        let mut ids: Vec<Vec<u32>> = features.iter().map(|f| Vec::with_capacity(f.len() / width)).collect();
        let (matrix, bias) = self.nearest();
        // Windows of one length go through the network together.
        for same in work.chunk_by(|(_, a), (_, b)| a.frames.len() == b.frames.len()) {
            for batch in same.chunks(WINDOWS_AT_ONCE) {
                let mut input = EncoderInput::default();
                for (clip, window) in batch {
                    let rows = &features[*clip][window.frames.start * width..window.frames.end * width];
                    input.push(rows, width, &[]);
                }
                let hidden = self.encoder.forward(input.tensor(batch.len(), &self.encoder.device()));
                let [count, frames, channels] = hidden.dims();
                let scores = hidden.reshape([count * frames, channels]).matmul(matrix.clone()) + bias.clone();
                let nearest = integers(scores.argmax(1));
                for ((clip, window), nearest) in batch.iter().zip(nearest.chunks(frames.max(1))) {
                    ids[*clip].extend(nearest[window.kept_inside()].iter().map(|id| *id as u32));
                }
            }
        }
        Ok(ids)
    }

    /// The nearest centroid as one product: with x' = (x - mean) * scale, `argmin_k |x' - c_k|^2` is
    /// `argmax_k x . (scale * c_k) - (mean * scale) . c_k - |c_k|^2 / 2`.
    ///
    /// # Shapes
    /// - returns: `[width, clusters]` and `[1, clusters]`
    fn nearest(&self) -> (Tensor<2>, Tensor<2>) {
        let centroids = self.centroids.val();
        let scale = self.feature_scale.val().unsqueeze::<2>();
        let shifted = self.feature_mean.val().unsqueeze::<2>() * scale.clone() + centroids.clone() * 0.5;
        let bias = (centroids.clone() * shifted).sum_dim(1).neg().transpose();
        ((centroids * scale).transpose(), bias)
    }
}

/// How evenly a codebook is used over some tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodebookUse {
    /// Entries in the codebook.
    pub entries: usize,
    /// Entries that occur.
    pub used: usize,
    /// 2 to the entropy of the entries in bits: `entries` when all are equally frequent, 1 when one has all.
    pub perplexity: f64,
}

impl CodebookUse {
    /// Counts ids; those that are not below `entries` are left out.
    #[must_use]
    pub fn count(ids: &[u32], entries: usize) -> Self {
        let mut counts = vec![0_u64; entries];
        for id in ids {
            if let Some(count) = counts.get_mut(*id as usize) {
                *count += 1;
            }
        }
        let total = counts.iter().sum::<u64>().max(1) as f64;
        let present = || counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / total);
        let entropy_bits: f64 = present().map(|p| -p * p.log2()).sum();
        Self { entries, used: present().count(), perplexity: entropy_bits.exp2() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use musicrl_core::{
        params::{ParamTable, Storage, reinitialise},
        random::Purpose,
    };

    fn tiny() -> SemanticConfig {
        SemanticConfig {
            mel_bands: 8,
            width: 8,
            heads: 2,
            ff_width: 16,
            clusters: 7,
            window_frames: 10,
            overlap_frames: 4,
            ..SemanticConfig::base()
        }
    }

    fn noise(samples: usize, seed: u64) -> Vec<f32> {
        let mut stream = Key::new(seed, Purpose::Test).stream();
        // The level wanders, so that frames differ.
        (0..samples).map(|i| (stream.normal() * (0.01 + (i as f64 / 3e3).sin().abs() * 0.2)) as f32).collect()
    }

    fn tokeniser() -> (SemanticTokeniser, CodebookUse, Vec<f32>) {
        let config = tiny();
        let predictor = config.init_predictor(&Device::flex()).unwrap();
        let encoder = reinitialise(predictor, Key::new(1, Purpose::Init)).encoder;
        let front_end = config.front_end().unwrap();
        let features = front_end.features(&noise(40 * config.frame_samples, 1)).unwrap();
        let encoder = encoder.with_statistics(&super::super::BandStatistics::measure(8, [&features[..]]));
        let mut input = EncoderInput::default();
        let mut standard = features;
        encoder.statistics().apply(&mut standard);
        input.push(&standard, config.feature_width(), &[]);
        let hidden = floats(encoder.forward(input.tensor(4, &Device::flex())));
        let key = Key::new(2, Purpose::Quantiser);
        let (tokeniser, codebook) = SemanticTokeniser::cluster(&config, encoder, hidden.clone(), 30, key).unwrap();
        (tokeniser, codebook, hidden)
    }

    fn ids(tokeniser: &SemanticTokeniser, audio: &[Vec<f32>]) -> Vec<i64> {
        let samples = audio[0].len();
        let data = TensorData::new(audio.concat(), [audio.len(), samples]);
        let tokens = tokeniser.tokenise(Tensor::from_data(data, &Device::flex())).unwrap();
        assert_eq!(tokens.dims(), [audio.len(), tokeniser.config().frames(samples)]);
        integers(tokens)
    }

    #[test]
    fn the_product_finds_the_nearest_standardised_centroid() {
        let (tokeniser, codebook, hidden) = tokeniser();
        assert_eq!(codebook.entries, 7);
        assert!(codebook.used >= 5 && codebook.perplexity > 3.0, "{codebook:?}");
        let (matrix, bias) = tokeniser.nearest();
        let x = Tensor::<2>::from_data(TensorData::new(hidden.clone(), [40, 8]), &Device::flex());
        let got = integers((x.matmul(matrix) + bias).argmax(1));
        let table = ParamTable::collect(&tokeniser);
        let (mean, scale) = (table.get("feature_mean").unwrap(), table.get("feature_scale").unwrap());
        for (row, got) in hidden.chunks(8).zip(got) {
            let distance = |c: &[f32]| (0..8).map(|i| ((row[i] - mean[i]) * scale[i] - c[i]).powi(2)).sum::<f32>();
            let distances: Vec<f32> = table.get("centroids").unwrap().chunks(8).map(distance).collect();
            let best = distances.iter().copied().fold(f32::INFINITY, f32::min);
            assert!(distances[got as usize] <= best + 1e-4);
        }
    }

    #[test]
    fn rate_and_length_rules() {
        let (tokeniser, ..) = tokeniser();
        for (samples, frames) in [(1, 1), (1_280, 1), (1_281, 2), (12_800, 10), (12_801, 11), (64_000, 50)] {
            assert_eq!(ids(&tokeniser, &[noise(samples, 3)]).len(), frames, "{samples} samples");
        }
        let empty = Tensor::<2>::zeros([2, 0], &Device::flex());
        assert!(matches!(tokeniser.tokenise(empty), Err(Error::Shape { .. })));
        let bad = Tensor::<2>::from_data([[0.0, f32::NAN]], &Device::flex());
        assert!(matches!(tokeniser.tokenise(bad), Err(Error::NonFinite { .. })));
    }

    #[test]
    fn a_clips_tokens_do_not_depend_on_its_company() {
        let (tokeniser, ..) = tokeniser();
        let clips: Vec<Vec<f32>> = (0..3).map(|seed| noise(37_000, 10 + seed)).collect();
        let together = ids(&tokeniser, &clips);
        let apart: Vec<i64> = clips.iter().flat_map(|clip| ids(&tokeniser, std::slice::from_ref(clip))).collect();
        assert_eq!(together, apart);
        let mixed: Vec<&[f32]> = vec![&clips[0], &clips[1][..5_000], &clips[2]];
        let mixed = tokeniser.tokenise_clips(&mixed).unwrap();
        assert_eq!(mixed.iter().map(Vec::len).collect::<Vec<_>>(), [29, 4, 29]);
        assert!(mixed[2].iter().map(|id| i64::from(*id)).eq(together[58..].iter().copied()));
    }

    #[test]
    fn what_lies_beyond_the_window_does_not_matter() {
        let (tokeniser, ..) = tokeniser();
        let mut audio = noise(60 * 1_280, 4);
        let before = ids(&tokeniser, &[audio.clone()]);
        audio[50 * 1_280..].fill(0.0);
        let after = ids(&tokeniser, &[audio]);
        // The window of frame 30 ends at most ten frames later; mel windows reach less than one frame further.
        assert_eq!(before[..31], after[..31]);
        assert_ne!(before, after);
    }

    #[test]
    fn saved_and_read_again_it_gives_the_same_tokens() {
        let (tokeniser, ..) = tokeniser();
        let bytes = ParamTable::collect(&tokeniser).to_safetensors(Storage::F32).unwrap();
        let fresh = tiny().init(&Device::flex()).unwrap();
        let table = ParamTable::collect(&fresh).read_safetensors(&bytes).unwrap();
        let read = table.apply(fresh).unwrap();
        let audio = [noise(30_000, 5)];
        assert_eq!(ids(&read, &audio), ids(&tokeniser, &audio));
    }

    #[test]
    fn codebook_use_of_known_counts() {
        let codebook = CodebookUse::count(&[0, 0, 1, 1, 3, 3, 5, 5, 99], 8);
        assert_eq!((codebook.used, codebook.entries), (4, 8));
        assert!((codebook.perplexity - 4.0).abs() < 1e-12);
        assert_eq!(CodebookUse::count(&[], 8).used, 0);
    }
}
