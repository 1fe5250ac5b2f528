//! Ratings from outside: a filled form (CSV or JSON lines), or the ratings of a preference set.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use musicrl_feedback::{PreferenceSet, Source};
use serde::Deserialize;

use super::{
    form::{KEY_FILE, Key},
    ratings::{PanelRatings, RATING_RANGE, Rating, by_source},
    settings::PlaySpec,
};
use crate::{Error, Result};

/// Ratings, and what is known of the clips that were rated.
#[derive(Debug, Clone, PartialEq)]
pub struct RatingsInput {
    /// The systems: name and, from an export, the bundle's identity.
    pub systems: Vec<(String, Option<String>)>,
    /// The prompts.
    pub prompts: Vec<String>,
    /// People and populations apart.
    pub panels: Vec<PanelRatings>,
    /// Lines without a rating: clips that nobody has rated yet.
    pub unfilled: usize,
    /// How the clips were played, where an export says it.
    pub play: Option<PlaySpec>,
}

/// One line of a form.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    prompt: String,
    clip: String,
    rater: String,
    rating: Option<f64>,
    /// Instead of a key: whose clip it is.
    system: Option<String>,
    take: Option<usize>,
    /// Of simulated listeners.
    population: Option<String>,
}

/// Reads ratings. A folder is a preference set; a file is a form by its ending `.csv` or `.jsonl`, with the key of its
/// export at `key` or beside it. A form whose lines name the `system` (and, with several clips of a prompt, the `take`)
/// needs no key.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] with the line of an unknown clip, a rating out of range or one given twice;
/// [`Error::File`] for another kind of file; [`Error::Config`] without any rating.
pub fn read_ratings(path: &Path, key: Option<&Path>) -> Result<RatingsInput> {
    let input = if path.is_dir() { from_set(path)? } else { from_form(path, key)? };
    if input.panels.is_empty() {
        let got = format!("none in {} ({} lines are not filled)", path.display(), input.unfilled);
        return Err(Error::config("ratings", "at least one rating", got));
    }
    Ok(input)
}

fn bad(path: &Path, line: usize, reason: impl ToString) -> Error {
    Error::Parse { path: path.into(), line, reason: reason.to_string() }
}

fn from_form(path: &Path, key: Option<&Path>) -> Result<RatingsInput> {
    let text = fs::read_to_string(path).map_err(Error::io("read ratings", path))?;
    let text = text.trim_start_matches('\u{feff}');
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let lines = match extension.to_ascii_lowercase().as_str() {
        "csv" => csv_lines(text, path)?,
        "jsonl" => json_lines(text, path)?,
        _ => {
            let (expected, got) = ("a form named .csv or .jsonl, or a preference set".into(), "another file".into());
            return Err(Error::File { path: path.into(), expected, got });
        }
    };
    let beside = path.with_file_name(KEY_FILE);
    let key = match key {
        Some(key) => Some(Key::read(key)?),
        None if lines.iter().any(|(_, line)| line.system.is_none()) && beside.is_file() => Some(Key::read(&beside)?),
        None => None,
    };
    match key {
        Some(key) => by_key(path, lines, key),
        None => by_name(path, lines),
    }
}

fn csv_lines(text: &str, path: &Path) -> Result<Vec<(usize, Line)>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad(path, 1, error))?.clone();
    for needed in ["rater", "rating"] {
        if !header.iter().any(|name| name == needed) {
            return Err(bad(path, 1, format!("expected a column `{needed}`")));
        }
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(path, error.position().map_or(0, |at| at.line() as usize), &error))?;
        let at = record.position().map_or(0, |position| position.line() as usize);
        let mut line = Line::default();
        for (name, value) in header.iter().zip(record.iter()) {
            let number = |what: &str| bad(path, at, format!("`{name}`: expected {what}, got {value:?}"));
            match name {
                "prompt" => line.prompt = value.into(),
                "clip" => line.clip = value.into(),
                "rater" => line.rater = value.into(),
                _ if value.is_empty() => {}
                "rating" => line.rating = Some(value.parse().map_err(|_| number("a number from 1 to 5"))?),
                "system" => line.system = Some(value.into()),
                "take" => line.take = Some(value.parse().map_err(|_| number("a whole number"))?),
                "population" => line.population = Some(value.into()),
                _ => return Err(bad(path, 1, format!("unknown column `{name}`"))),
            }
        }
        lines.push((at, line));
    }
    Ok(lines)
}

