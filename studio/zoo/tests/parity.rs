//! Every fixture under `tests/fixtures`: a small checkpoint with inputs, and what the reference library computed.
//!
//! A fixture is a folder of `config.json` and weights, `inputs.safetensors` (`in.X`), `outputs.safetensors` (`out.Y`) and
//! `noise.json`: for each float output, the largest difference between the reference in 32-bit and in 64-bit floats.
//! `fixtures/generate` made them. Floats agree when max |ours - reference| <= 20 noise + 2e-5 max(std, mean |x|) + 1e-6;
//! integers must be equal.

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::Device;
use musicrl_zoo::{
    NamedTensors,
    named::{Named, Values},
    open,
};

/// What is wrong with an output, if anything.
fn compare(name: &str, ours: Option<&Named>, reference: &Named, noise: f64) -> Result<(), String> {
    let Some(ours) = ours else { return Err(format!("{name}: not computed")) };
    if ours.shape != reference.shape {
        return Err(format!("{name}: shape {:?}, reference {:?}", ours.shape, reference.shape));
    }
    match (&ours.values, &reference.values) {
        (Values::I64(ours), Values::I64(reference)) => {
            let differ = ours.iter().zip(reference).filter(|(a, b)| a != b).count();
            if differ == 0 { Ok(()) } else { Err(format!("{name}: {differ} of {} integers differ", ours.len())) }
        }
        (Values::F32(ours), Values::F32(reference)) => {
            let count = reference.len().max(1) as f64;
            let mean = reference.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
            let std = (reference.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count).sqrt();
            let size = reference.iter().map(|x| f64::from(x.abs())).sum::<f64>() / count;
            let difference = ours.iter().zip(reference).map(|(a, b)| f64::from((a - b).abs()));
            // NaN must not pass: it is larger than any bound here.
            let largest = difference.fold(0.0, |most: f64, d| if d.is_nan() { f64::INFINITY } else { most.max(d) });
            let bound = 20.0 * noise + 2e-5 * std.max(size) + 1e-6;
            if largest <= bound { Ok(()) } else { Err(format!("{name}: differs by {largest:.3e}, bound {bound:.3e}")) }
        }
        _ => Err(format!("{name}: another type than the reference's")),
    }
}

fn check(dir: &Path) -> Vec<String> {
    let model = match open(dir, &Device::flex()) {
        Ok(model) => model,
        Err(error) => return vec![format!("cannot be opened: {error}")],
    };
    let inputs = NamedTensors::read(&dir.join("inputs.safetensors")).unwrap();
    let reference = NamedTensors::read(&dir.join("outputs.safetensors")).unwrap();
    let noise: BTreeMap<String, f64> = serde_json::from_slice(&fs::read(dir.join("noise.json")).unwrap()).unwrap();
    let ours = match model.run(&inputs) {
        Ok(ours) => ours,
        Err(error) => return vec![format!("does not run: {error}")],
    };
    let noise = |name: &str| noise.get(name).copied().unwrap_or(0.0);
    let wrong = |name: &str| compare(name, ours.get(name), reference.get(name).unwrap(), noise(name)).err();
    reference.names().filter_map(wrong).collect()
}

/// Every fixture whose folder's name begins with `prefix`.
fn check_all(prefix: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut dirs: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.join("config.json").exists());
    dirs.retain(|dir| dir.file_name().unwrap().to_string_lossy().starts_with(prefix));
    dirs.sort();
    assert!(!dirs.is_empty(), "no fixtures for {prefix}");
    let mut wrong = Vec::new();
    for dir in dirs {
        wrong.extend(check(&dir).into_iter().map(|line| format!("{}: {line}", dir.file_name().unwrap().display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn musicgen() {
    check_all("musicgen");
}

#[test]
fn encodec() {
    check_all("encodec");
}

#[test]
fn dac() {
    check_all("dac");
}

#[test]
fn mimi() {
    check_all("mimi");
}

#[test]
fn clap() {
    check_all("clap");
}

#[test]
fn bert() {
    check_all("bert");
}
