//! A network from a file, planned anew for each shape of input.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tract_onnx::{prelude::*, tract_hir::infer::Factoid as _};

/// Plans that are kept: clips of one run have one length, their windows one or two more.
const PLANS_MAX: usize = 4;

type Plan = Arc<TypedRunnableModel>;

/// A network with one input of 32-bit floats. Errors are in words.
pub struct Network {
    model: InferenceModel,
    /// The input's rank, where the file says it.
    rank: Option<usize>,
    /// The latest shapes and their plans, the oldest first.
    plans: Mutex<Vec<(Vec<usize>, Plan)>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("rank", &self.rank).finish_non_exhaustive()
    }
}

/// Work of the library on a file of others: its panics are errors here.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("the ONNX library gave up on it".into()),
    }
}

impl Network {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// When it cannot be read, is no ONNX file, has operators that tract does not know (they are named), or another
    /// number of inputs than one.
    pub fn load(path: &Path) -> Result<Self, String> {
        let named = |reason: String| format!("{}: {reason}", path.display());
        // The library's message names neither.
        std::fs::File::open(path).map_err(|error| named(error.to_string()))?;
        let model =
            guarded(|| tract_onnx::onnx().with_ignore_output_shapes(true).model_for_path(path)).map_err(named)?;
        let mut unknown: Vec<String> = model
            .nodes()
            .iter()
            .filter_map(|node| Some(node.op.name().strip_prefix("Unimplemented(")?.trim_end_matches(')').to_string()))
            .collect();
        unknown.sort();
        unknown.dedup();
        if !unknown.is_empty() {
            return Err(named(format!("operators that tract does not know: {}", unknown.join(", "))));
        }
        let inputs = model.inputs.len();
        if inputs != 1 {
            return Err(named(format!("expected one input, got {inputs}")));
        }
        if model.outputs.is_empty() {
            return Err(named("expected an output, got none".into()));
        }
        let rank = guarded(|| Ok(model.input_fact(0)?.shape.rank().concretize())).map_err(named)?;
        let rank = rank.and_then(|rank| usize::try_from(rank).ok());
        Ok(Self { model, rank, plans: Mutex::default() })
    }

    /// The elements of the network's first output, row by row.
    ///
    /// # Shapes
    /// - values, shape: one clip without a batch axis, e.g. `[samples]` or `[bands, frames]`. Axes of length 1 are put
    ///   before it up to the rank that the file declares (one, where it declares none).
    ///
    /// # Errors
    /// When the network does not take this shape, or gives no numbers.
    pub fn run(&self, values: &[f32], shape: &[usize]) -> Result<Vec<f32>, String> {
        let rank = self.rank.unwrap_or(shape.len() + 1);
        if shape.iter().product::<usize>() != values.len() || rank < shape.len() {
            return Err(format!("the network takes inputs of {rank} axes, got {shape:?} of {} values", values.len()));
        }
        let full: Vec<usize> = std::iter::repeat_n(1, rank - shape.len()).chain(shape.iter().copied()).collect();
        let plan =
            self.plan(&full).map_err(|reason| format!("the network takes no input of shape {full:?}: {reason}"))?;
        guarded(|| {
            let input = Tensor::from_shape(&full, values)?;
            let output = plan.run(tvec!(input.into()))?;
            let first = output.first().ok_or_else(|| TractError::msg("no output"))?;
            let numbers = first.cast_to::<f32>()?;
            Ok(numbers.to_plain_array_view::<f32>()?.iter().copied().collect())
        })
        .map_err(|reason| format!("the network failed: {reason}"))
    }

    fn plan(&self, shape: &[usize]) -> Result<Plan, String> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = plans.iter().find(|(known, _)| known == shape) {
            return Ok(Arc::clone(plan));
        }
        let declared = guarded(|| Ok(self.model.input_fact(0)?.clone()))?;
        let plan = guarded(|| {
            let given = InferenceFact::dt_shape(f32::datum_type(), shape);
            // Says so where the file asks for another length; a length with a name in the file may be any.
            let fits = |declared: &InferenceFact| {
                declared.datum_type.unify(&given.datum_type).is_ok()
                    && declared.shape.rank().concretize().is_none_or(|rank| usize::try_from(rank) == Ok(shape.len()))
                    && declared.shape.dims().zip(shape).all(|(declared, got)| {
                        let length = declared.concretize().and_then(|length| length.to_i64().ok());
                        length.is_none_or(|length| usize::try_from(length) == Ok(*got))
                    })
            };
            if !fits(&declared) {
                return Err(TractError::msg(format!("the file declares {declared:?}")));
            }
            let model = self.model.clone().with_input_fact(0, given)?;
            model.into_optimized()?.into_runnable()
        })?;
        if plans.len() == PLANS_MAX {
            plans.remove(0);
        }
        plans.push((shape.to_vec(), Arc::clone(&plan)));
        Ok(plan)
    }
}
