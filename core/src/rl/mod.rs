//! KL-regularised REINFORCE over tokens, as free functions without trainer state.
//!
//! Letters are those of `spec/notation.md`: B clips, S = T * K actions in generation order, V codebook entries (padded
//! to the largest slot). The mask is true where an action was chosen by the policy and counts.
//!
//! | file | what |
//! |---|---|
//! | [`log_probabilities`], [`token_log_prob`], [`entropy`], [`exact_kl`] | what one codebook distribution says |
//! | [`k1`], [`k2`], [`k3`] | the same KL estimated from the sampled token |
//! | [`rewards_at_end`], [`returns_to_go`] | from a clip's reward to a return for each action |
//! | [`value_advantages`], [`leave_one_out_advantages`], [`batch_mean_advantages`], [`whiten`] | returns less a baseline |
//! | [`generalised_advantages`] | what the values say that each action has changed |
//! | [`reinforce_loss`], [`value_loss`] | the two losses, composed from the parts above |
//! | [`reinforce_loss_chunked`], [`token_terms_chunked`] | the same, a few frames at a time, with the gradient in closed form |
//! | [`KlControl`], [`KlController`] | how the strength of the KL term moves during a stage |
//! | [`mod@reference`] | each function once more in plain `f64`: the oracle that the tests compare with |
//!
//! **The policy is the distribution that is sampled**: logits come in here already tempered, guided and masked, by the
//! same code that generation uses.
//!
//! Logits may be any finite number or -inf (the token is forbidden). NaN anywhere is an error, also under the mask: it
//! means a broken model. +inf, or a row without an allowed token, is an error where the mask counts. Otherwise masked
//! positions never matter: they give 0 in every result and no gradient. Forbidden tokens contribute 0 to entropy and
//! KL. A token that the reference forbids and the policy does not makes the KL infinite, which is an error.
//!
//! Nothing here draws random numbers, and nothing here steps an optimiser.

mod control;
mod settings;

#[cfg(feature = "model")]
mod advantages;
#[cfg(feature = "model")]
mod chunked;
#[cfg(feature = "model")]
mod distribution;
#[cfg(feature = "model")]
mod estimators;
#[cfg(feature = "model")]
mod objective;
pub mod reference;
#[cfg(feature = "model")]
mod returns;
#[cfg(feature = "model")]
pub(crate) mod shape;

pub use control::{KlControl, KlController};
pub use settings::{Normalisation, Objective};

#[cfg(feature = "model")]
pub use self::{
    advantages::{batch_mean_advantages, generalised_advantages, leave_one_out_advantages, value_advantages, whiten},
    chunked::{Actions, ChunkLogits, PolicyLoss, TokenTerms, reinforce_loss_chunked, token_terms_chunked},
    distribution::{entropy, exact_kl, log_probabilities, token_log_prob},
    estimators::{k1, k2, k3},
    objective::{reinforce_loss, value_loss},
    returns::{returns_to_go, rewards_at_end},
};
