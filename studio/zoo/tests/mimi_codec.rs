//! Mimi as a codec: extents, lengths, and what it refuses.

use std::path::PathBuf;

use burn::tensor::Device;
use musicrl_zoo::{Model, NamedTensors, mimi::Mimi, open};

fn mimi(name: &str) -> Mimi {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    match open(&dir, &Device::flex()).unwrap() {
        Model::Mimi(mimi) => *mimi,
        other => panic!("{:?}", other.architecture()),
    }
}

fn noise(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + i * i * 31) % 199) as f32 / 199.0 - 0.5).collect()
}

#[test]
fn every_length_has_its_frames_and_comes_back_whole() {
    for name in ["mimi_published", "mimi_nested", "mimi_symmetric", "mimi_short"] {
        let mimi = mimi(name);
        let (frame, channels) = (mimi.config().samples_per_frame(), mimi.config().audio_channels);
        for samples in (1..=2 * frame + 1).chain([5 * frame - 1, 5 * frame]) {
            let waveform = noise(2 * channels * samples);
            let (dims, codes) = mimi.encode(&waveform, [2, channels, samples], 3).unwrap();
            assert_eq!(dims, [2, 3, mimi.config().frames(samples)], "{name}: {samples} samples");
            assert_eq!(mimi.decode(&codes, dims).unwrap().dims(), [2, channels, dims[2] * frame]);
        }
    }
}

#[test]
fn causal_codes_do_not_see_the_future() {
    let mimi = mimi("mimi_published");
    let frame = mimi.config().samples_per_frame();
    // More steps than are attended at a time.
    let waveform = noise(300 * frame);
    let quantisers = mimi.config().quantisers();
    let (dims, long) = mimi.encode(&waveform, [1, 1, 300 * frame], quantisers).unwrap();
    let (_, short) = mimi.encode(&waveform[..200 * frame], [1, 1, 200 * frame], quantisers).unwrap();
    let differ = |k: usize| (0..200).filter(|t| long[k * dims[2] + t] != short[k * 200 + t]).count();
    // Decisions without a margin may fall the other way.
    assert!((0..quantisers).map(differ).sum::<usize>() <= 2);
}

#[test]
fn clips_do_not_see_each_other() {
    let mimi = mimi("mimi_nested");
    let waveform = noise(2 * 2 * 100);
    let (dims, both) = mimi.encode(&waveform, [2, 2, 100], 5).unwrap();
    let (_, second) = mimi.encode(&waveform[200..], [1, 2, 100], 5).unwrap();
    assert_eq!(both[dims[1] * dims[2]..], second);
}

#[test]
fn what_cannot_be_is_an_error() {
    let mimi = mimi("mimi_published");
    for (samples, dims, quantisers, part) in [
        (0, [1, 1, 0], 5, "not empty"),
        (0, [0, 1, 5], 5, "not empty"),
        (4, [1, 1, 5], 5, "4 values"),
        (6, [1, 2, 3], 5, "1 channels"),
        (5, [1, 1, 5], 0, "1 to 5 quantisers"),
        (5, [1, 1, 5], 6, "1 to 5 quantisers"),
        (5, [usize::MAX, 2, 5], 5, "5 values"),
    ] {
        let error = mimi.encode(&noise(samples), dims, quantisers).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for (codes, dims, part) in [
        (vec![], [1, 5, 0], "not empty"),
        (vec![16; 5], [1, 5, 1], "below 16"),
        (vec![u32::MAX; 5], [1, 5, 1], "below 16"),
        (vec![0; 6], [1, 6, 1], "1 to 5 quantisers"),
        (vec![0; 5], [1, 5, usize::MAX], "5 values"),
    ] {
        let error = mimi.decode(&codes, dims).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // More sound than fits: refused before it is computed.
    let samples = 300_000_000;
    let error = mimi.encode(&vec![0.0; samples], [1, 1, samples], 5).unwrap_err().to_string();
    assert!(error.contains("elements"), "{error}");
    let mut inputs = NamedTensors::new();
    inputs.put_integers("in.random_codes", &[1, 5, 1], vec![0, 1, 2, 3, -1]);
    assert!(mimi.run(&inputs).unwrap_err().to_string().contains("-1"));
}
