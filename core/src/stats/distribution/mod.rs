//! How far two sets of points lie apart, and how spread one is: for embeddings of clips.
//!
//! - [`Points`]: rows of numbers, checked once.
//! - [`Gaussian`], [`frechet_distance`]: the distance of the two sets' Gaussians.
//! - [`mmd`]: the maximum mean discrepancy with a [`Kernel`], its standard error and a permutation test.
//! - [`diversity`]: mean cosine distance inside groups and between them.
//!
//! Everything is `f64` on the host.

mod diversity;
mod gaussian;
mod jacobi;
mod mmd;
mod points;

pub use diversity::{Diversity, diversity};
pub use gaussian::{Gaussian, Shrinkage, frechet_distance};
pub use mmd::{Kernel, Mmd, median_distance, mmd};
pub use points::Points;
