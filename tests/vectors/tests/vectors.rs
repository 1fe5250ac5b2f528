//! The golden vectors of `spec/vectors`, on every backend that this build has. Each file states its tolerance.
//!
//! What needs no device (tokens, statistics, the keyed generator, strengths) runs once.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use musicrl_core::{
    preference::{self, Comparison, FitConfig, Judgement, Outcome, SequenceLogProbs},
    random::{Key, Purpose},
    rl::{self, Actions, ChunkLogits, Normalisation, Objective},
    stats::{
        self, Alternative, BootstrapConfig, Distribution, Zeros,
        distribution::{Gaussian, Kernel, Points, Shrinkage, frechet_distance},
    },
    tokens::{DelayPattern, Interleave, Streams, Tokens},
};
use serde_json::Value;

/// A file of vectors.
struct Vectors {
    absolute: f64,
    relative: f64,
    cases: Vec<Value>,
}

fn load(name: &str) -> Vectors {
    let path = format!("{}/../../spec/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path);
    let cases = file["cases"].as_array().expect("cases").clone();
    assert!(!cases.is_empty(), "{path} has no cases");
    let tolerance = |key: &str| number(&file["tolerance"][key]);
    Vectors { absolute: tolerance("absolute"), relative: tolerance("relative"), cases }
}

impl Vectors {
    /// The cases of one function; there must be some.
    fn of(&self, function: &str) -> Vec<Case<'_>> {
        let cases: Vec<Case<'_>> = self
            .cases
            .iter()
            .filter(|case| case["function"] == function)
            .map(|value| {
                let own = |key: &str, usual: f64| value["tolerance"].get(key).map_or(usual, number);
                Case { value, absolute: own("absolute", self.absolute), relative: own("relative", self.relative) }
            })
            .collect();
        assert!(!cases.is_empty(), "no cases of {function}");
        cases
    }
}

struct Case<'a> {
    value: &'a Value,
    absolute: f64,
    relative: f64,
}

impl Case<'_> {
    fn name(&self) -> &str {
        self.value["name"].as_str().or(self.value["function"].as_str()).unwrap_or_default()
    }

    fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_else(|| panic!("{}: no text `{key}`", self.name()))
    }

    fn number(&self, key: &str) -> f64 {
        number(&self.value[key])
    }

    fn count(&self, key: &str) -> usize {
        self.number(key) as usize
    }

    fn array(&self, key: &str) -> &[Value] {
        self.value[key].as_array().unwrap_or_else(|| panic!("{}: no array `{key}`", self.name()))
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        self.array(key).iter().map(number).collect()
    }

    fn ids(&self, key: &str) -> Vec<u32> {
        self.numbers(key).iter().map(|x| *x as u32).collect()
    }

    fn flags(&self, key: &str) -> Vec<bool> {
        self.array(key).iter().map(|v| v.as_bool().expect("a boolean")).collect()
    }

    fn shape(&self) -> [usize; 3] {
        let shape: Vec<usize> = self.numbers("shape").iter().map(|x| *x as usize).collect();
        [shape[0], shape[1], shape[2]]
    }

    #[track_caller]
    fn close(&self, what: &str, got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len(), "{}: {what}", self.name());
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let allowed = self.absolute + self.relative * expected.abs();
            assert!(
                (got - expected).abs() <= allowed,
                "{}: {what}[{at}] is {got}, expected {expected} within {allowed}",
                self.name()
            );
        }
    }

    #[track_caller]
    fn expect(&self, key: &str, got: &[f64]) {
        let expected: Vec<f64> = self.value["expected"][key].as_array().expect(key).iter().map(number).collect();
        self.close(key, got, &expected);
    }
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        Some("nan") => f64::NAN,
        Some(other) => panic!("`{other}` is no number"),
        None => value.as_f64().unwrap_or_else(|| panic!("`{value}` is no number")),
    }
}

fn floats<const D: usize>(values: Vec<f64>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn read<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.clone().into_data().iter::<f64>().collect()
}

// --- without a device ---

#[test]
fn random() {
    for case in load("random").of("words") {
        let seed = case.text("seed").parse().expect("a seed");
        let place = |key: &str| case.value[key].as_u64().expect(key);
        let key = Key::new(seed, Purpose::Test).step(place("step")).clip(place("clip"));
        let words = key.words(place("action")).map(f64::from);
        case.close("words", &words, &case.numbers("words"));
        case.close("uniform", &[key.uniform(place("action"))], &[case.number("uniform")]);
    }
}

