//! `checkpointing` of a stage computes blocks again; the gradients are those of one graph over all blocks.

use std::path::Path;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Bool, DType, Device, Int, Tensor, TensorData},
};
use musicrl_core::{
    params::{ParamTable, learn_where},
    policy::{Policy as _, Prompt as _, frames_from_tokens},
    random::{Key, Purpose},
    rl::{self, Actions, ChunkLogits, Normalisation, Objective},
    sampling::SamplingConfig,
    tokens::Tokens,
};
use musicrl_pipeline::align::{
    family::{Baseliner as _, Learnable as _, LossGradient},
    hidden::Hidden,
};
use musicrl_zoo::{
    Checkpoint, NamedTensors,
    musicgen::{MusicGen, MusicGenPolicy, MusicGenValue, TextPrompt},
};

const CLIPS: usize = 2;
const FRAMES: usize = 6;

/// A policy whose gradients are seen apart from rounding: parameters in 64 bits.
struct Wide;

impl ModuleMapper for Wide {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(DType::F64))
    }
}

/// What learns, by name.
type Learns = fn(&str) -> bool;

const ADAPTERS: Learns = |name| name.contains(".adapter.") || name.starts_with("value_");

/// The fixture's policy on a plain device and two prompts, the second without a condition.
fn load(name: &str, adapters: bool) -> (MusicGenPolicy, TextPrompt) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/tests/fixtures").join(name);
    let model = MusicGen::load(&Checkpoint::open(&dir).unwrap(), &Device::flex()).unwrap();
    let inputs = NamedTensors::read(&dir.join("inputs.safetensors")).unwrap();
    let (dims, ids) = inputs.ids::<2>("in.input_ids", 1000).unwrap().unwrap();
    let (_, mask) = inputs.ids::<2>("in.attention_mask", 2).unwrap().unwrap();
    let mask: Vec<bool> = mask.iter().map(|value| *value == 1).collect();
    let prompt = model.prompt_of_ids(&ids, &mask, dims).unwrap().select(&[0, 1]).unwrap();
    let policy = if adapters { adapted(model.policy) } else { model.policy };
    (policy, prompt.without_conditions(|clip| clip == 1))
}

/// With adapters that do something: half of fresh ones are zeros.
fn adapted(policy: MusicGenPolicy) -> MusicGenPolicy {
    let policy = policy.with_adapters(2, 0.5, Key::new(3, Purpose::Test));
    let mut table = ParamTable::collect(&policy);
    let mut stream = Key::new(4, Purpose::Test).stream();
    let up: Vec<_> = table.entries().iter().filter(|entry| entry.name.ends_with(".up")).map(|e| e.range()).collect();
    for range in up {
        table.values_mut()[range].iter_mut().for_each(|value| *value = 0.3 * stream.normal() as f32);
    }
    table.apply(policy).unwrap()
}

/// `module` in 64 bits on an autodiff device.
fn learning<M: Module>(module: M, learns: Learns) -> M {
    learn_where(module.map(&mut Wide).to_device(&Device::flex().autodiff()).train(), &learns)
}

fn frames(policy: &MusicGenPolicy) -> Tensor<3, Int> {
    let slots = policy.layout().slots_per_frame();
    let clip = |clip: u64| {
        let mut stream = Key::new(9, Purpose::Test).clip(clip).stream();
        Tokens::new((0..FRAMES * slots).map(|_| stream.below(64) as u32).collect(), slots).unwrap()
    };
    let clips: Vec<Tokens> = (0..CLIPS as u64).map(clip).collect();
    frames_from_tokens(policy.layout(), &clips, &policy.decoder.device()).unwrap()
}

/// The two gradients, tensor by tensor. Both are sums of the same 64-bit products in another order, and what is left of
/// the difference is how each is rounded to the flat vector's 32 bits: once with one graph, for each pass of guidance with
/// two. Passes may cancel, so the largest number of all is allowed for.
fn check<T>(table: &ParamTable, whole: &LossGradient<T>, again: &LossGradient<T>, what: &str) {
    assert!((whole.loss - again.loss).abs() < 1e-12 * whole.loss.abs().max(1.0), "{what}");
    let size = |values: &[f32]| values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let all = size(&whole.gradient);
    let mut moved = 0;
    for entry in table.entries() {
        let (a, b) = (&whole.gradient[entry.range()], &again.gradient[entry.range()]);
        let error = a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(error <= 4.0 * f32::EPSILON * size(a) + 0.1 * f32::EPSILON * all, "{what}, {}: {error}", entry.name);
        moved += usize::from(size(a) > 1e-6 * all);
    }
    assert!(moved * 10 > table.entries().len() * 8, "{what}: {moved} of {} have a gradient", table.entries().len());
}

