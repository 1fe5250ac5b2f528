//! The laws of REINFORCE with KL: tensor functions against their `f64` twins, finite differences, and what must not
//! matter. Extreme logits, forbidden tokens, one-frame clips, one-entry codebooks and all-masked rows are drawn often.

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use musicrl_core::{
    Error,
    rl::{
        Actions, ChunkLogits, Normalisation, Objective, batch_mean_advantages, entropy, exact_kl,
        generalised_advantages, k1, k2, k3, leave_one_out_advantages, log_probabilities,
        reference::{self as twin, Batch},
        reinforce_loss, reinforce_loss_chunked, returns_to_go, rewards_at_end, token_log_prob, token_terms_chunked,
        value_advantages, value_loss, whiten,
    },
};
use proptest::prelude::*;

const CASES: u32 = 48;

/// A learning batch on the host. One slot a frame per `slots`; `actions = frames * slots`.
#[derive(Debug, Clone)]
struct Case {
    clips: usize,
    frames: usize,
    slots: usize,
    codebook: usize,
    policy: Vec<f64>,
    reference: Vec<f64>,
    actions: Vec<usize>,
    advantages: Vec<f64>,
    mask: Vec<bool>,
}

impl Case {
    fn per_clip(&self) -> usize {
        self.frames * self.slots
    }

    fn rows(&self) -> usize {
        self.clips * self.per_clip()
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            policy: &self.policy,
            reference: &self.reference,
            actions: &self.actions,
            advantages: &self.advantages,
            mask: &self.mask,
            actions_per_clip: self.per_clip(),
            codebook: self.codebook,
        }
    }

    fn logits(&self, values: &[f64], device: &Device) -> Tensor<3> {
        tensor(values, [self.clips, self.per_clip(), self.codebook], device)
    }

    fn matrix(&self, values: &[f64], device: &Device) -> Tensor<2> {
        tensor(values, [self.clips, self.per_clip()], device)
    }

    fn mask(&self, device: &Device) -> Tensor<2, Bool> {
        Tensor::from_data(TensorData::new(self.mask.clone(), [self.clips, self.per_clip()]), device)
    }

    fn actions(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i64> = self.actions.iter().map(|&a| a as i64).collect();
        Tensor::from_data(TensorData::new(ids, [self.clips, self.per_clip()]), device)
    }

    /// Loss and gradient with respect to the policy's logits, composed.
    fn composed(&self, objective: &Objective) -> musicrl_core::Result<(f64, Vec<f64>)> {
        let device = Device::flex().autodiff();
        let (mask, logits) = (self.mask(&device), self.logits(&self.policy, &device).require_grad());
        let policy = log_probabilities(logits.clone(), &mask)?;
        let reference = log_probabilities(self.logits(&self.reference, &device), &mask)?;
        let log_prob = token_log_prob(&policy, &self.actions(&device), &mask)?;
        let kl = exact_kl(&policy, &reference, &mask)?;
        let loss = reinforce_loss(&log_prob, &kl, &self.matrix(&self.advantages, &device), &mask, objective)?;
        let gradient = read(&logits.grad(&loss.clone().backward()).expect("a gradient"));
        Ok((read(&loss)[0], gradient))
    }

    /// The same in chunks, on an autodiff device, with the reference on a plain one.
    fn chunked(&self, objective: &Objective, chunk: usize) -> musicrl_core::Result<(f64, Vec<f64>)> {
        let device = Device::flex().autodiff();
        let logits = self.logits(&self.policy, &device).require_grad();
        let plain = self.logits(&self.reference, &Device::flex());
        let [clips, frames, slots, codebook] = [self.clips, self.frames, self.slots, self.codebook];
        let loss = reinforce_loss_chunked(
            &self.all_actions(&device),
            &self.matrix(&self.advantages, &device),
            objective,
            chunk,
            |range| {
                let cut = |x: &Tensor<3>| {
                    let x = x.clone().reshape([clips, frames, slots, codebook]);
                    x.slice([0..clips, range.clone(), 0..slots, 0..codebook])
                };
                Ok(ChunkLogits { policy: cut(&logits), reference: Some(cut(&plain)) })
            },
        )?
        .loss;
        let gradient = read(&logits.grad(&loss.clone().backward()).expect("a gradient"));
        Ok((read(&loss)[0], gradient))
    }

    fn all_actions(&self, device: &Device) -> Actions {
        let shape = [self.clips, self.frames, self.slots];
        Actions { ids: self.actions(device).reshape(shape), mask: self.mask(device).reshape(shape) }
    }
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

