//! Import: a folder of recordings becomes a corpus.
//!
//! Every audio file under the folder is decoded, mixed to mono, resampled, brought to one loudness, cut into segments
//! if asked, and written with its captions ([`captions`] from a file, else [`wording`] from its tags or name and from
//! what is [`measured`]). A file
//! that cannot be used is named with its reason in `set_aside.jsonl` and in the report; the import goes on. Tracks,
//! never clips, are divided into training and held-out parts, by the keyed generator. The result does not depend on
//! the number of threads, and appears whole or not at all.

pub mod captions;
pub mod measured;
mod settings;
mod sound;
mod walk;
pub mod wording;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use musicrl_core::random::{Key, Purpose};
use serde::{Deserialize, Serialize};

pub use settings::ImportSettings;

use self::{
    captions::CaptionTable,
    sound::{Piece, Recording, prepare},
    walk::Candidate,
};
use super::{Corpus, CorpusInfo, CorpusWriter, NewClip, Split, store::INFO_FILE};
use crate::{Error, Result};

/// The list of files that were not used, beside `clips.jsonl`.
pub const SET_ASIDE_FILE: &str = "set_aside.jsonl";

/// A file that was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAside {
    /// Relative to the imported folder, with `/` between its parts.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Where captions came from, in clips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptionSources {
    /// The captions file.
    pub file: usize,
    /// Tags in the recording.
    pub tags: usize,
    /// The recording's name.
    pub name: usize,
}

/// What happened to one file.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Files done, this one included.
    pub done: usize,
    /// Files in all.
    pub total: usize,
    /// The file, relative to the folder.
    pub file: &'a str,
    /// Clips that it gave, or why it was set aside.
    pub outcome: std::result::Result<usize, &'a str>,
}

/// The end of an import.
#[derive(Debug, Clone)]
pub struct ImportReport {
    /// The corpus that was written.
    pub corpus: Corpus,
    /// Recordings that were used.
    pub recordings: usize,
    /// Clips that were written.
    pub clips: usize,
    /// Their length together.
    pub seconds: f64,
    /// Tracks in the training part.
    pub train_tracks: usize,
    /// Tracks in the held-out part.
    pub heldout_tracks: usize,
    /// Segments left out because they are silent.
    pub silent_segments: usize,
    /// Where captions came from.
    pub captions: CaptionSources,
    /// Files that were not used, with reasons.
    pub set_aside: Vec<SetAside>,
    /// Other files in the folder: no audio by their names.
    pub ignored: usize,
}

impl std::fmt::Display for ImportReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "imported {} recordings as {} clips ({:.1} minutes): {} tracks to learn from, {} held out; \
             {} files set aside, {} other files ignored",
            self.recordings,
            self.clips,
            self.seconds / 60.0,
            self.train_tracks,
            self.heldout_tracks,
            self.set_aside.len(),
            self.ignored
        )
    }
}

