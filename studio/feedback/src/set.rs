//! A folder of records.
//!
//! `set.json` has the version, `clips.jsonl`, `judgements.jsonl` and `ratings.jsonl` one record a line, `audio/` the
//! sounds. Lines are appended and never changed: what was said stays said. A last line that was cut off, as a killed
//! writer leaves it, is set aside with a notice when the set is opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error, Result,
    record::{ClipRecord, JudgementRecord, RatingRecord},
};

const VERSION: u32 = 1;
const INFO: &str = "set.json";
const CLIPS: &str = "clips.jsonl";
const JUDGEMENTS: &str = "judgements.jsonl";
const RATINGS: &str = "ratings.jsonl";

/// The folder of a set that holds its sounds.
pub const AUDIO_DIR: &str = "audio";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    format_version: u32,
}

/// A preference set on disk, all of its records in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceSet {
    path: PathBuf,
    clips: Vec<ClipRecord>,
    places: BTreeMap<String, usize>,
    judgements: Vec<JudgementRecord>,
    ratings: Vec<RatingRecord>,
    notices: Vec<String>,
}

impl PreferenceSet {
    /// Begins a set at `path`, which must not exist or must be empty. Its parents are made.
    ///
    /// # Errors
    /// [`Error::File`] when the folder holds something; [`Error::Io`] when nothing can be written there.
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let mut entries = fs::read_dir(path).map_err(Error::io("read", path))?;
        if entries.next().is_some() {
            let (expected, got) = ("a new or empty folder".into(), "one that holds files".into());
            return Err(Error::File { path: path.into(), expected, got });
        }
        let file = path.join(INFO);
        let info = serde_json::json!({ "format_version": VERSION }).to_string() + "\n";
        fs::write(&file, info).map_err(Error::io("write", &file))?;
        Ok(Self {
            path: path.into(),
            clips: Vec::new(),
            places: BTreeMap::new(),
            judgements: Vec::new(),
            ratings: Vec::new(),
            notices: Vec::new(),
        })
    }

    /// Reads a set and checks every record.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] for another version, [`Error::Record`] naming file and line of what breaks a rule.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(INFO);
        let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let wrong = |got: String| Error::File {
            path: file.clone(),
            expected: format!("{{\"format_version\": {VERSION}}}"),
            got,
        };
        let info: Info = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if info.format_version != VERSION {
            return Err(wrong(format!("version {}", info.format_version)));
        }
        let mut set = Self {
            path: path.into(),
            clips: Vec::new(),
            places: BTreeMap::new(),
            judgements: Vec::new(),
            ratings: Vec::new(),
            notices: Vec::new(),
        };
        // Clips are read last and were written first: where a collection adds to the set meanwhile, what is said is of clips
        // that are there.
        let (judgements, ratings) = (set.read::<JudgementRecord>(JUDGEMENTS)?, set.read::<RatingRecord>(RATINGS)?);
        for (at, clip) in set.read::<ClipRecord>(CLIPS)? {
            set.check_clip(&at, &clip)?;
            set.places.insert(clip.id.clone(), set.clips.len());
            set.clips.push(clip);
        }
        for (at, judgement) in judgements {
            set.check_judgement(&at, &judgement)?;
            set.judgements.push(judgement);
        }
        for (at, rating) in ratings {
            set.check_rating(&at, &rating)?;
            set.ratings.push(rating);
        }
        Ok(set)
    }

    /// The records of a file, each with where it stands. A file that is not there has none.
    fn read<R: DeserializeOwned>(&mut self, name: &str) -> Result<Vec<(String, R)>> {
        let file = self.path.join(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &file)(error)),
        };
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        if complete < text.len() {
            self.notices.push(format!("{}: the last line was cut off and is left out", file.display()));
        }
        let mut records = Vec::new();
        for (index, line) in text[..complete].lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let at = format!("{}:{}", file.display(), index + 1);
            let record = serde_json::from_str(line).map_err(|error| Error::File {
                path: file.clone(),
                expected: format!("a record at line {}", index + 1),
                got: error.to_string(),
            })?;
            records.push((at, record));
        }
        Ok(records)
    }

    fn check_clip(&self, at: &str, clip: &ClipRecord) -> Result<()> {
        clip.validate(at)?;
        if self.places.contains_key(&clip.id) {
            return Err(Error::record(at, "id", "an id of its own", format!("{:?} again", clip.id)));
        }
        Ok(())
    }

    fn check_judgement(&self, at: &str, judgement: &JudgementRecord) -> Result<()> {
        judgement.validate(at)?;
        for (field, id) in [("a", &judgement.a), ("b", &judgement.b)] {
            self.known(at, field, id)?;
        }
        Ok(())
    }

    fn check_rating(&self, at: &str, rating: &RatingRecord) -> Result<()> {
        rating.validate(at)?;
        self.known(at, "clip", &rating.clip)
    }

    fn known(&self, at: &str, field: &'static str, id: &str) -> Result<()> {
        if self.places.contains_key(id) {
            return Ok(());
        }
        Err(Error::record(at, field, "the id of a clip of the set", format!("{id:?}")))
    }

    /// Adds clips. All are checked before any is written.
    ///
    /// # Errors
    /// [`Error::Record`] for one that breaks a rule; [`Error::Io`].
    pub fn add_clips(&mut self, clips: Vec<ClipRecord>) -> Result<()> {
        let mut ids = BTreeSet::new();
        for (index, clip) in clips.iter().enumerate() {
            let at = format!("new clip {index}");
            self.check_clip(&at, clip)?;
            if !ids.insert(&clip.id) {
                return Err(Error::record(&at, "id", "an id of its own", format!("{:?} again", clip.id)));
            }
        }
        self.append(CLIPS, &clips)?;
        for clip in clips {
            self.places.insert(clip.id.clone(), self.clips.len());
            self.clips.push(clip);
        }
        Ok(())
    }

    /// Adds judgements. All are checked before any is written.
    ///
    /// # Errors
    /// As [`PreferenceSet::add_clips`].
    pub fn add_judgements(&mut self, judgements: Vec<JudgementRecord>) -> Result<()> {
        for (index, judgement) in judgements.iter().enumerate() {
            self.check_judgement(&format!("new judgement {index}"), judgement)?;
        }
        self.append(JUDGEMENTS, &judgements)?;
        self.judgements.extend(judgements);
        Ok(())
    }

    /// Adds ratings. All are checked before any is written.
    ///
    /// # Errors
    /// As [`PreferenceSet::add_clips`].
    pub fn add_ratings(&mut self, ratings: Vec<RatingRecord>) -> Result<()> {
        for (index, rating) in ratings.iter().enumerate() {
            self.check_rating(&format!("new rating {index}"), rating)?;
        }
        self.append(RATINGS, &ratings)?;
        self.ratings.extend(ratings);
        Ok(())
    }

    /// Appends lines and waits until they are on the disk. What an earlier writer left unfinished is cut off first.
    fn append<R: Serialize>(&self, name: &str, records: &[R]) -> Result<()> {
        let file = self.path.join(name);
        let mut lines = String::new();
        for record in records {
            lines += &serde_json::to_string(record).map_err(|error| Error::File {
                path: file.clone(),
                expected: "records that JSON can hold".into(),
                got: error.to_string(),
            })?;
            lines.push('\n');
        }
        if let Ok(text) = fs::read(&file)
            && !text.is_empty()
            && text.last() != Some(&b'\n')
        {
            let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let open = fs::OpenOptions::new().write(true).open(&file).map_err(Error::io("write", &file))?;
            open.set_len(complete as u64).map_err(Error::io("write", &file))?;
        }
        let mut out =
            fs::OpenOptions::new().create(true).append(true).open(&file).map_err(Error::io("write", &file))?;
        out.write_all(lines.as_bytes()).and_then(|()| out.sync_all()).map_err(Error::io("write", &file))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All clips, in the order in which they came.
    #[must_use]
    pub fn clips(&self) -> &[ClipRecord] {
        &self.clips
    }

    /// The clip of that id.
    #[must_use]
    pub fn clip(&self, id: &str) -> Option<&ClipRecord> {
        self.places.get(id).and_then(|place| self.clips.get(*place))
    }

    /// All judgements, those that do not count included.
    #[must_use]
    pub fn judgements(&self) -> &[JudgementRecord] {
        &self.judgements
    }

    /// All ratings.
    #[must_use]
    pub fn ratings(&self) -> &[RatingRecord] {
        &self.ratings
    }

    /// What was wrong with the files and could be left out.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

#[cfg(test)]
mod tests {
    use musicrl_core::preference::Outcome;

    use super::*;
    use crate::record::Source;

    fn filled(folder: &Path) -> PreferenceSet {
        let mut set = PreferenceSet::create(&folder.join("set")).unwrap();
        let clips = ["a", "b", "c"].map(|id| ClipRecord::new(id, "a waltz", "base"));
        set.add_clips(clips.to_vec()).unwrap();
        let pair = JudgementRecord::new("a", "b", Outcome::BetterA, "anna", Source::Human);
        set.add_judgements(vec![pair]).unwrap();
        let rating = RatingRecord { clip: "c".into(), rating: 4.0, rater: "anna".into(), source: Source::Human };
        set.add_ratings(vec![rating]).unwrap();
        set
    }

    #[test]
    fn a_set_can_be_read_while_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set");
        let mut set = PreferenceSet::create(&path).unwrap();
        let writer = std::thread::spawn(move || {
            for n in 0..300 {
                let ids = [format!("{n}-a"), format!("{n}-b")];
                set.add_clips(ids.iter().map(|id| ClipRecord::new(id, "a waltz", "base")).collect()).unwrap();
                let [a, b] = ids;
                let said = JudgementRecord::new(a, b, Outcome::BetterA, "anna", Source::Human);
                set.add_judgements(vec![said]).unwrap();
            }
        });
        let mut read = 0;
        while !writer.is_finished() {
            let set = PreferenceSet::open(&path).unwrap();
            assert!(set.clips().len() >= 2 * set.judgements().len());
            read += 1;
        }
        writer.join().unwrap();
        assert!(read > 0);
        assert_eq!(PreferenceSet::open(&path).unwrap().judgements().len(), 300);
    }

    #[test]
    fn what_was_added_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut set = filled(folder.path());
        assert_eq!(PreferenceSet::open(set.path()).unwrap(), set);
        let pair = JudgementRecord::new("c", "b", Outcome::Tie, "ben", Source::Human);
        set.add_judgements(vec![pair]).unwrap();
        let again = PreferenceSet::open(set.path()).unwrap();
        assert_eq!(again.judgements().len(), 2);
        assert_eq!(again.clip("b").unwrap().caption, "a waltz");
        assert!(again.clip("d").is_none());
        assert!(matches!(PreferenceSet::create(set.path()), Err(Error::File { .. })));
    }

    #[test]
    fn a_batch_with_a_bad_record_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut set = filled(folder.path());
        let before = fs::read(set.path().join(CLIPS)).unwrap();
        let clip = |id: &str| ClipRecord::new(id, "", "base");
        assert!(set.add_clips(vec![clip("d"), clip("a")]).is_err());
        assert!(set.add_clips(vec![clip("d"), clip("d")]).is_err());
        let pair = |b: &str| JudgementRecord::new("a", b, Outcome::Tie, "l", Source::Human);
        assert!(set.add_judgements(vec![pair("b"), pair("nobody")]).is_err());
        let rating = RatingRecord { clip: "nobody".into(), rating: 3.0, rater: "l".into(), source: Source::Human };
        assert!(set.add_ratings(vec![rating]).is_err());
        assert_eq!(fs::read(set.path().join(CLIPS)).unwrap(), before);
        assert_eq!(PreferenceSet::open(set.path()).unwrap(), set);
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let set = filled(folder.path());
        let file = set.path().join(JUDGEMENTS);
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, whole.clone() + &whole[..20]).unwrap();
        let mut again = PreferenceSet::open(set.path()).unwrap();
        assert_eq!(again.judgements(), set.judgements());
        assert_eq!(again.notices().len(), 1);
        let pair = JudgementRecord::new("b", "c", Outcome::Tie, "l", Source::Human);
        again.add_judgements(vec![pair]).unwrap();
        let third = PreferenceSet::open(set.path()).unwrap();
        assert_eq!((third.judgements().len(), third.notices().len()), (2, 0));
    }

    #[test]
    fn bad_files_are_named_with_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let set = filled(folder.path());
        let check = |name: &str, text: &str, expected: &str| {
            let file = set.path().join(name);
            let before = fs::read(&file).unwrap();
            fs::write(&file, text).unwrap();
            let error = PreferenceSet::open(set.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name), "{error}");
            fs::write(&file, before).unwrap();
        };
        check(INFO, "{\"format_version\":2}", "version 2");
        check(INFO, "{}", "format_version");
        check(CLIPS, "\n{\"id\":\"a\"}\n", "line 2");
        check(CLIPS, "{\"id\":\"a\",\"caption\":\"\",\"system\":\"\",\"extra\":1}\n", "extra");
        check(RATINGS, "{\"clip\":\"c\",\"rating\":9,\"rater\":\"\",\"source\":{\"kind\":\"human\"}}\n", ":1");
        check(RATINGS, "{\"clip\":\"z\",\"rating\":3,\"rater\":\"\",\"source\":{\"kind\":\"human\"}}\n", "\"z\"");
        check(RATINGS, "{\"clip\":\"c\",\"rating\":1e999,\"rater\":\"\",\"source\":{\"kind\":\"human\"}}\n", "line 1");
        assert!(PreferenceSet::open(&folder.path().join("nothing")).is_err());
    }
}
