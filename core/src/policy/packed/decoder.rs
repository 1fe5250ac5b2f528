//! The decoder: [`PackedDecoder`].

use alloc::{format, vec, vec::Vec};
use burn::{
    module::Param,
    tensor::{DType, Tensor},
};
#[cfg(feature = "std")]
use rayon::prelude::*;

use super::{
    matrix::Matrix,
    stack::{Past, Stack},
};
use crate::{
    Error, Result,
    policy::{
        ConditionPrompt, Decoder, HierarchicalPolicy, PADDED, Prompt,
        decoder::{Cursor, unasked},
        trunk::embedding_scale,
    },
};

/// A parameter's values on the host.
pub(super) fn values<const D: usize>(parameter: &Param<Tensor<D>>) -> Result<Vec<f32>> {
    let failed = |got| Error::Format { expected: "values readable from the device", got };
    let data = parameter.val().try_into_data_dtype(DType::F32).map_err(|error| failed(format!("{error:?}")))?;
    data.try_to_vec::<f32>().map_err(|error| failed(format!("{error:?}")))
}

/// An embedding table, scaled.
#[derive(Debug, Clone)]
struct Table {
    values: Vec<f32>,
    width: usize,
}

impl Table {
    fn new(parameter: &Param<Tensor<2>>) -> Result<Self> {
        let [_, width] = parameter.val().dims();
        let scale = embedding_scale(width);
        Ok(Self { values: values(parameter)?.iter().map(|value| value * scale).collect(), width })
    }

    /// `out += row`.
    fn add(&self, row: usize, out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(&self.values[row * self.width..]) {
            *out += value;
        }
    }
}

#[derive(Debug, Clone)]
struct Weights {
    start: Table,
    frame: Table,
    token: Table,
    slot: Table,
    global: Stack,
    bridge: Matrix,
    local: Stack,
    /// One a slot, over the entries that it has.
    heads: Vec<Matrix>,
    /// First row of each slot in `frame` and `token`.
    offsets: Vec<usize>,
    /// The row of `token` that stands before slot 0.
    none: usize,
}

/// Some clips, which one thread works on.
#[derive(Debug, Clone)]
struct Group {
    global: Past,
    local: Past,
    /// What is added to every frame, `[clips, global width]`; zeros without a condition.
    summary: Vec<f32>,
    /// `[clips, global width]`.
    frame: Vec<f32>,
    /// The frame's context in the local width, `[clips, local width]`.
    bridged: Vec<f32>,
    /// `[clips, local width]`.
    hidden: Vec<f32>,
    /// `[clips, entries of the slot]`.
    scratch: Vec<f32>,
}

/// Decodes on the processor with weights packed once; on several threads with the `std` feature.
#[derive(Debug, Clone)]
pub struct PackedDecoder {
    weights: Weights,
    groups: Vec<Group>,
    group_clips: usize,
    codebook: usize,
    cursor: Cursor,
    /// The frame before, `[slots, clips]`, until the global transformer has read it.
    frame: Option<Vec<u32>>,
    /// Tokens of the slot before, `[clips]`.
    before: Vec<u32>,
    logits: Vec<f32>,
    ready: bool,
}

impl PackedDecoder {
    /// Packs the weights and reads the prompt.
    pub(in crate::policy) fn new(
        policy: &HierarchicalPolicy,
        prompt: &ConditionPrompt,
        frames_max: usize,
    ) -> Result<Self> {
        let config = policy.config();
        let (trunk, clips) = (&policy.trunk, prompt.clips());
        let (slots, codebook) = (config.layout.slots_per_frame(), config.layout.codebook_max());
        let rows = prompt.rows(config.condition_slots, config.condition_codebook)?;
        let global = Stack::new(&trunk.global, &config.global, config.condition_slots + frames_max.max(1))?;
        let local = Stack::new(&trunk.local, &config.local, slots)?;
        let heads = values(&policy.heads)?;
        let head = |(slot, entries): (usize, usize)| {
            let rows = heads[slot * config.local.width * codebook..].chunks_exact(codebook).take(config.local.width);
            let own: Vec<f32> = rows.flat_map(|row| row[..entries].iter().copied()).collect();
            Matrix::new(&[&own], &local.gain)
        };
        let codebooks: Vec<usize> = config.layout.slots.iter().map(|slot| slot.codebook).collect();
        let weights = Weights {
            start: Table::new(&trunk.start_embedding)?,
            frame: Table::new(&trunk.frame_embedding)?,
            token: Table::new(&trunk.token_embedding)?,
            slot: Table::new(&trunk.slot_embedding)?,
            bridge: Matrix::new(&[&values(&trunk.bridge.weight)?], &global.gain),
            heads: codebooks.iter().copied().enumerate().map(head).collect(),
            offsets: config.offsets().collect(),
            none: config.entries(),
            global,
            local,
        };
        let condition = match (&trunk.condition_embedding, &trunk.condition_projection) {
            (Some(table), Some(projection)) => {
                let ones = vec![1.0; config.global.width];
                Some((Table::new(table)?, Matrix::new(&[&values(&projection.weight)?], &ones)))
            }
            _ => None,
        };

        #[cfg(feature = "std")]
        let threads = rayon::current_num_threads();
        #[cfg(not(feature = "std"))]
        let threads = 1;
        let group_clips = clips.div_ceil(threads.max(1)).max(1);
        let mut groups = Vec::new();
        for start in (0..clips).step_by(group_clips) {
            let count = group_clips.min(clips - start);
            let rows = &rows[start * config.condition_slots..(start + count) * config.condition_slots];
            groups.push(Group::new(&weights, condition.as_ref(), rows, count, config.condition_slots));
        }
        Ok(Self {
            groups,
            group_clips,
            codebook,
            cursor: Cursor::new(codebooks, clips, frames_max),
            frame: None,
            before: Vec::new(),
            logits: vec![PADDED; clips * codebook],
            ready: false,
            weights,
        })
    }
}

