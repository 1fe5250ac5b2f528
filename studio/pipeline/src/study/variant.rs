//! What is compared: [`Variant`].

use super::settings::StudySettings;
use crate::{
    Error, Result,
    preference::PreferenceData,
    recipe::nearest,
    train::preference::{ConfidenceUse, Init, PreferenceTrainingConfig},
};

/// A model that is trained, or a predictor that learns nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// In files and flags.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// What a variant is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A training that differs from the first variant's in one thing.
    Trained(Box<PreferenceTrainingConfig>),
    /// The clip of the higher score wins.
    Predictor(Predictor),
}

/// Scores that nobody fitted to the judgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predictor {
    /// The reward `text_adherence` of the bundle.
    TextAdherence,
    /// The reward `acoustic_quality` of the bundle.
    AcousticQuality,
}

/// The names of all variants, in the order in which they are shown.
pub const NAMES: [&str; 12] = [
    "policy",
    "with-sound",
    "scratch",
    "scratch-with-sound",
    "without-text",
    "crop-1-2",
    "crop-1-4",
    "crop-3-20",
    "text-adherence",
    "acoustic-quality",
    "confidence-weighted",
    "confident-only",
];

/// Those of a quick study.
pub const QUICK: [&str; 6] = ["policy", "with-sound", "scratch", "without-text", "text-adherence", "acoustic-quality"];

/// Share of the pairs that "confident only" learns from, ties in confidence aside.
const CONFIDENT_SHARE: f64 = 0.5;

impl Variant {
    /// All variants of a study on `data`.
    #[must_use]
    pub fn all(settings: &StudySettings, data: &PreferenceData) -> Vec<Self> {
        let trained = |change: &dyn Fn(&mut PreferenceTrainingConfig)| {
            // Tokens alone, as the published study's.
            let mut config = PreferenceTrainingConfig { sound: false, ..settings.training.clone() };
            change(&mut config);
            Kind::Trained(Box::new(config))
        };
        let crop = |share: f64| trained(&move |config| config.crop *= share);
        let least = least_confidence(data);
        let of = |name: &'static str| match name {
            "policy" => ("from the policy", trained(&|config| config.init = Init::Policy)),
            "scratch" => ("from scratch", trained(&|config| config.init = Init::Scratch)),
            "with-sound" => {
                ("told of the sound", trained(&|config| (config.init, config.sound) = (Init::Policy, true)))
            }
            "scratch-with-sound" => (
                "from scratch, told of the sound",
                trained(&|config| (config.init, config.sound) = (Init::Scratch, true)),
            ),
            "without-text" => ("without text", trained(&|config| config.text = false)),
            "crop-1-2" => ("1/2 of each clip", crop(0.5)),
            "crop-1-4" => ("1/4 of each clip", crop(0.25)),
            "crop-3-20" => ("3/20 of each clip", crop(0.15)),
            "text-adherence" => ("higher text adherence wins", Kind::Predictor(Predictor::TextAdherence)),
            "acoustic-quality" => ("higher acoustic quality wins", Kind::Predictor(Predictor::AcousticQuality)),
            "confidence-weighted" => {
                ("weighted by confidence", trained(&|config| config.confidence = ConfidenceUse::Weight))
            }
            _ => (
                "confident judgements only",
                trained(&|config| (config.confidence, config.confidence_min) = (ConfidenceUse::Only, least)),
            ),
        };
        NAMES
            .map(|name| {
                let (title, kind) = of(name);
                Self { name, title, kind }
            })
            .to_vec()
    }

    /// Those of `variants` that `only` names (all where it is empty), in their order.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is none, with the nearest one.
    pub fn choose(variants: Vec<Self>, only: &[String]) -> Result<Vec<Self>> {
        if let Some(strange) = only.iter().find(|name| !NAMES.contains(&name.as_str())) {
            let hint = nearest(strange, NAMES).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            return Err(Error::config("only", format!("among {}{hint}", NAMES.join(", ")), strange));
        }
        Ok(variants.into_iter().filter(|it| only.is_empty() || only.iter().any(|name| name == it.name)).collect())
    }

    /// Whether it needs judgements of different confidence.
    #[must_use]
    pub fn needs_confidence(&self) -> bool {
        matches!(self.name, "confidence-weighted" | "confident-only")
    }

    /// Whether it is told of the clips' sound.
    #[must_use]
    pub fn needs_sound(&self) -> bool {
        Self::is_told_of_the_sound(self.name)
    }

    /// Whether the variant of a name is told of the clips' sound.
    #[must_use]
    pub fn is_told_of_the_sound(name: &str) -> bool {
        matches!(name, "with-sound" | "scratch-with-sound")
    }

    /// The predictor, if it is one.
    #[must_use]
    pub fn predictor(&self) -> Option<Predictor> {
        match self.kind {
            Kind::Predictor(predictor) => Some(predictor),
            Kind::Trained(_) => None,
        }
    }
}

/// Whether judgements differ in confidence.
#[must_use]
pub fn has_confidence(data: &PreferenceData) -> bool {
    data.pairs().windows(2).any(|two| two[0].judgement.weight != two[1].judgement.weight)
}

/// The confidence that half of the pairs reach.
fn least_confidence(data: &PreferenceData) -> f64 {
    let mut all: Vec<f64> = data.pairs().iter().map(|pair| pair.judgement.weight).collect();
    all.sort_by(f64::total_cmp);
    let at = ((1.0 - CONFIDENT_SHARE) * all.len() as f64) as usize;
    all.get(at.min(all.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::preference::fixture;

    #[test]
    fn each_differs_from_the_first_in_one_thing() {
        let (settings, data) = (StudySettings::base(), fixture::data(40, 1));
        let variants = Variant::all(&settings, &data);
        let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
        assert_eq!(names, NAMES);
        let text = |variant: &Variant| match &variant.kind {
            Kind::Trained(config) => crate::recipe::settings::to_toml(config).unwrap(),
            Kind::Predictor(_) => String::new(),
        };
        let first = text(&variants[0]);
        for variant in &variants[1..] {
            let text = text(variant);
            let changed = text.lines().zip(first.lines()).filter(|(a, b)| a != b).count();
            let expected = match variant.name {
                "confident-only" | "scratch-with-sound" => 1..=2,
                _ if variant.predictor().is_some() => 0..=0,
                _ => 1..=1,
            };
            assert!(expected.contains(&changed), "{}: {changed}", variant.name);
        }
    }

    #[test]
    fn half_of_the_pairs_are_confident_and_wrong_names_are_told() {
        let data = fixture::data(400, 1);
        assert!(has_confidence(&data));
        // Three of ten have a confidence of 0.3, the others 1.
        assert_eq!(least_confidence(&data), 1.0);
        let all = || Variant::all(&StudySettings::base(), &data);
        let some = Variant::choose(all(), &["scratch".into(), "policy".into()]).unwrap();
        assert_eq!(some.iter().map(|variant| variant.name).collect::<Vec<_>>(), ["policy", "scratch"]);
        let error = Variant::choose(all(), &["scrtch".into()]).unwrap_err().to_string();
        assert!(error.contains("scrtch") && error.contains("did you mean `scratch`"), "{error}");
    }
}
