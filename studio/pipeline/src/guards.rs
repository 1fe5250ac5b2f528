//! Guards: small state machines that watch a run and stop it before it is lost.
//!
//! Each takes one measurement a step and answers with a [`Verdict`]. Their state is plain data, so that a checkpoint
//! can carry it.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, recipe::is_default};

/// What becomes of a stage whose KL or entropy is beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLimit {
    /// The run fails; its last good checkpoint stays.
    #[default]
    Fail,
    /// The stage ends there, and the run goes on from the checkpoint that it chose; for a guarded choice, which takes none
    /// beyond the limits.
    EndStage,
}

/// Which guards a stage has and where they stop it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardsConfig {
    /// The sequence KL to the reference, in nats, above which the stage stops; none where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_budget: Option<f64>,
    /// The share of the base's mean token entropy below which the stage stops, in \[0, 1); 0: no floor.
    pub entropy_floor_fraction: f64,
    /// The share of the reference's diversity of tokens between clips of different captions, in \[0, 1); a guarded choice takes
    /// no checkpoint below it; 0: no floor.
    #[serde(skip_serializing_if = "is_default")]
    pub diversity_floor_fraction: f64,
    /// Steps with a gradient that is not finite, all together, that are skipped before the stage stops.
    pub max_skipped: u64,
    /// Measurements in a row beyond a limit, or batches in a row without a clip that can be scored, before a guard
    /// stops: one noisy batch is not the end.
    pub patience: u32,
    /// What becomes of the stage where `kl_budget` or `entropy_floor_fraction` stops it.
    #[serde(skip_serializing_if = "is_default")]
    pub at_limit: AtLimit,
}

impl Default for GuardsConfig {
    fn default() -> Self {
        Self {
            kl_budget: None,
            entropy_floor_fraction: 0.0,
            diversity_floor_fraction: 0.0,
            max_skipped: 10,
            patience: 3,
            at_limit: AtLimit::default(),
        }
    }
}

impl GuardsConfig {
    /// Checks every key; `prefix` is where they stand.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let field = |name: &str| format!("{prefix}.{name}");
        if let Some(budget) = self.kl_budget.filter(|budget| !(budget.is_finite() && *budget > 0.0)) {
            return Err(Error::config(field("kl_budget"), "above 0", budget));
        }
        for (name, got) in [
            ("entropy_floor_fraction", self.entropy_floor_fraction),
            ("diversity_floor_fraction", self.diversity_floor_fraction),
        ] {
            if !(0.0..1.0).contains(&got) {
                return Err(Error::config(field(name), "at least 0 and below 1", got));
            }
        }
        if self.patience == 0 {
            return Err(Error::config(field("patience"), "at least 1", 0));
        }
        Ok(())
    }
}

/// A guard's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// All is well.
    Go,
    /// Beyond the limit, but not yet for long.
    Warn(String),
    /// Stop: the reason, with what was seen and what is allowed.
    Stop(String),
}

impl Verdict {
    /// Turns [`Verdict::Stop`] into [`Error::Guard`].
    ///
    /// # Errors
    /// When the verdict is to stop.
    pub fn or_stop(self, guard: &'static str) -> Result<Self> {
        match self {
            Self::Stop(reason) => Err(Error::Guard { guard, reason }),
            other => Ok(other),
        }
    }
}

/// Counts steps whose gradient was not finite; such steps change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedSteps {
    max: u64,
    count: u64,
}

impl SkippedSteps {
    /// Allows `max` skipped steps.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self { max, count: 0 }
    }

    /// Skipped so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes whether a step was skipped.
    pub fn observe(&mut self, skipped: bool) -> Verdict {
        self.count += u64::from(skipped);
        match skipped {
            _ if self.count > self.max => Verdict::Stop(format!(
                "{} steps had a gradient that is not finite, {} are allowed",
                self.count, self.max
            )),
            true => Verdict::Warn(format!("the gradient is not finite: step skipped ({} of {})", self.count, self.max)),
            false => Verdict::Go,
        }
    }
}

/// A limit that may be passed for `patience - 1` measurements in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Patience {
    patience: u32,
    in_a_row: u32,
}

impl Patience {
    fn new(patience: u32) -> Self {
        Self { patience, in_a_row: 0 }
    }

    fn observe(&mut self, beyond: Option<String>) -> Verdict {
        let Some(reason) = beyond else {
            self.in_a_row = 0;
            return Verdict::Go;
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row >= self.patience {
            Verdict::Stop(format!("{reason}, {} measurements in a row", self.in_a_row))
        } else {
            Verdict::Warn(reason)
        }
    }
}

/// Stops when the sequence KL stays above its budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KlBudget {
    budget: f64,
    patience: Patience,
}

impl KlBudget {
    /// Allows `budget` nats a sequence.
    #[must_use]
    pub fn new(budget: f64, patience: u32) -> Self {
        Self { budget, patience: Patience::new(patience) }
    }

