//! Low-rank adapters on a policy: put on, taken off.

use burn::{
    module::Param,
    tensor::{Tensor, TensorData},
};
use musicrl_core::random::Key;

use super::MusicGenPolicy;
use crate::nn::{Adapter, Linear};

impl MusicGenPolicy {
    /// The policy with fresh adapters on every matrix of attention and feed-forward layers: it says what it said before
    /// until they learn. The big matrices are shared with `self`.
    ///
    /// `A` is uniform in `+-sqrt(3 / in)`, by `key`; `B` is zero.
    #[must_use]
    pub fn with_adapters(mut self, rank: usize, scale: f64, key: Key) -> Self {
        for (index, linear) in self.adapted_mut().enumerate() {
            let [width_in, width_out] = linear.weight.val().dims();
            let device = linear.weight.val().device();
            let mut stream = key.clip(index as u64).stream();
            let bound = (3.0 / width_in.max(1) as f64).sqrt();
            let values: Vec<f32> =
                (0..width_in * rank).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect();
            let down = Tensor::from_data(TensorData::new(values, [width_in, rank]), &device);
            let up = Tensor::zeros([rank, width_out], &device);
            linear.adapter = Some(Adapter { down: Param::from_tensor(down), up: Param::from_tensor(up), scale });
        }
        self
    }

    /// The policy without its adapters: what they were put on. Nothing is copied.
    #[must_use]
    pub fn without_adapters(mut self) -> Self {
        self.adapted_mut().for_each(|linear| linear.adapter = None);
        self
    }

    /// Rank and scale of the adapters; `None` where there are none.
    #[must_use]
    pub fn adapters(&self) -> Option<(usize, f64)> {
        let adapter = self.decoder.blocks.first()?.own.query.adapter.as_ref()?;
        Some((adapter.down.val().dims()[1], adapter.scale))
    }

    fn adapted_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.decoder.blocks.iter_mut().flat_map(|block| block.linears_mut())
    }
}
