//! From logits to tokens, and back to their probabilities.
//!
//! **The policy is the distribution that is sampled.** [`SamplingConfig`] (temperature, top-k, top-p, guidance) shapes
//! logits in one order, in generation ([`generate()`]) and in learning ([`SamplingConfig::shape`]):
//!
//! 1. guidance: `null + (conditional - null) * guidance`, on raw logits (Ho and Salimans, 2022);
//! 2. temperature: `/ temperature`;
//! 3. top-k: entries below the k-th largest go; ties with it stay;
//! 4. top-p: of what is left, the fewest of the most probable entries whose probability reaches p stay, ties again
//!    with them (Holtzman et al., "The curious case of neural text degeneration", ICLR 2020);
//! 5. what is left is renormalised.
//!
//! An action is drawn by inverting the distribution function in `f64` at a number from the keyed generator, so that a
//! clip does not depend on the batch that it is drawn in.

mod config;
mod generate;
mod learn;
mod shape;

pub use config::SamplingConfig;
pub use generate::{GenerationRequest, Sample, continue_from, generate};
pub use shape::Shaped;
