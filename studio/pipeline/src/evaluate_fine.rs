//! Whether the fine stage is better than leaving it out: the sound of the coarse levels alone, of what the fine stage
//! adds to them, and of all true levels, on the same clips.

use std::fmt;

use burn::tensor::Device;
use musicrl_codec::{
    distance::log_mel_distance,
    fine::{FineClip, FineModel},
    neural::{NeuralCodec, TrackCodes},
    semantic::SemanticTokeniser,
};
use musicrl_core::{
    random::{Key, Purpose},
    stats::{BootstrapConfig, Interval, cluster_bootstrap, mean},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    bundle::Bundle,
    music::{load_codec, load_fine, load_semantic, tokenise},
};

/// What is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoded {
    /// The true coarse levels alone: what is heard without a fine stage.
    Coarse,
    /// The true coarse levels and the fine stage's guess of the others.
    Fine,
    /// All true levels: the best that a fine stage could do.
    All,
}

impl Decoded {
    /// In the order of the report.
    pub const ALL: [Self; 3] = [Self::Coarse, Self::Fine, Self::All];

    /// As in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coarse => "coarse",
            Self::Fine => "fine",
            Self::All => "all",
        }
    }
}

/// One way to decode, mean over clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FineRow {
    /// What was decoded.
    pub decoded: Decoded,
    /// Quantiser levels.
    pub levels: usize,
    /// Multi-resolution log-mel distance to the original in nats: lower is nearer.
    pub log_mel_distance: f64,
}

/// The three of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FineReport {
    /// Number of clips.
    pub clips: usize,
    /// Their length altogether.
    pub seconds: f64,
    /// Coarse, fine, all.
    pub rows: Vec<FineRow>,
    /// Distance with the fine stage less distance of the coarse levels alone, clip by clip: below 0 the fine stage is
    /// better than leaving it out. Bootstrap interval over clips; `None` for a single one.
    pub fine_less_coarse: Option<Interval>,
}

impl fmt::Display for FineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} clips, {:.1} s", self.clips, self.seconds)?;
        writeln!(f, "decoded  levels  log-mel (nats)")?;
        for row in &self.rows {
            writeln!(f, "{:<7}  {:>6}  {:>14.4}", row.decoded.name(), row.levels, row.log_mel_distance)?;
        }
        if let Some(Interval { estimate, low, high, .. }) = self.fine_less_coarse {
            let better = match (low, high) {
                (_, high) if high < 0.0 => "better than leaving it out",
                (low, _) if low > 0.0 => "worse than leaving it out",
                _ => "no difference from leaving it out that these clips show",
            };
            writeln!(f, "fine less coarse: {estimate:.4} [{low:.4}, {high:.4}] nats: {better}")?;
        }
        Ok(())
    }
}

/// The models that [`evaluate_fine`] needs.
#[derive(Debug)]
pub struct FineModels {
    codec: NeuralCodec,
    semantic: SemanticTokeniser,
    fine: FineModel,
}

impl FineModels {
    /// Reads codec, semantic tokeniser and fine stage.
    ///
    /// # Errors
    /// When a part is missing or does not fit the others.
    pub fn load(bundle: &Bundle, device: &Device) -> Result<Self> {
        let device = device.clone().inner();
        Self::new(load_codec(bundle, &device)?, load_semantic(bundle, &device)?, load_fine(bundle, &device)?)
    }

    /// Three models of one system.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting of one that does not fit the others.
    pub fn new(codec: NeuralCodec, semantic: SemanticTokeniser, fine: FineModel) -> Result<Self> {
        let (acoustic, units, config) = (codec.config(), semantic.config(), fine.config());
        let fits = [
            ("semantic.sample_rate_hz", acoustic.sample_rate_hz as usize, units.sample_rate_hz as usize),
            ("semantic.frame_samples", 2 * codec.hop(), units.frame_samples),
            ("fine.frames_per_semantic", 2, config.frames_per_semantic),
            ("fine.semantic_entries", units.clusters, config.semantic_entries),
            ("fine.entries", acoustic.quantiser.entries, config.entries),
            ("fine.quantisers", codec.levels(), config.quantisers),
        ];
        if let Some((field, expected, got)) = fits.into_iter().find(|(_, expected, got)| expected != got) {
            return Err(Error::config(field, format!("{expected}, as the other models of the bundle have it"), got));
        }
        Ok(Self { codec, semantic, fine })
    }

