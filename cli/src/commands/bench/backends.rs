//! `musicrl bench` by itself: the backends side by side on the work that training is made of.

use std::time::Instant;

use burn::tensor::{Bool, Device, Int, Tensor, activation};
use musicrl_codec::neural::CodecConfig;
use musicrl_core::{
    nn::{Attention, FeedForward, TransformerConfig, gelu},
    params::reinitialise,
    random::{Key, Purpose},
};
use serde_json::json;

use crate::{backend::Backend, commands::Context, failure::Failure, report::Report};

/// Pieces of work.
const WORKS: usize = 9;

/// Measures every backend that is built in and usable, `seconds` for each piece of work. Ratios are against
/// `--backend`.
pub fn run(context: &Context, seconds: f64) -> Result<Report, Failure> {
    // The peer must be there; the others are measured where they are.
    context.backend.device()?;
    let mut backends: Vec<Backend> = Backend::ALL.into_iter().filter(|backend| backend.is_built_in()).collect();
    backends.sort_by_key(|backend| *backend != context.backend);
    let mut report = Report::new().line(format!("{:<12}{:<34}{:>12}{:>8}", "backend", "work", "ms", "ratio"));
    let mut rows = Vec::new();
    let mut peers: [Option<f64>; WORKS] = [None; WORKS];
    for backend in backends {
        // A backend that lacks something at run time is left out; `doctor` says why.
        let Ok(device) = backend.device() else { continue };
        let works: [(&str, f64); WORKS] = [
            ("product of [1024, 1024] and same", product_seconds(&device, seconds)?),
            ("GELU, forward and backward", gelu_seconds(&device, seconds, gelu)?),
            ("the same by Burn's operation", gelu_seconds(&device, seconds, activation::gelu)?),
            ("transformer, forward and backward", transformer_seconds(&device, seconds, [8, 80, 192], false)?),
            ("attention by Burn's operations", transformer_seconds(&device, seconds, [8, 80, 192], true)?),
            ("the first over 640 rows of 9 slots", transformer_seconds(&device, seconds, [640, 9, 192], false)?),
            ("that by Burn's operations", transformer_seconds(&device, seconds, [640, 9, 192], true)?),
            ("codec, 4 clips of 6.4 s to sound", codec_seconds(&device, seconds, true)?),
            ("the same by products of kernels", codec_seconds(&device, seconds, false)?),
        ];
        for ((work, median), peer) in works.into_iter().zip(&mut peers) {
            let ratio = median / *peer.get_or_insert(median);
            let line = format!("{:<12}{work:<34}{:>12.2}{ratio:>8.2}", backend.name(), 1e3 * median);
            report = report.line(line);
            rows.push(json!({ "backend": backend.name(), "work": work, "seconds": median, "ratio": ratio }));
        }
    }
    Ok(report.value("measurements", rows).value("peer", context.backend.name()))
}

/// Median seconds of `work`, which ends with its device synchronised, over `seconds` and after one call to warm up.
fn median_seconds(seconds: f64, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    work()?;
    let start = Instant::now();
    let mut durations = Vec::new();
    while durations.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        work()?;
        durations.push(start.elapsed().as_secs_f64());
    }
    durations.sort_by(f64::total_cmp);
    Ok(durations[durations.len() / 2])
}

fn synchronise(device: &Device) -> Result<(), Failure> {
    device.sync().map_err(|error| Failure::failed(format!("the device does not answer: {error}")))
}

fn product_seconds(device: &Device, seconds: f64) -> Result<f64, Failure> {
    let a = Tensor::<2>::ones([1024, 1024], device);
    median_seconds(seconds, || {
        let _product = a.clone().matmul(a.clone());
        synchronise(device)
    })
}

/// Of as many numbers as a layer of the policy that ships has for 32 clips of 80 frames.
fn gelu_seconds(device: &Device, seconds: f64, unit: fn(Tensor<2>) -> Tensor<2>) -> Result<f64, Failure> {
    let x = Tensor::<2>::ones([2560, 576], &device.clone().autodiff()).require_grad();
    median_seconds(seconds, || {
        let _gradients = unit(x.clone()).mean().backward();
        synchronise(device)
    })
}

/// `masked` hides nothing, but by a mask of keys, for which there is no kernel of our own.
fn transformer_seconds(device: &Device, seconds: f64, shape: [usize; 3], masked: bool) -> Result<f64, Failure> {
    let device = device.clone().autodiff();
    let config = TransformerConfig {
        width: 192,
        layers: 4,
        heads: 4,
        ff_width: 768,
        feed_forward: FeedForward::Gelu,
        attention: Attention::Causal,
    };
    let model = reinitialise(config.init(&device), Key::new(1, Purpose::Init));
    let x = Tensor::<3>::ones(shape, &device);
    let mask = masked.then(|| Tensor::<2, Bool>::full([shape[0], shape[1]], true, &device));
    median_seconds(seconds, || {
        let _gradients = model.forward(x.clone(), mask.clone()).powi_scalar(2).mean().backward();
        synchronise(&device)
    })
}

/// The codec of the shipped base with random weights; `heard` by fast transforms, as clips are.
fn codec_seconds(device: &Device, seconds: f64, heard: bool) -> Result<f64, Failure> {
    let codec = CodecConfig::base().init(device, Key::new(1, Purpose::Init))?;
    let codes = Tensor::<3, Int>::zeros([4, 160, codec.levels()], device);
    median_seconds(seconds, || {
        match heard {
            true => drop(codec.sound(codes.clone())?),
            false => drop(codec.decode(codes.clone())?.into_data()),
        }
        Ok(())
    })
}