/// Imports the recordings under `source` as a corpus at `target`. `progress` is told of every file in order and may
/// stop the import.
///
/// # Errors
/// When settings or the captions file break a rule, `target` is occupied (unless [`ImportSettings::replace`] is set and
/// it holds a corpus), nothing can be written, no file could be used, or `progress` says stop
/// ([`Error::Interrupted`]). Whatever stood at `target` is then untouched.
pub fn import(
    source: &Path,
    target: &Path,
    settings: &ImportSettings,
    mut progress: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<ImportReport> {
    settings.validate()?;
    let place = Place::choose(target, settings.replace)?;
    let table = CaptionTable::find(source, settings.captions.as_deref())?;
    let walk::Walk { candidates, mut set_aside, ignored } = walk::walk(source, &table, target)?;

    let name = source.file_name().map_or("recordings".into(), |name| name.to_string_lossy());
    let name = settings.name.clone().unwrap_or_else(|| name.clone().into_owned());
    let record = serde_json::to_value(settings).unwrap_or_default();
    let info =
        CorpusInfo::new(&name, settings.sample_rate_hz, "imported recordings", &settings.licence).with_settings(record);
    let mut writer = CorpusWriter::create(&place.write_to, info)?;
    let mut tally = Tally::default();

    let total = candidates.len();
    in_order(
        &candidates,
        settings.threads.max(1),
        |candidate| prepare(candidate, settings),
        |index, outcome| {
            let candidate = &candidates[index];
            let done = index + 1;
            let file = candidate.name.as_str();
            let outcome = match outcome {
                Ok(recording) => Ok(tally.add(&mut writer, candidate, &table, recording)?),
                Err(reason) => {
                    set_aside.push(SetAside { path: file.into(), reason: reason.clone() });
                    Err(reason)
                }
            };
            let outcome = outcome.as_ref().map(|&clips| clips).map_err(String::as_str);
            match progress(&Progress { done, total, file, outcome }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Error::Interrupted),
            }
        },
    )?;

    if writer.is_empty() {
        let reason = set_aside.first().map_or("it holds no audio file".into(), |first| {
            format!("{} files were set aside, the first, {}: {}", set_aside.len(), first.path, first.reason)
        });
        return Err(Error::File {
            path: source.into(),
            expected: "a folder with at least one usable recording".into(),
            got: reason,
        });
    }
    set_aside.sort_by(|a, b| a.path.cmp(&b.path));
    let splits = assign_splits(&tally.tracks, settings);
    writer.assign_splits(&splits)?;
    let lines: String =
        set_aside.iter().filter_map(|entry| serde_json::to_string(entry).ok()).map(|line| line + "\n").collect();
    writer.add_text(SET_ASIDE_FILE, &lines)?;
    let corpus = writer.finish()?;
    let corpus = place.put(corpus)?;
    let heldout_tracks = splits.values().filter(|&&split| split == Split::HeldOut).count();
    Ok(ImportReport {
        recordings: tally.recordings,
        clips: corpus.clips().len(),
        seconds: corpus.clips().iter().map(|clip| clip.seconds).sum(),
        train_tracks: splits.len() - heldout_tracks,
        heldout_tracks,
        silent_segments: tally.silent_segments,
        captions: tally.captions,
        set_aside,
        ignored,
        corpus,
    })
}

/// What was written so far.
#[derive(Default)]
struct Tally {
    /// Every track with the split that the captions file demands.
    tracks: BTreeMap<String, Option<Split>>,
    ids: BTreeSet<String>,
    recordings: usize,
    silent_segments: usize,
    captions: CaptionSources,
}

impl Tally {
    /// Writes the clips of one recording; returns how many.
    fn add(
        &mut self,
        writer: &mut CorpusWriter,
        candidate: &Candidate,
        table: &CaptionTable,
        recording: Recording,
    ) -> Result<usize> {
        let row = table.row(&candidate.name);
        let track = row.and_then(|row| row.track.clone()).unwrap_or_else(|| candidate.name.clone());
        let written = row.map(|row| row.captions.clone()).unwrap_or_default();
        let has_tags = !wording::of_tags(&recording.tags, &[]).is_empty();
        let source = match (written.is_empty(), has_tags) {
            (false, _) => &mut self.captions.file,
            (true, true) => &mut self.captions.tags,
            (true, false) => &mut self.captions.name,
        };
        *source += recording.pieces.len();
        let mut attributes = wording::attributes(&recording.tags);
        attributes.insert("source_rate_hz".into(), recording.source_rate_hz.to_string());
        if let Some(row) = row {
            attributes.extend(row.attributes.clone());
        }
        let wanted = self.tracks.entry(track.clone()).or_default();
        *wanted = wanted.or(row.and_then(|row| row.split));

        let stem = self.unused_id(&candidate.name);
        let clips = recording.pieces.len();
        for (index, Piece { start_seconds, samples, measured }) in recording.pieces.into_iter().enumerate() {
            let id = if recording.segmented { format!("{stem}_{index:04}") } else { stem.clone() };
            let captions = match (written.is_empty(), has_tags) {
                (false, _) => written.clone(),
                (true, true) => wording::of_tags(&recording.tags, &measured.words),
                (true, false) => wording::of_name(&candidate.name, &measured.words),
            };
            let mut attributes = attributes.clone();
            for (attribute, value) in measured.attributes {
                attributes.entry(attribute.into()).or_insert_with(|| value.into());
            }
            attributes.insert("source_file".into(), candidate.name.clone());
            attributes.insert("start_seconds".into(), start_seconds.to_string());
            // The part is decided when all tracks are known.
            let clip =
                NewClip { id, captions: captions.clone(), split: Split::Train, track: track.clone(), attributes };
            writer.add(clip, &samples)?;
        }
        self.recordings += 1;
        self.silent_segments += recording.silent_segments;
        Ok(clips)
    }

