//! One function a target: it returns, or panics where a promise is broken.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

use burn::{
    nn::{Linear, LinearConfig},
    tensor::Device,
};
use musicrl_codec::{
    audio::check_sample_rate,
    decode::{Limits, decode_bytes},
    fine::FineConfig,
    neural::CodecConfig,
    semantic::SemanticConfig,
};
use musicrl_core::{
    params::{ParamTable, Storage},
    policy::HierarchicalPolicyConfig,
    tokens::{DelayPattern, Interleave, Streams, Tokens},
};
use musicrl_pipeline::{
    bundle::{Bundle, part, sha256_hex},
    corpus::import::{captions::CaptionTable, wording},
    optim::AdamWConfig,
    recipe::{AlignRecipe, TrainRecipe},
    run::{Checkpoints, SystemDisk},
};
use musicrl_rewards::{TextAudioConfig, text::TextTokeniserConfig};
use serde::{Deserialize, Serialize};

#[path = "zoo.rs"]
mod zoo_checkpoint;

pub use zoo_checkpoint::zoo;

/// A target's name and its check.
pub type Check = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Check; 6] = [
    ("audio_file", audio_file),
    ("checkpoint", checkpoint),
    ("recipe", recipe),
    ("token_pattern", token_pattern),
    ("prompt", prompt),
    ("zoo", zoo),
];

