//! The ndarray device family: Burn on the `ndarray` crate, for processors.
//!
//! Burn deprecates it after 0.22. It is a second, independent implementation to hold results against, in a crate that
//! can be deleted without touching anything else.
//!
//! ```
//! let device = musicrl_backend_ndarray::device().unwrap();
//! let sum = burn::tensor::Tensor::<1>::ones([3], &device).sum().into_scalar::<f32>();
//! assert_eq!(sum, 3.0);
//! ```
#![forbid(unsafe_code)]

use burn::tensor::Device;

/// The name in `--backend`.
pub const NAME: &str = "ndarray";
/// One line for `musicrl doctor`.
pub const ABOUT: &str = "pure Rust, processor, f32; a second implementation to compare with";

/// The device.
///
/// # Errors
/// Never; other families have a reason to.
#[allow(deprecated)] // Supported here while Burn 0.22 is.
pub fn device() -> Result<Device, String> {
    Ok(Device::ndarray())
}