impl Group {
    fn new(
        weights: &Weights,
        condition: Option<&(Table, Matrix)>,
        rows: &[i64],
        clips: usize,
        condition_slots: usize,
    ) -> Self {
        let (width, local_width) = (weights.start.width, weights.token.width);
        let mut group = Self {
            global: weights.global.past(clips),
            local: weights.local.past(clips),
            summary: vec![0.0; clips * width],
            frame: vec![0.0; clips * width],
            bridged: vec![0.0; clips * local_width],
            hidden: vec![0.0; clips * local_width],
            scratch: Vec::new(),
        };
        if let Some((table, projection)) = condition {
            let mut mean = vec![0.0; clips * width];
            for slot in 0..condition_slots {
                group.frame.fill(0.0);
                let own = rows.iter().skip(slot).step_by(condition_slots);
                let clips = group.frame.chunks_exact_mut(width).zip(mean.chunks_exact_mut(width));
                for (row, (frame, mean)) in own.zip(clips) {
                    table.add(*row as usize, frame);
                    table.add(*row as usize, mean);
                }
                weights.global.step(&mut group.frame, &mut group.global);
            }
            mean.iter_mut().for_each(|value| *value /= condition_slots as f32);
            projection.product(&mean, &mut group.summary);
        }
        group.frame.fill(0.0);
        group.frame.chunks_exact_mut(width).for_each(|frame| weights.start.add(0, frame));
        group.next_context(weights);
        group
    }

    /// From the frame's embedding, without what is added to every frame, to the next frame's context.
    fn next_context(&mut self, weights: &Weights) {
        for (frame, summary) in self.frame.iter_mut().zip(&self.summary) {
            *frame += summary;
        }
        weights.global.step(&mut self.frame, &mut self.global);
        weights.bridge.product(&self.frame, &mut self.bridged);
        self.local.clear();
    }

    /// Logits of the next action into `out: [clips, codebook]`.
    ///
    /// `first` is the group's first clip among all; `frame` the frame before, `[slots, all clips]`, when it is new;
    /// `before` the tokens of the slot before.
    fn step(&mut self, weights: &Weights, next: &Next<'_>, first: usize, out: &mut [f32]) {
        let (width, local_width) = (weights.start.width, weights.token.width);
        if let Some(ids) = next.frame {
            self.frame.fill(0.0);
            for (clip, frame) in self.frame.chunks_exact_mut(width).enumerate() {
                for (slot, offset) in weights.offsets.iter().enumerate() {
                    weights.frame.add(offset + ids[slot * next.clips + first + clip] as usize, frame);
                }
            }
            self.next_context(weights);
        }
        self.hidden.copy_from_slice(&self.bridged);
        for (clip, hidden) in self.hidden.chunks_exact_mut(local_width).enumerate() {
            let row = match next.slot.checked_sub(1) {
                Some(slot) => weights.offsets[slot] + next.before[first + clip] as usize,
                None => weights.none,
            };
            weights.token.add(row, hidden);
            weights.slot.add(next.slot, hidden);
        }
        weights.local.step(&mut self.hidden, &mut self.local);
        let head = &weights.heads[next.slot];
        let clips = self.hidden.len() / local_width;
        self.scratch.resize(clips * head.columns(), 0.0);
        head.product(&self.hidden, &mut self.scratch);
        for (out, own) in out.chunks_exact_mut(next.codebook).zip(self.scratch.chunks_exact(head.columns())) {
            out.fill(PADDED);
            out[..own.len()].copy_from_slice(own);
        }
    }
}

/// What a step needs to know of the batch.
struct Next<'a> {
    slot: usize,
    clips: usize,
    codebook: usize,
    frame: Option<&'a [u32]>,
    before: &'a [u32],
}

impl Decoder for PackedDecoder {
    fn logits(&mut self) -> Result<&[f32]> {
        let (_, slot) = self.cursor.next()?;
        if !self.ready {
            let (weights, group_clips) = (&self.weights, self.group_clips);
            let next = Next {
                slot,
                clips: self.cursor.clips(),
                codebook: self.codebook,
                frame: self.frame.as_deref(),
                before: &self.before,
            };
            let rows = group_clips * self.codebook;
            let step = |(index, (group, out)): (usize, (&mut Group, &mut [f32]))| {
                group.step(weights, &next, index * group_clips, out);
            };
            #[cfg(feature = "std")]
            if self.groups.len() > 1 {
                self.groups.par_iter_mut().zip(self.logits.par_chunks_mut(rows)).enumerate().for_each(step);
            } else {
                self.groups.iter_mut().zip(self.logits.chunks_mut(rows)).enumerate().for_each(step);
            }
            #[cfg(not(feature = "std"))]
            self.groups.iter_mut().zip(self.logits.chunks_mut(rows)).enumerate().for_each(step);
            self.frame = None;
            self.ready = true;
        }
        Ok(&self.logits)
    }

    fn accept(&mut self, tokens: &[u32]) -> Result<()> {
        if !self.ready {
            return Err(unasked());
        }
        self.frame = self.cursor.accept(tokens)?;
        self.before.clear();
        self.before.extend_from_slice(tokens);
        self.ready = false;
        Ok(())
    }
}
