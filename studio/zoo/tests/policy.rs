//! MusicGen as a policy: what is generated is what is learned from, under temperature, truncation and guidance, and
//! gradients through guidance are right.

use std::path::Path;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, Int, Tensor},
};
use musicrl_core::{
    params::{ParamTable, learn_where},
    policy::{Policy as _, Prompt as _, frames_from_tokens},
    random::{Key, Purpose},
    sampling::{GenerationRequest, SamplingConfig, generate},
    tokens::Tokens,
};
use musicrl_zoo::{
    Checkpoint, NamedTensors,
    musicgen::{MusicGen, MusicGenPolicy, MusicGenValue, TextPrompt},
};

fn load(name: &str) -> (MusicGen, TextPrompt) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let model = MusicGen::load(&Checkpoint::open(&dir).unwrap(), &Device::flex()).unwrap();
    let inputs = NamedTensors::read(&dir.join("inputs.safetensors")).unwrap();
    let (dims, ids) = inputs.ids::<2>("in.input_ids", 1000).unwrap().unwrap();
    let (_, mask) = inputs.ids::<2>("in.attention_mask", 2).unwrap().unwrap();
    let mask: Vec<bool> = mask.iter().map(|value| *value == 1).collect();
    let prompt = model.prompt_of_ids(&ids, &mask, dims).unwrap();
    (model, prompt)
}

fn samplings() -> Vec<SamplingConfig> {
    let shaped = |temperature, top_k, top_p, guidance| SamplingConfig { temperature, top_k, top_p, guidance };
    vec![
        shaped(1.0, None, None, 1.0),
        shaped(0.7, Some(12), None, 3.0),
        shaped(1.3, None, Some(0.8), 2.0),
        shaped(0.9, Some(30), Some(0.9), 0.5),
    ]
}

/// Every parameter of a policy on a plain device in 64 bits.
struct Wide;

impl ModuleMapper for Wide {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(DType::F64))
    }
}

/// Random clips for a prompt, as a tensor.
fn clips(policy: &MusicGenPolicy, count: usize, frames: usize, device: &Device) -> Tensor<3, Int> {
    let slots = policy.layout().slots_per_frame();
    let clip = |clip: u64| {
        let mut stream = Key::new(9, Purpose::Test).clip(clip).stream();
        let codebook = policy.layout().codebook_max() as f64;
        let ids = (0..frames * slots).map(|_| (stream.uniform() * codebook) as u32).collect();
        Tokens::new(ids, slots).unwrap()
    };
    let all: Vec<Tokens> = (0..count as u64).map(clip).collect();
    frames_from_tokens(policy.layout(), &all, device).unwrap()
}

#[test]
fn what_is_sampled_has_the_log_probability_that_learning_computes() {
    for name in ["musicgen_mono", "musicgen_stereo"] {
        let (model, prompt) = load(name);
        for sampling in samplings() {
            let request = GenerationRequest::consecutive(sampling.clone(), 9, (4, 2), 0, prompt.clips());
            let samples = generate(&model.policy, &prompt, &request, &mut |_| {}).unwrap();
            let tokens: Vec<Tokens> = samples.iter().map(|sample| sample.tokens.clone()).collect();
            let frames = frames_from_tokens(model.policy.layout(), &tokens, &Device::flex()).unwrap();
            // In 64 bits, so that only the sampler's rounding is seen.
            let policy = model.policy.clone().map(&mut Wide);
            let learned = sampling.log_probabilities(&policy, &prompt, frames).unwrap();
            let learned: Vec<f64> = learned.into_data().iter::<f64>().collect();
            let sampled = samples.iter().flat_map(|sample| &sample.log_probabilities);
            assert_eq!(learned.len(), samples.iter().map(|sample| sample.log_probabilities.len()).sum::<usize>());
            for (a, b) in sampled.zip(learned) {
                assert!((f64::from(*a) - b).abs() < 1e-5, "{name}, {sampling:?}: {a} and {b}");
            }
        }
    }
}

#[test]
fn clips_do_not_depend_on_the_batch_or_the_threads() {
    let (model, prompt) = load("musicgen_stereo");
    let sampling = samplings()[1].clone();
    let play = |clips: &[usize], threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let request = GenerationRequest {
            clips: clips.iter().map(|clip| *clip as u64).collect(),
            ..GenerationRequest::consecutive(sampling.clone(), 6, (1, 0), 0, 0)
        };
        pool.install(|| generate(&model.policy, &prompt.select(clips).unwrap(), &request, &mut |_| {}).unwrap())
    };
    let all = play(&[0, 1, 2], 2);
    for clip in 0..3 {
        assert_eq!(play(&[clip], 1), all[clip..=clip]);
    }
    assert_ne!(all[0].tokens, all[1].tokens);
}

