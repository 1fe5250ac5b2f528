//! Reading a corpus folder. Nothing but the list of clips is held in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The version of the folder's layout that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// The description of the corpus.
pub(super) const INFO_FILE: &str = "corpus.json";
/// The list of clips.
pub(super) const CLIPS_FILE: &str = "clips.jsonl";
/// The folder of the recordings.
pub(super) const AUDIO_DIR: &str = "audio";
/// Full scale of 16-bit samples: they are written as `round(x * 32767)` and read as `n / 32767`.
pub(super) const FULL_SCALE: f32 = 32767.0;

/// Which part of a corpus a clip belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Split {
    /// Models learn from it.
    #[serde(rename = "train")]
    Train,
    /// Models are measured on it and never learn from it.
    #[serde(rename = "heldout")]
    HeldOut,
}

impl Split {
    /// As written in `clips.jsonl`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "heldout",
        }
    }
}

/// What `corpus.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusInfo {
    /// Layout of the folder; see [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Samples a second, of every clip.
    pub sample_rate_hz: u32,
    /// A short name for reports.
    pub name: String,
    /// Where the sound comes from.
    pub source: String,
    /// What may be done with it, in words.
    pub licence: String,
    /// The settings that made the corpus, as the maker wrote them.
    #[serde(default)]
    pub settings: serde_json::Value,
}

impl CorpusInfo {
    /// A description in the present format, without settings.
    #[must_use]
    pub fn new(name: &str, sample_rate_hz: u32, source: &str, licence: &str) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            sample_rate_hz,
            name: name.to_owned(),
            source: source.to_owned(),
            licence: licence.to_owned(),
            settings: serde_json::Value::Null,
        }
    }

    /// Puts down the settings that make the corpus.
    #[must_use]
    pub fn with_settings(self, settings: serde_json::Value) -> Self {
        Self { settings, ..self }
    }
}

/// One line of `clips.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Unique in the corpus.
    pub id: String,
    /// The recording, relative to the corpus folder, with `/` between its parts.
    pub file: String,
    /// What the clip sounds like, in words; every one of them describes the whole clip. May be empty.
    pub captions: Vec<String>,
    /// Duration.
    pub seconds: f64,
    /// Part of the corpus.
    pub split: Split,
    /// The recording that the clip was cut from: clips of one track are never in two splits.
    pub track: String,
    /// Known facts, such as `tempo = "fast"` or `genre = "folk"`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// A corpus folder, checked and open for reading.
#[derive(Debug, Clone)]
pub struct Corpus {
    dir: PathBuf,
    info: CorpusInfo,
    clips: Vec<Clip>,
    /// Length of each clip, by its recording's header.
    samples: Vec<usize>,
}

impl Corpus {
    /// Opens a folder: reads the lists, and the header of every recording.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be; the message names the file, and the line of `clips.jsonl`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        let info = read_info(&dir)?;
        let path = dir.join(CLIPS_FILE);
        let file = fs::File::open(&path).map_err(|source| io_error("read the list of clips", &path, source))?;
        let mut clips = Vec::new();
        let mut samples = Vec::new();
        let mut ids = BTreeSet::new();
        let mut track_splits = BTreeMap::new();
        for (index, line) in io::BufReader::new(file).lines().enumerate() {
            let bad = |expected: &str, got: String| Error::File {
                path: path.clone(),
                expected: expected.to_owned(),
                got: format!("line {}: {got}", index + 1),
            };
            let line = line.map_err(|error| bad("lines of text", error.to_string()))?;
            let clip: Clip = serde_json::from_str(&line).map_err(|error| bad("one clip a line", error.to_string()))?;
            if !ids.insert(clip.id.clone()) {
                return Err(bad("clip ids that differ", format!("`{}` again", clip.id)));
            }
            if *track_splits.entry(clip.track.clone()).or_insert(clip.split) != clip.split {
                return Err(bad("each track in one split", format!("track `{}` is in two", clip.track)));
            }
            if !stays_inside(&clip.file) {
                return Err(bad("a path inside the corpus", format!("`{}`", clip.file)));
            }
            let recording = dir.join(&clip.file);
            let length = open_recording(&recording, info.sample_rate_hz)?.duration() as usize;
            let seconds = length as f64 / f64::from(info.sample_rate_hz);
            if (seconds - clip.seconds).abs() > 0.5 {
                return Err(bad(
                    &format!("{:.3} seconds of audio in {}", clip.seconds, clip.file),
                    format!("{seconds:.3} seconds"),
                ));
            }
            clips.push(clip);
            samples.push(length);
        }
        if clips.is_empty() {
            return Err(Error::File { path, expected: "at least one clip".into(), got: "none".into() });
        }
        Ok(Self { dir, info, clips, samples })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the corpus says about itself.
    #[must_use]
    pub fn info(&self) -> &CorpusInfo {
        &self.info
    }

