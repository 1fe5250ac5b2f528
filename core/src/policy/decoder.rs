//! Incremental decoding with tensors: [`TensorDecoder`].

use alloc::{format, vec, vec::Vec};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{ConditionPrompt, Decoder, HierarchicalPolicy, HierarchicalTrunk, Prompt};
use crate::{Error, Result, nn::Cache};

/// Where a decoder is: which action comes next, and the tokens of the frame under way.
///
/// Both decoders of the hierarchical policy hold one, so that order, limits and checks are written once.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    codebooks: Vec<usize>,
    clips: usize,
    frames_max: usize,
    frame: usize,
    slot: usize,
    /// Ids of the frame under way, slot after slot, `[slots so far, clips]`.
    tokens: Vec<u32>,
}

impl Cursor {
    pub(super) fn new(codebooks: Vec<usize>, clips: usize, frames_max: usize) -> Self {
        Self { codebooks, clips, frames_max, frame: 0, slot: 0, tokens: Vec::new() }
    }

    pub(super) fn clips(&self) -> usize {
        self.clips
    }

    /// Frame and slot of the next action.
    pub(super) fn next(&self) -> Result<(usize, usize)> {
        if self.frame < self.frames_max {
            Ok((self.frame, self.slot))
        } else {
            Err(Error::Shape {
                what: "decoded frames",
                expected: format!("at most {}", self.frames_max),
                got: format!("{}", self.frame + 1),
            })
        }
    }

    /// Checks and keeps the tokens of the next action; gives all ids of the frame, `[slots, clips]`, when they complete
    /// it.
    pub(super) fn accept(&mut self, tokens: &[u32]) -> Result<Option<Vec<u32>>> {
        let (frame, slot) = self.next()?;
        if tokens.len() != self.clips {
            return Err(Error::Shape {
                what: "chosen tokens",
                expected: format!("[{}]", self.clips),
                got: format!("[{}]", tokens.len()),
            });
        }
        let codebook = self.codebooks[slot];
        if let Some(clip) = tokens.iter().position(|id| *id as usize >= codebook) {
            return Err(Error::Token { at: (clip, frame, slot), codebook, got: i64::from(tokens[clip]) });
        }
        self.tokens.extend_from_slice(tokens);
        self.slot += 1;
        if self.slot < self.codebooks.len() {
            return Ok(None);
        }
        self.slot = 0;
        self.frame += 1;
        Ok(Some(core::mem::take(&mut self.tokens)))
    }
}

/// The error of [`Decoder::accept`] without [`Decoder::logits`] before it.
pub(super) fn unasked() -> Error {
    Error::Shape { what: "chosen tokens", expected: "tokens after their logits".into(), got: "tokens first".into() }
}

/// Decodes on the policy's device, with one read from it an action.
#[derive(Debug)]
pub struct TensorDecoder {
    policy: HierarchicalPolicy,
    device: Device,
    cursor: Cursor,
    offsets: Vec<usize>,
    padding: Option<Tensor<3>>,
    global: Cache,
    local: Cache,
    /// What is added to every frame, `[clips, 1, global width]`.
    summary: Option<Tensor<3>>,
    /// The frame's context in the local width, `[clips, 1, local width]`.
    bridged: Tensor<3>,
    /// Rows of the tokens before the next action in the token table.
    rows: Vec<i64>,
    logits: Vec<f32>,
    ready: bool,
}

impl TensorDecoder {
    pub(super) fn new(policy: &HierarchicalPolicy, prompt: &ConditionPrompt, frames_max: usize) -> Result<Self> {
        // Generation needs no gradients: on an autodiff device, work on the device underneath.
        let policy = policy.valid();
        let config = policy.config();
        let device = policy.trunk.device();
        let clips = prompt.clips();
        if clips == 0 {
            let expected = "at least one clip".into();
            return Err(Error::Shape { what: "prompt", expected, got: "none".into() });
        }
        let slots = config.layout.slots_per_frame();
        let (prefix, summary) = policy.trunk.condition(prompt)?;
        let width = config.global.width;
        let start = policy.trunk.start_embedding.val().mul_scalar(super::trunk::embedding_scale(width));
        let start = start.reshape([1, 1, width]).expand([clips, 1, width]);
        let start = match &summary {
            Some(summary) => start + summary.clone(),
            None => start,
        };
        let x = match prefix {
            Some(prefix) => Tensor::cat([prefix, start].into(), 1),
            None => start,
        };
        let mut global = policy.trunk.global.cache(clips, config.condition_slots + frames_max.max(1), &device);
        let contexts = policy.trunk.global.step(x, &mut global);
        let bridged = policy.trunk.bridge.forward(contexts.narrow(1, config.condition_slots, 1));
        Ok(Self {
            cursor: Cursor::new(config.layout.slots.iter().map(|slot| slot.codebook).collect(), clips, frames_max),
            offsets: config.offsets().collect(),
            padding: policy.padding(&device),
            local: policy.trunk.local.cache(clips, slots, &device),
            rows: vec![config.entries() as i64; clips],
            logits: Vec::new(),
            ready: false,
            policy,
            device,
            global,
            summary,
            bridged,
        })
    }

    /// Feeds a whole frame, ids `[slots, clips]`, to the global transformer.
    fn next_frame(&mut self, ids: &[u32]) {
        let clips = self.cursor.clips();
        let trunk = &self.policy.trunk;
        self.local.clear();
        self.rows.fill(trunk.config().entries() as i64);
        if self.global.time() == self.global.time_max() {
            return; // That was the last frame.
        }
        let slots = self.offsets.len();
        let mut rows = vec![0_i64; clips * slots];
        for (at, id) in ids.iter().enumerate() {
            let (slot, clip) = (at / clips, at % clips);
            rows[clip * slots + slot] = (self.offsets[slot] + *id as usize) as i64;
        }
        let rows = Tensor::<3, Int>::from_data(TensorData::new(rows, [clips, 1, slots]), &self.device);
        let x = trunk.embed_frames(rows);
        let x = match &self.summary {
            Some(summary) => x + summary.clone(),
            None => x,
        };
        self.bridged = trunk.bridge.forward(trunk.global.step(x, &mut self.global));
    }
}

impl Decoder for TensorDecoder {
    fn logits(&mut self) -> Result<&[f32]> {
        let (_, slot) = self.cursor.next()?;
        if !self.ready {
            let clips = self.cursor.clips();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(self.rows.clone(), [clips]), &self.device);
            let x = self.policy.trunk.local_input(self.bridged.clone(), rows, slot);
            let hidden = self.policy.trunk.local.step(x, &mut self.local).swap_dims(0, 1);
            let logits = hidden.matmul(self.policy.heads.val().narrow(0, slot, 1));
            let logits = match &self.padding {
                Some(padding) => logits + padding.clone().narrow(0, slot, 1),
                None => logits,
            };
            self.logits = HierarchicalTrunk::read(logits)?;
            self.ready = true;
        }
        Ok(&self.logits)
    }

    fn accept(&mut self, tokens: &[u32]) -> Result<()> {
        if !self.ready {
            return Err(unasked());
        }
        let (_, slot) = self.cursor.next()?;
        let frame = self.cursor.accept(tokens)?;
        self.ready = false;
        for (row, id) in self.rows.iter_mut().zip(tokens) {
            *row = (self.offsets[slot] + *id as usize) as i64;
        }
        if let Some(ids) = frame {
            self.next_frame(&ids);
        }
        Ok(())
    }
}
