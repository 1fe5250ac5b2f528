//! Generation in plain Rust: [`PackedDecoder`].
//!
//! A tensor library repacks the weights for every product of a step, and a step is a few hundred small products. Here
//! weights are packed once a decoder, norm gains and scales are folded into them, and a step is plain loops that the
//! compiler vectorises.
//!
//! **A clip's numbers do not depend on its batch**: every output adds its products in one fixed order, whatever other
//! clips are computed beside it and on however many threads.

mod decoder;
mod matrix;
mod stack;

pub use decoder::PackedDecoder;
pub use matrix::Matrix;
