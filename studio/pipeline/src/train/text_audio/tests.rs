use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use musicrl_core::nn::{Attention, FeedForward, TransformerConfig};
use musicrl_rewards::{
    EmbeddingQuantiserConfig, SentenceTowerConfig, front_end::FrontEndConfig, text::TextTokeniserConfig,
};

use super::*;
use crate::{
    corpus::{
        Split,
        etudes::{
            Etudes,
            attributes::{Dynamics, Percussion},
        },
    },
    imported::BertSentences,
    optim::AdamWConfig,
};

const RATE_HZ: u32 = 8_000;

/// Tones of four pitches in two rhythms, with captions that say so.
fn tones(seed: u64, clips: usize) -> Box<dyn Pairs> {
    let pitches = [("low", 200.0), ("middle", 500.0), ("high", 1200.0), ("piercing", 3000.0)];
    let pairs = (0..clips).map(|clip| {
        let mut stream = Key::new(seed, Purpose::Test).clip(clip as u64).stream();
        let (pitch, hz) = pitches[clip % 4];
        let pulsed = (clip / 4) % 2 == 1;
        let detuned = hz * stream.between(0.95, 1.05);
        let audio = (0..8_000).map(|i| {
            let seconds = f64::from(i) / f64::from(RATE_HZ);
            let level = if pulsed && (seconds * 8.0).fract() > 0.5 { 0.0 } else { 0.3 };
            (level * (std::f64::consts::TAU * detuned * seconds).sin()) as f32
        });
        let rhythm = if pulsed { "pulsing" } else { "steady" };
        let attributes = [("pitch", pitch), ("rhythm", rhythm)].map(|(k, v)| (k.to_string(), v.to_string()));
        Pair {
            captions: vec![format!("a {pitch} {rhythm} tone"), format!("{rhythm} and {pitch}")],
            attributes: attributes.into(),
            audio: audio.collect(),
        }
    });
    Box::new(MemoryPairs::new(RATE_HZ, pairs.collect()))
}

fn tiny() -> TextAudioConfig {
    let (feed_forward, attention) = (FeedForward::Gelu, Attention::Bidirectional);
    let tower = TransformerConfig { width: 16, layers: 1, heads: 2, ff_width: 16, feed_forward, attention };
    TextAudioConfig {
        tokeniser: TextTokeniserConfig { word_buckets: 64, trigram_buckets: 64, ..Default::default() },
        text: tower.clone(),
        front_end: FrontEndConfig { sample_rate_hz: RATE_HZ, fft_samples: 256, hop_samples: 200, bands: 16 },
        stack_frames: 2,
        audio: tower,
        window_seconds: 0.3,
        dim: 8,
        temperature: 0.2,
        temperature_min: 0.1,
        quantiser: EmbeddingQuantiserConfig { levels: 3, entries: 8, iterations: 5 },
        sentence: None,
    }
}

fn settings() -> TextAudioTrainingConfig {
    let optimiser = AdamWConfig { learning_rate: 1e-2, warmup_steps: 5, ..AdamWConfig::default() };
    TextAudioTrainingConfig { batch_pairs: 8, optimiser, ..Default::default() }
}

fn training() -> TextAudioTraining {
    TextAudioTraining::new(&tiny(), settings(), tones(1, 32), tones(2, 16), 3, &Device::flex()).unwrap()
}

#[test]
fn it_learns_what_captions_say() {
    let mut training = training();
    let before = training.evaluate(0).unwrap();
    for step in 0..120 {
        let metrics = training.step(step).unwrap();
        assert!(metrics.0.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
        assert_eq!(metrics.get("skipped_updates"), Some(0.0));
    }
    let after = training.evaluate(120).unwrap();
    let gap = |metrics: &Metrics| metrics.get("matching_cosine").unwrap() - metrics.get("mismatching_cosine").unwrap();
    assert!(gap(&before) < 0.2 && gap(&after) > 0.4, "{before:?} {after:?}");
    // Sixteen clips of eight kinds: chance is an eighth.
    assert!(after.get("recall_at_1").unwrap() > 0.5, "{after:?}");
    assert!(after.get("token_agreement_0").unwrap() > 0.3, "{after:?}");
    let model = training.finish().unwrap();
    assert_eq!(model.text_tokens(&["a low steady tone"]).unwrap().dims(), [1, 3]);
}

/// The tiny BERT of the zoo's fixtures (random weights, which know words apart and nothing of what they mean), and how often
/// it was asked.
#[derive(Debug)]
struct Bert(BertSentences, AtomicUsize);

impl SentenceEncoder for Bert {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn encode(&self, sentence: &str) -> musicrl_rewards::Result<Vec<f32>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.encode(sentence)
    }
}

fn bert() -> Arc<Bert> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../zoo/tests/fixtures/bert_minilm");
    Arc::new(Bert(BertSentences::open(Path::new(dir), &Device::flex()).unwrap(), AtomicUsize::new(0)))
}

