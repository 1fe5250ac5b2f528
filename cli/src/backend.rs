//! The device families that this program was built with.

use burn::tensor::Device;
use clap::ValueEnum;

use crate::failure::Failure;

/// Names of `--backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Pure Rust, processor (the default)
    Flex,
    /// Pure Rust on the ndarray crate, processor
    Ndarray,
    /// libtorch, processor
    Tch,
    /// NVIDIA devices
    Cuda,
}

impl Backend {
    /// All of them, built in or not.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Ndarray, Self::Tch, Self::Cuda];

    /// As in `--backend`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Tch => "tch",
            Self::Cuda => "cuda",
        }
    }

    /// Whether this program has it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// One line about it; empty when it is not built in.
    pub fn about(self) -> &'static str {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => musicrl_backend_flex::ABOUT,
            #[cfg(feature = "ndarray")]
            Self::Ndarray => musicrl_backend_ndarray::ABOUT,
            #[cfg(feature = "tch")]
            Self::Tch => musicrl_backend_tch::ABOUT,
            #[cfg(feature = "cuda")]
            Self::Cuda => musicrl_backend_cuda::ABOUT,
            #[allow(unreachable_patterns)]
            _ => "",
        }
    }

    /// Its device.
    pub fn device(self) -> Result<Device, Failure> {
        let device = match self {
            #[cfg(feature = "flex")]
            Self::Flex => musicrl_backend_flex::device(),
            #[cfg(feature = "ndarray")]
            Self::Ndarray => musicrl_backend_ndarray::device(),
            #[cfg(feature = "tch")]
            Self::Tch => musicrl_backend_tch::device(),
            #[cfg(feature = "cuda")]
            Self::Cuda => musicrl_backend_cuda::device(),
            #[allow(unreachable_patterns)]
            _ => return Err(self.not_built_in()),
        };
        device.map_err(|reason| {
            let hint = "`musicrl doctor` lists the backends and what each lacks";
            Failure::failed(format!("backend `{}`: {reason}", self.name())).hint(hint)
        })
    }

    fn not_built_in(self) -> Failure {
        let there: Vec<&str> = Self::ALL.into_iter().filter(|other| other.is_built_in()).map(Self::name).collect();
        let name = self.name();
        let needs = match self {
            Self::Tch => " (PyTorch 2.9.0 first in PATH and LIBTORCH_USE_PYTORCH=1)",
            Self::Cuda => " (CUDA 12 and a network for its build script)",
            Self::Flex | Self::Ndarray => "",
        };
        Failure::usage(format!("this program was built without the backend `{name}`; it has {}", there.join(", ")))
            .hint(format!("build one that has it: cargo build --release -p musicrl --features {name}{needs}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_has_a_device_and_the_rest_says_how_to_get_one() {
        for backend in Backend::ALL.into_iter().filter(|backend| !matches!(backend, Backend::Cuda | Backend::Tch)) {
            assert_eq!(backend.device().is_ok(), backend.is_built_in(), "{backend:?}");
            assert_eq!(backend.about().is_empty(), !backend.is_built_in(), "{backend:?}");
        }
    }
}
