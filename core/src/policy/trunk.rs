//! The two transformers of the hierarchical policy: [`HierarchicalTrunk`].

use alloc::{format, vec::Vec};
use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor, TensorData},
};

use super::{ConditionPrompt, HierarchicalPolicyConfig, Prompt};
use crate::{
    Error, Result,
    nn::{Linear, Transformer},
};

/// From tokens to one vector an action; the policy and the value network put their heads on it.
///
/// The global transformer reads, for a clip of T frames, P condition tokens, a start vector, and the frames 0 to T-2,
/// each the sum of the embeddings of its tokens; the last T of its outputs are the *contexts* of frames 0 to T-1. The
/// condition is also added, projected, to the start vector and to every frame. The local transformer reads, at slot k,
/// the frame's context, the embedding of the token at slot k-1 and the embedding of the slot. (RQ-Transformer, Lee et
/// al., CVPR 2022; MEGABYTE, Yu et al., NeurIPS 2023.)
#[derive(Module, Debug)]
pub struct HierarchicalTrunk {
    /// Entries and a null entry for each condition slot, `[condition_slots * (condition_codebook + 1), global width]`.
    pub condition_embedding: Option<Param<Tensor<2>>>,
    /// The condition as it is added to every frame.
    pub condition_projection: Option<Linear>,
    /// Stands before the first frame, `[1, global width]`.
    pub start_embedding: Param<Tensor<2>>,
    /// Entries of all slots, `[entries, global width]`.
    pub frame_embedding: Param<Tensor<2>>,
    /// Over frames.
    pub global: Transformer,
    /// From the global width to the local one.
    pub bridge: Linear,
    /// Entries of all slots, then the entry that stands before slot 0, `[entries + 1, local width]`.
    pub token_embedding: Param<Tensor<2>>,
    /// `[slots, local width]`.
    pub slot_embedding: Param<Tensor<2>>,
    /// Over the slots of a frame.
    pub local: Transformer,
    #[module(skip)]
    config: HierarchicalPolicyConfig,
}

/// Embeddings start small (standard deviation 0.02); times this they have a say beside the blocks' outputs.
pub(super) fn embedding_scale(width: usize) -> f32 {
    libm::sqrtf(width as f32)
}

fn scaled(table: &Param<Tensor<2>>) -> Tensor<2> {
    let table = table.val();
    let scale = embedding_scale(table.dims()[1]);
    table.mul_scalar(scale)
}

fn zeros(rows: usize, width: usize, device: &Device) -> Param<Tensor<2>> {
    Param::from_tensor(Tensor::zeros([rows, width], device))
}

impl HierarchicalTrunk {
    pub(super) fn new(config: &HierarchicalPolicyConfig, device: &Device) -> Self {
        let (global, local) = (config.global.width, config.local.width);
        let conditioned = config.condition_slots > 0;
        let condition_rows = config.condition_slots * (config.condition_codebook + 1);
        Self {
            condition_embedding: conditioned.then(|| zeros(condition_rows, global, device)),
            condition_projection: conditioned.then(|| Linear::zeros(global, global, device)),
            start_embedding: zeros(1, global, device),
            frame_embedding: zeros(config.entries(), global, device),
            global: config.global.transformer().init(device),
            bridge: Linear::zeros(global, local, device),
            token_embedding: zeros(config.entries() + 1, local, device),
            slot_embedding: zeros(config.layout.slots_per_frame(), local, device),
            local: config.local.transformer().init(device),
            config: config.clone(),
        }
    }

    /// The settings that it was made from.
    #[must_use]
    pub fn config(&self) -> &HierarchicalPolicyConfig {
        &self.config
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.start_embedding.val().device()
    }

    /// One vector an action, teacher-forced.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips, frames, slots, local width]`
    ///
    /// # Errors
    /// [`Error::Shape`] when prompt, frames and layout disagree.
    pub fn forward(&self, prompt: &ConditionPrompt, frames: Tensor<3, Int>) -> Result<Tensor<4>> {
        let [clips, time, slots] = frames.dims();
        let layout_slots = self.config.layout.slots_per_frame();
        if clips != prompt.clips() || slots != layout_slots || clips == 0 || time == 0 {
            return Err(Error::Shape {
                what: "frames",
                expected: format!("[{}, frames, {layout_slots}]", prompt.clips()),
                got: format!("[{clips}, {time}, {slots}]"),
            });
        }
        let rows = self.rows(frames.to_device(&self.device()));
        let contexts = self.contexts(prompt, rows.clone())?;
        let width = self.config.local.width;

        // Slot k reads the token of slot k-1; slot 0 the entry behind all tokens.
        let device = rows.device();
        let before = Tensor::full([clips, time, 1], self.config.entries() as i64, (&device, rows.dtype()));
        let ids = if slots == 1 { before } else { Tensor::cat([before, rows.narrow(2, 0, slots - 1)].into(), 2) };
        let tokens = scaled(&self.token_embedding).select(0, ids.reshape([clips * time * slots]));
        let x = tokens.reshape([clips * time, slots, width])
            + self.bridge.forward(contexts).reshape([clips * time, 1, width])
            + scaled(&self.slot_embedding).reshape([1, slots, width]);
        Ok(self.local.forward(x, None).reshape([clips, time, slots, width]))
    }

