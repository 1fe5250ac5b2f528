//! Music from captions: clips as files, with a list of what each is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use musicrl_codec::{
    audio::Audio,
    decode::decode_file,
    resample::resample,
    write::{write_opus, write_wav},
};
use musicrl_core::{policy::Policy as _, reward::Score, sampling::SamplingConfig};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    align::{
        best_of::{BestOf, play_best_of},
        family::Player,
        judges::Judges,
        play::{PlaySettings, play},
    },
    bundle::Bundle,
    music::{Music, load_policy},
    recipe::RewardConfig,
};

/// How clips are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// 16-bit WAV.
    #[default]
    Wav,
    /// Ogg Opus at 64 kbit/s.
    Opus,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Opus => "opus",
        }
    }
}

/// Keeping the best of several clips.
#[derive(Debug, Clone, PartialEq)]
pub struct BestOfSettings {
    /// Clips that are played for each one that is kept.
    pub candidates: usize,
    /// The judges that choose.
    pub rewards: Vec<RewardConfig>,
}

/// What to generate.
#[derive(Debug, Clone)]
pub struct GenerateSettings {
    /// The captions.
    pub captions: Vec<String>,
    /// Clips of each caption.
    pub clips_per_caption: usize,
    /// Length of a clip; the bundle's where it is left out.
    pub clip_seconds: Option<f64>,
    /// Tempering, truncation, guidance.
    pub sampling: SamplingConfig,
    /// Clip `i` of the request draws the numbers of (seed, 0, i); candidate `j` of `n` those of (seed, 0, i n + j).
    pub seed: u64,
    /// A sound that every clip goes on from; its length counts in `clip_seconds`. For imported checkpoints.
    pub continue_from: Option<PathBuf>,
    /// Whether each clip is the best of several.
    pub best_of: Option<BestOfSettings>,
    /// Clips at once; the result does not depend on it.
    pub batch: usize,
    /// Where the files go.
    pub out: PathBuf,
    /// How they are written.
    pub format: Format,
}

/// One clip that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// File name in the output folder.
    pub file: String,
    /// What it was made for.
    pub caption: String,
    /// With the seed it names the random numbers: the index of the clip in the request, or of the kept candidate among
    /// all candidates.
    pub clip: u64,
    /// Seed of the request.
    pub seed: u64,
    /// Its length.
    pub seconds: f64,
    /// Sum of the log-probabilities of its actions under the distribution that was sampled, in nats.
    pub log_probability: f64,
    /// What the judges gave the clip that they chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
}

/// Longest clip that is generated, in seconds: attention over frames is quadratic in memory.
pub(crate) const SECONDS_MAX: f64 = 600.0;

