//! The KL term of a stage as a recipe writes it.

use musicrl_core::rl::KlControl;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How alpha moves during a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlRule {
    /// It stays.
    #[default]
    Fixed,
    /// It follows the sequence KL to `target`.
    Adaptive,
    /// It rises to 1 as the sequence KL nears `budget`.
    Budget,
}

/// Strength of the KL term and its rule. Keys of another rule than the chosen one are refused, not ignored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlConfig {
    /// Weight of the KL term in \[0, 1\] (at the start); the reward term has the rest.
    pub alpha: f64,
    /// How it moves.
    #[serde(default)]
    pub rule: KlRule,
    /// Adaptive: the sequence KL to hold, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Adaptive: gain of an update, in (0, 1\]; 0.1 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Budget: the sequence KL not to exceed, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Budget: where the rise begins, as a fraction of the budget in \[0, 1); 0.5 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp_from: Option<f64>,
}

impl KlConfig {
    /// What core's controller is made from.
    ///
    /// # Errors
    /// [`Error::Config`] when a key of the rule is missing: the settings were not resolved.
    pub fn control(&self) -> Result<KlControl> {
        let given = |name: &str, value: Option<f64>| {
            value.ok_or_else(|| Error::config(format!("kl.{name}"), "given for this rule", "nothing"))
        };
        let alpha = self.alpha;
        Ok(match self.rule {
            KlRule::Fixed => KlControl::Fixed { alpha },
            KlRule::Adaptive => {
                KlControl::Adaptive { alpha, target: given("target", self.target)?, rate: given("rate", self.rate)? }
            }
            KlRule::Budget => KlControl::Budget {
                alpha,
                budget: given("budget", self.budget)?,
                ramp_from: given("ramp_from", self.ramp_from)?,
            },
        })
    }

    /// Checks the keys and fills in those of the chosen rule that were left out. `prefix` is where they stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn resolve(mut self, prefix: &str) -> Result<Self> {
        let field = |name: &str| format!("{prefix}.{name}");
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::config(field("alpha"), "between 0 and 1", self.alpha));
        }
        let (adaptive, budget) = (self.rule == KlRule::Adaptive, self.rule == KlRule::Budget);
        let keys = [
            ("target", self.target, adaptive, "rule = \"adaptive\""),
            ("rate", self.rate, adaptive, "rule = \"adaptive\""),
            ("budget", self.budget, budget, "rule = \"budget\""),
            ("ramp_from", self.ramp_from, budget, "rule = \"budget\""),
        ];
        for (name, value, read, rule) in keys {
            if let Some(value) = value.filter(|_| !read) {
                return Err(Error::config(field(name), format!("left out, or {rule} chosen"), value));
            }
        }
        let positive = |name: &str, value: Option<f64>| match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(()),
            Some(value) => Err(Error::config(field(name), "above 0", value)),
            None => Err(Error::config(field(name), "given for this rule", "nothing")),
        };
        if adaptive {
            // From 0 or 1 a factor leads nowhere.
            if self.alpha <= 0.0 || self.alpha >= 1.0 {
                return Err(Error::config(field("alpha"), "above 0 and below 1 for the adaptive rule", self.alpha));
            }
            positive("target", self.target)?;
            let rate = *self.rate.get_or_insert(0.1);
            if !(rate > 0.0 && rate <= 1.0) {
                return Err(Error::config(field("rate"), "above 0 and at most 1", rate));
            }
        }
        if budget {
            positive("budget", self.budget)?;
            let ramp_from = *self.ramp_from.get_or_insert(0.5);
            if !(0.0..1.0).contains(&ramp_from) {
                return Err(Error::config(field("ramp_from"), "at least 0 and below 1", ramp_from));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resolved_is_a_control_that_core_takes() {
        let config = |rule, target, budget| KlConfig { alpha: 0.2, rule, target, rate: None, budget, ramp_from: None };
        let cases = [
            (config(KlRule::Fixed, None, None), KlControl::Fixed { alpha: 0.2 }),
            (config(KlRule::Adaptive, Some(9.0), None), KlControl::Adaptive { alpha: 0.2, target: 9.0, rate: 0.1 }),
            (config(KlRule::Budget, None, Some(60.0)), KlControl::Budget { alpha: 0.2, budget: 60.0, ramp_from: 0.5 }),
        ];
        for (config, expected) in cases {
            let control = config.resolve("kl").unwrap().control().unwrap();
            assert_eq!(control, expected);
            control.init().unwrap();
        }
        assert!(config(KlRule::Budget, None, None).control().is_err());
    }
}