    /// Takes the mean sequence KL of a batch. NaN is beyond every budget.
    pub fn observe(&mut self, sequence_kl: f64) -> Verdict {
        let within = sequence_kl <= self.budget;
        let reason = format!("sequence KL {sequence_kl:.1} is above the budget of {:.1} nats", self.budget);
        self.patience.observe((!within).then_some(reason))
    }
}

/// Stops when the mean token entropy stays below a share of the base's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EntropyFloor {
    floor: f64,
    patience: Patience,
}

impl EntropyFloor {
    /// Keeps the entropy above `fraction` of `base_entropy`, in nats a token.
    #[must_use]
    pub fn new(base_entropy: f64, fraction: f64, patience: u32) -> Self {
        Self { floor: fraction * base_entropy, patience: Patience::new(patience) }
    }

    /// Takes the mean token entropy of a batch. NaN is below every floor.
    pub fn observe(&mut self, entropy: f64) -> Verdict {
        let within = entropy >= self.floor;
        let reason = format!("mean token entropy {entropy:.3} is below the floor of {:.3} nats", self.floor);
        self.patience.observe((!within).then_some(reason))
    }
}

/// Stops when no clip of a batch can be scored, batch after batch: such steps change nothing, so that the stage would
/// run to its end without having learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unscorable {
    patience: Patience,
}

impl Unscorable {
    /// Allows `patience - 1` such batches in a row.
    #[must_use]
    pub fn new(patience: u32) -> Self {
        Self { patience: Patience::new(patience) }
    }

    /// Takes how many clips of a batch were scored, and who could not score the first of the others and why.
    pub fn observe(&mut self, scored: usize, first: Option<&str>) -> Verdict {
        let first = first.filter(|_| scored == 0);
        self.patience.observe(first.map(|first| format!("no clip could be scored, the first by {first}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_steps_stop_past_the_maximum_only() {
        let mut guard = SkippedSteps::new(2);
        assert_eq!(guard.observe(false), Verdict::Go);
        assert!(matches!(guard.observe(true), Verdict::Warn(_)));
        assert!(matches!(guard.observe(true), Verdict::Warn(_)));
        assert_eq!(guard.observe(false), Verdict::Go);
        let Verdict::Stop(reason) = guard.observe(true) else { panic!("the third must stop") };
        assert!(reason.contains("3 steps") && reason.contains("2 are allowed"), "{reason}");
        assert!(matches!(SkippedSteps::new(0).observe(true), Verdict::Stop(_)));
    }

    #[test]
    fn a_budget_stops_only_after_a_row_of_measurements() {
        let mut guard = KlBudget::new(60.0, 2);
        assert_eq!(guard.observe(60.0), Verdict::Go);
        assert!(matches!(guard.observe(61.0), Verdict::Warn(_)));
        assert_eq!(guard.observe(59.0), Verdict::Go, "the row is broken");
        assert!(matches!(guard.observe(61.0), Verdict::Warn(_)));
        assert!(matches!(guard.observe(f64::NAN), Verdict::Stop(_)));
        let error = guard.observe(80.0).or_stop("kl_budget").unwrap_err().to_string();
        assert!(error.contains("kl_budget") && error.contains("80.0"), "{error}");
    }

    #[test]
    fn the_floor_is_a_share_of_the_base() {
        let mut guard = EntropyFloor::new(4.0, 0.7, 1);
        assert_eq!(guard.observe(2.8), Verdict::Go);
        assert!(matches!(guard.observe(2.79), Verdict::Stop(_)));
        assert_eq!(EntropyFloor::new(4.0, 0.0, 1).observe(0.0), Verdict::Go, "no floor");
    }

    #[test]
    fn only_batches_without_any_score_are_counted_and_the_first_reason_is_named() {
        let mut guard = Unscorable::new(2);
        assert_eq!(guard.observe(3, Some("judge: silence")), Verdict::Go, "one clip is enough");
        assert_eq!(guard.observe(4, None), Verdict::Go);
        assert!(matches!(guard.observe(0, Some("judge: silence")), Verdict::Warn(_)));
        assert_eq!(guard.observe(1, Some("judge: silence")), Verdict::Go, "the row is broken");
        assert!(matches!(guard.observe(0, Some("judge: silence")), Verdict::Warn(_)));
        let Verdict::Stop(reason) = guard.observe(0, Some("judge: noise")) else { panic!("the second must stop") };
        assert!(reason.contains("the first by judge: noise") && reason.contains("2 measurements"), "{reason}");
    }

    #[test]
    fn a_guard_goes_on_from_its_stored_state() {
        let mut guard = KlBudget::new(1.0, 2);
        guard.observe(2.0);
        let mut back: KlBudget = serde_json::from_str(&serde_json::to_string(&guard).unwrap()).unwrap();
        assert!(matches!(back.observe(2.0), Verdict::Stop(_)));
    }
}
