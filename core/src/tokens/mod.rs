//! Token layouts and patterns: which slots a frame has, and how streams of tokens become the one sequence that a
//! policy generates.
//!
//! A *frame* is one step of the policy's global model; a *slot* is a place for one token inside a frame. Letters and
//! shapes are those of `spec/notation.md`: T frames, K slots, S = T * K actions in generation order.
//!
//! - [`Tokens`]: one clip's ids, frame after frame; [`TokenLayout`] says what each slot may hold and checks it, once,
//!   where tokens come in from outside.
//! - [`Interleave`]: semantic and coarse acoustic streams into frames of `1 + 2 * levels` slots, and back.
//! - [`DelayPattern`]: codebook `k` shifted by its own number of steps (MusicGen), and back.
//!
//! ```
//! use musicrl_core::tokens::{Interleave, Streams, Tokens};
//! # fn main() -> musicrl_core::Result<()> {
//! let interleave = Interleave { coarse_levels: 2 };
//! // One semantic token a frame, two acoustic time steps of two levels a frame.
//! let streams = Streams { semantic: vec![7], coarse: Tokens::new(vec![1, 2, 3, 4], 2)? };
//! let frames = interleave.join(&streams)?;
//! assert_eq!(frames.ids, [7, 1, 2, 3, 4]);
//! assert_eq!(interleave.split(&frames)?, streams);
//! # Ok(())
//! # }
//! ```

mod delay;
mod interleave;
mod layout;

pub use delay::DelayPattern;
pub use interleave::{Interleave, Streams};
pub use layout::{Slot, StreamKind, TokenLayout, Tokens};