    /// A file name made of the recording's name, different from all before.
    fn unused_id(&mut self, name: &str) -> String {
        const ID_CHARS_MAX: usize = 100;
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let mut slug = String::new();
        for c in stem.chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.truncate(ID_CHARS_MAX);
        let slug = slug.trim_matches('-');
        let slug = if slug.is_empty() { "track" } else { slug };
        let numbered = (2..).map(|n| format!("{slug}-{n}"));
        let id = std::iter::once(slug.to_owned()).chain(numbered).find(|id| !self.ids.contains(id));
        // The numbers do not end.
        let id = id.unwrap_or_default();
        self.ids.insert(id.clone());
        id
    }
}

/// Divides tracks: those whose keyed number is smallest are held out. A track's number depends on the seed and its
/// name alone, so a track more or less moves few others. Of two or more tracks at least one is in each part, if
/// anything is to be held out at all.
fn assign_splits(tracks: &BTreeMap<String, Option<Split>>, settings: &ImportSettings) -> BTreeMap<String, Split> {
    let key = Key::new(settings.seed, Purpose::Split);
    let mut free: Vec<(f64, &String)> = tracks
        .iter()
        .filter(|(_, wanted)| wanted.is_none())
        .map(|(track, _)| (key.clip(name_hash(track)).uniform(0), track))
        .collect();
    free.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    let wanted = |split| tracks.values().filter(|&&wanted| wanted == Some(split)).count();
    let heldout = if settings.heldout_share == 0.0 || tracks.len() < 2 {
        0
    } else {
        let goal = (settings.heldout_share * tracks.len() as f64).round() as usize;
        // One track stays on each side, counting those that were demanded.
        let most = free.len().saturating_sub(usize::from(wanted(Split::Train) == 0));
        goal.max(1).saturating_sub(wanted(Split::HeldOut)).min(most)
    };
    let mut splits: BTreeMap<String, Split> =
        tracks.iter().filter_map(|(track, wanted)| wanted.map(|split| (track.clone(), split))).collect();
    for (rank, (_, track)) in free.into_iter().enumerate() {
        splits.insert(track.clone(), if rank < heldout { Split::HeldOut } else { Split::Train });
    }
    splits
}

