//! Settings of the training: [`PreferenceTrainingConfig`].

use musicrl_core::{preference::Judgement, stats::BootstrapConfig};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    optim::AdamWConfig,
    preference::{DataConfig, Reads, ensemble::MEMBERS_MAX},
    recipe::LoraConfig,
};

/// Where the weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// The policy's trunk, as published.
    Policy,
    /// Nowhere: the control that stays near chance.
    Scratch,
    /// The bundle's part `preference`: to go on with new pairs, or to correct it for a listener.
    Shared,
}

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learn {
    /// Trunk and head.
    All,
    /// The head alone. A shared model's is held to where it began by a prior (see `deviation`): one listener from few
    /// pairs. A fitted one stays, for it is the minimum of its penalised loss, and steps without that penalty only lead
    /// away from it; learned is then the tie strength.
    Head,
}

/// What the head is before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Small random numbers.
    Drawn,
    /// Fitted to the pairs to learn from on the vectors of the trunk as it begins, by logistic regression with the ridge
    /// that foretells pairs of other captions best; those of a shared model stay as they are. Steps then change a
    /// trunk whose head already reads it (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022).
    Fitted,
}

/// How ties are modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// `tie_strength` is where learning starts.
    Learned,
    /// `tie_strength` stays; at 0 a tie is half a win each.
    Fixed,
}

/// What a judgement's confidence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfidenceUse {
    /// Nothing: all that count weigh 1.
    Ignore,
    /// It is the weight in the loss.
    Weight,
    /// Those of at least `confidence_min` weigh 1, the others are left out of learning.
    Only,
}

/// Which weights the training ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Those of the evaluation with the least held-out log-loss.
    Best,
    /// The last.
    Last,
}

/// Settings of [`PreferenceTraining`](super::PreferenceTraining).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceTrainingConfig {
    /// Where the weights come from.
    pub init: Init,
    /// What is learned.
    pub learn: Learn,
    /// What the head is before the first step.
    pub head: Head,
    /// With `learn = "head"`: how far, in units of the score, the listener is thought to stand from where the head began;
    /// the standard deviation of a normal prior on the correction of a typical clip's score. Small is strongly held.
    pub deviation: f64,
    /// Whether the model reads captions.
    pub text: bool,
    /// Whether it is given descriptors of each clip's sound beside the tokens
    /// ([`descriptors`](musicrl_rewards::descriptors)): its beat, its loudness and how that moves, what comes again.
    #[serde(default)]
    pub sound: bool,
    /// Share of each clip that it hears: 1 for all; 1/2, 1/4 and 3/20 are 10, 5 and 3 of 20 s. A learning step takes it
    /// anywhere in the clip, the same place in both of a pair, an evaluation in the middle.
    pub crop: f64,
    /// Pairs a step.
    pub batch_pairs: usize,
    /// Times that every pair is seen, where no number of steps is given.
    pub epochs: f64,
    /// How ties are modelled.
    pub ties: Ties,
    /// Davidson's nu.
    pub tie_strength: f64,
    /// Share of choices that are doubted.
    pub label_smoothing: f64,
    /// Times the margins that were recorded; 0 leaves them out.
    pub margin_scale: f64,
    /// What a judgement's confidence does.
    pub confidence: ConfidenceUse,
    /// Least confidence for `confidence = "only"`.
    pub confidence_min: f64,
    /// Share of captions whose pairs are held out; 0 measures nothing and stops never.
    pub held_out_share: f64,
    /// Seed of that division alone, so that trainings with other seeds are measured on the same pairs.
    pub split_seed: u64,
    /// Held-out pairs of an evaluation during training.
    pub evaluation_pairs: usize,
    /// Which weights the training ends with.
    pub select: Select,
    /// Evaluations without a smaller held-out log-loss after which the training stops; 0: never before its last step.
    pub patience: u64,
    /// Decay of the average of weights over steps that is evaluated and kept; 0 for none. It rises to this from 0.1 as
    /// (1 + t) / (10 + t).
    pub average_decay: f64,
    /// Models of the ensemble; they differ in the first weights of the head and in the order of the pairs.
    pub members: usize,
    /// Clips of the policy whose mean score becomes 0.
    pub centring_clips: usize,
    /// Step size of the trunk, as a share of the optimiser's; the head has all of it.
    pub trunk_rate: f64,
    /// The optimiser.
    pub optimiser: AdamWConfig,
    /// Intervals of evaluations.
    pub bootstrap: BootstrapConfig,
    /// Low-rank adapters on the trunk of an imported policy, which learn with the head; without them the head alone does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Which judgements, and how their clips are read.
    pub data: DataConfig,
}

