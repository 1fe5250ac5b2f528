//! KL control: how alpha, the weight of the KL term, moves during a stage.

use alloc::{format, string::String};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The rule by which alpha moves. KL is the mean over clips of the KL summed over a clip's actions, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KlControl {
    /// Alpha stays.
    Fixed {
        /// Weight of the KL term in [0, 1].
        alpha: f64,
    },
    /// Alpha follows the KL to a target (Ziegler et al., "Fine-Tuning Language Models from Human Preferences", 2019,
    /// arXiv 1909.08593, section 2.2): with beta = alpha / (1 - alpha) the KL's weight relative to the reward's,
    /// beta <- beta * (1 + rate * clip(KL / target - 1, -0.2, 0.2)).
    Adaptive {
        /// Alpha at the start, strictly between 0 and 1 (from 0 or 1 a factor leads nowhere).
        alpha: f64,
        /// The KL to hold, above 0.
        target: f64,
        /// Gain, above 0 and at most 1.
        rate: f64,
    },
    /// Alpha stays while the KL is below `ramp_from * budget`, then rises in a straight line to 1 at the budget, where
    /// nothing is left but the pull towards the reference.
    Budget {
        /// Alpha below the ramp, in [0, 1].
        alpha: f64,
        /// The KL not to exceed, above 0.
        budget: f64,
        /// Where the ramp begins, as a fraction of the budget in [0, 1).
        ramp_from: f64,
    },
}

/// Alpha stays inside this distance from 0 and 1 under [`KlControl::Adaptive`], so that it can always come back.
const EDGE: f64 = 1e-6;

impl KlControl {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field outside its range.
    pub fn validate(&self) -> Result<()> {
        let rule = |ok: bool, field, expected: &str, got: f64| {
            if ok {
                return Ok(());
            }
            Err(Error::Config { field, expected: String::from(expected), got: format!("{got}") })
        };
        let positive = |x: f64| x.is_finite() && x > 0.0;
        match *self {
            Self::Fixed { alpha } => rule((0.0..=1.0).contains(&alpha), "alpha", "between 0 and 1", alpha),
            Self::Adaptive { alpha, target, rate } => {
                rule((EDGE..=1.0 - EDGE).contains(&alpha), "alpha", "between 0.000001 and 0.999999", alpha)?;
                rule(positive(target), "target", "positive and finite", target)?;
                rule(rate > 0.0 && rate <= 1.0, "rate", "above 0 and at most 1", rate)
            }
            Self::Budget { alpha, budget, ramp_from } => {
                rule((0.0..=1.0).contains(&alpha), "alpha", "between 0 and 1", alpha)?;
                rule(positive(budget), "budget", "positive and finite", budget)?;
                rule((0.0..1.0).contains(&ramp_from), "ramp_from", "at least 0 and below 1", ramp_from)
            }
        }
    }

    /// A controller at its start.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(self) -> Result<KlController> {
        self.validate()?;
        let (Self::Fixed { alpha } | Self::Adaptive { alpha, .. } | Self::Budget { alpha, .. }) = self;
        Ok(KlController { control: self, alpha })
    }
}

/// The rule with its state; what is serialised is all that the next step reads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct KlController {
    control: KlControl,
    alpha: f64,
}

/// What is stored; [`KlController`] is what has been checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    control: KlControl,
    alpha: f64,
}

impl TryFrom<Fields> for KlController {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        KlControl::Fixed { alpha: fields.alpha }.validate()?;
        Ok(Self { alpha: fields.alpha, ..fields.control.init()? })
    }
}

impl From<KlController> for Fields {
    fn from(controller: KlController) -> Self {
        Self { control: controller.control, alpha: controller.alpha }
    }
}

impl KlController {
    /// Weight of the KL term for the next step, in [0, 1].
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The rule.
    #[must_use]
    pub fn control(&self) -> KlControl {
        self.control
    }

