use burn::tensor::Device;

use super::*;
use crate::{
    evaluate_preference::evaluate,
    optim::AdamWConfig,
    preference::{PreferenceData, PreferenceEnsemble, clips::Excerpt},
    run::{DrivePlan, Machine, RunDir, Silent, Versions, drive},
    training::{Files, Training as _},
};
use musicrl_core::{params::Storage, reward::Windows, stats::BootstrapConfig};

fn config() -> PreferenceTrainingConfig {
    PreferenceTrainingConfig {
        head: Head::Drawn,
        sound: false,
        batch_pairs: 16,
        held_out_share: 0.2,
        trunk_rate: 0.3,
        optimiser: AdamWConfig { learning_rate: 1e-2, warmup_steps: 5, ..AdamWConfig::default() },
        bootstrap: BootstrapConfig { resamples: 200, confidence: 0.95 },
        ..PreferenceTrainingConfig::base()
    }
}

fn training(config: PreferenceTrainingConfig, data: PreferenceData) -> PreferenceTraining {
    PreferenceTraining::new(config, &fixture::bundle(), data, 5, &Device::flex()).unwrap()
}

fn run(training: &mut PreferenceTraining, steps: std::ops::Range<u64>) {
    for step in steps {
        let metrics = training.step(step).unwrap();
        assert!(metrics.0.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
    }
}

#[test]
fn it_learns_what_the_synthetic_listener_likes() {
    let mut training = training(config(), fixture::data(400, 11));
    assert_eq!(training.pairs().0 + training.pairs().1, 400);
    let before = training.evaluate(0).unwrap();
    run(&mut training, 0..120);
    let after = training.evaluate(120).unwrap();
    let get = |name: &str| after.get(name).unwrap();
    // The true utility is right on about nine of ten decided pairs of this set.
    assert!(get("accuracy") > 0.75 && get("accuracy_low") > 0.6, "{before:?} {after:?}");
    assert!(get("log_loss") < get("chance_log_loss") - 0.1, "{after:?}");
    assert!(before.get("log_loss").unwrap() > get("log_loss") + 0.1, "{before:?}");
    assert_eq!(get("best_step"), 120.0);
    // The models that come out say the same, clip for clip.
    let ensemble = training.finish().unwrap();
    let report = training.report().unwrap().unwrap();
    assert!((report.accuracy.unwrap().estimate - get("accuracy")).abs() < 1e-9);
    let fresh = fixture::data(200, 12);
    let all: Vec<usize> = (0..fresh.pairs().len()).collect();
    let other =
        evaluate(&ensemble, &fresh, &all, Windows::Whole, &BootstrapConfig { resamples: 50, confidence: 0.9 }, 1)
            .unwrap();
    assert!(other.accuracy.unwrap().estimate > 0.75, "{other:?}");
}

#[test]
fn a_restored_training_goes_on_with_the_same_bytes() {
    let config = PreferenceTrainingConfig { members: 2, crop: 0.5, ..config() };
    let mut whole = training(config.clone(), fixture::data(40, 11));
    let mut first = training(config.clone(), fixture::data(40, 11));
    run(&mut whole, 0..3);
    run(&mut first, 0..3);
    let measured = (whole.evaluate(3).unwrap(), first.evaluate(3).unwrap());
    assert_eq!(measured.0, measured.1);
    run(&mut whole, 3..6);
    let files = first.state().unwrap();
    let mut second = training(config, fixture::data(40, 11));
    run(&mut second, 0..1);
    second.restore(&files).unwrap();
    assert_eq!(second.state().unwrap(), files);
    // The same evaluation again leaves no trace.
    second.evaluate(3).unwrap();
    assert_eq!(second.state().unwrap(), files);
    run(&mut second, 3..6);
    assert_eq!(second.state().unwrap(), whole.state().unwrap());
    assert_ne!(second.state().unwrap(), files);
    // A state that does not fit changes nothing.
    let before = second.state().unwrap();
    for name in files.keys() {
        let mut broken: Files = files.clone();
        broken.remove(name);
        assert!(second.restore(&broken).is_err(), "{name}");
        broken.insert(name.clone(), files[name][..files[name].len() / 2].to_vec());
        assert!(second.restore(&broken).is_err(), "{name}");
    }
    assert_eq!(second.state().unwrap(), before);
}

#[test]
fn threads_do_not_change_the_result() {
    let run_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut training = training(config(), fixture::data(30, 11));
            run(&mut training, 0..3);
            (training.evaluate(3).unwrap(), training.state().unwrap())
        })
    };
    assert_eq!(run_on(1), run_on(3));
}