    /// Samples a second that the models hear.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.codec.config().sample_rate_hz
    }

    /// The sound of one clip, cut to whole semantic tokens, in the three ways, and its length in samples.
    fn decode(&self, clip: &[f32], key: Key) -> Result<([Vec<f32>; 3], usize)> {
        let tokens = tokenise(&self.codec, &self.semantic, &[clip])?.pop();
        let tokens = tokens.ok_or_else(|| Error::config("clip", "as many token sequences as clips", "none"))?;
        let levels = self.codec.levels();
        let track = |ids: Vec<u32>| TrackCodes { frames: ids.len() / levels, ids, levels };
        let all = track(tokens.codes);
        let coarse = all.first_levels(self.fine.config().coarse_levels);
        let asked = FineClip::from_coarse(self.fine.config(), tokens.semantic, &coarse.ids)?;
        let filled = self.fine.fill(vec![asked], &[key])?;
        let fine = track(filled.iter().flat_map(FineClip::codes).copied().collect());
        let samples = all.frames * self.codec.hop();
        let sound = |codes: &TrackCodes| self.codec.decode_track(codes);
        Ok(([sound(&coarse)?, sound(&fine)?, sound(&all)?], samples))
    }
}

/// Decodes `clips` (mono, at the models' rate, each at least one semantic token long) from their own tokens in the three
/// ways. The fine stage fills in the levels beyond the coarse ones from the true semantic and coarse tokens; clip `i`
/// draws the random numbers of (seed, *mask*, 0, i). `progress` is told the clips done and their number.
///
/// # Errors
/// When there is no clip, one is too short, or a sample is not finite; whatever `progress` says.
pub fn evaluate_fine(
    models: &FineModels,
    clips: &[Vec<f32>],
    seed: u64,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<FineReport> {
    if clips.is_empty() {
        return Err(Error::config("held-out clips", "at least one clip", "none"));
    }
    let rate = models.sample_rate_hz();
    let mut distances: [Vec<f64>; 3] = Default::default();
    let mut samples = 0;
    for (done, clip) in clips.iter().enumerate() {
        progress(done, clips.len())?;
        let (sounds, length) = models.decode(clip, Key::new(seed, Purpose::Mask).clip(done as u64))?;
        for (distances, sound) in distances.iter_mut().zip(&sounds) {
            distances.push(log_mel_distance(&clip[..length], sound, rate)?);
        }
        samples += length;
    }
    progress(clips.len(), clips.len())?;
    let levels = [models.fine.config().coarse_levels, models.codec.levels(), models.codec.levels()];
    let rows = Decoded::ALL.into_iter().zip(levels).zip(&distances).map(|((decoded, levels), distances)| FineRow {
        decoded,
        levels,
        log_mel_distance: mean(distances),
    });
    let rows = rows.collect();
    let differences: Vec<f64> = distances[1].iter().zip(&distances[0]).map(|(fine, coarse)| fine - coarse).collect();
    let each: Vec<usize> = (0..differences.len()).collect();
    let key = Key::new(seed, Purpose::Bootstrap);
    let interval = || cluster_bootstrap(&differences, &each, &BootstrapConfig::default(), key, mean);
    Ok(FineReport {
        clips: clips.len(),
        seconds: samples as f64 / f64::from(rate),
        rows,
        fine_less_coarse: if clips.len() > 1 { Some(interval()?) } else { None },
    })
}

#[cfg(test)]
mod tests {
    use musicrl_codec::{fine::FineConfig, neural::CodecConfig, semantic::SemanticConfig};
    use musicrl_core::params::reinitialise;

    use super::*;
    use crate::evaluate_codec::evaluate_codec;

    fn models(fine: FineConfig) -> Result<FineModels> {
        let (device, key) = (Device::flex(), Key::new(1, Purpose::Init));
        let semantic = SemanticConfig {
            mel_bands: 8,
            width: 8,
            heads: 2,
            ff_width: 16,
            layers: 2,
            feature_layer: 1,
            ..SemanticConfig::base()
        };
        let fine = FineConfig { width: 8, heads: 2, ff_width: 16, layers: 1, ..fine };
        FineModels::new(
            CodecConfig::base().init(&device, key)?,
            semantic.init(&device)?,
            reinitialise(fine.init(&device)?, key.step(1)),
        )
    }

    fn noise(samples: usize, clip: u64) -> Vec<f32> {
        let mut stream = Key::new(3, Purpose::Test).clip(clip).stream();
        (0..samples).map(|_| (0.1 * stream.normal()) as f32).collect()
    }

    fn evaluate(models: &FineModels, clips: &[Vec<f32>]) -> Result<FineReport> {
        evaluate_fine(models, clips, 1, &mut |_, _| Ok(()))
    }

    #[test]
    fn coarse_and_all_levels_are_those_of_the_codec_alone() {
        let models = models(FineConfig::base()).unwrap();
        // The second clip is cut to four semantic tokens.
        let clips = [noise(6_400, 0), noise(5_300, 1)];
        let report = evaluate(&models, &clips).unwrap();
        assert_eq!(report.rows.iter().map(|row| row.levels).collect::<Vec<_>>(), [2, 8, 8]);
        assert_eq!((report.clips, report.seconds), (2, (6_400.0 + 5_120.0) / 16_000.0));
        let cut = [clips[0].clone(), clips[1][..5_120].to_vec()];
        let codec = evaluate_codec(&models.codec, &cut, &mut |_, _| Ok(())).unwrap();
        for (row, levels) in [(0, 2), (2, 8)] {
            let (got, expected) = (report.rows[row].log_mel_distance, codec.rows[levels - 1].log_mel_distance);
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
        let difference = report.fine_less_coarse.unwrap();
        let expected = report.rows[1].log_mel_distance - report.rows[0].log_mel_distance;
        assert!((difference.estimate - expected).abs() < 1e-12 && difference.low <= difference.high);
        assert_eq!(evaluate(&models, &clips).unwrap(), report);
        assert!(report.to_string().contains("leaving it out"));
        let alone = evaluate(&models, &clips[..1]).unwrap();
        assert!(alone.fine_less_coarse.is_none());
        assert_eq!(alone.to_string().lines().count(), 5);
    }

    #[test]
    fn models_of_other_sizes_and_bad_clips_are_refused() {
        let refused = |fine: FineConfig| models(fine).unwrap_err().to_string();
        assert!(refused(FineConfig { entries: 100, ..FineConfig::base() }).contains("fine.entries"));
        assert!(refused(FineConfig { semantic_entries: 7, ..FineConfig::base() }).contains("128, as the other models"));
        assert!(
            refused(FineConfig { quantisers: 3, passes: vec![1], ..FineConfig::base() }).contains("fine.quantisers")
        );
        let models = models(FineConfig::base()).unwrap();
        assert!(matches!(evaluate(&models, &[]), Err(Error::Config { .. })));
        assert!(evaluate(&models, &[noise(1_279, 0)]).unwrap_err().to_string().contains("1280"));
        assert!(evaluate(&models, &[vec![f32::NAN; 1_280]]).is_err());
        let stopped = evaluate_fine(&models, &[noise(1_280, 0)], 1, &mut |_, _| Err(Error::Interrupted));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
