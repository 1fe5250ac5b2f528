//! Etudes: short pieces that the program composes and synthesises from a seed, each with captions that follow from
//! what it is. They need no download and no licence, and their truth is known.
//!
//! [`Attributes`] are drawn ([`attributes`]), a score is composed from them (chords, melody, accompaniment, bass,
//! percussion), played by a small synthesiser (sine banks, plucked strings, noise, a room) and described
//! ([`caption`]). [`Etudes`] is the supply in memory, [`write_etudes`] puts one on disk, [`caption_bank`] gives
//! captions without sound.
//!
//! One combination of lead, tempo and percussion in ten is held out, the same ones for every seed.

mod accompaniment;
pub mod attributes;
pub mod caption;
pub mod compose;
mod drums;
mod filter;
mod melody;
mod render;
mod reverb;
mod score;
pub mod source;
mod theory;
mod timbre;
mod voice;
mod words;
pub mod write;

pub use attributes::Attributes;
pub use caption::{CaptionedAttributes, caption_bank};
pub use source::{CAPTIONS_PER_CLIP, Etude, Etudes};
pub use write::{EtudesConfig, write_etudes};