/// Any bytes are refused with a reason, or are sound: finite, not empty, of an accepted rate, within the limits.
pub fn audio_file(bytes: &[u8]) {
    let limits = Limits { seconds: 30.0, samples: 1 << 20, file_bytes: 1 << 20 };
    for name in ["x", "x.mp3"] {
        match decode_bytes(bytes.to_vec(), Path::new(name), &limits) {
            Ok(decoded) => {
                let audio = decoded.audio;
                assert!(audio.check_finite(name).is_ok() && !audio.is_empty());
                assert!(check_sample_rate(name, audio.sample_rate_hz).is_ok());
                assert!(audio.channels.iter().all(|plane| plane.len() == audio.len()), "{audio:?}");
                assert!(audio.len() * audio.channels.len() <= limits.samples, "{audio:?}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A weight file, a checkpoint's manifest and a bundle's manifest are refused, or are what they say. The first byte
/// chooses which of them the others are.
pub fn checkpoint(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => weights(bytes),
        1 => {
            manifest(bytes);
            if let Some(signed) = signed_manifest(bytes) {
                manifest(&signed);
            }
        }
        _ => bundle(bytes),
    }
}

/// The model whose weights the fuzzer writes, and its parameters: made once.
fn small_model() -> &'static (Linear, ParamTable) {
    static MODEL: OnceLock<(Linear, ParamTable)> = OnceLock::new();
    MODEL.get_or_init(|| {
        let model = LinearConfig::new(3, 2).init(&Device::flex());
        let table = ParamTable::collect(&model);
        // Known values: the seeds' hashes fit in every process.
        let values = (0..table.values().len()).map(|i| i as f32 / 4.0).collect();
        let table = table.with_values(values).expect("as many values");
        (table.apply(model).expect("its own table"), table)
    })
}

/// The bytes of the small model's weights.
pub fn small_weights(storage: Storage) -> Vec<u8> {
    small_model().1.to_safetensors(storage).expect("finite values can be written")
}

fn weights(bytes: &[u8]) {
    let (_, table) = small_model();
    let Ok(read) = table.read_safetensors(bytes) else { return };
    assert!(read.values().iter().all(|value| value.is_finite()));
    let written = read.to_safetensors(Storage::F32).expect("finite values can be written");
    let again = table.read_safetensors(&written).expect("what was written can be read");
    assert_eq!(again.values(), read.values());
}

fn manifest(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let checkpoints = Checkpoints::new(folder.path().to_owned(), Arc::new(SystemDisk));
    let step = checkpoints.path(1);
    fs::create_dir(&step).expect("a new folder");
    fs::write(step.join("manifest.json"), bytes).expect("a new file");
    fs::write(step.join("state.bin"), b"state").expect("a new file");
    if let Ok(checkpoint) = checkpoints.load(1) {
        assert_eq!(checkpoint.step, 1);
        assert!(checkpoint.files.iter().all(|(name, bytes)| name == "state.bin" && bytes == b"state"));
    }
}

/// A checkpoint's manifest as it stands in its file.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    step: u64,
    evaluation: BTreeMap<String, String>,
    files: BTreeMap<String, Entry>,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// A manifest with the checksum that fits it. No fuzzer finds one, and what lies behind it wants to be tried too.
pub fn signed_manifest(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut manifest: Manifest = serde_json::from_slice(bytes).ok()?;
    let written = |manifest: &Manifest| {
        let mut bytes = serde_json::to_vec_pretty(manifest).ok()?;
        bytes.push(b'\n');
        Some(bytes)
    };
    manifest.sha256 = String::new();
    manifest.sha256 = sha256_hex(&written(&manifest)?);
    written(&manifest)
}

/// `bytes` as the manifest of a bundle that has the weights of one part.
fn bundle(bytes: &[u8]) {
    let origin = Path::new("fuzz");
    let files = [("bundle.json", bytes.to_vec()), ("codec.safetensors", small_weights(Storage::F32))];
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    let Ok(bundle) = Bundle::from_files(files, origin) else { return };
    assert!(bundle.parts().all(|name| name == part::CODEC), "no other part has weights");
    assert!(bundle.clip_seconds().is_finite() && bundle.clip_seconds() > 0.0);
    settings(&bundle);
    for name in bundle.parts() {
        let _: serde_json::Value = bundle.config(name).expect("any settings are JSON");
        bundle.load(name, small_model().0.clone()).expect("weights whose hash fits");
    }
    let written = bundle.to_files().expect("what was read can be written");
    let again = Bundle::from_files(written, origin).expect("what was written can be read");
    let said = |bundle: &Bundle| {
        let hashes: Vec<_> =
            bundle.parts().map(|name| (name.to_owned(), bundle.sha256(name).map(str::to_owned))).collect();
        (hashes, bundle.provenance().to_vec())
    };
    assert_eq!(said(&again), said(&bundle));
    // This reader of JSON may miss the last bits of a number with 16 digits and more.
    let (read, written) = (again.clip_seconds(), bundle.clip_seconds());
    assert!((read - written).abs() <= 1e-12 * written + f64::MIN_POSITIVE, "{read} instead of {written}");
}

/// The part's settings, read as those of every kind of model: refused, or with sizes that can be computed.
fn settings(bundle: &Bundle) {
    if let Ok(codec) = bundle.config::<CodecConfig>(part::CODEC)
        && codec.validate().is_ok()
    {
        assert!(codec.hop() > 0 && codec.frame_rate_hz() > 0.0 && codec.context_frames() < 1 << 32);
        assert!(codec.bits_per_second(codec.quantiser.levels).is_finite());
    }
    if let Ok(semantic) = bundle.config::<SemanticConfig>(part::CODEC)
        && semantic.validate().is_ok()
    {
        assert!(semantic.frame_rate_hz() > 0.0 && semantic.feature_width() > 0 && semantic.frames(1) == 1);
    }
    if let Ok(fine) = bundle.config::<FineConfig>(part::CODEC)
        && fine.validate().is_ok()
    {
        assert!(fine.fine_levels().all(|level| fine.passes_of(level) > 0) && fine.mask_id() > 0);
    }
    if let Ok(text_audio) = bundle.config::<TextAudioConfig>(part::CODEC)
        && text_audio.validate().is_ok()
    {
        assert!(text_audio.window_frames() > 0);
    }
    if let Ok(policy) = bundle.config::<HierarchicalPolicyConfig>(part::CODEC)
        && policy.validate().is_ok()
    {
        assert!(policy.layout.slots_per_frame() > 0 && policy.layout.codebook_max() > 0);
        assert!([policy.global, policy.local].iter().all(|stack| stack.transformer().head_width() > 0));
    }
}

/// A recipe is refused with a reason, or can be written back and read again as itself.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("recipe.toml");
    if let Ok(recipe) = AlignRecipe::parse(text, path, &["text_adherence"]) {
        let written = recipe.to_toml().expect("what was read can be written");
        let again = AlignRecipe::parse(&written, path, &["text_adherence"]).expect("what was written can be read");
        assert_eq!(again, recipe);
    }
    // The bare form, before its values are checked: NaN is not equal to itself, its text is.
    let train = |text: &str| musicrl_pipeline::recipe::parse::<TrainRecipe<AdamWConfig>>(text, path);
    if let Ok(recipe) = train(text) {
        let written = recipe.to_toml().expect("what was read can be written");
        let again = train(&written).expect("what was written can be read");
        assert_eq!(again.to_toml().expect("what was read can be written"), written);
    }
}

/// Token patterns refuse what does not fit, and are exact inverses of themselves.
pub fn token_pattern(bytes: &[u8]) {
    let [levels, frames, pad, rest @ ..] = bytes else { return };
    let (levels, frames) = (usize::from(levels % 9), usize::from(*frames));
    let ids = |count: usize| -> Vec<u32> {
        (0..count)
            .map(|i| rest.get(i % rest.len().max(1)).map_or(0, |&byte| u32::from(byte) * 131 + i as u32))
            .collect()
    };
    let interleave = Interleave { coarse_levels: levels };
    let coarse = Tokens { ids: ids(2 * frames * levels), frames: 2 * frames, slots: levels };
    let streams = Streams { semantic: ids(frames), coarse };
    let joined = interleave.join(&streams).expect("streams that fit");
    assert_eq!((joined.frames, joined.slots), (frames, interleave.slots()));
    assert_eq!(interleave.split(&joined).expect("what was joined"), streams);

    // Anything else is refused or goes through whole.
    let odd = Tokens { ids: ids(rest.len()), frames, slots: levels };
    if let Ok(streams) = interleave.split(&odd) {
        assert_eq!(interleave.join(&streams).expect("what was split"), odd);
    }
    let delays: Vec<usize> = rest.iter().take(usize::from(pad % 8)).map(|&byte| usize::from(byte)).collect();
    let Ok(pattern) = DelayPattern::new(delays, u32::from(*pad)) else { return };
    let slots = pattern.codebooks();
    let tokens = Tokens { ids: ids(frames * slots), frames, slots };
    if let Ok(delayed) = pattern.apply(&tokens) {
        assert_eq!(delayed.frames, frames + pattern.delay_max());
        assert_eq!(pattern.revert(&delayed).expect("what was delayed"), tokens);
        let placed = pattern.mask(frames).iter().filter(|&&placed| placed).count();
        assert_eq!(placed, tokens.ids.len());
    }
    if let Ok(clip) = pattern.revert(&odd) {
        assert_eq!(pattern.apply(&clip).expect("what was reverted"), odd);
    }
}

/// Prompts, file names and captions files: any text becomes tokens in range, or is refused with a line.
pub fn prompt(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let config = TextTokeniserConfig::default();
    let tokeniser = config.init().expect("the default settings");
    let words = tokeniser.tokenise(&text);
    assert!(!words.is_empty() && words.len() <= config.words_max);
    for word in &words {
        assert!((word.word as usize) < config.word_buckets);
        let range = config.word_buckets..tokeniser.buckets();
        assert!(word.trigrams.iter().all(|&bucket| range.contains(&(bucket as usize))));
    }
    assert_eq!(tokeniser.tokenise(&text), words);

    assert!(wording::of_name(&text, &[]).iter().all(|caption| !caption.is_empty()));
    let path = Path::new("captions");
    for table in [CaptionTable::parse_csv(&text, path), CaptionTable::parse_jsonl(&text, path)].into_iter().flatten() {
        for name in table.names() {
            assert!(!name.is_empty());
            assert!(table.row(name).is_some_and(|row| row.captions.iter().all(|caption| !caption.is_empty())));
        }
    }
}
