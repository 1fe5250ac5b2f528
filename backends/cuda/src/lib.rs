//! The cuda device family: Burn's own CUDA backend.
//!
//! Without the feature `link` the crate builds everywhere and [`device`] says how to get one that works. With it, the
//! build downloads an LLVM bundle, and the CUDA driver is loaded when the first operation runs; a driver or a device
//! that is missing makes Burn panic there, which is caught here and becomes the error.
#![forbid(unsafe_code)]

use burn::tensor::Device;

/// The name in `--backend`.
pub const NAME: &str = "cuda";
/// One line for `musicrl doctor`.
pub const ABOUT: &str = "NVIDIA devices through CubeCL, f32";

/// The first CUDA device.
///
/// # Errors
/// When CUDA is not linked, or no device answers.
#[cfg(feature = "link")]
pub fn device() -> Result<Device, String> {
    let probe = || {
        let device = Device::cuda(0);
        let sum = burn::tensor::Tensor::<1>::ones([2], &device).sum().into_scalar::<f32>();
        (device, sum)
    };
    match std::panic::catch_unwind(probe) {
        Ok((device, 2.0)) => Ok(device),
        Ok((_, sum)) => Err(format!("the CUDA device adds 1 and 1 to {sum}")),
        Err(_) => Err("no CUDA device answers; `nvidia-smi` shows whether the driver sees one".into()),
    }
}

/// The first CUDA device.
///
/// # Errors
/// Always: CUDA is not linked.
#[cfg(not(feature = "link"))]
pub fn device() -> Result<Device, String> {
    Err("CUDA is not linked into this program; build it with `--features cuda` where CUDA 12 is installed".into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn without_cuda_the_error_says_what_to_do() {
        match super::device() {
            Ok(device) => assert!(cfg!(feature = "link"), "{device:?}"),
            Err(reason) => assert_eq!(reason.contains("--features cuda"), !cfg!(feature = "link"), "{reason}"),
        }
    }
}