#[test]
fn members_differ_and_the_spread_says_so() {
    let mut training = training(PreferenceTrainingConfig { members: 3, ..config() }, fixture::data(60, 11));
    run(&mut training, 0..4);
    let metrics = training.evaluate(4).unwrap();
    assert!(metrics.get("spread").unwrap() > 1e-4, "{metrics:?}");
    let ensemble = training.finish().unwrap();
    let clips = fixture::clips(4);
    let excerpts: Vec<_> = clips.iter().map(Excerpt::whole).collect();
    let scores = ensemble.scores(&excerpts).unwrap().by_member;
    assert!(scores[0] != scores[1] && scores[1] != scores[2] && scores[0] != scores[2]);
}

#[test]
fn early_stopping_ends_the_run_with_the_best_weights_and_resumes_as_ended() {
    let temp = tempfile::tempdir().unwrap();
    // Thirty pairs by heart: the held-out loss rises.
    let config = PreferenceTrainingConfig {
        patience: 2,
        trunk_rate: 1.0,
        average_decay: 0.0,
        optimiser: AdamWConfig { learning_rate: 3e-2, ..AdamWConfig::default() },
        ..config()
    };
    let plan = DrivePlan { steps: 400, checkpoint_every: 50, evaluate_every: 5, ..DrivePlan::default() };
    let drive_it = || {
        let mut training = training(config.clone(), fixture::data(30, 11));
        let dir =
            RunDir::create_or_open(temp.path(), "x = 1\n", &Versions::new("flex", 5, Machine::default())).unwrap();
        let outcome = drive(&mut training, &dir, &plan, &mut Silent).unwrap();
        (outcome, training)
    };
    let (outcome, training) = drive_it();
    assert!(outcome.step < 400 && training.is_done(), "{outcome:?}");
    let best = training.best_step().unwrap();
    assert_eq!(outcome.step, best + 10);
    let report = training.report().unwrap().unwrap();
    let losses = (outcome.evaluation.get("best_log_loss").unwrap(), outcome.evaluation.get("log_loss").unwrap());
    assert!((report.log_loss.estimate - losses.0).abs() < 1e-9 && losses.0 < losses.1, "{report:?} {losses:?}");
    let (again, resumed) = drive_it();
    assert_eq!((again.step, again.resumed_from), (outcome.step, Some(outcome.step)));
    assert_eq!(resumed.state().unwrap(), training.state().unwrap());
}

#[test]
fn ties_are_learned_or_stay() {
    let many_ties = || {
        let data = fixture::data(40, 11);
        let clips = data.clips().iter().enumerate().map(|(at, clip)| (format!("{}", at / 2), clip.clone())).collect();
        let tie = |pair: usize| (2 * pair, 2 * pair + 1, musicrl_core::preference::Outcome::Tie.into());
        let judgements: Vec<_> = (0..40).map(tie).collect();
        PreferenceData::new(&fixture::layout(), clips, &judgements).unwrap()
    };
    let strength = |ties| {
        let mut training = training(PreferenceTrainingConfig { ties, ..config() }, many_ties());
        let metrics: Vec<_> = (0..10).map(|step| training.step(step).unwrap()).collect();
        // Nothing but ties: there is no accuracy.
        assert!(metrics[9].get("accuracy").is_none());
        metrics[9].get("tie_strength").unwrap()
    };
    assert_eq!(strength(Ties::Fixed), 0.5);
    assert!(strength(Ties::Learned) > 0.52);
}

