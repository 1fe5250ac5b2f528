//! Rotary positions: [`Rotary`].

use alloc::{vec, vec::Vec};
use burn::tensor::{Device, Tensor, TensorData};

/// Base of the geometric series of wavelengths.
const BASE: f64 = 10_000.0;

/// `(cos, sin)` of the angle of pair `pair` at `position`: the pair `(i, i + head_width / 2)` turns by
/// `position * BASE^(-2 i / head_width)`.
pub(crate) fn turn(position: usize, pair: usize, head_width: usize) -> (f64, f64) {
    let angle = position as f64 * libm::pow(BASE, -2.0 * pair as f64 / head_width as f64);
    (libm::cos(angle), libm::sin(angle))
}

/// Turns pairs of channels by angles that grow with the position, so that a product of query and key depends on their
/// distance (Su et al., "RoFormer", 2021). The softmax scale `1 / sqrt(head_width)` is folded into the query's tables.
///
/// The exchange of a pair's halves is a product with a signed permutation: on a CPU that is quicker, forward and
/// backward, than slicing and concatenating.
#[derive(Debug, Clone)]
pub struct Rotary {
    query: [Tensor<3>; 2],
    key: [Tensor<3>; 2],
    exchange: Tensor<2>,
    head_width: usize,
}

impl Rotary {
    /// Tables for the positions `0..time`.
    #[must_use]
    pub fn new(time: usize, heads: usize, head_width: usize, device: &Device) -> Self {
        let half = head_width / 2;
        let turns: Vec<(f64, f64)> =
            (0..time).flat_map(|t| (0..half).map(move |pair| turn(t, pair, head_width))).collect();
        let table = |scale: f64, part: fn(&(f64, f64)) -> f64| {
            let mut values = Vec::with_capacity(time * heads * head_width);
            for t in 0..time {
                for channel in 0..heads * head_width {
                    values.push((scale * part(&turns[t * half + channel % half])) as f32);
                }
            }
            Tensor::from_data(TensorData::new(values, [1, time, heads * head_width]), device)
        };
        let scale = 1.0 / libm::sqrt(head_width as f64);
        let mut exchange = vec![0.0_f32; head_width * head_width];
        for i in 0..half {
            exchange[(i + half) * head_width + i] = -1.0;
            exchange[i * head_width + i + half] = 1.0;
        }
        Self {
            query: [table(scale, |turn| turn.0), table(scale, |turn| turn.1)],
            key: [table(1.0, |turn| turn.0), table(1.0, |turn| turn.1)],
            exchange: Tensor::from_data(TensorData::new(exchange, [head_width, head_width]), device),
            head_width,
        }
    }

    /// The tables of the positions `start..start + time` alone.
    #[must_use]
    pub fn positions(&self, start: usize, time: usize) -> Self {
        let narrow = |tables: &[Tensor<3>; 2]| tables.clone().map(|table| table.narrow(1, start, time));
        Self { query: narrow(&self.query), key: narrow(&self.key), ..self.clone() }
    }

    /// Turns queries and scales them.
    ///
    /// # Shapes
    /// - x, output: `[clips, time, heads * head_width]`
    pub fn query(&self, x: Tensor<3>) -> Tensor<3> {
        self.apply(x, &self.query)
    }

    /// Turns keys.
    ///
    /// # Shapes
    /// - x, output: `[clips, time, heads * head_width]`
    pub fn key(&self, x: Tensor<3>) -> Tensor<3> {
        self.apply(x, &self.key)
    }

    fn apply(&self, x: Tensor<3>, [cos, sin]: &[Tensor<3>; 2]) -> Tensor<3> {
        let [clips, time, width] = x.dims();
        let rows = clips * time * width / self.head_width;
        let exchanged =
            x.clone().reshape([rows, self.head_width]).matmul(self.exchange.clone()).reshape([clips, time, width]);
        x * cos.clone() + exchanged * sin.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_depend_on_the_distance_alone() {
        let device = Device::flex();
        let rotary = Rotary::new(6, 1, 4, &device);
        let repeat = |x: [f32; 4]| Tensor::<1>::from_data(x, &device).reshape([1, 1, 4]).repeat_dim(1, 6);
        let query = rotary.query(repeat([0.3, -1.0, 0.7, 0.2]));
        let key = rotary.key(repeat([1.0, 0.4, -0.6, 0.9]));
        let products: Vec<f32> = query.matmul(key.swap_dims(1, 2)).into_data().try_to_vec().unwrap_or_default();
        let at = |q: usize, k: usize| products[q * 6 + k];
        for distance in 0..5 {
            assert!((at(distance, 0) - at(distance + 1, 1)).abs() < 1e-6);
            assert!((at(0, distance) - at(1, distance + 1)).abs() < 1e-6);
        }
        assert!((at(0, 0) - at(3, 0)).abs() > 1e-3, "positions must matter");
        // Unturned at distance zero: the plain product, scaled.
        assert!((at(2, 2) - (0.3 - 0.4 - 0.42 + 0.18) / 2.0).abs() < 1e-6);
    }
}
