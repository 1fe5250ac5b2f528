//! MusicGen as a family of policies: what learns, the baseline, prompts and sound.

use burn::{
    module::Module,
    tensor::{Device, Gradients, Int, Tensor},
};
use musicrl_core::{
    params::{ParamTable, learn_where},
    policy::Prompt as _,
    random::{Key, Purpose},
    sampling::SamplingConfig,
    tokens::Tokens,
};
use musicrl_zoo::musicgen::{Kept, MusicGen, MusicGenPolicy, MusicGenValue, PartGradients, TextPrompt};

use crate::{
    Error, Result,
    align::{
        family::{Baseliner, Learnable, LossGradient, Player},
        hidden::Hidden,
    },
    recipe::{LoraConfig, StageConfig, ValueTrunk},
};

/// Part of the names of adapters' parameters.
pub(super) const ADAPTER: &str = ".adapter.";

/// Which of the keys of [`Purpose::Init`] adapters take: those of the policy and those of its baseline differ.
const POLICY_ADAPTERS: u64 = 1;
const VALUE_ADAPTERS: u64 = 2;

impl Learnable for MusicGenPolicy {
    type Value = MusicGenValue;

    fn device(&self) -> Device {
        self.decoder.device()
    }

    fn prepare(start: &Self, config: &StageConfig, seed: u64, device: &Device) -> Result<Self> {
        let policy = match (&config.lora, start.adapters()) {
            (None, None) => start.clone(),
            (Some(lora), _) => with_lora(start, lora, Key::new(seed, Purpose::Init).step(POLICY_ADAPTERS))?,
            (None, Some(there)) => return Err(other_adapters(there, "none")),
        };
        let whole = config.lora.is_none();
        let policy = policy.to_device(device).train();
        let policy = if whole { own_leaves(start, policy)? } else { policy };
        Ok(learn_where(policy, &|name| {
            let named = config.trainable.is_empty() || config.trainable.iter().any(|prefix| name.starts_with(prefix));
            named && (whole || name.contains(ADAPTER))
        }))
    }

    /// The trunk is the policy's own, without its adapters; one that learns has adapters of its own, or with no `lora`
    /// is a whole copy.
    fn value(&self, config: &StageConfig, seed: u64) -> Result<MusicGenValue> {
        let base = self.clone().without_adapters();
        let (trunk, learns): (Self, fn(&str) -> bool) = match (config.value_trunk, &config.lora) {
            (ValueTrunk::Shared, _) => (base, |name| !name.starts_with("trunk.")),
            (ValueTrunk::Own, Some(lora)) => {
                let key = Key::new(seed, Purpose::Init).step(VALUE_ADAPTERS);
                let trunk = base.with_adapters(lora.rank, lora.scale(), key);
                (trunk, |name| !name.starts_with("trunk.") || name.contains(ADAPTER))
            }
            // The heads of the trunk are not used.
            (ValueTrunk::Own, None) => (own_leaves(&base, base.clone())?, |name| !name.contains("decoder.heads.")),
        };
        // New tensors begin on an autodiff device without asking for gradients.
        Ok(learn_where(MusicGenValue::new(trunk).train(), &learns))
    }

    fn table<M: Module>(module: &M) -> ParamTable {
        ParamTable::collect_trainable(module)
    }

    /// Block by block: see [`Kept`]. The heads' gradients come with the loss, those of the trunk from the gradients of the
    /// vectors; of the two passes of guidance one after the other.
    fn gradient_recomputed<T>(
        &self,
        table: &ParamTable,
        prompt: &TextPrompt,
        frames: Tensor<3, Int>,
        sampling: &SamplingConfig,
        loss: impl FnOnce(&Hidden) -> Result<(Tensor<1>, T)>,
    ) -> Result<LossGradient<T>> {
        let null = prompt.null().filter(|_| sampling.is_guided());
        let free = null.map(|null| Pass::new(self, &null, frames.clone())).transpose()?;
        let given = Pass::new(self, prompt, frames)?;
        let hidden =
            Hidden { conditioned: given.hidden.clone(), unconditioned: free.as_ref().map(|pass| pass.hidden.clone()) };
        let (loss, other) = loss(&hidden)?;
        drop(hidden);
        let mut grads = loss.backward();
        let mut gradient = table.gradients(self, &grads);
        for pass in [Some(given), free].into_iter().flatten() {
            pass.add_gradients(self, &mut grads, PartGradients { table, prefix: "", sum: &mut gradient })?;
        }
        Ok(LossGradient { gradient, loss: f64::from(loss.inner().into_scalar::<f32>()), other })
    }

    /// The frozen weights are one copy, and its graph has one lock.
    fn runs_parts_in_parallel() -> bool {
        false
    }

