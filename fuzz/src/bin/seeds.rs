//! Writes first inputs for every target into `corpus/`: `cargo run --release --bin seeds`, inside `fuzz/`.
//!
//! Fuzzers find formats by themselves only slowly. These are small whole files of each kind that this program can
//! write itself; `seeds/audio_file/` adds a tone in the kinds that it only reads.

use std::{collections::BTreeMap, error::Error, fs, path::Path, sync::Arc};

use musicrl_codec::{
    audio::Audio,
    fine::FineConfig,
    neural::CodecConfig,
    opus::encode_ogg,
    semantic::SemanticConfig,
    write::{wav_bytes, wav_bytes_float},
};
use musicrl_core::{
    nn::FeedForward,
    params::Storage,
    policy::{HierarchicalPolicyConfig, StackConfig},
    tokens::Interleave,
};
use musicrl_fuzz::checks::small_weights;
use musicrl_pipeline::{
    bundle::{Bundle, sha256_hex},
    optim::AdamWConfig,
    recipe::{AlignRecipe, TrainRecipe},
    run::{Checkpoints, SystemDisk},
};
use musicrl_rewards::TextAudioConfig;

const RECIPE: &str = "seed = 1\n[base]\npath = \"embedded\"\n[captions]\nsource = \"etudes\"\n[[stage]]\nname = \"a\"\n\
    steps = 3\nbatch = 2\nkl = { alpha = 0.1 }\n\
    rewards = [{ name = \"text_adherence\", weight = 1.0, range = [-1.0, 1.0] }]\n";

fn put(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn audio() -> Result<(), Box<dyn Error>> {
    let tone = |channels: usize, rate_hz: u32, samples: usize| {
        let plane = |c: usize| (0..samples).map(|i| (0.1 + 0.05 * c as f32) * (i as f32 * 0.07).sin()).collect();
        Audio { channels: (0..channels).map(plane).collect(), sample_rate_hz: rate_hz }
    };
    put("audio_file", "pcm16.wav", &wav_bytes(&tone(2, 16_000, 300))?)?;
    put("audio_file", "float.wav", &wav_bytes_float(&tone(1, 8_000, 200))?)?;
    put("audio_file", "surround.wav", &wav_bytes(&tone(6, 48_000, 60))?)?;
    let comments = [("TITLE", "Seed"), ("GENRE", "test"), ("BPM", "90")];
    put("audio_file", "mono.opus", &encode_ogg(&tone(1, 48_000, 4_000), 16_000, &comments)?)?;
    put("audio_file", "stereo.opus", &encode_ogg(&tone(2, 48_000, 2_500), 64_000, &[])?)?;
    for (name, header, length) in
        [("mpeg1.mp3", [0xff, 0xfb, 0x10, 0xc0], 104), ("mpeg2.mp3", [0xff, 0xf3, 0x80, 0xc4], 208)]
    {
        let mut frame: Vec<u8> = header.to_vec();
        frame.resize(length, 0);
        put("audio_file", name, &frame.repeat(4))?;
    }
    Ok(())
}

fn checkpoints() -> Result<(), Box<dyn Error>> {
    for (name, storage) in [("f32", Storage::F32), ("f16", Storage::F16)] {
        put("checkpoint", name, &[vec![0], small_weights(storage)].concat())?;
    }
    let folder = tempfile::tempdir()?;
    let checkpoints = Checkpoints::new(folder.path().to_owned(), Arc::new(SystemDisk));
    let files = [("state.bin".to_owned(), b"state".to_vec())].into();
    let step = checkpoints.write(1, &files, &BTreeMap::from([("reward".to_owned(), 0.25)]))?;
    put("checkpoint", "manifest", &[vec![1], fs::read(step.join("manifest.json"))?].concat())?;

    let mut bundle = Bundle::new();
    put("checkpoint", "bundle_empty", &[&[2], &bundle.to_files()?["bundle.json"][..]].concat())?;
    bundle.push_provenance("musicrl train codec".into());
    bundle.set_clip_seconds(6.4);
    let mut manifest: serde_json::Value = serde_json::from_slice(&bundle.to_files()?["bundle.json"])?;
    let sha256 = sha256_hex(&small_weights(Storage::F32));
    let stack =
        |width: usize| StackConfig { width, layers: 1, heads: 2, ff_width: 64, feed_forward: FeedForward::SwiGlu };
    let policy = HierarchicalPolicyConfig {
        layout: Interleave { coarse_levels: 2 }.layout(128, 256, 12.5)?,
        global: stack(32),
        local: stack(16),
        condition_slots: 6,
        condition_codebook: 64,
    };
    for (name, config) in [
        ("codec", serde_json::to_value(CodecConfig::base())?),
        ("semantic", serde_json::to_value(SemanticConfig::base())?),
        ("fine", serde_json::to_value(FineConfig::base())?),
        ("text_audio", serde_json::to_value(TextAudioConfig::base())?),
        ("policy", serde_json::to_value(policy)?),
    ] {
        // The one part that the target has weights for is called codec, whatever its settings are of.
        manifest["parts"] = serde_json::json!({"codec": {"config": config, "sha256": sha256}});
        put("checkpoint", &format!("bundle_{name}"), &[vec![2], serde_json::to_vec(&manifest)?].concat())?;
    }
    Ok(())
}

/// Input of the target `zoo` for a checkpoint's `config.json` and weight file; `None` when that is no safetensors file.
fn zoo_seed(config: &[u8], weights: &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(weights.get(..8)?.try_into().ok()?)).ok()?;
    Some([config, &[0], weights.get(8..length.checked_add(8)?)?].concat())
}