#[test]
fn the_gradient_through_guidance_is_that_of_finite_differences() {
    let (model, prompt) = load("musicgen_mono");
    let prompt = prompt.select(&[0, 1]).unwrap();
    let device = Device::flex().autodiff();
    let policy = model.policy.with_adapters(2, 0.5, Key::new(3, Purpose::Test));
    // Adapters that do something: half of them begin with zeros.
    let mut table = ParamTable::collect(&policy);
    let up: Vec<_> = table.entries().iter().filter(|entry| entry.name.ends_with(".up")).map(|e| e.range()).collect();
    let mut stream = Key::new(4, Purpose::Test).stream();
    for range in up {
        table.values_mut()[range].iter_mut().for_each(|value| *value = 0.3 * stream.normal() as f32);
    }
    let policy = table.apply(policy).unwrap().map(&mut Wide).to_device(&device).train();
    let frames = clips(&policy, 2, 5, &device);
    let sampling = SamplingConfig { temperature: 0.8, guidance: 3.0, ..SamplingConfig::plain() };
    let weights: Vec<f64> = (0..2 * 5 * 4).map(|at| ((at * 7 % 11) as f64 - 5.0) / 5.0).collect();
    let loss = |policy: &MusicGenPolicy| {
        let log_probs = sampling.log_probabilities(policy, &prompt, frames.clone()).unwrap();
        let weights = burn::tensor::TensorData::new(weights.clone(), [2, 20]);
        let weights = Tensor::<2>::from_data(weights, &log_probs.device()).cast(DType::F64);
        (log_probs * weights).sum()
    };
    let value = |policy: &MusicGenPolicy| loss(policy).into_data().iter::<f64>().next().unwrap();
    let gradient = table.gradients(&policy, &loss(&policy).backward());
    let largest = gradient.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
    let mut checked = 0;
    for entry in table.entries() {
        // The largest of each parameter, which a wrong factor cannot hide in.
        let at = entry.range().max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap();
        let shifted = |by: f32| {
            let mut values = table.values().to_vec();
            values[at] += by;
            let reached = f64::from(values[at]);
            let moved = table.with_values(values).unwrap().apply(policy.clone()).unwrap();
            (reached, value(&moved))
        };
        let ((above, high), (below, low)) = (shifted(1e-3), shifted(-1e-3));
        let slope = (high - low) / (above - below);
        let error = (slope - f64::from(gradient[at])).abs();
        assert!(error < 1e-4 * slope.abs() + 1e-6 * f64::from(largest), "{}: {slope}, {}", entry.name, gradient[at]);
        checked += usize::from(slope.abs() > 1e-6 * f64::from(largest));
    }
    assert!(checked > 60, "only {checked} parameters matter");
}

#[test]
fn adapters_begin_as_nothing_and_come_off() {
    let (model, prompt) = load("musicgen_mono");
    let policy = model.policy.clone();
    let frames = clips(&policy, 3, 4, &Device::flex());
    let logits = |policy: &MusicGenPolicy| policy.logits(&prompt, frames.clone()).unwrap().into_data();
    let adapted = policy.clone().with_adapters(3, 2.0, Key::new(1, Purpose::Init));
    assert_eq!(adapted.adapters(), Some((3, 2.0)));
    assert_eq!(logits(&adapted), logits(&policy));
    let mut table = ParamTable::collect(&adapted);
    table.values_mut().iter_mut().for_each(|value| *value += 0.01);
    let moved = table.apply(adapted).unwrap();
    assert_ne!(logits(&moved), logits(&policy));
    let off = moved.clone().without_adapters();
    assert_eq!(off.adapters(), None);
    assert_ne!(logits(&off), logits(&moved));
}

#[test]
fn values_begin_at_zero_and_see_only_what_was_chosen_before() {
    let (model, prompt) = load("musicgen_mono");
    let device = Device::flex().autodiff();
    let value = MusicGenValue::new(model.policy.to_device(&device)).train();
    let value = learn_where(value, &|name| name.starts_with("value_"));
    let mut table = ParamTable::collect_trainable(&value);
    assert_eq!(table.entries().len(), 2);
    let frames = clips(&value.trunk, 3, 6, &device);
    let zeros: Vec<f32> = value.values(&prompt, frames.clone()).unwrap().into_data().iter().collect();
    assert!(zeros.iter().all(|value| *value == 0.0));
    table.values_mut().iter_mut().enumerate().for_each(|(at, value)| *value = ((at % 5) as f32 - 2.0) * 0.1);
    let value = table.apply(value).unwrap();
    let read =
        |frames: Tensor<3, Int>| -> Vec<f32> { value.values(&prompt, frames).unwrap().into_data().iter().collect() };
    let before = read(frames.clone());
    // Another token at frame 3, codebook 1 (step 5 of the matrix): what is predicted at steps up to 4 stays.
    let token = frames.clone().slice([0..3, 3..4, 1..2]);
    let other = frames.slice_assign([0..3, 3..4, 1..2], (token + 1).remainder_scalar(60));
    let after = read(other);
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        let (frame, codebook) = (at / 4 % 6, at % 4);
        let step = frame + codebook;
        assert_eq!(before == after, step <= 4, "frame {frame}, codebook {codebook}");
    }
}
