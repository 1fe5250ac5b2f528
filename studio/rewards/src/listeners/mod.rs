//! Simulated listeners: hidden tastes over what can be measured of the decoded sound.
//!
//! A demo has no people. Its preferences come from these listeners, who are never called human: in `musicrl-feedback`
//! their records have the source `Simulated` with the population's name. They hear sound alone. Tokens, captions and
//! the models that made the sound are hidden from them.
//!
//! - [`standard`]: the properties of a sound on one scale, about mean 0 and spread 1 over clips of the embedded base.
//! - [`Taste`]: the utility of a sound.
//! - [`Population`]: a shared taste and how its listeners differ, with the noise of their choices; [`Listener`]: one of
//!   them, who chooses and rates.
//! - [`catalogue`]: the populations that ship (`tastes.toml`).
//! - [`noise_ceiling`]: how often a scorer that knew the shared taste would agree with the choices.
//! - [`TrueUtility`]: the shared taste as a reward, to watch over-optimisation with. It exists in simulation alone.
//!
//! The equations stand in `spec/preference.md`.
//!
//! ```
//! use musicrl_core::random::{Key, Purpose};
//! use musicrl_rewards::{Properties, listeners::catalogue};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let village = catalogue::population("village")?;
//! let listener = village.listener(3, village.key());
//! let tone: Vec<f32> = (0..48_000).map(|i| (i as f32 * 0.05).sin() * 0.1).collect();
//! let (a, b) = (Properties::of(&tone, 16_000), Properties::of(&[0.0; 48_000], 16_000));
//! let (a, b) = (listener.taste.utility(&a), listener.taste.utility(&b));
//! let outcome = listener.choose(a, b, 0, Key::new(1, Purpose::Listener));
//! # let _ = outcome;
//! # Ok(())
//! # }
//! ```

pub mod catalogue;
mod ceiling;
mod listener;
mod population;
pub mod standard;
mod taste;
mod true_utility;

pub use ceiling::{ExactChoice, noise_ceiling};
pub use listener::Listener;
pub use population::{Population, RatingHabits};
pub use standard::Property;
pub use taste::{Taste, Term};
pub use true_utility::TrueUtility;
