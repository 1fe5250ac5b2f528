//! Activation functions by the names that `config.json` uses: [`Activation`].

use burn::tensor::{Tensor, activation};
use musicrl_core::nn::gelu;

use crate::{Error, Result};

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x Phi(x), by the error function.
    Gelu,
    /// The same by a hyperbolic tangent.
    GeluTanh,
    /// x / (1 + exp(-x))
    Silu,
}

impl Activation {
    /// The function of that name.
    ///
    /// # Errors
    /// [`Error::Config`] naming `field`, for a name that is none of `relu`, `gelu`, `gelu_new`, `gelu_pytorch_tanh`, `silu`
    /// and `swish`.
    pub fn named(field: &str, name: &str) -> Result<Self> {
        match name {
            "relu" => Ok(Self::Relu),
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "silu" | "swish" => Ok(Self::Silu),
            _ => Err(Error::config(field, "relu, gelu, gelu_new, gelu_pytorch_tanh or silu", name)),
        }
    }

    /// Applies it to every element.
    #[must_use]
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => activation::relu(x),
            Self::Gelu => gelu(x),
            Self::GeluTanh => {
                // x * x * x: a power of 3.0 goes through a logarithm on some devices.
                let cube = x.clone() * x.clone() * x.clone();
                let inner = (x.clone() + cube.mul_scalar(0.044_715)).mul_scalar(SQRT_2_OVER_PI);
                (x * inner.tanh().add_scalar(1.0)).mul_scalar(0.5)
            }
            Self::Silu => activation::silu(x),
        }
    }

    /// Applies it to one number.
    #[must_use]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Gelu => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + libm::tanhf(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x))),
            Self::Silu => x / (1.0 + libm::expf(-x)),
        }
    }
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn tensors_and_numbers_agree() {
        let x: Vec<f32> = (-60..=60).map(|i| i as f32 * 0.1).collect();
        for name in ["relu", "gelu", "gelu_new", "silu"] {
            let activation = Activation::named("f", name).unwrap();
            let y = activation.apply(Tensor::<1>::from_data(x.as_slice(), &Device::flex()));
            for (y, x) in y.into_data().iter::<f32>().zip(&x) {
                assert!((y - activation.of(*x)).abs() < 2e-6, "{name}({x}) = {y}");
            }
        }
        assert!((Activation::Gelu.of(1.0) - 0.841_344_8).abs() < 1e-6);
        assert!((Activation::GeluTanh.of(1.0) - 0.841_192).abs() < 1e-6);
        assert!(Activation::named("hidden_act", "mish").is_err());
    }
}