#[test]
fn a_shared_model_is_corrected_for_one_listener_and_no_more_than_allowed() {
    let mut shared = training(PreferenceTrainingConfig { members: 2, ..config() }, fixture::data(300, 11));
    run(&mut shared, 0..80);
    shared.evaluate(80).unwrap();
    let mut bundle = fixture::bundle();
    let ensemble = shared.finish().unwrap();
    ensemble.store(&mut bundle, Storage::F32).unwrap();
    // A listener who likes the opposite, in thirty pairs.
    let contrary = || fixture::data_with(30, 13, |clip| -fixture::utility(clip));
    let personal = |deviation: f64, data: PreferenceData| {
        let config = PreferenceTrainingConfig {
            init: Init::Shared,
            learn: Learn::Head,
            members: 2,
            deviation,
            held_out_share: 0.0,
            optimiser: AdamWConfig { learning_rate: 3e-2, weight_decay: 0.0, ..AdamWConfig::default() },
            ..config()
        };
        let mut training = PreferenceTraining::new(config, &bundle, data, 5, &Device::flex()).unwrap();
        run(&mut training, 0..150);
        assert!(training.evaluate(150).unwrap().0.is_empty() && !training.is_done());
        training.finish().unwrap()
    };
    let clips = fixture::clips(40);
    let excerpts: Vec<_> = clips.iter().map(Excerpt::whole).collect();
    let scores = |ensemble: &PreferenceEnsemble| ensemble.scores(&excerpts).unwrap().mean();
    let agreement = |ensemble: &PreferenceEnsemble| {
        let utilities: Vec<f64> = clips.iter().map(fixture::utility).collect();
        musicrl_core::stats::pearson(&scores(ensemble), &utilities).unwrap()
    };
    let (bold, timid) = (personal(20.0, contrary()), personal(0.01, contrary()));
    assert!(agreement(&ensemble) > 0.7, "{}", agreement(&ensemble));
    assert!(agreement(&bold) < 0.0, "{}", agreement(&bold));
    assert!((agreement(&timid) - agreement(&ensemble)).abs() < 0.1, "{}", agreement(&timid));
    // The trunk is the shared one to the last bit.
    for (personal, shared) in bold.members().iter().zip(ensemble.members()) {
        let table = |model: &musicrl_core::policy::PreferenceModel| {
            musicrl_core::params::ParamTable::collect(&model.trunk).values().to_vec()
        };
        assert_eq!(table(personal), table(shared));
    }
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    let refused = |config: PreferenceTrainingConfig, data: PreferenceData| {
        PreferenceTraining::new(config, &fixture::bundle(), data, 5, &Device::flex()).unwrap_err().to_string()
    };
    let data = || fixture::data(20, 11);
    let only = PreferenceTrainingConfig { confidence: ConfidenceUse::Only, confidence_min: 7.0, ..config() };
    assert!(refused(only, data()).contains("confidence_min"));
    let shared = PreferenceTrainingConfig { init: Init::Shared, ..config() };
    assert!(refused(shared.clone(), data()).contains("musicrl train preference"));
    assert!(refused(PreferenceTrainingConfig { crop: 0.0, ..config() }, data()).contains("crop"));
    let mut bundle = fixture::bundle();
    fixture::ensemble_without_text(1).store(&mut bundle, Storage::F32).unwrap();
    let error = PreferenceTraining::new(shared.clone(), &bundle, data(), 5, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("text"), "{error}");
    fixture::ensemble(3).store(&mut bundle, Storage::F32).unwrap();
    let error = PreferenceTraining::new(shared, &bundle, data(), 5, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("`members` must be 3"), "{error}");
}

#[test]
fn only_confident_pairs_are_learned_from_and_all_are_measured() {
    let count = |confidence| {
        let config = PreferenceTrainingConfig { confidence, confidence_min: 0.5, ..config() };
        training(config, fixture::data(60, 11)).pairs()
    };
    let (all, sure) = (count(ConfidenceUse::Weight), count(ConfidenceUse::Only));
    assert_eq!(all.1, sure.1);
    assert!(sure.0 < all.0 && sure.0 > all.0 / 3, "{all:?} {sure:?}");
}

