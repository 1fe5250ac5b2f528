//! One or several preference models: the score is their mean, their spread says how sure it is.

use burn::{module::Module, tensor::Device};
use musicrl_core::{
    params::Storage,
    policy::{HierarchicalPolicyConfig, PreferenceModel},
    random::{Key, Purpose},
    tokens::TokenLayout,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    clips::{Batch, Excerpt, PreferenceClip},
    descriptors::DescriptorScale,
};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
};

/// Settings of a bundle's part `preference`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceConfig {
    /// The trunk's, that of the policy it began from.
    pub trunk: HierarchicalPolicyConfig,
    /// Whether it reads captions.
    pub text: bool,
    /// The scale of the descriptors that it is given of a clip's sound; none where it reads tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<DescriptorScale>,
    /// The ensemble.
    pub members: Vec<MemberConfig>,
}

/// What a member has beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// Subtracted from its scores: the mean score of the reference's clips.
    pub offset: f64,
    /// Davidson's tie strength of the listeners that it learned from.
    pub tie_strength: f64,
}

impl PreferenceConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.trunk.validate()?;
        self.descriptors.as_ref().map_or(Ok(()), DescriptorScale::validate)?;
        if !(1..=MEMBERS_MAX).contains(&self.members.len()) {
            return Err(Error::config("preference.members", format!("1 to {MEMBERS_MAX}"), self.members.len()));
        }
        for member in &self.members {
            if !member.offset.is_finite() {
                return Err(Error::config("preference.members.offset", "finite", member.offset));
            }
            if !(member.tie_strength.is_finite() && member.tie_strength >= 0.0) {
                let rule = "at least 0 and finite";
                return Err(Error::config("preference.members.tie_strength", rule, member.tie_strength));
            }
        }
        Ok(())
    }
}

/// Most members of an ensemble.
pub const MEMBERS_MAX: usize = 64;

/// Clips that go through a model together, on one thread. Fixed, so that scores do not depend on the threads.
const SCORED_CLIPS: usize = 8;

#[derive(Module, Debug)]
struct Members {
    members: Vec<PreferenceModel>,
}

/// The models of a bundle's part `preference`, on a plain device.
#[derive(Debug, Clone)]
pub struct PreferenceEnsemble {
    models: Members,
    tie_strengths: Vec<f64>,
    text: bool,
    scale: Option<DescriptorScale>,
}

/// Scores by member and clip.
#[derive(Debug, Clone, PartialEq)]
pub struct EnsembleScores {
    /// `[members][clips]`, centred.
    pub by_member: Vec<Vec<f64>>,
}

impl EnsembleScores {
    /// The score of each clip: the mean over members.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        let clips = self.by_member.first().map_or(0, Vec::len);
        let count = self.by_member.len().max(1) as f64;
        (0..clips).map(|clip| self.by_member.iter().map(|scores| scores[clip]).sum::<f64>() / count).collect()
    }

    /// The standard deviation over members of each clip's score, with n below it; 0 of one member.
    #[must_use]
    pub fn spread(&self) -> Vec<f64> {
        let count = self.by_member.len().max(1) as f64;
        let of = |(clip, mean): (usize, f64)| {
            (self.by_member.iter().map(|scores| (scores[clip] - mean).powi(2)).sum::<f64>() / count).sqrt()
        };
        self.mean().into_iter().enumerate().map(of).collect()
    }
}

impl PreferenceEnsemble {
    /// An ensemble of models of one shape, with one tie strength each, and the scale of their descriptors if they have any.
    ///
    /// # Errors
    /// [`Error::Config`] for none, too many, different shapes, a bad tie strength, or descriptors without a scale.
    pub fn new(
        models: Vec<PreferenceModel>,
        tie_strengths: Vec<f64>,
        text: bool,
        scale: Option<DescriptorScale>,
    ) -> Result<Self> {
        if let Some(first) = models.first()
            && models.iter().any(|model| model.config() != first.config())
        {
            return Err(Error::config("preference.members", "models of one shape", "several"));
        }
        if tie_strengths.len() != models.len() {
            let expected = format!("{} tie strengths, one a member", models.len());
            return Err(Error::config("preference.members", expected, tie_strengths.len()));
        }
        let numbers = scale.as_ref().map_or(0, |_| DescriptorScale::NUMBERS);
        if let Some(model) = models.iter().find(|model| model.descriptor_count() != numbers) {
            let expected = format!("models with {numbers} descriptors");
            return Err(Error::config("preference.descriptors", expected, model.descriptor_count()));
        }
        let ensemble = Self { models: Members { members: models }, tie_strengths, text, scale };
        ensemble.config()?.validate()?;
        Ok(ensemble)
    }