fn json_lines(text: &str, path: &Path) -> Result<Vec<(usize, Line)>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| Ok((at + 1, serde_json::from_str(line).map_err(|error| bad(path, at + 1, error))?)))
        .collect()
}

/// Gathers ratings line by line, refusing what breaks a rule where it stands.
struct Gathered<'a> {
    path: &'a Path,
    seen: BTreeSet<(usize, usize, usize, String, Option<String>)>,
    ratings: Vec<(Source, Rating)>,
    unfilled: usize,
}

impl<'a> Gathered<'a> {
    fn new(path: &'a Path) -> Self {
        Self { path, seen: BTreeSet::new(), ratings: Vec::new(), unfilled: 0 }
    }

    fn add(&mut self, at: usize, line: Line, (system, prompt, take): (usize, usize, usize)) -> Result<()> {
        let Some(rating) = line.rating else {
            self.unfilled += 1;
            return Ok(());
        };
        if !RATING_RANGE.contains(&rating) {
            return Err(bad(self.path, at, format!("`rating`: expected a number from 1 to 5, got {rating}")));
        }
        if line.rater.is_empty() {
            return Err(bad(self.path, at, "`rater`: expected a name, got nothing"));
        }
        if !self.seen.insert((system, prompt, take, line.rater.clone(), line.population.clone())) {
            return Err(bad(self.path, at, format!("`{}` has rated this clip before", line.rater)));
        }
        let source = line.population.map_or(Source::Human, |population| Source::Simulated { population });
        self.ratings.push((source, Rating { system, prompt, take, rater: line.rater, rating }));
        Ok(())
    }
}

fn by_key(path: &Path, lines: Vec<(usize, Line)>, key: Key) -> Result<RatingsInput> {
    let clips: BTreeMap<&str, (usize, usize, usize)> =
        key.clips.iter().map(|clip| (clip.clip.as_str(), (clip.system, clip.prompt, clip.take))).collect();
    let mut gathered = Gathered::new(path);
    for (at, line) in lines {
        let Some(place) = clips.get(line.clip.trim_end_matches(".wav")) else {
            return Err(bad(path, at, format!("`clip`: {:?} is no clip of the key", line.clip)));
        };
        gathered.add(at, line, *place)?;
    }
    Ok(RatingsInput {
        panels: by_source(gathered.ratings),
        unfilled: gathered.unfilled,
        systems: key.systems.into_iter().map(|system| (system.name, Some(system.sha256))).collect(),
        prompts: key.prompts,
        play: Some(key.play),
    })
}

/// Numbers names in the order in which they first come.
#[derive(Default)]
struct Names {
    places: BTreeMap<String, usize>,
    list: Vec<String>,
}

impl Names {
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.places.insert(name.into(), self.list.len());
        self.list.push(name.into());
        self.list.len() - 1
    }
}

fn by_name(path: &Path, lines: Vec<(usize, Line)>) -> Result<RatingsInput> {
    let (mut systems, mut prompts, mut gathered) = (Names::default(), Names::default(), Gathered::new(path));
    for (at, line) in lines {
        let Some(system) = &line.system else {
            let reason = format!("whose clip {:?} is, is not known: there is no {KEY_FILE} and no `system`", line.clip);
            return Err(bad(path, at, reason));
        };
        if line.prompt.is_empty() {
            return Err(bad(path, at, "`prompt`: expected the text, got nothing"));
        }
        let place = (systems.place(system), prompts.place(&line.prompt), line.take.unwrap_or(0));
        gathered.add(at, line, place)?;
    }
    Ok(RatingsInput {
        systems: systems.list.into_iter().map(|name| (name, None)).collect(),
        prompts: prompts.list,
        panels: by_source(gathered.ratings),
        unfilled: gathered.unfilled,
        play: None,
    })
}

