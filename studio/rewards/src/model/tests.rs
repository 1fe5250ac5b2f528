use musicrl_core::params::{ParamTable, Storage};

use super::*;

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn noise(seed: u64, samples: usize) -> Vec<f32> {
    let mut stream = Key::new(seed, Purpose::Test).stream();
    (0..samples).map(|_| (0.1 * stream.normal()) as f32).collect()
}

#[test]
fn embeddings_have_unit_length_and_prompts_of_any_kind_have_one() {
    let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
    let long = "word ".repeat(10_000);
    let rows = floats(model.embed_text(&["", "\u{0}\u{7}", "a piano", &long, "静かなピアノ"]).unwrap());
    for row in rows.chunks(model.dim()) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-3, "{norm}");
    }
    // Padding by longer captions beside it changes a caption by rounding at most.
    let alone = floats(model.embed_text(&["a piano"]).unwrap());
    for (a, b) in alone.iter().zip(&rows[2 * model.dim()..]) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert_eq!(model.embed_text(&[]).unwrap().dims(), [0, 64]);
}

#[test]
fn a_clip_is_the_normalised_mean_of_its_windows() {
    let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
    let samples = noise(1, 102_400);
    let view = AudioView { samples: &samples, sample_rate_hz: 16_000 };
    let windows = model.embed_features(&model.front_end().features(view).unwrap()).unwrap();
    assert_eq!(windows.dims(), [3, 64]);
    let mean: Vec<f32> = floats(windows.mean_dim(0));
    let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    let clip = floats(model.embed_clips(&[view]).unwrap());
    for (a, b) in clip.iter().zip(mean) {
        assert!((a - b / norm).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn a_clip_does_not_depend_on_the_batch() {
    let model = TextAudioConfig::base().init_seeded(1, &Device::flex()).unwrap();
    let samples: Vec<Vec<f32>> = [102_400, 40_000, 150_000].iter().map(|n| noise(*n as u64, *n)).collect();
    let views: Vec<AudioView<'_>> =
        samples.iter().map(|samples| AudioView { samples, sample_rate_hz: 16_000 }).collect();
    let together = floats(model.embed_clips(&views).unwrap());
    for (view, row) in views.iter().zip(together.chunks(64)) {
        assert_eq!(floats(model.embed_clips(&[*view]).unwrap()), row);
    }
}

#[test]
fn the_loss_has_a_gradient_for_every_tower_and_none_for_the_quantiser() {
    let device = Device::flex().autodiff();
    let model = TextAudioConfig::base().init_seeded(1, &device).unwrap();
    let table = ParamTable::collect(&model);
    let frames = model.window_frames();
    let mut stream = Key::new(1, Purpose::Test).stream();
    let values: Vec<f32> = (0..3 * frames * 80).map(|_| stream.normal() as f32).collect();
    let features = Tensor::from_data(TensorData::new(values, [3, frames, 80]), &device);
    let words: Vec<Caption> =
        ["a calm piano", "loud drums", "two flutes"].iter().map(|c| model.read_caption(c).unwrap()).collect();
    let (loss, ..) = model.loss(features, &words, &Positives::from_groups(&[0, 1, 2])).unwrap();
    let grads = musicrl_core::params::gradients(&model, &loss.backward());
    for entry in table.entries() {
        let moves = grads[entry.range()].iter().any(|grad| *grad != 0.0);
        assert_eq!(moves, entry.trainable, "{}", entry.name);
        assert_eq!(entry.trainable, !entry.name.starts_with("quantiser"), "{}", entry.name);
        assert!(grads[entry.range()].iter().all(|grad| grad.is_finite()), "{}", entry.name);
    }
}

#[test]
fn weights_survive_a_file_and_tokens_come_of_both_modalities() {
    let device = Device::flex();
    let config = TextAudioConfig::base();
    let model = config.init_seeded(1, &device).unwrap();
    let captions: Vec<String> = (0..80).map(|i| format!("caption number {i}")).collect();
    let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
    let text = model.embed_text(&captions).unwrap();
    let quantiser = model.quantiser_config().fit(text.clone(), text, 1).unwrap();
    let model = model.with_quantiser(quantiser).unwrap();
    let bytes = ParamTable::collect(&model).to_safetensors(Storage::F32).unwrap();
    let empty = config.init(&device).unwrap();
    let loaded = ParamTable::collect(&empty).read_safetensors(&bytes).unwrap().apply(empty).unwrap();
    let tokens = |model: &TextAudioModel| {
        let tokens = model.text_tokens(&captions[..9]).unwrap();
        assert_eq!(tokens.dims(), [9, 6]);
        tokens.into_data()
    };
    assert_eq!(tokens(&loaded), tokens(&model));
    let samples = noise(1, 102_400);
    let audio = model.audio_tokens(&[AudioView { samples: &samples, sample_rate_hz: 16_000 }]).unwrap();
    assert_eq!(audio.dims(), [1, 6]);
    assert!(model.text_tokens(&[]).is_err());
}

#[test]
fn windows_of_another_size_and_short_clips_are_named() {
    let model = TextAudioConfig::base().init(&Device::flex()).unwrap();
    let error = model.embed_windows(Tensor::zeros([1, 3, 80], &Device::flex())).unwrap_err().to_string();
    assert!(error.contains("104, 80"), "{error}");
    let short = AudioView { samples: &[0.1; 16_000], sample_rate_hz: 16_000 };
    assert!(model.embed_clips(&[short]).unwrap_err().to_string().contains("2.080 s"));
}
