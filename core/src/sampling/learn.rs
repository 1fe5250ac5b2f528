//! The same shaping over tensors, differentiable: what learning sees.

use alloc::{format, vec::Vec};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData, activation::log_softmax};

use super::{SamplingConfig, Shaped};
use crate::{
    Error, Result,
    policy::{PADDED, Policy, Prompt},
};

impl SamplingConfig {
    /// Logits of the distribution that is sampled: `log_softmax` of the output gives the log-probabilities of
    /// [`Shaped`], and gradients flow to both inputs.
    ///
    /// Entries that are cut off become [`PADDED`]. `taken` are the actions that were sampled: their entries always
    /// stay, since rounding may put one that was drawn just outside of the cut when logits are computed anew.
    ///
    /// # Shapes
    /// - logits, null: `[clips, frames, slots, codebook]`
    /// - taken: `[clips, frames, slots]`
    /// - output: `[clips, frames, slots, codebook]`
    ///
    /// # Errors
    /// [`Error::Shape`] when guidance lacks the logits without a condition or they differ in shape;
    /// [`Error::NonFinite`] for NaN when entries are cut off.
    pub fn shape(&self, logits: Tensor<4>, null: Option<Tensor<4>>, taken: &Tensor<3, Int>) -> Result<Tensor<4>> {
        let tempered = self.temper(logits, null)?;
        match self.kept(&tempered, taken)? {
            Some(kept) => Ok(tempered.mask_fill(kept.bool_not(), PADDED)),
            None => Ok(tempered),
        }
    }

    /// Guidance and temperature alone, without cutting off.
    ///
    /// # Shapes
    /// - logits, null, output: `[clips, frames, slots, codebook]`
    ///
    /// # Errors
    /// [`Error::Shape`] as [`shape`](Self::shape).
    pub fn temper(&self, logits: Tensor<4>, null: Option<Tensor<4>>) -> Result<Tensor<4>> {
        let guided = match (self.is_guided(), null) {
            (false, _) => logits,
            (true, Some(null)) if null.dims() == logits.dims() => {
                // Masked entries may be minus infinity: the difference of two would be NaN.
                let (logits, null) = (logits.clamp_min(PADDED), null.clamp_min(PADDED));
                null.clone() + (logits - null).mul_scalar(self.guidance)
            }
            (true, null) => {
                return Err(Error::Shape {
                    what: "logits without a condition",
                    expected: format!("{:?}", logits.dims()),
                    got: null.map_or("none".into(), |null| format!("{:?}", null.dims())),
                });
            }
        };
        Ok(if self.temperature == 1.0 { guided } else { guided.div_scalar(self.temperature) })
    }

    /// Which entries top-k and top-p keep of tempered logits, the taken ones always among them; `None` when nothing is
    /// cut off. To compare two policies under truncation, shape both with the mask of the one that was sampled: their
    /// supports would differ otherwise, and the divergence be infinite.
    ///
    /// # Shapes
    /// - tempered, output: `[clips, frames, slots, codebook]`
    /// - taken: `[clips, frames, slots]`
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN; [`Error::Shape`] when taken differs in shape.
    pub fn kept(&self, tempered: &Tensor<4>, taken: &Tensor<3, Int>) -> Result<Option<Tensor<4, Bool>>> {
        if !self.is_truncated() {
            return Ok(None);
        }
        let dims @ [clips, frames, slots, codebook] = tempered.dims();
        if taken.dims() != [clips, frames, slots] {
            return Err(Error::Shape {
                what: "taken tokens",
                expected: format!("{:?}", [clips, frames, slots]),
                got: format!("{:?}", taken.dims()),
            });
        }
        // The plain rows of generation decide here too, so that the two cannot differ.
        let unreadable = |got| Error::Format { expected: "values readable from the device", got };
        let read = |data: Tensor<4>| data.into_data_dtype(DType::F32).try_to_vec::<f32>();
        let logits = read(tempered.clone().detach()).map_err(|error| unreadable(format!("{error:?}")))?;
        let ids = taken.to_data_dtype(DType::I64).try_to_vec::<i64>();
        let ids = ids.map_err(|error| unreadable(format!("{error:?}")))?;
        let cut = Self { temperature: 1.0, guidance: 1.0, ..self.clone() };
        let mut shaped = Shaped::default();
        let mut kept = Vec::with_capacity(logits.len());
        for (row, id) in logits.chunks(codebook.max(1)).zip(ids) {
            shaped.shape(&cut, row, None)?;
            let start = kept.len();
            kept.extend_from_slice(shaped.kept());
            if let Some(taken) = usize::try_from(id).ok().and_then(|id| kept[start..].get_mut(id)) {
                *taken = true;
            }
        }
        Ok(Some(Tensor::from_data(TensorData::new(kept, dims), &tempered.device())))
    }

    /// Shaped logits of a policy at given clips, guidance included: the teacher-forced twin of
    /// [`generate`](super::generate()).
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips, frames, slots, codebook]`
    ///
    /// # Errors
    /// As [`Policy::logits`] and [`shape`](Self::shape); [`Error::Config`] when guidance meets a policy that has no
    /// null condition.
    pub fn policy_logits<P: Policy>(
        &self,
        policy: &P,
        prompt: &P::Prompt,
        frames: Tensor<3, Int>,
    ) -> Result<Tensor<4>> {
        let null = match self.null_prompt(prompt)? {
            Some(null) => Some(policy.logits(&null, frames.clone())?),
            None => None,
        };
        self.shape(policy.logits(prompt, frames.clone())?, null, &frames)
    }

    /// Log-probabilities of given actions under the distribution that is sampled.
    ///
    /// # Shapes
    /// - frames: `[clips, frames, slots]`
    /// - output: `[clips, actions]`, actions = frames * slots in generation order
    ///
    /// # Errors
    /// As [`policy_logits`](Self::policy_logits).
    pub fn log_probabilities<P: Policy>(
        &self,
        policy: &P,
        prompt: &P::Prompt,
        frames: Tensor<3, Int>,
    ) -> Result<Tensor<2>> {
        let logits = self.policy_logits(policy, prompt, frames.clone())?;
        let [clips, time, slots, _] = logits.dims();
        let frames = frames.to_device(&logits.device()).unsqueeze_dim(3);
        Ok(log_softmax(logits, 3).gather(3, frames).reshape([clips, time * slots]))
    }

    /// The prompt without conditions that guidance needs; `None` without guidance.
    pub(super) fn null_prompt<Q: Prompt>(&self, prompt: &Q) -> Result<Option<Q>> {
        if !self.is_guided() {
            return Ok(None);
        }
        let none = || Error::Config {
            field: "guidance",
            expected: "1 for a policy without a null condition".into(),
            got: format!("{}", self.guidance),
        };
        prompt.null().ok_or_else(none).map(Some)
    }
}