fn read<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.clone().into_data().iter::<f64>().collect()
}

fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance * (1.0 + e.abs()), "{what} [{at}]: got {g}, expected {e}");
    }
}

/// Logits: ordinary, extreme or forbidden. `forbid` says whether -inf may come.
fn logit(forbid: bool) -> BoxedStrategy<f64> {
    if forbid {
        prop_oneof![6 => -4.0..4.0, 1 => Just(1e4), 1 => Just(-1e4), 2 => Just(f64::NEG_INFINITY)].boxed()
    } else {
        prop_oneof![6 => -4.0..4.0, 1 => Just(1e4), 1 => Just(-1e4)].boxed()
    }
}

fn case_of(strategy: fn(bool) -> BoxedStrategy<f64>, forbid: bool) -> impl Strategy<Value = Case> {
    let sizes = (1_usize..4, 1_usize..4, 1_usize..3, prop_oneof![1 => Just(1_usize), 4 => 2_usize..6]);
    sizes.prop_flat_map(move |(clips, frames, slots, codebook)| {
        let rows = clips * frames * slots;
        (
            prop::collection::vec(strategy(forbid), rows * codebook),
            prop::collection::vec(strategy(false), rows * codebook),
            prop::collection::vec(0..codebook, rows),
            prop::collection::vec(-3.0..3.0, rows),
            prop::collection::vec(prop::bool::weighted(0.7), rows),
            prop::bool::weighted(0.1),
        )
            .prop_map(move |(mut policy, mut reference, actions, advantages, mut mask, nothing)| {
                for row in 0..rows {
                    let span = row * codebook..(row + 1) * codebook;
                    // The chosen token is never a forbidden one, and the policy forbids what the reference forbids.
                    let chosen = &mut policy[span.start + actions[row]];
                    *chosen = if chosen.is_finite() { *chosen } else { 0.5 };
                    for at in span {
                        if policy[at] == f64::NEG_INFINITY && at % 2 == 0 {
                            reference[at] = f64::NEG_INFINITY;
                        }
                    }
                }
                if nothing {
                    mask.fill(false);
                }
                Case { clips, frames, slots, codebook, policy, reference, actions, advantages, mask }
            })
    })
}

fn extreme() -> impl Strategy<Value = Case> {
    case_of(logit, true)
}

fn mild() -> impl Strategy<Value = Case> {
    case_of(|_| (-4.0..4.0).boxed(), false)
}

fn objective(alpha: f64, normalisation: Normalisation) -> Objective {
    Objective { alpha, normalisation }
}

