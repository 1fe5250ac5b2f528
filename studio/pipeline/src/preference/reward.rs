//! The reward `user_preference`: caption, tokens and, for a model that is told of it, the sound, to a centred score.

use burn::tensor::Device;
use musicrl_core::{
    Error as CoreError,
    reward::{Clip, Reward, Score},
    tokens::Tokens,
};
use musicrl_rewards::{TextAudioModel, descriptors::describe};
use rayon::prelude::*;

use super::{
    clips::{Excerpt, PreferenceClip},
    ensemble::PreferenceEnsemble,
};
use crate::{
    Error, Result,
    bundle::Bundle,
    music::{load_text_audio, rows},
};

/// The mean score of a bundle's preference ensemble. The reference that it was centred on scores 0 on average.
#[derive(Debug)]
pub struct UserPreference {
    ensemble: PreferenceEnsemble,
    /// Captions to condition tokens; none for a model that reads no captions.
    text_audio: Option<TextAudioModel>,
}

impl UserPreference {
    /// The name in recipes and metrics.
    pub const NAME: &'static str = "user_preference";

    /// The part `preference` of a bundle, and where it reads captions the part `text_audio` that makes them tokens.
    ///
    /// # Errors
    /// When a part is missing or does not fit the other.
    pub fn load(bundle: &Bundle, device: &Device) -> Result<Self> {
        let device = device.clone().inner();
        let ensemble = PreferenceEnsemble::load(bundle, &device)?;
        let text_audio = if ensemble.text() { Some(load_text_audio(bundle, &device)?) } else { None };
        if let (Some(text_audio), Some(model)) = (&text_audio, ensemble.members().first()) {
            let quantiser = text_audio.quantiser_config();
            let (slots, codebook) = (model.config().condition_slots, model.config().condition_codebook);
            if (quantiser.levels, quantiser.entries) != (slots, codebook) {
                let expected = format!("{slots} condition tokens of {codebook}, as the part `preference` learned from");
                let got = format!("{} of {}", quantiser.levels, quantiser.entries);
                return Err(Error::config("text_audio.quantiser", expected, got));
            }
        }
        Ok(Self { ensemble, text_audio })
    }

    /// The models.
    #[must_use]
    pub fn ensemble(&self) -> &PreferenceEnsemble {
        &self.ensemble
    }

    /// The clips that can be scored, each with its number, and the reasons of the others.
    #[allow(clippy::type_complexity)]
    fn sort(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<std::result::Result<PreferenceClip, String>>> {
        let failed = |reason: String| CoreError::Reward { name: Self::NAME.into(), reason };
        let layout = self.ensemble.layout().ok_or_else(|| failed("no members".into()))?;
        let conditions = match &self.text_audio {
            Some(text_audio) if !clips.is_empty() => {
                let captions: Vec<&str> = clips.iter().map(|clip| clip.caption).collect();
                let tokens = text_audio.text_tokens(&captions).map_err(|error| failed(error.to_string()))?;
                rows(tokens).into_iter().map(Some).collect()
            }
            _ => vec![None; clips.len()],
        };
        let checked = |(clip, condition): (&Clip<'_>, Option<Vec<u32>>)| {
            let tokens = Tokens::new(clip.tokens.ids.to_vec(), clip.tokens.slots).map_err(|error| error.to_string())?;
            if tokens.frames == 0 {
                return Err("it has no tokens".into());
            }
            layout.check(&tokens).map_err(|error| error.to_string())?;
            let descriptors = match (self.hears_audio(), &clip.audio) {
                (false, _) => None,
                (true, Some(audio)) => Some(describe(audio.samples, audio.sample_rate_hz).to_vec()),
                (true, None) => return Err("it has no sound".into()),
            };
            Ok(PreferenceClip { condition, tokens, descriptors })
        };
        // Describing a sound is most of the work here, and each is described by itself.
        Ok(clips.par_iter().zip(conditions).map(checked).collect())
    }
}

impl Reward for UserPreference {
    fn name(&self) -> &str {
        Self::NAME
    }

    /// Whether the model is given descriptors of the sound.
    fn hears_audio(&self) -> bool {
        self.ensemble.scale().is_some()
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        let sorted = self.sort(clips)?;
        let excerpts: Vec<Excerpt<'_>> = sorted.iter().flatten().map(Excerpt::whole).collect();
        let scores = self.ensemble.scores(&excerpts).map_err(|error| match error {
            Error::Core(error) => error,
            other => CoreError::Reward { name: Self::NAME.into(), reason: other.to_string() },
        })?;
        let mut scores = scores.mean().into_iter();
        let score = |clip: std::result::Result<PreferenceClip, String>| match clip {
            // As many scores as scorable clips.
            Ok(_) => scores.next().map_or_else(|| Score::Unscorable("no score".into()), Score::Value),
            Err(reason) => Score::Unscorable(reason),
        };
        Ok(sorted.into_iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::{params::Storage, reward::TokensView};

    use super::*;
    use crate::train::preference::fixture;

    fn clip<'a>(caption: &'a str, ids: &'a [u32], slots: usize) -> Clip<'a> {
        Clip { caption, tokens: TokensView { ids, slots }, audio: None }
    }

    #[test]
    fn it_scores_tokens_and_says_why_it_cannot() {
        let ensemble = fixture::ensemble_without_text(2);
        let mut bundle = Bundle::new();
        ensemble.store(&mut bundle, Storage::F32).unwrap();
        let reward = UserPreference::load(&bundle, &Device::flex()).unwrap();
        assert_eq!((reward.name(), reward.hears_audio()), ("user_preference", false));
        let clips = fixture::clips(2);
        let ids = [clips[0].tokens.ids.as_slice(), clips[1].tokens.ids.as_slice()];
        let batch = [
            clip("a", ids[0], 2),
            clip("a", &[], 2),
            clip("b", &[0, 999], 2),
            clip("b", &[0, 0, 0], 3),
            clip("c", ids[1], 2),
        ];
        let scores = reward.score(&batch).unwrap();
        let excerpts: Vec<_> = clips.iter().map(Excerpt::whole).collect();
        let expected = ensemble.scores(&excerpts).unwrap().mean();
        assert_eq!([&scores[0], &scores[4]], [&Score::Value(expected[0]), &Score::Value(expected[1])]);
        for (at, reason) in [(1, "no tokens"), (2, "999"), (3, "tokens")] {
            assert!(matches!(&scores[at], Score::Unscorable(why) if why.contains(reason)), "{:?}", scores[at]);
        }
        assert_eq!(reward.score(&[]).unwrap(), []);
    }

    #[test]
    fn a_model_that_reads_captions_needs_their_embedding() {
        let mut bundle = Bundle::new();
        fixture::ensemble(1).store(&mut bundle, Storage::F32).unwrap();
        let error = UserPreference::load(&bundle, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("text_audio"), "{error}");
    }
}
