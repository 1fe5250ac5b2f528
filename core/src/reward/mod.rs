//! What a reward is: a judge that gives each clip of a batch a finite number, or says why it cannot; and how judges are
//! combined.
//!
//! - [`Reward`], [`Clip`], [`Score`]: the contract.
//! - [`Windowed`]: scores parts of a clip and averages (three equal segments; the first and the last two thirds).
//! - [`Scaled`]: maps a range to another ([`RangeMap`], e.g. 1-5 to 0-1) and clips ([`Bounds`]).
//! - [`WeightedSum`]: several judges; its [`SumReport`] has every judge's raw and scaled scores and the total.
//!
//! A clip that cannot be scored stays so through every combinator, with the reason; it never becomes a number.
//!
//! ```
//! use musicrl_core::{Result, reward::*};
//!
//! /// How much of a clip's first slot is token 0.
//! struct Zeros;
//!
//! impl Reward for Zeros {
//!     fn name(&self) -> &str {
//!         "zeros"
//!     }
//!     fn hears_audio(&self) -> bool {
//!         false
//!     }
//!     fn score(&self, clips: &[Clip<'_>]) -> Result<Vec<Score>> {
//!         Ok(clips
//!             .iter()
//!             .map(|clip| {
//!                 let zeros = clip.tokens.ids.iter().filter(|id| **id == 0).count();
//!                 Score::Value(zeros as f64 / clip.tokens.ids.len() as f64)
//!             })
//!             .collect())
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let windows = Windowed::new(Zeros, Windows::Segments { count: 2 })?;
//! let tokens = TokensView { ids: &[0, 0, 0, 5], slots: 1 };
//! let clip = Clip { caption: "", tokens, audio: None };
//! assert_eq!(windows.score(&[clip])?, [Score::Value(0.75)]);
//! # Ok(())
//! # }
//! ```

mod judge;
mod scale;
mod sum;
mod windows;

pub use judge::{AudioView, Clip, Reward, Score, TokensView, score_checked};
pub use scale::{Bounds, RangeMap, Scale, Scaled};
pub use sum::{Part, PartReport, SumReport, WeightedSum};
pub use windows::{Windowed, Windows};
