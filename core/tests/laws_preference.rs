//! The laws of the preference losses: against their `f64` twins and finite differences, antisymmetry, calibration.

use burn::tensor::{DType, Device, Tensor, TensorData};
use musicrl_core::{
    Error,
    preference::{
        Comparison, FitConfig, Judgement, Outcome, SequenceLogProbs, TieStrength, bradley_terry_loss, dpo_loss,
        fit_strengths, reference as twin, smoothed_bradley_terry_loss,
    },
    random::{Key, Purpose},
};
use proptest::prelude::*;

fn tensor(values: &[f64], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), (device, DType::F64))
}

fn read(x: &Tensor<1>) -> Vec<f64> {
    x.clone().into_data().iter::<f64>().collect()
}

/// Loss and gradients with respect to both scores.
fn loss(a: &[f64], b: &[f64], judgements: &[Judgement], nu: f64) -> musicrl_core::Result<(f64, Vec<f64>, Vec<f64>)> {
    let device = Device::flex().autodiff();
    let (a, b) = (tensor(a, &device).require_grad(), tensor(b, &device).require_grad());
    let loss = bradley_terry_loss(&a, &b, judgements, nu)?;
    let gradients = loss.clone().backward();
    Ok((read(&loss)[0], read(&a.grad(&gradients).unwrap()), read(&b.grad(&gradients).unwrap())))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::*;
    prop_oneof![3 => Just(BetterA), 3 => Just(BetterB), 2 => Just(Tie), 1 => Just(BothBad), 1 => Just(Skipped)]
}

fn judgement() -> impl Strategy<Value = Judgement> {
    (outcome(), prop_oneof![Just(0.0), 0.0..2.0], prop_oneof![Just(0.0), Just(1.0), 0.0..3.0])
        .prop_map(|(outcome, margin, weight)| Judgement { outcome, margin, weight })
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![5 => -4.0..4.0, 1 => Just(1e4), 1 => Just(-1e4)]
}

type Pairs = Vec<(f64, f64, Judgement)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    prop::collection::vec((score(), score(), judgement()), 1..6)
}

fn columns(pairs: &Pairs) -> (Vec<f64>, Vec<f64>, Vec<Judgement>) {
    (pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect(), pairs.iter().map(|p| p.2).collect())
}

