//! Checks and reads shared by the tensor functions.

use alloc::{format, vec::Vec};
use burn::tensor::{Bool, DType, Int, Tensor};

use crate::{Error, Result};

/// The stand-in for -inf inside the arithmetic: finite, so that `0 * x` is 0 in values and in gradients, and so low
/// that its exponential is 0 beside any logit.
pub(crate) const FORBIDDEN: f64 = -1e30;

/// Values beyond this are the trace of [`FORBIDDEN`], not of a logit.
pub(crate) const BEYOND: f64 = 1e6;

/// Refuses `got` unless it is `expected`.
pub(crate) fn same<const D: usize>(what: &'static str, expected: [usize; D], got: [usize; D]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Shape { what, expected: format!("{expected:?}"), got: format!("{got:?}") })
}

/// Refuses tensors without elements: reductions over nothing have no value.
pub(crate) fn not_empty<const D: usize>(what: &'static str, dims: [usize; D]) -> Result<()> {
    if dims.contains(&0) {
        return Err(Error::Shape { what, expected: "at least one element".into(), got: format!("{dims:?}") });
    }
    Ok(())
}

/// Half precision widened to 32 bits: sums over a codebook need it.
pub(crate) fn widen<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if matches!(x.dtype(), DType::F16 | DType::BF16) { x.cast(DType::F32) } else { x }
}

/// The elements on the host, without gradient.
pub(crate) fn read<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.clone().inner().into_data().iter::<f64>().collect()
}

/// The mask on the host.
pub(crate) fn read_mask(mask: &Tensor<2, Bool>) -> Vec<bool> {
    mask.clone().into_data().iter::<bool>().collect()
}

/// `x` where the mask counts, 0 (and no gradient, whatever stands there) elsewhere.
pub(crate) fn counted(x: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    x.mask_fill(mask.clone().bool_not(), 0.0)
}

/// The mask as numbers of the same type as `like`.
pub(crate) fn weights(mask: &Tensor<2, Bool>, like: &Tensor<2>) -> Tensor<2> {
    mask.clone().float().cast(like.dtype())
}

/// Refuses the first element of `x: [clips, actions]` for which `ok` is false.
pub(crate) fn check_each(what: &'static str, x: &Tensor<2>, ok: impl Fn(f64) -> bool) -> Result<()> {
    let [_, actions] = x.dims();
    match read(x).into_iter().enumerate().find(|(_, value)| !ok(*value)) {
        Some((at, value)) => Err(Error::NonFinite {
            what,
            at: format!("clip {}, action {} ({value})", at / actions.max(1), at % actions.max(1)),
        }),
        None => Ok(()),
    }
}

/// The actions with masked ones set to 0 (padding lies outside the codebook), each checked against `codebook`.
pub(crate) fn check_actions(
    actions: &Tensor<2, Int>,
    mask: &Tensor<2, Bool>,
    codebook: usize,
) -> Result<Tensor<2, Int>> {
    let [_, per_clip] = actions.dims();
    let actions = actions.clone().mask_fill(mask.clone().bool_not(), 0);
    let outside = |id: &(usize, i64)| usize::try_from(id.1).map_or(true, |id| id >= codebook);
    match actions.clone().into_data().iter::<i64>().enumerate().find(outside) {
        Some((at, got)) => Err(Error::Token { at: (at / per_clip, at % per_clip, 0), codebook, got }),
        None => Ok(actions),
    }
}