    fn clips_at_once() -> usize {
        1
    }
}

/// `policy` with fresh adapters, or with its own where it has some.
///
/// # Errors
/// [`Error::Config`] when those that it has are of another rank or scale.
pub(super) fn with_lora(policy: &MusicGenPolicy, lora: &LoraConfig, key: Key) -> Result<MusicGenPolicy> {
    match policy.adapters() {
        None => Ok(policy.clone().with_adapters(lora.rank, lora.scale(), key)),
        Some(there) if there == (lora.rank, lora.scale()) => Ok(policy.clone()),
        Some(there) => Err(other_adapters(there, &format!("rank {}, alpha / rank {}", lora.rank, lora.scale()))),
    }
}

fn other_adapters((rank, scale): (usize, f64), wanted: &str) -> Error {
    let expected = format!("the adapters that the policy has (rank {rank}, alpha / rank {scale})");
    Error::config("lora", expected, wanted)
}

/// The weights of `from` as leaves that share nothing with others.
fn own_leaves(from: &MusicGenPolicy, policy: MusicGenPolicy) -> Result<MusicGenPolicy> {
    Ok(ParamTable::collect(from).apply(policy)?)
}

impl Baseliner<TextPrompt> for MusicGenValue {
    fn values(&self, prompt: &TextPrompt, frames: Tensor<3, Int>) -> Result<Tensor<2>> {
        Ok(Self::values(self, prompt, frames)?)
    }

    /// Of a trunk that does not learn, nothing is kept.
    fn gradient_recomputed<T>(
        &self,
        table: &ParamTable,
        prompt: &TextPrompt,
        frames: Tensor<3, Int>,
        loss: impl FnOnce(&Tensor<2>) -> Result<(Tensor<1>, T)>,
    ) -> Result<LossGradient<T>> {
        let pass = Pass::new(&self.trunk, prompt, frames)?;
        let (loss, other) = loss(&self.of_hidden(pass.hidden.clone()))?;
        let mut grads = loss.backward();
        let mut gradient = table.gradients(self, &grads);
        pass.add_gradients(&self.trunk, &mut grads, PartGradients { table, prefix: "trunk.", sum: &mut gradient })?;
        Ok(LossGradient { gradient, loss: f64::from(loss.inner().into_scalar::<f32>()), other })
    }
}

/// One way through a trunk whose blocks are computed again on the way back.
#[derive(Debug)]
pub(super) struct Pass {
    /// The vectors before the heads: a leaf, whose gradient is wanted where the trunk learns.
    pub(super) hidden: Tensor<4>,
    kept: Option<Kept>,
}

impl Pass {
    pub(super) fn new(trunk: &MusicGenPolicy, prompt: &TextPrompt, frames: Tensor<3, Int>) -> Result<Self> {
        let learns = trunk.trunk_learns();
        let (hidden, kept) = trunk.hidden_kept(prompt, frames)?;
        Ok(Self { hidden: hidden.autodiff().set_require_grad(learns), kept: learns.then_some(kept) })
    }

    pub(super) fn add_gradients(
        self,
        trunk: &MusicGenPolicy,
        grads: &mut Gradients,
        mut into: PartGradients<'_>,
    ) -> Result<()> {
        match (self.hidden.grad_remove(grads), self.kept) {
            (Some(gradient), Some(kept)) => Ok(trunk.add_trunk_gradients(kept, gradient, &mut into)?),
            _ => Ok(()),
        }
    }
}

impl Player for MusicGen {
    type Policy = MusicGenPolicy;

    fn prompt(&self, captions: &[&str]) -> Result<TextPrompt> {
        Ok(Self::prompt(self, captions)?)
    }

    /// Stereo is mixed to the mean of its channels: judges hear mono.
    fn sound(&self, clips: &[Tokens], _keys: &[Key]) -> Result<Vec<Vec<f32>>> {
        let mut sounds = Vec::with_capacity(clips.len());
        for clip in clips {
            let channels = self.channels(clip)?;
            let count = channels.len().max(1) as f32;
            let mut mono = channels.first().cloned().unwrap_or_default();
            for channel in channels.iter().skip(1) {
                mono.iter_mut().zip(channel).for_each(|(sum, value)| *sum += value);
            }
            mono.iter_mut().for_each(|value| *value /= count);
            sounds.push(mono);
        }
        Ok(sounds)
    }

    /// Mono is given to every channel of a stereo policy; of a stereo sound a mono policy hears the mean.
    fn tokens(&self, channels: &[Vec<f32>]) -> Result<Tokens> {
        Ok(self.tokens_of(channels)?)
    }

    fn sample_rate_hz(&self) -> u32 {
        u32::try_from(self.codec.config().sample_rate_hz()).unwrap_or(u32::MAX)
    }
}
