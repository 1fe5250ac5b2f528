//! Judges that hear audio: the joint text-audio embedding, its tokens, text adherence and acoustic quality as rewards,
//! judges of the user's own, and simulated listeners.
//!
//! A caption and a piece of audio become unit vectors of one space, trained so that what belongs together lies together.
//! The space serves twice: its residual-quantised vectors are the condition of the policy (of the audio in pretraining,
//! of the caption in generation), and the cosine of a caption and the audio made for it is a reward.
//!
//! ```
//! use burn::tensor::Device;
//! use musicrl_core::reward::{AudioView, Clip, Reward, TokensView};
//! use musicrl_rewards::{TextAdherence, TextAudioConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Untrained weights by seed; `musicrl_pipeline::train::text_audio` trains them.
//! let model = TextAudioConfig::base().init_seeded(1, &Device::flex())?;
//! let judge = TextAdherence::new(model);
//! let samples: Vec<f32> = (0..102_400).map(|i| (i as f32 * 0.05).sin() * 0.1).collect();
//! let audio = Some(AudioView { samples: &samples, sample_rate_hz: 16_000 });
//! let clip = Clip { caption: "a calm flute melody", tokens: TokensView { ids: &[], slots: 5 }, audio };
//! let score = judge.score(&[clip])?[0].value();
//! assert!(score.is_some_and(|score| (-1.0..=1.0).contains(&score)));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! - text side: [`text`] (hashed words and trigrams), [`towers::TextTower`]; or [`sentence`]: vectors of a frozen encoder
//!   that the caller brings, and the tower over them
//! - audio side: [`front_end`] (any rate to log-mel frames), [`windows`], [`towers::AudioTower`]
//! - [`config`] and [`model`]: both towers; [`contrastive`]: the loss
//! - [`quantiser`]: embeddings as tokens
//! - [`adherence`]: the reward
//! - [`quality`]: the predictor of opinion scores, its loss, the reward
//! - [`external`]: judges of the user's own: a program, a service, a network
//! - [`properties`]: what can be measured of a sound without a model
//! - [`descriptors`]: what a preference model may be told of a sound beside its tokens
//! - [`listeners`]: simulated listeners with tastes over those properties
//!
//! # What it does not do
//! It downloads nothing, trains nothing by itself, and reads no weights from files (but for networks of the user's own):
//! they come through [`musicrl_core::params::ParamTable`]. Its listeners are simulated and never stand for people.
#![forbid(unsafe_code)]

pub mod adherence;
pub mod config;
pub mod contrastive;
pub mod descriptors;
mod error;
pub mod external;
pub mod front_end;
mod kmeans;
pub mod listeners;
mod math;
pub mod model;
pub mod properties;
pub mod quality;
pub mod quantiser;
pub mod sentence;
pub mod text;
pub mod towers;
pub mod windows;

pub use adherence::TextAdherence;
pub use config::TextAudioConfig;
pub use error::{Error, Result};
pub use listeners::{Listener, Population, Taste, TrueUtility};
pub use model::TextAudioModel;
pub use properties::Properties;
pub use quality::{AcousticQuality, QualityConfig, QualityModel};
pub use quantiser::{EmbeddingQuantiser, EmbeddingQuantiserConfig};
pub use sentence::{SentenceEncoder, SentenceTowerConfig};
