//! The preference model on the embedded base: sets of tokens and of sound files, centring, the reward of a recipe.

use std::path::Path;

use burn::tensor::Device;
use musicrl_core::{
    params::Storage,
    preference::Outcome,
    random::{Key, Purpose},
    reward::Windows,
    stats::BootstrapConfig,
};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, Source};
use musicrl_pipeline::{
    align::judges::{Asked, Judges},
    bundle::Bundle,
    embedded,
    evaluate_preference::evaluate_set,
    music::Music,
    preference::{
        DataConfig, PreferenceData, PreferenceEnsemble, Reads,
        centre::{Centring, centre},
        clips::Excerpt,
        encode::{Encode, EncodeConfig},
    },
    recipe::RewardConfig,
    train::preference::{Init, PreferenceTraining, PreferenceTrainingConfig},
    training::Training as _,
};
use musicrl_rewards::descriptors::describe;

/// Half a second of a tone.
fn tone(path: &Path, hz: f64, seconds: f64, rate_hz: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..(seconds * f64::from(rate_hz)) as u32 {
        let x = (std::f64::consts::TAU * hz * f64::from(i) / f64::from(rate_hz)).sin();
        writer.write_sample((8_000.0 * x) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

/// Two clips with tokens and two with sound; four judgements.
fn set(folder: &Path) -> PreferenceSet {
    let mut set = PreferenceSet::create(&folder.join("set")).unwrap();
    std::fs::create_dir_all(set.path().join("audio")).unwrap();
    let tokens = |seed: u64| {
        let mut random = Key::new(seed, Purpose::Test).stream();
        (0..6).flat_map(|_| [128, 256, 256, 256, 256].map(|codebook| random.below(codebook) as u32)).collect::<Vec<_>>()
    };
    let played = |id: &str, caption: &str, seed| ClipRecord {
        tokens: tokens(seed),
        slots: 5,
        ..ClipRecord::new(id, caption, "base")
    };
    let recorded = |id: &str, caption: &str| ClipRecord {
        audio: Some(format!("audio/{id}.wav")),
        ..ClipRecord::new(id, caption, "people")
    };
    set.add_clips(vec![
        played("a", "a calm flute", 1),
        played("b", "a calm flute", 2),
        recorded("c", "a loud drum"),
        recorded("d", "a loud drum"),
    ])
    .unwrap();
    tone(&set.path().join("audio/c.wav"), 330.0, 0.6, 22_050);
    tone(&set.path().join("audio/d.wav"), 880.0, 0.9, 16_000);
    let pair = |a: &str, b: &str, outcome| JudgementRecord::new(a, b, outcome, "anna", Source::Human);
    set.add_judgements(vec![
        pair("a", "b", Outcome::BetterA),
        pair("c", "d", Outcome::BetterB),
        pair("b", "a", Outcome::Tie),
        pair("d", "c", Outcome::Skipped),
    ])
    .unwrap();
    set
}

/// For the few pairs of such a set.
fn settings() -> PreferenceTrainingConfig {
    PreferenceTrainingConfig {
        batch_pairs: 2,
        held_out_share: 0.4,
        bootstrap: BootstrapConfig { resamples: 10, confidence: 0.9 },
        ..PreferenceTrainingConfig::base()
    }
}

fn data(
    set: &PreferenceSet,
    config: &DataConfig,
    sound: bool,
    bundle: &Bundle,
) -> musicrl_pipeline::Result<(PreferenceData, usize)> {
    let mut files = 0;
    let mut progress = |_: usize, total: usize| {
        files = total;
        Ok(())
    };
    let data =
        PreferenceData::of_set(set, config, Reads { text: true, sound }, bundle, &Device::flex(), &mut progress)?;
    Ok((data, files))
}

#[test]
fn sound_files_become_tokens_once() {
    if !embedded::is_present() {
        return;
    }
    let (temp, bundle) = (tempfile::tempdir().unwrap(), embedded::base().unwrap());
    let set = set(temp.path());
    let config = DataConfig::default();
    let (first, files) = data(&set, &config, false, &bundle).unwrap();
    let frames: Vec<usize> = first.clips().iter().map(|clip| clip.tokens.frames).collect();
    // 12.5 frames a second, whole frames only.
    assert_eq!((frames, files), (vec![6, 6, 7, 11], 2));
    assert_eq!((first.pairs().len(), first.clusters().len()), (3, 2));
    assert!(first.clips().iter().all(|clip| clip.condition.as_ref().is_some_and(|tokens| tokens.len() == 6)));
    assert_ne!(first.clips()[2].tokens.ids[..35], first.clips()[3].tokens.ids[..35]);
    // Kept: nothing is encoded again, until a file changes.
    assert_eq!(data(&set, &config, false, &bundle).unwrap(), (first.clone(), 0));
    tone(&set.path().join("audio/c.wav"), 330.0, 0.5, 16_000);
    let (changed, files) = data(&set, &config, false, &bundle).unwrap();
    assert_eq!((changed.clips()[2].tokens.frames, files), (6, 2));
    // Longer clips are cut, played ones as well.
    let short = DataConfig { encode: EncodeConfig { seconds_max: 0.4, ..EncodeConfig::default() }, ..config.clone() };
    let (cut, _) = data(&set, &short, false, &bundle).unwrap();
    assert!(cut.clips().iter().all(|clip| clip.tokens.frames == 5), "{:?}", cut.clips());
    // All of them from sound: those that have none are named, and so is a file that cannot be read.
    let all = DataConfig { encode: EncodeConfig { clips: Encode::All, ..EncodeConfig::default() }, ..config.clone() };
    assert!(data(&set, &all, false, &bundle).unwrap_err().to_string().contains("`a`"));
    std::fs::write(set.path().join("audio/d.wav"), "no sound").unwrap();
    assert!(data(&set, &config, false, &bundle).unwrap_err().to_string().contains("`d`"));
}

#[test]
fn a_trained_model_is_centred_and_rewards() {
    if !embedded::is_present() {
        return;
    }
    let (temp, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let mut bundle = embedded::base().unwrap();
    bundle.set_clip_seconds(0.5);
    let set = set(temp.path());
    let config = PreferenceTrainingConfig { sound: false, members: 2, ..settings() };
    let (data, _) = data(&set, &config.data, false, &bundle).unwrap();
    let mut training = PreferenceTraining::new(config, &bundle, data, 1, &device).unwrap();
    for step in 0..2 {
        let metrics = training.step(step).unwrap();
        assert!(metrics.get("grad_norm").unwrap() > 0.0 && metrics.get("loss").unwrap().is_finite(), "{metrics:?}");
    }
    let mut ensemble = training.finish().unwrap();
    let centring = Centring { captions: &["a calm flute", "a loud drum"], clips: 3, seed: 4 };
    let before = centre(&mut ensemble, &bundle, &centring, &device).unwrap();
    let after = centre(&mut ensemble, &bundle, &centring, &device).unwrap();
    assert!(before.abs() > 1e-3 && after.abs() < 1e-5, "{before} {after}");
    assert!(centre(&mut ensemble, &bundle, &Centring { captions: &[], ..centring }, &device).is_err());

    ensemble.store(&mut bundle, Storage::F32).unwrap();
    let windows = Windows::Ends { fraction: 2.0 / 3.0 };
    let reward = RewardConfig { windows, ..RewardConfig::named("user_preference", 1.0) };
    let judges = Judges::of_recipe(&[reward], &bundle, &device).unwrap();
    assert!(!judges.hear_audio());
    let tokens: Vec<_> = set.clips()[..2]
        .iter()
        .map(|clip| musicrl_core::tokens::Tokens::new(clip.tokens.clone(), clip.slots).unwrap())
        .collect();
    let scores = judges.score(Asked::All, &["a calm flute", "a calm flute"], &tokens, &[], 16_000).unwrap();
    let value = |clip: usize| scores.total[clip].value().unwrap();
    assert!(value(0) != value(1) && value(0).is_finite());

    // The same windows on the same clips in an evaluation.
    let run = |windows| {
        let (bootstrap, progress) = (settings().bootstrap, &mut |_: usize, _: usize| Ok(()));
        evaluate_set(&bundle, &set, &DataConfig::default(), windows, &bootstrap, 1, &device, progress).unwrap()
    };
    let report = run(windows);
    assert_eq!((report.pairs, report.decided, report.clusters), (3, 2, 2));
    let stored = PreferenceEnsemble::load(&bundle, &device).unwrap();
    assert_eq!((report.tie_strength, stored.members().len()), (stored.tie_strength(), 2));
    assert_ne!(report.log_loss, run(Windows::Whole).log_loss);
}

#[test]
fn a_model_that_is_told_of_the_sound_hears_it_everywhere() {
    if !embedded::is_present() {
        return;
    }
    let (temp, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let mut bundle = embedded::base().unwrap();
    bundle.set_clip_seconds(0.5);
    let set = set(temp.path());
    let config = settings();
    assert!(config.sound);
    let (described, heard) = data(&set, &config.data, true, &bundle).unwrap();
    assert_eq!(heard, 4);
    // Tokens are decoded, files are read as they are: the louder of two has the higher level.
    let music = Music::load(&bundle, &device).unwrap();
    let tokens: Vec<_> = described.clips()[..2].iter().map(|clip| clip.tokens.clone()).collect();
    let sounds: Vec<Vec<f32>> =
        tokens.iter().map(|clip| music.sound(std::slice::from_ref(clip), &[key()]).unwrap().concat()).collect();
    let descriptors = |clip: usize| described.clips()[clip].descriptors.clone().unwrap();
    for (clip, sound) in sounds.iter().enumerate() {
        assert_eq!(descriptors(clip), describe(sound, 16_000));
    }
    let tone = musicrl_codec::decode::decode_file(&set.path().join("audio/c.wav")).unwrap().audio;
    assert_eq!(descriptors(2), describe(&tone.mono(), tone.sample_rate_hz));

    let mut training = PreferenceTraining::new(config.clone(), &bundle, described.clone(), 1, &device).unwrap();
    let before = training.finish().unwrap();
    assert!(training.step(0).unwrap().get("grad_norm").unwrap() > 0.0);
    let mut ensemble = training.finish().unwrap();
    let weights = |ensemble: &PreferenceEnsemble| -> Vec<f32> {
        let weights = ensemble.members()[0].descriptors.as_ref().unwrap().val();
        weights.into_data().iter::<f32>().collect()
    };
    // The fit gave them weights, and the step moved them.
    assert!(weights(&before).iter().any(|weight| *weight != 0.0) && weights(&before) != weights(&ensemble));
    // Of two clips every square is 1: nothing to give a weight to.
    assert!(weights(&ensemble).iter().all(|weight| weight.abs() < 10.0), "{:?}", weights(&ensemble));
    let centring = Centring { captions: &["a calm flute"], clips: 3, seed: 4 };
    centre(&mut ensemble, &bundle, &centring, &device).unwrap();
    assert!(centre(&mut ensemble, &bundle, &centring, &device).unwrap().abs() < 1e-5);
    ensemble.store(&mut bundle, Storage::F32).unwrap();

    // In alignment the clip's own sound is described, which changes what the same tokens score.
    let judges = Judges::of_recipe(&[RewardConfig::named("user_preference", 1.0)], &bundle, &device).unwrap();
    assert!(judges.hear_audio());
    let captions = ["a calm flute", "a calm flute"];
    let score = |sounds: &[Vec<f32>]| judges.score(Asked::All, &captions, &tokens, sounds, 16_000).unwrap().total;
    let excerpts: Vec<Excerpt<'_>> = described.clips()[..2].iter().map(Excerpt::whole).collect();
    let expected = ensemble.scores(&excerpts).unwrap().mean();
    for (score, expected) in score(&sounds).iter().zip(&expected) {
        assert!((score.value().unwrap() - expected).abs() < 1e-5, "{score:?} {expected}");
    }
    let other = [tone.mono(), tone.mono()];
    assert_ne!(score(&other)[0].value(), score(&sounds)[0].value());

    // What does not fit is said.
    let deaf = data(&set, &config.data, false, &bundle).unwrap().0;
    let error = PreferenceTraining::new(config.clone(), &bundle, deaf.clone(), 1, &device).unwrap_err().to_string();
    assert!(error.contains("sound"), "{error}");
    let shared = PreferenceTrainingConfig { init: Init::Shared, sound: false, ..config };
    let error = PreferenceTraining::new(shared, &bundle, deaf, 1, &device).unwrap_err().to_string();
    assert!(error.contains("sound") && error.contains("true"), "{error}");
    let (bootstrap, progress) = (settings().bootstrap, &mut |_: usize, _: usize| Ok(()));
    let halves = Windows::Ends { fraction: 0.5 };
    let error = evaluate_set(&bundle, &set, &DataConfig::default(), halves, &bootstrap, 1, &device, progress);
    assert!(error.unwrap_err().to_string().contains("whole clips"));
}

/// The base has no fine stage: no number of it is drawn.
fn key() -> Key {
    Key::new(0, Purpose::Test)
}
