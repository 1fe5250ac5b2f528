//! Rating by people: clips under blinded names, a form to fill, and the key that tells whose each clip is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use musicrl_codec::{
    audio::Audio,
    write::{write_atomic, write_wav},
};
use serde::{Deserialize, Serialize};

use super::{keys, settings::PlaySpec};
use crate::{Error, Result};

const FORMAT_VERSION: u32 = 1;
/// The key's name in an export.
pub const KEY_FILE: &str = "key.json";
/// The form's name in an export.
pub const FORM_FILE: &str = "form.csv";
const CLIPS_DIR: &str = "clips";

/// A system of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySystem {
    /// Its name.
    pub name: String,
    /// The bundle's identity.
    pub sha256: String,
}

/// A clip of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyClip {
    /// Its blinded name.
    pub clip: String,
    /// Index of the system.
    pub system: usize,
    /// Index of the prompt.
    pub prompt: usize,
    /// Which clip of that prompt.
    pub take: usize,
}

/// What raters must not see: which system made which clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Layout of this file.
    pub format_version: u32,
    /// How the clips were played.
    pub play: PlaySpec,
    /// The systems.
    pub systems: Vec<KeySystem>,
    /// The prompts.
    pub prompts: Vec<String>,
    /// Every clip, in the order of their names.
    pub clips: Vec<KeyClip>,
}

impl Key {
    /// Deals names to all clips: from a name nobody can tell the system.
    #[must_use]
    pub fn deal(play: PlaySpec, systems: Vec<KeySystem>, prompts: Vec<String>) -> Self {
        let mut places = Vec::with_capacity(prompts.len() * play.takes * systems.len());
        for prompt in 0..prompts.len() {
            for take in 0..play.takes {
                places.extend((0..systems.len()).map(|system| (system, prompt, take)));
            }
        }
        keys::blinding(play.seed).stream().shuffle(&mut places);
        let clip = |(at, (system, prompt, take)): (usize, (usize, usize, usize))| KeyClip {
            clip: format!("c{:05}", at + 1),
            system,
            prompt,
            take,
        };
        let clips = places.into_iter().enumerate().map(clip).collect();
        Self { format_version: FORMAT_VERSION, play, systems, prompts, clips }
    }

    /// Reads a key and checks that its numbers fit each other.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for what is no key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read the key of an export", path))?;
        let wrong = |got: String| Error::File { path: path.into(), expected: "the key of an export".into(), got };
        let key: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if key.format_version != FORMAT_VERSION {
            return Err(wrong(format!("format version {}", key.format_version)));
        }
        let fits = |clip: &KeyClip| {
            clip.system < key.systems.len() && clip.prompt < key.prompts.len() && clip.take < key.play.takes
        };
        if let Some(clip) = key.clips.iter().find(|clip| !fits(clip)) {
            return Err(wrong(format!("clip {} of a system, prompt or take that is not there", clip.clip)));
        }
        let names: std::collections::BTreeSet<&str> = key.clips.iter().map(|clip| clip.clip.as_str()).collect();
        if names.len() < key.clips.len() {
            return Err(wrong("two clips of one name".into()));
        }
        Ok(key)
    }

    /// The form: for each rater every clip, prompt after prompt, both in an order of the rater's own. Take `t` of a
    /// prompt is heard beside the other systems' take `t`.
    fn form(&self, raters: usize) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |error: csv::Error| Error::config("form", "text that CSV can hold", error);
        writer.write_record(["prompt", "clip", "rater", "rating"]).map_err(failed)?;
        for rater in 0..raters {
            let key = keys::blinding(self.play.seed).step(3 + rater as u64);
            let mut order: Vec<(u64, &KeyClip)> = Vec::with_capacity(self.clips.len());
            for clip in &self.clips {
                // A number for prompt and take, then one for the clip: sorted by both, groups stay together.
                let group = key.clip(1).words(keys::clip_number(clip.prompt, clip.take))[0];
                let own = key.clip(2).words(order.len() as u64)[0];
                order.push(((u64::from(group) << 32) | u64::from(own), clip));
            }
            order.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.clip.cmp(&y.clip)));
            for (_, clip) in order {
                let name = format!("rater-{}", rater + 1);
                writer
                    .write_record([self.prompts[clip.prompt].as_str(), clip.clip.as_str(), name.as_str(), ""])
                    .map_err(failed)?;
            }
        }
        writer.into_inner().map_err(|error| Error::config("form", "text that CSV can hold", error.to_string()))
    }
}

/// A folder that clips are written into.
#[derive(Debug)]
pub struct Export {
    dir: PathBuf,
    key: Key,
}

