//! The mathematics of [`rl`](crate::rl) once more, in plain `f64` over slices: slow, obvious, and the oracle that the
//! tensor functions are compared with.
//!
//! Matrices are flat, row by row. Where the tensor functions refuse a value, these do too; the one difference is
//! [`exact_kl`], which returns infinity where the tensor function reports an error.

mod distribution;
mod objective;
mod returns;

pub use distribution::{entropy, exact_kl, k1, k2, k3, log_probabilities, token_log_prob};
pub use objective::{Batch, reinforce_gradient, reinforce_loss, reinforce_loss_from_logits, value_loss};
pub use returns::{
    batch_mean_advantages, generalised_advantages, leave_one_out_advantages, returns_to_go, rewards_at_end,
    value_advantages, whiten,
};
