//! A network of the user's, in an ONNX file, as a judge.

use musicrl_codec::{mel::Mel, resample::resample};
use musicrl_core::reward::{AudioView, Clip, Reward, Score};

use super::{OnnxConfig, OnnxInput};
use crate::{Error, Result};

#[cfg(feature = "onnx")]
use musicrl_onnx::Network;

/// A judge that is a network: sound in, one number out. Every clip is judged by itself.
#[derive(Debug)]
pub struct OnnxJudge {
    name: String,
    config: OnnxConfig,
    mel: Option<Mel>,
    network: Network,
}

/// What stands in for the network where there is none.
#[cfg(not(feature = "onnx"))]
#[derive(Debug)]
struct Network;

#[cfg(not(feature = "onnx"))]
impl Network {
    fn load(path: &std::path::Path) -> std::result::Result<Self, String> {
        Err(format!(
            "this program was built without ONNX, which {} needs; build it with: \
             cargo build --release -p musicrl --features onnx",
            path.display()
        ))
    }

    fn run(&self, _: &[f32], _: &[usize]) -> std::result::Result<Vec<f32>, String> {
        Err("built without ONNX".into())
    }
}

impl OnnxJudge {
    /// Reads the network.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that break a rule; [`musicrl_core::Error::Reward`] for a file that is no network
    /// of one input, one with operators that are not known, and in a build without the feature `onnx`.
    pub fn new(name: impl Into<String>, config: OnnxConfig) -> Result<Self> {
        config.validate()?;
        let name = name.into();
        let mel = match config.input {
            OnnxInput::Samples => None,
            OnnxInput::LogMel => Some(config.mel.clone().unwrap_or_default().at(config.sample_rate_hz).init()?),
        };
        let network = Network::load(&config.path)
            .map_err(|reason| Error::Core(musicrl_core::Error::Reward { name: name.clone(), reason }))?;
        Ok(Self { name, config, mel, network })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &OnnxConfig {
        &self.config
    }

    /// What the network reads of a clip, and its shape without the leading 1.
    ///
    /// # Errors
    /// In words, for a clip that it cannot read.
    fn input(&self, audio: AudioView<'_>) -> std::result::Result<(Vec<f32>, Vec<usize>), String> {
        network_input(&self.config, self.mel.as_ref(), audio)
    }

    fn score_of(&self, clip: &Clip<'_>) -> std::result::Result<Score, String> {
        let Some(audio) = clip.audio else { return Ok(Score::Unscorable("no audio".into())) };
        let (values, shape) = match self.input(audio) {
            Ok(input) => input,
            Err(reason) => return Ok(Score::Unscorable(reason)),
        };
        // A length that the network does not take is this clip's trouble alone.
        let output = match self.network.run(&values, &shape) {
            Ok(output) => output,
            Err(reason) => return Ok(Score::Unscorable(reason)),
        };
        match output.get(self.config.output).copied() {
            Some(value) if value.is_finite() => Ok(Score::Value(f64::from(value))),
            Some(value) => Ok(Score::Unscorable(format!("its score is {value}, which is no finite number"))),
            None => Err(format!("its output has {} elements, and none at index {}", output.len(), self.config.output)),
        }
    }
}

/// The values and shape of a clip for a network: `[samples]`, or `[bands, frames]` (turned round by `frames_first`).
///
/// # Errors
/// In words, for sound that cannot be used.
fn network_input(
    config: &OnnxConfig,
    mel: Option<&Mel>,
    audio: AudioView<'_>,
) -> std::result::Result<(Vec<f32>, Vec<usize>), String> {
    if let Some(sample) = audio.samples.iter().position(|sample| !sample.is_finite()) {
        return Err(format!("sample {sample} is not finite"));
    }
    let samples =
        resample(audio.samples, audio.sample_rate_hz, config.sample_rate_hz).map_err(|error| error.to_string())?;
    if samples.is_empty() {
        return Err("no audio: 0 samples".into());
    }
    let Some(mel) = mel else {
        let length = samples.len();
        return Ok((samples, vec![length]));
    };
    let bands = mel.config().bands;
    let values = mel.features(&samples);
    let frames = values.len() / bands.max(1);
    if config.mel.as_ref().is_some_and(|mel| mel.frames_first) {
        return Ok((values, vec![frames, bands]));
    }
    let turned = (0..bands).flat_map(|band| values.iter().skip(band).step_by(bands).copied()).collect();
    Ok((turned, vec![bands, frames]))
}

impl Reward for OnnxJudge {
    fn name(&self) -> &str {
        &self.name
    }

