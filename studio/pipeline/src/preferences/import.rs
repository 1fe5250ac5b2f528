//! Judgements of sound files, brought in as a preference set.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use musicrl_codec::{audio::Audio, decode::decode_file, write::write_wav};
use musicrl_feedback::{ClipRecord, JudgementRecord, PreferenceSet, set::AUDIO_DIR};
use serde::Serialize;

use super::table::{Form, Row};
use crate::{Error, Result};

/// The file in a set's folder that lists the rows that could not be used.
pub const SET_ASIDE: &str = "set_aside.jsonl";

/// The system of sounds whose row names none.
const UNKNOWN_SYSTEM: &str = "unknown";

/// A row that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// Its line in the table.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// What came of an import.
#[derive(Debug)]
pub struct Imported {
    /// The new set.
    pub set: PreferenceSet,
    /// Rows that could not be used; they are listed in the set's [`SET_ASIDE`] too.
    pub set_aside: Vec<SetAside>,
}

/// Reads the judgements of `table` (see [`super::table`]) into a new set at `out`. Sounds are decoded, mixed to mono and
/// kept as 16-bit WAV at their own rate; one sound for one caption and system is one clip, however many rows name it.
/// The set appears under its name when it is whole. `progress` is told how many of how many rows are done.
///
/// # Errors
/// [`Error::File`] for a table that is none, one without a usable row, or an `out` that holds files; [`Error::Io`];
/// what `progress` returns.
pub fn import(table: &Path, out: &Path, progress: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<Imported> {
    let form = Form::of(table)?;
    let text = fs::read_to_string(table).map_err(Error::io("read", table))?;
    let lines = form.parse(&text, table)?;
    refuse_filled(out)?;
    let aside = beside(out);
    // A killed import may have left one: its name is ours.
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))?;
    }
    let result = fill(table, &lines, &aside, progress);
    let set_aside = match result {
        Ok(set_aside) => set_aside,
        Err(error) => {
            // The first error is the one worth telling.
            let _ = fs::remove_dir_all(&aside);
            return Err(error);
        }
    };
    if out.exists() {
        fs::remove_dir(out).map_err(Error::io("replace", out))?;
    }
    fs::rename(&aside, out).map_err(Error::io("rename", out))?;
    Ok(Imported { set: PreferenceSet::open(out)?, set_aside })
}

fn refuse_filled(out: &Path) -> Result<()> {
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            Some(_) => {
                let (expected, got) = ("a new or empty folder".into(), "one that holds files".into());
                Err(Error::File { path: out.into(), expected, got })
            }
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("read", out)(error)),
    }
}

/// Where a set is made until it is whole: a hidden folder beside it.
fn beside(out: &Path) -> PathBuf {
    let name = out.file_name().map_or("preferences".into(), |name| name.to_string_lossy().into_owned());
    out.with_file_name(format!(".{name}.partial"))
}