fn close(what: &str, got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: got {got}, expected {expected}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bradley_terry_equals_its_twin_and_finite_differences(pairs in pairs(), nu in prop_oneof![Just(0.0), 0.1..3.0]) {
        let (a, b, judgements) = columns(&pairs);
        let (value, gradient_a, gradient_b) = loss(&a, &b, &judgements, nu).unwrap();
        close("loss", value, twin::bradley_terry_loss(&a, &b, &judgements, nu).unwrap(), 1e-10);
        let h = 1e-5;
        for at in 0..a.len() {
            let moved = |step: f64| {
                let mut a = a.clone();
                a[at] += step;
                twin::bradley_terry_loss(&a, &b, &judgements, nu).unwrap()
            };
            // Differences of losses near 1e4 keep about 1e-7 of a step of 1e-5.
            close("gradient", gradient_a[at], (moved(h) - moved(-h)) / (2.0 * h), 1e-6);
            close("only the difference matters", gradient_a[at], -gradient_b[at], 1e-12);
        }
    }

    #[test]
    fn a_learned_tie_strength_and_smoothing_equal_their_twin(pairs in pairs(), nu in 0.1..3.0, smoothing in 0.0..0.49) {
        let (a, b, judgements) = columns(&pairs);
        let device = Device::flex().autodiff();
        let log_nu = tensor(&[f64::ln(nu)], &device).require_grad();
        let ties = TieStrength::Learned(&log_nu);
        let (a, b) = (tensor(&a, &device).require_grad(), tensor(&b, &device));
        let value = smoothed_bradley_terry_loss(&a, &b, &judgements, ties, smoothing).unwrap();
        let gradients = value.clone().backward();
        let (scores_a, scores_b, h) = (read(&a), read(&b), 1e-5);
        let twin = |scores: &[f64], log_nu: f64| {
            twin::smoothed_bradley_terry_loss(scores, &scores_b, &judgements, log_nu.exp(), smoothing).unwrap()
        };
        close("loss", read(&value)[0], twin(&scores_a, nu.ln()), 1e-10);
        let slope = (twin(&scores_a, nu.ln() + h) - twin(&scores_a, nu.ln() - h)) / (2.0 * h);
        close("gradient of log nu", read(&log_nu.grad(&gradients).unwrap())[0], slope, 1e-6);
        let moved = |step: f64| {
            let mut scores = scores_a.clone();
            scores[0] += step;
            twin(&scores, nu.ln())
        };
        let gradient = read(&a.grad(&gradients).unwrap())[0];
        close("gradient of a score", gradient, (moved(h) - moved(-h)) / (2.0 * h), 1e-6);
    }

    #[test]
    fn exchanging_the_pair_and_the_outcome_changes_nothing(pairs in pairs(), nu in 0.0..2.0) {
        let (a, b, judgements) = columns(&pairs);
        let swapped: Vec<Judgement> = judgements.iter().map(|j| Judgement { outcome: j.outcome.swapped(), ..*j }).collect();
        let (value, gradient_a, gradient_b) = loss(&a, &b, &judgements, nu).unwrap();
        let (other, other_a, other_b) = loss(&b, &a, &swapped, nu).unwrap();
        close("loss", value, other, 1e-12);
        for at in 0..a.len() {
            close("gradient", gradient_a[at], other_b[at], 1e-12);
            close("gradient", gradient_b[at], other_a[at], 1e-12);
        }
    }

    #[test]
    fn outcomes_sum_to_one_and_keep_the_odds(d in prop_oneof![-20.0..20.0, Just(1e4)], nu in 0.0..5.0) {
        let [a, b, tie] = twin::log_outcomes(d, nu);
        close("sum", a.exp() + b.exp() + tie.exp(), 1.0, 1e-12);
        close("odds", a - b, d, 1e-12);
        close("plain", twin::log_outcomes(d, 0.0)[0], -twin::negative_log_sigmoid(d), 1e-12);
    }

    #[test]
    fn skipped_pairs_never_matter(pairs in pairs(), junk in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(3.0)]) {
        let (mut a, b, mut judgements) = columns(&pairs);
        judgements[0].outcome = Outcome::Skipped;
        let before = loss(&a, &b, &judgements, 0.5).unwrap();
        a[0] = junk;
        prop_assert_eq!(&before, &loss(&a, &b, &judgements, 0.5).unwrap());
        prop_assert_eq!(before.1[0], 0.0);
    }

    #[test]
    fn dpo_equals_its_twin(pairs in prop::collection::vec([score(), score(), score(), score()], 1..5), beta in 0.01..2.0) {
        let device = Device::flex().autodiff();
        let column = |k: usize| pairs.iter().map(|p| p[k]).collect::<Vec<_>>();
        let chosen = tensor(&column(0), &device).require_grad();
        let policy = SequenceLogProbs { chosen: chosen.clone(), rejected: tensor(&column(1), &device) };
        let reference = SequenceLogProbs { chosen: tensor(&column(2), &device), rejected: tensor(&column(3), &device) };
        let value = dpo_loss(&policy, &reference, beta).unwrap();
        close("loss", read(&value)[0], twin::dpo_loss(&pairs, beta), 1e-10);
        for (gradient, [pw, pl, rw, rl]) in read(&chosen.grad(&value.backward()).unwrap()).iter().zip(&pairs) {
            // d/dx of -log sigmoid(beta x) is -beta * sigmoid(-beta x).
            let x = beta * ((pw - rw) - (pl - rl));
            close("gradient", *gradient, -beta / (1.0 + x.exp()) / pairs.len() as f64, 1e-9);
        }
    }
}

/// Draws outcomes of Davidson's model with known scores.
fn simulate(scores: &[f64], nu: f64, games: usize) -> Vec<Comparison> {
    let mut stream = Key::new(11, Purpose::Test).stream();
    (0..games)
        .map(|_| {
            let a = stream.below(scores.len());
            let b = (a + 1 + stream.below(scores.len() - 1)) % scores.len();
            let [pa, pb, _] = twin::log_outcomes(scores[a] - scores[b], nu).map(f64::exp);
            let u = stream.uniform();
            let outcome = match () {
                () if u < pa => Outcome::BetterA,
                () if u < pa + pb => Outcome::BetterB,
                () => Outcome::Tie,
            };
            Comparison { a, b, outcome, weight: 1.0 }
        })
        .collect()
}

