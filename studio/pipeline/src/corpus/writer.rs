//! Writing a corpus folder: aside first, then renamed, so that a corpus is there whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    corpus::{
        Clip, Corpus, CorpusInfo, Split,
        store::{AUDIO_DIR, CLIPS_FILE, FORMAT_VERSION, FULL_SCALE, INFO_FILE, check_rate, io_error},
    },
};

/// A clip to be written: what [`Clip`] says, less what follows from the audio.
#[derive(Debug, Clone, PartialEq)]
pub struct NewClip {
    /// Unique in the corpus; also the file's name, so letters, digits, `-`, `_` and `.` only.
    pub id: String,
    /// What the clip sounds like; may be empty.
    pub captions: Vec<String>,
    /// Part of the corpus.
    pub split: Split,
    /// The recording it was cut from.
    pub track: String,
    /// Known facts.
    pub attributes: BTreeMap<String, String>,
}

impl NewClip {
    /// A clip without captions and attributes.
    pub fn new(id: impl Into<String>, split: Split, track: impl Into<String>) -> Self {
        Self { id: id.into(), captions: Vec::new(), split, track: track.into(), attributes: BTreeMap::new() }
    }

    /// Adds a caption.
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.captions.push(caption.into());
        self
    }
}

/// Writes a corpus. Dropped without [`CorpusWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct CorpusWriter {
    target: PathBuf,
    aside: PathBuf,
    info: CorpusInfo,
    list: io::BufWriter<fs::File>,
    ids: BTreeSet<String>,
    track_splits: BTreeMap<String, Split>,
    finished: bool,
}

impl CorpusWriter {
    /// Begins a corpus at `dir`, which must not exist or must be empty. Its parents are made.
    ///
    /// # Errors
    /// When `dir` holds something, the description breaks a rule, or nothing can be written there.
    pub fn create(dir: impl AsRef<Path>, info: CorpusInfo) -> Result<Self> {
        check_rate(info.sample_rate_hz)?;
        let target = dir.as_ref().to_owned();
        let occupied = match fs::read_dir(&target) {
            Ok(mut entries) => entries.next().is_some(),
            Err(source) if source.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(io_error("write a corpus to", &target, source)),
        };
        let Some(name) = target.file_name().filter(|_| !occupied) else {
            return Err(Error::File {
                path: target,
                expected: "a new or empty folder".into(),
                got: if occupied { "one that holds files".into() } else { "a path without a name".into() },
            });
        };
        let aside = target.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        fs::create_dir_all(aside.join(AUDIO_DIR)).map_err(|source| io_error("write a corpus to", &aside, source))?;
        let path = aside.join(CLIPS_FILE);
        let list = match fs::File::create(&path) {
            Ok(file) => io::BufWriter::new(file),
            Err(source) => {
                // The first error is the one to tell.
                let _ = fs::remove_dir_all(&aside);
                return Err(io_error("write the list of clips", &path, source));
            }
        };
        Ok(Self {
            target,
            aside,
            info: CorpusInfo { format_version: FORMAT_VERSION, ..info },
            list,
            ids: BTreeSet::new(),
            track_splits: BTreeMap::new(),
            finished: false,
        })
    }