#[test]
fn tokens() {
    let vectors = load("tokens");
    for case in vectors.of("interleave") {
        let (levels, semantic) = (case.count("coarse_levels"), case.ids("semantic"));
        let coarse = Tokens { ids: case.ids("coarse"), frames: 2 * semantic.len(), slots: levels };
        let (interleave, streams) = (Interleave { coarse_levels: levels }, Streams { semantic, coarse });
        let joined = Tokens::new(case.ids("ids"), case.count("slots")).expect("whole frames");
        assert_eq!(interleave.join(&streams).as_ref(), Ok(&joined));
        assert_eq!(interleave.split(&joined), Ok(streams));
    }
    for case in vectors.of("delay") {
        let delays: Vec<usize> = case.numbers("delays").iter().map(|x| *x as usize).collect();
        let books = delays.len();
        let pattern = DelayPattern::new(delays, case.count("pad") as u32).expect("a pattern");
        let [plain, delayed] = ["ids", "delayed"].map(|key| Tokens::new(case.ids(key), books).expect("whole frames"));
        assert_eq!(pattern.apply(&plain).as_ref(), Ok(&delayed));
        assert_eq!(pattern.revert(&delayed).as_ref(), Ok(&plain));
        assert_eq!(pattern.mask(plain.frames), case.flags("mask"));
    }
}

#[test]
fn statistics() {
    let vectors = load("stats");
    for case in vectors.of("wilcoxon") {
        let zeros = if case.text("zeros") == "pratt" { Zeros::Pratt } else { Zeros::Wilcox };
        let tails =
            [(Alternative::TwoSided, "two-sided"), (Alternative::Greater, "greater"), (Alternative::Less, "less")];
        for (alternative, key) in tails {
            let test = stats::wilcoxon_signed_rank(&case.numbers("differences"), zeros, alternative).expect("a test");
            case.close("W+", &[test.w_plus], &[case.number("w_plus")]);
            case.close(key, &[test.p_value], &[number(&case.value["p"][key])]);
            assert_eq!(test.distribution == Distribution::Normal, case.name() == "normal");
        }
    }
    for case in vectors.of("holm") {
        case.close("holm", &stats::holm(&case.numbers("p_values")).expect("p-values"), &case.numbers("adjusted"));
    }
    for case in vectors.of("correlation") {
        let (x, y) = (case.numbers("x"), case.numbers("y"));
        let all =
            [stats::pearson(&x, &y), stats::spearman(&x, &y), stats::kendall(&x, &y)].map(|r| r.expect("defined"));
        case.close("correlations", &all, &["pearson", "spearman", "kendall"].map(|key| case.number(key)));
    }
    for case in vectors.of("calibration") {
        let (predicted, happened) = (case.numbers("predicted"), case.flags("happened"));
        let brier = stats::brier(&predicted, &happened).expect("predictions");
        let error = stats::calibration_error(&predicted, &happened, case.count("bins")).expect("predictions");
        case.close("calibration", &[brier, error], &["brier", "calibration_error"].map(|key| case.number(key)));
    }
    for case in vectors.of("bootstrap") {
        let clusters: Vec<usize> = case.numbers("clusters").iter().map(|x| *x as usize).collect();
        let config = BootstrapConfig { resamples: case.count("resamples"), confidence: case.number("confidence") };
        let key = Key::new(case.count("seed") as u64, Purpose::Bootstrap);
        let got =
            stats::cluster_bootstrap(&case.numbers("values"), &clusters, &config, key, stats::mean).expect("values");
        let expected = ["estimate", "low", "high", "standard_error"].map(|key| case.number(key));
        case.close("bootstrap", &[got.estimate, got.low, got.high, got.standard_error], &expected);
    }
}

#[test]
fn distributions() {
    for case in load("distribution").of("distribution") {
        let points = |key: &str| Points::new(case.numbers(key), case.count("dim")).expect("points");
        let (a, b) = (points("a"), points("b"));
        let frechet = |shrinkage| {
            let [a, b] = [&a, &b].map(|points| Gaussian::fit(points, shrinkage).expect("two points"));
            (frechet_distance(&a, &b).expect("one dimension"), [a.shrinkage(), b.shrinkage()])
        };
        if !case.value["frechet"].is_null() {
            case.close("Frechet", &[frechet(Shrinkage::None).0], &[case.number("frechet")]);
        }
        let (shrunk, shares) = frechet(Shrinkage::LedoitWolf);
        case.close("shrinkage", &shares, &case.numbers("shrinkage"));
        case.close("Frechet, shrunk", &[shrunk], &[case.number("frechet_shrunk")]);
        let (of_a, of_b): (Vec<usize>, Vec<usize>) = ((0..a.len()).collect(), (0..b.len()).collect());
        let discrepancy = |kernel| {
            let key = Key::new(1, Purpose::Bootstrap);
            stats::distribution::mmd((&a, &of_a), (&b, &of_b), &kernel, 0, key).expect("two points").squared
        };
        let gaussian = Kernel::Gaussian { bandwidth: case.number("bandwidth") };
        let scale = 1.0 / a.dim() as f64;
        let polynomial = Kernel::Polynomial { degree: 3, scale, offset: 1.0 };
        let expected = ["mmd_gaussian", "mmd_polynomial"].map(|key| case.number(key));
        case.close("discrepancies", &[gaussian, polynomial].map(discrepancy), &expected);
        let groups: Vec<usize> = case.numbers("groups").iter().map(|x| *x as usize).collect();
        let spread = stats::distribution::diversity(&a, &groups).expect("a group a point");
        let got = [spread.within.expect("pairs"), spread.between.expect("pairs")];
        case.close("diversity", &got, &["within", "between"].map(|key| case.number(key)));
    }
}