fn normalisation() -> impl Strategy<Value = Normalisation> {
    prop_oneof![Just(Normalisation::Clips), Just(Normalisation::Actions)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn distribution_functions_equal_their_twins(case in extreme()) {
        let device = Device::flex();
        let mask = case.mask(&device);
        let policy = log_probabilities(case.logits(&case.policy, &device), &mask).unwrap();
        let reference = log_probabilities(case.logits(&case.reference, &device), &mask).unwrap();
        let log_prob = read(&token_log_prob(&policy, &case.actions(&device), &mask).unwrap());
        let (entropy, kl) = (entropy(&policy, &mask).unwrap(), exact_kl(&policy, &reference, &mask).unwrap());
        let (entropy, kl) = (read(&entropy), read(&kl));
        let terms = token_terms_chunked(&case.all_actions(&device), 1, |range| {
            let shape = [case.clips, case.frames, case.slots, case.codebook];
            let cut = |x: &[f64]| {
                let x: Tensor<4> = tensor(x, shape, &device);
                x.slice([0..shape[0], range.clone(), 0..shape[2], 0..shape[3]])
            };
            Ok(ChunkLogits { policy: cut(&case.policy), reference: Some(cut(&case.reference)) })
        }).unwrap();
        close("chunked log-probability", &read(&terms.log_prob), &log_prob, 1e-12);
        close("chunked entropy", &read(&terms.entropy), &entropy, 1e-12);
        close("chunked KL", &read(&terms.kl), &kl, 1e-12);
        for row in 0..case.rows() {
            let span = row * case.codebook..(row + 1) * case.codebook;
            let (p, q) = (&case.policy[span.clone()], &case.reference[span]);
            if case.mask[row] {
                close("log-probability", &[log_prob[row]], &[twin::token_log_prob(p, case.actions[row]).unwrap()], 1e-10);
                close("entropy", &[entropy[row]], &[twin::entropy(p).unwrap()], 1e-10);
                close("KL", &[kl[row]], &[twin::exact_kl(p, q).unwrap()], 1e-10);
            } else {
                prop_assert_eq!([log_prob[row], entropy[row], kl[row]], [0.0; 3]);
            }
        }
    }

    #[test]
    fn loss_and_gradient_equal_the_twins(case in extreme(), alpha in 0.0..=1.0, norm in normalisation(), chunk in 1_usize..5) {
        let objective = objective(alpha, norm);
        let loss = twin::reinforce_loss_from_logits(&case.batch(), &objective).unwrap();
        let gradient = twin::reinforce_gradient(&case.batch(), &objective).unwrap();
        for (got, got_gradient) in [case.composed(&objective).unwrap(), case.chunked(&objective, chunk).unwrap()] {
            close("loss", &[got], &[loss], 1e-9);
            close("gradient", &got_gradient, &gradient, 1e-9);
        }
    }

    #[test]
    fn gradient_equals_finite_differences(case in mild(), alpha in 0.0..=1.0, norm in normalisation()) {
        let objective = objective(alpha, norm);
        let gradient = twin::reinforce_gradient(&case.batch(), &objective).unwrap();
        let h = 1e-5;
        let differences: Vec<f64> = (0..case.policy.len()).map(|at| {
            let loss = |step: f64| {
                let mut moved = case.clone();
                moved.policy[at] += step;
                twin::reinforce_loss_from_logits(&moved.batch(), &objective).unwrap()
            };
            (loss(h) - loss(-h)) / (2.0 * h)
        }).collect();
        close("gradient", &gradient, &differences, 1e-7);
        close("burn", &case.composed(&objective).unwrap().1, &differences, 1e-7);
    }

    #[test]
    fn alpha_one_ignores_rewards_and_alpha_zero_the_reference(case in extreme(), other in -5.0..5.0) {
        let mut rewarded = case.clone();
        rewarded.advantages.iter_mut().for_each(|a| *a = other - *a);
        let all_kl = objective(1.0, Normalisation::Clips);
        prop_assert_eq!(case.chunked(&all_kl, 2).unwrap(), rewarded.chunked(&all_kl, 2).unwrap());
        prop_assert_eq!(case.composed(&all_kl).unwrap(), rewarded.composed(&all_kl).unwrap());
        let mut referred = case.clone();
        referred.reference.iter_mut().for_each(|l| *l = if l.is_finite() { *l * 0.5 + 1.0 } else { *l });
        let no_kl = objective(0.0, Normalisation::Clips);
        close("gradient", &case.chunked(&no_kl, 2).unwrap().1, &referred.chunked(&no_kl, 2).unwrap().1, 0.0);
        close("gradient", &case.composed(&no_kl).unwrap().1, &referred.composed(&no_kl).unwrap().1, 0.0);
    }

    #[test]
    fn masked_positions_never_matter(case in extreme(), alpha in 0.0..=1.0, junk in 0_usize..4) {
        let junk_logit = [f64::NEG_INFINITY, f64::INFINITY, 1e300, -3.0][junk];
        let mut dirty = case.clone();
        for row in (0..case.rows()).filter(|&row| !case.mask[row]) {
            dirty.policy[row * case.codebook..(row + 1) * case.codebook].fill(junk_logit);
            dirty.reference[row * case.codebook..(row + 1) * case.codebook].fill(-junk_logit);
            dirty.advantages[row] = f64::NAN;
            dirty.actions[row] = case.codebook + 7;
        }
        let objective = objective(alpha, Normalisation::Actions);
        let clean = case.chunked(&objective, 1).unwrap();
        prop_assert_eq!(&clean, &dirty.chunked(&objective, 1).unwrap());
        prop_assert!(clean.1.iter().all(|g| g.is_finite()));
        prop_assert_eq!(case.composed(&objective).unwrap(), dirty.composed(&objective).unwrap());
        for row in (0..case.rows()).filter(|&row| !case.mask[row]) {
            prop_assert!(clean.1[row * case.codebook..(row + 1) * case.codebook].iter().all(|g| *g == 0.0));
        }
    }

    #[test]
    fn nan_is_an_error_wherever_it_stands(case in mild(), at in any::<prop::sample::Index>(), in_reference: bool) {
        let mut broken = case;
        let at = at.index(broken.policy.len());
        if in_reference { broken.reference[at] = f64::NAN } else { broken.policy[at] = f64::NAN }
        let objective = objective(0.5, Normalisation::Clips);
        let refused = |result: musicrl_core::Result<(f64, Vec<f64>)>| matches!(result, Err(Error::NonFinite { .. }));
        prop_assert!(refused(broken.chunked(&objective, 2)));
        prop_assert!(refused(broken.composed(&objective)));
        prop_assert!(twin::reinforce_gradient(&broken.batch(), &objective).is_err());
    }

    #[test]
    fn kl_is_nonnegative_zero_iff_equal_and_ignores_shifts(case in extreme(), shift in -50.0..50.0) {
        let device = Device::flex();
        let mask = case.mask(&device);
        let log = |x: &[f64]| log_probabilities(case.logits(x, &device), &mask).unwrap();
        let (p, q) = (log(&case.policy), log(&case.reference));
        let kl = read(&exact_kl(&p, &q, &mask).unwrap());
        let moved: Vec<f64> = case.policy.iter().map(|l| l + shift).collect();
        close("shifted", &read(&exact_kl(&log(&moved), &q, &mask).unwrap()), &kl, 1e-9);
        close("equal", &read(&exact_kl(&log(&moved), &p, &mask).unwrap()), &vec![0.0; kl.len()], 1e-9);
        let (p, q) = (read(&p), read(&q));
        for (row, &kl) in kl.iter().enumerate() {
            prop_assert!(kl >= -1e-12);
            // Pinsker: KL >= (total variation)^2 * 2, so it is 0 only for equal distributions.
            let span = row * case.codebook..(row + 1) * case.codebook;
            let variation: f64 = span.map(|at| (p[at].exp() - q[at].exp()).abs()).sum::<f64>() / 2.0;
            if case.mask[row] {
                prop_assert!(kl >= 2.0 * variation * variation - 1e-9, "{} {}", kl, variation);
            }
        }
    }

    #[test]
    fn kl_is_the_mean_of_k1_and_of_k3(case in mild()) {
        let device = Device::flex();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(vec![true; case.rows()], [case.clips, case.per_clip()]), &device);
        let p = log_probabilities(case.logits(&case.policy, &device), &mask).unwrap();
        let q = log_probabilities(case.logits(&case.reference, &device), &mask).unwrap();
        let kl = read(&exact_kl(&p, &q, &mask).unwrap());
        // The expectation over the codebook is exact: every token, weighted by its probability.
        let (mut mean_k1, mut mean_k3) = (vec![0.0; case.rows()], vec![0.0; case.rows()]);
        for v in 0..case.codebook {
            let token = Tensor::<2, Int>::full([case.clips, case.per_clip()], v as i64, &device);
            let (lp, lq) = (token_log_prob(&p, &token, &mask).unwrap(), token_log_prob(&q, &token, &mask).unwrap());
            let estimates = [k1(&lp, &lq).unwrap(), k2(&lp, &lq).unwrap(), k3(&lp, &lq).unwrap()].map(|k| read(&k));
            let (lp, lq) = (read(&lp), read(&lq));
            for row in 0..case.rows() {
                mean_k1[row] += lp[row].exp() * estimates[0][row];
                mean_k3[row] += lp[row].exp() * estimates[2][row];
                let twins = [twin::k1(lp[row], lq[row]), twin::k2(lp[row], lq[row]), twin::k3(lp[row], lq[row])];
                close("estimators", &[estimates[0][row], estimates[1][row], estimates[2][row]], &twins, 1e-9);
            }
        }
        close("k1", &mean_k1, &kl, 1e-9);
        close("k3", &mean_k3, &kl, 1e-9);
    }

    #[test]
    fn a_constant_on_return_and_value_changes_nothing(case in mild(), constant in -50.0..50.0) {
        let device = Device::flex();
        let mask = case.mask(&device);
        let values: Vec<f64> = case.advantages.iter().map(|a| a * 0.3 - 1.0).collect();
        let add = |x: &[f64]| case.matrix(&x.iter().map(|x| x + constant).collect::<Vec<_>>(), &device);
        let (g, v) = (case.matrix(&case.advantages, &device), case.matrix(&values, &device));
        let before = value_advantages(&g, &v, &mask).unwrap();
        let after = value_advantages(&add(&case.advantages), &add(&values), &mask).unwrap();
        close("advantages", &read(&after), &read(&before), 1e-10);
        close("twin", &read(&before), &twin::value_advantages(&case.advantages, &values, &case.mask), 1e-12);
        for norm in [Normalisation::Clips, Normalisation::Actions] {
            let loss = read(&value_loss(&v, &g, &mask, norm).unwrap())[0];
            let moved = read(&value_loss(&add(&values), &add(&case.advantages), &mask, norm).unwrap())[0];
            close("value loss", &[moved], &[loss], 1e-9);
            let expected = twin::value_loss(&values, &case.advantages, &case.mask, case.per_clip(), norm);
            close("value loss", &[loss], &[expected], 1e-12);
        }
    }

    #[test]
    fn generalised_advantages_are_their_sum_and_end_in_the_return(case in mild(), lambda in 0.0..1.0_f64) {
        let device = Device::flex();
        let mask = case.mask(&device);
        let values: Vec<f64> = case.advantages.iter().map(|a| a * 0.3 - 1.0).collect();
        let rewards: Vec<f64> = case.advantages.iter().map(|a| a + 0.5).collect();
        let g = returns_to_go(&case.matrix(&rewards, &device), &mask).unwrap();
        let v = case.matrix(&values, &device);
        let of = |lambda| read(&generalised_advantages(&g, &v, &mask, lambda).unwrap());
        let expected = twin::generalised_advantages(&read(&g), &values, &case.mask, case.per_clip(), lambda);
        close("twin", &of(lambda), &expected, 1e-9);
        close("lambda 1", &of(1.0), &read(&value_advantages(&g, &v, &mask).unwrap()), 1e-9);
        // The undiscounted changes of a clip sum to its return less the first value.
        let steps = of(0.0);
        for clip in 0..case.clips {
            let row = clip * case.per_clip()..(clip + 1) * case.per_clip();
            let Some(first) = row.clone().find(|at| case.mask[*at]) else { continue };
            let sum: f64 = row.map(|at| steps[at]).sum();
            close("sum", &[sum], &[read(&g)[first] - values[first]], 1e-9);
        }
        for bad in [-0.1, 1.5, f64::NAN] {
            let refused = generalised_advantages(&g, &v, &mask, bad);
            assert!(matches!(refused, Err(Error::Config { field: "lambda", .. })));
        }
    }

    #[test]
    fn leave_one_out_sums_to_zero(case in mild(), grouped: bool) {
        let device = Device::flex();
        let mask = case.mask(&device);
        let group = if grouped && case.clips % 2 == 0 { 2 } else { case.clips };
        let returns = case.matrix(&case.advantages, &device);
        let advantages = read(&leave_one_out_advantages(&returns, &mask, group).unwrap());
        let expected = twin::leave_one_out_advantages(&case.advantages, &case.mask, case.per_clip(), group);
        close("twin", &advantages, &expected, 1e-12);
        for first in (0..case.clips).step_by(group) {
            for t in 0..case.per_clip() {
                let sum: f64 = (first..first + group).map(|i| advantages[i * case.per_clip() + t]).sum();
                prop_assert!(sum.abs() < 1e-12, "{sum}");
            }
        }
    }

    #[test]
    fn whitening_is_idempotent(case in mild(), scale in prop_oneof![Just(0.0), Just(1e-3), Just(1e6)], offset in -9.0..9.0) {
        let device = Device::flex();
        let mask = case.mask(&device);
        let raw: Vec<f64> = case.advantages.iter().map(|a| a * scale + offset).collect();
        let once = whiten(&case.matrix(&raw, &device), &mask).unwrap();
        let twice = whiten(&once, &mask).unwrap();
        close("twice", &read(&twice), &read(&once), 1e-9);
        close("twin", &read(&once), &twin::whiten(&raw, &case.mask), 1e-9);
        let squares: Vec<f64> = read(&once).iter().map(|a| a * a).collect();
        let count = case.mask.iter().filter(|c| **c).count() as f64;
        let mean_square = squares.iter().sum::<f64>() / count.max(1.0);
        prop_assert!(mean_square.abs() < 1e-9 || (mean_square - 1.0).abs() < 1e-9);
        let centred = batch_mean_advantages(&case.matrix(&raw, &device), &mask).unwrap();
        close("batch mean", &read(&centred), &twin::batch_mean_advantages(&raw, &case.mask), 1e-9);
    }

    #[test]
    fn returns_obey_their_recursion(case in mild()) {
        let device = Device::flex();
        let (mask, actions) = (case.mask(&device), case.per_clip());
        let returns = read(&returns_to_go(&case.matrix(&case.advantages, &device), &mask).unwrap());
        for row in 0..case.rows() {
            let reward = if case.mask[row] { case.advantages[row] } else { 0.0 };
            let next = if (row + 1) % actions == 0 { 0.0 } else { returns[row + 1] };
            prop_assert!((returns[row] - reward - next).abs() < 1e-12);
        }
        close("twin", &returns, &twin::returns_to_go(&case.advantages, &case.mask, actions), 1e-12);
        let rewards = &case.advantages[..case.clips];
        let placed = rewards_at_end(&tensor(rewards, [case.clips], &device), &mask).unwrap();
        close("placed", &read(&placed), &twin::rewards_at_end(rewards, &case.mask, actions), 0.0);
        // A reward at the end is the return of every counted action of its clip.
        let returns = read(&returns_to_go(&placed, &mask).unwrap());
        for row in (0..case.rows()).filter(|&row| case.mask[row]) {
            prop_assert!((returns[row] - rewards[row / actions]).abs() < 1e-12);
        }
    }

    #[test]
    fn single_precision_stays_near_the_twin(case in extreme(), alpha in 0.0..=1.0) {
        let device = Device::flex().autodiff();
        let shape = [case.clips, case.frames, case.slots, case.codebook];
        let single = |x: &[f64]| -> Tensor<4> {
            let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
            Tensor::from_data(TensorData::new(x, shape), &device)
        };
        let logits = single(&case.policy).require_grad();
        let objective = objective(alpha, Normalisation::Actions);
        let advantages = case.matrix(&case.advantages, &device).cast(DType::F32);
        let loss = reinforce_loss_chunked(&case.all_actions(&device), &advantages, &objective, case.frames, |_| {
            Ok(ChunkLogits { policy: logits.clone(), reference: Some(single(&case.reference)) })
        }).unwrap().loss;
        let gradient = read(&logits.grad(&loss.clone().backward()).unwrap());
        close("loss", &read(&loss), &[twin::reinforce_loss_from_logits(&case.batch(), &objective).unwrap()], 1e-4);
        // Logits of 1e4 have an f32 spacing of 1e-3, which the KL inherits.
        close("gradient", &gradient, &twin::reinforce_gradient(&case.batch(), &objective).unwrap(), 2e-3);
    }
}