    /// Takes the KL that the last step measured and sets alpha for the next.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a KL that is not a number; the state stays as it was.
    pub fn update(&mut self, sequence_kl: f64) -> Result<()> {
        if !sequence_kl.is_finite() {
            return Err(Error::NonFinite { what: "sequence KL", at: format!("the KL controller: {sequence_kl}") });
        }
        self.alpha = match self.control {
            KlControl::Fixed { alpha } => alpha,
            KlControl::Adaptive { target, rate, .. } => {
                let error = (sequence_kl / target - 1.0).clamp(-0.2, 0.2);
                let beta = self.alpha / (1.0 - self.alpha) * (1.0 + rate * error);
                (beta / (1.0 + beta)).clamp(EDGE, 1.0 - EDGE)
            }
            KlControl::Budget { alpha, budget, ramp_from } => {
                let ramp = (sequence_kl / budget - ramp_from) / (1.0 - ramp_from);
                alpha + (1.0 - alpha) * ramp.clamp(0.0, 1.0)
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_rises_above_the_target_and_falls_below() -> Result<()> {
        let mut controller = KlControl::Adaptive { alpha: 0.5, target: 10.0, rate: 0.1 }.init()?;
        controller.update(10.0)?;
        assert!((controller.alpha() - 0.5).abs() < 1e-15);
        // beta 1 -> 1 + 0.1 * 0.2 = 1.02, clipped error.
        controller.update(1e9)?;
        assert!((controller.alpha() - 1.02 / 2.02).abs() < 1e-15);
        for _ in 0..100_000 {
            controller.update(0.0)?;
        }
        assert_eq!(controller.alpha(), EDGE);
        controller.update(20.0)?;
        assert!(controller.alpha() > EDGE);
        Ok(())
    }

    #[test]
    fn budget_ramps_to_one() -> Result<()> {
        let mut controller = KlControl::Budget { alpha: 0.2, budget: 60.0, ramp_from: 0.5 }.init()?;
        for (kl, alpha) in [(0.0, 0.2), (30.0, 0.2), (45.0, 0.6), (60.0, 1.0), (600.0, 1.0), (-1e-9, 0.2)] {
            controller.update(kl)?;
            assert!((controller.alpha() - alpha).abs() < 1e-12, "{kl}: {}", controller.alpha());
        }
        Ok(())
    }

    #[test]
    fn bad_settings_and_bad_measurements_are_refused() -> Result<()> {
        for control in [
            KlControl::Fixed { alpha: -0.1 },
            KlControl::Fixed { alpha: f64::NAN },
            KlControl::Adaptive { alpha: 0.0, target: 1.0, rate: 0.1 },
            KlControl::Adaptive { alpha: 0.5, target: 0.0, rate: 0.1 },
            KlControl::Adaptive { alpha: 0.5, target: 1.0, rate: f64::INFINITY },
            KlControl::Budget { alpha: 0.5, budget: f64::INFINITY, ramp_from: 0.5 },
            KlControl::Budget { alpha: 0.5, budget: 1.0, ramp_from: 1.0 },
        ] {
            assert!(matches!(control.init(), Err(Error::Config { .. })), "{control:?}");
        }
        let mut controller = KlControl::Adaptive { alpha: 0.5, target: 1.0, rate: 0.1 }.init()?;
        let before = controller;
        assert!(controller.update(f64::NAN).is_err());
        assert_eq!(controller, before);
        Ok(())
    }

    #[test]
    fn the_state_survives_storage() -> Result<()> {
        let mut controller = KlControl::Adaptive { alpha: 0.3, target: 5.0, rate: 0.1 }.init()?;
        controller.update(6.0)?;
        let text = serde_json::to_string(&controller).unwrap();
        let mut back: KlController = serde_json::from_str(&text).unwrap();
        assert_eq!(back, controller);
        back.update(7.0)?;
        controller.update(7.0)?;
        assert_eq!(back.alpha().to_bits(), controller.alpha().to_bits());
        assert!(serde_json::from_str::<KlController>(&text.replace("5.0", "-5.0")).is_err());
        assert!(serde_json::from_str::<KlControl>(r#"{"kind":"fixed","alpha":0.1,"gain":1}"#).is_err());
        Ok(())
    }
}
