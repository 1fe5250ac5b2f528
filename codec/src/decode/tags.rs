//! The few tags that captions are made of.

use serde::{Deserialize, Serialize};
use symphonia::core::meta::{MetadataRevision, StandardTag};

/// Longest text kept of one tag, in characters: comments can hold whole lyrics or cue sheets.
const TEXT_CHARS_MAX: usize = 500;

/// What a file says about its music. Text is trimmed, of one line, and never empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tags {
    /// Title of the track.
    pub title: Option<String>,
    /// Performer, else composer, else the album's artist.
    pub artist: Option<String>,
    /// Album or collection.
    pub album: Option<String>,
    /// Genre; several are joined by ", ".
    pub genre: Option<String>,
    /// Mood.
    pub mood: Option<String>,
    /// Beats a minute, positive and finite.
    pub bpm: Option<f64>,
    /// Comment or description.
    pub comment: Option<String>,
}

impl Tags {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Collects tags; of one kind the first is kept, whatever order the file has them in.
#[derive(Debug, Default)]
pub(crate) struct TagReader {
    tags: Tags,
    composer: Option<String>,
    album_artist: Option<String>,
}

impl TagReader {
    /// Adds a revision; what is already known stays.
    pub(super) fn add_revision(&mut self, revision: &MetadataRevision) {
        let of_tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
        for tag in revision.media.tags.iter().chain(of_tracks) {
            match &tag.std {
                Some(standard) => self.add_standard(standard),
                // A key that the reader did not recognise, e.g. a tempo with a fraction.
                None => self.add_field(&tag.raw.key, &tag.raw.value.to_string()),
            }
        }
    }

    fn add_standard(&mut self, tag: &StandardTag) {
        let (key, text) = match tag {
            StandardTag::TrackTitle(text) => ("TITLE", text),
            StandardTag::Artist(text) => ("ARTIST", text),
            StandardTag::Composer(text) => ("COMPOSER", text),
            StandardTag::AlbumArtist(text) => ("ALBUMARTIST", text),
            StandardTag::Album(text) => ("ALBUM", text),
            StandardTag::Genre(text) => ("GENRE", text),
            StandardTag::Mood(text) => ("MOOD", text),
            StandardTag::Comment(text) | StandardTag::Description(text) => ("COMMENT", text),
            StandardTag::Bpm(bpm) => return self.add_field("BPM", &bpm.to_string()),
            _ => return,
        };
        self.add_field(key, text);
    }

    /// One `KEY=value` field of a Vorbis comment (Ogg Vorbis, Opus, FLAC).
    pub(crate) fn add_field(&mut self, key: &str, value: &str) {
        let tags = &mut self.tags;
        match key.to_ascii_uppercase().as_str() {
            "TITLE" => first(&mut tags.title, value),
            "ARTIST" => first(&mut tags.artist, value),
            "COMPOSER" => first(&mut self.composer, value),
            "ALBUMARTIST" | "ALBUM_ARTIST" => first(&mut self.album_artist, value),
            "ALBUM" => first(&mut tags.album, value),
            "GENRE" => join(&mut tags.genre, value),
            "MOOD" => join(&mut tags.mood, value),
            "COMMENT" | "DESCRIPTION" => first(&mut tags.comment, value),
            "BPM" | "TBPM" | "TEMPO" => {
                let bpm = value.trim().parse::<f64>().ok().filter(|bpm| bpm.is_finite() && *bpm > 0.0);
                tags.bpm = tags.bpm.or(bpm);
            }
            _ => {}
        }
    }

    pub(crate) fn finish(self) -> Tags {
        let artist = self.tags.artist.or(self.composer).or(self.album_artist);
        Tags { artist, ..self.tags }
    }
}

/// One line without control characters, at most [`TEXT_CHARS_MAX`] long; `None` if nothing is left.
fn clean(text: &str) -> Option<String> {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * TEXT_CHARS_MAX).collect();
    let line: String = spaced.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TEXT_CHARS_MAX).collect();
    (!line.is_empty()).then_some(line)
}

fn first(field: &mut Option<String>, text: &str) {
    if field.is_none() {
        *field = clean(text);
    }
}

fn join(field: &mut Option<String>, text: &str) {
    let Some(text) = clean(text) else { return };
    match field {
        None => *field = Some(text),
        Some(known) if known.split(", ").any(|part| part == text) => {}
        Some(known) if known.len() + text.len() < TEXT_CHARS_MAX => *known = format!("{known}, {text}"),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cleaned_joined_and_the_first_wins() {
        let mut reader = TagReader::default();
        for (key, value) in [
            ("ALBUM_ARTIST", "Everybody"),
            ("composer", "B. Composer"),
            ("title", "  Over the\nHills \u{0} "),
            ("TITLE", "second"),
            ("Genre", "folk"),
            ("GENRE", "orchestral"),
            ("genre", "folk"),
            ("bpm", "-3"),
            ("BPM", "NaN"),
            ("TEMPO", "92.5"),
            ("COMMENT", " \t "),
            ("UNKNOWN", "x"),
        ] {
            reader.add_field(key, value);
        }
        let tags = reader.finish();
        let expected = Tags {
            title: Some("Over the Hills".into()),
            artist: Some("B. Composer".into()),
            genre: Some("folk, orchestral".into()),
            bpm: Some(92.5),
            ..Tags::default()
        };
        assert_eq!(tags, expected);
        assert!(!tags.is_empty());
        let mut long = TagReader::default();
        long.add_field("COMMENT", &"ä".repeat(10_000));
        long.add_field("ALBUMARTIST", "Everybody");
        long.add_field("ARTIST", "One");
        let long = long.finish();
        assert_eq!(long.artist.as_deref(), Some("One"), "the performer, though named last");
        assert_eq!(long.comment.map(|text| text.chars().count()), Some(TEXT_CHARS_MAX));
    }
}
