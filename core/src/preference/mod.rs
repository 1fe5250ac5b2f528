//! What preferences say: outcomes of comparisons, the Bradley-Terry model with ties, strengths for leaderboards, and
//! the DPO loss as a control.
//!
//! - [`Outcome`], [`Judgement`]: what a listener said about a pair, with a margin and a confidence weight.
//! - [`bradley_terry_loss`]: trains a reward model from pairs. Ties follow Davidson (1970).
//!   [`smoothed_bradley_terry_loss`] doubts a share of the choices and may learn the tie strength.
//! - [`fit_strengths`]: one strength an item, from many comparisons (minorisation-maximisation, Hunter 2004).
//! - [`dpo_loss`]: direct preference optimisation, for comparison with reinforcement learning.
//! - [`mod@reference`]: the losses once more in plain `f64`, the oracle of the tests.
//!
//! **Ties.** With d = s_a - s_b and tie strength nu, Davidson's model says
//!
//! P(a) = e^(d/2) / Z, P(b) = e^(-d/2) / Z, P(tie) = nu / Z, Z = e^(d/2) + e^(-d/2) + nu,
//!
//! which is the Bradley-Terry model for nu = 0, where a tie counts as half a win for each. It was chosen over Rao and
//! Kupper's because it keeps P(a) / P(b) = e^d for every nu (a tie says nothing about who would have won), and because
//! it is a softmax over three logits, so it is stable at any difference.
//!
//! [`Outcome::BothBad`] says the same as a tie about the *difference* of the two clips, and is used so here; that both
//! are bad is kept in the data for whoever models absolute quality. [`Outcome::Skipped`] says nothing and counts
//! nowhere.

#[cfg(feature = "model")]
mod bradley_terry;
#[cfg(feature = "model")]
mod dpo;
mod outcome;
pub mod reference;
mod strength;

#[cfg(feature = "model")]
pub use self::{
    bradley_terry::{TieStrength, bradley_terry_loss, smoothed_bradley_terry_loss},
    dpo::{SequenceLogProbs, dpo_loss},
};
pub use outcome::{Judgement, Outcome, agreement};
pub use strength::{Comparison, FitConfig, Strengths, fit_strengths};