    /// The global transformer's output for every frame, from row numbers: `[clips, frames, global width]`.
    fn contexts(&self, prompt: &ConditionPrompt, rows: Tensor<3, Int>) -> Result<Tensor<3>> {
        let [clips, time, _] = rows.dims();
        let (prefix, summary) = self.condition(prompt)?;
        let width = self.config.global.width;
        let start = scaled(&self.start_embedding).reshape([1, 1, width]).expand([clips, 1, width]);
        let frames = match time {
            1 => start,
            _ => Tensor::cat([start, self.embed_frames(rows.narrow(1, 0, time - 1))].into(), 1),
        };
        let frames = match summary {
            Some(summary) => frames + summary,
            None => frames,
        };
        let x = match prefix {
            Some(prefix) => Tensor::cat([prefix, frames].into(), 1),
            None => frames,
        };
        Ok(self.global.forward(x, None).narrow(1, self.config.condition_slots, time))
    }

    /// The condition as prefix `[clips, condition_slots, width]` and as what is added to every frame
    /// `[clips, 1, width]`.
    pub(super) fn condition(&self, prompt: &ConditionPrompt) -> Result<(Option<Tensor<3>>, Option<Tensor<3>>)> {
        let (slots, codebook) = (self.config.condition_slots, self.config.condition_codebook);
        // Checks the prompt of a policy without condition, too.
        let rows = prompt.rows(slots, codebook)?;
        let (Some(table), Some(projection)) = (&self.condition_embedding, &self.condition_projection) else {
            return Ok((None, None));
        };
        let count = rows.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &self.device());
        let prefix = scaled(table).select(0, ids).reshape([prompt.clips(), slots, self.config.global.width]);
        let summary = projection.forward(prefix.clone().mean_dim(1));
        Ok((Some(prefix), Some(summary)))
    }

    /// # Shapes
    /// - rows: `[clips, frames, slots]`, row numbers of [`rows`](Self::rows)
    /// - output: `[clips, frames, global width]`
    pub(super) fn embed_frames(&self, rows: Tensor<3, Int>) -> Tensor<3> {
        let [clips, time, slots] = rows.dims();
        let width = self.config.global.width;
        let tokens = scaled(&self.frame_embedding).select(0, rows.reshape([clips * time * slots]));
        tokens.reshape([clips * time, slots, width]).sum_dim(1).reshape([clips, time, width])
    }

    /// Ids to row numbers in the tables that hold all slots.
    pub(super) fn rows(&self, frames: Tensor<3, Int>) -> Tensor<3, Int> {
        let offsets: Vec<i64> = self.config.offsets().map(|offset| offset as i64).collect();
        let slots = offsets.len();
        let options = (&frames.device(), frames.dtype());
        frames + Tensor::<3, Int>::from_data(TensorData::new(offsets, [1, 1, slots]), options)
    }

    /// The input of the local transformer at one slot: `[clips, 1, local width]` from the bridged context
    /// `[clips, 1, local width]` and the rows of the tokens before `[clips]`.
    pub(super) fn local_input(&self, bridged: Tensor<3>, rows: Tensor<1, Int>, slot: usize) -> Tensor<3> {
        let [clips, _, width] = bridged.dims();
        let token = scaled(&self.token_embedding).select(0, rows).reshape([clips, 1, width]);
        bridged + token + scaled(&self.slot_embedding).narrow(0, slot, 1).reshape([1, 1, width])
    }

    /// One float type for everything that the decoder reads.
    pub(super) fn read(tensor: Tensor<3>) -> Result<Vec<f32>> {
        let failed = |got| Error::Format { expected: "values readable from the device", got };
        let data = tensor.try_into_data_dtype(DType::F32).map_err(|error| failed(format!("{error:?}")))?;
        data.try_to_vec::<f32>().map_err(|error| failed(format!("{error:?}")))
    }
}
