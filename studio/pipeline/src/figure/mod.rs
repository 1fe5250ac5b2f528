//! Figures as SVG, written by hand: pictures of a run that a page shows as they are, on light and on dark screens.
//!
//! - [`Svg`]: the document; escapes all text and writes no number that is not finite.
//! - [`Axis`], [`Series`], [`Trend`], [`Panel`]: numbers to coordinates, and what is drawn from them.
//! - [`Look`], [`Legend`]: one system's colour and dash in every figure, and what they stand for.
//! - [`Spectrogram`]: sound as an embedded picture.
//! - [`demo`]: the figure that `musicrl demo` leaves in its run folder.
//!
//! Only measured numbers are drawn. What is missing (not finite, or too large to draw, see [`is_drawable`]) is left out.
//! The same input gives the same bytes.
//!
//! ```
//! use musicrl_pipeline::figure::{Area, Axis, Panel, Series, Svg};
//!
//! let reward = Series::new([(1.0, 0.2), (2.0, f64::NAN), (3.0, 0.4)]);
//! let panel = Panel {
//!     area: Area { x: 60.0, y: 20.0, width: 200.0, height: 100.0 },
//!     x: Axis::spanning("step", 0.0, 3.0, 4),
//!     y: Axis::around("reward", reward.ys(), 4),
//! };
//! let mut svg = Svg::new(300.0, 160.0, "Reward", "Mean reward of each step.");
//! panel.frame(&mut svg);
//! panel.dots(&mut svg, &reward);
//! assert!(svg.finish().contains("<path class=\"dots\""));
//! ```

mod axis;
mod colours;
pub mod demo;
mod legend;
mod marks;
mod panel;
mod png;
mod series;
mod spectrogram;
mod style;
mod svg;
pub(crate) mod words;
#[cfg(test)]
pub(crate) mod xml;

pub use axis::{Axis, Tick, is_drawable};
pub use legend::{Legend, Look};
pub use panel::{Area, Mark, Panel};
pub use series::{Series, Trend, TrendPoint};
pub use spectrogram::Spectrogram;
pub use svg::{PathData, Svg, Value};

pub(crate) use png::base64;
