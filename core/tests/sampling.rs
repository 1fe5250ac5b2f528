//! What is sampled is what is learned from, and a clip does not depend on its batch.

mod support;

use burn::tensor::{Device, Tensor, TensorData};
use musicrl_core::{
    Error,
    policy::{ConditionPrompt, Policy, Prompt, frames_from_tokens},
    random::{Key, Purpose},
    sampling::{GenerationRequest, Sample, SamplingConfig, Shaped, generate},
    tokens::Tokens,
};
use proptest::prelude::*;
use support::Sizes;

fn samplings() -> Vec<SamplingConfig> {
    let plain = SamplingConfig::plain;
    vec![
        plain(),
        SamplingConfig { temperature: 0.7, ..plain() },
        SamplingConfig { top_k: Some(2), temperature: 1.3, ..plain() },
        SamplingConfig { top_p: Some(0.6), ..plain() },
        SamplingConfig { guidance: 2.5, ..plain() },
        SamplingConfig { temperature: 0.9, top_k: Some(4), top_p: Some(0.8), guidance: 1.7 },
    ]
}

fn sample(
    sizes: &Sizes,
    sampling: &SamplingConfig,
    prompt: &ConditionPrompt,
    clips: &[u64],
) -> Result<Vec<Sample>, Error> {
    let request = GenerationRequest {
        sampling: sampling.clone(),
        frames: sizes.frames,
        seed: 11,
        step: 4,
        clips: clips.to_vec(),
    };
    let mut finished = Vec::new();
    let samples = generate(&sizes.policy(1, &Device::flex()), prompt, &request, &mut |frames| finished.push(frames))?;
    assert_eq!(finished, (1..=sizes.frames).collect::<Vec<_>>());
    Ok(samples)
}

