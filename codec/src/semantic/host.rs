//! Tensor values as vectors, whatever the device's number types.

use burn::{
    module::Param,
    tensor::{DType, Int, Tensor},
};

/// The values of a float tensor.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).try_to_vec().unwrap_or_default()
}

/// The values of an integer tensor.
pub(crate) fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.into_data().convert_dtype(DType::I64).try_to_vec().unwrap_or_default()
}

/// A parameter that the optimiser leaves alone.
pub(crate) fn frozen<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(tensor).set_require_grad(false)
}
