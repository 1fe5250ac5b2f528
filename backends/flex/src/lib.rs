//! The flex device family: Burn's own backend in pure Rust, for processors. The default, and always there.
//!
//! ```
//! let device = musicrl_backend_flex::device().unwrap();
//! let sum = burn::tensor::Tensor::<1>::ones([3], &device).sum().into_scalar::<f32>();
//! assert_eq!(sum, 3.0);
//! ```
#![forbid(unsafe_code)]

use burn::tensor::Device;

/// The name in `--backend`.
pub const NAME: &str = "flex";
/// One line for `musicrl doctor`.
pub const ABOUT: &str = "pure Rust, processor, f32";

/// The device.
///
/// # Errors
/// Never; the other families have a reason to.
pub fn device() -> Result<Device, String> {
    Ok(Device::flex())
}