fn small() -> Case {
    Case {
        clips: 1,
        frames: 1,
        slots: 1,
        codebook: 2,
        policy: vec![0.0, 1.0],
        reference: vec![0.0, 1.0],
        actions: vec![1],
        advantages: vec![1.0],
        mask: vec![true],
    }
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let inf = f64::INFINITY;
    let objective = Objective { alpha: 0.5, normalisation: Normalisation::Clips };
    type Spoil = fn(&mut Case, f64);
    let cases: [(&str, Spoil); 6] = [
        ("+inf", |case, inf| case.policy[0] = inf),
        ("no allowed token", |case, inf| case.policy.fill(-inf)),
        ("no allowed token in the reference", |case, inf| case.reference.fill(-inf)),
        ("the chosen token is forbidden", |case, inf| case.policy[1] = -inf),
        ("only the reference forbids", |case, inf| case.reference[0] = -inf),
        ("advantage", |case, inf| case.advantages[0] = inf),
    ];
    for (what, spoil) in cases {
        let mut case = small();
        spoil(&mut case, inf);
        assert!(matches!(case.chunked(&objective, 1), Err(Error::NonFinite { .. })), "{what}");
        assert!(matches!(case.composed(&objective), Err(Error::NonFinite { .. })), "{what}");
        if what != "advantage" {
            assert!(twin::reinforce_loss_from_logits(&case.batch(), &objective).is_err(), "{what}");
        }
    }
    assert_eq!(twin::exact_kl(&[0.0, 0.0], &[0.0, -inf]), Ok(inf));
    let mut outside = small();
    outside.actions[0] = 2;
    assert!(matches!(outside.chunked(&objective, 1), Err(Error::Token { codebook: 2, got: 2, .. })));
    assert!(matches!(small().chunked(&objective, 0), Err(Error::Config { field: "chunk_frames", .. })));
    let bad = Objective { alpha: -0.5, ..objective };
    assert!(matches!(small().chunked(&bad, 1), Err(Error::Config { field: "alpha", .. })));
}