#[test]
fn strengths_are_recovered_from_simulated_games() {
    let (scores, nu) = ([1.0, 0.3, -0.2, -1.1], 0.6);
    let games = simulate(&scores, nu, 20_000);
    let fit = fit_strengths(4, &games, &FitConfig::default()).unwrap();
    assert!(fit.converged);
    // Each item has about 10,000 games of Fisher information below 1/4: standard error about 0.03; five of them.
    for (fitted, truth) in fit.scores.iter().zip(scores) {
        assert!((fitted - truth).abs() < 0.15, "{fit:?}");
    }
    assert!((fit.tie_strength - nu).abs() < 0.1, "{fit:?}");
}

#[test]
fn the_loss_is_calibrated_on_simulated_pairs() {
    // One score difference, learnt by gradient descent on the loss: its predicted shares are the observed ones.
    let games = simulate(&[0.4, -0.4], 0.8, 4_000);
    let judgements: Vec<Judgement> =
        games.iter().map(|g| if g.a == 0 { g.outcome.into() } else { g.outcome.swapped().into() }).collect();
    let share = |outcome| judgements.iter().filter(|j| j.outcome == outcome).count() as f64 / judgements.len() as f64;
    let (wins, losses, ties) = (share(Outcome::BetterA), share(Outcome::BetterB), share(Outcome::Tie));
    let nu = ties / (wins * losses).sqrt();
    let zeros = vec![0.0; judgements.len()];
    let mut d = 0.0;
    for _ in 0..60 {
        let (_, gradient, _) = loss(&vec![d; judgements.len()], &zeros, &judgements, nu).unwrap();
        d -= 4.0 * gradient.iter().sum::<f64>();
    }
    let [a, b, tie] = twin::log_outcomes(d, nu).map(f64::exp);
    for (got, expected) in [(a, wins), (b, losses), (tie, ties)] {
        close("share", got, expected, 1e-4);
    }
    assert!((a - twin::log_outcomes(0.8, 0.8)[0].exp()).abs() < 5.0 * (0.25_f64 / 4_000.0).sqrt());
}

#[test]
fn bad_input_is_refused() {
    let one = [Judgement::from(Outcome::BetterA)];
    assert!(matches!(loss(&[f64::NAN], &[0.0], &one, 0.0), Err(Error::NonFinite { .. })));
    assert!(twin::bradley_terry_loss(&[f64::NAN], &[0.0], &one, 0.0).is_err());
    assert!(matches!(loss(&[0.0], &[0.0], &one, -1.0), Err(Error::Config { field: "tie_strength", .. })));
    assert!(matches!(loss(&[0.0], &[0.0, 1.0], &one, 0.0), Err(Error::Shape { .. })));
    assert!(matches!(loss(&[], &[], &[], 0.0), Err(Error::Shape { .. })));
    assert!(matches!(
        twin::smoothed_bradley_terry_loss(&[0.0], &[0.0], &one, 0.0, 0.5),
        Err(Error::Config { field: "label_smoothing", .. })
    ));
    let negative = [Judgement { weight: -1.0, ..one[0] }];
    assert!(matches!(loss(&[0.0], &[0.0], &negative, 0.0), Err(Error::Config { field: "weight", .. })));
    let device = Device::flex();
    let pair = || SequenceLogProbs { chosen: tensor(&[1.0], &device), rejected: tensor(&[0.0], &device) };
    assert!(matches!(dpo_loss(&pair(), &pair(), 0.0), Err(Error::Config { field: "beta", .. })));
    let other = SequenceLogProbs { chosen: tensor(&[1.0, 2.0], &device), rejected: tensor(&[0.0], &device) };
    assert!(matches!(dpo_loss(&pair(), &other, 1.0), Err(Error::Shape { .. })));
    let nothing = [Judgement::from(Outcome::Skipped)];
    assert_eq!(loss(&[1.0], &[0.0], &nothing, 0.5).unwrap().0, 0.0);
}
