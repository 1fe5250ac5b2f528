//! Mimi, a neural codec of 12.5 frames a second whose first codebook carries meaning (Défossez et al., "Moshi: a
//! speech-text foundation model for real-time dialogue", 2024).
//!
//! Encoding: strided convolutions (SEANet), a transformer with a sliding window, one more strided convolution, then two
//! residual quantisers over the same latents. Decoding is the way back.
//!
//! | file | is |
//! |---|---|
//! | [`Config`] | settings of `config.json` |
//! | `conv`, `seanet` | convolutions and their padding, the two stacks of them |
//! | `transformer` | attention over a sliding window, rotary positions |
//! | `quantiser` | codebooks, the split residual quantiser |
//! | [`Mimi`] | the model |

mod config;
mod conv;
mod model;
mod quantiser;
mod seanet;
mod transformer;

pub use config::{Config, PadMode};
pub use model::Mimi;