/// Clips of one system and caption are that caption's takes, in the order in which they came into the set.
fn from_set(path: &Path) -> Result<RatingsInput> {
    let set = PreferenceSet::open(path).map_err(|error| match error {
        musicrl_feedback::Error::Io { doing, path, source } => Error::Io { doing, path, source },
        musicrl_feedback::Error::File { path, expected, got } => Error::File { path, expected, got },
        other => Error::File { path: path.into(), expected: "a preference set".into(), got: other.to_string() },
    })?;
    let (mut systems, mut prompts) = (Names::default(), Names::default());
    let mut takes = BTreeMap::<(usize, usize), usize>::new();
    let mut places = BTreeMap::new();
    let rated: BTreeSet<&str> = set.ratings().iter().map(|rating| rating.clip.as_str()).collect();
    for clip in set.clips().iter().filter(|clip| rated.contains(clip.id.as_str())) {
        let (system, prompt) = (systems.place(&clip.system), prompts.place(&clip.caption));
        let take = takes.entry((system, prompt)).or_default();
        places.insert(clip.id.as_str(), (system, prompt, *take));
        *take += 1;
    }
    let mut ratings = Vec::new();
    for record in set.ratings() {
        let Some((system, prompt, take)) = places.get(record.clip.as_str()).copied() else { continue };
        let rating = Rating { system, prompt, take, rater: record.rater.clone(), rating: record.rating };
        ratings.push((record.source.clone(), rating));
    }
    Ok(RatingsInput {
        systems: systems.list.into_iter().map(|name| (name, None)).collect(),
        prompts: prompts.list,
        panels: by_source(ratings),
        unfilled: 0,
        play: None,
    })
}

#[cfg(test)]
mod tests {
    use musicrl_feedback::{ClipRecord, RatingRecord};