fn fill(
    table: &Path,
    lines: &[super::table::Line],
    folder: &Path,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<SetAside>> {
    let mut set = PreferenceSet::create(folder)?;
    let sounds_folder = folder.join(AUDIO_DIR);
    fs::create_dir_all(&sounds_folder).map_err(Error::io("create", &sounds_folder))?;
    let home = table.parent().unwrap_or(Path::new(""));
    let mut set_aside = Vec::new();
    let mut unusable: BTreeMap<String, String> = BTreeMap::new();
    let mut ids: BTreeMap<[String; 3], String> = BTreeMap::new();
    let (mut clips, mut judgements) = (Vec::new(), Vec::new());
    for (index, (line, row)) in lines.iter().enumerate() {
        let mut take = |row: &Row| -> std::result::Result<Result<()>, String> {
            let judgement = check(row)?;
            let mut places = Vec::new();
            for (audio, system) in [(&row.audio_a, &row.system_a), (&row.audio_b, &row.system_b)] {
                let system = system.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or(UNKNOWN_SYSTEM);
                places.push([row.caption.trim().to_string(), audio.trim().to_string(), system.to_string()]);
            }
            // Both sounds first: a row with one bad sound leaves no clip.
            let mut sounds: BTreeMap<&str, Audio> = BTreeMap::new();
            for place in places.iter().filter(|place| !ids.contains_key(*place)) {
                let name = &place[1];
                if let Some(reason) = unusable.get(name) {
                    return Err(reason.clone());
                }
                let decoded = sound(&home.join(name)).map_err(|reason| format!("{name}: {reason}"));
                sounds.insert(name, decoded.inspect_err(|reason| drop(unusable.insert(name.clone(), reason.clone())))?);
            }
            for place in &places {
                if ids.contains_key(place) {
                    continue;
                }
                let id = format!("clip-{:06}", ids.len());
                let file = format!("{AUDIO_DIR}/{id}.wav");
                if let Some(audio) = sounds.get(place[1].as_str())
                    && let Err(error) = write_wav(&folder.join(&file), audio)
                {
                    return Ok(Err(error.into()));
                }
                let [caption, _, system] = place;
                clips.push(ClipRecord { audio: Some(file), ..ClipRecord::new(&id, caption, system) });
                ids.insert(place.clone(), id);
            }
            let id = |place: &[String; 3]| ids.get(place).cloned().unwrap_or_default();
            judgements.push(JudgementRecord { a: id(&places[0]), b: id(&places[1]), ..judgement });
            Ok(Ok(()))
        };
        match row.as_ref().map_err(Clone::clone).and_then(&mut take) {
            Ok(written) => written?,
            Err(reason) => set_aside.push(SetAside { line: *line, reason }),
        }
        progress(index + 1, lines.len())?;
    }
    if judgements.is_empty() {
        let got = set_aside.first().map_or("no rows".into(), |first| format!("line {}: {}", first.line, first.reason));
        return Err(Error::File { path: table.into(), expected: "at least one judgement of two sounds".into(), got });
    }
    set.add_clips(clips)?;
    set.add_judgements(judgements)?;
    if !set_aside.is_empty() {
        let mut list = String::new();
        for row in &set_aside {
            list += &serde_json::to_string(row).map_err(|error| Error::config("table", "text for JSON", error))?;
            list.push('\n');
        }
        let path = folder.join(SET_ASIDE);
        fs::write(&path, list).map_err(Error::io("write", &path))?;
    }
    Ok(set_aside)
}

/// The judgement of a row, its clips not yet named.
fn check(row: &Row) -> std::result::Result<JudgementRecord, String> {
    let (audio_a, audio_b) = (row.audio_a.trim(), row.audio_b.trim());
    for (field, value) in [("audio_a", audio_a), ("audio_b", audio_b), ("listener", row.listener.trim())] {
        if value.is_empty() {
            return Err(format!("`{field}` is empty"));
        }
    }
    if audio_a == audio_b && row.system_a == row.system_b {
        return Err(format!("`audio_b` is `audio_a`: {audio_a}"));
    }
    let listener = row.listener.trim();
    let mut judgement = JudgementRecord::new("a", "b", row.outcome()?, listener, row.source()?);
    judgement.confidence = row.confidence.unwrap_or(judgement.confidence);
    judgement.margin = row.margin.unwrap_or(judgement.margin);
    judgement.heard = [row.heard_a.unwrap_or(true), row.heard_b.unwrap_or(true)];
    // The record's own rules; where it stands is said by the line.
    judgement.validate("row").map_err(|error| error.to_string())?;
    Ok(judgement)
}

fn sound(path: &Path) -> std::result::Result<Audio, String> {
    let audio = decode_file(path).map_err(|error| error.to_string())?.audio;
    Ok(Audio::from_mono(audio.mono(), audio.sample_rate_hz))
}

#[cfg(test)]
mod tests {
    use musicrl_core::preference::Outcome;
    use musicrl_feedback::Source;

    use super::*;
    use crate::preferences::export::export;

    fn tone(path: &Path, hz: f32, rate: u32) {
        let samples = (0..rate).map(|n| 0.3 * (n as f32 * hz * std::f32::consts::TAU / rate as f32).sin()).collect();
        write_wav(path, &Audio::from_mono(samples, rate)).unwrap();
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        tone(&folder.path().join("one.wav"), 440.0, 16_000);
        tone(&folder.path().join("two.wav"), 220.0, 22_050);
        fs::write(folder.path().join("broken.wav"), "RIFF").unwrap();
        folder
    }

    const HEADER: &str = "caption,audio_a,audio_b,outcome,listener,confidence\n";

    fn quiet(_: usize, _: usize) -> Result<()> {
        Ok(())
    }

    #[test]
    fn good_rows_come_in_and_bad_ones_are_named() {
        let folder = folder();
        let table = folder.path().join("judgements.csv");
        let rows = "a waltz,one.wav,two.wav,a,anna,0.5\n\
                    a waltz,two.wav,one.wav,tie,ben,\n\
                    a waltz,one.wav,gone.wav,a,anna,1\n\
                    a waltz,one.wav,broken.wav,a,anna,1\n\
                    a waltz,one.wav,one.wav,a,anna,1\n\
                    a waltz,one.wav,two.wav,best,anna,1\n\
                    a waltz,one.wav,two.wav,a,,1\n\
                    a waltz,one.wav,two.wav,a,anna,-1\n\
                    a march,one.wav,two.wav,both-bad,anna,1\n";
        fs::write(&table, HEADER.to_string() + rows).unwrap();
        let out = folder.path().join("set");
        let done = import(&table, &out, &mut quiet).unwrap();
        let lines: Vec<u64> = done.set_aside.iter().map(|row| row.line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9]);
        for (row, reason) in
            done.set_aside.iter().zip(["gone.wav", "broken.wav", "audio_b", "outcome", "listener", "confidence"])
        {
            assert!(row.reason.contains(reason), "{row:?}");
        }
        assert_eq!(fs::read_to_string(out.join(SET_ASIDE)).unwrap().lines().count(), 6);
        let judgements = done.set.judgements();
        // Two sounds for two captions are four clips; the second row names the first row's.
        assert_eq!((done.set.clips().len(), judgements.len()), (4, 3));
        assert_eq!((&judgements[0].a, &judgements[0].b), (&judgements[1].b, &judgements[1].a));
        assert_eq!((judgements[0].confidence, judgements[0].outcome), (0.5, Outcome::BetterA));
        assert!(judgements.iter().all(|judgement| judgement.source == Source::Human));
        let sound = done.set.clips()[1].audio.clone().unwrap();
        assert_eq!(decode_file(&out.join(sound)).unwrap().audio.sample_rate_hz, 22_050);
        assert!(matches!(import(&table, &out, &mut quiet), Err(Error::File { .. })));
    }

    #[test]
    fn what_is_exported_comes_back() {
        let folder = folder();
        let table = folder.path().join("judgements.jsonl");
        let row = |a: &str, b: &str, outcome: &str, source: &str| {
            format!(
                "{{\"caption\":\"x\",\"audio_a\":\"{a}\",\"audio_b\":\"{b}\",\"outcome\":\"{outcome}\",\"listener\":\"l\",\
                 \"source\":\"{source}\",\"system_a\":\"base\",\"heard_b\":false,\"margin\":0.1}}\n"
            )
        };
        let text = row("one.wav", "two.wav", "b", "simulated:village") + &row("two.wav", "one.wav", "skipped", "human");
        fs::write(&table, text).unwrap();
        let first = import(&table, &folder.path().join("first"), &mut quiet).unwrap();
        assert!(first.set_aside.is_empty());
        for name in ["out.csv", "out.jsonl"] {
            let table = folder.path().join(name);
            export(&first.set, &table).unwrap();
            let again = import(&table, &folder.path().join(format!("again-{name}")), &mut quiet).unwrap();
            assert_eq!(again.set.judgements(), first.set.judgements());
            assert_eq!(again.set.clips(), first.set.clips());
        }
    }

    #[test]
    fn an_import_that_fails_leaves_nothing() {
        let folder = folder();
        let table = folder.path().join("judgements.csv");
        let out = folder.path().join("set");
        for text in ["", HEADER, "caption\n", &(HEADER.to_string() + "x,gone.wav,two.wav,a,anna,1\n")] {
            fs::write(&table, text).unwrap();
            assert!(matches!(import(&table, &out, &mut quiet), Err(Error::File { .. })), "{text:?}");
        }
        fs::write(&table, HEADER.to_string() + "x,one.wav,two.wav,a,anna,1\n").unwrap();
        let stop = &mut |_: usize, _: usize| Err(Error::Interrupted);
        assert!(matches!(import(&table, &out, stop), Err(Error::Interrupted)));
        let names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains("set"))
            .collect();
        assert!(names.is_empty(), "{names:?}");
        // What a killed one left is no hindrance.
        fs::create_dir_all(folder.path().join(".set.partial/audio")).unwrap();
        import(&table, &out, &mut quiet).unwrap();
    }
}
