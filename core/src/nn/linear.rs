//! A matrix without a bias: [`Linear`].

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

/// `y = x W`, no bias; `W` is `[in, out]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// The matrix, `[in, out]`.
    pub weight: Param<Tensor<2>>,
}

impl Linear {
    /// Zeros. First values come from [`reinitialise`](crate::params::reinitialise), by seed.
    #[must_use]
    pub fn zeros(width_in: usize, width_out: usize, device: &Device) -> Self {
        Self { weight: Param::from_tensor(Tensor::zeros([width_in, width_out], device)) }
    }

    /// One product over all rows: rows of `[clips, time]` are flattened first, since a batched product with a shared
    /// right side runs as many small ones.
    ///
    /// # Shapes
    /// - x: `[.., in]`
    /// - output: `[.., out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let [width_in, width_out] = weight.dims();
        let mut dims = x.dims();
        let rows = dims[..D - 1].iter().product();
        dims[D - 1] = width_out;
        x.reshape([rows, width_in]).matmul(weight).reshape(dims)
    }
}