/// The zoo's fixtures in one file.
fn zoo() -> Result<(), Box<dyn Error>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../studio/zoo/tests/fixtures");
    for entry in fs::read_dir(fixtures)? {
        let folder = entry?.path();
        let (config, weights) = (folder.join("config.json"), folder.join("model.safetensors"));
        if !(config.exists() && weights.exists()) {
            continue;
        }
        if let (Some(seed), Some(name)) = (zoo_seed(&fs::read(config)?, &fs::read(weights)?), folder.file_name()) {
            put("zoo", &name.to_string_lossy(), &seed)?;
        }
    }
    Ok(())
}

fn recipes() -> Result<(), Box<dyn Error>> {
    put("recipe", "align.toml", RECIPE.as_bytes())?;
    let align = AlignRecipe::parse(RECIPE, Path::new("recipe.toml"), &["text_adherence"])?;
    put("recipe", "align_whole.toml", align.to_toml()?.as_bytes())?;
    let train = TrainRecipe {
        part: "codec".into(),
        seed: 1,
        corpus: "corpus".into(),
        steps: 3,
        checkpoint_every: 2,
        evaluate_every: 0,
        inputs: [("clips".to_owned(), "00".to_owned())].into(),
        settings: AdamWConfig::default(),
    };
    put("recipe", "train.toml", train.to_toml()?.as_bytes())?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    audio()?;
    checkpoints()?;
    recipes()?;
    zoo()?;
    put("token_pattern", "delays", &[4, 12, 5, 0, 1, 2, 3, 9, 200, 17])?;
    put("token_pattern", "plain", &[0, 1, 1, 0])?;
    put("prompt", "caption", "a calm piano piece in F# minor, slow waltz".as_bytes())?;
    put("prompt", "captions.csv", b"file,caption,track,split\na.wav,\"a, b\",t,train\nb.wav,c,,heldout\n")?;
    put("prompt", "captions.jsonl", b"{\"file\":\"a.wav\",\"captions\":[\"x\",\"y\"],\"bpm\":90}\n")?;
    put("prompt", "other", "日本の音楽 🎵 naïve Ⅷ ﬁn\u{0}\u{301}".as_bytes())?;
    Ok(())
}