#[test]
fn a_fitted_head_knows_something_before_the_first_step() {
    let at_start = |head, members| {
        let config = PreferenceTrainingConfig { head, members, ..config() };
        training(config, fixture::data(300, 11)).evaluate(0).unwrap()
    };
    let (drawn, fitted) = (at_start(Head::Drawn, 1), at_start(Head::Fitted, 1));
    let get = |metrics: &crate::training::Metrics, name: &str| metrics.get(name).unwrap();
    assert!(get(&fitted, "accuracy") > 0.65, "{drawn:?} {fitted:?}");
    assert!(get(&fitted, "log_loss") < get(&drawn, "log_loss") - 0.02, "{drawn:?} {fitted:?}");
    // Members are fitted to different resamples.
    assert!(get(&at_start(Head::Fitted, 2), "spread") > 1e-3);
}

#[test]
fn a_fitted_head_on_a_trunk_that_stays_is_kept_and_ties_are_learned() {
    let after = |learn, steps: u64| {
        let config = PreferenceTrainingConfig { learn, head: Head::Fitted, select: Select::Last, ..config() };
        let mut training = training(config, fixture::data(60, 11));
        run(&mut training, 0..steps);
        let said = training.held_out().unwrap();
        (said.differences, said.tie_strength)
    };
    let (start, kept, moved) = (after(Learn::Head, 0), after(Learn::Head, 5), after(Learn::All, 5));
    assert_eq!(kept.0, start.0);
    assert_ne!(kept.1, start.1);
    assert_ne!(moved.0, after(Learn::All, 0).0);
}

#[test]
fn vectors_of_a_trunk_that_stays_can_be_handed_on() {
    let config = PreferenceTrainingConfig { learn: Learn::Head, head: Head::Fitted, ..config() };
    let data = fixture::data(60, 11);
    let divided = |features| {
        let division = data.folds(3, 1).unwrap().remove(0);
        let of = (data.clone(), division);
        PreferenceTraining::divided(config.clone(), &fixture::bundle(), of, features, 5, &Device::flex())
    };
    let mut first = divided(None).unwrap();
    let mut second = divided(first.features()).unwrap();
    run(&mut first, 0..3);
    run(&mut second, 0..3);
    assert_eq!(first.state().unwrap(), second.state().unwrap());
    let said = first.held_out().unwrap();
    assert_eq!((said.pairs, said.differences.len()), (data.folds(3, 1).unwrap()[0].held_out.clone(), 20));
    // Those of other clips are refused, and a trunk that learns has none.
    let other = training(config.clone(), fixture::data(40, 11)).features();
    assert!(divided(other).unwrap_err().to_string().contains("features"));
    assert!(
        training(PreferenceTrainingConfig { learn: Learn::All, ..config.clone() }, data.clone()).features().is_none()
    );
}

#[test]
fn what_only_the_sound_tells_is_heard_by_a_model_that_is_told_of_it() {
    // They like the middle of one descriptor, which no weighted sum of descriptors tells.
    let middling = |clip: &crate::preference::PreferenceClip| {
        let level = clip.descriptors.as_ref().unwrap()[4] - 4.0;
        -4.0 * level * level
    };
    let data = || fixture::data_with(400, 17, middling);
    let accuracy = |sound: bool| {
        let config = PreferenceTrainingConfig { sound, head: Head::Fitted, ..config() };
        let mut training = training(config, data());
        run(&mut training, 0..4);
        let report = training.evaluate(4).unwrap();
        (report.get("accuracy").unwrap(), training)
    };
    let ((told, training), (deaf, _)) = (accuracy(true), accuracy(false));
    assert!(told > 0.7 && deaf < 0.6, "{told} {deaf}");

    // A listener with the contrary taste, held loosely and tightly: descriptors follow the prior as the rest of the head.
    let mut bundle = fixture::bundle();
    training.finish().unwrap().store(&mut bundle, Storage::F32).unwrap();
    let contrary = |deviation: f64| {
        let config = PreferenceTrainingConfig {
            init: Init::Shared,
            learn: Learn::Head,
            select: Select::Last,
            sound: true,
            deviation,
            ..config()
        };
        let data = fixture::data_with(400, 17, |clip| -middling(clip));
        let mut training = PreferenceTraining::new(config, &bundle, data, 5, &Device::flex()).unwrap();
        run(&mut training, 0..150);
        training.evaluate(150).unwrap().get("accuracy").unwrap()
    };
    let (loose, tight) = (contrary(20.0), contrary(0.01));
    assert!(tight < 0.35 && loose > tight + 0.15, "{loose} {tight}");
}
