//! Sounds that people rated: clips of a corpus, or files beside the ratings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use musicrl_codec::{decode::decode_file, resample::resample};
use musicrl_core::random::{Key, Purpose};
use musicrl_rewards::{QualityModel, quality::RatingsOrigin};

use super::{RatedSound, RatedSounds, RatingTable, SetAside, source::no_such_sound};
use crate::{
    Error, Result,
    corpus::{Corpus, Split, stays_inside},
};

/// Where a sound is.
#[derive(Debug)]
enum Place {
    Clip(usize),
    File(PathBuf),
}

/// The rated sounds of a ratings file.
#[derive(Debug)]
pub struct RatedFiles {
    corpus: Corpus,
    sample_rate_hz: u32,
    places: Vec<Place>,
    sounds: Vec<RatedSound>,
    set_aside: Vec<SetAside>,
}

impl RatedFiles {
    /// The sounds of `table`. A name is looked up among the corpus's clips (their `file`, then their `id`), then as a
    /// file below `folder`. Every sound is heard once here: what cannot be read or judged is set aside with the reason.
    ///
    /// A clip of the corpus keeps its split; so does a file for which the table names one. Of the tracks of the other
    /// files, the share `held_out_share` is held out, chosen by `seed`. `progress` is told how many sounds were heard.
    ///
    /// # Errors
    /// [`Error::File`] when no sound is left; those of `progress`.
    pub fn open(
        table: RatingTable,
        folder: &Path,
        corpus: &Corpus,
        (model, held_out_share, seed): (&QualityModel, f64, u64),
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let ids: BTreeMap<&str, usize> =
            corpus.clips().iter().enumerate().map(|(at, clip)| (clip.id.as_str(), at)).collect();
        let files: BTreeMap<&str, usize> =
            corpus.clips().iter().enumerate().map(|(at, clip)| (clip.file.as_str(), at)).collect();
        let mut set = Self {
            corpus: corpus.clone(),
            sample_rate_hz: model.config().front_end.sample_rate_hz,
            places: Vec::new(),
            sounds: Vec::new(),
            set_aside: table.set_aside,
        };
        let total = table.files.len();
        let mut tracks = Vec::new();
        for (done, (name, file)) in table.files.into_iter().enumerate() {
            progress(done, total)?;
            let clip = files.get(name.as_str()).or_else(|| ids.get(name.as_str())).copied();
            let place = match clip {
                Some(clip) => Place::Clip(clip),
                None if stays_inside(&name) => Place::File(folder.join(&name)),
                None => {
                    set.set_aside(name, "neither a clip of the corpus nor a path inside the ratings' folder".into());
                    continue;
                }
            };
            if let Err(error) = set.hear(&place, model) {
                set.set_aside(name, error.to_string());
                continue;
            }
            let of_corpus = clip.map(|clip| &corpus.clips()[clip]);
            // A track of the corpus and one of the table may have one name and be two recordings.
            tracks.push(match of_corpus {
                Some(clip) => (true, clip.track.clone(), Some(clip.split)),
                None => (false, file.track.unwrap_or_else(|| name.clone()), file.split),
            });
            set.sounds.push(RatedSound::new(name, Split::Train, file.ratings)?);
            set.places.push(place);
        }
        progress(total, total)?;
        let splits = splits(&tracks, held_out_share, seed);
        for (sound, split) in set.sounds.iter_mut().zip(splits) {
            sound.split = split;
        }
        if set.sounds.is_empty() {
            let got = match set.set_aside.last() {
                Some(SetAside { what, reason }) => format!("none, the last for: {what}: {reason}"),
                None => "none".into(),
            };
            return Err(Error::File { path: folder.into(), expected: "rated sounds that can be heard".into(), got });
        }
        Ok(set)
    }

    /// Rows and sounds that were not used.
    #[must_use]
    pub fn aside(&self) -> &[SetAside] {
        &self.set_aside
    }

    fn set_aside(&mut self, what: String, reason: String) {
        self.set_aside.push(SetAside { what, reason });
    }

    fn read(&self, place: &Place) -> Result<Vec<f32>> {
        let (samples, rate) = match place {
            Place::Clip(clip) => (self.corpus.audio(*clip)?, self.corpus.sample_rate_hz()),
            Place::File(path) => {
                let audio = decode_file(path)?.audio;
                (audio.mono(), audio.sample_rate_hz)
            }
        };
        Ok(if rate == self.sample_rate_hz { samples } else { resample(&samples, rate, self.sample_rate_hz)? })
    }

    /// Whether a sound can be judged.
    fn hear(&self, place: &Place, model: &QualityModel) -> Result<()> {
        let samples = self.read(place)?;
        let view = musicrl_core::reward::AudioView { samples: &samples, sample_rate_hz: self.sample_rate_hz };
        model.features(view)?;
        Ok(())
    }
}

