//! Recurrent layers: [`Lstm`].

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::{
    Result,
    checkpoint::Weights,
    named::{device_floats, host},
};

/// Multiplications below which a step is not worth a second thread.
const SPLIT_WORK: usize = 1 << 17;

/// Layers of long short-term memory with a shortcut around all of them: y = x + LSTM(x), zero state at the start
/// (Hochreiter and Schmidhuber, 1997).
///
/// The products with the input run over all steps at once on the device. The recurrence runs on the host: a step is one
/// product of a matrix with a vector, limited by reading the matrix, and a general product would rearrange the matrix at
/// each step.
#[derive(Debug)]
pub(super) struct Lstm {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// `[width, 4 width]`, gates in the order input, forget, cell, output.
    input: Tensor<2>,
    /// `[1, 4 width]`, the sum of both stored biases.
    bias: Tensor<2>,
    /// `[4 width, width]`, row-major.
    recurrent: Vec<f32>,
}

impl Lstm {
    /// Reads `lstm.{weight,bias}_{ih,hh}_l{layer}`.
    pub fn load(weights: &Weights<'_>, width: usize, layers: usize, device: &Device) -> Result<Self> {
        let weights = weights.child("lstm");
        let layer = |index: usize| {
            let bias = |name: &str| weights.tensor(&format!("bias_{name}_l{index}"), [4 * width], device);
            Ok(Layer {
                input: weights.tensor(&format!("weight_ih_l{index}"), [4 * width, width], device)?.transpose(),
                bias: (bias("ih")? + bias("hh")?).unsqueeze(),
                recurrent: weights.floats(&format!("weight_hh_l{index}"), &[4 * width, width])?,
            })
        };
        Ok(Self { layers: (0..layers).map(layer).collect::<Result<_>>()? })
    }

    /// # Shapes
    /// - x, output: `[clips, width, steps]`, each at least 1
    pub fn forward(&self, x: Tensor<3>) -> Result<Tensor<3>> {
        let [clips, width, steps] = x.dims();
        let device = x.device();
        let shortcut = x.clone();
        let mut rows: Tensor<2> = x.permute([2, 0, 1]).reshape([steps * clips, width]);
        for layer in &self.layers {
            let gates = rows.matmul(layer.input.clone()) + layer.bias.clone();
            let states = recur(&host(gates)?, &layer.recurrent, clips, width);
            rows = device_floats(&states, [steps * clips, width], &device);
        }
        Ok(rows.reshape([steps, clips, width]).permute([1, 2, 0]) + shortcut)
    }
}

/// The states of all steps.
///
/// With gates i, f, g, o = W x + U h + b: c = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c).
///
/// # Shapes
/// - gates: `[steps, clips, 4 width]`, the part of the input
/// - recurrent: `[4 width, width]`
/// - output: `[steps, clips, width]`
fn recur(gates: &[f32], recurrent: &[f32], clips: usize, width: usize) -> Vec<f32> {
    let step = clips * width;
    let mut states = vec![0.0_f32; gates.len() / 4];
    // A block of units is one task: state and cell are kept [width, clips], so that a task owns a piece of both.
    let tasks = if 4 * step * width < SPLIT_WORK { 1 } else { rayon::current_num_threads() };
    let block = width.div_ceil(tasks.max(1)).max(1);
    let mut cells = vec![0.0_f32; step];
    let mut fresh = vec![0.0_f32; step];
    let mut last = vec![0.0_f32; step];
    for (gates, state) in gates.chunks(4 * step).zip(states.chunks_mut(step)) {
        let units = |(task, (cells, fresh)): (usize, (&mut [f32], &mut [f32]))| {
            for (index, (cells, fresh)) in cells.chunks_mut(clips).zip(fresh.chunks_mut(clips)).enumerate() {
                let unit = task * block + index;
                let row = |gate: usize| &recurrent[(gate * width + unit) * width..][..width];
                let rows = [row(0), row(1), row(2), row(3)];
                for (clip, (cell, fresh)) in cells.iter_mut().zip(fresh).enumerate() {
                    let before = &last[clip * width..][..width];
                    let gate = |gate: usize| gates[(clip * 4 + gate) * width + unit] + dot(rows[gate], before);
                    *cell = sigmoid(gate(1)) * *cell + sigmoid(gate(0)) * gate(2).tanh();
                    *fresh = sigmoid(gate(3)) * cell.tanh();
                }
            }
        };
        if tasks == 1 {
            units((0, (&mut cells, &mut fresh)));
        } else {
            let pieces = cells.par_chunks_mut(block * clips).zip(fresh.par_chunks_mut(block * clips));
            pieces.enumerate().for_each(units);
        }
        for (unit, values) in fresh.chunks(clips).enumerate() {
            for (clip, value) in values.iter().enumerate() {
                last[clip * width + unit] = *value;
            }
        }
        state.copy_from_slice(&last);
    }
    states
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Sixteen running sums, which the compiler keeps in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
