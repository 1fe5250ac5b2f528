//! The tch device family: Burn on libtorch 2.9, for processors and CUDA.
//!
//! Without the feature `link` the crate builds everywhere and [`device`] says how to get one that works. With it,
//! libtorch is needed to build (`LIBTORCH_USE_PYTORCH=1` with the Python of PyTorch 2.9.0 first in `PATH`, or
//! `LIBTORCH`) and to run (`LD_LIBRARY_PATH` with its `lib` folder).
//!
//! What cannot be caught: libtorch is linked dynamically, so when the library is missing at run time the system's
//! loader ends the process before `main` ("error while loading shared libraries: libtorch_cpu.so", exit code 127).
//! Everything later is an exception of libtorch, which `tch` hands over as an error and Burn turns into a panic; such
//! a panic in the first operation is caught here and becomes the error.
#![forbid(unsafe_code)]

use burn::tensor::Device;

/// The name in `--backend`.
pub const NAME: &str = "tch";
/// One line for `musicrl doctor`.
pub const ABOUT: &str = "libtorch 2.9, processor; fast in bf16";

/// The processor, through libtorch.
///
/// # Errors
/// When libtorch is not linked, or its first operation fails.
#[cfg(feature = "link")]
#[allow(deprecated)] // Supported here while Burn 0.22 is.
pub fn device() -> Result<Device, String> {
    probed(Device::libtorch)
}

/// The CUDA device `index`, through libtorch.
///
/// # Errors
/// When libtorch is not linked, has no CUDA, or the device does not answer.
#[cfg(feature = "link")]
#[allow(deprecated)] // Supported here while Burn 0.22 is.
pub fn cuda_device(index: usize) -> Result<Device, String> {
    probed(move || Device::libtorch_cuda(index))
}

/// Makes the device and adds two numbers on it.
#[cfg(feature = "link")]
fn probed(make: impl FnOnce() -> Device + std::panic::UnwindSafe) -> Result<Device, String> {
    let probe = || {
        let device = make();
        let sum = burn::tensor::Tensor::<1>::ones([2], &device).sum().into_scalar::<f32>();
        (device, sum)
    };
    match std::panic::catch_unwind(probe) {
        Ok((device, 2.0)) => Ok(device),
        Ok((_, sum)) => Err(format!("libtorch adds 1 and 1 to {sum}")),
        Err(_) => Err("libtorch failed on its first operation; is it PyTorch 2.9.0's?".into()),
    }
}

/// The processor, through libtorch.
///
/// # Errors
/// Always: libtorch is not linked.
#[cfg(not(feature = "link"))]
pub fn device() -> Result<Device, String> {
    Err(NOT_LINKED.into())
}

/// The CUDA device `index`, through libtorch.
///
/// # Errors
/// Always: libtorch is not linked.
#[cfg(not(feature = "link"))]
pub fn cuda_device(index: usize) -> Result<Device, String> {
    let _ = index;
    Err(NOT_LINKED.into())
}

#[cfg(not(feature = "link"))]
const NOT_LINKED: &str = "libtorch is not linked into this program; build it with `--features tch` and PyTorch 2.9.0 \
                          (LIBTORCH_USE_PYTORCH=1)";

#[cfg(test)]
mod tests {
    #[test]
    fn without_libtorch_the_error_says_what_to_do_and_with_it_there_is_a_device() {
        match super::device() {
            Ok(device) => assert!(cfg!(feature = "link"), "{device:?}"),
            Err(reason) => assert!(!cfg!(feature = "link") && reason.contains("--features tch"), "{reason}"),
        }
    }
}