fn with_bert(bert: Arc<Bert>, hidden: usize) -> TextAudioTraining {
    let model = TextAudioConfig { sentence: Some(SentenceTowerConfig { width: 24, hidden }), ..tiny() };
    let config = TextAudioTrainingConfig { word_drop: 0.0, ..settings() };
    let (train, held_out) = (etudes(Split::Train, 48), etudes(Split::HeldOut, 32));
    let training = TextAudioTraining::new(&model, config, train, held_out, 3, &Device::flex()).unwrap();
    training.with_sentences(bert, &mut |_, _| Ok(())).unwrap()
}

/// Etudes of a second and a half, told apart by loudness and drums in words that the tiny BERT has.
fn etudes(split: Split, clips: usize) -> Box<dyn Pairs> {
    let etudes = Etudes::new(1, split, 4 * clips, RATE_HZ, 1.5).unwrap();
    let pairs = (0..4 * clips).filter_map(|clip| {
        let facts = etudes.attributes(clip);
        let level = match facts.dynamics {
            Dynamics::Soft => "calm song",
            Dynamics::Loud => "loud music",
            _ => return None,
        };
        let drums = if facts.percussion == Percussion::Drums { " with drums" } else { "" };
        let attributes = [("level", level), ("drums", drums)].map(|(k, v)| (k.to_string(), v.to_string())).into();
        let captions = vec![format!("a {level}{drums}"), format!("slow {level}{drums}")];
        Some(Pair { captions, attributes, audio: etudes.audio(clip) })
    });
    Box::new(MemoryPairs::new(RATE_HZ, pairs.take(clips).collect()))
}

#[test]
fn a_frozen_sentence_encoder_is_a_text_tower() {
    let held_out = etudes(Split::HeldOut, 32);
    let facts = Facts::new(&*held_out);
    // What one who answers at random would get.
    let alike = (0..32).flat_map(|a| (0..32).map(move |b| (a, b))).filter(|(a, b)| facts.same(*a, *b)).count();
    let chance = alike as f64 / f64::from(32 * 32);
    let captions: BTreeSet<String> =
        (0..48).flat_map(|clip| etudes(Split::Train, 48).captions(clip).to_vec()).collect();
    for hidden in [0, 16] {
        let bert = bert();
        let mut training = with_bert(Arc::clone(&bert), hidden);
        let gap = |found: &Metrics| found.get("matching_cosine").unwrap() - found.get("mismatching_cosine").unwrap();
        let before = training.evaluate(0).unwrap();
        let losses: Vec<f64> = (0..400).map(|step| training.step(step).unwrap().get("loss").unwrap()).collect();
        let after = training.evaluate(400).unwrap();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(mean(&losses[390..]) < mean(&losses[..10]) - 0.4, "{hidden}: {losses:?}");
        assert!(gap(&before) < 0.2 && gap(&after) > 0.4, "{hidden}: {before:?} {after:?}");
        assert!(after.get("recall_at_1").unwrap() > 1.5 * chance, "{hidden}: {chance} {after:?}");
        let model = training.finish().unwrap();
        assert_eq!(model.text_tokens(&["a loud music"]).unwrap().dims(), [1, 3]);
        // Every caption was read once, and then the one above.
        assert_eq!(bert.1.load(Ordering::Relaxed), captions.len() + 1);
    }
}

#[test]
fn a_restored_training_on_sentences_goes_on_with_the_same_bytes() {
    let step = |training: &mut TextAudioTraining, steps: std::ops::Range<u64>| {
        steps.for_each(|step| drop(training.step(step).unwrap()));
        training.state().unwrap()
    };
    let (mut whole, mut first, mut second) = (with_bert(bert(), 16), with_bert(bert(), 16), with_bert(bert(), 16));
    let half = step(&mut first, 0..3);
    second.restore(&half).unwrap();
    assert_eq!(step(&mut second, 3..6), step(&mut whole, 0..6));
}

#[test]
fn a_restored_training_goes_on_with_the_same_bytes() {
    let mut whole = training();
    for step in 0..6 {
        whole.step(step).unwrap();
    }
    let mut first = training();
    for step in 0..3 {
        first.step(step).unwrap();
    }
    // Evaluation in between must leave no trace.
    first.evaluate(3).unwrap();
    let files = first.state().unwrap();
    let mut second = training();
    second.step(0).unwrap();
    second.restore(&files).unwrap();
    assert_eq!(second.state().unwrap(), files);
    for step in 3..6 {
        second.step(step).unwrap();
    }
    assert_eq!(second.state().unwrap(), whole.state().unwrap());
    assert_ne!(second.state().unwrap(), files);
}

#[test]
fn a_state_that_does_not_fit_changes_nothing() {
    let mut training = training();
    training.step(0).unwrap();
    let files = training.state().unwrap();
    for name in [WEIGHTS, OPTIMISER] {
        let mut broken = files.clone();
        broken.remove(name);
        assert!(training.restore(&broken).unwrap_err().to_string().contains("text_audio"));
        broken.insert(name.into(), files[name][..files[name].len() / 2].to_vec());
        assert!(training.restore(&broken).is_err());
    }
    assert_eq!(training.state().unwrap(), files);
}

