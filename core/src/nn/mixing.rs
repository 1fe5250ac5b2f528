//! Softmax attention on the processor: of one position ([`Seen`]), and of all positions to each other as a kernel of the flex
//! device family ([`mix`]).
//!
//! A tensor library makes a product, a sum with a mask, a softmax and a second product of it, each a pass over scores of all
//! heads, half of which a causal mask hides; a transformer over the nine slots of a frame is thousands of products of nine
//! rows. Here a position's scores stay in a row of their own, and hidden positions are not computed.

use burn::tensor::Device;
#[cfg(feature = "flex")]
use burn::tensor::Tensor;

use super::math::{multiply_add, softmax};

/// Positions whose products with a query are computed side by side; twice as many where there are.
pub(crate) const BLOCK: usize = 16;

/// The positions that a query of one head looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// The head's channels, each a row over time of whole [`BLOCK`]s.
    pub(crate) keys: &'a [f32],
    /// Length of those rows, a multiple of [`BLOCK`].
    pub(crate) row: usize,
    /// The head's channels of each position, `width` apart.
    pub(crate) values: &'a [f32],
    /// Distance between the values of two positions.
    pub(crate) width: usize,
    /// How many there are; what lies behind them in their block is computed with it and not read.
    pub(crate) positions: usize,
}

impl Seen<'_> {
    /// `mixed = softmax(query keys) values`; the weights stay in `scores`, which has a row of keys' length.
    #[inline(always)]
    pub(crate) fn mix(&self, query: &[f32], scores: &mut [f32], mixed: &mut [f32]) {
        products(query, self.keys, self.row, self.positions, scores);
        let weights = &mut scores[..self.positions];
        softmax(weights);
        weighted_sum(weights, self.values, self.width, mixed);
    }
}

/// The products of a query with the first positions of `keys`. Each adds its channels from the first to the last.
#[inline(always)]
fn products(query: &[f32], keys: &[f32], row: usize, positions: usize, scores: &mut [f32]) {
    let mut at = 0;
    while at < positions {
        at += if positions - at > BLOCK {
            columns::<{ 2 * BLOCK }>(query, keys, row, at, scores)
        } else {
            columns::<BLOCK>(query, keys, row, at, scores)
        };
    }
}

/// The sum of positions' values, each times its weight, from the first position to the last.
#[inline(always)]
fn weighted_sum(weights: &[f32], values: &[f32], width: usize, sum: &mut [f32]) {
    let mut at = 0;
    while at < sum.len() {
        at += match sum.len() - at {
            32.. => columns::<32>(weights, values, width, at, sum),
            8.. => columns::<8>(weights, values, width, at, sum),
            _ => columns::<1>(weights, values, width, at, sum),
        };
    }
}

/// N columns from `at` on of the sum of rows, `width` apart, each times its weight. Gives N.
#[inline(always)]
fn columns<const N: usize>(weights: &[f32], rows: &[f32], width: usize, at: usize, sum: &mut [f32]) -> usize {
    let mut sums = [0.0; N];
    for (weight, row) in weights.iter().zip(rows.chunks(width)) {
        for (sum, value) in sums.iter_mut().zip(&row[at..at + N]) {
            *sum = multiply_add(*weight, *value, *sum);
        }
    }
    sum[at..at + N].copy_from_slice(&sums);
    N
}

