//! Gradients of a module as a flat vector in the order of its [`ParamTable`].

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Gradients, Tensor},
};

use super::{Entry, ParamTable, Scope, read};
use crate::{Error, Result};

impl ParamTable {
    /// The gradients of the table's parameters in `module`, in the table's order; zero where a parameter had none.
    #[must_use]
    pub fn gradients<M: Module>(&self, module: &M, grads: &Gradients) -> Vec<f32> {
        let mut visitor = CollectGradients { grads, values: Vec::with_capacity(self.values.len()), scope: self.scope };
        module.visit(&mut visitor);
        visitor.values
    }

    /// Adds the gradients of one part of the table's module to `sum`, which is in the table's order: for backward passes
    /// that go through a module part by part. `prefix` is the part's path in the module; parameters without a gradient
    /// add nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] when `sum` has another length than the table; [`Error::Weights`] naming the first parameter of the
    /// part that is not in the table, or in another shape.
    pub fn add_gradients<M: Module>(&self, part: &M, prefix: &str, grads: &Gradients, sum: &mut [f32]) -> Result<()> {
        if sum.len() != self.values.len() {
            return Err(Error::Shape {
                what: "flat gradient",
                expected: format!("[{}]", self.values.len()),
                got: format!("[{}]", sum.len()),
            });
        }
        let path: Vec<String> = prefix.split('.').filter(|part| !part.is_empty()).map(ToString::to_string).collect();
        let inside = |entry: &Entry| entry.name.split('.').zip(&path).filter(|(a, b)| a == b).count() == path.len();
        let first = self.entries.iter().position(inside).unwrap_or(0);
        let mut visitor = AddGradients { path, table: self, grads, next: first, sum, error: None };
        part.visit(&mut visitor);
        visitor.error.map_or(Ok(()), Err)
    }
}

/// The gradients of `module`'s parameters as one flat vector in [`ParamTable`] order; zero where a parameter had none.
#[must_use]
pub fn gradients<M: Module>(module: &M, grads: &Gradients) -> Vec<f32> {
    let mut visitor = CollectGradients { grads, values: Vec::new(), scope: Scope::All };
    module.visit(&mut visitor);
    visitor.values
}

struct CollectGradients<'a> {
    grads: &'a Gradients,
    values: Vec<f32>,
    scope: Scope,
}

impl ModuleVisitor for CollectGradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if self.scope == Scope::Trainable && !tensor.is_require_grad() {
            return;
        }
        match tensor.grad(self.grads) {
            Some(grad) => self.values.extend(read(grad)),
            None => self.values.extend(core::iter::repeat_n(0.0, tensor.shape().num_elements())),
        }
    }
}

struct AddGradients<'a> {
    path: Vec<String>,
    table: &'a ParamTable,
    grads: &'a Gradients,
    next: usize,
    sum: &'a mut [f32],
    error: Option<Error>,
}

impl ModuleVisitor for AddGradients<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if self.error.is_some() || (self.table.scope == Scope::Trainable && !tensor.is_require_grad()) {
            return;
        }
        let (name, shape) = (self.path.join("."), tensor.dims());
        match self.table.entries.get(self.next) {
            Some(entry) if entry.name == name && entry.shape == shape => {
                self.next += 1;
                let values = tensor.grad(self.grads).map(read).unwrap_or_default();
                self.sum[entry.range()].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            other => {
                self.error = Some(Error::Weights {
                    tensor: name,
                    expected: other.map_or("nothing".to_string(), |entry| format!("{} {:?}", entry.name, entry.shape)),
                    got: format!("shape {shape:?}"),
                });
            }
        }
    }
}