/// FNV-1a: a name as a number, the same on every machine.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Applies `work` to all items on `threads` threads and hands the results to `take` in the order of the items. At most
/// three results a thread are in memory.
fn in_order<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(usize, R) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let queues: Vec<mpsc::Receiver<R>> = (0..threads)
            .map(|first| {
                let (sender, receiver) = mpsc::sync_channel(1);
                let work = &work;
                scope.spawn(move || {
                    for item in items.iter().skip(first).step_by(threads) {
                        // The receiver is gone when the import has stopped.
                        if sender.send(work(item)).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        for index in 0..items.len() {
            let Ok(result) = queues[index % threads].recv() else {
                return Err(Error::Codec(format!("the import of item {index} did not end")));
            };
            take(index, result)?;
        }
        Ok(())
    })
}

/// Where the corpus is written, and where it belongs.
struct Place {
    target: PathBuf,
    write_to: PathBuf,
    replaces: bool,
}

impl Place {
    fn choose(target: &Path, replace: bool) -> Result<Self> {
        let occupied = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
        if occupied && !replace {
            return Err(Error::File {
                path: target.into(),
                expected: "a new or empty folder, or leave to replace it".into(),
                got: "one that holds files".into(),
            });
        }
        // Nothing but a corpus is ever removed.
        if occupied && !target.join(INFO_FILE).is_file() {
            return Err(Error::File {
                path: target.into(),
                expected: "a corpus to replace".into(),
                got: format!("a folder without {INFO_FILE}"),
            });
        }
        let aside = |ending: &str| {
            let name = target.file_name().unwrap_or_default().to_string_lossy();
            target.with_file_name(format!(".{name}.{}.{ending}", std::process::id()))
        };
        let write_to = if occupied { aside("new") } else { target.to_owned() };
        Ok(Self { target: target.to_owned(), write_to, replaces: occupied })
    }

    /// Puts a corpus that was written beside an older one in its place.
    fn put(self, corpus: Corpus) -> Result<Corpus> {
        if !self.replaces {
            return Ok(corpus);
        }
        let old = self.write_to.with_extension("old");
        fs::rename(&self.target, &old).map_err(Error::io("move aside the corpus", &self.target))?;
        if let Err(source) = fs::rename(&self.write_to, &self.target) {
            // Back to what was there.
            let _ = fs::rename(&old, &self.target);
            return Err(Error::io("put in place the corpus", &self.target)(source));
        }
        fs::remove_dir_all(&old).map_err(Error::io("remove the former corpus", &old))?;
        Corpus::open(&self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks(count: usize) -> BTreeMap<String, Option<Split>> {
        (0..count).map(|i| (format!("song {i}.ogg"), None)).collect()
    }

    fn heldout(splits: &BTreeMap<String, Split>) -> Vec<&str> {
        splits.iter().filter(|(_, split)| **split == Split::HeldOut).map(|(track, _)| track.as_str()).collect()
    }

    #[test]
    fn splits_keep_their_share_and_both_parts_are_filled() {
        let settings = ImportSettings { heldout_share: 0.1, seed: 3, ..ImportSettings::default() };
        for (count, expected) in [(1, 0), (2, 1), (4, 1), (40, 4), (100, 10)] {
            assert_eq!(heldout(&assign_splits(&tracks(count), &settings)).len(), expected, "{count} tracks");
        }
        let all = ImportSettings { heldout_share: 0.9, ..settings.clone() };
        assert_eq!(heldout(&assign_splits(&tracks(3), &all)).len(), 2, "one stays to learn from");
        let none = ImportSettings { heldout_share: 0.0, ..settings.clone() };
        assert!(heldout(&assign_splits(&tracks(9), &none)).is_empty());
        let other = ImportSettings { seed: 4, ..settings.clone() };
        assert_ne!(heldout(&assign_splits(&tracks(100), &settings)), heldout(&assign_splits(&tracks(100), &other)));
    }

    #[test]
    fn a_track_more_moves_at_most_one() {
        let settings = ImportSettings { heldout_share: 0.2, ..ImportSettings::default() };
        let (few, many) = (assign_splits(&tracks(50), &settings), assign_splits(&tracks(51), &settings));
        let moved = few.iter().filter(|(track, split)| many[*track] != **split).count();
        assert!(moved <= 1, "{moved}");
    }

    #[test]
    fn demanded_splits_are_kept() {
        let settings = ImportSettings { heldout_share: 0.5, ..ImportSettings::default() };
        let mut tracks = tracks(4);
        tracks.insert("a".into(), Some(Split::HeldOut));
        tracks.insert("b".into(), Some(Split::HeldOut));
        tracks.insert("c".into(), Some(Split::HeldOut));
        let splits = assign_splits(&tracks, &settings);
        assert_eq!(heldout(&splits).len(), 4);
        assert!(["a", "b", "c"].iter().all(|track| splits[*track] == Split::HeldOut));
    }

    #[test]
    fn ids_are_plain_and_differ() {
        let mut tally = Tally::default();
        let names = ["A b/Çedille (1).ogg", "a-b/edille-1.wav", "ÄÖ.mp3", "ß.mp3", "x.y.flac"];
        let ids: Vec<String> = names.iter().map(|name| tally.unused_id(name)).collect();
        assert_eq!(ids, ["a-b-edille-1", "a-b-edille-1-2", "track", "track-2", "x-y"]);
    }

    #[test]
    fn work_is_taken_in_order_and_stops_when_told() {
        let items: Vec<usize> = (0..50).collect();
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let end = in_order(
                &items,
                threads,
                |&i| i * i,
                |index, square| {
                    assert_eq!(index * index, square);
                    seen.push(index);
                    if index == 30 { Err(Error::Interrupted) } else { Ok(()) }
                },
            );
            assert!(matches!(end, Err(Error::Interrupted)));
            assert_eq!(seen.len(), 31);
        }
    }
}
