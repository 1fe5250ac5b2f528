//! Gradients of parts of a batch on several threads, the same to the last bit on any number of them.

use burn::module::Module;
use musicrl_core::params::ParamTable;
use rayon::prelude::*;

use crate::Result;

/// What one part of a batch gives: its gradient, already weighted by its share of the batch, and whatever else.
pub type PartGradient<T> = (Vec<f32>, T);

/// The sum of the parts' gradients in `table` order, and what else each part gave, in the order of `parts`.
///
/// Every part works on a copy of `module`: parts that shared leaves would share one autodiff graph, whose lock they
/// would wait for. Gradients are added in the order of the parts, and no more of them exist at once than there are
/// threads, so neither the result nor the memory per thread depends on how many threads there are.
///
/// # Errors
/// The first part's that fails.
pub fn sum_gradients<M, P, T>(
    module: &M,
    table: &ParamTable,
    parts: &[P],
    gradient: impl Fn(&M, usize, &P) -> Result<PartGradient<T>> + Sync,
) -> Result<(Vec<f32>, Vec<T>)>
where
    M: Module + Sync,
    P: Sync,
    T: Send,
{
    sum_gradients_on(rayon::current_num_threads(), module, table, parts, gradient)
}

/// As [`sum_gradients`], with at most `threads` parts at a time.
///
/// # Errors
/// As [`sum_gradients`].
pub fn sum_gradients_on<M, P, T>(
    threads: usize,
    module: &M,
    table: &ParamTable,
    parts: &[P],
    gradient: impl Fn(&M, usize, &P) -> Result<PartGradient<T>> + Sync,
) -> Result<(Vec<f32>, Vec<T>)>
where
    M: Module + Sync,
    P: Sync,
    T: Send,
{
    let threads = threads.max(1);
    let mut sum = vec![0.0_f32; table.values().len()];
    let mut others = Vec::with_capacity(parts.len());
    for (wave, parts) in parts.chunks(threads).enumerate() {
        let done: Vec<Result<PartGradient<T>>> = parts
            .par_iter()
            .enumerate()
            .map(|(at, part)| {
                let copy = table.apply(module.clone())?;
                gradient(&copy, wave * threads + at, part)
            })
            .collect();
        for part in done {
            let (values, other) = part?;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            others.push(other);
        }
    }
    Ok((sum, others))
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::LinearConfig,
        tensor::{Device, Tensor},
    };
    use musicrl_core::{
        params::{gradients, reinitialise},
        random::{Key, Purpose},
    };

    use super::*;

    #[test]
    fn the_sum_does_not_depend_on_the_threads() {
        let device = Device::flex().autodiff();
        let linear = reinitialise(LinearConfig::new(7, 5).init(&device), Key::new(1, Purpose::Test));
        let table = ParamTable::collect(&linear);
        let parts: Vec<f32> = (0..9).map(|part| part as f32 * 0.37 - 1.1).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                sum_gradients(&linear, &table, &parts, |linear, index, part| {
                    let x = Tensor::<2>::ones([3, 7], &device).mul_scalar(*part);
                    let loss = linear.forward(x).powi_scalar(2).mean();
                    Ok((gradients(linear, &loss.backward()), index))
                })
                .unwrap()
            })
        };
        let (gradient, order) = run(1);
        assert!(gradient.iter().any(|value| *value != 0.0));
        assert_eq!(order, (0..9).collect::<Vec<_>>());
        for threads in 2..5 {
            assert_eq!(run(threads), (gradient.clone(), order.clone()));
        }
    }
}