impl PreferenceTrainingConfig {
    /// For sets of some thousand pairs and the shipped base.
    #[must_use]
    pub fn base() -> Self {
        Self {
            init: Init::Policy,
            learn: Learn::All,
            head: Head::Fitted,
            deviation: 0.5,
            text: true,
            sound: true,
            crop: 1.0,
            batch_pairs: 32,
            epochs: 6.0,
            ties: Ties::Learned,
            tie_strength: 0.5,
            label_smoothing: 0.0,
            margin_scale: 1.0,
            confidence: ConfidenceUse::Weight,
            confidence_min: 0.5,
            held_out_share: 0.1,
            split_seed: 1,
            evaluation_pairs: 512,
            select: Select::Best,
            patience: 6,
            average_decay: 0.9,
            members: 1,
            centring_clips: 64,
            trunk_rate: 0.1,
            optimiser: AdamWConfig { learning_rate: 3e-4, weight_decay: 0.05, ..AdamWConfig::default() },
            bootstrap: BootstrapConfig::default(),
            lora: None,
            data: DataConfig::default(),
        }
    }

    /// The published training: tokens alone, 32 pairs a step, 5 % held out (15,000 of 300,000 pairs), no ties; 10,000 steps
    /// are for the caller to ask for. Step sizes are not published.
    #[must_use]
    pub fn published() -> Self {
        Self {
            epochs: 1.12,
            ties: Ties::Fixed,
            tie_strength: 0.0,
            head: Head::Drawn,
            sound: false,
            confidence: ConfidenceUse::Ignore,
            margin_scale: 0.0,
            held_out_share: 0.05,
            evaluation_pairs: 2_048,
            average_decay: 0.0,
            centring_clips: 256,
            optimiser: AdamWConfig { learning_rate: 1e-4, warmup_steps: 500, ..AdamWConfig::default() },
            ..Self::base()
        }
    }

    /// Whether the head stays as it was fitted.
    #[must_use]
    pub fn head_stays(&self) -> bool {
        self.learn == Learn::Head && self.head == Head::Fitted && self.init != Init::Shared
    }

    /// What a model of these settings is given of a clip.
    #[must_use]
    pub fn reads(&self) -> Reads {
        Reads { text: self.text, sound: self.sound }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.optimiser.validate("optimiser")?;
        self.data.validate()?;
        if let Some(lora) = &self.lora {
            lora.validate("settings")?;
        }
        let share = |x: f64| (0.0..1.0).contains(&x);
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let at_least_0 = |x: f64| x.is_finite() && x >= 0.0;
        let learned = self.ties == Ties::Learned;
        let rules = [
            ("deviation", positive(self.deviation), "above 0", self.deviation),
            ("crop", self.crop > 0.0 && self.crop <= 1.0, "above 0 and at most 1", self.crop),
            ("crop", !self.sound || self.crop == 1.0, "1 with sound = true: descriptors are of whole clips", self.crop),
            ("batch_pairs", (1..=1 << 16).contains(&self.batch_pairs), "1 to 65536", self.batch_pairs as f64),
            ("epochs", positive(self.epochs), "above 0", self.epochs),
            ("tie_strength", at_least_0(self.tie_strength), "at least 0", self.tie_strength),
            ("tie_strength", !learned || self.tie_strength > 0.0, "above 0 where it is learned", self.tie_strength),
            ("label_smoothing", (0.0..0.5).contains(&self.label_smoothing), "in [0, 0.5)", self.label_smoothing),
            ("margin_scale", at_least_0(self.margin_scale), "at least 0", self.margin_scale),
            ("confidence_min", at_least_0(self.confidence_min), "at least 0", self.confidence_min),
            ("held_out_share", share(self.held_out_share), "in [0, 1)", self.held_out_share),
            ("evaluation_pairs", self.evaluation_pairs > 0, "at least 1", self.evaluation_pairs as f64),
            ("average_decay", share(self.average_decay), "in [0, 1)", self.average_decay),
            ("members", (1..=MEMBERS_MAX).contains(&self.members), "1 to 64", self.members as f64),
            ("trunk_rate", at_least_0(self.trunk_rate) && self.trunk_rate <= 10.0, "0 to 10", self.trunk_rate),
            ("bootstrap.resamples", self.bootstrap.resamples >= 2, "at least 2", self.bootstrap.resamples as f64),
            (
                "bootstrap.confidence",
                self.bootstrap.confidence > 0.0 && self.bootstrap.confidence < 1.0,
                "above 0 and below 1",
                self.bootstrap.confidence,
            ),
        ];
        match rules.into_iter().find(|(_, holds, ..)| !holds) {
            Some((field, _, rule, got)) => Err(Error::config(field, rule, got)),
            None => Ok(()),
        }
    }

    /// Refuses adapters, which a policy of our own does not have.
    ///
    /// # Errors
    /// [`Error::Config`] where `lora` is given.
    pub fn check_no_adapters(&self) -> Result<()> {
        match &self.lora {
            None => Ok(()),
            Some(lora) => {
                let expected = "left out for a policy of our own (its trunk learns at `trunk_rate`)";
                Err(Error::config("lora", expected, format!("rank {}", lora.rank)))
            }
        }
    }

