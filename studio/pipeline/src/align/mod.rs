//! Alignment: clips are played, judged, and the policy moves towards what the judges prefer, held back by the exact KL
//! to its reference.
//!
//! [`learn`] is one step of KL-regularised REINFORCE.

pub mod learn;
