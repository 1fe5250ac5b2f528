//! Descriptors of clips as a preference model takes them: measured of the sound, brought to one scale, and squared.

use burn::tensor::Device;
use musicrl_core::{
    random::{Key, Purpose},
    tokens::Tokens,
};
use musicrl_feedback::{ClipRecord, PreferenceSet};
use musicrl_rewards::descriptors::{self, describe};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{data::DataConfig, encode::sound_file};
use crate::{Error, Result, align::play::sound_key, bundle::Bundle, music::Music};

/// Clips that are heard between two calls of `progress`.
const CHUNK: usize = 32;

/// Standardised descriptors end here on both sides: what is farther off is no stranger, and no reason for a higher score.
const LIMIT: f64 = 4.0;

/// Mean and deviation of each descriptor over the clips that a model learned from.
///
/// A model is given `2 * COUNT` numbers of a clip: z = (descriptor - mean) / deviation, within 4 of 0, and then
/// (z^2 - 1) / sqrt 2 of each. With a weight for each of the two a linear head can like most what lies in the middle, as
/// people do with loudness, speed or complexity (Berlyne, "Aesthetics and Psychobiology", 1971).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptorScale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl DescriptorScale {
    /// Numbers that a model is given of a clip.
    pub const NUMBERS: usize = 2 * descriptors::COUNT;

    /// Of the descriptors of some clips; without any, a scale that leaves descriptors as they are.
    #[must_use]
    pub fn of(clips: &[&[f64]]) -> Self {
        let count = clips.len().max(1) as f64;
        let mean_of = |of: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
            let sum = |at: usize| clips.iter().map(|row| of(row[at], at)).sum::<f64>();
            (0..descriptors::COUNT).map(|at| sum(at) / count).collect()
        };
        let mean = mean_of(&|value, _| value);
        let variance = mean_of(&|value, at| (value - mean[at]) * (value - mean[at]));
        // What varies by rounding alone says nothing; dividing by 1 leaves it near 0.
        let scale = |(v, mean): (&f64, &f64)| if v.sqrt() > 1e-6 * (1.0 + mean.abs()) { v.sqrt() } else { 1.0 };
        let deviation = variance.iter().zip(&mean).map(scale).collect();
        Self { mean, deviation }
    }

    /// The numbers of a clip's descriptors.
    ///
    /// # Shapes
    /// - descriptors: `[COUNT]`
    /// - output: `[2 * COUNT]`
    #[must_use]
    pub fn numbers(&self, descriptors: &[f64]) -> Vec<f32> {
        let standardise = |((value, mean), deviation): ((&f64, &f64), &f64)| (value - mean) / deviation;
        let standard = descriptors.iter().zip(&self.mean).zip(&self.deviation).map(standardise);
        let standard: Vec<f64> = standard.map(|z| z.clamp(-LIMIT, LIMIT)).collect();
        let squares = standard.iter().map(|z| (z * z - 1.0) * core::f64::consts::FRAC_1_SQRT_2);
        standard.iter().copied().chain(squares).map(|number| number as f32).collect()
    }

    /// Checks what came from a file.
    ///
    /// # Errors
    /// [`Error::Config`] for other lengths, numbers that are not finite, and deviations that are not above 0.
    pub fn validate(&self) -> Result<()> {
        let finite = |list: &[f64]| list.len() == descriptors::COUNT && list.iter().all(|value| value.is_finite());
        if finite(&self.mean) && finite(&self.deviation) && self.deviation.iter().all(|deviation| *deviation > 0.0) {
            return Ok(());
        }
        let expected = format!("{} means and deviations, finite, deviations above 0", descriptors::COUNT);
        let got = format!("{} and {}", self.mean.len(), self.deviation.len());
        Err(Error::config("preference.descriptors", expected, got))
    }
}

