//! Sound to tokens and back.
//!
//! # Map
//! - [`audio`]: what a decoded recording is.
//! - [`decode`]: files and bytes to audio (WAV, FLAC, MP3, Ogg Vorbis, AAC, Opus), every refusal named.
//! - [`write`](mod@write): WAV and Ogg Opus, written aside and renamed.
//! - [`opus`]: the Opus codec behind a safe interface; the round trip that comparisons need.
//! - [`resample`], [`loudness`], [`mel`]: rate, level and mel front ends.
//! - [`neural`]: the convolutional codec with residual vector quantisation.
//! - [`semantic`]: the semantic tokeniser, trained by masked prediction.
//! - [`fine`]: the fine acoustic levels from semantic and coarse tokens, by parallel masked decoding.
//! - [`distance`]: how far a reconstruction is from its original.
//!
//! ```
//! use musicrl_codec::{audio::Audio, loudness, resample};
//!
//! # fn main() -> musicrl_codec::Result<()> {
//! let tone: Vec<f32> = (0..48_000).map(|i| (i as f32 * 0.05).sin() * 0.1).collect();
//! let audio = Audio::from_mono(tone, 48_000);
//! let mono = resample::resample(&audio.mono(), audio.sample_rate_hz, 16_000)?;
//! assert_eq!(mono.len(), 16_000);
//! let normalised = loudness::normalise(&mono, 16_000, &loudness::Target::default())?;
//! assert!((normalised.after_lufs - -20.0).abs() < 0.5);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//! It plays nothing, downloads nothing, and knows nothing of captions, rewards or training runs.

pub mod audio;
pub mod decode;
pub mod distance;
mod error;
pub mod fine;
pub mod loudness;
pub mod mel;
pub mod neural;
pub mod opus;
pub mod resample;
pub mod semantic;
pub mod write;

pub use error::{Error, Result};