    /// Refuses settings that mean nothing where adapters learn.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn check_adapters(&self) -> Result<()> {
        let rules = [
            ("members", self.members == 1, "1 with `lora`", self.members.to_string()),
            ("init", self.init == Init::Policy, "policy with `lora`", format!("{:?}", self.init).to_lowercase()),
            ("learn", self.learn == Learn::All, "all with `lora`", format!("{:?}", self.learn).to_lowercase()),
            ("crop", self.crop == 1.0, "1 with `lora`", self.crop.to_string()),
        ];
        match rules.into_iter().find(|(_, holds, ..)| !holds) {
            Some((field, _, expected, got)) => Err(Error::config(field, expected, got)),
            None => Ok(()),
        }
    }

    /// A recorded judgement as the loss takes it.
    #[must_use]
    pub fn judgement(&self, recorded: &Judgement) -> Judgement {
        let counts = recorded.counted_weight() > 0.0;
        let weight = match self.confidence {
            ConfidenceUse::Weight => recorded.counted_weight(),
            ConfidenceUse::Ignore => f64::from(u8::from(counts)),
            ConfidenceUse::Only => f64::from(u8::from(counts && recorded.weight >= self.confidence_min)),
        };
        Judgement { outcome: recorded.outcome, margin: self.margin_scale * recorded.margin, weight }
    }

    /// Steps that see `pairs` pairs `epochs` times, at least 1.
    #[must_use]
    pub fn steps(&self, pairs: usize) -> u64 {
        ((self.epochs * pairs as f64 / self.batch_pairs.max(1) as f64).ceil() as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::preference::Outcome;

    use super::*;

    #[test]
    fn presets_are_valid_and_bad_settings_are_named() {
        PreferenceTrainingConfig::published().validate().unwrap();
        let check = |field: &str, change: &dyn Fn(&mut PreferenceTrainingConfig)| {
            let mut config = PreferenceTrainingConfig::base();
            config.validate().unwrap();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(field), "{field}: {message}");
        };
        check("crop", &|config| config.crop = 0.0);
        check("crop", &|config| config.crop = f64::NAN);
        check("crop", &|config| config.crop = 0.5);
        check("batch_pairs", &|config| config.batch_pairs = 0);
        check("tie_strength", &|config| config.tie_strength = 0.0);
        check("label_smoothing", &|config| config.label_smoothing = 0.5);
        check("held_out_share", &|config| config.held_out_share = 1.0);
        check("members", &|config| config.members = 65);
        check("deviation", &|config| config.deviation = f64::INFINITY);
        check("trunk_rate", &|config| config.trunk_rate = -1.0);
        check("epochs", &|config| config.epochs = 0.0);
        check("optimiser.learning_rate", &|config| config.optimiser.learning_rate = 0.0);
        check("resamples", &|config| config.bootstrap.resamples = 0);
        check("lora.rank", &|config| config.lora = Some(LoraConfig { rank: 0, alpha: None }));
        check("seconds_max", &|config| config.data.encode.seconds_max = f64::NAN);
    }

    #[test]
    fn confidence_weighs_or_chooses() {
        let recorded = Judgement { outcome: Outcome::BetterA, margin: 0.5, weight: 0.4 };
        let sure = Judgement { weight: 0.9, ..recorded };
        let skipped = Judgement { outcome: Outcome::Skipped, ..sure };
        let weights = |confidence, recorded: [Judgement; 3]| {
            let config = PreferenceTrainingConfig { confidence, ..PreferenceTrainingConfig::base() };
            recorded.map(|recorded| config.judgement(&recorded).weight)
        };
        let all = [recorded, sure, skipped];
        assert_eq!(weights(ConfidenceUse::Weight, all), [0.4, 0.9, 0.0]);
        assert_eq!(weights(ConfidenceUse::Ignore, all), [1.0, 1.0, 0.0]);
        assert_eq!(weights(ConfidenceUse::Only, all), [0.0, 1.0, 0.0]);
        let config = PreferenceTrainingConfig { margin_scale: 2.0, ..PreferenceTrainingConfig::base() };
        assert_eq!(config.judgement(&recorded).margin, 1.0);
    }

    #[test]
    fn adapters_are_for_one_model_on_an_imported_policy() {
        let lora = Some(LoraConfig { rank: 4, alpha: None });
        let config = PreferenceTrainingConfig { lora, ..PreferenceTrainingConfig::base() };
        config.check_adapters().unwrap();
        assert!(config.check_no_adapters().unwrap_err().to_string().contains("lora"));
        let check = |field: &str, config: PreferenceTrainingConfig| {
            let message = config.check_adapters().unwrap_err().to_string();
            assert!(message.contains(field), "{field}: {message}");
        };
        check("members", PreferenceTrainingConfig { members: 2, ..config.clone() });
        check("init", PreferenceTrainingConfig { init: Init::Scratch, ..config.clone() });
        check("learn", PreferenceTrainingConfig { learn: Learn::Head, ..config.clone() });
        check("crop", PreferenceTrainingConfig { crop: 0.5, ..config });
    }

    #[test]
    fn steps_cover_the_epochs() {
        let config = PreferenceTrainingConfig { epochs: 1.5, batch_pairs: 8, ..PreferenceTrainingConfig::base() };
        assert_eq!((config.steps(16), config.steps(17), config.steps(0)), (3, 4, 1));
    }
}