/// The descriptors of a set's clips, of their sounds where the set has them, otherwise of their `tokens` as the bundle
/// decodes them.
///
/// # Errors
/// [`Error::Codec`] naming the clip whose sound cannot be read; when a part that makes tokens sound is missing; what
/// `progress` returns.
pub(super) fn descriptors_of(
    set: &PreferenceSet,
    (clips, tokens): (&[&ClipRecord], &[Tokens]),
    config: &DataConfig,
    bundle: &Bundle,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Vec<f64>>> {
    let without_sound = clips.iter().any(|clip| clip.audio.is_none());
    let music = if without_sound { Some(Music::load(bundle, device)?) } else { None };
    let describe_one = |(clip, tokens): (&&ClipRecord, &Tokens)| -> Result<Vec<f64>> {
        let (samples, rate_hz) = match (&clip.audio, &music) {
            (None, Some(music)) => {
                let origin = clip.origin.as_ref();
                let key = origin.map_or(Key::new(0, Purpose::Mask), |it| sound_key(it.seed, it.step, it.clip));
                let sound = music.sound(std::slice::from_ref(tokens), &[key])?;
                (sound.into_iter().next().unwrap_or_default(), music.sample_rate_hz())
            }
            (audio, _) => {
                let path = set.path().join(audio.as_deref().unwrap_or_default());
                sound_file(&path, &config.encode)
                    .map_err(|error| Error::Codec(format!("clip `{}`: {error}", clip.id)))?
            }
        };
        Ok(describe(&samples, rate_hz).to_vec())
    };
    let mut described = Vec::with_capacity(clips.len());
    for (clips_of, tokens) in clips.chunks(CHUNK).zip(tokens.chunks(CHUNK)) {
        progress(described.len(), clips.len())?;
        let chunk: Vec<Result<Vec<f64>>> = clips_of.par_iter().zip(tokens).map(describe_one).collect();
        for row in chunk {
            described.push(row?);
        }
    }
    progress(clips.len(), clips.len())?;
    Ok(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_mean_0_and_variance_1_over_normal_descriptors() {
        let mut random = Key::new(5, Purpose::Test).stream();
        let rows: Vec<Vec<f64>> = (0..4000)
            .map(|_| (0..descriptors::COUNT).map(|at| 3.0 + (1 + at) as f64 * random.normal()).collect())
            .collect();
        let scale = DescriptorScale::of(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
        scale.validate().unwrap();
        let numbers: Vec<Vec<f32>> = rows.iter().map(|row| scale.numbers(row)).collect();
        for at in 0..DescriptorScale::NUMBERS {
            let n = numbers.len() as f64;
            let mean = numbers.iter().map(|row| f64::from(row[at])).sum::<f64>() / n;
            let variance = numbers.iter().map(|row| (f64::from(row[at]) - mean).powi(2)).sum::<f64>() / n;
            // Five standard errors; the square of a normal number has a kurtosis of 15.
            assert!(mean.abs() < 5.0 / n.sqrt() && (variance - 1.0).abs() < 5.0 * (14.0 / n).sqrt(), "{at}: {mean}");
        }
        // Far off is as far as 4 deviations.
        assert_eq!(scale.numbers(&[1e9; descriptors::COUNT])[0], 4.0);
    }

    #[test]
    fn bad_scales_are_refused() {
        let good = DescriptorScale::of(&[&[1.0; descriptors::COUNT], &[1.0; descriptors::COUNT]]);
        assert_eq!((good.validate().is_ok(), good.numbers(&[1.0; descriptors::COUNT])[3]), (true, 0.0));
        for bad in [
            DescriptorScale { mean: vec![0.0], ..good.clone() },
            DescriptorScale { deviation: vec![0.0; descriptors::COUNT], ..good.clone() },
            DescriptorScale { mean: vec![f64::NAN; descriptors::COUNT], ..good.clone() },
        ] {
            assert!(bad.validate().unwrap_err().to_string().contains("descriptors"), "{bad:?}");
        }
    }
}
