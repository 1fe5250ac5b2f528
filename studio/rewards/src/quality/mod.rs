//! Acoustic quality: what a listener would rate a sound between 1 and 5, predicted without a reference to compare with.
//!
//! - [`QualityConfig`] and [`QualityModel`]: from mono audio to a predicted mean opinion score and the spread of single
//!   ratings about it
//! - [`loss`]: squared error to the ratings, the order of pairs, the spread
//! - [`AcousticQuality`]: the reward
//!
//! ```
//! use burn::tensor::Device;
//! use musicrl_core::reward::AudioView;
//! use musicrl_rewards::quality::QualityConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Untrained weights by seed; `musicrl_pipeline::train::quality` trains them.
//! let model = QualityConfig::base().init_seeded(1, &Device::flex())?;
//! let samples: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.05).sin() * 0.1).collect();
//! let opinion = model.judge(AudioView { samples: &samples, sample_rate_hz: 16_000 })?;
//! assert!(opinion.mean > 1.0 && opinion.mean < 5.0);
//! # Ok(())
//! # }
//! ```

mod blocks;
mod config;
pub mod loss;
mod model;
mod reward;

pub use blocks::TemporalBlock;
pub use config::{QualityConfig, RatingsOrigin};
pub use model::{Opinions, QualityModel};
pub use reward::{AcousticQuality, Opinion};

/// The lowest and the highest opinion score.
pub const OPINION_RANGE: [f64; 2] = [1.0, 5.0];