#[test]
fn the_codec_is_heard_once_a_clip_by_those_it_is_meant_for() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let round_trip: RoundTrip = Box::new(move |audio| {
        counted.fetch_add(1, Ordering::Relaxed);
        audio.iter().map(|sample| 0.5 * sample).collect()
    });
    let config = TextAudioTrainingConfig { codec_share: 1.0, codec_clips: 10, ..settings() };
    let mut coded = TextAudioTraining::new(&tiny(), config, tones(1, 32), tones(2, 16), 3, &Device::flex())
        .unwrap()
        .with_round_trip(round_trip);
    assert_eq!((0..32).filter(|clip| coded.goes_through_codec(*clip)).count(), 10);
    for step in 0..30 {
        coded.step(step).unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 10);
    let metrics = coded.evaluate(30).unwrap();
    assert!(metrics.get("coded_matching_cosine").is_some());
    let mut plain = training();
    for step in 0..30 {
        plain.step(step).unwrap();
    }
    assert_ne!(plain.state().unwrap(), coded.state().unwrap());
}

#[test]
fn a_small_cache_changes_speed_alone() {
    let config = TextAudioTrainingConfig { cache_mib: 0, ..settings() };
    let mut without = TextAudioTraining::new(&tiny(), config, tones(1, 32), tones(2, 16), 3, &Device::flex()).unwrap();
    let mut with = training();
    for step in 0..2 {
        assert_eq!(without.step(step).unwrap(), with.step(step).unwrap());
    }
    assert!(without.cache.features.is_empty() && !with.cache.features.is_empty());
}

#[test]
fn short_clips_and_missing_held_out_pairs_are_no_accident() {
    let short = |n: usize| Pair { captions: vec![format!("{n}")], attributes: BTreeMap::new(), audio: vec![0.1; 500] };
    let pairs = || Box::new(MemoryPairs::new(RATE_HZ, (0..4).map(short).collect()));
    let none = || Box::new(MemoryPairs::new(RATE_HZ, Vec::new()));
    let mut training = TextAudioTraining::new(&tiny(), settings(), pairs(), none(), 3, &Device::flex()).unwrap();
    assert!(training.step(0).unwrap().get("loss").unwrap().is_finite());
    assert_eq!(training.evaluate(1).unwrap(), Metrics::default());
    assert!(training.finish().unwrap_err().to_string().contains("window"));
}

#[test]
fn bad_settings_are_named() {
    let refused = |config: TextAudioTrainingConfig, clips: usize| {
        TextAudioTraining::new(&tiny(), config, tones(1, clips), tones(2, 4), 3, &Device::flex())
            .err()
            .map_or_else(String::new, |error| error.to_string())
    };
    assert!(refused(settings(), 1).contains("two captioned clips"));
    assert!(refused(TextAudioTrainingConfig { batch_pairs: 1, ..settings() }, 8).contains("text_audio.batch_pairs"));
    assert!(refused(TextAudioTrainingConfig { word_drop: 1.0, ..settings() }, 8).contains("word_drop"));
    assert!(refused(TextAudioTrainingConfig { noise_db_max: -90.0, ..settings() }, 8).contains("noise_db_max"));
    assert!(refused(TextAudioTrainingConfig { gain_db: f64::NAN, ..settings() }, 8).contains("gain_db"));
    let optimiser = AdamWConfig { learning_rate: 0.0, ..AdamWConfig::default() };
    assert!(refused(TextAudioTrainingConfig { optimiser, ..settings() }, 8).contains("optimiser.learning_rate"));
    let unknown = serde_json::from_str::<TextAudioTrainingConfig>("{\"batch_pair\": 3}");
    assert!(unknown.unwrap_err().to_string().contains("batch_pairs"));
}

#[test]
fn a_corpus_folder_gives_its_captioned_clips() {
    use crate::corpus::{CorpusInfo, CorpusWriter, NewClip};
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("corpus");
    let mut writer = CorpusWriter::create(&dir, CorpusInfo::new("test", RATE_HZ, "tones", "none needed")).unwrap();
    for (index, split) in [Split::Train, Split::Train, Split::HeldOut, Split::Train].into_iter().enumerate() {
        let clip = NewClip::new(format!("clip{index}"), split, format!("track{index}"));
        let clip = if index == 1 { clip } else { clip.caption("a tone") };
        writer.add(clip, &vec![0.1 * index as f32; 4_000]).unwrap();
    }
    let corpus = writer.finish().unwrap();
    let pairs = CorpusPairs::new(corpus, Split::Train);
    assert_eq!((pairs.len(), pairs.sample_rate_hz()), (2, RATE_HZ));
    assert_eq!(pairs.captions(1), ["a tone"]);
    assert!((pairs.audio(1).unwrap()[17] - 0.3).abs() < 1e-3);
    assert!(pairs.audio(2).is_err() && pairs.audio(0).unwrap().len() == 4_000);
}