fn check_policy(name: &str, learns: Learns, guidance: f64) {
    let (policy, prompt) = load(name, std::ptr::fn_addr_eq(learns, ADAPTERS));
    let reference = policy.clone().without_adapters().map(&mut Wide);
    let policy = learning(policy, learns);
    let (frames, table) = (frames(&policy), ParamTable::collect_trainable(&policy));
    let sampling = SamplingConfig { temperature: 0.9, guidance, ..SamplingConfig::plain() };
    let slots = policy.layout().slots_per_frame();
    let ids = frames.clone().inner();
    let mask = Tensor::<3, Bool>::from_data(
        TensorData::new(vec![true; CLIPS * FRAMES * slots], [CLIPS, FRAMES, slots]),
        &ids.device(),
    );
    let actions = Actions { ids: ids.clone(), mask };
    let advantages: Vec<f64> = (0..CLIPS * FRAMES * slots).map(|at| ((at * 7 % 11) as f64 - 5.0) / 5.0).collect();
    let advantages = TensorData::new(advantages, [CLIPS, FRAMES * slots]);
    let advantages = Tensor::<2>::from_data(advantages, (&ids.device(), DType::F64));
    let objective = Objective { alpha: 0.3, normalisation: Normalisation::Clips };
    let other = Hidden::of(&reference, &prompt, ids, &sampling).unwrap();
    let loss = |hidden: &Hidden| {
        let loss = rl::reinforce_loss_chunked(&actions, &advantages, &objective, 4, |range| {
            Ok(ChunkLogits {
                policy: hidden.shaped(&policy, range.clone(), &sampling, &actions.ids)?,
                reference: Some(other.tempered(&reference, range, &sampling)?),
            })
        })?;
        Ok((loss.loss, ()))
    };
    let whole = policy.gradient(&table, &prompt, frames.clone(), &sampling, loss).unwrap();
    let again = policy.gradient_recomputed(&table, &prompt, frames, &sampling, loss).unwrap();
    check(&table, &whole, &again, &format!("{name}, guidance {guidance}, {} parameters", table.values().len()));
}

/// Everything, adapters, a block in the middle, heads alone, and what comes before the blocks.
const CHOICES: [Learns; 5] = [
    |_| true,
    ADAPTERS,
    |name| name.starts_with("decoder.blocks.1.") || name.starts_with("decoder.heads."),
    |name| name.starts_with("decoder.heads."),
    |name| name.starts_with("decoder.embeddings.") || name.starts_with("decoder.projection."),
];

#[test]
fn the_gradient_of_the_policy_is_that_of_one_graph() {
    for name in ["musicgen_mono", "musicgen_stereo"] {
        for learns in CHOICES {
            for guidance in [1.0, 3.0] {
                check_policy(name, learns, guidance);
            }
        }
    }
}

#[test]
fn the_gradient_of_the_baseline_is_that_of_one_graph() {
    let own: [Learns; 2] = [ADAPTERS, |name| !name.contains("decoder.heads.")];
    let shared: Learns = |name| !name.starts_with("trunk.");
    for name in ["musicgen_mono", "musicgen_stereo"] {
        for learns in own.into_iter().chain([shared]) {
            let (policy, prompt) = load(name, std::ptr::fn_addr_eq(learns, ADAPTERS));
            let mut value = MusicGenValue::new(policy);
            let mut table = ParamTable::collect(&value);
            let head = table.entries().iter().find(|entry| entry.name == "value_head").unwrap().range();
            // A head of zeros gives the trunk no gradient.
            let mut stream = Key::new(5, Purpose::Test).stream();
            table.values_mut()[head].iter_mut().for_each(|weight| *weight = stream.normal() as f32);
            value = learning(table.apply(value).unwrap(), learns);
            let (frames, table) = (frames(&value.trunk), ParamTable::collect_trainable(&value));
            let loss = |values: &Tensor<2>| {
                let returns = values.clone().inner().zeros_like().add_scalar(2.0);
                let mask = returns.clone().greater_elem(0.0);
                Ok((rl::value_loss(values, &returns, &mask, Normalisation::Actions)?, ()))
            };
            let whole = value.gradient(&table, &prompt, frames.clone(), loss).unwrap();
            let again = value.gradient_recomputed(&table, &prompt, frames, loss).unwrap();
            check(&table, &whole, &again, &format!("{name}, {} parameters", table.values().len()));
        }
    }
}

#[test]
fn a_part_that_is_not_in_the_table_is_named() {
    let (policy, prompt) = load("musicgen_mono", false);
    let policy = learning(policy, |_| true);
    let other = ParamTable::collect(&policy.decoder.norm);
    let (hidden, kept) = policy.hidden_kept(&prompt, frames(&policy)).unwrap();
    let mut sum = vec![0.0; other.values().len()];
    let mut into = musicrl_zoo::musicgen::PartGradients { table: &other, prefix: "", sum: &mut sum };
    let error = policy.add_trunk_gradients(kept, hidden, &mut into).unwrap_err().to_string();
    assert!(error.contains("decoder.norm.weight"), "{error}");
}