    fn hears_audio(&self) -> bool {
        true
    }

    fn score(&self, clips: &[Clip<'_>]) -> musicrl_core::Result<Vec<Score>> {
        clips
            .iter()
            .map(|clip| self.score_of(clip))
            .collect::<std::result::Result<_, _>>()
            .map_err(|reason| musicrl_core::Error::Reward { name: self.name.clone(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> OnnxConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn samples_are_brought_to_the_networks_rate() {
        let config = config(r#"{"path": "x.onnx", "sample_rate_hz": 8000}"#);
        let samples = vec![0.25; 16_000];
        let input =
            |samples: &[f32], sample_rate_hz| network_input(&config, None, AudioView { samples, sample_rate_hz });
        let (values, shape) = input(&samples, 16_000).unwrap();
        assert_eq!((values.len(), shape), (8_000, vec![8_000]));
        assert!((values[4_000] - 0.25).abs() < 1e-3);
        assert!(input(&[0.0, f32::NAN], 16_000).unwrap_err().contains("sample 1"));
        assert!(input(&samples, 1).unwrap_err().contains("1 Hz"));
        assert!(input(&[], 16_000).unwrap_err().contains("0 samples"));
    }

    #[test]
    fn bands_and_frames_can_be_turned_round() {
        let samples: Vec<f32> = (0..3_200).map(|i| (i as f32 * 0.3).sin()).collect();
        let audio = AudioView { samples: &samples, sample_rate_hz: 16_000 };
        let text = r#"{"path": "x.onnx", "input": "log_mel", "mel": {"bands": 20, "frames_first": FIRST}}"#;
        let input = |first: &str| {
            let config = config(&text.replace("FIRST", first));
            let mel = config.mel.clone().unwrap().at(16_000).init().unwrap();
            network_input(&config, Some(&mel), audio).unwrap()
        };
        let ((bands_first, shape), (frames_first, turned)) = (input("false"), input("true"));
        assert_eq!((shape.as_slice(), turned.as_slice()), (&[20, 11][..], &[11, 20][..]));
        for (band, frame) in [(0, 0), (3, 7), (19, 10)] {
            assert_eq!(bands_first[band * 11 + frame], frames_first[frame * 20 + band]);
        }
    }

    #[cfg(not(feature = "onnx"))]
    #[test]
    fn without_the_feature_it_is_told_how_to_build() {
        let error = OnnxJudge::new("mine", config(r#"{"path": "x.onnx"}"#)).unwrap_err().to_string();
        assert!(error.contains("--features onnx") && error.contains("x.onnx") && error.contains("mine"), "{error}");
    }

    /// The network of `studio/onnx`'s own tests: output 0 is the mean of the samples, output 1 twice that.
    #[cfg(feature = "onnx")]
    #[test]
    fn a_network_scores_clips() {
        use musicrl_core::reward::TokensView;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx/tests/data/mean.onnx");
        let judge = |output: usize| {
            OnnxJudge::new("mean", config(&format!(r#"{{"path": {path:?}, "output": {output}}}"#))).unwrap()
        };
        let samples = [0.25_f32, 0.75];
        let audio = Some(AudioView { samples: &samples, sample_rate_hz: 16_000 });
        let clip = Clip { caption: "", tokens: TokensView { ids: &[], slots: 1 }, audio };
        let broken = Clip { audio: None, ..clip };
        assert_eq!(judge(0).score(&[clip]).unwrap(), [Score::Value(0.5)]);
        let scores = judge(1).score(&[broken, clip]).unwrap();
        assert_eq!(scores[1], Score::Value(1.0));
        assert!(matches!(scores[0], Score::Unscorable(_)));
        let error = judge(2).score(&[clip]).unwrap_err().to_string();
        assert!(error.contains("2 elements") && error.contains("mean"), "{error}");
    }
}