#[test]
fn strengths() {
    for case in load("preference").of("strengths") {
        let mut games = Vec::new();
        for game in case.array("games") {
            let game: Vec<f64> = game.as_array().expect("a game").iter().map(number).collect();
            for (outcome, weight) in [Outcome::BetterA, Outcome::BetterB, Outcome::Tie].into_iter().zip(&game[2..]) {
                games.push(Comparison { a: game[0] as usize, b: game[1] as usize, outcome, weight: *weight });
            }
        }
        let config = FitConfig { prior_games: case.number("prior_games"), ..FitConfig::default() };
        let fit = preference::fit_strengths(case.count("items"), &games, &config).expect("a fit");
        assert!(fit.converged, "{}: {} rounds", case.name(), fit.rounds);
        case.close("scores", &fit.scores, &case.numbers("scores"));
        case.close("tie strength", &[fit.tie_strength], &[case.number("tie_strength")]);
    }
}

// --- on a device ---

fn reinforce(device: &Device) {
    for case in load("rl").of("rl") {
        let shape @ [clips, actions, _] = case.shape();
        let matrix = [clips, actions];
        let mask: Tensor<2, Bool> = Tensor::from_data(TensorData::new(case.flags("mask"), matrix), device);
        let ids: Tensor<2, Int> = Tensor::from_data(
            TensorData::new(case.numbers("actions").iter().map(|x| *x as i64).collect(), matrix),
            device,
        );
        let logits = floats(case.numbers("policy"), shape, device).require_grad();
        let policy = rl::log_probabilities(logits.clone(), &mask).expect("a policy");
        let reference = floats(case.numbers("reference"), shape, device);
        let reference_log_probs = rl::log_probabilities(reference.clone(), &mask).expect("a reference");

        let log_prob = rl::token_log_prob(&policy, &ids, &mask).expect("log-probabilities");
        let reference_log_prob = rl::token_log_prob(&reference_log_probs, &ids, &mask).expect("log-probabilities");
        let kl = rl::exact_kl(&policy, &reference_log_probs, &mask).expect("a KL");
        case.expect("log_prob", &read(&log_prob));
        case.expect("entropy", &read(&rl::entropy(&policy, &mask).expect("an entropy")));
        case.expect("kl", &read(&kl));
        case.expect("k1", &read(&rl::k1(&log_prob, &reference_log_prob).expect("k1")));
        case.expect("k2", &read(&rl::k2(&log_prob, &reference_log_prob).expect("k2")));
        case.expect("k3", &read(&rl::k3(&log_prob, &reference_log_prob).expect("k3")));

        let at_end = rl::rewards_at_end(&floats(case.numbers("rewards"), [clips], device), &mask).expect("rewards");
        case.expect("rewards_at_end", &read(&at_end));
        let returns = rl::returns_to_go(&at_end, &mask).expect("returns");
        case.expect("returns", &read(&returns));
        let values = floats(case.numbers("values"), matrix, device);
        let advantages = rl::value_advantages(&returns, &values, &mask).expect("advantages");
        case.expect("value_advantages", &read(&advantages));
        let group = case.count("group_clips");
        case.expect("leave_one_out", &read(&rl::leave_one_out_advantages(&returns, &mask, group).expect("advantages")));
        case.expect("batch_mean", &read(&rl::batch_mean_advantages(&returns, &mask).expect("advantages")));
        case.expect("whitened", &read(&rl::whiten(&advantages, &mask).expect("advantages")));

        let normalisation: Normalisation =
            serde_json::from_value(case.value["normalisation"].clone()).expect("a normalisation");
        let objective = Objective { alpha: case.number("alpha"), normalisation };
        let value_loss = rl::value_loss(&values, &returns, &mask, normalisation).expect("a loss");
        case.expect("value_loss", &read(&value_loss));
        let composed = rl::reinforce_loss(&log_prob, &kl, &advantages, &mask, &objective).expect("a loss");
        let chunked = chunked(logits.clone(), reference, &ids, &mask, &advantages, &objective).expect("a loss");
        for loss in [composed, chunked] {
            case.expect("loss", &read(&loss));
            let gradient = logits.grad(&loss.backward()).expect("a gradient");
            case.expect("gradient", &read(&gradient));
        }
    }
    for case in load("rl").of("refused") {
        let shape @ [clips, actions, _] = case.shape();
        let mask: Tensor<2, Bool> = Tensor::from_data(TensorData::new(case.flags("mask"), [clips, actions]), device);
        let ids: Vec<i64> = case.numbers("actions").iter().map(|x| *x as i64).collect();
        let ids = Tensor::from_data(TensorData::new(ids, [clips, actions]), device);
        let logits = |key: &str| floats(case.numbers(key), shape, device);
        let objective = Objective { alpha: 0.5, normalisation: Normalisation::Clips };
        let advantages = Tensor::zeros([clips, actions], device);
        let loss = chunked(logits("policy"), logits("reference"), &ids, &mask, &advantages, &objective);
        assert!(loss.is_err(), "{} was not refused", case.name());
    }
}

