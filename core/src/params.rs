//! A module's parameters as one flat `f32` vector with names: the form in which they are optimised, reduced over
//! workers, checkpointed and compared.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    Error, Result,
    random::{Key, Stream},
};

mod gradients;

pub use gradients::gradients;

/// One parameter's place in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Dotted path in the module, e.g. `global.blocks.0.attention.query.weight`.
    pub name: String,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
    /// Whether the optimiser may move it: false for running statistics and EMA codebooks, and for everything in a
    /// module that is not on an autodiff device.
    pub trainable: bool,
}

impl Entry {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a tensor without elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its elements in the flat vector.
    #[must_use]
    pub fn range(&self) -> core::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// How values are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats: exact.
    F32,
    /// 16-bit IEEE floats: half the size, 11 bits of precision; for weights that ship.
    F16,
}

/// Which parameters a [`ParamTable`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Trainable,
}

/// The float parameters of a module, in visiting order: all of them, or those that learn.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamTable {
    entries: Vec<Entry>,
    values: Vec<f32>,
    scope: Scope,
}

impl ParamTable {
    /// Copies the parameters of `module`.
    #[must_use]
    pub fn collect<M: Module>(module: &M) -> Self {
        Self::collect_scope(module, Scope::All)
    }

    /// Copies the parameters of `module` that may learn and leaves the others where they are: for a large model of
    /// which a few adapters learn.
    #[must_use]
    pub fn collect_trainable<M: Module>(module: &M) -> Self {
        Self::collect_scope(module, Scope::Trainable)
    }

    fn collect_scope<M: Module>(module: &M, scope: Scope) -> Self {
        let mut visitor = Collect { path: Vec::new(), table: Self { entries: Vec::new(), values: Vec::new(), scope } };
        module.visit(&mut visitor);
        visitor.table
    }

    /// Puts the values into `module`, whose names and shapes must be the same. A table of the parameters that learn
    /// leaves those of `module` that do not as they are.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the first parameter that differs in name or shape.
    pub fn apply<M: Module>(&self, module: M) -> Result<M> {
        let mut mapper = Apply { path: Vec::new(), table: self, next: 0, error: None };
        let module = module.map(&mut mapper);
        if let Some(error) = mapper.error {
            return Err(error);
        }
        match self.entries.get(mapper.next) {
            Some(extra) => Err(Error::Weights {
                tensor: extra.name.clone(),
                expected: "no such parameter in the model".to_string(),
                got: format!("shape {:?}", extra.shape),
            }),
            None => Ok(module),
        }
    }

    /// The parameters' names, shapes and places.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All values, parameter after parameter.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The same names and shapes with other values.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ.
    pub fn with_values(&self, values: Vec<f32>) -> Result<Self> {
        if values.len() != self.values.len() {
            return Err(Error::Shape {
                what: "flat parameter values",
                expected: format!("[{}]", self.values.len()),
                got: format!("[{}]", values.len()),
            });
        }
        Ok(Self { entries: self.entries.clone(), values, scope: self.scope })
    }

    /// One parameter by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        self.values.get(entry.range())
    }

    /// The bytes of a safetensors file. Tensors are sorted by name, so equal tables give equal bytes.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a value is NaN or infinite: such a file must never be written.
    pub fn to_safetensors(&self, storage: Storage) -> Result<Vec<u8>> {
        let mut buffers = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let values = &self.values[entry.range()];
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(Error::NonFinite { what: "a weight to be stored", at: format!("{}[{index}]", entry.name) });
            }
            let bytes: Vec<u8> = match storage {
                Storage::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Storage::F16 => values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
            };
            buffers.push(bytes);
        }
        let dtype = match storage {
            Storage::F32 => Dtype::F32,
            Storage::F16 => Dtype::F16,
        };
        let mut views = BTreeMap::new();
        for (entry, bytes) in self.entries.iter().zip(&buffers) {
            let view = TensorView::new(dtype, entry.shape.clone(), bytes).map_err(format_error)?;
            views.insert(entry.name.clone(), view);
        }
        safetensors::serialize(views, None).map_err(format_error)
    }

    /// Reads values for exactly this table's names and shapes from a safetensors file of F32, F16 or BF16 tensors.
    ///
    /// # Errors
    /// [`Error::Format`] when the bytes are no safetensors file; [`Error::Weights`] naming a tensor that is missing,
    /// unexpected, or of another shape or type; [`Error::NonFinite`] for NaN or infinity.
    pub fn read_safetensors(&self, bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(format_error)?;
        for name in file.names() {
            if !self.entries.iter().any(|entry| entry.name == name) {
                return Err(Error::Weights {
                    tensor: name.to_string(),
                    expected: "no such tensor".to_string(),
                    got: "an unexpected tensor".to_string(),
                });
            }
        }
        let mut values = vec![0.0; self.values.len()];
        for entry in &self.entries {
            let Ok(view) = file.tensor(&entry.name) else {
                return Err(Error::Weights {
                    tensor: entry.name.clone(),
                    expected: format!("shape {:?}", entry.shape),
                    got: "no such tensor".to_string(),
                });
            };
            if view.shape() != entry.shape {
                return Err(Error::Weights {
                    tensor: entry.name.clone(),
                    expected: format!("shape {:?}", entry.shape),
                    got: format!("shape {:?}", view.shape()),
                });
            }
            let decoded = decode_floats(view.dtype(), view.data()).ok_or_else(|| Error::Weights {
                tensor: entry.name.clone(),
                expected: "F32, F16 or BF16".to_string(),
                got: format!("{:?}", view.dtype()),
            })?;
            if let Some(index) = decoded.iter().position(|value| !value.is_finite()) {
                return Err(Error::NonFinite { what: "a stored weight", at: format!("{}[{index}]", entry.name) });
            }
            values[entry.range()].copy_from_slice(&decoded);
        }
        Ok(Self { entries: self.entries.clone(), values, scope: self.scope })
    }
}