    /// Reads the part of a bundle.
    ///
    /// # Errors
    /// When the part is missing or its files do not fit.
    pub fn load(bundle: &Bundle, device: &Device) -> Result<Self> {
        let config: PreferenceConfig = bundle.config(part::PREFERENCE)?;
        config.validate()?;
        let device = device.clone().inner();
        // First weights that the file's replace right after: any key will do.
        let key = Key::new(0, Purpose::Init);
        let fresh = || {
            let model = PreferenceModel::init(&config.trunk, key, &device)?;
            Ok(if config.descriptors.is_some() { model.with_descriptors(DescriptorScale::NUMBERS) } else { model })
        };
        let members = config.members.iter().map(|_| fresh()).collect::<Result<_>>()?;
        let mut models = bundle.load(part::PREFERENCE, Members { members })?;
        for (model, member) in models.members.iter_mut().zip(&config.members) {
            model.set_offset(member.offset)?;
        }
        let tie_strengths = config.members.iter().map(|member| member.tie_strength).collect();
        Ok(Self { models, tie_strengths, text: config.text, scale: config.descriptors })
    }

    /// Puts it into a bundle, in place of the part that was there.
    ///
    /// # Errors
    /// When a weight is not finite.
    pub fn store(&self, bundle: &mut Bundle, storage: Storage) -> Result<()> {
        bundle.set(part::PREFERENCE, &self.config()?, &self.models, storage)
    }

    /// The settings that the bundle keeps.
    ///
    /// # Errors
    /// [`Error::Config`] of an ensemble without members.
    pub fn config(&self) -> Result<PreferenceConfig> {
        let first = self.members().first();
        let trunk = first.map(|model| model.config().clone());
        let members = self.members().iter().zip(&self.tie_strengths);
        Ok(PreferenceConfig {
            trunk: trunk.ok_or_else(|| Error::config("preference.members", "at least 1", 0))?,
            text: self.text,
            descriptors: self.scale.clone(),
            members: members
                .map(|(model, tie_strength)| MemberConfig { offset: model.offset(), tie_strength: *tie_strength })
                .collect(),
        })
    }

    /// The models.
    #[must_use]
    pub fn members(&self) -> &[PreferenceModel] {
        &self.models.members
    }

    /// Whether it reads captions.
    #[must_use]
    pub fn text(&self) -> bool {
        self.text
    }

    /// The scale of its descriptors; none where it reads tokens alone.
    #[must_use]
    pub fn scale(&self) -> Option<&DescriptorScale> {
        self.scale.as_ref()
    }

    /// The tokens that it reads.
    #[must_use]
    pub fn layout(&self) -> Option<&TokenLayout> {
        self.members().first().map(|model| &model.config().layout)
    }

    /// The members' tie strengths.
    #[must_use]
    pub fn tie_strengths(&self) -> &[f64] {
        &self.tie_strengths
    }

    /// The tie strength of the ensemble: the mean of the members'.
    #[must_use]
    pub fn tie_strength(&self) -> f64 {
        self.tie_strengths.iter().sum::<f64>() / self.tie_strengths.len().max(1) as f64
    }