/// Generates and writes the clips and `clips.jsonl`, one line a clip. `progress` is told how many are written.
///
/// # Errors
/// [`Error::Config`] for bad settings; when a part of the bundle is missing; [`Error::Io`] naming the file.
pub fn generate(
    bundle: &Bundle,
    settings: &GenerateSettings,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Generated>> {
    let device = device.clone().inner();
    let policy = load_policy(bundle, &device)?;
    let music = Music::load(bundle, &device)?;
    let frames = |seconds| policy.layout().frames_in(seconds);
    generate_with(&music, &policy, bundle, bundle.clip_seconds(), &frames, settings, &device, progress)
}

/// As [`generate`], with any player: `judges` is where judges come from that name no bundle, `clip_seconds` the length
/// where the settings say none, `frames_in` how many frames a number of seconds has.
///
/// # Errors
/// As [`generate`].
#[expect(clippy::too_many_arguments, reason = "what a bundle holds, taken apart")]
pub fn generate_with<M: Player>(
    music: &M,
    policy: &M::Policy,
    judges: &Bundle,
    clip_seconds: f64,
    frames_in: &dyn Fn(f64) -> usize,
    settings: &GenerateSettings,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Generated>> {
    let seconds = settings.clip_seconds.unwrap_or(clip_seconds);
    if !(seconds.is_finite() && seconds > 0.0 && seconds <= SECONDS_MAX) {
        return Err(Error::config("seconds", format!("above 0 and at most {SECONDS_MAX}"), seconds));
    }
    if settings.captions.is_empty() || settings.clips_per_caption == 0 {
        return Err(Error::config("captions", "at least one caption and one clip of it", "none"));
    }
    settings.sampling.validate()?;
    let device = device.clone().inner();
    let judges = match &settings.best_of {
        Some(best) if best.candidates == 0 => return Err(Error::config("best_of", "at least 1", 0)),
        Some(best) => Some((Judges::of_recipe(&best.rewards, judges, &device)?, best.candidates)),
        None => None,
    };
    let frames = frames_in(seconds).max(1);
    let given = match &settings.continue_from {
        None => None,
        Some(path) => Some(music.tokens(&sound_of(path, music.sample_rate_hz())?)?),
    };
    if let Some(given) = given.as_ref().filter(|given| given.frames >= frames) {
        let expected = format!("longer than the sound that clips go on from ({} frames)", given.frames);
        return Err(Error::config("seconds", expected, format!("{frames} frames")));
    }
    let play_settings = PlaySettings {
        sampling: settings.sampling.clone(),
        frames,
        seed: settings.seed,
        batch: settings.batch,
        given: None,
    };
    fs::create_dir_all(&settings.out).map_err(Error::io("create", &settings.out))?;

    let wanted: Vec<&str> = settings
        .captions
        .iter()
        .flat_map(|caption| std::iter::repeat_n(caption.as_str(), settings.clips_per_caption))
        .collect();
    let mut written = Vec::with_capacity(wanted.len());
    let mut list = String::new();
    progress(0, wanted.len());
    for captions in wanted.chunks(settings.batch.max(1)) {
        let first = written.len() as u64;
        let (played, kept) = match &judges {
            None => {
                let played = play(policy, music, captions, &play_settings, (0, first), true)?;
                (played, (0..captions.len() as u64).map(|at| (first + at, None)).collect::<Vec<_>>())
            }
            Some((judges, candidates)) => {
                let all = first * *candidates as u64;
                let BestOf { played, chosen, verdicts } =
                    play_best_of(policy, music, judges, captions, &play_settings, (0, all), *candidates)?;
                let clip = |(at, chosen): (usize, usize)| all + (at * candidates + chosen) as u64;
                let clips = chosen.into_iter().enumerate().map(clip);
                (played, clips.zip(verdicts.total.iter().map(Score::value)).collect())
            }
        };
        let clips = captions.iter().zip(played.audio).zip(played.log_probabilities).zip(kept);
        for (((caption, samples), log_probability), (clip, reward)) in clips {
            let file = format!("{:03}-{}.{}", written.len(), slug(caption), settings.format.extension());
            let audio = Audio::from_mono(samples, music.sample_rate_hz());
            let path = settings.out.join(&file);
            match settings.format {
                Format::Wav => write_wav(&path, &audio)?,
                Format::Opus => write_opus(&path, &audio, 64_000)?,
            }
            let seconds = audio.channels.first().map_or(0, Vec::len) as f64 / f64::from(audio.sample_rate_hz);
            let seed = settings.seed;
            let caption = (*caption).to_string();
            let generated = Generated { file, caption, clip, seed, seconds, log_probability, reward };
            list += &serde_json::to_string(&generated)
                .map_err(|error| Error::config("captions", "text that JSON can hold", error))?;
            list.push('\n');
            written.push(generated);
            progress(written.len(), wanted.len());
        }
    }
    let path = settings.out.join("clips.jsonl");
    fs::write(&path, list).map_err(Error::io("write", &path))?;
    Ok(written)
}

/// The channels of a sound file at a rate.
fn sound_of(path: &Path, sample_rate_hz: u32) -> Result<Vec<Vec<f32>>> {
    let audio = decode_file(path)?.audio;
    audio.channels.iter().map(|samples| Ok(resample(samples, audio.sample_rate_hz, sample_rate_hz)?)).collect()
}

/// The first words of a caption as part of a file name.
pub(crate) fn slug(caption: &str) -> String {
    let words: Vec<String> = caption
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(6)
        .map(|word| word.chars().take(16).collect::<String>().to_ascii_lowercase())
        .collect();
    if words.is_empty() { "clip".into() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_come_from_captions_and_stay_harmless() {
        assert_eq!(slug("A bright, fast piece for marimba with drums!"), "a-bright-fast-piece-for-marimba");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("音楽"), "clip");
        assert_eq!(slug(&"x".repeat(500)).len(), 16);
    }
}