fn format_error(error: safetensors::SafeTensorError) -> Error {
    Error::Format { expected: "a safetensors file", got: error.to_string() }
}

fn decode_floats(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    let words = |f: fn([u8; 2]) -> f32| data.as_chunks::<2>().0.iter().map(|bytes| f(*bytes)).collect();
    match dtype {
        Dtype::F32 => Some(data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Some(words(|bytes| half::f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(words(|bytes| half::bf16::from_le_bytes(bytes).to_f32())),
        _ => None,
    }
}

/// Gives every parameter a first value from the keyed generator, in place of the process-wide generator of the backend.
///
/// Tensors of rank two and more: normal with variance `1 / fan_in`, where fan-in is the first extent of a matrix
/// (Burn's linear weights are `[in, out]`) and the product of all but the first of a convolution kernel; tensors named
/// `...embedding...weight`: normal with standard deviation 0.02. Of rank one: biases become zero, everything else (norm
/// gains) keeps the constant that its module gave it.
#[must_use]
pub fn reinitialise<M: Module>(module: M, key: Key) -> M {
    module.map(&mut Reinitialise { path: Vec::new(), key, index: 0 })
}

/// Lets exactly the parameters learn whose names begin with one of `prefixes`; an empty list changes nothing.
#[must_use]
pub fn freeze_except<M: Module>(module: M, prefixes: &[String]) -> M {
    if prefixes.is_empty() {
        return module;
    }
    learn_where(module, &|name| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())))
}

/// Lets exactly the parameters learn for whose name `learns` is true, whatever they did before; the others are frozen.
#[must_use]
pub fn learn_where<M: Module>(module: M, learns: &dyn Fn(&str) -> bool) -> M {
    module.map(&mut LearnWhere { path: Vec::new(), learns })
}

struct LearnWhere<'a> {
    path: Vec<String>,
    learns: &'a dyn Fn(&str) -> bool,
}

impl ModuleMapper for LearnWhere<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad((self.learns)(&self.path.join(".")))
    }
}

struct Collect {
    path: Vec<String>,
    table: ParamTable,
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert_dtype(DType::F32);
    data.try_to_vec::<f32>().unwrap_or_default()
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if self.table.scope == Scope::Trainable && !tensor.is_require_grad() {
            return;
        }
        self.table.entries.push(Entry {
            name: self.path.join("."),
            shape: tensor.dims().to_vec(),
            offset: self.table.values.len(),
            trainable: tensor.is_require_grad(),
        });
        self.table.values.extend(read(tensor));
    }
}

struct Apply<'a> {
    path: Vec<String>,
    table: &'a ParamTable,
    next: usize,
    error: Option<Error>,
}

impl ModuleMapper for Apply<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() || (self.table.scope == Scope::Trainable && !param.val().is_require_grad()) {
            return param;
        }
        let name = self.path.join(".");
        let shape = param.val().dims();
        match self.table.entries.get(self.next) {
            Some(entry) if entry.name == name && entry.shape == shape => {
                self.next += 1;
                let values = self.table.values[entry.range()].to_vec();
                set_values(param, values)
            }
            other => {
                self.error = Some(Error::Weights {
                    tensor: name,
                    expected: format!("shape {shape:?}"),
                    got: other.map_or("nothing".to_string(), |entry| format!("{} {:?}", entry.name, entry.shape)),
                });
                param
            }
        }
    }
}

fn set_values<const D: usize>(param: Param<Tensor<D>>, values: Vec<f32>) -> Param<Tensor<D>> {
    param.map(|old| {
        let trainable = old.is_require_grad();
        let data = TensorData::new(values, old.dims()).convert_dtype(old.dtype());
        // By its type: the device alone would make it the device's default.
        let new = Tensor::<D>::from_data(data, (&old.device(), old.dtype()));
        if trainable { new.require_grad() } else { new }
    })
}

struct Reinitialise {
    path: Vec<String>,
    key: Key,
    index: u64,
}

impl ModuleMapper for Reinitialise {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let mut stream = self.key.clip(self.index).stream();
        self.index += 1;
        let tensor = param.val();
        let dims = tensor.dims();
        let count: usize = dims.iter().product();
        let is_bias = self.path.last().is_some_and(|name| name == "bias");
        let embedding = self.path.iter().any(|name| name.contains("embedding"));
        if D == 1 && !is_bias {
            return param;
        }
        let values = if D == 1 {
            vec![0.0; count]
        } else {
            let fan_in: usize = if D == 2 { dims[0] } else { dims[1..].iter().product() };
            let scale = if embedding { 0.02 } else { libm::sqrt(1.0 / fan_in.max(1) as f64) };
            normals(&mut stream, count, scale)
        };
        set_values(param, values)
    }
}

fn normals(stream: &mut Stream, count: usize, scale: f64) -> Vec<f32> {
    (0..count).map(|_| (scale * stream.normal()) as f32).collect()
}
