//! The text encoder of MusicGen.