    /// Samples a second, of every clip.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.info.sample_rate_hz
    }

    /// Every clip, in the order of `clips.jsonl`.
    #[must_use]
    pub fn clips(&self) -> &[Clip] {
        &self.clips
    }

    /// The indices of one part's clips, ascending.
    #[must_use]
    pub fn split(&self, split: Split) -> Vec<usize> {
        (0..self.clips.len()).filter(|&clip| self.clips[clip].split == split).collect()
    }

    /// At most `most` of one part's clips, spread evenly over them, ascending.
    #[must_use]
    pub fn spread(&self, split: Split, most: usize) -> Vec<usize> {
        let clips = self.split(split);
        spread(clips.len(), most).map(|index| clips[index]).collect()
    }

    /// Length of a clip in samples; 0 for an index that is not there.
    #[must_use]
    pub fn samples(&self, clip: usize) -> usize {
        self.samples.get(clip).copied().unwrap_or(0)
    }

    /// `samples` samples of a clip from `start_sample` on; what lies behind the clip's end is silence. Reads no more
    /// than it returns.
    ///
    /// # Errors
    /// When there is no such clip, or its recording cannot be read.
    pub fn crop(&self, clip: usize, start_sample: usize, samples: usize) -> Result<Vec<f32>> {
        let entry = self.clips.get(clip).ok_or_else(|| Error::Config {
            field: "clip".into(),
            expected: format!("an index below {}", self.clips.len()),
            got: clip.to_string(),
        })?;
        let mut audio = Vec::with_capacity(samples);
        let present = self.samples(clip).saturating_sub(start_sample).min(samples);
        if present > 0 {
            let path = self.dir.join(&entry.file);
            let mut reader = open_recording(&path, self.info.sample_rate_hz)?;
            // A WAV file's length fits 32 bits, and `start_sample` is below it.
            let start = u32::try_from(start_sample).unwrap_or(u32::MAX);
            reader.seek(start).map_err(|source| io_error("seek in", &path, source))?;
            for sample in reader.samples::<i16>().take(present) {
                let sample = sample.map_err(|error| Error::File {
                    path: path.clone(),
                    expected: format!("{} samples", self.samples(clip)),
                    got: error.to_string(),
                })?;
                audio.push((f32::from(sample) / FULL_SCALE).max(-1.0));
            }
        }
        audio.resize(samples, 0.0);
        Ok(audio)
    }

    /// A whole clip.
    ///
    /// # Errors
    /// As [`Corpus::crop`].
    pub fn audio(&self, clip: usize) -> Result<Vec<f32>> {
        self.crop(clip, 0, self.samples(clip))
    }
}

/// At most `most` indices below `len`, spread evenly.
pub(crate) fn spread(len: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = len.min(most);
    (0..count).map(move |index| index * len / count)
}