    /// How many clips were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True before the first clip.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds a clip with its samples, full scale at 1; what exceeds full scale is clipped.
    ///
    /// # Errors
    /// When the clip is empty or not finite, its id was used or cannot be a file's name, its track is in another
    /// split already, or it cannot be written. The corpus is as it was before.
    pub fn add(&mut self, clip: NewClip, audio: &[f32]) -> Result<()> {
        let file = format!("{AUDIO_DIR}/{}.wav", clip.id);
        let path = self.aside.join(&file);
        let refused = |expected: &str, got: String| {
            Err(Error::Config { field: format!("clip `{}`", clip.id), expected: expected.into(), got })
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if clip.id.is_empty() || clip.id.len() > 200 || clip.id.starts_with('.') || !clip.id.chars().all(plain) {
            return refused("named by at most 200 letters, digits, `-`, `_`, `.`", "its id".into());
        }
        if self.ids.contains(&clip.id) {
            return refused("the only one of its id", "a second".into());
        }
        if self.track_splits.get(&clip.track).is_some_and(|&split| split != clip.split) {
            return refused("in the split of its track", format!("{} for track `{}`", clip.split.name(), clip.track));
        }
        if audio.is_empty() {
            return refused("at least one sample long", "none".into());
        }
        if let Some(at) = audio.iter().position(|sample| !sample.is_finite()) {
            return refused("finite samples", format!("{} at sample {at}", audio[at]));
        }
        write_recording(&path, self.info.sample_rate_hz, audio)?;
        let entry = Clip {
            seconds: audio.len() as f64 / f64::from(self.info.sample_rate_hz),
            id: clip.id,
            file,
            captions: clip.captions,
            split: clip.split,
            track: clip.track,
            attributes: clip.attributes,
        };
        let list = self.aside.join(CLIPS_FILE);
        let line = serde_json::to_string(&entry)
            .map_err(|error| io_error("write the list of clips", &list, io::Error::other(error)))?;
        writeln!(self.list, "{line}").map_err(|source| io_error("write the list of clips", &list, source))?;
        self.track_splits.insert(entry.track, entry.split);
        self.ids.insert(entry.id);
        Ok(())
    }

    /// Puts every clip into the part that its track has in `splits`; tracks that are not there stay where they are.
    /// For makers that know the parts only when all tracks are written.
    ///
    /// # Errors
    /// When the list of clips cannot be read back or written.
    pub fn assign_splits(&mut self, splits: &BTreeMap<String, Split>) -> Result<()> {
        let path = self.aside.join(CLIPS_FILE);
        let failed = |source| io_error("write the list of clips", &path, source);
        self.list.flush().map_err(failed)?;
        let mut lines = String::new();
        for line in fs::read_to_string(&path).map_err(failed)?.lines() {
            let mut clip: Clip = serde_json::from_str(line).map_err(|error| failed(io::Error::other(error)))?;
            clip.split = splits.get(&clip.track).copied().unwrap_or(clip.split);
            lines += &serde_json::to_string(&clip).map_err(|error| failed(io::Error::other(error)))?;
            lines.push('\n');
        }
        let mut list = fs::File::create(&path).map_err(failed)?;
        list.write_all(lines.as_bytes()).map_err(failed)?;
        self.list = io::BufWriter::new(list);
        for (track, split) in &mut self.track_splits {
            *split = splits.get(track).copied().unwrap_or(*split);
        }
        Ok(())
    }

    /// Adds a text file beside the lists, such as notes on what was left out.
    ///
    /// # Errors
    /// When the name is one of the corpus' own or not plain, or the file cannot be written.
    pub fn add_text(&mut self, name: &str, text: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let own = [CLIPS_FILE, INFO_FILE, AUDIO_DIR].contains(&name);
        if own || name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(Error::Config {
                field: format!("file `{name}`"),
                expected: "named by letters, digits, `-`, `_`, `.`, and not one of the corpus' own files".into(),
                got: "its name".into(),
            });
        }
        let path = self.aside.join(name);
        fs::write(&path, text).map_err(|source| io_error("write", &path, source))
    }

    /// Ends the corpus, puts it in its place and opens it.
    ///
    /// # Errors
    /// When there is no clip, or the folder cannot be written or put in place.
    pub fn finish(mut self) -> Result<Corpus> {
        let list = self.aside.join(CLIPS_FILE);
        self.list
            .flush()
            .and_then(|()| self.list.get_ref().sync_all())
            .map_err(|source| io_error("write the list of clips", &list, source))?;
        let path = self.aside.join(INFO_FILE);
        serde_json::to_string_pretty(&self.info)
            .map_err(io::Error::other)
            .and_then(|text| {
                let mut file = fs::File::create(&path)?;
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_all()
            })
            .map_err(|source| io_error("write the corpus description", &path, source))?;
        // Read back what will be used, before it takes the place of anything.
        Corpus::open(&self.aside)?;
        if self.target.is_dir() {
            fs::remove_dir(&self.target).map_err(|source| io_error("replace the empty", &self.target, source))?;
        }
        fs::rename(&self.aside, &self.target).map_err(|source| io_error("put in place", &self.target, source))?;
        self.finished = true;
        Corpus::open(&self.target)
    }
}