/// One slot a frame, two frames at a time.
fn chunked(
    logits: Tensor<3>,
    reference: Tensor<3>,
    ids: &Tensor<2, Int>,
    mask: &Tensor<2, Bool>,
    advantages: &Tensor<2>,
    objective: &Objective,
) -> musicrl_core::Result<Tensor<1>> {
    let [clips, actions, codebook] = logits.dims();
    let actions_of =
        Actions { ids: ids.clone().reshape([clips, actions, 1]), mask: mask.clone().reshape([clips, actions, 1]) };
    let loss = rl::reinforce_loss_chunked(&actions_of, advantages, objective, 2, |range| {
        let cut = |x: &Tensor<3>| {
            let frames = range.len();
            x.clone().slice([0..clips, range.clone(), 0..codebook]).reshape([clips, frames, 1, codebook])
        };
        Ok(ChunkLogits { policy: cut(&logits), reference: Some(cut(&reference)) })
    })?;
    Ok(loss.loss)
}

fn preferences(device: &Device) {
    let vectors = load("preference");
    for case in vectors.of("bradley_terry") {
        let outcomes =
            case.array("outcomes").iter().map(|o| serde_json::from_value::<Outcome>(o.clone()).expect("known"));
        let judgements: Vec<Judgement> = outcomes
            .zip(case.numbers("margins").into_iter().zip(case.numbers("weights")))
            .map(|(outcome, (margin, weight))| Judgement { outcome, margin, weight })
            .collect();
        let pairs = [judgements.len()];
        let a = floats(case.numbers("scores_a"), pairs, device).require_grad();
        let b = floats(case.numbers("scores_b"), pairs, device);
        let loss = preference::bradley_terry_loss(&a, &b, &judgements, case.number("tie_strength")).expect("a loss");
        case.close("loss", &read(&loss), &[case.number("loss")]);
        let gradient = a.grad(&loss.backward()).expect("a gradient");
        case.close("gradient", &read(&gradient), &case.numbers("gradient_a"));
    }
    for case in vectors.of("dpo") {
        let pairs: Vec<Vec<f64>> =
            case.array("pairs").iter().map(|p| p.as_array().expect("a pair").iter().map(number).collect()).collect();
        let column = |k: usize| floats(pairs.iter().map(|p| p[k]).collect(), [pairs.len()], device);
        let policy = SequenceLogProbs { chosen: column(0), rejected: column(1) };
        let reference = SequenceLogProbs { chosen: column(2), rejected: column(3) };
        let loss = preference::dpo_loss(&policy, &reference, case.number("beta")).expect("a loss");
        case.close("loss", &read(&loss), &[case.number("loss")]);
    }
}

/// Everything that needs a device, on one.
fn every_vector(device: Device) {
    let device = device.autodiff();
    reinforce(&device);
    preferences(&device);
}

#[test]
fn flex() {
    every_vector(musicrl_backend_flex::device().expect("flex"));
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarray() {
    every_vector(musicrl_backend_ndarray::device().expect("ndarray"));
}

#[cfg(feature = "tch")]
#[test]
fn tch() {
    every_vector(musicrl_backend_tch::device().expect("tch"));
}
