//! Named tensors in and out: [`NamedTensors`], the exchange format of `musicrl zoo run`.

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{Error, Result};

/// Largest file of inputs that is read.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// The values of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Floats.
    F32(Vec<f32>),
    /// Integers and truth values.
    I64(Vec<i64>),
}

/// A tensor without a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Its extents; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Values,
}

/// Tensors by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamedTensors(BTreeMap<String, Named>);

impl NamedTensors {
    /// No tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a safetensors file. F64, F16 and BF16 become F32; integers and truth values I64.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] when it is no safetensors file or holds another type.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |got: String| Error::File { path: path.to_path_buf(), expected: "a safetensors file".into(), got };
        let length = fs::metadata(path).map_err(Error::io("read", path))?.len();
        if length > FILE_BYTES_MAX {
            return Err(wrong(format!("{length} bytes")));
        }
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut all = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = decode(view.dtype(), view.data())
                .ok_or_else(|| wrong(format!("`{name}` of type {:?}", view.dtype())))?;
            all.insert(name.to_string(), Named { shape: view.shape().to_vec(), values });
        }
        Ok(Self(all))
    }

    /// Writes a safetensors file, sorted by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let wrong = |got: String| Error::File { path: path.to_path_buf(), expected: "a safetensors file".into(), got };
        let encode = |named: &Named| -> (Dtype, Vec<u8>) {
            match &named.values {
                Values::F32(values) => (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Values::I64(values) => (Dtype::I64, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            }
        };
        let encoded: Vec<_> = self.0.iter().map(|(name, named)| (name, &named.shape, encode(named))).collect();
        let mut views = Vec::with_capacity(encoded.len());
        for (name, shape, (dtype, bytes)) in &encoded {
            let view = TensorView::new(*dtype, (*shape).clone(), bytes).map_err(|error| wrong(error.to_string()))?;
            views.push(((*name).clone(), view));
        }
        let bytes = safetensors::serialize(views, None).map_err(|error| wrong(error.to_string()))?;
        fs::write(path, bytes).map_err(Error::io("write", path))
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is such a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Named> {
        self.0.get(name)
    }

    /// Shape and values of a float tensor of rank `D`; `None` when it is absent.
    ///
    /// # Errors
    /// [`Error::Input`] for integers, another rank, or values that are not finite.
    pub fn floats<const D: usize>(&self, name: &str) -> Result<Option<([usize; D], &[f32])>> {
        let Some(named) = self.0.get(name) else { return Ok(None) };
        let shape = rank(name, &named.shape)?;
        match &named.values {
            Values::F32(values) if values.iter().all(|value| value.is_finite()) => Ok(Some((shape, values))),
            Values::F32(_) => Err(Error::input(name, "finite values", "NaN or infinity")),
            Values::I64(_) => Err(Error::input(name, "floats", "integers")),
        }
    }

    /// Shape and values of an integer tensor of rank `D`; `None` when it is absent.
    ///
    /// # Errors
    /// [`Error::Input`] for floats or another rank.
    pub fn integers<const D: usize>(&self, name: &str) -> Result<Option<([usize; D], &[i64])>> {
        let Some(named) = self.0.get(name) else { return Ok(None) };
        let shape = rank(name, &named.shape)?;
        match &named.values {
            Values::I64(values) => Ok(Some((shape, values))),
            Values::F32(_) => Err(Error::input(name, "integers", "floats")),
        }
    }

    /// Shape and ids of an integer tensor of rank `D`, each in `0..below`; `None` when it is absent.
    ///
    /// # Errors
    /// [`Error::Input`] for floats, another rank, or an id outside.
    pub fn ids<const D: usize>(&self, name: &str, below: usize) -> Result<Option<([usize; D], Vec<u32>)>> {
        let Some((shape, values)) = self.integers::<D>(name)? else { return Ok(None) };
        let id = |value: &i64| {
            u32::try_from(*value)
                .ok()
                .filter(|id| (*id as usize) < below)
                .ok_or_else(|| Error::input(name, format!("ids from 0 to {}", below.saturating_sub(1)), value))
        };
        Ok(Some((shape, values.iter().map(id).collect::<Result<_>>()?)))
    }

    /// Adds floats. `values` must fill `shape`; it is checked when the file is written.
    pub fn put_floats(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f32>) {
        self.0.insert(name.into(), Named { shape: shape.to_vec(), values: Values::F32(values) });
    }

    /// Adds integers. `values` must fill `shape`; it is checked when the file is written.
    pub fn put_integers(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<i64>) {
        self.0.insert(name.into(), Named { shape: shape.to_vec(), values: Values::I64(values) });
    }

    /// Adds ids. `values` must fill `shape`; it is checked when the file is written.
    pub fn put_ids(&mut self, name: impl Into<String>, shape: &[usize], values: &[u32]) {
        self.put_integers(name, shape, values.iter().map(|id| i64::from(*id)).collect());
    }

    /// Adds a tensor of a device.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be read.
    pub fn put<const D: usize>(&mut self, name: impl Into<String>, tensor: Tensor<D>) -> Result<()> {
        let shape = tensor.dims();
        let name = name.into();
        let values = host(tensor)?;
        self.put_floats(name, &shape, values);
        Ok(())
    }
}

/// A tensor's values on the host.
///
/// # Errors
/// [`Error::Input`] when the device does not give them.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let unreadable = |got: String| Error::input("a tensor", "values readable from the device", got);
    let data = tensor.try_into_data_dtype(DType::F32).map_err(|error| unreadable(format!("{error:?}")))?;
    data.try_to_vec::<f32>().map_err(|error| unreadable(format!("{error:?}")))
}