/// Reads and checks `corpus.json`.
fn read_info(dir: &Path) -> Result<CorpusInfo> {
    let path = dir.join(INFO_FILE);
    let text = fs::read_to_string(&path).map_err(|source| io_error("read the corpus description", &path, source))?;
    let bad = |expected: String, got: String| Error::File { path: path.clone(), expected, got };
    // The version first: another version may have other fields.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let version: Version =
        serde_json::from_str(&text).map_err(|error| bad("a corpus description".into(), error.to_string()))?;
    if version.format_version != FORMAT_VERSION {
        return Err(bad(format!("format version {FORMAT_VERSION}"), version.format_version.to_string()));
    }
    let info: CorpusInfo =
        serde_json::from_str(&text).map_err(|error| bad("a corpus description".into(), error.to_string()))?;
    check_rate(info.sample_rate_hz)?;
    Ok(info)
}

/// Sample rates that the models can be asked to work at.
pub(super) fn check_rate(sample_rate_hz: u32) -> Result<()> {
    if (4_000..=192_000).contains(&sample_rate_hz) {
        return Ok(());
    }
    Err(Error::Config {
        field: "sample_rate_hz".into(),
        expected: "between 4000 and 192000".into(),
        got: sample_rate_hz.to_string(),
    })
}

/// True of a relative path without `..`, drive or root.
pub(crate) fn stays_inside(file: &str) -> bool {
    !file.is_empty() && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Opens a recording whose header says mono, 16 bits, the corpus' rate and at least one sample.
fn open_recording(path: &Path, sample_rate_hz: u32) -> Result<hound::WavReader<io::BufReader<fs::File>>> {
    let bad = |got: String| Error::File {
        path: path.to_owned(),
        expected: format!("a WAV file, mono, 16 bits, {sample_rate_hz} Hz"),
        got,
    };
    let reader = match hound::WavReader::open(path) {
        Ok(reader) => reader,
        Err(hound::Error::IoError(source)) if source.kind() == io::ErrorKind::NotFound => {
            return Err(io_error("read the recording", path, source));
        }
        Err(error) => return Err(bad(error.to_string())),
    };
    let spec = reader.spec();
    let right = spec.channels == 1
        && spec.bits_per_sample == 16
        && spec.sample_format == hound::SampleFormat::Int
        && spec.sample_rate == sample_rate_hz;
    if !right {
        return Err(bad(format!("{} channels, {} bits, {} Hz", spec.channels, spec.bits_per_sample, spec.sample_rate)));
    }
    // The header is only a claim: the file must hold what it promises.
    let promised = u64::from(reader.duration()) * 2;
    let size = fs::metadata(path).map_err(|source| io_error("read the recording", path, source))?.len();
    if promised == 0 || size < promised {
        return Err(bad(format!("{promised} bytes of samples by its header in a file of {size} bytes")));
    }
    Ok(reader)
}

/// An I/O failure with its place.
pub(super) fn io_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{CorpusWriter, NewClip};

    fn ramp(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| n as f32 / samples as f32 - 0.5).collect()
    }

    fn write(dir: &Path) -> Corpus {
        let info = CorpusInfo::new("test", 8000, "a ramp", "none needed");
        let mut writer = CorpusWriter::create(dir, info).unwrap();
        for (index, split) in [Split::Train, Split::HeldOut, Split::Train].into_iter().enumerate() {
            let clip = NewClip::new(format!("clip{index}"), split, format!("track{index}")).caption("a ramp");
            writer.add(clip, &ramp(8000 + index)).unwrap();
        }
        writer.finish().unwrap()
    }

    /// Replaces `from` by `to` in a file of a written corpus and returns what opening it says.
    fn broken(file: &str, from: &str, to: &str) -> String {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("corpus");
        write(&dir);
        let path = dir.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        Corpus::open(&dir).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("corpus");
        let corpus = write(&dir);
        assert_eq!(corpus.sample_rate_hz(), 8000);
        assert_eq!(corpus.split(Split::Train), [0, 2]);
        assert_eq!(corpus.split(Split::HeldOut), [1]);
        assert_eq!(corpus.samples(2), 8002);
        for (read, written) in corpus.audio(1).unwrap().iter().zip(ramp(8001)) {
            assert!((read - written).abs() <= 0.5 / FULL_SCALE + 1e-6, "{read} {written}");
        }
        let again = Corpus::open(&dir).unwrap();
        assert_eq!(again.clips(), corpus.clips());
        assert_eq!(again.info(), corpus.info());
    }

    #[test]
    fn crops_are_parts_of_the_clip_padded_with_silence() {
        let temp = tempfile::tempdir().unwrap();
        let corpus = write(&temp.path().join("corpus"));
        let whole = corpus.audio(0).unwrap();
        assert_eq!(corpus.crop(0, 100, 50).unwrap(), whole[100..150]);
        let tail = corpus.crop(0, 7990, 20).unwrap();
        assert_eq!(tail[..10], whole[7990..]);
        assert_eq!(tail[10..], [0.0; 10]);
        assert_eq!(corpus.crop(0, 9000, 3).unwrap(), [0.0; 3]);
        assert!(corpus.crop(3, 0, 1).is_err());
    }

    #[test]
    fn a_few_clips_stand_for_all() {
        let temp = tempfile::tempdir().unwrap();
        let corpus = write(&temp.path().join("corpus"));
        assert_eq!(corpus.spread(Split::Train, 9), [0, 2]);
        assert_eq!(corpus.spread(Split::Train, 1), [0]);
        assert!(corpus.spread(Split::HeldOut, 0).is_empty());
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(0, 4).count(), 0);
    }

    #[test]
    fn errors_name_file_and_line() {
        let message = broken(CLIPS_FILE, "\"id\":\"clip1\"", "\"id\":\"clip0\"");
        assert!(message.contains("clips.jsonl") && message.contains("line 2"), "{message}");
        let message = broken(CLIPS_FILE, "\"split\":\"heldout\"", "\"split\":\"test\"");
        assert!(message.contains("line 2") && message.contains("test"), "{message}");
        let message = broken(CLIPS_FILE, "audio/clip0.wav", "../clip0.wav");
        assert!(message.contains("line 1") && message.contains("../clip0.wav"), "{message}");
        let message = broken(CLIPS_FILE, "\"track\":\"track1\"", "\"track\":\"track0\"");
        assert!(message.contains("line 2") && message.contains("track0"), "{message}");
        let message = broken(CLIPS_FILE, "\"seconds\":1.0", "\"seconds\":9.0");
        assert!(message.contains("line 1") && message.contains("9.0"), "{message}");
        let message = broken(CLIPS_FILE, "audio/clip2.wav", "audio/clip9.wav");
        assert!(message.contains("clip9.wav"), "{message}");
        let message = broken(CLIPS_FILE, "\"captions\"", "\"subtitles\"");
        assert!(message.contains("subtitles"), "{message}");
        let message = broken(INFO_FILE, "\"format_version\": 1", "\"format_version\": 9");
        assert!(message.contains("corpus.json") && message.contains('9'), "{message}");
        let message = broken(INFO_FILE, "8000", "16000");
        assert!(message.contains("clip0.wav") && message.contains("8000"), "{message}");
    }

    #[test]
    fn a_cut_recording_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("corpus");
        write(&dir);
        let path = dir.join("audio/clip1.wav");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let message = Corpus::open(&dir).unwrap_err().to_string();
        assert!(message.contains("clip1.wav"), "{message}");
        fs::write(&path, b"").unwrap();
        assert!(Corpus::open(&dir).is_err());
    }

    #[test]
    fn a_folder_that_is_no_corpus_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let message = Corpus::open(temp.path()).unwrap_err().to_string();
        assert!(message.contains("corpus.json"), "{message}");
    }
}