#[test]
fn without_a_reference_alpha_must_be_zero() {
    let device = Device::flex();
    let case = small();
    let run = |alpha| {
        let objective = Objective { alpha, normalisation: Normalisation::Clips };
        let advantages = case.matrix(&case.advantages, &device);
        reinforce_loss_chunked(&case.all_actions(&device), &advantages, &objective, 1, |_| {
            Ok(ChunkLogits { policy: tensor(&case.policy, [1, 1, 1, 2], &device), reference: None })
        })
    };
    assert!(matches!(run(0.1), Err(Error::Config { field: "alpha", .. })));
    // Cross-entropy of the token with logit 1 against 0: ln(1 + e^-1).
    let loss = run(0.0).unwrap();
    assert!((read(&loss.loss)[0] - (-1.0_f64).exp().ln_1p()).abs() < 1e-12);
    assert_eq!(read(&loss.terms.kl), [0.0]);
}

#[test]
fn wrong_shapes_are_refused() {
    let device = Device::flex();
    let mask = |shape: [usize; 2]| -> Tensor<2, Bool> {
        Tensor::from_data(TensorData::new(vec![true; shape[0] * shape[1]], shape), &device)
    };
    let logits = |shape: [usize; 3]| -> Tensor<3> { tensor(&vec![0.0; shape.iter().product()], shape, &device) };
    let matrix = |shape: [usize; 2]| -> Tensor<2> { tensor(&vec![0.0; shape[0] * shape[1]], shape, &device) };
    let refused = |ok: bool, what: &str| assert!(ok, "{what}");
    refused(matches!(log_probabilities(logits([1, 2, 3]), &mask([2, 1])), Err(Error::Shape { .. })), "mask");
    refused(matches!(log_probabilities(logits([1, 2, 0]), &mask([1, 2])), Err(Error::Shape { .. })), "no codebook");
    let policy = log_probabilities(logits([1, 2, 3]), &mask([1, 2])).unwrap();
    let other = log_probabilities(logits([1, 2, 4]), &mask([1, 2])).unwrap();
    refused(matches!(exact_kl(&policy, &other, &mask([1, 2])), Err(Error::Shape { .. })), "codebooks");
    refused(matches!(returns_to_go(&matrix([1, 2]), &mask([2, 1])), Err(Error::Shape { .. })), "returns");
    refused(matches!(whiten(&matrix([0, 2]), &mask([0, 2])), Err(Error::Shape { .. })), "nothing");
    let three = leave_one_out_advantages(&matrix([3, 2]), &mask([3, 2]), 2);
    refused(matches!(three, Err(Error::Config { field: "group_clips", .. })), "groups of two of three");
}