/// Integers of a host on a device.
#[must_use]
pub fn device_ids<const D: usize>(ids: &[u32], shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    Tensor::from_data(TensorData::new(ids, shape), device)
}

/// Floats of a host on a device.
#[must_use]
pub fn device_floats<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn rank<const D: usize>(name: &str, shape: &[usize]) -> Result<[usize; D]> {
    shape.try_into().map_err(|_| Error::input(name, format!("{D} extents"), format!("{shape:?}")))
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Values> {
    fn each<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| f(*bytes)).collect()
    }
    Some(match dtype {
        Dtype::F32 => Values::F32(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Values::F32(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        Dtype::F16 => Values::F32(each(bytes, |b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Values::F32(each(bytes, |b| half::bf16::from_le_bytes(b).to_f32())),
        Dtype::I64 => Values::I64(each(bytes, i64::from_le_bytes)),
        Dtype::I32 => Values::I64(each(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        Dtype::U8 | Dtype::BOOL => Values::I64(bytes.iter().map(|byte| i64::from(*byte)).collect()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let mut all = NamedTensors::new();
        all.put_floats("f", &[2, 1], vec![1.0, f32::NAN]);
        all.put_integers("i", &[3], vec![0, 5, -1]);
        all.put_floats("s", &[], vec![2.5]);
        all.write(&path).unwrap();
        let read = NamedTensors::read(&path).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["f", "i", "s"]);
        assert_eq!(read.integers::<1>("i").unwrap(), Some(([3], &[0, 5, -1][..])));
        assert_eq!(read.floats::<0>("s").unwrap(), Some(([], &[2.5][..])));
        assert!(read.floats::<2>("f").unwrap_err().to_string().contains("NaN"));
        assert!(read.floats::<1>("i").unwrap_err().to_string().contains("integers"));
        assert!(read.ids::<1>("i", 6).unwrap_err().to_string().contains("-1"));
        assert!(read.ids::<2>("i", 6).unwrap_err().to_string().contains("2 extents"));
        assert_eq!(read.floats::<1>("absent").unwrap(), None);
        fs::write(&path, "no tensors").unwrap();
        assert!(matches!(NamedTensors::read(&path), Err(Error::File { .. })));
        all.put_floats("f", &[3], vec![1.0]);
        assert!(matches!(all.write(&path), Err(Error::File { .. })));
    }
}
