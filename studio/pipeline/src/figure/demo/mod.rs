//! The figure of a demo: what was learned, what it cost, what carried over to captions that were never learned from, and
//! how the first clips look.

mod clips;
mod held_out;
mod input;
mod page;
mod training;

pub use input::{ClipPair, DemoFigure, Heard, StageCurve};