    /// Centred scores of excerpts, by member.
    ///
    /// # Errors
    /// When an excerpt does not fit the layout, or a score is not finite.
    pub fn scores(&self, excerpts: &[Excerpt<'_>]) -> Result<EnsembleScores> {
        let by_member = self.members().iter().map(|model| scores_of(model, excerpts, self.text, self.scale.as_ref()));
        Ok(EnsembleScores { by_member: by_member.collect::<Result<_>>()? })
    }

    /// Moves every member's offset so that its mean score over `clips` is 0, and says what the ensemble's mean was
    /// before. Members are only known up to a constant each, so each is centred by itself.
    ///
    /// # Errors
    /// [`Error::Config`] of no clips; when a clip does not fit.
    pub fn centre_on(&mut self, clips: &[PreferenceClip]) -> Result<f64> {
        if clips.is_empty() {
            return Err(Error::config("centring_clips", "at least 1", 0));
        }
        let excerpts: Vec<Excerpt<'_>> = clips.iter().map(Excerpt::whole).collect();
        let means: Vec<f64> = self
            .scores(&excerpts)?
            .by_member
            .iter()
            .map(|scores| scores.iter().sum::<f64>() / scores.len().max(1) as f64)
            .collect();
        for (model, mean) in self.models.members.iter_mut().zip(&means) {
            model.set_offset(model.offset() + mean)?;
        }
        Ok(means.iter().sum::<f64>() / means.len().max(1) as f64)
    }
}

/// Centred scores of one model.
///
/// # Errors
/// When an excerpt does not fit the layout or has no descriptors for `scale`, or a score is not finite.
pub fn scores_of(
    model: &PreferenceModel,
    excerpts: &[Excerpt<'_>],
    text: bool,
    scale: Option<&DescriptorScale>,
) -> Result<Vec<f64>> {
    let scores = in_parts(excerpts, |part| {
        let batch = Batch::of(part, text, scale, &model.trunk.device())?;
        let scores = model.scores_padded(&batch.prompt, batch.frames, &batch.lengths, batch.descriptors)?;
        Ok(scores.into_data().iter::<f64>().collect())
    })?;
    match scores.iter().position(|score| !score.is_finite()) {
        Some(at) => Err(musicrl_core::Error::NonFinite { what: "preference score", at: format!("clip {at}") }.into()),
        None => Ok(scores),
    }
}

/// Pooled vectors of one model's trunk, one an excerpt.
///
/// # Errors
/// When an excerpt does not fit the layout.
pub fn pooled_of(model: &PreferenceModel, excerpts: &[Excerpt<'_>], text: bool) -> Result<Vec<Vec<f32>>> {
    in_parts(excerpts, |part| {
        let batch = Batch::of(part, text, None, &model.trunk.device())?;
        let pooled = model.pooled(&batch.prompt, batch.frames, &batch.lengths)?;
        let [_, width] = pooled.dims();
        let values: Vec<f32> = pooled.into_data().iter::<f32>().collect();
        Ok(values.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    })
}

/// `work` on parts of fixed size, on all threads; the results in order.
fn in_parts<T: Send>(
    excerpts: &[Excerpt<'_>],
    work: impl Fn(&[Excerpt<'_>]) -> Result<Vec<T>> + Send + Sync,
) -> Result<Vec<T>> {
    let parts: Vec<Result<Vec<T>>> = excerpts.par_chunks(SCORED_CLIPS).map(work).collect();
    let mut all = Vec::with_capacity(excerpts.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::preference::fixture;

    #[test]
    fn a_bundle_keeps_members_offsets_and_tie_strengths() {
        let (ensemble, clips) = (fixture::ensemble(2), fixture::clips(9));
        let mut centred = ensemble.clone();
        centred.centre_on(&clips).unwrap();
        let mut bundle = Bundle::new();
        centred.store(&mut bundle, Storage::F32).unwrap();
        let read = PreferenceEnsemble::load(&bundle, &Device::flex()).unwrap();
        let excerpts: Vec<_> = clips.iter().map(Excerpt::whole).collect();
        assert_eq!(read.config().unwrap(), centred.config().unwrap());
        assert_eq!(read.scores(&excerpts).unwrap(), centred.scores(&excerpts).unwrap());
        let missing = PreferenceEnsemble::load(&Bundle::new(), &Device::flex()).unwrap_err().to_string();
        assert!(missing.contains("musicrl train preference"), "{missing}");
    }

    #[test]
    fn centring_makes_the_references_mean_zero_for_every_member() {
        let (mut ensemble, clips) = (fixture::ensemble(3), fixture::clips(9));
        let excerpts: Vec<_> = clips.iter().map(Excerpt::whole).collect();
        let before = ensemble.scores(&excerpts).unwrap();
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        let moved = ensemble.centre_on(&clips).unwrap();
        assert!((moved - mean(&before.mean())).abs() < 1e-9 && moved.abs() > 1e-4, "{moved}");
        let after = ensemble.scores(&excerpts).unwrap();
        for (before, after) in before.by_member.iter().zip(&after.by_member) {
            assert!(mean(after).abs() < 1e-6);
            // Differences are what was learned; they stay.
            assert!((before[0] - before[1] - after[0] + after[1]).abs() < 1e-6);
        }
        assert!(ensemble.centre_on(&[]).is_err());
    }

    #[test]
    fn the_spread_is_the_deviation_over_members() {
        let scores = EnsembleScores { by_member: vec![vec![1.0, 0.0], vec![3.0, 0.0]] };
        assert_eq!((scores.mean(), scores.spread()), (vec![2.0, 0.0], vec![1.0, 0.0]));
    }

    #[test]
    fn bad_settings_are_named() {
        let config = fixture::ensemble(1).config().unwrap();
        let bad = |member: MemberConfig| PreferenceConfig { members: vec![member], ..config.clone() }.validate();
        for (offset, tie_strength, field) in [(f64::NAN, 0.0, "offset"), (0.0, -1.0, "tie_strength")] {
            assert!(bad(MemberConfig { offset, tie_strength }).unwrap_err().to_string().contains(field));
        }
        assert!(PreferenceConfig { members: Vec::new(), ..config }.validate().is_err());
        assert!(PreferenceEnsemble::new(Vec::new(), Vec::new(), true, None).is_err());
    }
}
