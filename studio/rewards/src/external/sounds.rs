//! A batch's sounds as 16-bit WAV, in files of a folder of its own or in memory.

use std::fs;

use musicrl_codec::{audio::Audio, write::wav_bytes};
use musicrl_core::reward::{Clip, Score};
use tempfile::TempDir;

/// WAV files of a batch. The folder and all in it go when this is dropped.
#[derive(Debug)]
pub(super) struct Sounds {
    /// Never read: its drop removes the folder.
    _folder: TempDir,
    /// The file of each clip; `None` for one that cannot be asked about.
    paths: Vec<Option<String>>,
}

impl Sounds {
    /// Writes the sound of every clip that `scores` leaves open; clips without a usable sound get their reason there.
    ///
    /// # Errors
    /// In words, when the folder or a file cannot be written.
    pub(super) fn write(clips: &[Clip<'_>], scores: &mut [Option<Score>]) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("musicrl-judge-")
            .tempdir()
            .map_err(|error| format!("there is no folder for its sounds: {error}"))?;
        let mut paths = Vec::with_capacity(clips.len());
        for (at, (clip, score)) in clips.iter().zip(scores).enumerate() {
            let path = folder.path().join(format!("{at:04}.wav"));
            let Some(bytes) = wav(clip, score) else {
                paths.push(None);
                continue;
            };
            fs::write(&path, bytes).map_err(|error| format!("write {}: {error}", path.display()))?;
            let path = path.into_os_string().into_string();
            // JSON cannot name it.
            paths.push(Some(path.map_err(|path| format!("{} is no UTF-8", path.display()))?));
        }
        Ok(Self { _folder: folder, paths })
    }

    /// The file of a clip.
    pub(super) fn path(&self, clip: usize) -> Option<&str> {
        self.paths.get(clip)?.as_deref()
    }
}

/// The clip's sound as a WAV file; where there is none, `score` gets the reason.
pub(super) fn wav(clip: &Clip<'_>, score: &mut Option<Score>) -> Option<Vec<u8>> {
    let made = match clip.audio {
        None => Err("no audio".to_string()),
        Some(audio) if audio.samples.is_empty() => Err("no audio: 0 samples".to_string()),
        Some(audio) => wav_bytes(&Audio::from_mono(audio.samples.to_vec(), audio.sample_rate_hz))
            .map_err(|error| error.to_string()),
    };
    made.map_err(|reason| *score = Some(Score::Unscorable(reason))).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use musicrl_core::reward::{AudioView, TokensView};

    use super::*;

    #[test]
    fn sounds_are_written_and_go_with_their_folder() {
        let clip = |samples: &'static [f32], sample_rate_hz| Clip {
            caption: "",
            tokens: TokensView { ids: &[], slots: 1 },
            audio: Some(AudioView { samples, sample_rate_hz }),
        };
        let mute = Clip { audio: None, ..clip(&[], 16_000) };
        let clips =
            [clip(&[0.5, -0.5, 2.0], 16_000), mute, clip(&[f32::NAN], 16_000), clip(&[0.0], 1), clip(&[], 16_000)];
        let mut scores = vec![None; clips.len()];
        let sounds = Sounds::write(&clips, &mut scores).unwrap();
        let path = PathBuf::from(sounds.path(0).unwrap());
        let audio = musicrl_codec::decode::decode_file(&path).unwrap().audio;
        assert_eq!((audio.sample_rate_hz, audio.channels[0][0], audio.len()), (16_000, 0.5, 3));
        assert!(scores[0].is_none());
        for (at, reason) in [(1, "no audio"), (2, "sample 0"), (3, "1 Hz"), (4, "0 samples")] {
            assert!(matches!(&scores[at], Some(Score::Unscorable(why)) if why.contains(reason)), "{:?}", scores[at]);
            assert_eq!(sounds.path(at), None);
        }
        drop(sounds);
        assert!(!path.exists() && !path.parent().unwrap().exists());
    }
}
