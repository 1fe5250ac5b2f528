//! CLAP, text and sound in one space of unit vectors (Wu et al., "Large-scale contrastive language-audio pretraining with
//! feature fusion and keyword-to-caption augmentation", ICASSP 2023).
//!
//! [`Clap`] is a checkpoint: a text tower ([`TextTower`], RoBERTa), a front end ([`FrontEnd`]), an audio tower
//! ([`AudioTower`], HTSAT), two projections. [`ClapAdherence`] judges with it how well a clip fits its caption.
//!
//! There are two kinds: *unfused* checkpoints hear one part of a clip longer than their window, *fused* ones the whole
//! clip shrunk and three parts. They differ in their mel filters too, see [`Truncation`].

mod adherence;
mod audio;
mod config;
mod feature_config;
mod front_end;
mod model;
mod patches;
mod resize;
mod run;
mod swin;
mod text;
mod windows;

pub use adherence::ClapAdherence;
pub use audio::AudioTower;
pub use config::{AudioConfig, Config, TextConfig};
pub use feature_config::{FeatureConfig, Padding, Truncation};
pub use front_end::{Features, FrontEnd, Parts};
pub use model::Clap;
pub use text::TextTower;