/// The split of each sound, by `(of the corpus, track, split if it is known)`: one for all sounds of a track.
fn splits(tracks: &[(bool, String, Option<Split>)], held_out_share: f64, seed: u64) -> Vec<Split> {
    let mut known = BTreeMap::new();
    for (of_corpus, track, split) in tracks {
        let entry = known.entry((*of_corpus, track.as_str())).or_insert(*split);
        // Held out for one of its sounds, held out for all: nothing measured may have been learned from.
        if *split == Some(Split::HeldOut) || entry.is_none() {
            *entry = split.or(*entry);
        }
    }
    let mut open: Vec<&str> = known.iter().filter(|(_, split)| split.is_none()).map(|((_, track), _)| *track).collect();
    Key::new(seed, Purpose::Split).stream().shuffle(&mut open);
    let held_out = (held_out_share * open.len() as f64).round() as usize;
    let held_out: std::collections::BTreeSet<&str> = open.into_iter().take(held_out).collect();
    let split = |(of_corpus, track, _): &(bool, String, Option<Split>)| {
        let chosen = if held_out.contains(track.as_str()) { Split::HeldOut } else { Split::Train };
        known.get(&(*of_corpus, track.as_str())).copied().flatten().unwrap_or(chosen)
    };
    tracks.iter().map(split).collect()
}

impl RatedSounds for RatedFiles {
    fn origin(&self) -> RatingsOrigin {
        RatingsOrigin::Human
    }

    fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    fn sounds(&self) -> &[RatedSound] {
        &self.sounds
    }

    fn audio(&self, index: usize) -> Result<Vec<f32>> {
        self.read(self.places.get(index).ok_or_else(|| no_such_sound(index, self.places.len()))?)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use musicrl_codec::{audio::Audio, write::write_wav};
    use musicrl_rewards::QualityConfig;

    use super::*;
    use crate::corpus::{CorpusInfo, CorpusWriter, NewClip};

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n as f32 * 0.1).sin() * 0.3).collect()
    }

    fn open(folder: &Path, csv: &str) -> Result<RatedFiles> {
        let info = CorpusInfo::new("test", 16_000, "tones", "none needed");
        let mut writer = CorpusWriter::create(folder.join("corpus"), info).unwrap();
        for (id, split) in [("one", Split::Train), ("two", Split::HeldOut)] {
            writer.add(NewClip::new(id, split, id), &tone(16_000)).unwrap();
        }
        let corpus = writer.finish().unwrap();
        let table = RatingTable::parse_csv(csv.as_bytes(), Path::new("r.csv")).unwrap();
        let model = QualityConfig::base().init(&Device::flex()).unwrap();
        RatedFiles::open(table, folder, &corpus, (&model, 0.25, 1), &mut |_, _| Ok(()))
    }

    #[test]
    fn clips_and_files_are_found_and_the_rest_is_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        for at in 0..8 {
            let audio = Audio::from_mono(tone(22_050), 22_050);
            write_wav(&temp.path().join(format!("f{at}.wav")), &audio).unwrap();
        }
        write_wav(&temp.path().join("short.wav"), &Audio::from_mono(tone(2_000), 16_000)).unwrap();
        write_wav(&temp.path().join("silent.wav"), &Audio::from_mono(vec![0.0; 16_000], 16_000)).unwrap();
        std::fs::write(temp.path().join("words.wav"), "words").unwrap();
        let rows = "file,rating,rater\none,4,a\naudio/two.wav,3,a\nshort.wav,3,a\nsilent.wav,3,a\nwords.wav,3,a\n\
                    gone.wav,3,a\n../../etc/x.wav,3,a\none,7,b\n";
        let csv = (0..8).fold(rows.to_owned(), |csv, at| format!("{csv}f{at}.wav,{},a\n", 1 + at % 5));
        let set = open(temp.path(), &csv).unwrap();
        let split = |name: &str| set.sounds().iter().find(|sound| sound.name == name).unwrap().split;
        assert_eq!((split("one"), split("audio/two.wav")), (Split::Train, Split::HeldOut));
        let held_out = (0..8).filter(|at| split(&format!("f{at}.wav")) == Split::HeldOut).count();
        assert_eq!((set.sounds().len(), held_out), (10, 2));
        for (what, reason) in [
            ("line 9", "outside 1 to 5"),
            ("../../etc/x.wav", "inside"),
            ("gone.wav", "gone.wav"),
            ("short.wav", "0.5 s"),
            ("silent.wav", "silence"),
            ("words.wav", "words.wav"),
        ] {
            let aside = set.aside().iter().find(|aside| aside.what == what).unwrap();
            assert!(aside.reason.contains(reason), "{aside:?}");
        }
        assert_eq!(set.aside().len(), 6);
        let at = set.sounds().iter().position(|sound| sound.name == "f3.wav").unwrap();
        assert!(set.audio(at).unwrap().len().abs_diff(16_000) <= 1, "brought to the model's rate");
        assert_eq!(set.origin(), RatingsOrigin::Human);
    }

    #[test]
    fn nothing_to_hear_is_an_error_with_a_reason() {
        let temp = tempfile::tempdir().unwrap();
        let error = open(temp.path(), "file,rating\ngone.wav,3\n").unwrap_err().to_string();
        assert!(error.contains("gone.wav"), "{error}");
    }

    #[test]
    fn a_track_is_in_one_split() {
        let row = |track: &str, split| (false, track.to_owned(), split);
        let tracks = [row("a", None), row("a", Some(Split::HeldOut)), row("a", Some(Split::Train)), row("b", None)];
        let got = splits(&tracks, 0.0, 1);
        assert_eq!(got, [Split::HeldOut, Split::HeldOut, Split::HeldOut, Split::Train]);
        let many: Vec<_> = (0..40).map(|at| row(&format!("t{}", at / 2), None)).collect();
        let got = splits(&many, 0.2, 1);
        assert_eq!(got.iter().filter(|split| **split == Split::HeldOut).count(), 8);
        assert!(got.chunks(2).all(|pair| pair[0] == pair[1]));
    }
}