impl Export {
    /// Begins an export in a new or empty folder: a form that somebody has filled is never written over.
    ///
    /// # Errors
    /// [`Error::File`] for a folder with something in it; [`Error::Io`].
    pub fn create(dir: &Path, key: Key) -> Result<Self> {
        let clips = dir.join(CLIPS_DIR);
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        if fs::read_dir(dir).map_err(Error::io("read", dir))?.next().is_some() {
            let (expected, got) = ("a new or empty folder to export to".into(), "one that holds files".into());
            return Err(Error::File { path: dir.into(), expected, got });
        }
        fs::create_dir(&clips).map_err(Error::io("create", &clips))?;
        Ok(Self { dir: dir.into(), key })
    }

    /// Writes one clip under its blinded name.
    ///
    /// # Errors
    /// For a clip that is not in the key; those of the file.
    pub fn write(&self, place: (usize, usize, usize), samples: &[f32], sample_rate_hz: u32) -> Result<()> {
        let of = |clip: &&KeyClip| (clip.system, clip.prompt, clip.take) == place;
        let Some(clip) = self.key.clips.iter().find(of) else {
            return Err(Error::config("export", "a clip of the key", format!("{place:?}")));
        };
        let path = self.dir.join(CLIPS_DIR).join(format!("{}.wav", clip.clip));
        Ok(write_wav(&path, &Audio::from_mono(samples.to_vec(), sample_rate_hz))?)
    }

    /// Writes the form and the key: an export without them was not finished.
    ///
    /// # Errors
    /// [`Error::Codec`] naming the file.
    pub fn finish(self, raters: usize) -> Result<()> {
        write_atomic(&self.dir.join(FORM_FILE), &self.key.form(raters.max(1))?)?;
        let mut key = serde_json::to_vec_pretty(&self.key)
            .map_err(|error| Error::config(KEY_FILE, "values that JSON can hold", error))?;
        key.push(b'\n');
        Ok(write_atomic(&self.dir.join(KEY_FILE), &key)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn key(seed: u64) -> Key {
        let play = PlaySpec { seed, takes: 2, clip_seconds: 1.0, sampling: Default::default() };
        let systems = ["a", "b"].map(|name| KeySystem { name: name.into(), sha256: String::new() });
        Key::deal(play, systems.to_vec(), (0..10).map(|at| format!("prompt, {at}")).collect())
    }

    #[test]
    fn names_say_nothing_of_the_system() {
        let dealt = key(1);
        let places: BTreeSet<_> = dealt.clips.iter().map(|clip| (clip.system, clip.prompt, clip.take)).collect();
        assert_eq!((places.len(), dealt.clips.len()), (40, 40));
        let first: usize = dealt.clips[..20].iter().map(|clip| clip.system).sum();
        assert!((4..=16).contains(&first), "{first} of the first half are of b");
        assert_eq!(dealt, key(1));
        assert_ne!(dealt.clips, key(2).clips);
    }

    #[test]
    fn the_form_has_every_clip_for_every_rater_with_prompts_together() {
        let dealt = key(1);
        let form = String::from_utf8(dealt.form(2).unwrap()).unwrap();
        let mut reader = csv::Reader::from_reader(form.as_bytes());
        assert_eq!(reader.headers().unwrap(), vec!["prompt", "clip", "rater", "rating"]);
        let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), 80);
        let mut orders = BTreeMap::<&str, Vec<&str>>::new();
        for row in &rows {
            orders.entry(row.get(2).unwrap()).or_default().push(row.get(1).unwrap());
        }
        let orders: Vec<Vec<&str>> = orders.into_values().collect();
        assert_ne!(orders[0], orders[1]);
        assert_eq!(orders[0].iter().collect::<BTreeSet<_>>(), orders[1].iter().collect::<BTreeSet<_>>());
        let place = |name: &str| dealt.clips.iter().find(|clip| clip.clip == name).unwrap();
        let mut first = 0;
        for pair in orders[0].chunks(2) {
            let (x, y) = (place(pair[0]), place(pair[1]));
            assert_eq!((x.prompt, x.take), (y.prompt, y.take));
            assert_ne!(x.system, y.system);
            first += x.system;
        }
        assert!((3..=17).contains(&first), "either system comes first: {first}");
    }

    #[test]
    fn an_export_is_read_back_and_never_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("export");
        let export = Export::create(&dir, key(1)).unwrap();
        export.write((1, 9, 1), &[0.1, -0.1], 16_000).unwrap();
        assert!(export.write((2, 0, 0), &[0.1], 16_000).is_err());
        export.finish(3).unwrap();
        assert_eq!(Key::read(&dir.join(KEY_FILE)).unwrap(), key(1));
        assert_eq!(fs::read_dir(dir.join(CLIPS_DIR)).unwrap().count(), 1);
        assert!(matches!(Export::create(&dir, key(1)), Err(Error::File { .. })));
        let path = dir.join(KEY_FILE);
        let text = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"system\": 1", "\"system\": 2"),
            ("\"format_version\": 1", "\"format_version\": 2"),
            ("c00002", "c00001"),
            ("\"play\"", "\"pley\""),
        ] {
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert!(matches!(Key::read(&path), Err(Error::File { .. })), "{to}");
        }
    }
}