/// Whether attention has a kernel here for a device.
pub(super) fn has_kernel(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return super::gelu::runs_on_flex(device);
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// `softmax(query keys^T) values` of each head; with `causal`, positions that come later have no weight. Nothing where the
/// device or the type of number has no kernel here.
///
/// # Shapes
/// - query (scaled), key, value, output: `[clips, time, heads * head_width]`
#[cfg(feature = "flex")]
pub(super) fn mix(
    query: &Tensor<3>,
    key: &Tensor<3>,
    value: &Tensor<3>,
    heads: usize,
    causal: bool,
) -> Option<Tensor<3>> {
    use burn::tensor::DType;
    let fits = [query, key, value].iter().all(|x| x.dtype() == DType::F32 && x.dims() == query.dims());
    (fits && has_kernel(&query.device())).then(|| flex::mix(query, key, value, heads, causal))
}

#[cfg(feature = "flex")]
mod flex {
    use alloc::{vec, vec::Vec};

    use burn::{
        backend::{
            Autodiff, Backend, Dispatch, Flex, TensorMetadata,
            autodiff::{
                checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
                grads::Gradients,
                ops::{Backward, Ops, OpsKind},
            },
            backend_extension,
            flex::FlexTensor,
            tensor::FloatTensor,
        },
        tensor::{Slice, Tensor, TensorData},
    };

    use super::{BLOCK, Seen, products, softmax, weighted_sum};
    use crate::nn::gelu::dense;

    pub(super) fn mix(query: &Tensor<3>, key: &Tensor<3>, value: &Tensor<3>, heads: usize, causal: bool) -> Tensor<3> {
        let [query, key, value] = [query, key, value].map(|x| x.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Mixing>::mixed(query, key, value, heads, causal))
    }

    /// Attention by kernels of our own.
    #[backend_extension(Autodiff, Flex)]
    pub trait Mixing: Backend {
        /// `[clips, time, width]` of the same three times.
        fn mixed(
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            heads: usize,
            causal: bool,
        ) -> FloatTensor<Self>;
        /// Gradients of query, key and value one after another, `[3 * clips, time, width]`.
        fn mixed_backward(
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            slope: FloatTensor<Self>,
            heads: usize,
            causal: bool,
        ) -> FloatTensor<Self>;
    }

    /// Extents of `[clips, time, heads * head_width]`.
    #[derive(Clone, Copy)]
    struct Extents {
        clips: usize,
        time: usize,
        width: usize,
        head_width: usize,
        /// `time` in whole blocks.
        row: usize,
        causal: bool,
    }

    impl Extents {
        fn of(x: &FlexTensor, heads: usize, causal: bool) -> Self {
            let shape = x.shape();
            let [clips, time, width] = [shape[0], shape[1], shape[2]];
            Self { clips, time, width, head_width: width / heads.max(1), row: time.next_multiple_of(BLOCK), causal }
        }

        fn numbers(self) -> usize {
            self.clips * self.time * self.width
        }

        /// Where each head of each clip begins.
        fn heads(self) -> impl Iterator<Item = usize> {
            let heads = (0..self.width).step_by(self.head_width.max(1));
            (0..self.clips).flat_map(move |clip| heads.clone().map(move |head| clip * self.time * self.width + head))
        }

        /// Positions that position `t` looks at.
        fn seen(self, t: usize) -> usize {
            if self.causal { t + 1 } else { self.time }
        }

        /// A head's channels as rows over time.
        fn transpose(self, x: &[f32], first: usize, rows: &mut [f32]) {
            for (t, x) in x[first..].chunks(self.width).take(self.time).enumerate() {
                for (row, x) in rows.chunks_exact_mut(self.row).zip(&x[..self.head_width]) {
                    row[t] = *x;
                }
            }
        }
    }

    fn made(values: Vec<f32>, shape: [usize; 3]) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values, shape))
    }

    impl Mixing for Flex {
        fn mixed(query: FlexTensor, key: FlexTensor, value: FlexTensor, heads: usize, causal: bool) -> FlexTensor {
            let [query, key, value] = [query, key, value].map(dense);
            let extents = Extents::of(&query, heads, causal);
            let Extents { clips, time, width, head_width, row, .. } = extents;
            let [query, key, value] = [&query, &key, &value].map(|x| &x.storage::<f32>()[..extents.numbers()]);
            let (mut keys, mut scores) = (vec![0.0; head_width * row], vec![0.0; row]);
            let mut mixed = vec![0.0; extents.numbers()];
            for first in extents.heads() {
                extents.transpose(key, first, &mut keys);
                let queries = query[first..].chunks(width);
                for (t, (query, mixed)) in queries.zip(mixed[first..].chunks_mut(width)).take(time).enumerate() {
                    let seen = Seen { keys: &keys, row, values: &value[first..], width, positions: extents.seen(t) };
                    seen.mix(&query[..head_width], &mut scores, &mut mixed[..head_width]);
                }
            }
            made(mixed, [clips, time, width])
        }

        fn mixed_backward(
            query: FlexTensor,
            key: FlexTensor,
            value: FlexTensor,
            slope: FlexTensor,
            heads: usize,
            causal: bool,
        ) -> FlexTensor {
            let [query, key, value, slope] = [query, key, value, slope].map(dense);
            let extents = Extents::of(&query, heads, causal);
            let Extents { clips, time, width, head_width, row, .. } = extents;
            let numbers = extents.numbers();
            let [query, key, value, slope] = [&query, &key, &value, &slope].map(|x| &x.storage::<f32>()[..numbers]);
            let (mut keys, mut values) = (vec![0.0; head_width * row], vec![0.0; head_width * row]);
            let (mut weights, mut slopes) = (vec![0.0; row], vec![0.0; row]);
            let mut gradients = vec![0.0; 3 * numbers];
            let (of_query, rest) = gradients.split_at_mut(numbers);
            let (of_key, of_value) = rest.split_at_mut(numbers);
            for first in extents.heads() {
                extents.transpose(key, first, &mut keys);
                extents.transpose(value, first, &mut values);
                for t in 0..time {
                    let at = first + t * width;
                    let (query, slope) = (&query[at..at + head_width], &slope[at..at + head_width]);
                    let seen = extents.seen(t);
                    products(query, &keys, row, seen, &mut weights);
                    products(slope, &values, row, seen, &mut slopes);
                    let (weights, slopes) = (&mut weights[..seen], &mut slopes[..seen]);
                    softmax(weights);
                    // p_j (s_j - sum of p s): the slope of the scores.
                    let mean: f32 = weights.iter().zip(slopes.iter()).map(|(weight, slope)| weight * slope).sum();
                    slopes.iter_mut().zip(weights.iter()).for_each(|(slope, weight)| *slope = weight * (*slope - mean));
                    weighted_sum(slopes, &key[first..], width, &mut of_query[at..at + head_width]);
                    add_outer(slopes, query, &mut of_key[first..], width);
                    add_outer(weights, slope, &mut of_value[first..], width);
                }
            }
            made(gradients, [3 * clips, time, width])
        }
    }

    /// Adds `row` times each weight to the rows of `sums`, `width` apart.
    fn add_outer(weights: &[f32], row: &[f32], sums: &mut [f32], width: usize) {
        for (weight, sums) in weights.iter().zip(sums.chunks_mut(width)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
        }
    }

    impl<B: Mixing, C: CheckpointStrategy> Mixing for Autodiff<B, C> {
        fn mixed(
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            heads: usize,
            causal: bool,
        ) -> FloatTensor<Self> {
            #[derive(Debug)]
            struct Mixed;

            impl<B: Mixing> Backward<B, 3> for Mixed {
                type State = ([FloatTensor<B>; 3], usize, bool);

                fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
                    let slope = gradients.consume::<B>(&ops.node);
                    let ([query, key, value], heads, causal) = ops.state;
                    let shape = query.shape();
                    let [clips, time, width] = [shape[0], shape[1], shape[2]];
                    let all = B::mixed_backward(query, key, value, slope, heads, causal);
                    for (which, node) in ops.parents.into_iter().enumerate() {
                        if let Some(node) = node {
                            let own = [which * clips..(which + 1) * clips, 0..time, 0..width].map(Slice::from);
                            gradients.register::<B>(node.id, B::float_slice(all.clone(), &own));
                        }
                    }
                }
            }

            let [(query, of_query), (key, of_key), (value, of_value)] = [query, key, value].map(|x| x.into_parts());
            match Mixed.prepare::<C>([of_query, of_key, of_value]).compute_bound().stateful() {
                OpsKind::Tracked(step) => {
                    let state = ([query.clone(), key.clone(), value.clone()], heads, causal);
                    step.finish(state, B::mixed(query, key, value, heads, causal))
                }
                OpsKind::UnTracked(step) => step.finish(B::mixed(query, key, value, heads, causal)),
            }
        }

        /// Not differentiated further: nothing here takes second derivatives, and no step asks for this on an autodiff device.
        fn mixed_backward(
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            slope: FloatTensor<Self>,
            heads: usize,
            causal: bool,
        ) -> FloatTensor<Self> {
            let [query, key, value, slope] = [query, key, value, slope].map(|x| x.into_parts().0);
            <Self as burn::backend::AutodiffBackend>::from_inner(B::mixed_backward(
                query, key, value, slope, heads, causal,
            ))
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use alloc::vec::Vec;

    use burn::tensor::{TensorData, activation};

    use super::*;
    use crate::random::{Key, Purpose};

    fn noise(shape: [usize; 3], clip: u64) -> TensorData {
        let mut stream = Key::new(2, Purpose::Test).clip(clip).stream();
        let count = shape.iter().product();
        TensorData::new((0..count).map(|_| stream.normal() as f32).collect::<Vec<_>>(), shape)
    }

    fn read<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    /// By Burn's operations.
    fn composed([query, key, value]: [Tensor<3>; 3], heads: usize, causal: bool) -> Tensor<3> {
        let [clips, time, width] = query.dims();
        let split = |x: Tensor<3>| x.reshape([clips, time, heads, width / heads]).swap_dims(1, 2);
        let scores = split(query).matmul(split(key).swap_dims(2, 3));
        let scores = match causal {
            true => {
                let hidden = (0..time * time).map(|at| if at % time > at / time { -1e9 } else { 0.0 });
                let hidden = TensorData::new(hidden.collect::<Vec<f32>>(), [1, 1, time, time]);
                scores + Tensor::from_data(hidden, &value.device())
            }
            false => scores,
        };
        activation::softmax(scores, 3).matmul(split(value)).swap_dims(1, 2).reshape([clips, time, width])
    }

    #[test]
    fn the_kernel_and_its_gradients_are_those_of_burns_operations() {
        let device = Device::flex().autodiff();
        for (clips, time, heads, head_width) in
            [(1, 1, 1, 2), (2, 9, 4, 32), (3, 5, 2, 6), (1, 16, 1, 8), (2, 17, 2, 44), (1, 33, 3, 32), (2, 50, 1, 20)]
        {
            for causal in [true, false] {
                let shape = [clips, time, heads * head_width];
                let inputs =
                    || [1, 2, 3].map(|clip| Tensor::<3>::from_data(noise(shape, clip), &device).require_grad());
                let (ours, burns) = (inputs(), inputs());
                // Keys through a layout that is not contiguous.
                let key = ours[1].clone().swap_dims(0, 2).swap_dims(0, 2);
                let mixed = mix(&ours[0], &key, &ours[2], heads, causal).unwrap();
                let want = composed(burns.clone(), heads, causal);
                let weights = || Tensor::<3>::from_data(noise(shape, 4), &device);
                let loss = |mixed: Tensor<3>| (mixed * weights()).sum().backward();
                let (our_slopes, burns_slopes) = (loss(mixed.clone()), loss(want.clone()));
                let near = |ours: Vec<f32>, want: Vec<f32>, what: &str| {
                    assert_eq!(ours.len(), want.len());
                    for (ours, want) in ours.iter().zip(&want) {
                        let tolerance = 2e-5 * want.abs().max(1.0);
                        assert!((ours - want).abs() < tolerance, "{shape:?} {heads} {causal} {what}: {ours} {want}");
                    }
                };
                near(read(mixed), read(want), "mixed");
                for ((x, other), what) in ours.iter().zip(&burns).zip(["query", "key", "value"]) {
                    let (slope, other) = (x.grad(&our_slopes).unwrap(), other.grad(&burns_slopes).unwrap());
                    near(read(slope), read(other), what);
                }
            }
        }
    }

    #[test]
    fn a_position_is_mixed_the_same_in_any_batch_and_what_has_no_kernel_is_left_to_burn() {
        let device = Device::flex();
        let inputs = [1, 2, 3].map(|clip| Tensor::<3>::from_data(noise([3, 20, 16], clip), &device));
        let all = read(mix(&inputs[0], &inputs[1], &inputs[2], 2, true).unwrap());
        let own = inputs.clone().map(|x| x.narrow(0, 1, 1).narrow(1, 0, 7));
        let alone = read(mix(&own[0], &own[1], &own[2], 2, true).unwrap());
        assert_eq!(alone, all[20 * 16..][..7 * 16]);
        let wide = inputs[0].clone().cast(burn::tensor::DType::F64);
        assert!(mix(&wide, &wide, &wide, 2, true).is_none());
    }
}