    use super::{super::form::KeySystem, *};

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn read(&self, name: &str, text: &str) -> Result<RatingsInput> {
            read_ratings(&self.write(name, text), None)
        }
    }

    fn key() -> Key {
        let play = PlaySpec { seed: 1, takes: 1, clip_seconds: 1.0, sampling: Default::default() };
        let systems = ["a", "b"].map(|name| KeySystem { name: name.into(), sha256: format!("hash of {name}") });
        Key::deal(play, systems.to_vec(), vec!["a waltz".into(), "a march".into()])
    }

    #[test]
    fn a_filled_form_is_resolved_by_its_key() {
        let place = Place::new();
        place.write(KEY_FILE, &serde_json::to_string(&key()).unwrap());
        let form = "prompt,clip,rater,rating\na waltz,c00001,anna,4\nx,c00002.wav,anna,2.5\ny,c00003,anna,\n";
        let input = place.read("form.csv", form).unwrap();
        let clips = key().clips;
        assert_eq!((input.unfilled, input.panels.len()), (1, 1));
        assert_eq!(input.panels[0].source, Source::Human);
        let ratings = &input.panels[0].ratings;
        for (rating, clip) in ratings.iter().zip(&clips) {
            assert_eq!((rating.system, rating.prompt, rating.take), (clip.system, clip.prompt, clip.take));
        }
        assert_eq!(ratings.iter().map(|rating| rating.rating).collect::<Vec<_>>(), [4.0, 2.5]);
        assert_eq!(input.systems[1], ("b".into(), Some("hash of b".into())));
        let json = "{\"clip\":\"c00001\",\"rater\":\"anna\",\"rating\":4}\n{\"clip\":\"c00002\",\"rater\":\"anna\",\"rating\":2.5}\n";
        assert_eq!(place.read("form.jsonl", json).unwrap().panels, input.panels);
    }

    #[test]
    fn bad_lines_are_named() {
        let place = Place::new();
        place.write(KEY_FILE, &serde_json::to_string(&key()).unwrap());
        let refused = |name: &str, text: &str, expected: &[&str]| {
            let error = place.read(name, text).unwrap_err().to_string();
            assert!(expected.iter().all(|expected| error.contains(expected)), "{error}");
        };
        let form = |line: &str| format!("prompt,clip,rater,rating\na,c00001,anna,4\n{line}\n");
        refused("f.csv", &form("a,c00009,anna,4"), &["f.csv:3", "c00009"]);
        refused("f.csv", &form("a,c00002,anna,6"), &["f.csv:3", "from 1 to 5", "6"]);
        refused("f.csv", &form("a,c00002,anna,good"), &["f.csv:3", "good"]);
        refused("f.csv", &form("a,c00002,anna,NaN"), &["f.csv:3", "NaN"]);
        refused("f.csv", &form("a,c00002,,3"), &["f.csv:3", "rater"]);
        refused("f.csv", &form("a,c00001,anna,3"), &["f.csv:3", "before"]);
        refused("f.csv", "prompt,clip,rater,score\n", &["rating"]);
        refused("f.csv", "clip,rater,rating,mood\nc00001,anna,3,x\n", &["mood"]);
        refused("f.csv", "clip,rater,rating\nc00001,anna,\n", &["at least one rating", "1 lines"]);
        refused("f.jsonl", "{\"clip\":\"c00001\",\"rater\":\"a\",\"rate\":3}\n", &["f.jsonl:1", "rate"]);
        refused("f.txt", "", &[".csv"]);
        assert!(matches!(read_ratings(&place.0.path().join("gone.csv"), None), Err(Error::Io { .. })));
    }

    #[test]
    fn lines_that_name_the_system_need_no_key() {
        let place = Place::new();
        let text = "system,prompt,take,rater,rating,population\nb,a waltz,0,anna,4,\na,a waltz,0,anna,3,\n\
                    a,a march,1,l1,2,village\n";
        let input = place.read("mine.csv", text).unwrap();
        assert_eq!(input.systems.iter().map(|system| system.0.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((input.prompts.len(), input.panels.len(), input.play), (2, 2, None));
        assert_eq!(input.panels[1].ratings[0].take, 1);
        let error = place.read("mine.csv", "clip,rater,rating\nc00001,anna,4\n").unwrap_err().to_string();
        assert!(error.contains("mine.csv:2") && error.contains(KEY_FILE), "{error}");
    }

    #[test]
    fn ratings_of_a_preference_set() {
        let place = Place::new();
        let mut set = PreferenceSet::create(&place.0.path().join("set")).unwrap();
        let clips = [("x", "r"), ("y", "base"), ("z", "r"), ("unrated", "u")];
        set.add_clips(clips.map(|(id, system)| ClipRecord::new(id, "a waltz", system)).to_vec()).unwrap();
        let village = Source::Simulated { population: "village".into() };
        let rating = |clip: &str, rating, source: &Source| RatingRecord {
            clip: clip.into(),
            rating,
            rater: "one".into(),
            source: source.clone(),
        };
        let list = [("x", 4.0, &village), ("y", 3.0, &Source::Human), ("z", 2.0, &village)];
        set.add_ratings(list.map(|(clip, value, source)| rating(clip, value, source)).to_vec()).unwrap();
        let input = read_ratings(set.path(), None).unwrap();
        assert_eq!(input.systems.iter().map(|system| system.0.as_str()).collect::<Vec<_>>(), ["r", "base"]);
        assert_eq!(input.panels[0].source, Source::Human);
        assert_eq!(input.panels[1].ratings.iter().map(|rating| rating.take).collect::<Vec<_>>(), [0, 1]);
        assert!(read_ratings(place.0.path(), None).is_err());
    }
}