impl Drop for CorpusWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Nobody is left to tell of a failure.
            let _ = fs::remove_dir_all(&self.aside);
        }
    }
}

/// Writes mono 16-bit WAV.
fn write_recording(path: &Path, sample_rate_hz: u32, audio: &[f32]) -> Result<()> {
    let failed = |error: hound::Error| {
        let source = match error {
            hound::Error::IoError(source) => source,
            other => io::Error::other(other.to_string()),
        };
        io_error("write the recording", path, source)
    };
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: sample_rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).map_err(failed)?;
    // hound takes 16-bit blocks of fewer than 2^31 samples; a second at a time keeps its buffer small.
    for block in audio.chunks(1 << 16) {
        let mut block_writer = writer.get_i16_writer(block.len() as u32);
        for sample in block {
            block_writer.write_sample((sample.clamp(-1.0, 1.0) * FULL_SCALE).round() as i16);
        }
        block_writer.flush().map_err(failed)?;
    }
    writer.finalize().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> CorpusInfo {
        CorpusInfo::new("test", 8000, "a test", "none needed")
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(temp.path().join("corpus"), info()).unwrap();
        writer.add(NewClip::new("a", Split::Train, "a"), &[0.0; 10]).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        drop(writer);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn bad_clips_are_refused_and_the_rest_goes_on() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(temp.path().join("deep/corpus"), info()).unwrap();
        writer.add(NewClip::new("a", Split::Train, "t"), &[2.0, -2.0]).unwrap();
        for (id, track, split, audio) in [
            ("a", "t", Split::Train, &[0.0][..]),
            ("../b", "t", Split::Train, &[0.0]),
            ("", "t", Split::Train, &[0.0]),
            ("b", "t", Split::HeldOut, &[0.0]),
            ("b", "u", Split::Train, &[]),
            ("b", "u", Split::Train, &[0.0, f32::NAN]),
        ] {
            assert!(writer.add(NewClip::new(id, split, track), audio).is_err(), "{id} {track} {split:?}");
        }
        let corpus = writer.finish().unwrap();
        assert_eq!(corpus.clips().len(), 1);
        assert_eq!(corpus.audio(0).unwrap(), [1.0, -1.0]);
    }

    #[test]
    fn an_occupied_folder_and_an_empty_corpus_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("mine"), "kept").unwrap();
        assert!(CorpusWriter::create(temp.path(), info()).is_err());
        assert!(CorpusWriter::create(temp.path().join("mine"), info()).is_err());
        let writer = CorpusWriter::create(temp.path().join("corpus"), info()).unwrap();
        assert!(writer.finish().is_err());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn parts_can_be_assigned_when_all_tracks_are_known() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(temp.path().join("corpus"), info()).unwrap();
        for (id, track) in [("a", "t"), ("b", "u"), ("c", "t")] {
            writer.add(NewClip::new(id, Split::Train, track), &[0.5]).unwrap();
        }
        writer.assign_splits(&BTreeMap::from([("t".into(), Split::HeldOut)])).unwrap();
        assert!(writer.add(NewClip::new("d", Split::Train, "t"), &[0.5]).is_err(), "its track is held out now");
        writer.add(NewClip::new("e", Split::Train, "u"), &[0.5]).unwrap();
        writer.add_text("notes.txt", "kept").unwrap();
        assert!(writer.add_text(CLIPS_FILE, "").is_err() && writer.add_text("../x", "").is_err());
        let corpus = writer.finish().unwrap();
        assert_eq!(corpus.split(Split::HeldOut), [0, 2]);
        assert_eq!(corpus.split(Split::Train), [1, 3]);
        assert_eq!(fs::read_to_string(corpus.dir().join("notes.txt")).unwrap(), "kept");
    }

    #[test]
    fn a_bad_rate_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let info = CorpusInfo::new("test", 1, "a test", "none needed");
        assert!(CorpusWriter::create(temp.path().join("corpus"), info).is_err());
    }
}