#[test]
fn the_same_seed_gives_the_same_clips_for_any_batch() -> Result<(), Error> {
    let sizes = Sizes { clips: 8, ..Sizes::mixed() };
    let prompt = sizes.prompt(&mut Key::new(1, Purpose::Test).stream());
    for sampling in samplings() {
        let whole = sample(&sizes, &sampling, &prompt, &(20..28).collect::<Vec<_>>())?;
        for size in [1, 3] {
            for start in (0..8).step_by(size) {
                let clips: Vec<usize> = (start..8.min(start + size)).collect();
                let ids: Vec<u64> = clips.iter().map(|clip| 20 + *clip as u64).collect();
                let part = sample(&sizes, &sampling, &prompt.select(&clips)?, &ids)?;
                for (clip, part) in clips.iter().zip(&part) {
                    assert_eq!(part, &whole[*clip], "clip {clip} in a batch of {size}, {sampling:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn one_and_two_threads_give_the_same_bits() -> Result<(), Error> {
    let sizes = Sizes { clips: 8, ..Sizes::mixed() };
    let prompt = sizes.prompt(&mut Key::new(1, Purpose::Test).stream());
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| sample(&sizes, &SamplingConfig::default(), &prompt, &[0, 1, 2, 3, 4, 5, 6, 7]))
    };
    let one = on(1)?;
    for threads in [2, 3] {
        assert_eq!(one, on(threads)?, "{threads} threads");
    }
    Ok(())
}

#[test]
fn other_seeds_steps_and_clips_give_other_clips() -> Result<(), Error> {
    let sizes = Sizes { clips: 1, ..Sizes::mixed() };
    let policy = sizes.policy(1, &Device::flex());
    let prompt = ConditionPrompt::unconditional(1);
    let clip = |seed, step, clip| -> Result<Tokens, Error> {
        let request = GenerationRequest::consecutive(SamplingConfig::plain(), sizes.frames, (seed, step), clip, 1);
        Ok(generate(&policy, &prompt, &request, &mut |_| ())?.remove(0).tokens)
    };
    let base = clip(1, 1, 1)?;
    assert_eq!(base, clip(1, 1, 1)?);
    for other in [clip(2, 1, 1)?, clip(1, 2, 1)?, clip(1, 1, 2)?] {
        assert_ne!(base, other);
    }
    Ok(())
}

#[test]
fn sampled_log_probabilities_are_those_of_learning() -> Result<(), Error> {
    let device = Device::flex();
    let sizes = Sizes { clips: 5, ..Sizes::mixed() };
    let policy = sizes.policy(1, &device);
    let prompt = sizes.prompt(&mut Key::new(2, Purpose::Test).stream());
    for sampling in samplings() {
        let samples = sample(&sizes, &sampling, &prompt, &[0, 1, 2, 3, 4])?;
        let clips: Vec<Tokens> = samples.iter().map(|sample| sample.tokens.clone()).collect();
        let frames = frames_from_tokens(policy.layout(), &clips, &device)?;
        let again = sampling.log_probabilities(&policy, &prompt, frames)?;
        assert_eq!(again.dims(), [5, 18]);
        let again = again.into_data().try_to_vec::<f32>().unwrap_or_default();
        let sampled: Vec<f32> = samples.iter().flat_map(|sample| sample.log_probabilities.clone()).collect();
        for (a, b) in sampled.iter().zip(&again) {
            assert!((a - b).abs() < 1e-5, "{a} {b} {sampling:?}");
        }
    }
    Ok(())
}

#[test]
fn frequencies_follow_the_shaped_distribution() -> Result<(), Error> {
    let sampling = SamplingConfig { temperature: 0.8, top_k: Some(3), ..SamplingConfig::plain() };
    let mut shaped = Shaped::default();
    shaped.shape(&sampling, &[0.5, -1.0, 1.0, 0.0, f32::NEG_INFINITY], None)?;
    let mut counts = [0_u32; 5];
    let n = 20_000;
    for clip in 0..n {
        counts[shaped.draw(Key::new(5, Purpose::Sampling).clip(clip).uniform(0))] += 1;
    }
    for (count, p) in counts.iter().zip(shaped.probabilities()) {
        let error = (p * (1.0 - p) / n as f64).sqrt();
        assert!((f64::from(*count) / n as f64 - p).abs() <= 5.0 * error, "{counts:?} {:?}", shaped.probabilities());
    }
    assert_eq!((counts[1], counts[4]), (0, 0));
    Ok(())
}

#[test]
fn shaped_gradients_are_finite_with_everything_on_and_masked_logits() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    let rows = [[0.3, -1e4, 1e4, f32::NEG_INFINITY], [2.0, 2.0, -1.0, f32::NEG_INFINITY]];
    let values: Vec<f32> = rows.concat();
    let logits = Tensor::<4>::from_data(TensorData::new(values, [1, 2, 1, 4]), &device).require_grad();
    let null = Tensor::<4>::zeros([1, 2, 1, 4], &device).slice_fill([0..1, 0..2, 0..1, 3..4], f32::NEG_INFINITY);
    let taken = Tensor::from_data([[[1], [2]]], &device);
    for sampling in samplings() {
        let null = sampling.is_guided().then(|| null.clone());
        let shaped = sampling.shape(logits.clone(), null, &taken)?;
        let log_probabilities = burn::tensor::activation::log_softmax(shaped, 3);
        let chosen = log_probabilities.gather(3, taken.clone().unsqueeze_dim(3));
        let values = chosen.clone().into_data().try_to_vec::<f32>().unwrap_or_default();
        assert!(values.iter().all(|value| value.is_finite() && *value <= 0.0), "{values:?} {sampling:?}");
        let gradients = chosen.sum().backward();
        let gradient = logits.grad(&gradients).map(|gradient| gradient.into_data().try_to_vec::<f32>());
        let gradient = gradient.and_then(Result::ok).unwrap_or_default();
        assert_eq!(gradient.len(), 8);
        assert!(gradient.iter().all(|value| value.is_finite()), "{gradient:?} {sampling:?}");
    }
    Ok(())
}

#[test]
fn rows_that_are_no_distribution_are_errors() {
    let plain = SamplingConfig::plain();
    let guided = SamplingConfig { guidance: 2.0, ..SamplingConfig::plain() };
    let mut shaped = Shaped::default();
    let infinity = f32::INFINITY;
    for row in [&[0.0, f32::NAN][..], &[0.0, infinity], &[-infinity, -infinity], &[]] {
        assert!(matches!(shaped.shape(&plain, row, None), Err(Error::NonFinite { .. })), "{row:?}");
    }
    assert!(matches!(shaped.shape(&guided, &[0.0], Some(&[f32::NAN])), Err(Error::NonFinite { .. })));
    assert!(matches!(shaped.shape(&guided, &[0.0], None), Err(Error::Shape { .. })));
    assert!(matches!(shaped.shape(&guided, &[0.0], Some(&[0.0, 1.0])), Err(Error::Shape { .. })));
}

#[test]
fn one_frame_and_one_entry_leave_no_choice() -> Result<(), Error> {
    let sizes = Sizes { codebooks: vec![1, 1], frames: 1, clips: 2, condition: (0, 0), ..Sizes::mixed() };
    for sampling in samplings() {
        for sample in sample(&sizes, &sampling, &ConditionPrompt::unconditional(2), &[0, 1])? {
            assert_eq!((sample.tokens.ids, sample.tokens.frames), (vec![0, 0], 1));
            assert_eq!((sample.log_probabilities, sample.entropies), (vec![0.0; 2], vec![0.0; 2]));
        }
    }
    Ok(())
}

#[test]
fn a_request_that_does_not_fit_is_refused() {
    let sizes = Sizes { clips: 2, ..Sizes::mixed() };
    let policy = sizes.policy(1, &Device::flex());
    let request = |clips| GenerationRequest::consecutive(SamplingConfig::plain(), 1, (1, 1), 0, clips);
    let run = |request: &GenerationRequest, prompt: &ConditionPrompt| generate(&policy, prompt, request, &mut |_| ());
    assert!(matches!(run(&request(3), &ConditionPrompt::unconditional(2)), Err(Error::Shape { .. })));
    let mut cold = request(2);
    cold.sampling.temperature = 0.0;
    assert!(matches!(run(&cold, &ConditionPrompt::unconditional(2)), Err(Error::Config { .. })));
    let mut none = request(2);
    none.frames = 0;
    let empty = run(&none, &ConditionPrompt::unconditional(2)).map(|samples| samples[1].tokens.frames);
    assert_eq!(empty, Ok(0));
}

fn logits() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![8 => -6.0_f32..6.0, 1 => Just(1e4_f32), 1 => Just(-1e4), 1 => Just(0.5), 1 => Just(f32::NEG_INFINITY)];
    (prop::collection::vec(value, 0..30), -6.0_f32..6.0, any::<prop::sample::Index>()).prop_map(
        |(mut row, finite, at)| {
            row.insert(at.index(row.len() + 1), finite); // at least one entry that can be drawn
            row
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_off_keeps_the_most_probable_and_renormalises(
        row in logits(), k in 1_usize..40, p in 0.01_f64..1.0, temperature in 0.2_f64..3.0, uniform in 0.0_f64..1.0,
    ) {
        let plain = SamplingConfig { temperature, ..SamplingConfig::plain() };
        let (mut whole, mut cut) = (Shaped::default(), Shaped::default());
        whole.shape(&plain, &row, None)?;
        for sampling in [
            SamplingConfig { top_k: Some(k), ..plain.clone() },
            SamplingConfig { top_p: Some(p), ..plain.clone() },
            SamplingConfig { top_k: Some(k), top_p: Some(p), ..plain.clone() },
        ] {
            cut.shape(&sampling, &row, None)?;
            let kept: Vec<usize> = (0..row.len()).filter(|id| cut.kept()[*id]).collect();
            prop_assert!(!kept.is_empty());
            prop_assert!((cut.probabilities().iter().sum::<f64>() - 1.0).abs() < 1e-12);
            // Nothing that went was larger than something that stayed: ties stay together.
            for out in (0..row.len()).filter(|id| !cut.kept()[*id]) {
                prop_assert!(kept.iter().all(|id| row[*id] > row[out]));
                prop_assert_eq!(cut.probabilities()[out], 0.0);
                prop_assert_eq!(cut.log_probability(out), f64::NEG_INFINITY);
            }
            // Ratios of what stayed are unchanged.
            let mass: f64 = kept.iter().map(|id| whole.probabilities()[*id]).sum();
            for id in &kept {
                prop_assert!((cut.probabilities()[*id] - whole.probabilities()[*id] / mass).abs() < 1e-9);
                if cut.probabilities()[*id] > 0.0 {
                    prop_assert!((cut.log_probability(*id) - cut.probabilities()[*id].ln()).abs() < 1e-9);
                }
            }
            if sampling.top_k.is_none() {
                prop_assert!(mass >= p - 1e-12);
            }
            if sampling.top_p.is_none() {
                let least = kept.iter().map(|id| row[*id]).fold(f32::INFINITY, f32::min);
                let ties = row.iter().filter(|value| **value == least).count();
                prop_assert!(kept.len() >= k.min(row.len()) && kept.len() < k.max(1) + ties);
            }
            prop_assert!(cut.probabilities()[cut.draw(uniform)] > 0.0);
            prop_assert!(cut.entropy() >= -1e-12 && cut.entropy() <= (kept.len() as f64).ln() + 1e-9);
        }
    }

    #[test]
    fn full_top_k_and_top_p_one_change_nothing(row in logits(), uniform in 0.0_f64..1.0) {
        let (mut whole, mut cut) = (Shaped::default(), Shaped::default());
        whole.shape(&SamplingConfig::plain(), &row, None)?;
        let all = SamplingConfig { top_k: Some(row.len()), top_p: Some(1.0), ..SamplingConfig::plain() };
        cut.shape(&all, &row, None)?;
        for (a, b) in whole.probabilities().iter().zip(cut.probabilities()) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        prop_assert_eq!(whole.draw(uniform), cut.draw(uniform));
    }

    #[test]
    fn guidance_interpolates(row in prop::collection::vec((-6.0_f32..6.0, -6.0_f32..6.0), 1..20)) {
        let (with, without): (Vec<f32>, Vec<f32>) = row.into_iter().unzip();
        let (mut a, mut b) = (Shaped::default(), Shaped::default());
        let guided = |guidance| SamplingConfig { guidance, ..SamplingConfig::plain() };
        a.shape(&guided(0.0), &with, Some(&without))?;
        b.shape(&SamplingConfig::plain(), &without, None)?;
        prop_assert_eq!(a.probabilities(), b.probabilities());
        // Where both agree, guidance changes nothing.
        a.shape(&guided(3.0), &with, Some(&with))?;
        b.shape(&SamplingConfig::plain(), &with, None)?;
        prop_assert_eq!(a.probabilities(), b.probabilities());
    }
}
